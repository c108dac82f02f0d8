//! After the faults: everything that was asked for must come true, and then stay.

use std::collections::BTreeSet;

use marathon_model::id::TaskId;
use marathon_model::instance::Goal;
use marathon_model::offer::TaskState;

use crate::agenda::Millis;
use crate::check::{Found, ensure};
use crate::pod;
use crate::sim::Sim;

/// Longer than any chain of timeouts and delays of a history, with kills, launches and reconciliations
/// that had to be repeated.
const SETTLES_WITHIN: Millis = 6 * 3_600_000;
/// The time after which nothing late is on its way.
const CALM: Millis = 5 * 60_000;
/// A settled world stays as it is for at least so long.
const STAYS_FOR: Millis = 20 * 60_000;
/// Looked at so often.
const EVERY: Millis = 10_000;

impl Sim {
    pub fn settles(&mut self) -> Found {
        self.settles_down()?;
        self.audit_now()?;
        self.same_after_restart()?;
        self.checks.nothing_acknowledged_is_lost(&self.store)?;
        crate::kept::all_is_there(&self.store, &self.cluster)?;

        let (launches, kills) = (self.checks.launches, self.checks.kills);
        self.run_for(STAYS_FOR)?;
        let moved = (self.checks.launches - launches, self.checks.kills - kills);
        ensure!(moved == (0, 0), "a settled world stays settled", "launches and kills: {moved:?}");
        match self.missing() {
            None => self.foresees(),
            Some(missing) => Err(("a settled world stays settled", missing)),
        }
    }

    /// Until everything is as it was asked for, and for some time after.
    pub fn settles_down(&mut self) -> Found {
        let limit = self.agenda.now + SETTLES_WITHIN;
        // Late news may still be on its way when all seems well, so calm has to last before it counts.
        let (mut calm_since, mut moves) = (self.agenda.now, 0);
        let (mut seen, mut missing) = (None, None);
        while self.agenda.now < calm_since + CALM {
            self.run_for(EVERY)?;
            if self.stirred() != seen {
                seen = self.stirred();
                missing = self.missing();
            }
            let moved = self.checks.launches + self.checks.kills;
            if missing.is_some() || moved != moves {
                (calm_since, moves) = (self.agenda.now, moved);
            }
            if self.agenda.now >= limit {
                let missing =
                    missing.unwrap_or_else(|| "tasks are started and killed without end".to_owned());
                let waits = self.refusals().join("; ");
                return Err(("everything asked for comes true", format!("{missing}; {waits}")));
            }
        }
        Ok(())
    }

    fn run_for(&mut self, length: Millis) -> Found {
        let until = self.agenda.now + length;
        while !self.is_quiet_until(until) {
            self.advance()?;
        }
        self.agenda.now = self.agenda.now.max(until);
        Ok(())
    }

    /// Grows with everything that `missing` looks at. In a calm world that is nothing, for hours.
    fn stirred(&self) -> Option<(u64, bool)> {
        Some((self.moves, self.is_up()))
    }

    /// What is not yet as it should be, if anything.
    fn missing(&self) -> Option<String> {
        if !self.is_up() {
            return Some("the server is not up".to_owned());
        }
        if let Some(deployment) = self.store.deployments.values().next() {
            return Some(format!(
                "deployment {} is in step {}: {deployment:?}",
                deployment.id, deployment.current
            ));
        }
        for spec in self.store.live_specs() {
            let running =
                self.store.of_app(&spec.id).filter(|it| it.goal == Goal::Running && it.is_serving());
            let running = running.count();
            let all = self.store.of_app(&spec.id).filter(|it| !it.is_parked()).count();
            if running != spec.instances as usize || all != running {
                let states: Vec<_> =
                    self.store.of_app(&spec.id).map(|it| (it.goal, it.condition, it.ready)).collect();
                return Some(format!(
                    "{} has {running} of {} instances: {states:?}",
                    spec.id, spec.instances
                ));
            }
        }
        let stray = self.store.instances().find(|it| self.store.spec(it.spec()).is_none());
        if let Some(it) = stray {
            return Some(format!("{} is left of a removed app", it.id));
        }
        let known: BTreeSet<TaskId> = self
            .store
            .instances()
            .filter(|it| !it.is_over())
            .filter_map(|it| it.task.as_ref())
            .flat_map(pod::ids_of)
            .collect();
        let live: BTreeSet<TaskId> =
            self.cluster.tasks.iter().filter(|(_, it)| !it.ended).map(|it| it.0.clone()).collect();
        if let Some(orphan) = live.difference(&known).next() {
            return Some(format!("{orphan} runs, and nobody knows it"));
        }
        if let Some(ghost) = known.difference(&live).next() {
            return Some(format!("{ghost} is believed to run, and does not"));
        }
        if let Some(task) = self.cluster.unheard() {
            return Some(format!("an update of {task} is not acknowledged"));
        }
        let sleeper = live.iter().find(|it| self.cluster.tasks[*it].state != TaskState::Running);
        sleeper.map(|it| format!("{it} does not run"))
    }
}
