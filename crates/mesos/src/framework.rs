//! Who we are for the master.

use std::time::Duration;

use marathon_mesos_v1 as v1;
use v1::FrameworkInfoCapabilityType as Capability;

use crate::config::Framework;
use crate::roles::Roles;

/// Masters count nanoseconds in 64 bits, and refuse a framework that asks for more.
const FAILOVER_CEILING: Duration = Duration::from_secs(290 * 365 * 24 * 3600);

pub fn info(of: &Framework, id: Option<&str>, roles: &Roles) -> v1::FrameworkInfo {
    let mut capabilities =
        vec![Capability::PARTITION_AWARE, Capability::REGION_AWARE, Capability::MULTI_ROLE];
    if of.task_killing {
        capabilities.push(Capability::TASK_KILLING_STATE);
    }
    if of.gpus {
        capabilities.push(Capability::GPU_RESOURCES);
    }
    let capability = |it: Capability| v1::FrameworkInfoCapability { r#type: Some(it as i32) };
    v1::FrameworkInfo {
        user: of.user.clone(),
        name: of.name.clone(),
        id: id.map(|it| v1::FrameworkId { value: it.to_owned() }),
        failover_timeout: Some(of.failover_timeout.min(FAILOVER_CEILING).as_secs_f64()),
        checkpoint: Some(of.checkpoint),
        roles: roles.known(),
        hostname: Some(of.hostname.clone()),
        principal: of.principal.clone(),
        webui_url: Some(of.webui_url.clone()),
        capabilities: capabilities.into_iter().map(capability).collect(),
        ..Default::default()
    }
}
