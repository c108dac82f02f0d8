//! Deadlines of the core. The shell asks for the next one and says `Woke` when it has come.

use std::collections::{BTreeMap, BTreeSet};

use marathon_model::id::{DeploymentId, InstanceId, SpecId};
use marathon_model::time::Tick;

/// What a deadline is about. Each has at most one deadline at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A launch that should have led to a running task by now.
    Launch(InstanceId),
    /// A kill that nobody confirmed.
    Kill(InstanceId),
    /// A reservation that no offer has shown.
    Reservation(InstanceId),
    /// An unreachable instance whose strategy takes its next step.
    Unreachable(InstanceId),
    /// The end of a backoff delay.
    Delay(SpecId),
    /// The next probe of one health check.
    Health(InstanceId, u32),
    Readiness(InstanceId),
    /// The end of the time a deployment was given.
    Deadline(DeploymentId),
    Reconcile,
    Revive,
    /// What became of offers is still to be written down.
    Notes,
}

impl Timer {
    pub fn name(&self) -> &'static str {
        match self {
            Timer::Launch(_) => "launch timeout",
            Timer::Kill(_) => "kill retry",
            Timer::Reservation(_) => "reservation timeout",
            Timer::Unreachable(_) => "unreachable strategy",
            Timer::Delay(_) => "backoff delay",
            Timer::Health(..) => "health check",
            Timer::Readiness(_) => "readiness check",
            Timer::Deadline(_) => "deployment deadline",
            Timer::Reconcile => "reconciliation",
            Timer::Revive => "revive",
            Timer::Notes => "notes on offers",
        }
    }
}

#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeSet<(Tick, Timer)>,
    deadlines: BTreeMap<Timer, Tick>,
    /// Deadlines of kills, for the metrics.
    kills: u64,
}

impl Timers {
    /// Kills that nobody confirmed yet.
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// Sets (or moves) a deadline.
    pub fn set(&mut self, timer: Timer, at: Tick) {
        if let Some(before) = self.deadlines.insert(timer.clone(), at) {
            if before == at {
                return;
            }
            self.queue.remove(&(before, timer.clone()));
        } else {
            self.kills += u64::from(matches!(timer, Timer::Kill(_)));
        }
        self.queue.insert((at, timer));
    }

    /// Sets many at once, which takes a third of the time.
    pub fn set_all(&mut self, timers: Vec<(Timer, Tick)>) {
        let (known, new): (Vec<_>, Vec<_>) = timers.into_iter().partition(|(timer, _)| self.is_set(timer));
        let mut new: BTreeMap<Timer, Tick> = new.into_iter().collect();
        self.kills += new.keys().filter(|it| matches!(it, Timer::Kill(_))).count() as u64;
        let mut queue: BTreeSet<_> = new.iter().map(|(timer, at)| (*at, timer.clone())).collect();
        self.queue.append(&mut queue);
        self.deadlines.append(&mut new);
        for (timer, at) in known {
            self.set(timer, at);
        }
    }

    pub fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.deadlines.remove(timer) {
            self.queue.remove(&(at, timer.clone()));
            self.kills -= u64::from(matches!(timer, Timer::Kill(_)));
        }
    }

    pub fn is_set(&self, timer: &Timer) -> bool {
        self.deadlines.contains_key(timer)
    }

    pub fn next(&self) -> Option<(Tick, &'static str)> {
        self.queue.first().map(|(at, timer)| (*at, timer.name()))
    }

    /// Takes one deadline that has come.
    pub fn take_due(&mut self, now: Tick) -> Option<Timer> {
        let (at, _) = self.queue.first()?;
        if *at > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.deadlines.remove(&timer);
        self.kills -= u64::from(matches!(timer, Timer::Kill(_)));
        Some(timer)
    }

    /// Forgets everything about one instance.
    pub fn forget(&mut self, id: &InstanceId, checks: usize) {
        self.clear(&Timer::Launch(id.clone()));
        self.clear(&Timer::Kill(id.clone()));
        self.clear(&Timer::Reservation(id.clone()));
        self.clear(&Timer::Unreachable(id.clone()));
        self.clear(&Timer::Readiness(id.clone()));
        for check in 0..checks {
            self.clear(&Timer::Health(id.clone(), check as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_and_fires_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Revive, Tick(5));
        timers.set(Timer::Revive, Tick(9));
        assert_eq!(timers.next(), Some((Tick(9), "revive")));
        assert_eq!(timers.take_due(Tick(8)), None);
        assert_eq!(timers.take_due(Tick(9)), Some(Timer::Revive));
        assert_eq!((timers.take_due(Tick(99)), timers.next()), (None, None));
    }
}
