//! Health and readiness: which checks are due, what their results mean, and when a task dies of them.
//!
//! Checks over the network are carried out outside; the core says when (`Act::Probe`) and draws the
//! consequences. Checks beside the task (COMMAND, MESOS_*) are the engine's, results and kills included;
//! here they only show.

use std::sync::Arc;
use std::time::Duration;

use marathon_model::act::{Act, Probe, ProbeKind};
use marathon_model::app::{AppSpec, CheckPort, HealthCheck, HealthKind, Networking};
use marathon_model::event::{ProbeCheck, ProbeKey, ProbeOutcome, ProbeResult};
use marathon_model::id::InstanceId;
use marathon_model::instance::{Condition, Goal, Health, Instance};
use marathon_model::notice::What;
use marathon_model::offer::{TaskState, TaskStatus};
use marathon_model::time::{Tick, Timestamp};
use marathon_model::view::{App, Readiness};

use crate::Core;
use crate::schedule::Place;
use crate::timers::Timer;

/// How long after its own timeout a probe is given up for lost.
const PROBE_SLACK: Duration = Duration::from_secs(5);
/// The smallest step of time there is.
const TICK: Duration = Duration::from_millis(1);
/// Of the body of a readiness answer so much is kept, if any.
const BODY_MAX: usize = 4096;
/// At most this share of an app (and at least one) is being killed for its health at any time: one bad
/// moment of our own host must not take a fleet down.
const UNHEALTHY_KILLS_SHARE: f64 = 0.25;

impl Core {
    /// The definition an instance was started from.
    pub(crate) fn spec_of(&self, it: &Instance) -> Option<Arc<AppSpec>> {
        let app = self.world.app(it.spec())?;
        app.version(it.version).or(app.spec.as_ref()).cloned()
    }

    pub(crate) fn awaits_readiness(&self, it: &Instance) -> bool {
        let deploying = self.world.app(it.spec()).is_some_and(|app| !app.deployments.is_empty());
        deploying && self.spec_of(it).is_some_and(|spec| !spec.readiness_checks.is_empty())
    }

    /// Starts the checks of an instance that just began to run.
    pub(crate) fn begin_checks(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        let Some(spec) = self.spec_of(&it) else { return };
        self.set_health_timers(&it, &spec, |place, now, _| place.first(now));
        self.begin_readiness(&it, &spec);
    }

    /// The same for one that was running before the server was, but its timers are handed back, to be set with
    /// those of all others.
    pub(crate) fn resume_checks(&mut self, it: &Instance, app: &App) -> Vec<(Timer, Tick)> {
        let Some(spec) = app.version(it.version).or(app.spec.as_ref()) else { return Vec::new() };
        self.begin_readiness(it, spec);
        health_timers(self.world.now.tick, it, spec, Place::resumed).collect()
    }

    fn set_health_timers(&mut self, it: &Instance, spec: &AppSpec, due: impl Fn(&Place, Tick, bool) -> Tick) {
        for (timer, due) in health_timers(self.world.now.tick, it, spec, due) {
            self.world.timers.set(timer, due);
        }
    }

    fn begin_readiness(&mut self, it: &Instance, spec: &AppSpec) {
        if !it.ready && !spec.readiness_checks.is_empty() {
            self.world.timers.set(Timer::Readiness(it.id.clone()), self.world.now.tick);
        }
    }

