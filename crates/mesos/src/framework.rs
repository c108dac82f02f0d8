//! Who we are for the master, and for which roles offers are wanted.

use std::collections::BTreeSet;

use marathon_mesos_v1 as v1;
use v1::FrameworkInfoCapabilityType as Capability;

use crate::config::{Framework, MesosConfig};

/// The roles of this framework. A role that was once subscribed to stays until the process ends: tasks may run under
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    known: BTreeSet<String>,
    wanted: BTreeSet<String>,
    /// Whether roles without demand are kept from getting offers.
    suppress: bool,
}

impl Roles {
    pub fn new(config: &MesosConfig) -> Roles {
        Roles {
            known: config.roles.iter().map(|it| it.to_string()).collect(),
            wanted: BTreeSet::new(),
            suppress: config.suppress,
        }
    }

    #[cfg(test)]
    pub fn of(known: &[&str]) -> Roles {
        let known = known.iter().map(|it| (*it).to_owned()).collect();
        Roles { known, wanted: BTreeSet::new(), suppress: true }
    }

    /// Offers are wanted for these; whether some of them were not known before.
    pub fn want<'a>(&mut self, roles: impl Iterator<Item = &'a str>) -> bool {
        let before = self.known.len();
        for role in roles {
            self.known.insert(role.to_owned());
            self.wanted.insert(role.to_owned());
        }
        before < self.known.len()
    }

    pub fn drop_demand<'a>(&mut self, roles: impl Iterator<Item = &'a str>) {
        for role in roles {
            self.wanted.remove(role);
        }
    }

    /// After a new subscription the core says anew what it wants.
    pub fn start_over(&mut self) {
        self.wanted.clear();
    }

    pub fn suppressed(&self) -> Vec<String> {
        match self.suppress {
            true => self.known.difference(&self.wanted).cloned().collect(),
            false => Vec::new(),
        }
    }

    pub fn known(&self) -> Vec<String> {
        self.known.iter().cloned().collect()
    }
}

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
        failover_timeout: Some(of.failover_timeout.as_secs_f64()),
        checkpoint: Some(of.checkpoint),
        roles: roles.known(),
        hostname: Some(of.hostname.clone()),
        principal: of.principal.clone(),
        webui_url: Some(of.webui_url.clone()),
        capabilities: capabilities.into_iter().map(capability).collect(),
        ..Default::default()
    }
}
