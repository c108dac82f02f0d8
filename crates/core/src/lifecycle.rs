//! What a status update means for an instance, and what the passing of time does.
//!
//! ```text
//! Scheduled ─► Provisioned ─► Staging ─► Starting ─► Running ─► Killing ─► terminal
//!     ▲            │                                   │  ▲                  │
//!     │            └─ too long without a word: kill    ▼  │                  │
//!     └── goal Running: the same instance again ◄── Unreachable ─► expunged  │
//!                          (incarnation + 1) ◄───────────────────────────────┘
//! ```
//! Every update is stored before it is acknowledged: the acknowledgement is an act of the same batch.

use std::sync::Arc;
use std::time::Duration;

use marathon_model::app::{AppSpec, UnreachableStrategy};
use marathon_model::id::{InstanceId, TaskId};
use marathon_model::instance::{Condition, Goal, Health, Instance, TaskFailure};
use marathon_model::notice::What;
use marathon_model::offer::{Call, Reason, TaskState, TaskStatus};
use marathon_model::reservation::ReservationState;
use marathon_model::write::Write;

use crate::Core;
use crate::parts;
use crate::resident::in_state;
use crate::timers::Timer;

/// Status messages are cut to so many characters before they are stored or published.
const MESSAGE_MAX: usize = 10_000;
/// So many instances of one app wait to be placed at a time: `"instances": 2000000000` is easily written.
const WAITING_MAX: usize = 100_000;

/// Mesos's word for a state, read as the condition it means.
pub(crate) fn condition_of(status: &TaskStatus) -> Condition {
    match status.state {
        TaskState::Staging => Condition::Staging,
        TaskState::Starting => Condition::Starting,
        TaskState::Running => Condition::Running,
        TaskState::Killing => Condition::Killing,
        TaskState::Finished => Condition::Finished,
        TaskState::Failed => Condition::Failed,
        TaskState::Killed => Condition::Killed,
        TaskState::Error => Condition::Error,
        TaskState::Dropped => Condition::Dropped,
        TaskState::Unreachable => Condition::Unreachable,
        TaskState::Unknown => Condition::Unknown,
        TaskState::Gone | TaskState::GoneByOperator => Condition::Gone,
        // Only from masters or agents older than partition awareness.
        TaskState::Lost => match status.reason {
            _ if status.message.starts_with("Reconciliation: Task is unknown to the") => Condition::Unknown,
            Some(Reason::TaskUnknown) => Condition::Unknown,
            Some(Reason::Reconciliation | Reason::AgentDisconnected | Reason::AgentRemoved) => {
                Condition::Unreachable
            }
            _ => Condition::Gone,
        },
    }
}

impl Core {
    pub(crate) fn on_status(&mut self, status: TaskStatus) {
        self.world.view.counters.updates[status.state as usize] += 1;
        self.world.changed = true;
        if status.reason == Some(Reason::ContainerLimitationMemory) {
            self.world.view.counters.out_of_memory += 1;
        }
        let condition = condition_of(&status);
        match self.world.instance(&status.task.instance).cloned() {
            None => self.on_unknown(&status, condition),
            Some(it) if it.task.as_ref().is_none_or(|task| !parts::is_about(task, &status.task)) => {
                // An earlier start of the instance: it was given up, so it must not live on.
                if !condition.is_terminal() && !condition.is_unreachable() {
                    self.kill_unknown(&status);
                }
            }
            Some(it) => self.update(&it, &status, condition),
        }
        if let (Some(update), Some(agent)) = (status.update, status.agent) {
            self.world.call(Call::Acknowledge { task: status.task, agent, update });
        }
    }

    fn on_unknown(&mut self, status: &TaskStatus, condition: Condition) {
        if condition.is_terminal() || condition.is_unreachable() {
            let instance = status.task.instance.clone();
            self.world.publish(What::UnknownInstanceTerminated { instance, condition });
        } else {
            self.kill_unknown(status);
        }
    }

