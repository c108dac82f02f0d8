//! Checks that an executor carries out beside the task.

use std::time::Duration;

use marathon_mesos_v1 as v1;
use marathon_model::offer::{EngineCheck, EngineCheckKind};

use crate::command;

fn protocol(ipv6: bool) -> Option<i32> {
    // Absent is IPv4, and masters of before 1.6 know nothing else.
    ipv6.then_some(v1::NetworkInfoProtocol::IPv6 as i32)
}

/// An executor that is told 0 kills at the first failure; for us it means never.
fn most(failures: u32) -> u32 {
    if failures == 0 { u32::MAX } else { failures }
}

/// A master refuses tasks with a path that does not begin so.
fn rooted(path: &str) -> Option<String> {
    Some(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

fn seconds(it: Duration) -> Option<f64> {
    Some(it.as_secs_f64())
}

pub fn health(it: &EngineCheck) -> v1::HealthCheck {
    let mut info = v1::HealthCheck {
        delay_seconds: seconds(it.delay),
        interval_seconds: seconds(it.interval),
        timeout_seconds: seconds(it.timeout),
        consecutive_failures: Some(most(it.max_failures)),
        grace_period_seconds: seconds(it.grace),
        ..Default::default()
    };
    match &it.kind {
        EngineCheckKind::Command(it) => {
            info.r#type = Some(v1::HealthCheckType::COMMAND as i32);
            info.command = Some(command::of_check(it));
        }
        EngineCheckKind::Http { https, port, path, ipv6 } => {
            info.r#type = Some(v1::HealthCheckType::HTTP as i32);
            info.http = Some(v1::HealthCheckHttpCheckInfo {
                protocol: protocol(*ipv6),
                scheme: Some(if *https { "https" } else { "http" }.to_owned()),
                port: (*port).into(),
                path: rooted(path),
                statuses: Vec::new(),
            });
        }
        EngineCheckKind::Tcp { port, ipv6 } => {
            info.r#type = Some(v1::HealthCheckType::TCP as i32);
            info.tcp = Some(v1::HealthCheckTcpCheckInfo { protocol: protocol(*ipv6), port: (*port).into() });
        }
    }
    info
}

pub fn check(it: &EngineCheck) -> v1::CheckInfo {
    let mut info = v1::CheckInfo {
        delay_seconds: seconds(it.delay),
        interval_seconds: seconds(it.interval),
        timeout_seconds: seconds(it.timeout),
        ..Default::default()
    };
    match &it.kind {
        EngineCheckKind::Command(it) => {
            info.r#type = Some(v1::CheckInfoType::COMMAND as i32);
            info.command = Some(v1::CheckInfoCommand { command: command::of_check(it) });
        }
        EngineCheckKind::Http { port, path, .. } => {
            info.r#type = Some(v1::CheckInfoType::HTTP as i32);
            info.http = Some(v1::CheckInfoHttp { port: (*port).into(), path: rooted(path) });
        }
        EngineCheckKind::Tcp { port, .. } => {
            info.r#type = Some(v1::CheckInfoType::TCP as i32);
            info.tcp = Some(v1::CheckInfoTcp { port: (*port).into() });
        }
    }
    info
}
