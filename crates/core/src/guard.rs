//! Deployments that give up by themselves, if they were asked to: after a time, or after too many failures.
//!
//! ```text
//! deadline passed ──────┐                                    ┌─► stop: everything stays as it is
//! one failure too many ─┴─► noted ─► the step ends ─► fail ──┴─► rollback: a new deployment puts it back
//! ```
//! What gives up is only noted where it is found out, amid the change of an instance, and ended once that is
//! complete. The deployment that puts things back has no guard of its own, so it cannot loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::command::{Refusal, Violation};
use marathon_model::deployment::{Aftermath, Cause, Deployment, Failed, Guard, OnFailure};
use marathon_model::id::{DeploymentId, SpecId};
use marathon_model::instance::{Goal, Instance};
use marathon_model::time::Timestamp;
use marathon_model::write::Write;

use crate::Core;
use crate::deploy::{Accepted, Draft};
use crate::timers::Timer;

/// So many deployments that gave up are remembered.
const FAILED_MAX: usize = 25;
/// Reasons are cut to so many characters; they hold messages of tasks.
const REASON_MAX: usize = 1_000;
/// So many apps are named as the ones a deployment waited for.
const NAMED_MAX: usize = 3;

/// The steps of a deployment in which something is done with each of its apps, in order.
#[derive(Debug, Default)]
pub struct Itinerary(BTreeMap<SpecId, Vec<usize>>);

impl Itinerary {
    pub fn of(plan: &Deployment) -> Itinerary {
        let mut stops: BTreeMap<SpecId, Vec<usize>> = BTreeMap::new();
        for (at, step) in plan.steps.iter().enumerate() {
            for action in &step.actions {
                stops.entry(action.app.clone()).or_default().push(at);
            }
        }
        Itinerary(stops)
    }

    pub fn apps(&self) -> impl Iterator<Item = &SpecId> {
        self.0.keys()
    }

    pub fn into_apps(self) -> impl Iterator<Item = SpecId> {
        self.0.into_keys()
    }

    /// Whether something is still to be done with the app after this step.
    pub fn comes_to(&self, app: &SpecId, current: usize) -> bool {
        self.0.get(app).and_then(|it| it.last()).is_some_and(|last| current < *last)
    }
}

impl Core {
    /// The guard of a deployment that is about to begin.
    pub(crate) fn guard_of(&self, draft: &Draft) -> Result<Option<Guard>, Refusal> {
        let asked = self.guard.unwrap_or_default();
        if draft.undoes {
            return Ok(asked.over(Default::default()));
        }
        let guard = asked.over(self.policy.guard);
        if guard.is_none() && asked.on_failure.is_some() {
            let text = "means nothing without deadlineSeconds or maxFailures";
            return Err(Refusal::Invalid(vec![Violation::new("/onFailure", text)]));
        }
        Ok(guard)
    }

    pub(crate) fn watch_deadline(&mut self, plan: &Deployment) {
        let Some(deadline) = plan.guard.and_then(|it| it.deadline) else { return };
        // A wall clock that was set back must not make the time longer than it is.
        let left = (plan.began_at + deadline) - self.world.now.wall;
        let at = self.world.now.tick + left.min(deadline);
        self.world.timers.set(Timer::Deadline(plan.id), at);
    }

    /// After a restart: what passed meanwhile has passed.
    pub(crate) fn watch_deadlines(&mut self) {
        let plans: Vec<Arc<Deployment>> = self.world.view.deployments.values().cloned().collect();
        plans.iter().for_each(|it| self.watch_deadline(it));
    }

    pub(crate) fn on_deadline(&mut self, id: DeploymentId) {
        let Some(plan) = self.world.view.deployments.get(&id).cloned() else { return };
        let Some(deadline) = plan.guard.and_then(|it| it.deadline) else { return };
        let (step, of) = (plan.current + 1, plan.steps.len());
        let seconds = deadline.as_secs();
        let open = self.unfinished(&plan);
        self.break_off(id, format!("Not done after {seconds} seconds: step {step} of {of} waits for {open}"));
    }

