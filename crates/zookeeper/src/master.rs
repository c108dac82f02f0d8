//! Who leads the Mesos masters: the lowest of the numbered nodes they keep below a path.
//!
//! ```text
//! /mesos/json.info_0000000023   {"address":{"hostname":"m1","ip":"10.0.0.1","port":5050},…}
//! /mesos/json.info_0000000024
//! /mesos/log_replicas           not a master
//! /mesos/info_0000000007        a master before Mesos 0.24: told, and passed over
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Client, Error, Options};

/// Looks again so often although nothing was told, should a watch ever be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A leading master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// The node that says so, `json.info_0000000023`. Another one is another leadership, even of the same master.
    pub node: String,
    /// New with each start of the master. Empty if the master does not tell.
    pub id: String,
    /// Where it listens: an address of numbers where it tells one.
    pub host: String,
    pub port: u16,
    pub hostname: Option<String>,
    pub version: Option<String>,
    pub region: Option<String>,
    pub zone: Option<String>,
}

/// Follows the leading master. Stops when dropped.
#[derive(Debug)]
pub struct MasterWatch {
    leading: watch::Receiver<Option<Arc<Master>>>,
    task: JoinHandle<()>,
}

impl MasterWatch {
    /// Begins to look. Must be called within a tokio runtime.
    pub fn start(options: Options) -> MasterWatch {
        let (sender, leading) = watch::channel(None);
        MasterWatch { leading, task: tokio::spawn(follow(options, sender)) }
    }

    /// `None` while none leads or nobody can tell: an outage of ZooKeeper shorter than the session changes
    /// nothing, a longer one ends in `None` until it is over.
    pub fn leading(&self) -> watch::Receiver<Option<Arc<Master>>> {
        self.leading.clone()
    }
}