    pub(crate) fn on_health_timer(&mut self, id: &InstanceId, at: u32) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        let Some(spec) = self.spec_of(&it) else { return };
        let (Some(check), Some(task)) = (spec.health_checks.get(at as usize), &it.task) else { return };
        if it.condition != Condition::Running {
            return;
        }
        let key = ProbeKey { task: task.id.clone(), check: ProbeCheck::Health(at) };
        if self.probing.remove(&key).is_some() {
            // The last probe never came back.
            self.judge_health(&it, check, at, Err("no answer in time".into()));
        }
        let Some(it) = self.world.instance(id).cloned() else { return };
        let now = self.world.now.tick;
        let next = Place::new(id, at, check.interval).next(now);
        match address(&spec, &it, check) {
            Err(cause) => {
                self.judge_health(&it, check, at, Err(cause.into()));
                self.world.timers.set(Timer::Health(id.clone(), at), next);
            }
            Ok((host, port)) => {
                let kind = match &check.kind {
                    HealthKind::Http { https, path, .. } => ProbeKind::Http {
                        https: *https,
                        path: path.clone().unwrap_or_else(|| "/".to_owned()),
                        keep_body: 0,
                    },
                    HealthKind::Tcp { .. } => ProbeKind::Tcp,
                    HealthKind::Command { .. } => return,
                };
                self.probing.insert(key.clone(), next);
                self.world.out.acts.push(Act::Probe(Probe { key, kind, host, port, timeout: check.timeout }));
                // A slow answer delays the next probe; an answer that never comes does not stop them.
                let given_up = now + check.timeout + PROBE_SLACK;
                self.world.timers.set(Timer::Health(id.clone(), at), next.max(given_up));
            }
        }
    }

    pub(crate) fn on_readiness_timer(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        let Some(spec) = self.spec_of(&it) else { return };
        let (Some(check), Some(task)) = (spec.readiness_checks.first(), &it.task) else { return };
        if it.condition != Condition::Running || it.ready {
            return;
        }
        let now = self.world.now.tick;
        let port = spec.port_index(&check.port_name).map(|at| CheckPort::Index(at as u32));
        let address =
            port.ok_or("the app has no port of this name").and_then(|port| resolve(&spec, &it, port));
        let key = ProbeKey { task: task.id.clone(), check: ProbeCheck::Readiness };
        self.world
            .timers
            .set(Timer::Readiness(id.clone()), now + check.interval.max(check.timeout + PROBE_SLACK));
        match address {
            Err(cause) => self.judge_readiness(&it, &spec, ProbeOutcome::Failed { cause: cause.into() }),
            Ok((host, port)) => {
                let keep_body = if check.preserve_last_response { BODY_MAX } else { 0 };
                let kind = ProbeKind::Http { https: check.https, path: check.path.clone(), keep_body };
                self.probing.insert(key.clone(), now);
                self.world.out.acts.push(Act::Probe(Probe { key, kind, host, port, timeout: check.timeout }));
            }
        }
    }

    pub(crate) fn on_probed(&mut self, result: ProbeResult) {
        let ProbeResult { key, outcome } = result;
        let Some(next) = self.probing.remove(&key) else { return };
        let Some(it) = self.world.view.task(&key.task).cloned() else { return };
        let Some(spec) = self.spec_of(&it) else { return };
        let now = self.world.now.tick;
        match key.check {
            ProbeCheck::Readiness => {
                if let Some(check) = spec.readiness_checks.first() {
                    self.world.timers.set(Timer::Readiness(it.id.clone()), now + check.interval);
                }
                self.judge_readiness(&it, &spec, outcome);
            }
            ProbeCheck::Health(at) => {
                let Some(check) = spec.health_checks.get(at as usize) else { return };
                if it.condition == Condition::Running {
                    let next = if next > now {
                        next
                    } else {
                        Place::new(&it.id, at, check.interval).from(now + TICK)
                    };
                    self.world.timers.set(Timer::Health(it.id.clone(), at), next);
                }
                if let Some(verdict) = verdict(check, outcome) {
                    self.judge_health(&it, check, at, verdict);
                }
            }
        }
    }

    fn judge_readiness(&mut self, it: &Arc<Instance>, spec: &AppSpec, outcome: ProbeOutcome) {
        let (Some(check), Some(task)) = (spec.readiness_checks.first(), &it.task) else { return };
        if it.condition != Condition::Running || it.ready {
            return;
        }
        let ready =
            matches!(&outcome, ProbeOutcome::Answered { status, .. } if check.ready_codes.contains(status));
        let answer = match outcome {
            ProbeOutcome::Failed { cause } => ProbeOutcome::Answered {
                status: 504,
                content_type: "text/plain".to_owned(),
                body: format!("Marathon could not query URL: {cause}").into(),
            },
            answer => answer,
        };
        let result = Readiness {
            name: check.name.clone(),
            task: task.id.clone(),
            ready,
            last_response: check.preserve_last_response.then_some(answer),
        };
        self.world.app_mut(it.spec()).readiness.insert(it.id.uuid, result);
        if ready {
            self.world.timers.clear(&Timer::Readiness(it.id.clone()));
            self.world.put_instance(Instance { ready: true, ..Instance::clone(it) });
        }
    }

    fn judge_health(
        &mut self,
        it: &Arc<Instance>,
        check: &HealthCheck,
        at: u32,
        verdict: Result<(), Arc<str>>,
    ) {
        let Some(task) = it.task.as_ref().filter(|_| it.condition == Condition::Running) else { return };
        let Some(before) = it.health.get(at as usize) else { return };
        let now = self.world.now.wall;
        let mut health = before.clone();
        match verdict {
            Ok(()) => succeed(&mut health, now),
            Err(cause) => {
                let in_grace = health.first_success.is_none()
                    && task.started_at.is_some_and(|started| now < started + check.grace);
                if in_grace {
                    return;
                }
                self.world.publish(What::HealthCheckFailed {
                    instance: it.id.clone(),
                    task: task.id.clone(),
                    check: check.clone(),
                });
                let failed_before = health.consecutive_failures;
                health.last_failure = Some(now);
                health.last_failure_cause = Some(cause);
                health.consecutive_failures += 1;
                self.put_health(it, at, health);
                if check.max_failures > 0 && failed_before >= check.max_failures {
                    self.kill_unhealthy(&it.id, at);
                }
                return;
            }
        }
        self.put_health(it, at, health);
    }

    fn put_health(&mut self, it: &Arc<Instance>, at: u32, health: Health) {
        let (Some(before), Some(task)) = (it.health.get(at as usize), &it.task) else { return };
        let flipped = before.alive() != health.alive();
        let task_id = task.id.clone();
        let was_healthy = it.healthy();
        // `alive` counts as false before the first result.
        let alive_changed = before.alive().unwrap_or(false) != health.alive().unwrap_or(false);
        let alive = health.alive() == Some(true);
        let mut next = Instance::clone(it);
        next.health[at as usize] = health;
        if next.healthy() != was_healthy {
            next.since = self.world.now.wall;
        }
        let (id, version) = (next.id.clone(), next.version);
        if flipped {
            self.world.put_instance(next);
        } else {
            self.world.put_instance_volatile(next);
        }
        if alive_changed {
            self.world.publish(What::HealthChanged { instance: id.clone(), task: task_id, version, alive });
        }
        self.announce_health(&id, was_healthy);
    }

    /// Publishes a change of the health of an instance as a whole.
    pub(crate) fn announce_health(&mut self, id: &InstanceId, before: Option<bool>) {
        let Some(it) = self.world.instance(id) else { return };
        let (healthy, version) = (it.healthy(), it.version);
        if healthy != before {
            self.world.publish(What::InstanceHealthChanged { instance: id.clone(), version, healthy });
        }
    }

    fn kill_unhealthy(&mut self, id: &InstanceId, at: u32) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        // What is meant to end anyway is told so again as soon as the engine listens.
        let ends = it.goal != Goal::Running || self.is_being_killed(&it);
        if ends || it.condition.is_unreachable() || !self.may_kill_unhealthy(&it) {
            return;
        }
        let cause =
            it.health.get(at as usize).and_then(|it| it.last_failure_cause.clone()).unwrap_or_default();
        let message = format!("Task was killed since health check failed. Reason: {cause}");
        if let Some(task) = &it.task {
            self.record_failure(&it, &task.id, TaskState::Killed, &message);
        }
        self.world.publish(What::UnhealthyKilled { instance: it.clone(), reason: cause.to_string() });
        self.count_failure(&it, &message);
        self.world.begin_health_kill(&it.id);
        self.send_kill(&it);
    }

    fn may_kill_unhealthy(&self, it: &Instance) -> bool {
        #[cfg(feature = "old-faults")]
        if self.has(crate::Fault::MassKill) {
            return true;
        }
        let Some(app) = self.world.app(it.spec()) else { return true };
        let wanted = app.spec.as_ref().map_or(0, |it| it.instances);
        // The cast saturates; at least one may always go.
        let limit = ((f64::from(wanted) * UNHEALTHY_KILLS_SHARE) as usize).max(1);
        self.world.dying_of_health(it.spec()) < limit
    }

    /// Takes in what the engine says about the check it carries out beside the task.
    pub(crate) fn note_engine_health(&mut self, next: &mut Instance, status: &TaskStatus) {
        let (Some(healthy), Some(spec)) = (status.healthy, self.spec_of(next)) else { return };
        let found = match &spec.pod {
            Some(pod) => crate::parts::check_of(pod, &status.task),
            None => spec.health_checks.iter().position(HealthCheck::by_engine),
        };
        let Some(at) = found else { return };
        let now = self.world.now.wall;
        let Some(health) = next.health.get_mut(at) else { return };
        if health.alive() == Some(healthy) {
            return;
        }
        let was_alive = health.alive() == Some(true);
        if healthy {
            succeed(health, now);
        } else {
            health.last_failure = Some(now);
            health.last_failure_cause = Some(status.message.as_str().into());
            health.consecutive_failures += 1;
        }
        let what = What::HealthChanged {
            instance: next.id.clone(),
            task: status.task.clone(),
            version: next.version,
            alive: healthy,
        };
        next.since = now;
        // `alive` counts as false before the first result.
        if was_alive != healthy {
            self.world.publish(what);
        }
    }
}

