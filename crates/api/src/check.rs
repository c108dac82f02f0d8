//! Health checks, checks and readiness checks of an app.

use marathon_model::app::*;

use crate::json::Json;

pub fn write_health_check(json: &mut Json, check: &HealthCheck) {
    let HealthCheck { kind, grace, interval, timeout, delay, max_failures, ipv6 } = check;
    let (protocol, port) = match kind {
        HealthKind::Http { https, by_engine, port, .. } => (
            match (by_engine, https) {
                (false, false) => "HTTP",
                (false, true) => "HTTPS",
                (true, false) => "MESOS_HTTP",
                (true, true) => "MESOS_HTTPS",
            },
            Some(*port),
        ),
        HealthKind::Tcp { by_engine: false, port } => ("TCP", Some(*port)),
        HealthKind::Tcp { by_engine: true, port } => ("MESOS_TCP", Some(*port)),
        HealthKind::Command { .. } => ("COMMAND", None),
    };
    json.object(|json| {
        if let HealthKind::Command { shell } = kind {
            json.key("command").object(|json| json.key("value").string(shell));
        }
        json.key("gracePeriodSeconds").seconds(*grace);
        if let HealthKind::Http { by_engine: false, ignore_1xx, .. } = kind {
            json.key("ignoreHttp1xx").bool(*ignore_1xx);
        }
        json.key("intervalSeconds").seconds(*interval);
        json.key("maxConsecutiveFailures").int(*max_failures);
        if let HealthKind::Http { path: Some(path), .. } = kind {
            json.key("path").string(path);
        }
        write_port(json, port);
        json.key("protocol").string(protocol);
        json.key("ipProtocol").string(if *ipv6 { "IPv6" } else { "IPv4" });
        json.key("timeoutSeconds").seconds(*timeout);
        json.key("delaySeconds").seconds(*delay);
    });
}

fn write_port(json: &mut Json, port: Option<CheckPort>) {
    match port {
        Some(CheckPort::Index(index)) => json.key("portIndex").int(index),
        Some(CheckPort::Number(number)) => json.key("port").int(number),
        None => {}
    }
}

pub fn write_command(json: &mut Json, command: &CheckCommand) {
    json.object(|json| match command {
        CheckCommand::Shell(shell) => json.key("shell").string(shell),
        CheckCommand::Argv(argv) => json.key("argv").strings(argv.iter().map(String::as_str)),
    });
}

pub fn write_check(json: &mut Json, check: &Check) {
    let Check { kind, interval, timeout, delay } = check;
    json.object(|json| {
        match kind {
            CheckKind::Http { port, path } => json.key("http").object(|json| {
                write_port(json, Some(*port));
                if let Some(path) = path {
                    json.key("path").string(path);
                }
                json.key("scheme").string("HTTP");
            }),
            CheckKind::Tcp { port } => json.key("tcp").object(|json| write_port(json, Some(*port))),
            CheckKind::Exec(command) => json.key("exec").object(|json| {
                write_command(json.key("command"), command);
            }),
        }
        json.key("intervalSeconds").seconds(*interval);
        json.key("timeoutSeconds").seconds(*timeout);
        json.key("delaySeconds").seconds(*delay);
    });
}

pub fn write_readiness_check(json: &mut Json, check: &ReadinessCheck) {
    let ReadinessCheck {
        name,
        https,
        path,
        port_name,
        interval,
        timeout,
        ready_codes,
        preserve_last_response,
    } = check;
    json.object(|json| {
        json.key("name").string(name);
        json.key("protocol").string(if *https { "HTTPS" } else { "HTTP" });
        json.key("path").string(path);
        json.key("portName").string(port_name);
        json.key("intervalSeconds").seconds(*interval);
        json.key("timeoutSeconds").seconds(*timeout);
        json.key("httpStatusCodesForReady").array(ready_codes, |json, code| json.int(*code));
        json.key("preserveLastResponse").bool(*preserve_last_response);
    });
}
