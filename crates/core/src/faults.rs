//! Bugs of the original, each behind a switch, so that the simulator can prove that it finds them.
//!
//! Only `marathon-core-faulty` compiles this: the same sources under another name, with the feature
//! `old-faults` that `marathon-core` does not even declare. So no server can contain a switch.
//! docs/simulation.md tells what each one did to its users.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marathon_model::app::{AppSpec, Backoff};
use marathon_model::deployment::{ActionKind, Deployment};
use marathon_model::id::{DeploymentId, GroupId, InstanceId, SpecId};
use marathon_model::instance::{Goal, Instance};
use marathon_model::write::Write;

use crate::Core;
use crate::deploy::Draft;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A rollback is one more new version, so it replaces the very instances it returns to.
    RollbackKills,
    /// Cancelling puts the whole tree back to where it was before, the work of everybody else included.
    CancelRevertsAll,
    /// A deployment that takes over does not see what its predecessor has asked for and not yet got.
    LaunchesTooMany,
    /// What turns up again after it was given up and replaced is left alone.
    ReturnedLives,
    /// The answer goes out before the deployment is stored.
    DeploymentVanishes,
    /// A rollback waits for fresh instances, where it kept those that were there.
    RollbackSticks,
    /// Instances of a removed app that never ran are told to end, and wait for somebody to confirm it.
    ZombieApp,
    /// The delay of an app that fails has no limit.
    BackoffOfMonths,
    /// Everything that fails its health check is killed at once.
    MassKill,
    /// An instance that owns volumes is given up with its lost agent like any other; what returns is nobody's.
    VolumesDestroyed,
}

impl Fault {
    pub const ALL: [Fault; 10] = [
        Fault::RollbackKills,
        Fault::CancelRevertsAll,
        Fault::LaunchesTooMany,
        Fault::ReturnedLives,
        Fault::DeploymentVanishes,
        Fault::RollbackSticks,
        Fault::ZombieApp,
        Fault::BackoffOfMonths,
        Fault::MassKill,
        Fault::VolumesDestroyed,
    ];

    /// As it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::RollbackKills => "rollback-kills",
            Fault::CancelRevertsAll => "cancel-reverts-all",
            Fault::LaunchesTooMany => "launches-too-many",
            Fault::ReturnedLives => "returned-lives",
            Fault::DeploymentVanishes => "deployment-vanishes",
            Fault::RollbackSticks => "rollback-sticks",
            Fault::ZombieApp => "zombie-app",
            Fault::BackoffOfMonths => "backoff-of-months",
            Fault::MassKill => "mass-kill",
            Fault::VolumesDestroyed => "volumes-destroyed",
        }
    }
}

impl Core {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.policy.faults.contains(&fault)
    }

    /// `CancelRevertsAll`: every app as it was before the deployment.
    pub(crate) fn take_back_everything(&self, mut draft: Draft, plan: &Deployment) -> Draft {
        let before = self.world.view.root_versions.iter().rev().find(|it| **it < plan.version).copied();
        if self.has(Fault::CancelRevertsAll)
            && let Some(before) = before
        {
            // An unknown version leaves the draft as it is.
            let _ = self.draft_version(&mut draft, &GroupId::root(), before);
        }
        draft
    }

    /// `LaunchesTooMany`: only what this very version asked for, or what runs already.
    pub(crate) fn seen_as_wanted(&self, spec: &AppSpec, wanted: u32) -> u32 {
        if !self.has(Fault::LaunchesTooMany) {
            return wanted;
        }
        let all = self.world.app(&spec.id).map(|it| &it.instances);
        let all = all.into_iter().flat_map(|it| it.values()).filter(|it| it.goal == Goal::Running);
        let (serving, under_way): (Vec<&Arc<Instance>>, Vec<_>) = all.partition(|it| it.is_serving());
        let mine = under_way.iter().filter(|it| it.version == spec.version).count();
        let seen = (serving.len() + mine) as u32;
        // What is too much shows once everything runs.
        if under_way.is_empty() { seen } else { seen.min(spec.instances) }
    }

    /// `DeploymentVanishes`: its first form is never stored.
    pub(crate) fn forget_to_store(&mut self, id: DeploymentId) {
        if self.has(Fault::DeploymentVanishes) {
            self.world.out.writes.retain(|it| !matches!(it, Write::Deployment(it) if it.id == id));
        }
    }

    /// `RollbackSticks`: whether enough instances were started by this very version.
    pub(crate) fn started_enough(&self, kind: ActionKind, spec: &AppSpec) -> bool {
        if !self.has(Fault::RollbackSticks) || kind != ActionKind::RestartApplication {
            return true;
        }
        let all = self.world.app(&spec.id).map(|it| &it.instances);
        let fresh = |it: &&Arc<Instance>| it.is_serving() && it.version == spec.version;
        let fresh = all.into_iter().flat_map(|it| it.values()).filter(fresh).count();
        fresh >= spec.instances as usize
    }

    /// `ZombieApp`: says whether the instance was left to wait for its end.
    pub(crate) fn waits_for_an_end_that_never_comes(&mut self, id: &InstanceId) -> bool {
        let removed = self.world.spec(&id.spec).is_none();
        let Some(it) = self.world.instance(id).filter(|_| removed && self.has(Fault::ZombieApp)) else {
            return false;
        };
        let next = Instance { goal: Goal::Decommissioned, ..Instance::clone(it) };
        self.world.put_instance(next);
        true
    }

    /// `ZombieApp`: whether anything is left of a removed app.
    pub(crate) fn is_gone(&self, app: &SpecId) -> bool {
        !self.has(Fault::ZombieApp) || self.world.app(app).is_none_or(|it| it.instances.is_empty())
    }

    /// `BackoffOfMonths`: a limit that nobody lives to see.
    pub(crate) fn unlimited(&self, backoff: Backoff) -> Backoff {
        let years = Duration::from_secs(10 * 365 * 24 * 3600);
        match self.has(Fault::BackoffOfMonths) {
            true => Backoff { max: years, ..backoff },
            false => backoff,
        }
    }
}

/// The faults of a policy: none, unless a simulation asks for one.
pub type Faults = BTreeSet<Fault>;
