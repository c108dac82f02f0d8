//! How long an app waits before its next start after failures.

use std::time::Duration;

use marathon_model::app::{AppSpec, Backoff};
use marathon_model::id::SpecId;
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::offer::{Reason, TaskStatus};
use marathon_model::time::Timestamp;
use marathon_model::write::{Delay, Write};

use crate::Core;
use crate::timers::Timer;

/// The delay after one more failure of this configuration.
pub fn after_failure(before: Option<Delay>, config: Timestamp, backoff: &Backoff, now: Timestamp) -> Delay {
    let current = match before.filter(|it| it.config == config) {
        None => backoff.initial.min(backoff.max),
        Some(delay) => {
            let grown = delay.current.as_secs_f64() * backoff.factor.max(1.0);
            Duration::try_from_secs_f64(grown).unwrap_or(backoff.max).min(backoff.max)
        }
    };
    // A stored delay has whole milliseconds; cutting here keeps memory and store equal.
    Delay { config, current: Duration::from_millis(current.as_millis() as u64), since: now }
}

/// The delay when something moved without failing: it starts to count again, at the same length.
pub fn after_progress(before: Delay, now: Timestamp) -> Delay {
    Delay { since: now, ..before }
}

/// The moment from which the next start is allowed.
pub fn ends(delay: &Delay) -> Timestamp {
    delay.since + delay.current
}

/// Whether the delay is old enough to be forgotten: the app ran for longer than its longest delay.
pub fn is_stale(delay: &Delay, backoff: &Backoff, now: Timestamp) -> bool {
    now > delay.since + backoff.max.max(delay.current)
}

impl Core {
    /// What the end of a task means for the next start of its app.
    pub(crate) fn delay_after(&mut self, it: &Instance, status: &TaskStatus) {
        let Some(spec) = self.world.spec(it.spec()).cloned() else { return };
        if status.reason == Some(Reason::AgentDraining) {
            self.reset_delay(it.spec());
            return;
        }
        let counts = matches!(
            it.condition,
            Condition::Error | Condition::Failed | Condition::Dropped | Condition::Gone | Condition::Finished
        );
        if counts || status.reason == Some(Reason::HealthCheckUnhealthy) {
            self.count_failure(it, &format!("{:?}: {}", it.condition, status.message));
        }
        if !counts || it.goal != Goal::Running || it.config != spec.config {
            return;
        }
        let now = self.world.now;
        let backoff = spec.backoff;
        #[cfg(feature = "old-faults")]
        let backoff = self.unlimited(backoff);
        let app = self.world.app_mut(it.spec());
        // A run that lasted longer than the longest delay wipes the slate.
        let before = app.delay.filter(|delay| !is_stale(delay, &spec.backoff, now.wall));
        let delay = after_failure(before, spec.config, &backoff, now.wall);
        if delay.current.is_zero() {
            return;
        }
        app.delay = Some(delay);
        self.hold(it.spec(), delay);
    }

    /// Keeps an app from launching until its delay ends.
    fn hold(&mut self, id: &SpecId, delay: Delay) {
        self.world.write(Write::Delay { app: id.clone(), delay });
        self.world.hold(id);
        self.world.timers.set(Timer::Delay(id.clone()), self.world.now.tick + delay.current);
    }

    /// The delay has ended, or has been over for so long that it is forgotten.
    pub(crate) fn on_delay_timer(&mut self, id: &SpecId) {
        let app = self.world.app(id);
        let (Some(delay), Some(spec)) = (app.and_then(|it| it.delay), app.and_then(|it| it.spec.clone()))
        else {
            self.world.release(id);
            return;
        };
        if self.world.release(id) {
            let rest = spec.backoff.max.saturating_sub(delay.current) + Duration::from_millis(1);
            self.world.timers.set(Timer::Delay(id.clone()), self.world.now.tick + rest);
        } else {
            self.reset_delay(id);
        }
    }

    /// An instance moved without failing: a delay that exists begins anew.
    pub(crate) fn progress(&mut self, spec: &AppSpec) {
        let now = self.world.now;
        let Some(delay) = self.world.app(&spec.id).and_then(|it| it.delay) else { return };
        if delay.config != spec.config {
            return;
        }
        let delay = after_progress(delay, now.wall);
        self.world.app_mut(&spec.id).delay = Some(delay);
        self.hold(&spec.id, delay);
    }

    pub(crate) fn reset_delay(&mut self, id: &SpecId) {
        if self.world.app(id).is_some_and(|it| it.delay.is_some()) {
            self.world.app_mut(id).delay = None;
            self.world.write(Write::DelayGone(id.clone()));
        }
        self.world.timers.clear(&Timer::Delay(id.clone()));
        self.world.release(id);
        self.world.touch(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(5) };

    #[test]
    fn it_grows_to_the_maximum_and_starts_afresh_with_a_new_configuration() {
        let mut delay = None;
        let mut seen = Vec::new();
        for _ in 0..5 {
            delay = Some(after_failure(delay, Timestamp(1), &BACKOFF, Timestamp(0)));
            seen.push(delay.unwrap().current.as_secs());
        }
        assert_eq!(seen, [1, 2, 4, 5, 5]);
        assert_eq!(after_failure(delay, Timestamp(2), &BACKOFF, Timestamp(0)).current.as_secs(), 1);
    }

    #[test]
    fn it_is_forgotten_once_it_ran_long_enough() {
        let delay = after_failure(None, Timestamp(1), &BACKOFF, Timestamp(1000));
        assert!(!is_stale(&delay, &BACKOFF, Timestamp(6000)));
        assert!(is_stale(&delay, &BACKOFF, Timestamp(6001)));
    }
}
