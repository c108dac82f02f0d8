//! `zk://[user:password@]host:port[,host:port…]/path`; IPv6 addresses stand in brackets.

use std::fmt;

/// The port of a host that names none.
const PORT: u16 = 2181;

/// Where ZooKeeper is, and which node there is ours.
#[derive(Clone, PartialEq, Eq)]
pub struct ZkUrl {
    /// `user:password`, as the digest scheme wants it.
    pub credentials: Option<String>,
    /// Never empty.
    pub hosts: Vec<(String, u16)>,
    /// Begins with `/`, does not end with it, and is more than that.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid zk url ({0}); use zk://host1:port1,host2:port2/path or zk://user:password@host1:port1,host2:port2/path"
)]
pub struct UrlError(&'static str);

impl ZkUrl {
    pub fn parse(text: &str) -> Result<ZkUrl, UrlError> {
        let why = |what| Err(UrlError(what));
        let scheme = text.get(..5).filter(|it| it.eq_ignore_ascii_case("zk://"));
        let Some(rest) = scheme.map(|it| &text[it.len()..]) else { return why("it must begin with zk://") };
        // A password may hold `@` and `/`; a host holds neither, and a path of ours no `@`.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => match credentials.split_once(':') {
                // As in `u:p@a:1,u:p@b:1`, which is not one password.
                _ if credentials.contains('@') && credentials.contains(',') => {
                    return why("user:password@ stands once, before the first host");
                }
                Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                    (Some(credentials.to_owned()), rest)
                }
                _ => return why("credentials have the form user:password"),
            },
            None => (None, rest),
        };
        let Some((hosts, path)) = rest.split_once('/') else { return why("it must name a path") };
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() || path.split('/').any(|it| it.is_empty() || it == "." || it == "..") {
            return why("it must name a path of at least one node");
        }
        if path.chars().any(char::is_control) {
            return why("a path holds no control characters");
        }
        let hosts = hosts.split(',').map(host).collect::<Result<Vec<_>, _>>()?;
        Ok(ZkUrl { credentials, hosts, path: format!("/{path}") })
    }
}

fn host(text: &str) -> Result<(String, u16), UrlError> {
    if let Some((address, port)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        let (rest, port) = host(&format!("v6{port}"))?;
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) if rest == "v6" => Ok((address.to_owned(), port)),
            _ => Err(UrlError("between brackets stands an IPv6 address")),
        };
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => match port.parse::<u16>() {
            Ok(port) if port != 0 => (name, port),
            _ => return Err(UrlError("a port is a number from 1 to 65535")),
        },
        None => (text, PORT),
    };
    let legal = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(legal) {
        return Err(UrlError("a host is made of letters, digits, '-', '.' and '_'"));
    }
    Ok((name.to_owned(), port))
}

/// Without the password: this is what logs and answers show.
impl fmt::Display for ZkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zk://")?;
        if self.credentials.is_some() {
            f.write_str("xxxxxxxx:xxxxxxxx@")?;
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        f.write_str(&self.path)
    }
}

impl fmt::Debug for ZkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (text, want) in [
            ("zk://a:1/m", "zk://a:1/m"),
            ("zk://a/m/", "zk://a:2181/m"),
            ("ZK://a:1,b-2.c:2,d_e/m/n", "zk://a:1,b-2.c:2,d_e:2181/m/n"),
            ("zk://u:p@a:1/m", "zk://xxxxxxxx:xxxxxxxx@a:1/m"),
            ("zk://[::1]:1,[fe80::1],a/m", "zk://[::1]:1,[fe80::1]:2181,a:2181/m"),
        ] {
            let url = ZkUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), want);
            assert_eq!(format!("{url:?}"), want);
        }
        let odd = ZkUrl::parse("zk://us@r:p@ss:/w@a:1/m").unwrap();
        assert_eq!(odd.credentials.as_deref(), Some("us@r:p@ss:/w"));
        assert_eq!(odd.hosts, [("a".to_owned(), 1)]);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, want) in [
            ("http://a/m", "it must begin with zk://"),
            ("zk:/", "it must begin with zk://"),
            ("zk://a:1", "it must name a path"),
            ("zk://a:1/", "it must name a path of at least one node"),
            ("zk://a:1/m//n", "it must name a path of at least one node"),
            ("zk://a:1/m/../n", "it must name a path of at least one node"),
            ("zk:///m", "a host is made of letters, digits, '-', '.' and '_'"),
            ("zk://a,/m", "a host is made of letters, digits, '-', '.' and '_'"),
            ("zk://::1/m", "a host is made of letters, digits, '-', '.' and '_'"),
            ("zk://[::1/m", "a host is made of letters, digits, '-', '.' and '_'"),
            ("zk://[a]:1/m", "between brackets stands an IPv6 address"),
            ("zk://[::1]x:1/m", "between brackets stands an IPv6 address"),
            ("zk://[::1]:0/m", "a port is a number from 1 to 65535"),
            ("zk://u:p@a:1,u:p@b:1/m", "user:password@ stands once, before the first host"),
            ("zk://a:0/m", "a port is a number from 1 to 65535"),
            ("zk://a:70000/m", "a port is a number from 1 to 65535"),
            ("zk://u@a:1/m", "credentials have the form user:password"),
            ("zk://:p@a:1/m", "credentials have the form user:password"),
        ] {
            assert_eq!(ZkUrl::parse(text), Err(UrlError(want)), "{text}");
        }
    }
}
