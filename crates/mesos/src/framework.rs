//! Who we are for the master, and for which roles offers are wanted.

use std::collections::BTreeSet;
use std::time::Duration;

use marathon_mesos_v1 as v1;
use v1::FrameworkInfoCapabilityType as Capability;

use crate::config::{Framework, MesosConfig};

/// Masters count nanoseconds in 64 bits, and refuse a framework that asks for more.
const FAILOVER_CEILING: Duration = Duration::from_secs(290 * 365 * 24 * 3600);

/// The roles of this framework. A role that was once subscribed to stays until the process ends: tasks may run under
/// it.
///
/// A master may refuse roles (`--roles`, access lists), and with them the whole subscription. One that it has never
/// taken is then left out, so that an app with such a role waits alone, rather than everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    known: BTreeSet<String>,
    wanted: BTreeSet<String>,
    /// Those that a master has taken, and the first one of the configuration, without which nothing goes.
    proven: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// Whether roles without demand are kept from getting offers.
    suppress: bool,
}

impl Roles {
    pub fn new(config: &MesosConfig) -> Roles {
        Roles {
            known: config.roles.iter().map(|it| it.to_string()).collect(),
            wanted: BTreeSet::new(),
            proven: config.roles.first().map(|it| it.to_string()).into_iter().collect(),
            refused: BTreeSet::new(),
            suppress: config.suppress,
        }
    }

    #[cfg(test)]
    pub fn of(known: &[&str]) -> Roles {
        let known: BTreeSet<String> = known.iter().map(|it| (*it).to_owned()).collect();
        let proven = known.iter().take(1).cloned().collect();
        Roles { known, wanted: BTreeSet::new(), proven, refused: BTreeSet::new(), suppress: true }
    }

    /// Offers are wanted for these; whether some of them were not known before.
    pub fn want<'a>(&mut self, roles: impl Iterator<Item = &'a str>) -> bool {
        let before = self.known.len();
        for role in roles.filter(|it| !self.refused.contains(*it)) {
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

    pub fn is_known(&self, role: &str) -> bool {
        self.known.contains(role)
    }

    /// The master has taken these.
    pub fn taken(&mut self, roles: impl IntoIterator<Item = String>) {
        self.proven.extend(roles);
    }

    /// The master has refused the framework with these words. Leaves out what it may mean: the roles that it names, or
    /// all that no master has taken yet. None: it is not about roles.
    pub fn refuse(&mut self, words: &str) -> Vec<String> {
        let is_end =
            |it: Option<char>| it.is_none_or(|it| it.is_whitespace() || "'\"`,;:{}[]()".contains(it));
        let named = |role: &str| {
            words.match_indices(role).any(|(at, _)| {
                is_end(words[..at].chars().next_back()) && is_end(words[at + role.len()..].chars().next())
            })
        };
        let doubtful: Vec<String> = self.known.difference(&self.proven).cloned().collect();
        let mut gone: Vec<String> = doubtful.iter().filter(|it| named(it)).cloned().collect();
        if gone.is_empty() {
            gone = doubtful;
        }
        for role in &gone {
            self.known.remove(role);
            self.wanted.remove(role);
            self.refused.insert(role.clone());
        }
        gone
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_refused_is_left_out() {
        for (words, gone, known) in [
            ("Roles { \"b\" } are not present in the master's --roles", &["b"][..], &["*", "a"][..]),
            ("Not authorized to register a framework with [a, b, *]", &["a", "b"], &["*"]),
            ("'FrameworkInfo.roles' contains an invalid role", &["a", "b"], &["*"]),
        ] {
            let mut roles = Roles::of(&["*"]);
            assert!(roles.want(["a", "b"].into_iter()));
            assert_eq!(roles.refuse(words), gone, "{words}");
            assert_eq!(roles.known(), known, "{words}");
            assert!(!roles.want(gone.iter().copied()), "{words}: asked for once");
            assert_eq!(roles.known(), known, "{words}");
        }
    }

    #[test]
    fn what_a_master_has_taken_is_not_left_out() {
        let mut roles = Roles::of(&["*"]);
        roles.want(["a"].into_iter());
        roles.taken(roles.known());
        assert!(roles.refuse("User 'root' is not allowed").is_empty());
        assert!(Roles::of(&["prod"]).refuse("Roles { \"prod\" } are not present").is_empty());
    }
}