    /// Of a pod everything that was started together goes, except where only this container is none of ours.
    fn kill_unknown(&mut self, status: &TaskStatus) {
        #[cfg(feature = "old-faults")]
        if self.has(crate::Fault::ReturnedLives) {
            return;
        }
        let whole = parts::whole(&status.task);
        let present = self.world.instance(&whole.instance).and_then(|it| it.task.as_ref());
        let alone = present.is_some_and(|it| it.id == whole && !parts::is_about(it, &status.task));
        let task = if alone { status.task.clone() } else { whole };
        self.world.call(Call::Kill { task, agent: status.agent.clone(), grace: None });
    }

    fn update(&mut self, before: &Arc<Instance>, status: &TaskStatus, condition: Condition) {
        // What has ended stays ended, and what an agent says late may be older than what is known.
        if before.condition.is_terminal() {
            if status.state == TaskState::GoneByOperator && before.reservation.is_some() {
                return self.unbind(before);
            }
            if may_live_on(before) && !condition.is_terminal() && !condition.is_unreachable() {
                self.kill_unknown(status);
            }
            return;
        }
        let id = before.id.clone();
        let now = self.world.now;
        let mut next = Instance::clone(before);
        let Some(task) = next.task.as_mut() else { return };
        let changed;
        let condition = if task.parts.is_empty() {
            if is_step_back(before.condition, condition) {
                return;
            }
            changed = if task.state == Some(status.state) { Vec::new() } else { vec![task.id.clone()] };
            task.state = Some(status.state);
            if status.check.is_some() {
                task.check = status.check;
            }
            condition
        } else {
            let news = parts::take_in(task, status, now.wall);
            if news.is_old {
                return;
            }
            changed = news.changed.iter().map(|at| parts::id_of(task, &task.parts[*at])).collect();
            parts::condition(task.state)
        };
        if !status.addresses.is_empty() {
            task.addresses.clone_from(&status.addresses);
        }
        task.unreachable_since = match condition {
            Condition::Unreachable => task.unreachable_since.or(status.unreachable_since).or(Some(now.wall)),
            _ => None,
        };
        if condition == Condition::Running && task.started_at.is_none() {
            task.started_at = Some(now.wall);
        }
        let keep_inactive =
            before.condition == Condition::UnreachableInactive && condition == Condition::Unreachable;
        next.condition = if keep_inactive { Condition::UnreachableInactive } else { condition };
        if next.condition != before.condition {
            next.since = now.wall;
        }
        let starts_running = condition == Condition::Running && before.condition != Condition::Running;
        if starts_running && !before.ready {
            next.ready = !self.awaits_readiness(&next);
        }
        self.note_engine_health(&mut next, status);
        if condition.is_terminal() {
            // Nothing is known any more of what has no task.
            next.health.fill(Health::default());
        }
        if next == **before {
            return;
        }
        self.world.timers.clear(&Timer::Unreachable(id.clone()));
        match condition {
            Condition::Staging | Condition::Starting => {
                let deadline = now.tick + self.policy.task_launch_timeout;
                let launch = Timer::Launch(id.clone());
                // Back from being unreachable it is watched anew.
                if before.condition == Condition::Provisioned || !self.world.timers.is_set(&launch) {
                    self.world.timers.set(launch, deadline);
                }
            }
            _ => self.world.timers.clear(&Timer::Launch(id.clone())),
        }
        for task in changed {
            self.publish_status(&next, task, status);
        }
        let health_before = before.healthy();
        let version = next.version;
        self.store(before, next, condition, status);
        if self.world.instance(&id).is_none() && health_before.is_some() {
            self.world.publish(What::InstanceHealthChanged { instance: id, version, healthy: None });
            return;
        }
        // The engine kills for its own checks; how many die of their health at a time is counted over all.
        let dies = condition == Condition::Killing && before.goal == Goal::Running;
        if dies && health_before == Some(false) {
            self.world.begin_health_kill(&id);
        }
        if starts_running {
            self.begin_checks(&id);
        }
        self.announce_health(&id, health_before);
    }

