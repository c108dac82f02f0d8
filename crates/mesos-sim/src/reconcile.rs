//! What a master answers when a framework asks about its tasks.

use marathon_mesos_v1::{CallReconcile, TaskState, TaskStatusReason};

use crate::sim::Sim;
use crate::state::{Link, Status, View};
use crate::updates::{from_master, or_lost};

impl Sim {
    pub(crate) fn reconcile(&mut self, framework: usize, call: &CallReconcile) {
        self.counters.reconciliations += 1;
        if call.tasks.is_empty() {
            let mut all: Vec<usize> = self.frameworks[framework].tasks.values().copied().collect();
            all.retain(|it| self.tasks.get(*it).is_some_and(|it| it.view == View::Known));
            all.sort_unstable();
            for at in all {
                self.tell_latest_state(at);
            }
            return;
        }
        for asked in &call.tasks {
            let agent = asked.agent_id.as_ref().map(|it| it.value.as_str());
            self.reconcile_one(framework, &asked.task_id.value, agent);
        }
    }

    /// The table of an explicit reconciliation: the first line that fits answers, one of them with silence.
    pub(crate) fn reconcile_one(&mut self, framework: usize, task_id: &str, agent_id: Option<&str>) {
        let known = self.frameworks[framework].tasks.get(task_id).copied();
        if let Some(at) = known.filter(|at| self.tasks.get(*at).is_some_and(|it| it.view == View::Known)) {
            return self.tell_latest_state(at);
        }
        let agent = agent_id.and_then(|id| self.agent_ids.get(id)).map(|at| self.agents[*at].link);
        let aware = self.frameworks[framework].abilities.partition_aware;
        let waits_for_agents = agent_id.is_none() && self.agents.iter().any(|it| it.link == Link::Recovered);
        let (state, text, since) = match (agent_id, agent) {
            (None, _) if waits_for_agents => return,
            (_, Some(Link::Recovered)) => return,
            (_, Some(Link::Registered | Link::Disconnected)) => {
                (TaskState::TASK_GONE, "Task is unknown to the agent", None)
            }
            (_, Some(Link::Unreachable(since))) => {
                (TaskState::TASK_UNREACHABLE, "Task is unreachable", Some(since))
            }
            (_, Some(Link::Gone)) => (TaskState::TASK_GONE_BY_OPERATOR, "Task is gone", None),
            (_, Some(Link::Unknown | Link::Removed) | None) => {
                (TaskState::TASK_UNKNOWN, "Task is unknown", None)
            }
        };
        let mut status = from_master(self, or_lost(aware, state), TaskStatusReason::REASON_RECONCILIATION)
            .saying(format!("Reconciliation: {text}"));
        status.unreachable = since;
        self.tell_about(framework, task_id, agent_id, &status);
    }

    /// The last state that was passed on, however much has happened since.
    fn tell_latest_state(&mut self, at: usize) {
        let Some(task) = self.tasks.get(at) else { return };
        let state = task.forwarded.map_or(task.latest, |(state, _)| state);
        let last = task.history.last();
        let mut status = from_master(self, state, TaskStatusReason::REASON_RECONCILIATION)
            .saying("Reconciliation: Latest task state");
        copy_facts(&mut status, last);
        let framework = task.framework;
        self.counters.reconciled += 1;
        // Names the executor only when the master knows it: not those of command tasks.
        status.executed = task.executor.is_some();
        let message = self.status_message(task, &status);
        self.tell_status(framework, message);
    }
}

/// What a master repeats of the last update in an answer of its own.
pub(crate) fn copy_facts(status: &mut Status, last: Option<&Status>) {
    if let Some(last) = last {
        status.healthy = last.healthy;
        status.check = last.check.clone();
        status.contained = last.contained;
    }
}