fn health_timers(
    now: Tick,
    it: &Instance,
    spec: &AppSpec,
    due: impl Fn(&Place, Tick, bool) -> Tick,
) -> impl Iterator<Item = (Timer, Tick)> {
    let checks = (0..).zip(&spec.health_checks).filter(|(_, check)| !check.by_engine());
    checks.map(move |(at, check)| {
        let known = it.health.get(at as usize).is_some_and(|it| it.alive().is_some());
        let due = due(&Place::new(&it.id, at, check.interval), now, known);
        (Timer::Health(it.id.clone(), at), due)
    })
}

fn succeed(health: &mut Health, now: Timestamp) {
    health.first_success.get_or_insert(now);
    health.last_success = Some(now);
    health.consecutive_failures = 0;
}

/// Success, failure with its cause, or nothing at all (1xx answers that are to be ignored).
fn verdict(check: &HealthCheck, outcome: ProbeOutcome) -> Option<Result<(), Arc<str>>> {
    let ignore_1xx = matches!(check.kind, HealthKind::Http { ignore_1xx: true, https: false, .. });
    match outcome {
        ProbeOutcome::Connected => Some(Ok(())),
        ProbeOutcome::Answered { status: 200..=399, .. } => Some(Ok(())),
        ProbeOutcome::Answered { status: 100..=199, .. } if ignore_1xx => None,
        ProbeOutcome::Answered { status, .. } => Some(Err(format!("HTTP status {status}").into())),
        ProbeOutcome::Failed { cause } => Some(Err(cause)),
    }
}