    fn publish_status(&mut self, it: &Instance, id: TaskId, status: &TaskStatus) {
        let Some(task) = &it.task else { return };
        let ports = match &id.container {
            Some(name) => parts::ports(self.spec_of(it).as_ref(), task, name),
            None => task.ports.clone(),
        };
        let agent = it.agent.as_deref();
        self.world.publish(What::StatusUpdate {
            task: id,
            agent: agent.map(|it| it.id.to_string()).unwrap_or_default(),
            host: agent.map_or_else(|| "unknown".to_owned(), |it| it.host.to_string()),
            state: status.state,
            message: cut(&status.message),
            ports,
            addresses: task.addresses.clone(),
            version: it.version,
        });
    }

    /// Stores the new state and draws the consequences of an end.
    fn store(&mut self, before: &Instance, next: Instance, condition: Condition, status: &TaskStatus) {
        let id = next.id.clone();
        let ends = before.task.as_ref().is_some_and(|task| match task.parts.is_empty() {
            true => condition.is_terminal(),
            false => parts::may_be_first_failure(task, status),
        });
        if ends {
            self.note_failure(&next, status);
            // The other containers of a pod end later, and by our hand.
            let broke = before.task.as_ref().is_some_and(parts::is_broken);
            let unhealthy = status.reason == Some(Reason::HealthCheckUnhealthy);
            if unhealthy && !broke && !condition.is_terminal() {
                self.count_failure(&next, &format!("{:?}: {}", status.state, status.message));
            }
        }
        if condition.is_terminal() {
            crate::agents::give_back(&mut self.world, &next, condition, status.at);
            self.world.timers.forget(&id, next.health.len());
            self.delay_after(&next, status);
            if next.reservation.is_some() {
                if status.state == TaskState::GoneByOperator {
                    return self.unbind(&next);
                }
                self.world.put_instance(in_state(&next, ReservationState::Suspended));
                return;
            }
            if next.goal == Goal::Decommissioned {
                // The event of the end is published although the record goes at once.
                self.world.publish(What::InstanceChanged { instance: Arc::new(next) });
                self.world.drop_instance(&id);
                return;
            }
        } else if condition == Condition::Unreachable {
            if self.is_expunged_at_once(&next) {
                self.world.publish(What::InstanceChanged { instance: Arc::new(next) });
                self.world.drop_instance(&id);
                return;
            }
            self.set_unreachable_timer(&next);
        } else {
            let back = before.condition.is_unreachable();
            let broken = next.task.as_ref().is_some_and(parts::is_broken);
            // Back and not wanted, or the rest of a pod of which a container ended: say so (again).
            if back && next.goal != Goal::Running || broken && (back || !self.is_told_to_end(&next)) {
                self.send_kill(&next);
            }
        }
        let progressed = matches!(condition, Condition::Staging | Condition::Starting | Condition::Running)
            && condition != before.condition;
        let spec = self.world.spec(&id.spec).cloned();
        self.world.put_instance(next);
        if progressed && let Some(spec) = spec {
            self.progress(&spec);
        }
    }

    fn note_failure(&mut self, it: &Instance, status: &TaskStatus) {
        let failed = matches!(
            status.state,
            TaskState::Failed
                | TaskState::Error
                | TaskState::Lost
                | TaskState::Dropped
                | TaskState::Gone
                | TaskState::GoneByOperator
                | TaskState::Unknown
        );
        // The engine killed it for its health: the user wants to read why.
        let unhealthy = status.reason == Some(Reason::HealthCheckUnhealthy);
        if failed || unhealthy && it.goal == Goal::Running {
            self.record_failure(it, &status.task, status.state, &status.message);
        }
    }

    pub(crate) fn record_failure(&mut self, it: &Instance, task: &TaskId, state: TaskState, message: &str) {
        let failure = Arc::new(TaskFailure {
            spec: it.spec().clone(),
            task: task.clone(),
            state,
            message: cut(message),
            host: it.agent.as_ref().map_or_else(|| "unknown".into(), |agent| agent.host.clone()),
            agent: it.agent.as_ref().map(|agent| agent.id.clone()),
            version: it.version,
            at: self.world.now.wall,
        });
        self.world.app_mut(it.spec()).failure = Some(failure.clone());
        self.world.write(Write::Failure(failure));
    }