impl Drop for MasterWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(options: Options, leading: watch::Sender<Option<Arc<Master>>>) {
    let mut pause = PAUSE_MIN;
    let mut told = String::new();
    loop {
        let client = Client::connect(&options);
        tokio::select! {
            error = follow_session(&client, &options.url.path, &leading, &mut pause) => {
                let error = error.to_string();
                if error != told {
                    tracing::warn!(zk = %options.url, error, "cannot look for the leading Mesos master; trying again");
                    told = error;
                }
            }
            state = client.over() => tracing::warn!(zk = %options.url, ?state, "lost sight of the Mesos masters"),
        }
        tell(&leading, None);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Returns what ended it.
async fn follow_session(
    client: &Client,
    path: &str,
    leading: &watch::Sender<Option<Arc<Master>>>,
    pause: &mut Duration,
) -> Error {
    loop {
        let fired = match look(client, path).await {
            Ok((master, watch)) => {
                *pause = PAUSE_MIN;
                tell(leading, master);
                watch
            }
            // The session goes on, and so does what is known of the masters.
            Err(Error::ConnectionLost | Error::Timeout) => continue,
            Err(error) => return error,
        };
        // Either way the next thing is to look again.
        let _ = tokio::time::timeout(LOOK_AGAIN, fired.fired()).await;
    }
}

fn tell(leading: &watch::Sender<Option<Arc<Master>>>, master: Option<Master>) {
    leading.send_if_modified(|before| {
        let changed = before.as_deref() != master.as_ref();
        if changed {
            match &master {
                Some(it) => {
                    tracing::info!(node = it.node, host = it.host, port = it.port, "a Mesos master leads")
                }
                None => tracing::info!("no Mesos master leads"),
            }
            *before = master.map(Arc::new);
        }
        changed
    });
}

async fn look(client: &Client, path: &str) -> Result<(Option<Master>, crate::Watch), Error> {
    loop {
        let (names, watch) = match client.watch_children(path).await {
            Ok(found) => found,
            Err(Error::NoNode) => match client.watch(path).await? {
                (None, watch) => return Ok((None, watch)),
                // It came just now.
                (Some(_), _) => continue,
            },
            Err(error) => return Err(error),
        };
        let Some(name) = leader(&names) else { return Ok((None, watch)) };
        match client.get(&format!("{path}/{name}")).await {
            Ok((content, _)) => {
                let master = parse(name, &content);
                if master.is_none() {
                    tracing::warn!(path, name, "the leading Mesos master does not say where it is");
                }
                return Ok((master, watch));
            }
            // It went between the two looks.
            Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The lowest number leads, whatever the rest of the name.
fn leader(names: &[String]) -> Option<&str> {
    let number = |name: &str| name.rsplit_once('_').and_then(|(_, number)| number.parse::<u32>().ok());
    if let Some(old) = names.iter().find(|it| it.starts_with("info_")) {
        tracing::warn!(name = old, "a Mesos master older than 0.24 is passed over");
    }
    let masters = names.iter().filter(|it| it.starts_with("json.info_"));
    let masters = masters.filter_map(|it| Some((number(it)?, it.as_str())));
    masters.min().map(|(_, name)| name)
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    id: String,
    address: Option<Address>,
    hostname: Option<String>,
    pid: Option<String>,
    ip: Option<u32>,
    port: Option<u16>,
    version: Option<String>,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Address {
    hostname: Option<String>,
    ip: Option<String>,
    port: u16,
}

#[derive(Deserialize)]
struct Domain {
    fault_domain: Option<FaultDomain>,
}

#[derive(Deserialize)]
struct FaultDomain {
    region: Option<Named>,
    zone: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The address; before there was one, the process id `master@10.0.0.1:5050`; last the bare number, whose
/// bytes lie as a little-endian machine sees network order.
fn parse(node: &str, content: &[u8]) -> Option<Master> {
    let info: Info = serde_json::from_slice(content).ok()?;
    let mut hostname = info.hostname;
    let (host, port) = if let Some(address) = info.address {
        hostname = address.hostname.or(hostname);
        (address.ip.or_else(|| hostname.clone())?, address.port)
    } else if let Some((host, port)) = info.pid.as_deref().and_then(place) {
        (host.to_owned(), port)
    } else {
        (Ipv4Addr::from(info.ip?.to_le_bytes()).to_string(), info.port?)
    };
    let (region, zone) = match info.domain.and_then(|it| it.fault_domain) {
        Some(it) => (it.region.map(|it| it.name), it.zone.map(|it| it.name)),
        None => (None, None),
    };
    Some(Master {
        node: node.to_owned(),
        id: info.id,
        host,
        port,
        hostname,
        version: info.version,
        region,
        zone,
    })
}

fn place(pid: &str) -> Option<(&str, u16)> {
    let (_, place) = pid.split_once('@')?;
    let (host, port) = place.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_leads() {
        for (names, want) in [
            (
                &["log_replicas", "json.info_0000000024", "json.info_0000000023"][..],
                Some("json.info_0000000023"),
            ),
            (&["json.info_0000000009", "info_0000000001"], Some("json.info_0000000009")),
            (&["json.info_x", "info_0000000001", "0000000002"], None),
            (&[], None),
        ] {
            let names: Vec<String> = names.iter().map(|it| it.to_string()).collect();
            assert_eq!(leader(&names), want);
        }
    }

    #[test]
    fn masters_say_where_they_are() {
        for (content, want) in [
            (
                r#"{"address":{"hostname":"m1","ip":"10.0.0.1","port":5050},"ip":1,"port":2}"#,
                Some("10.0.0.1:5050"),
            ),
            (r#"{"address":{"hostname":"m1","port":5050}}"#, Some("m1:5050")),
            (r#"{"pid":"master@10.0.0.2:5051"}"#, Some("10.0.0.2:5051")),
            (r#"{"ip":16777226,"port":5052,"unknown":[]}"#, Some("10.0.0.1:5052")),
            (r#"{"id":"x"}"#, None),
            ("", None),
        ] {
            let master = parse("json.info_1", content.as_bytes());
            assert_eq!(master.map(|it| format!("{}:{}", it.host, it.port)).as_deref(), want, "{content}");
        }
    }
}
