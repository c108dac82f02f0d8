//! Health checks, the informative check, readiness checks.

use std::time::Duration;

use marathon_model::app::*;
use marathon_model::update::HealthCheckUpdate;
use serde_json::Value;

use crate::network::port_name;
use crate::reader::{Object, Reader, present};

#[derive(Clone, Copy)]
enum Protocol {
    Http { https: bool, by_engine: bool },
    Tcp { by_engine: bool },
    Command,
}

const PROTOCOLS: [(&str, Protocol); 7] = [
    ("HTTP", Protocol::Http { https: false, by_engine: false }),
    ("HTTPS", Protocol::Http { https: true, by_engine: false }),
    ("TCP", Protocol::Tcp { by_engine: false }),
    ("COMMAND", Protocol::Command),
    ("MESOS_HTTP", Protocol::Http { https: false, by_engine: true }),
    ("MESOS_HTTPS", Protocol::Http { https: true, by_engine: true }),
    ("MESOS_TCP", Protocol::Tcp { by_engine: true }),
];

pub fn seconds(r: &mut Reader, object: &Object, key: &str, default: u64) -> Duration {
    r.optional(object, key, Reader::seconds).unwrap_or(Duration::from_secs(default))
}

/// The port and whether both ways of naming it were used. Neither means the first port.
fn port(r: &mut Reader, object: &Object) -> (CheckPort, bool) {
    let index = r.optional(object, "portIndex", Reader::count);
    let number = r.optional(object, "port", Reader::port);
    let port = match (number, index) {
        (Some(number), _) => CheckPort::Number(number),
        (None, index) => CheckPort::Index(index.unwrap_or(0)),
    };
    (port, number.is_some() && index.is_some())
}

pub fn health(r: &mut Reader, value: &Value) -> Option<HealthCheckUpdate> {
    let object = r.object(value)?;
    let protocol = r.optional(object, "protocol", |r, it| r.word(it, &PROTOCOLS));
    let protocol = protocol.unwrap_or(Protocol::Http { https: false, by_engine: false });
    let path = r.optional(object, "path", Reader::text);
    let (port, port_and_index) = port(r, object);
    let ignore_1xx = r.optional(object, "ignoreHttp1xx", Reader::boolean).unwrap_or(false);
    let kind = match protocol {
        Protocol::Http { https, by_engine } => {
            Some(HealthKind::Http { https, by_engine, path, port, ignore_1xx })
        }
        Protocol::Tcp { by_engine } => Some(HealthKind::Tcp { by_engine, port }),
        Protocol::Command => {
            let shell = r.required(object, "command", |r, it| {
                let command = r.object(it)?;
                r.required(command, "value", Reader::some_text)
            });
            shell.map(|shell| HealthKind::Command { shell })
        }
    };
    let is_command = matches!(protocol, Protocol::Command);
    let ipv6 = r.optional(object, "ipProtocol", |r, it| r.word(it, &[("IPv4", false), ("IPv6", true)]));
    let check = HealthCheck {
        grace: seconds(r, object, "gracePeriodSeconds", 300),
        interval: seconds(r, object, "intervalSeconds", 60),
        timeout: seconds(r, object, "timeoutSeconds", 20),
        delay: seconds(r, object, "delaySeconds", 15),
        max_failures: r.optional(object, "maxConsecutiveFailures", Reader::count).unwrap_or(3),
        ipv6: ipv6.unwrap_or(false),
        kind: kind?,
    };
    Some(HealthCheckUpdate { check, port_and_index: port_and_index && !is_command })
}

pub fn informative(r: &mut Reader, value: &Value) -> Option<Check> {
    let object = r.object(value)?;
    let given = ["http", "tcp", "exec"].iter().filter(|it| present(object, it).is_some()).count();
    if given != 1 {
        r.broken("Only one of http, tcp, or exec may be specified");
    }
    let both = |r: &mut Reader, both: bool| {
        if both {
            r.broken("check must specify either a port or a portIndex");
        }
    };
    let http = r.optional(object, "http", |r, it| {
        let object = r.object(it)?;
        let (port, port_and_index) = port(r, object);
        both(r, port_and_index);
        let path = r.optional(object, "path", Reader::locator);
        // The engine knows no other scheme here.
        r.optional(object, "scheme", |r, it| r.word(it, &[("HTTP", ())]));
        Some(CheckKind::Http { port, path })
    });
    let tcp = r.optional(object, "tcp", |r, it| {
        let object = r.object(it)?;
        let (port, port_and_index) = port(r, object);
        both(r, port_and_index);
        Some(CheckKind::Tcp { port })
    });
    let exec = r.optional(object, "exec", |r, it| {
        let object = r.object(it)?;
        r.required(object, "command", command).map(CheckKind::Exec)
    });
    Some(Check {
        interval: seconds(r, object, "intervalSeconds", 60),
        timeout: seconds(r, object, "timeoutSeconds", 20),
        delay: seconds(r, object, "delaySeconds", 15),
        kind: http.or(tcp).or(exec)?,
    })
}

pub fn command(r: &mut Reader, value: &Value) -> Option<CheckCommand> {
    let object = r.object(value)?;
    if present(object, "argv").is_none() {
        return r.required(object, "shell", Reader::some_text).map(CheckCommand::Shell);
    }
    if present(object, "shell").is_some() {
        r.broken("Only one of shell or argv may be specified");
    }
    let argv = r.required(object, "argv", |r, it| {
        let argv = r.list(it, Reader::text)?;
        if argv.is_empty() { r.misshapen("error.minLength") } else { Some(argv) }
    });
    argv.map(CheckCommand::Argv)
}

pub fn readiness(r: &mut Reader, value: &Value) -> Option<ReadinessCheck> {
    let object = r.object(value)?;
    let name = r.optional(object, "name", Reader::some_text);
    let https = r.optional(object, "protocol", |r, it| r.word(it, &[("HTTP", false), ("HTTPS", true)]));
    let path = r.optional(object, "path", Reader::locator);
    let port_name = r.optional(object, "portName", port_name);
    let timeout = r.optional(object, "timeoutSeconds", |r, it| r.int(it, 1, i32::MAX));
    let ready_codes = r.optional(object, "httpStatusCodesForReady", |r, it| {
        let mut codes = r.list(it, |r, it| r.int(it, 100, 999).and_then(|it| u16::try_from(it).ok()))?;
        codes.sort_unstable();
        codes.dedup();
        if codes.is_empty() { r.misshapen("error.minLength") } else { Some(codes) }
    });
    let preserve = r.optional(object, "preserveLastResponse", Reader::boolean);
    Some(ReadinessCheck {
        name: name.unwrap_or_else(|| "readinessCheck".to_owned()),
        https: https.unwrap_or(false),
        path: path.unwrap_or_else(|| "/".to_owned()),
        port_name: port_name.unwrap_or_else(|| "http-api".to_owned()),
        interval: seconds(r, object, "intervalSeconds", 30),
        timeout: crate::seconds(timeout.unwrap_or(10).into()),
        ready_codes: ready_codes.unwrap_or_else(|| vec![200]),
        preserve_last_response: preserve.unwrap_or(false),
    })
}