    fn strategy(&self, it: &Instance) -> UnreachableStrategy {
        #[cfg(feature = "old-faults")]
        if it.reservation.is_some() && self.has(crate::Fault::VolumesDestroyed) {
            return UnreachableStrategy::After { inactive: Duration::ZERO, expunge: Duration::ZERO };
        }
        // It belongs to its agent, whatever its definition says by now.
        if it.reservation.is_some() {
            return UnreachableStrategy::Disabled;
        }
        let app = self.world.app(it.spec());
        let spec = app.and_then(|app| app.version(it.version).or(app.spec.as_ref()));
        let at_once = UnreachableStrategy::After { inactive: Duration::ZERO, expunge: Duration::ZERO };
        spec.map_or(at_once, |it| it.unreachable)
    }

    fn is_expunged_at_once(&self, it: &Instance) -> bool {
        if self.world.spec(it.spec()).is_none() {
            return true;
        }
        match self.strategy(it) {
            UnreachableStrategy::Disabled => false,
            UnreachableStrategy::After { expunge, .. } => self.unreachable_for(it) >= expunge,
        }
    }

    fn unreachable_for(&self, it: &Instance) -> Duration {
        let since = it.task.as_ref().and_then(|it| it.unreachable_since).unwrap_or(self.world.now.wall);
        self.world.now.wall - since
    }

    pub(crate) fn set_unreachable_timer(&mut self, it: &Instance) {
        let UnreachableStrategy::After { inactive, expunge } = self.strategy(it) else { return };
        let passed = self.unreachable_for(it);
        let next =
            if it.condition == Condition::Unreachable && inactive < expunge { inactive } else { expunge };
        let at = self.world.now.tick + next.saturating_sub(passed);
        self.world.timers.set(Timer::Unreachable(it.id.clone()), at);
    }

    pub(crate) fn on_unreachable_timer(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        let UnreachableStrategy::After { inactive, expunge } = self.strategy(&it) else { return };
        if !it.condition.is_unreachable() {
            return;
        }
        // The wall clock may have been set back since the timer was: the timer is what counts.
        let passed = self.unreachable_for(&it);
        if it.condition == Condition::Unreachable && inactive < expunge && passed < expunge {
            let next = Instance {
                condition: Condition::UnreachableInactive,
                since: self.world.now.wall,
                ..Instance::clone(&it)
            };
            self.world.put_instance(next);
            let left = expunge.saturating_sub(passed.max(inactive));
            self.world.timers.set(Timer::Unreachable(id.clone()), self.world.now.tick + left);
        } else {
            self.expunge(id);
        }
    }

