//! The options of the `docker run` command line that apps give as `parameters`, in terms of the API.
//!
//! The original hands them to the command line unseen. Here every option has a row that says where its
//! value goes, and one without a row is refused by name rather than dropped.

use serde_json::{Map, Value, json};

use crate::body::Draft;
use crate::quantity;

/// The two objects of a create request in which nearly everything lies.
#[derive(Clone, Copy)]
enum At {
    Config,
    Host,
}
use At::{Config, Host};

enum Rule {
    Text(At, &'static str),
    /// Appends to a list.
    Each(At, &'static str),
    /// `name=value` into an object.
    Pair(At, &'static str),
    Number(At, &'static str),
    Bytes(At, &'static str),
    Flag(At, &'static str),
    Special(fn(&mut Draft, &str) -> Result<(), String>),
    /// Means nothing here.
    Skip,
    /// Understood and not possible, with the reason.
    Not(&'static str),
}
use Rule::{Bytes, Each, Flag, Not, Number, Pair, Skip, Special, Text};

#[rustfmt::skip]
const RULES: &[(&str, Rule)] = &[
    ("add-host",           Each(Host, "ExtraHosts")),
    ("annotation",         Pair(Host, "Annotations")),
    ("blkio-weight",       Number(Host, "BlkioWeight")),
    ("cap-add",            Each(Host, "CapAdd")),
    ("cap-drop",           Each(Host, "CapDrop")),
    ("cgroup-parent",      Text(Host, "CgroupParent")),
    ("cgroupns",           Text(Host, "CgroupnsMode")),
    ("cpu-period",         Number(Host, "CpuPeriod")),
    ("cpu-quota",          Number(Host, "CpuQuota")),
    ("cpu-rt-period",      Number(Host, "CpuRealtimePeriod")),
    ("cpu-rt-runtime",     Number(Host, "CpuRealtimeRuntime")),
    ("cpu-shares",         Number(Host, "CpuShares")),
    ("c",                  Number(Host, "CpuShares")),
    ("cpus",               Special(cpus)),
    ("cpuset-cpus",        Text(Host, "CpusetCpus")),
    ("cpuset-mems",        Text(Host, "CpusetMems")),
    ("detach",             Not("containers are always watched in the foreground")),
    ("d",                  Not("containers are always watched in the foreground")),
    ("device",             Special(device)),
    ("device-cgroup-rule", Each(Host, "DeviceCgroupRules")),
    ("device-read-bps",    Special(|it, text| throttle(it, "BlkioDeviceReadBps", text))),
    ("device-read-iops",   Special(|it, text| throttle(it, "BlkioDeviceReadIOps", text))),
    ("device-write-bps",   Special(|it, text| throttle(it, "BlkioDeviceWriteBps", text))),
    ("device-write-iops",  Special(|it, text| throttle(it, "BlkioDeviceWriteIOps", text))),
    ("disable-content-trust", Skip),
    ("dns",                Each(Host, "Dns")),
    ("dns-opt",            Each(Host, "DnsOptions")),
    ("dns-option",         Each(Host, "DnsOptions")),
    ("dns-search",         Each(Host, "DnsSearch")),
    ("domainname",         Text(Config, "Domainname")),
    ("entrypoint",         Special(entrypoint)),
    ("env",                Special(env)),
    ("e",                  Special(env)),
    ("env-file",           Special(env_file)),
    ("expose",             Special(expose)),
    ("gpus",               Special(gpus)),
    ("group-add",          Each(Host, "GroupAdd")),
    ("health-cmd",         Special(|it, text| health(it, "Test", Some(json!(["CMD-SHELL", text]))))),
    ("health-interval",    Special(|it, text| health(it, "Interval", nanos(text)))),
    ("health-retries",     Special(|it, text| health(it, "Retries", number(text)))),
    ("health-start-period", Special(|it, text| health(it, "StartPeriod", nanos(text)))),
    ("health-timeout",     Special(|it, text| health(it, "Timeout", nanos(text)))),
    ("hostname",           Text(Config, "Hostname")),
    ("h",                  Text(Config, "Hostname")),
    ("init",               Flag(Host, "Init")),
    ("interactive",        Flag(Config, "OpenStdin")),
    ("i",                  Flag(Config, "OpenStdin")),
    ("ip",                 Special(|it, text| address(it, "IPv4Address", text))),
    ("ip6",                Special(|it, text| address(it, "IPv6Address", text))),
    ("ipc",                Text(Host, "IpcMode")),
    ("isolation",          Text(Host, "Isolation")),
    ("label",              Special(label)),
    ("l",                  Special(label)),
    ("link",               Each(Host, "Links")),
    ("log-driver",         Special(log_driver)),
    ("log-opt",            Special(log_option)),
    ("mac-address",        Text(Config, "MacAddress")),
    ("memory",             Bytes(Host, "Memory")),
    ("m",                  Bytes(Host, "Memory")),
    ("memory-reservation", Bytes(Host, "MemoryReservation")),
    ("memory-swap",        Bytes(Host, "MemorySwap")),
    ("memory-swappiness",  Number(Host, "MemorySwappiness")),
    ("mount",              Special(mount)),
    ("name",               Not("Marathon names the containers")),
    ("net",                Special(network)),
    ("network",            Special(network)),
    ("net-alias",          Special(alias)),
    ("network-alias",      Special(alias)),
    ("no-healthcheck",     Special(no_health_check)),
    ("oom-kill-disable",   Flag(Host, "OomKillDisable")),
    ("oom-score-adj",      Number(Host, "OomScoreAdj")),
    ("pid",                Text(Host, "PidMode")),
    ("pids-limit",         Number(Host, "PidsLimit")),
    ("privileged",         Flag(Host, "Privileged")),
    ("publish",            Special(publish)),
    ("p",                  Special(publish)),
    ("publish-all",        Flag(Host, "PublishAllPorts")),
    ("P",                  Flag(Host, "PublishAllPorts")),
    ("pull",               Not("use `forcePullImage`")),
    ("read-only",          Flag(Host, "ReadonlyRootfs")),
    ("restart",            Special(restart)),
    ("rm",                 Skip),
    ("runtime",            Text(Host, "Runtime")),
    ("security-opt",       Special(security)),
    ("shm-size",           Bytes(Host, "ShmSize")),
    ("sig-proxy",          Skip),
    ("stop-signal",        Text(Config, "StopSignal")),
    ("stop-timeout",       Skip), // the app's grace period counts
    ("storage-opt",        Pair(Host, "StorageOpt")),
    ("sysctl",             Pair(Host, "Sysctls")),
    ("tmpfs",              Special(tmpfs)),
    ("tty",                Flag(Config, "Tty")),
    ("t",                  Flag(Config, "Tty")),
    ("ulimit",             Special(ulimit)),
    ("user",               Text(Config, "User")),
    ("u",                  Text(Config, "User")),
    ("userns",             Text(Host, "UsernsMode")),
    ("uts",                Text(Host, "UTSMode")),
    ("volume",             Special(volume)),
    ("v",                  Special(volume)),
    ("volume-driver",      Text(Host, "VolumeDriver")),
    ("volumes-from",       Each(Host, "VolumesFrom")),
    ("workdir",            Text(Config, "WorkingDir")),
    ("w",                  Text(Config, "WorkingDir")),
];

/// Enters one option into the draft; the error names the option and says what is wrong.
pub(crate) fn apply(draft: &mut Draft, key: &str, value: &str) -> Result<(), String> {
    let name = key.trim_start_matches('-');
    let rule = RULES.iter().find(|(it, _)| *it == name).map(|(_, rule)| rule);
    let Some(rule) = rule else {
        return Err(format!("the Docker parameter `{key}` is not known"));
    };
    let wrong = |what: &str| format!("the Docker parameter `{key}` cannot be `{value}`: {what}");
    match rule {
        Text(at, field) => put(draft, *at, field, json!(value)),
        Each(at, field) => push(draft_map(draft, *at), field, json!(value)),
        Pair(at, field) => {
            let (name, value) = value.split_once('=').ok_or_else(|| wrong("it must be `name=value`"))?;
            object(draft_map(draft, *at), field).insert(name.to_owned(), json!(value));
        }
        Number(at, field) => {
            let number = number(value).ok_or_else(|| wrong("it must be a whole number"))?;
            put(draft, *at, field, number);
        }
        Bytes(at, field) => {
            let amount = if value.trim() == "-1" { Some(-1) } else { quantity::bytes(value) };
            let amount = amount.ok_or_else(|| wrong("it must be an amount such as `512m`"))?;
            put(draft, *at, field, json!(amount));
        }
        Flag(at, field) => {
            let flag = quantity::flag(value).ok_or_else(|| wrong("it must be `true` or `false`"))?;
            put(draft, *at, field, json!(flag));
        }
        Special(enter) => enter(draft, value).map_err(|it| wrong(&it))?,
        Skip => {}
        Not(why) => return Err(format!("the Docker parameter `{key}` is not possible: {why}")),
    }
    Ok(())
}

fn draft_map(draft: &mut Draft, at: At) -> &mut Map<String, Value> {
    match at {
        Config => &mut draft.config,
        Host => &mut draft.host,
    }
}

fn put(draft: &mut Draft, at: At, field: &str, value: Value) {
    draft_map(draft, at).insert(field.to_owned(), value);
}

/// The object in a field, made if there is none.
fn object<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(field).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("it was just made an object")
}

fn push(map: &mut Map<String, Value>, field: &str, value: Value) {
    let slot = map.entry(field).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("it was just made an array").push(value);
}

fn number(text: &str) -> Option<Value> {
    text.trim().parse::<i64>().ok().map(|it| json!(it))
}

fn nanos(text: &str) -> Option<Value> {
    quantity::duration_nanos(text).map(|it| json!(it))
}

fn cpus(draft: &mut Draft, value: &str) -> Result<(), String> {
    let nanos = quantity::nano_cpus(value).ok_or("it must be a number of cpus")?;
    // The daemon takes either form of the limit, not both.
    draft.host.remove("CpuQuota");
    draft.host.remove("CpuPeriod");
    draft.host.insert("NanoCpus".to_owned(), json!(nanos));
    Ok(())
}

fn device(draft: &mut Draft, value: &str) -> Result<(), String> {
    let mut parts = value.splitn(3, ':');
    let host = parts.next().filter(|it| !it.is_empty()).ok_or("it must be `host[:container][:rwm]`")?;
    let rest: Vec<&str> = parts.collect();
    let is_mode = |it: &str| !it.is_empty() && it.chars().all(|c| "rwm".contains(c));
    let (inside, mode) = match rest[..] {
        [] => (host, "rwm"),
        [mode] if is_mode(mode) => (host, mode),
        [inside] => (inside, "rwm"),
        [inside, mode, ..] => (inside, mode),
    };
    let device = json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode });
    push(&mut draft.host, "Devices", device);
    Ok(())
}

fn throttle(draft: &mut Draft, field: &str, value: &str) -> Result<(), String> {
    let (path, rate) = value.rsplit_once(':').ok_or("it must be `device:rate`")?;
    let rate = quantity::bytes(rate).ok_or("it must be `device:rate`")?;
    push(&mut draft.host, field, json!({ "Path": path, "Rate": rate }));
    Ok(())
}

fn entrypoint(draft: &mut Draft, value: &str) -> Result<(), String> {
    draft.entrypoint = Some(value.to_owned());
    Ok(())
}

fn env(draft: &mut Draft, value: &str) -> Result<(), String> {
    let (name, value) = value.split_once('=').ok_or("it must be `NAME=value`")?;
    if name.is_empty() {
        return Err("it must be `NAME=value`".to_owned());
    }
    draft.env.push((name.to_owned(), value.to_owned()));
    Ok(())
}

fn env_file(draft: &mut Draft, path: &str) -> Result<(), String> {
    let text = crate::registry::read_small(std::path::Path::new(path))?;
    for line in text.lines().map(str::trim_start).filter(|it| !it.is_empty() && !it.starts_with('#')) {
        env(draft, line).map_err(|_| format!("the line `{line}` of the file is not `NAME=value`"))?;
    }
    Ok(())
}

fn expose(draft: &mut Draft, value: &str) -> Result<(), String> {
    let (range, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    for port in quantity::ports(range).ok_or("it must be `port[/protocol]`")? {
        draft.expose(port, protocol);
    }
    Ok(())
}

fn gpus(draft: &mut Draft, value: &str) -> Result<(), String> {
    let count =
        if value == "all" { -1 } else { value.parse::<i64>().map_err(|_| "it must be `all` or a number")? };
    let request = json!({ "Count": count, "Capabilities": [["gpu"]] });
    push(&mut draft.host, "DeviceRequests", request);
    Ok(())
}

fn health(draft: &mut Draft, field: &str, value: Option<Value>) -> Result<(), String> {
    let value = value.ok_or("it must be an amount such as `30s`, or a number of retries")?;
    object(&mut draft.config, "Healthcheck").insert(field.to_owned(), value);
    Ok(())
}

fn no_health_check(draft: &mut Draft, value: &str) -> Result<(), String> {
    if quantity::flag(value).ok_or("it must be `true` or `false`")? {
        draft.config.insert("Healthcheck".to_owned(), json!({ "Test": ["NONE"] }));
    }
    Ok(())
}

fn address(draft: &mut Draft, field: &str, value: &str) -> Result<(), String> {
    value.parse::<std::net::IpAddr>().map_err(|_| "it must be an IP address")?;
    object(&mut draft.endpoint, "IPAMConfig").insert(field.to_owned(), json!(value));
    Ok(())
}

fn alias(draft: &mut Draft, value: &str) -> Result<(), String> {
    push(&mut draft.endpoint, "Aliases", json!(value));
    Ok(())
}

fn network(draft: &mut Draft, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("it must be the name of a network".to_owned());
    }
    draft.networks = vec![value.to_owned()];
    Ok(())
}

fn label(draft: &mut Draft, value: &str) -> Result<(), String> {
    let (name, value) = value.split_once('=').unwrap_or((value, ""));
    draft.labels.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn log_driver(draft: &mut Draft, value: &str) -> Result<(), String> {
    object(&mut draft.host, "LogConfig").insert("Type".to_owned(), json!(value));
    Ok(())
}

fn log_option(draft: &mut Draft, value: &str) -> Result<(), String> {
    let (name, value) = value.split_once('=').ok_or("it must be `name=value`")?;
    let log = object(&mut draft.host, "LogConfig");
    object(log, "Config").insert(name.to_owned(), json!(value));
    Ok(())
}

fn mount(draft: &mut Draft, value: &str) -> Result<(), String> {
    let mut mount = Map::new();
    mount.insert("Type".to_owned(), json!("volume"));
    for part in value.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        let is_set = || quantity::flag(value).ok_or(format!("`{part}` must be `true` or `false`"));
        match name {
            "type" => mount.insert("Type".to_owned(), json!(value)),
            "source" | "src" => mount.insert("Source".to_owned(), json!(value)),
            "target" | "dst" | "destination" => mount.insert("Target".to_owned(), json!(value)),
            "readonly" | "ro" => mount.insert("ReadOnly".to_owned(), json!(is_set()?)),
            "consistency" => None,
            "bind-propagation" => {
                object(&mut mount, "BindOptions").insert("Propagation".to_owned(), json!(value))
            }
            "volume-nocopy" => {
                object(&mut mount, "VolumeOptions").insert("NoCopy".to_owned(), json!(is_set()?))
            }
            "volume-driver" => {
                let options = object(&mut mount, "VolumeOptions");
                object(options, "DriverConfig").insert("Name".to_owned(), json!(value))
            }
            "volume-opt" => {
                let (name, value) = value.split_once('=').ok_or("`volume-opt` must be `name=value`")?;
                let options = object(&mut mount, "VolumeOptions");
                object(object(options, "DriverConfig"), "Options").insert(name.to_owned(), json!(value))
            }
            "tmpfs-size" => {
                let size = quantity::bytes(value).ok_or("`tmpfs-size` must be an amount such as `64m`")?;
                object(&mut mount, "TmpfsOptions").insert("SizeBytes".to_owned(), json!(size))
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| "`tmpfs-mode` must be octal")?;
                object(&mut mount, "TmpfsOptions").insert("Mode".to_owned(), json!(mode))
            }
            _ => return Err(format!("`{name}` is not known")),
        };
    }
    if !mount.contains_key("Target") {
        return Err("it has no `target`".to_owned());
    }
    push(&mut draft.host, "Mounts", Value::Object(mount));
    Ok(())
}

/// `[address:][host port:]container port[/protocol]`, each port also as a range.
fn publish(draft: &mut Draft, value: &str) -> Result<(), String> {
    let wrong = "it must be `[address:][host port:]container port[/protocol]`";
    let (ports, protocol) = value.rsplit_once('/').unwrap_or((value, "tcp"));
    let mut parts = ports.rsplitn(3, ':');
    let inside = parts.next().and_then(quantity::ports).ok_or(wrong)?;
    let outside = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default().trim_matches(['[', ']']);
    if outside.is_empty() {
        inside.for_each(|port| draft.publish(port, protocol, address, String::new()));
        return Ok(());
    }
    let outside = quantity::ports(outside).ok_or(wrong)?;
    if outside.len() != inside.len() {
        return Err("the ranges have different lengths".to_owned());
    }
    for (inside, outside) in inside.zip(outside) {
        draft.publish(inside, protocol, address, outside.to_string());
    }
    Ok(())
}

fn restart(_: &mut Draft, value: &str) -> Result<(), String> {
    match value {
        "" | "no" => Ok(()),
        _ => Err("what ends is started again by Marathon".to_owned()),
    }
}

fn security(draft: &mut Draft, value: &str) -> Result<(), String> {
    let (name, rest) = match value.split_once(['=', ':']) {
        Some((name, rest)) => (name, Some(rest)),
        None => (value, None),
    };
    let text = match (name, rest) {
        // The daemon wants the profile itself, only clients know files.
        ("seccomp", Some(path)) if path.starts_with('/') => {
            format!("seccomp={}", crate::registry::read_small(std::path::Path::new(path))?)
        }
        (_, Some(rest)) => format!("{name}={rest}"),
        ("no-new-privileges", None) => name.to_owned(),
        (_, None) => return Err("it must be `name=value`".to_owned()),
    };
    push(&mut draft.host, "SecurityOpt", json!(text));
    Ok(())
}

fn tmpfs(draft: &mut Draft, value: &str) -> Result<(), String> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    object(&mut draft.host, "Tmpfs").insert(path.to_owned(), json!(options));
    Ok(())
}

fn ulimit(draft: &mut Draft, value: &str) -> Result<(), String> {
    let wrong = "it must be `name=soft[:hard]`";
    let (name, limits) = value.split_once('=').ok_or(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "unlimited" => Ok(-1),
        _ => text.parse::<i64>().map_err(|_| wrong),
    };
    let limit = json!({ "Name": name, "Soft": number(soft)?, "Hard": number(hard)? });
    push(&mut draft.host, "Ulimits", limit);
    Ok(())
}

fn volume(draft: &mut Draft, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("it must be `[source:]path[:options]`".to_owned());
    }
    if value.contains(':') {
        push(&mut draft.host, "Binds", json!(value));
    } else {
        object(&mut draft.config, "Volumes").insert(value.to_owned(), json!({}));
    }
    Ok(())
}
