//! When the checks of a task are due.
//!
//! Every check has a place of its own within its interval, drawn from the id of its instance. So ten
//! thousand checks of ten seconds make a thousand a second at any time, also right after a restart and
//! after a thousand tasks began together, and no round drifts.
//!
//! ```text
//! begin ──► first ─────────────► the place nearest to one interval later ──► every interval
//!           (within 5 s)         (0.5 to 1.5 intervals, this once)
//! ```

use std::time::Duration;

use marathon_model::id::InstanceId;
use marathon_model::time::Tick;

/// The first probe comes after one interval, but no later than this.
const FIRST_MAX: Duration = Duration::from_secs(5);
/// An interval of zero would be over at once, again and again.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// One check of one instance.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where in its interval it is due, as a fraction of 2^32.
    at: u32,
    interval_ms: u64,
}

impl Place {
    pub fn new(id: &InstanceId, check: u32, interval: Duration) -> Place {
        let mut hash = ((u64::from(check) << 32) | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (high, low) = id.uuid.as_u64_pair();
        for part in [high, low] {
            hash = (hash ^ part).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
            hash ^= hash >> 32;
        }
        let interval = interval.max(INTERVAL_MIN).as_millis();
        Place { at: (hash >> 32) as u32, interval_ms: u64::try_from(interval).unwrap_or(u64::MAX) }
    }

    fn share(&self, of_ms: u64) -> u64 {
        u64::try_from((u128::from(of_ms) * u128::from(self.at)) >> 32).unwrap_or(u64::MAX)
    }

    /// The first probe of a task that has just begun to run: users wait for it.
    pub fn first(&self, now: Tick) -> Tick {
        now + Duration::from_millis(self.interval_ms).min(FIRST_MAX)
    }

    /// The first probe after a restart of the server: as soon as `first` if nothing is known of the task,
    /// else with the next round.
    pub fn resumed(&self, now: Tick, known: bool) -> Tick {
        if known {
            return self.from(now);
        }
        let limit = u64::try_from(FIRST_MAX.as_millis()).unwrap_or(u64::MAX).min(self.interval_ms);
        now + Duration::from_millis(self.share(limit))
    }

    /// The one after a probe at `now`.
    pub fn next(&self, now: Tick) -> Tick {
        self.from(now + Duration::from_millis(self.interval_ms.div_ceil(2)))
    }

    /// The first place at or after `now`.
    pub fn from(&self, now: Tick) -> Tick {
        let (place, into) = (self.share(self.interval_ms), now.0 % self.interval_ms);
        let wait = if place >= into { place - into } else { self.interval_ms - (into - place) };
        now + Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::PathId;
    use uuid::Uuid;

    fn place(number: u32, interval_ms: u64) -> Place {
        let uuid = Uuid::from_fields(number, 0x7ccb, 0x11eb, &[0x9a, 0x1c, 2, 0x42, 0xac, 0x11, 0, 2]);
        let id = InstanceId { spec: PathId::parse("/a").unwrap(), uuid };
        Place::new(&id, 0, Duration::from_millis(interval_ms))
    }

    #[test]
    fn rounds_do_not_drift() {
        for number in 0..500 {
            for interval in [0, 1, 2, 999, 10_000, 86_400_000] {
                let place = place(number, interval);
                let interval = interval.max(1);
                let began = Tick(u64::from(number) * 777);
                let first = place.first(began);
                assert_eq!(first.0 - began.0, interval.min(5000));
                let second = place.next(first);
                let gap = second.0 - first.0;
                assert!(gap >= interval / 2 && gap <= interval + interval.div_ceil(2), "{gap} of {interval}");
                let mut due = second;
                for late in [0, 0, interval / 4, interval / 3, 0] {
                    let next = place.next(Tick(due.0 + late));
                    assert_eq!(next.0, due.0 + interval, "{late} late");
                    due = next;
                }
                let resumed = place.resumed(began, true);
                assert!(resumed >= began && resumed.0 < began.0 + interval);
                assert!(place.resumed(began, false).0 < began.0 + interval.clamp(1, 5000));
            }
        }
        assert_eq!(place(1, u64::MAX).next(Tick(u64::MAX)), Tick(u64::MAX));
    }

    #[test]
    fn places_are_spread() {
        let mut slots = [0; 100];
        for number in 0..10_000 {
            slots[(place(number, 10_000).from(Tick(0)).0 / 100) as usize] += 1;
        }
        assert!(slots.iter().all(|it| (50..160).contains(it)), "{slots:?}");
        let checks: std::collections::BTreeSet<u64> = (0..20)
            .map(|check| {
                let id = InstanceId { spec: PathId::parse("/a").unwrap(), uuid: Uuid::from_u128(7) };
                Place::new(&id, check, Duration::from_secs(10)).from(Tick(0)).0 / 500
            })
            .collect();
        assert!(checks.len() > 8, "{checks:?}");
    }
}
