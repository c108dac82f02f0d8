//! What the core asks, and what checks find.

use std::collections::BTreeSet;
use std::time::Duration;

use marathon_keeper::protocol::Request;
use marathon_model::id::TaskId;
use marathon_model::offer::{Call, CheckResult, TaskState, UpdateId};
use marathon_model::time::Now;

use super::{Agent, Effect, tell};
use crate::task::{Counted, Kill, OTHER, Stage, Task, Why};
use crate::updates::is_terminal;

/// At most a quarter of the instances of an app, and at least one, is being killed for its health at a time, as
/// the core does it with the checks it makes itself.
const UNHEALTHY_KILLS_PART: usize = 4;

impl Agent {
    pub(super) fn call(&mut self, call: Call, now: Now, out: &mut Vec<Effect>) {
        match call {
            Call::Accept { offer, operations } => {
                self.accept(&offer, operations, now, out);
            }
            Call::Decline { offers, hold } => {
                for offer in offers {
                    self.decline(&offer, hold, now.tick);
                }
            }
            Call::Revive(_) => {
                self.suppressed = false;
                self.declined.clear();
            }
            Call::Suppress(_) => self.suppressed = true,
            Call::Kill { task, agent, grace } => {
                let ids = self.named_by(&task);
                if ids.is_empty() {
                    out.push(tell(self.unknown(&task, agent.as_ref(), now)));
                }
                self.kill_all(ids, grace, now, out);
            }
            Call::Acknowledge { task, agent: _, update } => self.acknowledge(&task, update, now, out),
            Call::Reconcile(tasks) if tasks.is_empty() => {
                out.extend(self.tasks.iter().map(|(id, task)| tell(self.present(id, task, now))));
            }
            Call::Reconcile(tasks) => {
                for (id, agent) in tasks {
                    let known = self.named_by(&id);
                    if known.is_empty() {
                        out.push(tell(self.unknown(&id, agent.as_ref(), now)));
                    }
                    let known = known.iter().filter_map(|it| Some((it, self.tasks.get(it)?)));
                    out.extend(known.map(|(id, task)| tell(self.present(id, task, now))));
                }
            }
        }
    }

    /// The tasks meant by an id: that of a pod means all its containers.
    fn named_by(&self, id: &TaskId) -> Vec<TaskId> {
        if self.tasks.contains_key(id) {
            return vec![id.clone()];
        }
        if id.container.is_none() { self.containers(id) } else { Vec::new() }
    }

    pub(super) fn kill(
        &mut self,
        id: &TaskId,
        grace: Option<Duration>,
        why: Option<Why>,
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
                let why = match why {
                    Some(Why::Pod(why) | Why::Unhealthy(why)) => why,
                    None => "Killed before its process was started".to_owned(),
                };
                self.push(id, TaskState::Killed, &why, OTHER, now, out);
                self.after_end(id, now, out);
            }
            Stage::Launched | Stage::Running => {
                out.extend(task.unwatch());
                let why = why.or_else(|| task.kill.take().and_then(|it| it.why));
                out.push(Effect::Keep(task.kill_request(grace_ms)));
                task.kill = Some(Kill { grace_ms, why });
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
        // Whoever is spared now is looked at again after its next failure.
        if let Counted::Fatal(why) = counted
            && self.may_die_of_health(id)
        {
            self.kill(id, None, Some(Why::Unhealthy(why)), now, out);
        }
    }

    /// One bad moment of this machine fails the checks of all its tasks; it must not end them all.
    fn may_die_of_health(&self, id: &TaskId) -> bool {
        let (mut all, mut dying) = (BTreeSet::new(), BTreeSet::new());
        for (it, task) in &self.tasks {
            if it.instance.spec == id.instance.spec && task.stage != Stage::Ended {
                all.insert(it.instance.uuid);
                if matches!(&task.kill, Some(Kill { why: Some(Why::Unhealthy(_)), .. })) {
                    dying.insert(it.instance.uuid);
                }
            }
        }
        // Of a pod, whose containers end together, one may follow the other.
        dying.contains(&id.instance.uuid) || dying.len() < (all.len() / UNHEALTHY_KILLS_PART).max(1)
    }

    pub(super) fn checked(&mut self, id: &TaskId, result: CheckResult, now: Now, out: &mut Vec<Effect>) {
        let alive = |it: &&mut Task| it.stage == Stage::Running && it.kill.is_none();
        let Some(task) = self.tasks.get_mut(id).filter(alive) else { return };
        if task.check.replace(result) != Some(result) {
            self.push(id, TaskState::Running, "", OTHER, now, out);
        }
    }
}
