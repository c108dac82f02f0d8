//! How long an app waits before its next start after failures.

use std::time::Duration;

use marathon_model::app::Backoff;
use marathon_model::time::Timestamp;
use marathon_model::write::Delay;

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
