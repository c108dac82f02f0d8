//! Makes what is follow what is wanted, one app at a time.
//!
//! Every event ends here: whatever touched an app marks it, and `settle` compares its instances with its
//! definition and with the step its deployment is in. It keeps no memory of its own, so a restart, a
//! failover and the happy path are the same code.

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::deployment::ActionKind;
use marathon_model::id::{DeploymentId, InstanceId, SpecId};
use marathon_model::instance::{Goal, Instance};
use marathon_model::notice::What;
use marathon_model::write::Write;

use crate::Core;
use crate::rollout::{Bounds, Present, next_moves};

/// What a deployment has to do with an app at this moment.
enum Stage {
    /// Nothing: keep the number of instances.
    Keep { victims: Vec<InstanceId> },
    /// Its step has not come: leave everything as it is.
    Later,
    /// Replace old instances by new ones.
    Replace,
}

impl Core {
    /// Runs until nothing is left to decide. Ends because each round either finds every app settled, or
    /// moves a deployment forward, and there are finitely many steps.
    pub(crate) fn settle_all(&mut self) {
        while let Some(id) = self.world.dirty.pop_first() {
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
            Stage::Keep { victims } => self.keep(&spec, &victims),
            Stage::Replace => self.replace(&spec),
        }
    }

    fn stage(&self, id: &SpecId, deployments: &[DeploymentId]) -> Stage {
        let mut victims = Vec::new();
        for deployment in deployments.iter().filter_map(|it| self.world.view.deployments.get(it)) {
            let now = deployment.step().map(|it| it.actions.as_slice()).unwrap_or_default();
            if let Some(action) = now.iter().find(|it| it.app == *id) {
                match action.kind {
                    ActionKind::RestartApplication => return Stage::Replace,
                    ActionKind::ScaleApplication => victims.clone_from(&action.victims),
                    ActionKind::StartApplication => return Stage::Later,
                    ActionKind::StopApplication => {}
                }
                continue;
            }
            let later = deployment.steps.iter().skip(deployment.current + 1).flat_map(|it| &it.actions);
            if later.into_iter().any(|it| it.app == *id) {
                return Stage::Later;
            }
        }
        Stage::Keep { victims }
    }

    /// A removed app: everything goes, then it is gone.
    fn wind_down(&mut self, id: &SpecId) {
        let Some(app) = self.world.app(id) else { return };
        if app.tally.sum().wanted > 0 || app.instances.values().any(|it| it.goal == Goal::Running) {
            let all: Vec<InstanceId> = app
                .instances
                .values()
                .filter(|it| it.goal != Goal::Decommissioned)
                .map(|it| it.id.clone())
                .collect();
            for instance in all {
                self.retire(&instance);
            }
        }
        let Some(app) = self.world.app(id) else { return };
        if app.instances.is_empty() && self.world.index.contains_key(id) {
            self.world.index.remove(id);
            self.reset_delay(id);
            self.world.dirty.remove(id);
            if self.world.app(id).is_some_and(|it| it.failure.is_some()) {
                self.world.app_mut(id).failure = None;
                self.world.write(Write::FailureGone(id.clone()));
            }
            self.world.publish(What::AppTerminated { app: id.clone() });
        }
    }

    /// Keeps as many instances as the definition asks for.
    fn keep(&mut self, spec: &Arc<AppSpec>, victims: &[InstanceId]) {
        self.forget_ended_old(spec);
        let Some(app) = self.world.app(&spec.id) else { return };
        let wanted = app.tally.sum().wanted;
        if wanted < spec.instances {
            self.schedule(spec, spec.instances - wanted);
            return;
        }
        let surplus = (wanted - spec.instances) as usize;
        if surplus > 0 {
            let all: Vec<Arc<Instance>> = app.instances.values().cloned().collect();
            for victim in crate::victim::choose(spec, &all, victims, surplus) {
                self.retire(&victim);
            }
        }
    }

    /// Old instances that ended by themselves are not started again: new ones take their place.
    fn forget_ended_old(&mut self, spec: &Arc<AppSpec>) {
        let Some(index) = self.world.index.get(&spec.id) else { return };
        if index.old_unready.is_empty() {
            return;
        }
        let ended: Vec<InstanceId> = index
            .old_unready
            .iter()
            .filter(|it| index.waiting.contains(it))
            .map(|it| InstanceId { spec: spec.id.clone(), uuid: *it })
            .collect();
        for instance in ended {
            self.retire(&instance);
        }
    }

    /// One round of a rolling upgrade.
    fn replace(&mut self, spec: &Arc<AppSpec>) {
        self.forget_ended_old(spec);
        let Some(app) = self.world.app(&spec.id) else { return };
        let new = app.tally.current;
        let bounds = Bounds::of(&spec.upgrade, spec.instances, spec.is_resident());
        if new.wanted > spec.instances {
            let all = app.instances.values().filter(|it| it.config == spec.config).cloned();
            let (serving, unready): (Vec<_>, Vec<_>) = all.partition(|it| it.is_serving());
            // What does not serve goes first, so that the floor is kept: with these gone, more than `wanted`
            // are left that serve.
            let surplus = (new.wanted - spec.instances) as usize;
            let mut victims = crate::victim::choose(spec, &unready, &[], surplus);
            victims.extend(crate::victim::choose(spec, &serving, &[], surplus - victims.len()));
            for victim in victims {
                self.retire(&victim);
            }
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
        let new = |uuid: &&uuid::Uuid| app.instances.get(*uuid).is_some_and(|it| it.config == spec.config);
        let chosen: Vec<InstanceId> = index
            .waiting
            .iter()
            .rev()
            .filter(new)
            .take(excess)
            .map(|it| InstanceId { spec: spec.id.clone(), uuid: *it })
            .collect();
        for instance in chosen {
            self.retire(&instance);
        }
    }

    fn retire_old(&mut self, spec: &AppSpec, count: u32, serving: bool) {
        if count == 0 {
            return;
        }
        let Some(index) = self.world.index.get(&spec.id) else { return };
        let set = if serving { &index.old_serving } else { &index.old_unready };
        let chosen: Vec<InstanceId> = set
            .iter()
            .take(count as usize)
            .map(|it| InstanceId { spec: spec.id.clone(), uuid: *it })
            .collect();
        for instance in chosen {
            self.retire(&instance);
        }
    }
}