    /// What the present step waits for, in words.
    fn unfinished(&self, plan: &Deployment) -> String {
        let actions = plan.step().map(|it| it.actions.as_slice()).unwrap_or_default();
        let open: Vec<&SpecId> = actions.iter().filter(|it| !self.is_done(it)).map(|it| &it.app).collect();
        let named = open.iter().take(NAMED_MAX).map(|id| {
            let app = self.world.app(id);
            let counts = app.map(|it| it.tally.sum()).unwrap_or_default();
            let wanted = app.and_then(|it| it.spec.as_ref()).map_or(0, |it| it.instances);
            let mut text = format!("{id} ({} of {wanted} instances serve", counts.serving);
            if counts.waiting > 0 {
                text.push_str(&format!(", {} find no place", counts.waiting));
            }
            if counts.ending > 0 {
                text.push_str(&format!(", {} are ending", counts.ending));
            }
            text + ")"
        });
        let mut text = named.collect::<Vec<_>>().join(", ");
        if open.len() > NAMED_MAX {
            text.push_str(&format!(" and {} more", open.len() - NAMED_MAX));
        }
        text
    }

    /// Takes down that a task failed which a guarded deployment started.
    pub(crate) fn count_failure(&mut self, it: &Instance, why: &str) {
        if it.goal != Goal::Running {
            return;
        }
        let Some(app) = self.world.app(it.spec()) else { return };
        let is_current = app.spec.as_ref().is_some_and(|spec| spec.config == it.config);
        let plans: Vec<Arc<Deployment>> =
            app.deployments.iter().filter_map(|id| self.world.view.deployments.get(id)).cloned().collect();
        for plan in plans.iter().filter(|plan| is_current && plan.version == it.version) {
            let Some(most) = plan.guard.and_then(|it| it.max_failures) else { continue };
            let failures = plan.failures.saturating_add(1);
            self.world.note_failures(Deployment { failures, ..Deployment::clone(plan) });
            if failures > most {
                let task = it.task.as_ref().map(|it| it.id.to_string()).unwrap_or_default();
                let text =
                    format!("{failures} failures of new tasks, {most} allowed; the last: {task}: {why}");
                self.break_off(plan.id, text);
            }
        }
    }

    fn break_off(&mut self, id: DeploymentId, reason: String) {
        let reason = match reason.char_indices().nth(REASON_MAX) {
            Some((end, _)) => reason[..end].to_owned(),
            None => reason,
        };
        self.world.broken.push((id, reason));
    }

    /// Ends the deployments whose guard was broken in this step.
    pub(crate) fn end_broken(&mut self) {
        for (id, reason) in std::mem::take(&mut self.world.broken) {
            // It may have come to its end, or have been noted twice.
            let Some(plan) = self.world.view.deployments.get(&id).cloned() else { continue };
            let undo = plan.guard.is_some_and(|it| it.on_failure == OnFailure::Rollback);
            self.fail(id, &reason);
            let then = match undo {
                false => Aftermath::Stopped,
                true => self.roll_back(&plan, &reason),
            };
            let failed = Failed {
                deployment: id,
                version: plan.version,
                at: self.world.now.wall,
                reason: reason.into(),
                apps: plan.affected().into_iter().cloned().collect(),
                then,
            };
            self.remember(failed);
        }
    }

    fn roll_back(&mut self, plan: &Deployment, reason: &str) -> Aftermath {
        let cause = Some(Cause { deployment: plan.id, reason: reason.into() });
        match self.deploy(Draft { cause, ..crate::edit::undo(&self.world, plan) }) {
            Ok(Ok(Accepted { deployment, .. })) => Aftermath::RolledBack(deployment),
            Ok(Err(_)) => Aftermath::Stopped,
            Err(refusal) => Aftermath::NotRolledBack(crate::deploy::reason(&refusal).into()),
        }
    }

    fn remember(&mut self, failed: Failed) {
        let failed = Arc::new(failed);
        self.world.write(Write::Failed(failed.clone()));
        // In the order in which a restart reads them: a clock may be set back.
        let place = |it: &Failed| -> (Timestamp, DeploymentId) { (it.at, it.deployment) };
        let at = self.world.view.failed.iter().position(|it| place(&failed) < place(it));
        let all = &mut self.world.view.failed;
        all.insert(at.unwrap_or(all.len()), failed);
        while self.world.view.failed.len() > FAILED_MAX {
            if let Some(oldest) = self.world.view.failed.pop_front() {
                self.world.write(Write::FailedForgotten(oldest.deployment));
            }
        }
    }
}
