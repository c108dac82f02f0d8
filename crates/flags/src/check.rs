//! The forms of single values. Each test returns the reason alone; the caller names flag and value.

use crate::resources;

pub fn whole(text: &str, least: i64, most: i64) -> Result<(), String> {
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(()),
        Ok(_) if most >= i64::from(i32::MAX) => Err(format!("must be at least {least}")),
        Ok(_) => Err(format!("must lie between {least} and {most}")),
        Err(_) => Err("wrong arguments format: must be a whole number".to_owned()),
    }
}

pub fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
}

pub fn url(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some((scheme, rest)) if is_word(scheme) && !rest.is_empty() => Ok(()),
        _ => Err("must be a URL".to_owned()),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
}

/// `zk://[user:password@]host[:port][,host[:port]…]/node[/node…]`
pub fn zk(text: &str) -> Result<(), String> {
    let why = |what: &str| {
        Err(format!(
            "not a valid zk url ({what}); use zk://host1:port1,host2:port2/path or \
             zk://user:password@host1:port1,host2:port2/path"
        ))
    };
    let Some(rest) = text.strip_prefix("zk://") else { return why("it must begin with zk://") };
    // A password may hold `@` and `/`; hosts and paths hold no `@`.
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((before, after)) => (Some(before), after),
        None => (None, rest),
    };
    if let Some(credentials) = credentials {
        match credentials.split_once(':') {
            Some((user, password)) if !user.is_empty() && !user.contains('/') && !password.is_empty() => {}
            _ => return why("the part before @ must be user:password"),
        }
        if credentials.contains('@') && credentials.contains(',') {
            return why("user:password@ stands once, before the first host");
        }
    }
    let Some((hosts, path)) = rest.split_once('/') else { return why("it has no path") };
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() || path.split('/').any(|it| it.is_empty() || it.contains('@')) {
        return why("the path must have at least one node and no empty ones");
    }
    if hosts.split(',').any(|it| !is_host_port(it)) {
        return why("the hosts must be of the form host:port");
    }
    Ok(())
}

fn is_host_port(text: &str) -> bool {
    if let Some((host, port)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
        let is_port = port.is_empty() || port.starts_with(':');
        return is_port && host.parse::<std::net::Ipv6Addr>().is_ok() && is_host_port(&format!("v6{port}"));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    !host.is_empty()
        && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'))
        && port.is_none_or(|it| {
            it.bytes().all(|c| c.is_ascii_digit()) && it.parse::<u16>().is_ok_and(|it| it > 0)
        })
}

pub fn master(text: &str) -> Result<(), String> {
    let lower = text.to_ascii_lowercase();
    if text.is_empty() {
        return Err("must not be empty; 'local' runs tasks on this machine".to_owned());
    }
    if lower.starts_with("zk:") {
        return zk(&format!("zk{}", &text[2..]));
    }
    if lower.starts_with("http:") || lower.starts_with("https:") {
        return url(text);
    }
    // Anything else was passed on unchecked by the original, e.g. `file:///…` and `host:port`.
    Ok(())
}

pub fn credentials(text: &str) -> Result<(), String> {
    if text.contains(':') { Ok(()) } else { Err("must be of the form user:password".to_owned()) }
}

/// The realm stands between quotes in a header.
pub fn realm(text: &str) -> Result<(), String> {
    if text.bytes().all(|c| (b' '..=b'~').contains(&c) && c != b'"' && c != b'\\') {
        Ok(())
    } else {
        Err("must consist of printable ASCII without quotes and backslashes".to_owned())
    }
}

pub fn network_name(text: &str) -> Result<(), String> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric) && text.bytes().all(legal) {
        Ok(())
    } else {
        Err("must be a network name: letters, digits, '-', '_' and '.', a letter or digit first".to_owned())
    }
}

/// Milliseconds for something that takes its time.
pub fn some_millis(text: &str) -> Result<(), String> {
    whole(text, 1, i64::MAX)
}

/// Milliseconds for something that comes with an offer, which takes up to a second.
pub fn patience(text: &str) -> Result<(), String> {
    whole(text, 1000, i64::MAX)
}

pub fn metric_name(text: &str) -> Result<(), String> {
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.')) {
        Ok(())
    } else {
        Err("must consist of letters, digits, '-' and '.'".to_owned())
    }
}

pub fn chunks(text: &str) -> Result<(), String> {
    whole(text, 0, i64::from(i32::MAX))?;
    if text == "1" { Err("must be 0 or at least 2".to_owned()) } else { Ok(()) }
}

pub fn logstash(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some(("udp" | "tcp" | "ssl", rest)) if !rest.is_empty() => Ok(()),
        _ => Err("must begin with udp://, tcp:// or ssl://".to_owned()),
    }
}

pub fn backup(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some(("file", rest)) if rest.starts_with('/') => Ok(()),
        Some(("s3", rest)) if !rest.is_empty() => Ok(()),
        _ => Err("must be file:///… or s3://bucket/key?…".to_owned()),
    }
}

/// The entries of a list.
pub fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty())
}

const FEATURES: &[&str] =
    &["vips", "task_killing", "external_volumes", "secrets", "gpu_resources", "maintenance_mode"];

pub fn features(text: &str) -> Result<(), String> {
    match entries(text).find(|it| !FEATURES.contains(it)) {
        Some(unknown) => Err(format!("unknown feature '{unknown}'; known are {}", FEATURES.join(", "))),
        None => Ok(()),
    }
}

const DEPRECATED: &[&str] = &[
    "sync_proxy",
    "json_schemas_resource",
    "api_heavy_events",
    "proxy_events",
    "kamon_metrics",
    "app_c",
    "sanitize_accepted_resource_roles",
    "text_plain_tasks",
];

pub fn deprecated(text: &str) -> Result<(), String> {
    let known = |it: &str| DEPRECATED.contains(&it.strip_prefix("disable_").unwrap_or(it));
    match entries(text).find(|it| !known(it)) {
        Some(unknown) => Err(format!("unknown feature '{unknown}'; known are {}", DEPRECATED.join(", "))),
        None => Ok(()),
    }
}

pub fn resources(text: &str) -> Result<(), String> {
    resources::parse_resources(text).map(drop)
}

pub fn attributes(text: &str) -> Result<(), String> {
    resources::parse_attributes(text).map(drop)
}
