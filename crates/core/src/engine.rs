//! The connection to the engine: subscribing, reconciling, asking for offers and for none.

use std::collections::BTreeSet;

use marathon_model::id::{AgentId, InstanceId, TaskId};
use marathon_model::instance::Goal;
use marathon_model::notice::What;
use marathon_model::offer::{Call, EngineEvent};
use marathon_model::resources::Role;
use marathon_model::write::Write;

use crate::Core;
use crate::timers::Timer;

impl Core {
    pub(crate) fn on_engine(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Subscribed { framework, master, ui, region, again } => {
                self.world.connected = true;
                crate::agents::forget_all(&mut self.world);
                if self.world.view.framework.as_ref() != Some(&framework) {
                    self.world.view.framework = Some(framework.clone());
                    self.world.write(Write::Framework(framework.clone()));
                }
                self.world.view.master = Some(master.as_str().into());
                self.world.view.master_ui = ui;
                if let Some(region) = &region {
                    self.policy.master_region = Some(region.to_string());
                }
                self.world.view.master_region = region;
                let framework = framework.to_string();
                self.world.publish(match again {
                    true => What::SchedulerReregistered { master },
                    false => What::SchedulerRegistered { framework, master },
                });
                self.asked_for.clear();
                self.world.demand_grew = true;
                self.reconcile();
                self.repeat_kills();
            }
            EngineEvent::Disconnected => {
                if std::mem::take(&mut self.world.connected) {
                    self.world.view.master = None;
                    self.world.publish(What::SchedulerDisconnected);
                }
            }
            EngineEvent::Offers(offers) if self.world.connected => self.on_offers(offers),
            // What is accepted could not be sent, and the engine takes its offers back.
            EngineEvent::Offers(_) => {}
            // No offer waits: it was accepted or declined in the step it came in.
            EngineEvent::Rescinded(offer) => crate::agents::rescinded(&mut self.world, &offer),
            EngineEvent::Status(status) => self.on_status(status),
            // Its tasks are reported one by one.
            EngineEvent::AgentLost(agent) => crate::agents::forget(&mut self.world, &agent),
        }
    }

    /// Asks for the state of every task that should live, then of all there are.
    pub(crate) fn reconcile(&mut self) {
        let live: Vec<(TaskId, Option<AgentId>)> = self
            .world
            .view
            .apps
            .values()
            .flat_map(|app| app.instances.values())
            .filter(|it| !it.is_over())
            .flat_map(|it| {
                let agent = it.agent.as_ref().map(|agent| agent.id.clone());
                let tasks = it.task.as_ref().map(crate::parts::live_ids).unwrap_or_default();
                tasks.into_iter().map(move |task| (task, agent.clone()))
            })
            .collect();
        if !live.is_empty() {
            self.world.call(Call::Reconcile(live));
        }
        self.world.call(Call::Reconcile(Vec::new()));
        let next = self.world.now.tick + self.policy.reconciliation_interval;
        self.world.timers.set(Timer::Reconcile, next);
    }

    /// Kills asked for while nobody listened.
    fn repeat_kills(&mut self) {
        let ending: Vec<InstanceId> = self
            .world
            .view
            .apps
            .values()
            .flat_map(|app| app.instances.values())
            .filter(|it| it.goal != Goal::Running && !it.is_over())
            .map(|it| it.id.clone())
            .collect();
        for id in ending {
            if let Some(it) = self.world.instance(&id).cloned() {
                self.send_kill(&it);
            }
        }
    }

    /// Compares the demand for offers with what the engine was last told.
    ///
    /// A revive undoes all declines, so one is due whenever an app begins to want offers, and whenever
    /// more instances want to be placed than before; it is paced by `min_revive_offers_interval`.
    pub(crate) fn tune_offers(&mut self) {
        if !self.world.connected {
            return;
        }
        let grew = std::mem::take(&mut self.world.demand_grew);
        // Whose demand it is changes with these only; with a thousand apps waiting it is not worth looking each time.
        let size = (self.world.launchable.len(), self.world.condemned.len());
        if !grew && size == self.demand_size {
            return;
        }
        self.demand_size = size;
        let wanted = self.wanted_roles();
        let unwanted: Vec<Role> = self.asked_for.difference(&wanted).cloned().collect();
        let by_role = self.policy.offers_by_role;
        if self.policy.suppress_offers && !unwanted.is_empty() && (by_role || wanted.is_empty()) {
            self.world.view.counters.suppresses += 1;
            self.world.call(Call::Suppress(unwanted));
        }
        let more = !wanted.is_subset(&self.asked_for);
        self.asked_for = wanted;
        if self.asked_for.is_empty() {
            self.world.timers.clear(&Timer::Revive);
            return;
        }
        if !grew && !more {
            return;
        }
        let tick = self.world.now.tick;
        let due = self.last_revive.map(|it| it + self.policy.min_revive_offers_interval);
        match due {
            Some(due) if tick < due => self.world.timers.set(Timer::Revive, due),
            _ => self.revive(),
        }
    }

    /// The roles of what waits to be placed, and of what is to be removed.
    fn wanted_roles(&self) -> BTreeSet<Role> {
        let placed = self.world.launchable.iter().filter_map(|it| Some(self.next_waiting(it)?.role.clone()));
        let removed = self.world.condemned.iter().filter_map(|it| self.world.app(it)).flat_map(|app| {
            let given_up = app.instances.values().filter(|it| it.is_condemned());
            given_up.map(|it| it.role.clone())
        });
        placed.chain(removed).collect()
    }

    pub(crate) fn revive(&mut self) {
        self.world.timers.clear(&Timer::Revive);
        self.last_revive = Some(self.world.now.tick);
        self.world.view.counters.revives += 1;
        let roles = self.asked_for.iter().cloned().collect();
        self.world.call(Call::Revive(roles));
    }
}
