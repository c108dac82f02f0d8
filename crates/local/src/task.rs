//! One task as the agent sees it.

use std::sync::Arc;

use marathon_keeper::protocol::{End, Request};
use marathon_model::id::TaskId;
use marathon_model::offer::{CheckResult, CpuOrMemLimit, IpAddress, Launch, Reason, TaskState};
use marathon_model::resources::Milli;
use marathon_model::time::Tick;
use serde::{Deserialize, Serialize};

use crate::outcome::{self, Known, Outcome};
use crate::pod::{Member, Start};
use crate::updates::Updates;

/// What the agent asks the keeper to keep for it, to know its tasks again after a restart.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tag {
    /// Of the whole pod, if the task is a container of one.
    pub launch: Arc<Launch>,
    /// It is one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_pod: bool,
}

impl Tag {
    pub fn of(start: &Start) -> Tag {
        match &start.member {
            Some(member) => Tag { launch: member.pod.clone(), in_pod: true },
            None => Tag { launch: start.launch.clone(), in_pod: false },
        }
    }

    /// The task of this id as it was launched, if the tag is of such a one.
    pub fn task(self, id: &TaskId) -> Option<Task> {
        if self.in_pod {
            return Member::of(&self.launch, id).map(Task::of_pod);
        }
        (self.launch.task == *id).then(|| Task::new(self.launch))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The sandbox is made ready; the keeper knows nothing yet.
    Preparing,
    /// Handed to the keeper.
    Launched,
    Running,
    /// Over; kept until the core has acknowledged it.
    Ended,
}

#[derive(Debug)]
pub struct Task {
    pub launch: Arc<Launch>,
    /// For a container of a pod; then `launch` is that of the container.
    pub member: Option<Member>,
    /// Others of its pod must run before it can be prepared.
    pub waits: bool,
    /// It ended in a way that ends the whole pod.
    pub fatal: bool,
    pub stage: Stage,
    pub updates: Updates,
    /// The keeper has a record of it that must be forgotten in the end.
    pub kept: bool,
    pub kill: Option<Kill>,
    /// What the Docker runner gave as the reason of a failure.
    pub failure: Option<String>,
    pub out_of_memory: bool,
    /// The container's name, when the Docker runner said so.
    pub container: Option<String>,
    /// The first process in the container.
    pub pid: Option<u32>,
    pub addresses: Vec<IpAddress>,
    pub health: Health,
    pub check: Option<CheckResult>,
}

#[derive(Debug, Clone)]
pub struct Kill {
    pub grace_ms: u64,
    /// Who asked for it, unless it was the core.
    pub why: Option<Why>,
}

/// Why the engine itself ends a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// With the sentence of the health check.
    Unhealthy(String),
    /// With a sentence about another container of its pod.
    Pod(String),
}

#[derive(Debug, Default)]
pub struct Health {
    pub healthy: Option<bool>,
    pub failures: u32,
    pub since: Tick,
    pub ever: bool,
}

impl Task {
    pub fn new(launch: Arc<Launch>) -> Task {
        Task {
            launch,
            member: None,
            waits: false,
            fatal: false,
            stage: Stage::Preparing,
            updates: Updates::default(),
            kept: false,
            kill: None,
            failure: None,
            out_of_memory: false,
            container: None,
            pid: None,
            addresses: Vec::new(),
            health: Health::default(),
            check: None,
        }
    }

    pub fn of_pod(member: Member) -> Task {
        let launch = Arc::new(member.launch());
        Task { member: Some(member), ..Task::new(launch) }
    }

    /// What the core is told when it asks and no update was sent in this life of the server.
    pub fn presumed_state(&self) -> TaskState {
        match self.stage {
            Stage::Preparing | Stage::Launched => TaskState::Staging,
            _ => TaskState::Running,
        }
    }

    pub fn outcome(&self, end: &End) -> Outcome {
        let memory_limit_mib = match self.launch.mem_limit {
            None => Some(self.launch.resources.mem),
            Some(CpuOrMemLimit::Amount(amount)) => Some(amount),
            Some(CpuOrMemLimit::Unlimited) => None,
        };
        let known = Known {
            killed: self.kill.is_some(),
            why: self.kill.as_ref().and_then(|it| it.why.as_ref()),
            failure: self.failure.as_deref(),
            container: has_image(&self.launch),
            out_of_memory: self.out_of_memory,
            memory_limit_mib: memory_limit_mib.map(|Milli(it)| it / 1000),
        };
        outcome::of(end, known)
    }

    pub fn kill_request(&self, grace_ms: u64) -> Request {
        // A container is stopped by its runner, which must live longer than the container.
        let margin = if has_image(&self.launch) { CONTAINER_STOP_MARGIN_MS } else { 0 };
        Request::Kill { task: self.launch.task.to_string(), grace_ms: grace_ms.saturating_add(margin) }
    }

    /// Counts a failed health check. Returns the sentence with which the task must be killed, if so.
    pub fn unhealthy(&mut self, cause: &str, now: Tick) -> Counted {
        let Some(check) = &self.launch.health_check else { return Counted::Ignored };
        if !self.health.ever && now - self.health.since < check.grace {
            return Counted::Ignored;
        }
        self.health.failures = self.health.failures.saturating_add(1);
        self.health.healthy = Some(false);
        if 0 < check.max_failures && check.max_failures <= self.health.failures {
            return Counted::Fatal(format!(
                "Health check failed {} times in a row, the last time with: {cause}",
                self.health.failures
            ));
        }
        Counted::Noted
    }
}

/// What a failed health check amounts to.
#[derive(Debug, PartialEq, Eq)]
pub enum Counted {
    /// Within the grace period.
    Ignored,
    Noted,
    Fatal(String),
}

/// How much longer than its container a Docker runner may take to end.
const CONTAINER_STOP_MARGIN_MS: u64 = 15_000;

/// Whether Docker runs it. Images of the Mesos containerizer are run by Docker, too: this agent has
/// no image store of its own.
pub fn has_image(launch: &Launch) -> bool {
    launch.container.as_ref().is_some_and(|it| it.docker.is_some())
}

/// The reason given to updates that the engine makes on its own account.
pub const OTHER: Option<Reason> = Some(Reason::Other);
