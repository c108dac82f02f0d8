//! The connection to the engine: subscribing, reconciling, asking for offers and for none.

use marathon_model::id::{AgentId, InstanceId, TaskId};
use marathon_model::instance::Goal;
use marathon_model::notice::What;
use marathon_model::offer::{Call, EngineEvent};
use marathon_model::write::Write;

use crate::Core;
use crate::timers::Timer;

impl Core {
    pub(crate) fn on_engine(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Subscribed { framework, master, again } => {
                self.world.connected = true;
                crate::agents::forget_all(&mut self.world);
                if self.world.view.framework.as_ref() != Some(&framework) {
                    self.world.view.framework = Some(framework.clone());
                    self.world.write(Write::Framework(framework.clone()));
                }
                self.world.view.master = Some(master.as_str().into());
                let framework = framework.to_string();
                self.world.publish(match again {
                    true => What::SchedulerReregistered { master },
                    false => What::SchedulerRegistered { framework, master },
                });
                self.offers_wanted = false;
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
        if self.world.launchable.is_empty() && self.world.condemned.is_empty() {
            self.world.timers.clear(&Timer::Revive);
            if self.offers_wanted && self.policy.suppress_offers {
                self.world.view.counters.suppresses += 1;
                self.world.call(Call::Suppress);
            }
            self.offers_wanted = false;
            return;
        }
        if !grew && self.offers_wanted {
            return;
        }
        self.offers_wanted = true;
        let tick = self.world.now.tick;
        let due = self.last_revive.map(|it| it + self.policy.min_revive_offers_interval);
        match due {
            Some(due) if tick < due => self.world.timers.set(Timer::Revive, due),
            _ => self.revive(),
        }
    }

    pub(crate) fn revive(&mut self) {
        self.world.timers.clear(&Timer::Revive);
        self.last_revive = Some(self.world.now.tick);
        self.world.view.counters.revives += 1;
        self.world.call(Call::Revive);
    }
}
