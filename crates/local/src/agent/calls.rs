//! What the core asks, and what checks find.

use std::time::Duration;

use marathon_keeper::protocol::Request;
use marathon_model::id::TaskId;
use marathon_model::offer::{Call, CheckResult, Operation, TaskState, UpdateId};
use marathon_model::time::Now;

use super::{Agent, Effect, tell};
use crate::task::{Counted, Kill, OTHER, Stage, Task};
use crate::updates::is_terminal;

impl Agent {
    pub(super) fn call(&mut self, call: Call, now: Now, out: &mut Vec<Effect>) {
        match call {
            Call::Accept { offer, operations } => {
                let launches = Operation::launches(&operations).cloned().collect();
                self.accept(&offer, launches, now, out);
            }
            Call::Decline { offers, hold } => {
                for offer in offers {
                    self.decline(&offer, hold, now.tick);
                }
            }
            Call::Revive => {
                self.suppressed = false;
                self.declined.clear();
            }
            Call::Suppress => self.suppressed = true,
            Call::Kill { task, agent, grace } => {
                if self.tasks.contains_key(&task) {
                    self.kill(&task, grace, None, now, out);
                } else {
                    out.push(tell(self.unknown(&task, agent.as_ref(), now)));
                }
            }
            Call::Acknowledge { task, agent: _, update } => self.acknowledge(&task, update, now, out),
            Call::Reconcile(tasks) if tasks.is_empty() => {
                out.extend(self.tasks.iter().map(|(id, task)| tell(self.present(id, task, now))));
            }
            Call::Reconcile(tasks) => {
                out.extend(tasks.iter().map(|(id, agent)| {
                    tell(match self.tasks.get(id) {
                        Some(task) => self.present(id, task, now),
                        None => self.unknown(id, agent.as_ref(), now),
                    })
                }));
            }
        }
    }

    pub(super) fn kill(
        &mut self,
        id: &TaskId,
        grace: Option<Duration>,
        unhealthy: Option<String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let grace = grace.or(task.launch.kill_grace).unwrap_or(self.about.default_grace);
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let first = task.kill.is_none();
        match task.stage {
            Stage::Ended => {}
            Stage::Preparing => {
                task.stage = Stage::Ended;
                out.push(Effect::Cancel(id.clone()));
                self.push(id, TaskState::Killed, "Killed before its process was started", OTHER, now, out);
            }
            Stage::Launched | Stage::Running => {
                out.extend(task.unwatch());
                let unhealthy = unhealthy.or_else(|| task.kill.take().and_then(|it| it.unhealthy));
                out.push(Effect::Keep(task.kill_request(grace_ms)));
                task.kill = Some(Kill { grace_ms, unhealthy });
                if first {
                    self.push(id, TaskState::Killing, "", None, now, out);
                }
            }
        }
    }

    pub(super) fn acknowledge(&mut self, id: &TaskId, update: UpdateId, now: Now, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some((state, next)) = task.updates.acknowledge(update, now.tick) else { return };
        out.extend(next.map(tell));
        if is_terminal(state) {
            if task.kept {
                out.push(Effect::Keep(Request::Forget { task: id.to_string() }));
            }
            self.tasks.remove(id);
            out.push(Effect::Clean(id.clone()));
        }
    }

    pub(super) fn health(
        &mut self,
        id: &TaskId,
        outcome: Result<(), String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let alive = |it: &&mut Task| it.stage == Stage::Running && it.kill.is_none();
        let Some(task) = self.tasks.get_mut(id).filter(alive) else { return };
        let cause = match outcome {
            Ok(()) => {
                task.health.failures = 0;
                task.health.ever = true;
                if task.health.healthy.replace(true) != Some(true) {
                    self.push(id, TaskState::Running, "", OTHER, now, out);
                }
                return;
            }
            Err(cause) => cause,
        };
        let counted = task.unhealthy(&cause, now.tick);
        if counted != Counted::Ignored {
            self.push(id, TaskState::Running, &cause, OTHER, now, out);
        }
        if let Counted::Fatal(why) = counted {
            self.kill(id, None, Some(why), now, out);
        }
    }

    pub(super) fn checked(&mut self, id: &TaskId, result: CheckResult, now: Now, out: &mut Vec<Effect>) {
        let alive = |it: &&mut Task| it.stage == Stage::Running && it.kill.is_none();
        let Some(task) = self.tasks.get_mut(id).filter(alive) else { return };
        if task.check.replace(result) != Some(result) {
            self.push(id, TaskState::Running, "", OTHER, now, out);
        }
    }
}
