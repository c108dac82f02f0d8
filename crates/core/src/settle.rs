//! Makes what is follow what is wanted, one app at a time.
//!
//! Every event ends here: whatever touched an app marks it, and `settle` compares its instances with its
//! definition and with the step its deployment is in. It keeps no memory of its own, so a restart, a
//! failover and the happy path are the same code.

use std::collections::BTreeSet;
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::deployment::{Action, ActionKind, Step};
use marathon_model::id::{DeploymentId, InstanceId, SpecId};
use marathon_model::instance::{Goal, Instance};
use marathon_model::notice::What;
use marathon_model::write::Write;
use uuid::Uuid;

use crate::Core;
use crate::rollout::{Bounds, Present, next_moves};

/// What a deployment has to do with an app at this moment.
enum Stage {
    /// Nothing: keep the number of instances.
    Keep,
    /// Its step has not come: leave everything as it is.
    Later,
    /// Replace old instances by new ones.
    Replace,
}

/// Should two rules ever contradict each other, the step ends here, and the next event on the app looks at
/// it again: a leader that goes on with one app unsettled is better than one that hangs. Far above what a
/// change of ten thousand apps takes.
const SETTLE_ROUNDS_MAX: u32 = 1_000_000;

impl Core {
    /// Runs until nothing is left to decide. Ends because each round either finds every app settled, or
    /// moves a deployment forward, and there are finitely many steps.
    pub(crate) fn settle_all(&mut self) {
        let mut rounds = 0;
        while let Some(id) = self.world.dirty.pop_first() {
            rounds += 1;
            debug_assert!(rounds < SETTLE_ROUNDS_MAX, "{id} never settles");
            if rounds == SETTLE_ROUNDS_MAX {
                self.world.dirty.clear();
                return;
            }
            self.settle(&id);
            // What settling itself changed is looked at again: an instance that vanished at once makes
            // room for the next.
            let deployments = self.world.app(&id).map(|it| it.deployments.clone()).unwrap_or_default();
            for deployment in deployments {
                self.advance(deployment);
            }
        }
    }

    fn settle(&mut self, id: &SpecId) {
        let Some(app) = self.world.app(id) else { return };
        let Some(spec) = app.spec.clone() else {
            self.wind_down(id);
            return;
        };
        match self.stage(id, &app.deployments.clone()) {
            Stage::Later => {}
            Stage::Keep => self.keep(&spec),
            Stage::Replace => self.replace(&spec),
        }
    }

    fn stage(&self, id: &SpecId, deployments: &[DeploymentId]) -> Stage {
        for deployment in deployments.iter().filter_map(|it| self.world.view.deployments.get(it)) {
            let Some(itinerary) = self.world.itineraries.get(&deployment.id) else { continue };
            if let Some(action) = deployment.step().and_then(|it| action_on(it, id)) {
                match action.kind {
                    ActionKind::RestartApplication => return Stage::Replace,
                    ActionKind::StartApplication => return Stage::Later,
                    ActionKind::ScaleApplication | ActionKind::StopApplication => continue,
                }
            }
            if itinerary.comes_to(id, deployment.current) {
                return Stage::Later;
            }
        }
        Stage::Keep
    }

    /// Whom the user chose to go when the app is scaled down.
    fn chosen_victims(&self, id: &SpecId) -> BTreeSet<Uuid> {
        let deployments = self.world.app(id).map(|it| it.deployments.as_slice()).unwrap_or_default();
        let deployments = deployments.iter().filter_map(|it| self.world.view.deployments.get(it));
        let actions = deployments.filter_map(|it| action_on(it.step()?, id));
        actions.flat_map(|it| &it.victims).map(|it| it.uuid).collect()
    }

    /// A removed app: everything goes, then it is gone.
    pub(crate) fn wind_down(&mut self, id: &SpecId) {
        let Some(app) = self.world.app(id) else { return };
        let given_up = self.world.index.get(id).map_or(0, |it| it.ending.len() - it.stopped.len());
        if given_up < app.instances.len() {
            let all: Vec<InstanceId> = app
                .instances
                .values()
                .filter(|it| it.goal != Goal::Decommissioned)
                .map(|it| it.id.clone())
                .collect();
            for instance in all {
                self.decommission(&instance);
                // No strategy says how long to wait for what is lost.
                if self.world.instance(&instance).is_some_and(|it| it.condition.is_unreachable()) {
                    self.expunge(&instance);
                }
            }
        }
        let (Some(app), Some(index)) = (self.world.app(id), self.world.index.get(id)) else { return };
        let (left, condemned) = (app.instances.len(), index.condemned.len());
        if left == 0 {
            self.world.index.remove(id);
        }
        // What agents keep of it is removed when they offer it; the app has ended before that.
        let ended_before = self.world.terminated.contains(id);
        if left == condemned && !ended_before {
            self.world.terminated.insert(id.clone());
            self.reset_delay(id);
            self.world.dirty.remove(id);
            if self.world.app(id).is_some_and(|it| it.failure.is_some()) {
                self.world.app_mut(id).failure = None;
                self.world.write(Write::FailureGone(id.clone()));
            }
            self.world.publish(What::AppTerminated { app: id.clone() });
        }
        if left == 0 {
            self.world.terminated.remove(id);
        }
    }

