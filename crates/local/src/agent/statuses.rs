//! What the core is told of tasks.

use marathon_model::id::{AgentId, TaskId};
use marathon_model::offer::{Reason, TaskState, TaskStatus, UpdateId};
use marathon_model::time::Now;

use super::{Agent, Effect, tell};
use crate::task::Task;

impl Agent {
    pub(super) fn push(
        &mut self,
        id: &TaskId,
        state: TaskState,
        message: &str,
        reason: Option<Reason>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.ids += 1;
        let update = UpdateId::from_u64_pair(self.about.seed, self.ids);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let status = TaskStatus {
            task: id.clone(),
            state,
            agent: Some(self.about.agent.clone()),
            update: Some(update),
            at: now.wall,
            message: message.to_owned(),
            reason,
            healthy: task.health.healthy,
            check: task.check,
            addresses: task.addresses.clone(),
            unreachable_since: None,
        };
        out.extend(task.updates.push(status, now.tick).map(tell));
    }

    pub(super) fn resend(&mut self, now: Now, out: &mut Vec<Effect>) {
        for task in self.tasks.values_mut() {
            out.extend(task.updates.resend(now.tick).map(tell));
        }
    }

    /// The answer to a reconciliation: the state as last sent, with nothing to acknowledge.
    pub(super) fn present(&self, id: &TaskId, task: &Task, now: Now) -> TaskStatus {
        let reason = Some(Reason::Reconciliation);
        match task.updates.latest_sent() {
            Some(sent) => TaskStatus { update: None, reason, ..sent.clone() },
            None => TaskStatus {
                healthy: task.health.healthy,
                check: task.check,
                addresses: task.addresses.clone(),
                ..self.refusal(id, task.presumed_state(), "Reconciliation: Latest task state", reason, now)
            },
        }
    }

    /// As Mesos answers a framework that is aware of partitions.
    pub(super) fn unknown(&self, id: &TaskId, agent: Option<&AgentId>, now: Now) -> TaskStatus {
        let reason = Some(Reason::Reconciliation);
        if agent == Some(&self.about.agent) {
            self.refusal(id, TaskState::Gone, "Reconciliation: Task is unknown to the agent", reason, now)
        } else {
            self.refusal(id, TaskState::Unknown, "Reconciliation: Task is unknown", reason, now)
        }
    }

    /// A status about a task that has no updates of its own.
    pub(super) fn refusal(
        &self,
        id: &TaskId,
        state: TaskState,
        message: &str,
        reason: Option<Reason>,
        now: Now,
    ) -> TaskStatus {
        TaskStatus {
            task: id.clone(),
            state,
            agent: Some(self.about.agent.clone()),
            update: None,
            at: now.wall,
            message: message.to_owned(),
            reason,
            healthy: None,
            check: None,
            addresses: Vec::new(),
            unreachable_since: None,
        }
    }
}
