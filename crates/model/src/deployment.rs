//! Deployments: the way from one set of definitions to the next.

use std::sync::Arc;

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
    pub steps: Vec<Step>,
    /// The step in progress, counted from 0; `steps.len()` once all are done.
    pub current: usize,
    /// What it changes. The definitions before are kept so that it can be undone.
    pub changes: Vec<AppChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_changes: Vec<GroupChange>,
    pub began_at: Timestamp,
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
    /// The apps some action touches, each once, in order of first mention. They are locked meanwhile.
    pub fn affected(&self) -> Vec<&SpecId> {
        let mut all: Vec<&SpecId> = Vec::new();
        for action in self.steps.iter().flat_map(|it| &it.actions) {
            if !all.contains(&&action.app) {
                all.push(&action.app);
            }
        }
        all
    }

    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.current)
    }
}