fn address(spec: &AppSpec, it: &Instance, check: &HealthCheck) -> Result<(String, u16), &'static str> {
    match &check.kind {
        HealthKind::Http { port, .. } | HealthKind::Tcp { port, .. } => resolve(spec, it, *port),
        HealthKind::Command { .. } => Err("a command has no address"),
    }
}

/// Where a check over the network goes: the container's own address on container networks, else the
/// agent and the host port.
fn resolve(spec: &AppSpec, it: &Instance, port: CheckPort) -> Result<(String, u16), &'static str> {
    let task = it.task.as_ref().ok_or("the instance has no task")?;
    let host = it.agent.as_ref().map(|it| it.host.to_string()).ok_or("the instance has no agent")?;
    let container =
        || task.addresses.first().map(|it| it.address.to_string()).ok_or("the container has no address yet");
    match (&spec.networking, port) {
        (Networking::Container { .. }, CheckPort::Number(port)) => Ok((container()?, port)),
        (_, CheckPort::Number(port)) => Ok((host, port)),
        (Networking::Host { .. }, CheckPort::Index(at)) => {
            let port = task.ports.get(at as usize).ok_or("the task has no port of this index")?;
            Ok((host, *port))
        }
        (
            Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. },
            CheckPort::Index(at),
        ) => {
            let at = at as usize;
            let mapping = mappings.get(at).ok_or("the app has no port mapping of this index")?;
            let before = mappings[..at].iter().filter(|it| it.host_port.is_some()).count();
            let host_port = mapping.host_port.and_then(|_| task.ports.get(before)).copied();
            match (&spec.networking, host_port) {
                (Networking::Container { .. }, _) if mapping.container_port != 0 => {
                    Ok((container()?, mapping.container_port))
                }
                (_, Some(port)) => Ok((host, port)),
                (_, None) => Ok((container()?, mapping.container_port)),
            }
        }
    }
}