    /// Forgets an instance that may still run somewhere. Should it turn up, it is unknown, and killed.
    pub(crate) fn expunge(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id) else { return };
        let (condition, since) = (Condition::Killed, self.world.now.wall);
        let last = Arc::new(Instance { condition, since, ..Instance::clone(it) });
        self.world.publish(What::InstanceChanged { instance: last });
        self.world.drop_instance(id);
    }

    /// A launch that took too long.
    pub(crate) fn on_launch_timer(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        if matches!(it.condition, Condition::Provisioned | Condition::Staging | Condition::Starting) {
            self.world.view.counters.launches_overdue += 1;
            self.count_failure(&it, "it did not start in time");
            self.send_kill(&it);
            let agent = it.agent.as_ref().map(|it| it.id.clone());
            let tasks = it.task.as_ref().map(parts::live_ids).unwrap_or_default();
            self.world.call(Call::Reconcile(tasks.into_iter().map(|it| (it, agent.clone())).collect()));
        }
    }

    /// Tells the engine to end the task of an instance, and again until it did.
    pub(crate) fn send_kill(&mut self, it: &Instance) {
        let Some(task) = it.task.as_ref().filter(|_| !it.is_over()) else { return };
        let agent = it.agent.as_ref().map(|it| it.id.clone());
        self.world
            .timers
            .set(Timer::Kill(it.id.clone()), self.world.now.tick + self.policy.kill_retry_timeout);
        self.world.call(Call::Kill { task: task.id.clone(), agent, grace: None });
    }

    pub(crate) fn on_kill_timer(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        if !it.is_over() && !it.condition.is_unreachable() {
            self.send_kill(&it);
        }
    }

    pub(crate) fn is_being_killed(&self, it: &Instance) -> bool {
        it.condition == Condition::Killing || self.is_told_to_end(it)
    }

    fn is_told_to_end(&self, it: &Instance) -> bool {
        self.world.timers.is_set(&Timer::Kill(it.id.clone()))
    }

    /// Gives an instance the goal to end. What never ran, or has ended, is forgotten at once; what owns volumes keeps
    /// them for the next start.
    pub(crate) fn retire(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        if it.reservation.as_ref().is_some_and(|held| !held.is_new()) {
            return self.park(&it);
        }
        if it.reservation.is_some() {
            // Nothing was ever kept in it.
            return self.decommission(id);
        }
        #[cfg(feature = "old-faults")]
        if it.is_over() && self.waits_for_an_end_that_never_comes(id) {
            return;
        }
        if it.is_over() {
            let mut last = Instance::clone(&it);
            last.goal = Goal::Decommissioned;
            self.world.publish(What::InstanceChanged { instance: Arc::new(last) });
            self.world.drop_instance(id);
            return;
        }
        if it.goal == Goal::Running {
            self.world.put_instance(Instance { goal: Goal::Decommissioned, ..Instance::clone(&it) });
        }
        if !self.is_being_killed(&it) {
            self.send_kill(&it);
        }
    }

    /// Adds instances that wait to be placed. Of a vast number some come later, as these are placed.
    pub(crate) fn schedule(&mut self, spec: &AppSpec, count: u32) {
        let count = count - self.unpark(spec, count);
        let waiting = self.world.index.get(&spec.id).map_or(0, |it| it.waiting.len());
        for _ in 0..(count as usize).min(WAITING_MAX.saturating_sub(waiting)) {
            // Never older than the state it belongs to, whatever the clock does.
            let uuid = self.ids.instance(self.world.now.wall.max(self.world.view.began));
            self.world.put_instance(Instance {
                id: InstanceId { spec: spec.id.clone(), uuid },
                goal: Goal::Running,
                condition: Condition::Scheduled,
                since: self.world.now.wall,
                version: spec.version,
                config: spec.config,
                role: spec.role.clone(),
                incarnation: 0,
                agent: None,
                task: None,
                health: Vec::new(),
                ready: false,
                reservation: None,
            });
        }
    }
}

/// Whether an end was declared by a master that had lost track, rather than seen by an agent. The task may
/// have lived on, and must not.
fn may_live_on(ended: &Instance) -> bool {
    let is_hearsay = |end| matches!(end, Condition::Unknown | Condition::Gone | Condition::Dropped);
    let parts = ended.task.iter().flat_map(|it| &it.parts);
    is_hearsay(ended.condition) || parts.into_iter().any(|it| is_hearsay(parts::condition(it.state)))
}

/// Whether a task that has come as far as `before` is said to be where it was earlier. Reconciliation tells
/// the latest state at once, while the updates of an agent arrive one by one.
pub(crate) fn is_step_back(before: Condition, condition: Condition) -> bool {
    use Condition::*;
    const WAY: [Condition; 5] = [Provisioned, Staging, Starting, Running, Killing];
    let place = |it: Condition| WAY.iter().position(|step| *step == it);
    place(before).zip(place(condition)).is_some_and(|(before, now)| now < before)
}

pub(crate) fn cut(message: &str) -> Arc<str> {
    match message.char_indices().nth(MESSAGE_MAX) {
        Some((end, _)) => message[..end].into(),
        None => message.into(),
    }
}
