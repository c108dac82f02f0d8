//! Deployments: the way from one set of definitions to the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::AppSpec;
use crate::group::Group;
use crate::id::{DeploymentId, GroupId, InstanceId, SpecId};
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    /// The version of the tree this deployment leads to.
    pub version: Timestamp,
    /// Shared, as are `changes`: a deployment of ten thousand apps has a new state with each of its steps.
    pub steps: Arc<[Step]>,
    /// The step in progress, counted from 0; `steps.len()` once all are done.
    pub current: usize,
    /// What it changes. The definitions before are kept so that it can be undone.
    pub changes: Arc<[AppChange]>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_changes: Vec<GroupChange>,
    pub began_at: Timestamp,
    /// When it gives up by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Failures of tasks it started, as far as a guard counts them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// The deployment that gave up and is undone by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// When a deployment gives up by itself, and what becomes of it then. At least one of the limits is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Counted from `began_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// One failure more ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u32>,
    pub on_failure: OnFailure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Put back what was changed, by a new deployment.
    #[default]
    Rollback,
    /// Leave everything as it is at that moment.
    Stop,
}

impl OnFailure {
    pub fn name(self) -> &'static str {
        match self {
            OnFailure::Rollback => "rollback",
            OnFailure::Stop => "stop",
        }
    }

    pub fn parse(text: &str) -> Option<OnFailure> {
        [OnFailure::Rollback, OnFailure::Stop].into_iter().find(|it| it.name() == text)
    }
}

/// What a user asks for of a guard; what is left out is for the server's defaults to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardUpdate {
    pub deadline: Option<Duration>,
    pub max_failures: Option<u32>,
    pub on_failure: Option<OnFailure>,
}

impl GuardUpdate {
    /// With what is left out taken from `defaults`. `None`: there is no limit in either.
    pub fn over(self, defaults: GuardUpdate) -> Option<Guard> {
        let guard = Guard {
            deadline: self.deadline.or(defaults.deadline),
            max_failures: self.max_failures.or(defaults.max_failures),
            on_failure: self.on_failure.or(defaults.on_failure).unwrap_or_default(),
        };
        (guard.deadline.is_some() || guard.max_failures.is_some()).then_some(guard)
    }
}

/// Why a deployment came about by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub deployment: DeploymentId,
    pub reason: Arc<str>,
}

/// How far a deployment has come, where that is more than its own record says: a record of its own, since the
/// deployment itself may be large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub deployment: DeploymentId,
    pub current: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
}

/// What is remembered of a deployment that gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub deployment: DeploymentId,
    pub version: Timestamp,
    pub at: Timestamp,
    pub reason: Arc<str>,
    pub apps: Vec<SpecId>,
    pub then: Aftermath,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aftermath {
    Stopped,
    /// This deployment puts everything back.
    RolledBack(DeploymentId),
    /// It should have been put back, and this spoke against it.
    NotRolledBack(Arc<str>),
}

/// Actions of one step run side by side; steps run one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub actions: Vec<Action>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    pub kind: ActionKind,
    pub app: SpecId,
    /// It is about a pod: shown as `StartPod` and so on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pod: bool,
    /// Instances a user chose to go first (`DELETE …/tasks?scale=true`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub victims: Vec<InstanceId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    StartApplication,
    StopApplication,
    ScaleApplication,
    RestartApplication,
}

impl ActionKind {
    pub fn name(self) -> &'static str {
        match self {
            ActionKind::StartApplication => "StartApplication",
            ActionKind::StopApplication => "StopApplication",
            ActionKind::ScaleApplication => "ScaleApplication",
            ActionKind::RestartApplication => "RestartApplication",
        }
    }

    pub fn pod_name(self) -> &'static str {
        match self {
            ActionKind::StartApplication => "StartPod",
            ActionKind::StopApplication => "StopPod",
            ActionKind::ScaleApplication => "ScalePod",
            ActionKind::RestartApplication => "RestartPod",
        }
    }
}

impl Action {
    pub fn name(&self) -> &'static str {
        if self.pod { self.kind.pod_name() } else { self.kind.name() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppChange {
    pub id: SpecId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Arc<AppSpec>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Arc<AppSpec>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupChange {
    pub id: GroupId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Arc<Group>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Arc<Group>>,
}

impl Deployment {
    /// At its first step, with no guard and nothing to undo.
    pub fn new(id: DeploymentId, version: Timestamp, steps: Vec<Step>) -> Deployment {
        Deployment {
            id,
            version,
            steps: steps.into(),
            current: 0,
            changes: Arc::default(),
            group_changes: Vec::new(),
            began_at: version,
            guard: None,
            failures: 0,
            cause: None,
        }
    }

    /// The apps some action touches, each once, in order of first mention. They are locked meanwhile.
    pub fn affected(&self) -> Vec<&SpecId> {
        let mut seen: BTreeSet<&SpecId> = BTreeSet::new();
        let all = self.steps.iter().flat_map(|it| &it.actions).map(|it| &it.app);
        all.filter(|it| seen.insert(it)).collect()
    }

    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.current)
    }

    pub fn progress(&self) -> Progress {
        Progress { deployment: self.id, current: self.current, failures: self.failures }
    }

    /// Takes over what was stored apart. Whichever is further on is true, in whatever order they are read.
    pub fn resume(&mut self, progress: Progress) {
        self.current = self.current.max(progress.current).min(self.steps.len());
        self.failures = self.failures.max(progress.failures);
    }
}
