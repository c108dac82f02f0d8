//! Instances and their tasks: what we want of them (`goal`) apart from what we know (`condition`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, InstanceId, SpecId, TaskId};
use crate::offer::{Attribute, CheckResult, IpAddress, TaskState};
use crate::reservation::Reservation;
use crate::resources::{Amounts, Role};
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub goal: Goal,
    pub condition: Condition,
    /// Since when the condition (or the health) is what it is.
    pub since: Timestamp,
    /// The version of the definition this instance was (or will be) started from.
    pub version: Timestamp,
    /// `config` of that definition: two instances with the same value run the same thing.
    pub config: Timestamp,
    pub role: Role,
    /// How often it was started; the next task gets this number plus one.
    #[serde(default)]
    pub incarnation: u32,
    /// Where it runs; absent until first placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Arc<Agent>>,
    /// The present or last task. Empty until first placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// What is known of its health; one entry for each health check of its version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<Health>,
    /// Passed the readiness check of its version (or there is none and it runs).
    #[serde(default)]
    pub ready: bool,
    /// What its agent keeps for it. Then it belongs to this agent and is never placed on another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Arc<Reservation>>,
}

/// The machine an instance was placed on, as its offer described it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub id: AgentId,
    pub host: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    #[serde(default)]
    pub attributes: Arc<BTreeMap<String, Attribute>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    /// What the engine last said; absent before its first word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    pub staged_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// What it holds, a custom executor's included.
    pub resources: Amounts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<Timestamp>,
    /// The containers of a pod; `id` then names all of them together, and the engine reports on each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// One container of a pod's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub name: Arc<str>,
    /// What the engine last said; absent before its first word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskState>,
    /// Since when the state is what it is.
    pub since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// What was said when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckResult>,
}

/// What is wanted of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Goal {
    /// Keep it up; start it again when it ends.
    Running,
    /// End it, keep what it reserved.
    Stopped,
    /// End it, then forget it.
    Decommissioned,
}

/// What is known of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    Scheduled,
    Provisioned,
    Staging,
    Starting,
    Running,
    Killing,
    Unreachable,
    UnreachableInactive,
    Finished,
    Killed,
    Error,
    Failed,
    Gone,
    Dropped,
    Unknown,
}

impl Condition {
    /// The task has ended for good.
    pub fn is_terminal(self) -> bool {
        use Condition::*;
        matches!(self, Finished | Killed | Error | Failed | Gone | Dropped | Unknown)
    }

    /// A task exists or may exist.
    pub fn is_active(self) -> bool {
        use Condition::*;
        matches!(self, Provisioned | Staging | Starting | Running | Killing | Unreachable)
    }

    pub fn is_unreachable(self) -> bool {
        matches!(self, Condition::Unreachable | Condition::UnreachableInactive)
    }

    /// Ended in a way that delays the next start.
    pub fn is_failure(self) -> bool {
        use Condition::*;
        matches!(self, Error | Failed | Gone | Dropped | Unknown)
    }

    /// The state shown in the API.
    pub fn shown_state(self) -> &'static str {
        use Condition::*;
        match self {
            Scheduled | Provisioned | Staging => "TASK_STAGING",
            Starting => "TASK_STARTING",
            Running => "TASK_RUNNING",
            Killing => "TASK_KILLING",
            Unreachable | UnreachableInactive => "TASK_UNREACHABLE",
            Finished => "TASK_FINISHED",
            Killed => "TASK_KILLED",
            Error => "TASK_ERROR",
            Failed => "TASK_FAILED",
            Gone => "TASK_GONE",
            Dropped => "TASK_DROPPED",
            Unknown => "TASK_UNKNOWN",
        }
    }
}

/// The outcome of one health check of one task so far.
///
/// Only a change of `alive` is stored; the times and counters in between live in memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Health {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_success: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_cause: Option<Arc<str>>,
    #[serde(default)]
    pub consecutive_failures: u32,
}

impl Health {
    /// Succeeded, and has not failed since. `None`: no result yet.
    pub fn alive(&self) -> Option<bool> {
        match (self.last_success, self.consecutive_failures) {
            (None, 0) => None,
            (None, _) => Some(false),
            (Some(_), failures) => Some(failures == 0),
        }
    }
}

impl Instance {
    pub fn spec(&self) -> &SpecId {
        &self.id.spec
    }

    /// All checks passed, one failed, or not known yet. `None` also where there are no checks.
    pub fn healthy(&self) -> Option<bool> {
        if self.health.is_empty() {
            return None;
        }
        let mut all_known = true;
        for health in &self.health {
            match health.alive() {
                Some(true) => {}
                Some(false) => return Some(false),
                None => all_known = false,
            }
        }
        all_known.then_some(true)
    }

    /// Counts as healthy for a rollout: runs, is ready, and no health check says otherwise.
    pub fn is_serving(&self) -> bool {
        self.condition == Condition::Running
            && self.ready
            && (self.health.is_empty() || self.healthy() == Some(true))
    }

    /// Waits to be placed: wanted, and not (or no longer) anywhere.
    pub fn wants_launch(&self) -> bool {
        self.goal == Goal::Running && (self.condition == Condition::Scheduled || self.condition.is_terminal())
    }

    /// Nothing of it runs in the cluster, as far as we know.
    pub fn is_over(&self) -> bool {
        self.condition == Condition::Scheduled || self.condition.is_terminal()
    }

    /// Given up, and only what its agent keeps for it is still to be removed.
    pub fn is_condemned(&self) -> bool {
        self.goal == Goal::Decommissioned && self.reservation.is_some() && self.is_over()
    }

    /// Stopped, and what its agent keeps for it waits for the next start.
    pub fn is_parked(&self) -> bool {
        self.goal == Goal::Stopped && self.reservation.is_some() && self.is_over()
    }
}

/// The latest failure of an app, kept for the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskFailure {
    pub spec: SpecId,
    pub task: TaskId,
    pub state: TaskState,
    pub message: Arc<str>,
    pub host: Arc<str>,
    pub agent: Option<AgentId>,
    pub version: Timestamp,
    pub at: Timestamp,
}
