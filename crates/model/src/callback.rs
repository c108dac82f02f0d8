//! Subscribers that get every event by POST: an address, and why we know it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longer ones are refused; no proxy or server takes them either.
const LENGTH_MAX: usize = 2048;

/// An `http` or `https` URL with a host. Kept as it was written, since clients look for their own text in
/// the list of subscribers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallbackUrl(Arc<str>);

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlFault {
    Empty,
    Long,
    Character,
    Scheme,
    Host,
    Port,
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlFault::Empty => f.write_str("must name a URL such as http://collector.example/events"),
            UrlFault::Long => write!(f, "must not be longer than {LENGTH_MAX} bytes"),
            UrlFault::Character => f.write_str("must not hold blanks, control characters or quotes"),
            UrlFault::Scheme => f.write_str("must begin with http:// or https://"),
            UrlFault::Host => f.write_str("must name a host behind its scheme"),
            UrlFault::Port => f.write_str("has a port that is not between 1 and 65535"),
        }
    }
}

impl CallbackUrl {
    pub fn parse(text: &str) -> Result<CallbackUrl, UrlFault> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UrlFault::Empty);
        }
        if text.len() > LENGTH_MAX {
            return Err(UrlFault::Long);
        }
        if text.chars().any(|it| it.is_whitespace() || it.is_control() || "\"<>\\^`{|}".contains(it)) {
            return Err(UrlFault::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(UrlFault::Scheme);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(UrlFault::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlFault::Host)?;
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(UrlFault::Host),
                }
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(':') && !place.starts_with('[') {
            return Err(UrlFault::Host);
        }
        if let Some(port) = port
            && !port.parse::<u16>().is_ok_and(|it| it != 0)
        {
            return Err(UrlFault::Port);
        }
        Ok(CallbackUrl(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For the log: without user and password.
impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str("?") };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        write!(f, "{scheme}://{place}{}", path.split('?').next().unwrap_or_default())
    }
}

/// Why an address gets events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriber {
    /// Named by `--http_endpoints`: back after every start, until the flag no longer names it.
    Configured,
    /// Asked for through the API and stored until somebody takes it out.
    Asked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        use UrlFault::*;
        for (text, want) in [
            ("http://a", Ok("http://a")),
            (" http://a.example:80/x?y=z#w ", Ok("http://a.example:80/x")),
            ("HTTPS://u:p@h:1/x", Ok("HTTPS://h:1/x")),
            ("http://u:p@a@h/x", Ok("http://h/x")),
            ("http://[::1]:80/", Ok("http://[::1]:80/")),
            ("http://[::1]", Ok("http://[::1]")),
            ("http://h?token=x", Ok("http://h")),
            ("", Err(Empty)),
            ("  ", Err(Empty)),
            ("x", Err(Scheme)),
            ("ftp://h", Err(Scheme)),
            ("//h", Err(Scheme)),
            ("http:/h", Err(Scheme)),
            ("http://", Err(Host)),
            ("http:///x", Err(Host)),
            ("http://:80", Err(Host)),
            ("http://[::1", Err(Host)),
            ("http://[x]", Err(Host)),
            ("http://[::1]x", Err(Host)),
            ("http://::1/", Err(Host)),
            ("http://h:0", Err(Port)),
            ("http://h:65536", Err(Port)),
            ("http://h:", Err(Port)),
            ("http://h:x/", Err(Port)),
            ("http://a b", Err(Character)),
            ("http://a\r\nX: y", Err(Character)),
            ("http://a\0", Err(Character)),
            ("http://a/\"", Err(Character)),
        ] {
            let got = CallbackUrl::parse(text);
            match want {
                Ok(shown) => {
                    let url = got.unwrap();
                    assert_eq!((url.as_str(), url.to_string().as_str()), (text.trim(), shown));
                }
                Err(fault) => assert_eq!(got, Err(fault), "{text:?}"),
            }
        }
        assert_eq!(CallbackUrl::parse(&format!("http://{}", "a".repeat(LENGTH_MAX))), Err(Long));
    }
}
