//! Where masters are: how `--master` is written, and who of them leads.

use std::fmt;
use std::sync::Arc;

use marathon_zookeeper::{Master, MasterWatch, Options, ZkUrl};
use tokio::sync::watch;

/// The port of a master that names none.
const PORT: u16 = 5050;

/// One master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub https: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

impl Address {
    /// `host:port` as it stands in a URL.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Reads `host[:port]`.
    fn parse(text: &str, https: bool) -> Result<Address, String> {
        // What stands before an `@` may be a password.
        let shown = text.rsplit_once('@').map_or(text.to_owned(), |(_, it)| format!("…@{it}"));
        let bad = |why: &str| format!("`{shown}` is no address of a master: {why}");
        let (host, port) = match text.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port {
            Some("") => PORT,
            Some(port) => port.parse().map_err(|_| bad("a port is a number from 1 to 65535"))?,
            None => return Err(bad("behind `]` only a port may follow")),
        };
        let legal = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(legal) || port == 0 {
            return Err(bad("expected host:port"));
        }
        Ok(Address { https, host: host.to_owned(), port })
    }

    /// Where a `Location` points that `self` answered with: absolute, or without a scheme as Mesos writes it.
    pub fn redirected(&self, location: &str) -> Option<Address> {
        let (https, rest) = match location {
            _ if location.starts_with("https://") => (true, &location[8..]),
            _ if location.starts_with("http://") => (false, &location[7..]),
            _ => (self.https, location.strip_prefix("//")?),
        };
        Address::parse(rest.split(['/', '?', '#']).next()?, https).ok()
    }
}

/// `--master`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Masters {
    /// Any of these; whoever does not lead points to who does.
    Named(Vec<Address>),
    /// Whoever leads according to ZooKeeper.
    ZooKeeper(ZkUrl),
}

impl Masters {
    /// `zk://…/path`, `http(s)://host:port`, `host:port`, several of these with commas between them, or
    /// `file:///path` of a file that holds one of the others.
    pub fn parse(text: &str) -> Result<Masters, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("file://") {
            let inner =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
            if inner.trim().starts_with("file:") {
                return Err(format!("{path} names another file"));
            }
            return Masters::parse(&inner);
        }
        if text.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("zk://")) {
            return ZkUrl::parse(text).map(Masters::ZooKeeper).map_err(|error| error.to_string());
        }
        let mut https = false;
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let rest = match part.split_once("://") {
                Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                    https = false;
                    rest
                }
                Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                    https = true;
                    rest
                }
                Some((scheme, _)) => return Err(format!("masters are not reached by `{scheme}`")),
                None => part.strip_prefix("master@").unwrap_or(part),
            };
            all.push(Address::parse(rest.split('/').next().unwrap_or_default(), https)?);
        }
        if all.is_empty() { Err("names no master".to_owned()) } else { Ok(Masters::Named(all)) }
    }
}

/// Follows the leading master.
pub enum Watcher {
    Named { all: Vec<Address>, next: usize },
    ZooKeeper { _watch: MasterWatch, leading: watch::Receiver<Option<Arc<Master>>>, https: bool },
}

impl Watcher {
    /// Must be called within a runtime. `https`: how masters are reached that ZooKeeper names.
    pub fn start(masters: Masters, https: bool) -> Watcher {
        match masters {
            Masters::Named(all) => Watcher::Named { all, next: 0 },
            Masters::ZooKeeper(url) => {
                let watch = MasterWatch::start(Options::new(url));
                Watcher::ZooKeeper { leading: watch.leading(), _watch: watch, https }
            }
        }
    }

    /// Who is to be asked now; waits while nobody is known to lead. What is named is asked in turn.
    pub async fn leader(&mut self) -> Address {
        match self {
            Watcher::Named { all, next } => {
                let address = all[*next % all.len()].clone();
                *next = next.wrapping_add(1);
                address
            }
            Watcher::ZooKeeper { leading, https, .. } => {
                let found = leading.wait_for(Option::is_some).await;
                match found.ok().and_then(|it| it.as_ref().map(|it| of_master(it, *https))) {
                    Some(address) => address,
                    // The watch lives as long as this does.
                    None => std::future::pending().await,
                }
            }
        }
    }

    /// Returns once somebody else leads than whom `leader` last named, or nobody.
    pub async fn changed(&mut self) {
        match self {
            Watcher::Named { .. } => std::future::pending().await,
            Watcher::ZooKeeper { leading, .. } => {
                let seen = leading.borrow_and_update().clone();
                let other = leading
                    .wait_for(|now| now.as_ref().map(|it| &it.node) != seen.as_ref().map(|it| &it.node));
                if other.await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Whether somebody watches who leads, so that asking others is of no use.
    pub fn is_watched(&self) -> bool {
        matches!(self, Watcher::ZooKeeper { .. })
    }
}

fn of_master(master: &Master, https: bool) -> Address {
    // A certificate is made out to a name.
    let host = match (https, &master.hostname) {
        (true, Some(name)) => name.clone(),
        _ => master.host.clone(),
    };
    Address { https, host, port: master.port }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_written_in_many_ways() {
        let read = |text: &str| match Masters::parse(text) {
            Ok(Masters::Named(all)) => all.iter().map(Address::to_string).collect::<Vec<_>>().join(" "),
            Ok(Masters::ZooKeeper(url)) => url.to_string(),
            Err(why) => why,
        };
        for (text, want) in [
            ("m1:5050", "http://m1:5050"),
            ("m1", "http://m1:5050"),
            ("10.0.0.1:80, m2:81", "http://10.0.0.1:80 http://m2:81"),
            ("http://m1:5050/", "http://m1:5050"),
            ("HTTPS://m1:5443,m2:5443", "https://m1:5443 https://m2:5443"),
            ("master@m1:5050", "http://m1:5050"),
            ("[::1]:5050", "http://[::1]:5050"),
            ("zk://a:1,b:2/mesos", "zk://a:1,b:2/mesos"),
            ("zk://u:p@a:1/mesos", "zk://xxxxxxxx:xxxxxxxx@a:1/mesos"),
            ("m1:0", "`m1:0` is no address of a master: expected host:port"),
            ("m1:x", "`m1:x` is no address of a master: a port is a number from 1 to 65535"),
            ("h:99999999", "`h:99999999` is no address of a master: a port is a number from 1 to 65535"),
            ("http://u:p@m1:5050", "`…@m1:5050` is no address of a master: expected host:port"),
            ("ftp://m1", "masters are not reached by `ftp`"),
            (",", "names no master"),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }

    #[test]
    fn a_location_may_lack_its_scheme() {
        let from = Address { https: true, host: "a".to_owned(), port: 1 };
        let to = |location: &str| from.redirected(location).map(|it| it.to_string());
        assert_eq!(to("//b:5050/master/api/v1/scheduler").as_deref(), Some("https://b:5050"));
        assert_eq!(to("http://b:5050/x").as_deref(), Some("http://b:5050"));
        assert_eq!(to("/api/v1/scheduler"), None);
        assert_eq!(to("//"), None);
    }
}
