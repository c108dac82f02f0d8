//! What the keeper says, and what is handed to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use marathon_docker::Said;
use marathon_keeper::protocol::{End, How, Process, Request, TaskReport};
use marathon_model::id::TaskId;
use marathon_model::offer::{EngineEvent, IpAddress, Reason, TaskNetwork, TaskState};
use marathon_model::time::{Now, Tick, Timestamp};

use super::{Agent, Effect, Watch, tell};
use crate::task::{OTHER, Stage, Tag, Task, has_image};

impl Agent {
    pub(super) fn welcome(&mut self, reports: Vec<TaskReport>, now: Now, out: &mut Vec<Effect>) {
        self.subscribed = true;
        out.push(Effect::Tell(EngineEvent::Subscribed {
            framework: self.about.framework.clone(),
            master: "local".to_owned(),
            ui: None,
            region: None,
            again: std::mem::replace(&mut self.again, true),
        }));
        for task in self.tasks.values_mut() {
            out.extend(task.updates.repeat(now.tick).map(tell));
        }
        let mut reported = BTreeSet::new();
        let mut adopted = Vec::new();
        for report in reports {
            if let Ok(id) = TaskId::parse(&report.task) {
                reported.insert(id);
            }
            adopted.extend(self.report(report, now, out));
        }
        // Whose network one has is known only when all are.
        for id in adopted {
            self.resume(&id, now, out);
        }
        let handed_over = |it: &Task| it.kept && it.stage != Stage::Ended;
        let missing: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(id, it)| handed_over(it) && !reported.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in missing {
            let why = "the process that watches over it ended and does not know it any more".to_owned();
            let end =
                End { how: How::Vanished { why }, out_of_memory: false, asked: false, at_ms: now.wall.0 };
            self.end(&id, &end, now, out);
        }
        for task in self.tasks.values().filter(|it| handed_over(it)) {
            out.extend(task.kill.as_ref().map(|it| Effect::Keep(task.kill_request(it.grace_ms))));
        }
        let fatal = |(id, it): (&TaskId, &Task)| it.fatal.then(|| id.clone());
        for id in self.tasks.iter().filter_map(fatal).collect::<Vec<_>>() {
            self.after_end(&id, now, out);
        }
    }

    /// Brings one task in line with what the keeper says of it. Gives the task if it ran before this server did.
    pub(super) fn report(&mut self, report: TaskReport, now: Now, out: &mut Vec<Effect>) -> Option<TaskId> {
        let TaskReport { task: name, tag, pid, said, end } = report;
        let tagged = |id: &TaskId| serde_json::from_str::<Tag>(&tag).ok().and_then(|it| it.task(id));
        let found = TaskId::parse(&name).ok().and_then(|id| match self.tasks.contains_key(&id) {
            true => Some((id, false)),
            false => {
                let task = tagged(&id)?;
                self.tasks.insert(id.clone(), Task { stage: Stage::Launched, kept: true, ..task });
                Some((id, true))
            }
        });
        let (id, adopted) = match found {
            Some(found) => found,
            None => {
                tracing::warn!(task = name, "the keeper has a task that is none of ours; it is ended");
                out.push(Effect::Keep(if end.is_some() {
                    Request::Forget { task: name }
                } else {
                    Request::Kill { task: name, grace_ms: 0 }
                }));
                return None;
            }
        };
        let task = self.tasks.get_mut(&id)?;
        if let Some(said) = said.as_deref().and_then(|it| serde_json::from_str::<Said>(it).ok()) {
            task.note(&said);
        }
        let runs = if has_image(&task.launch) { task.container.is_some() } else { pid.is_some() };
        if let Some(end) = end {
            self.end(&id, &end, now, out);
        } else if runs && !adopted {
            self.running(&id, now, out);
        } else if runs {
            return Some(id);
        }
        None
    }

    /// Whether the core has stored that it runs is unknown. It asks about every task after `Subscribed`, so
    /// nothing is said here unasked.
    fn resume(&mut self, id: &TaskId, now: Now, out: &mut Vec<Effect>) {
        self.run(id, now.tick);
        out.extend(self.tasks.get(id).and_then(|it| self.watch(it, true)));
    }

    /// It runs: what is known of it from now on.
    fn run(&mut self, id: &TaskId, now: Tick) {
        let holder = self.tasks.get(id).and_then(|it| it.member.as_ref()).and_then(|it| it.joins());
        let joined = holder.and_then(|it| self.tasks.get(it)).map(|it| it.addresses.clone());
        let own = self.about.address.clone();
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.stage = Stage::Running;
        task.health.since = now;
        if task.launch.network == TaskNetwork::Host {
            task.addresses = vec![own];
        } else if let Some(joined) = joined {
            task.addresses = joined;
        }
    }

    fn watch(&self, task: &Task, adopted: bool) -> Option<Effect> {
        if task.launch.health_check.is_none() && task.launch.check.is_none() {
            return None;
        }
        let address = match task.launch.network {
            TaskNetwork::Host => None,
            TaskNetwork::Bridge | TaskNetwork::Container(_) => {
                task.addresses.first().map(|it| it.address.clone())
            }
        };
        let (start, container) = (self.start_of(task), task.container.clone());
        Some(Effect::Watch(Watch { start, container, address, adopted }))
    }