    /// Keeps as many instances as the definition asks for.
    fn keep(&mut self, spec: &Arc<AppSpec>) {
        self.forget_ended_old(spec);
        let Some(app) = self.world.app(&spec.id) else { return };
        let wanted = app.tally.sum().wanted;
        #[cfg(feature = "old-faults")]
        let wanted = self.seen_as_wanted(spec, wanted);
        if wanted < spec.instances {
            self.schedule(spec, spec.instances - wanted);
            return;
        }
        let surplus = (wanted - spec.instances) as usize;
        if surplus > 0 {
            let chosen = self.chosen_victims(&spec.id);
            // Where a deployment was broken off there are instances of several configurations: those that serve and
            // are what is asked for stay longest.
            let mixed = app.tally.outdated.wanted > 0;
            let kept = |it: &&Arc<Instance>| {
                mixed && it.config == spec.config && it.is_serving() && !chosen.contains(&it.id.uuid)
            };
            let (last, first): (Vec<_>, Vec<_>) = app.instances.values().partition(kept);
            let mut victims = crate::victim::choose(spec, first.into_iter(), &chosen, surplus);
            let left = surplus - victims.len();
            victims.extend(crate::victim::choose(spec, last.into_iter(), &BTreeSet::new(), left));
            self.retire_all(victims);
        }
    }

    /// Old instances that ended by themselves are not started again: new ones take their place.
    fn forget_ended_old(&mut self, spec: &Arc<AppSpec>) {
        let Some(index) = self.world.index.get(&spec.id) else { return };
        if index.old_unready.is_empty() {
            return;
        }
        let ended: Vec<Uuid> = index.old_unready.intersection(&index.waiting).copied().collect();
        for uuid in ended {
            let id = InstanceId { spec: spec.id.clone(), uuid };
            match self.world.instance(&id).cloned() {
                // It starts anew on what it owns.
                Some(it) if it.reservation.is_some() => self.reschedule(&it, spec),
                _ => self.retire(&id),
            }
        }
    }

    /// Old instances given up as lost are not wanted back: they would come on top of the new ones.
    fn give_up_lost_old(&mut self, spec: &Arc<AppSpec>) {
        let Some(index) = self.world.index.get(&spec.id) else { return };
        let lost: Vec<Uuid> = index.old_lost.iter().copied().collect();
        self.retire_uuids(&spec.id, lost);
    }

    fn retire_uuids(&mut self, id: &SpecId, uuids: Vec<Uuid>) {
        self.retire_all(uuids.into_iter().map(|uuid| InstanceId { spec: id.clone(), uuid }).collect());
    }

    fn retire_all(&mut self, instances: Vec<InstanceId>) {
        for instance in instances {
            self.retire(&instance);
        }
    }

    /// One round of a rolling upgrade.
    fn replace(&mut self, spec: &Arc<AppSpec>) {
        self.forget_ended_old(spec);
        self.give_up_lost_old(spec);
        let Some(app) = self.world.app(&spec.id) else { return };
        let new = app.tally.current;
        let bounds = Bounds::of(&spec.upgrade, spec.instances, spec.is_resident());
        if new.wanted > spec.instances {
            let all = app.instances.values().filter(|it| it.config == spec.config);
            let (serving, unready): (Vec<_>, Vec<_>) = all.partition(|it| it.is_serving());
            // What does not serve goes first, so that the floor is kept: with these gone, more than `wanted`
            // are left that serve.
            let surplus = (new.wanted - spec.instances) as usize;
            let nobody = BTreeSet::new();
            let mut victims = crate::victim::choose(spec, unready.into_iter(), &nobody, surplus);
            let left = surplus - victims.len();
            victims.extend(crate::victim::choose(spec, serving.into_iter(), &nobody, left));
            self.retire_all(victims);
        }
        self.withdraw_waiting(spec, bounds);
        let Some(app) = self.world.app(&spec.id) else { return };
        let (new, old) = (app.tally.current, app.tally.outdated);
        let present = Present {
            new: new.wanted.min(spec.instances),
            new_serving: new.serving,
            old: old.wanted,
            old_serving: old.serving,
            ending: new.ending + old.ending,
        };
        let moves = next_moves(bounds, present);
        self.retire_old(spec, moves.retire_unready, false);
        self.retire_old(spec, moves.retire_serving, true);
        self.schedule(spec, moves.start);
    }

    /// Old instances given up as lost may come back while new ones wait to be placed. Placing those would
    /// go above the ceiling, so they make way until there is room again.
    fn withdraw_waiting(&mut self, spec: &AppSpec, bounds: Bounds) {
        let Some(app) = self.world.app(&spec.id) else { return };
        let all = app.tally.sum();
        let excess = (all.wanted + all.ending).saturating_sub(bounds.ceiling) as usize;
        if excess == 0 {
            return;
        }
        let Some(index) = self.world.index.get(&spec.id) else { return };
        let new = |uuid: &&Uuid| app.instances.get(*uuid).is_some_and(|it| it.config == spec.config);
        let chosen: Vec<Uuid> = index.waiting.iter().rev().filter(new).take(excess).copied().collect();
        self.retire_uuids(&spec.id, chosen);
    }

    fn retire_old(&mut self, spec: &AppSpec, count: u32, serving: bool) {
        if count == 0 {
            return;
        }
        let Some(index) = self.world.index.get(&spec.id) else { return };
        let set = if serving { &index.old_serving } else { &index.old_unready };
        let Some(app) = self.world.app(&spec.id) else { return };
        // One that owns volumes and is out of reach cannot be replaced by another: it is waited for.
        let waited_for = |uuid: &Uuid| {
            app.instances
                .get(uuid)
                .is_some_and(|it| it.reservation.is_some() && it.condition.is_unreachable())
        };
        let chosen = set.iter().filter(|it| !waited_for(it)).take(count as usize);
        let chosen: Vec<Uuid> = chosen.copied().collect();
        self.retire_uuids(&spec.id, chosen);
    }
}

/// What a step does with an app. Its actions are in the order of their apps, see `plan::steps`.
fn action_on<'a>(step: &'a Step, app: &SpecId) -> Option<&'a Action> {
    let at = step.actions.binary_search_by(|it| it.app.cmp(app)).ok()?;
    step.actions.get(at)
}