    pub(super) fn lost(&mut self, out: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.subscribed, false) {
            out.push(Effect::Tell(EngineEvent::Disconnected));
        }
        self.offers.clear();
        self.declined.clear();
    }

    /// Finds a task the keeper speaks of. One that is unknown here must not live on unattended: it was
    /// handed over by an earlier server whose core was already told that it does not exist.
    pub(super) fn named(&self, name: &str, ended: bool, out: &mut Vec<Effect>) -> Option<TaskId> {
        let id = TaskId::parse(name).ok().filter(|id| self.tasks.contains_key(id));
        if id.is_none() {
            let task = name.to_owned();
            out.push(Effect::Keep(if ended {
                Request::Forget { task }
            } else {
                Request::Kill { task, grace_ms: 0 }
            }));
        }
        id
    }

    pub(super) fn started(&mut self, name: &str, now: Now, out: &mut Vec<Effect>) {
        let Some(id) = self.named(name, false, out) else { return };
        let Some(task) = self.tasks.get(&id) else { return };
        // A runner that was started has not started its container yet.
        if !has_image(&task.launch) {
            self.running(&id, now, out);
        }
    }

    pub(super) fn said(&mut self, name: &str, line: &str, now: Now, out: &mut Vec<Effect>) {
        let Some(id) = self.named(name, false, out) else { return };
        let Ok(said) = serde_json::from_str::<Said>(line) else {
            tracing::warn!(task = name, line, "not understood");
            return;
        };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.note(&said);
        match said {
            Said::Pulling => self.push(&id, TaskState::Starting, "Pulling the image", None, now, out),
            Said::Started { .. } => self.running(&id, now, out),
            Said::Failed { .. } | Said::Ended { .. } => {}
        }
    }

    pub(super) fn ended(&mut self, name: &str, end: &End, now: Now, out: &mut Vec<Effect>) {
        if let Some(id) = self.named(name, true, out) {
            self.end(&id, end, now, out);
        }
    }

    pub(super) fn running(&mut self, id: &TaskId, now: Now, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(id).filter(|it| it.stage == Stage::Launched) else { return };
        let killed = task.kill.is_some();
        self.run(id, now.tick);
        if killed {
            return;
        }
        out.extend(self.tasks.get(id).and_then(|it| self.watch(it, false)));
        self.push(id, TaskState::Running, "", None, now, out);
        self.release(id, out);
    }

    pub(super) fn end(&mut self, id: &TaskId, end: &End, now: Now, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id).filter(|it| it.stage != Stage::Ended) else { return };
        let (outcome, unwatch) = (task.outcome(end), task.unwatch());
        task.stage = Stage::Ended;
        task.fatal = match outcome.state {
            TaskState::Finished => false,
            TaskState::Killed => outcome.reason == Some(Reason::HealthCheckUnhealthy),
            _ => true,
        };
        out.extend(unwatch);
        if has_image(&task.launch) && !matches!(end.how, How::Exited { .. } | How::NotStarted { .. }) {
            out.push(Effect::Sweep(id.clone()));
        }
        let at = if 0 < end.at_ms { Timestamp(end.at_ms) } else { now.wall };
        let at = Now { wall: at, tick: now.tick };
        self.push(id, outcome.state, &outcome.message, outcome.reason, at, out);
        self.after_end(id, now, out);
    }

    pub(super) fn prepared(
        &mut self,
        id: &TaskId,
        process: Result<Box<Process>, String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(id).filter(|it| it.stage == Stage::Preparing) else { return };
        match process {
            Ok(process) => {
                task.stage = Stage::Launched;
                task.kept = true;
                out.push(Effect::Keep(Request::Launch { task: id.to_string(), process }));
            }
            Err(why) => {
                task.stage = Stage::Ended;
                task.fatal = true;
                self.push(id, TaskState::Failed, &why, OTHER, now, out);
                self.after_end(id, now, out);
            }
        }
    }
}

impl Task {
    fn note(&mut self, said: &Said) {
        match said {
            Said::Pulling => {}
            Said::Started { pid, addresses, container } => {
                self.pid = *pid;
                self.container = Some(container.clone());
                let one = |it: &String| IpAddress { address: Arc::from(it.as_str()), ipv6: it.contains(':') };
                self.addresses = addresses.iter().map(one).collect();
            }
            Said::Failed { message } => self.failure = Some(message.clone()),
            Said::Ended { code: _, out_of_memory } => self.out_of_memory = *out_of_memory,
        }
    }

    /// Ends the checks, if they go on.
    pub(super) fn unwatch(&self) -> Option<Effect> {
        let checked = self.launch.health_check.is_some() || self.launch.check.is_some();
        let watched = checked && self.stage == Stage::Running && self.kill.is_none();
        watched.then(|| Effect::Unwatch(self.launch.task.clone()))
    }
}
