//! The pace of a rolling upgrade, decided from what exists right now.
//!
//! ```text
//!        floor                      ceiling
//! 0 ───────┼───────────────────────────┼───►  instances
//!          └ never fewer serving       └ never more present (those on their way out included)
//! ```
//! No counters are kept: after a crash, a lost message or a forced change the next call starts from the
//! present like every other. `restarts_as_the_original` pins the pace to the original's.

use marathon_model::app::UpgradeStrategy;

/// The limits an upgrade strategy sets for `wanted` instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub wanted: u32,
    pub floor: u32,
    pub ceiling: u32,
}

impl Bounds {
    /// Where floor and ceiling meet nothing could ever move. An instance more is allowed then, or, for
    /// apps that own volumes and so cannot have one more, an instance less.
    pub fn of(strategy: &UpgradeStrategy, wanted: u32, resident: bool) -> Bounds {
        let n = f64::from(wanted);
        // Casts from float saturate; the strategy was checked to lie in 0..=1.
        let floor = ((n * strategy.minimum_health_capacity).ceil() as u32).min(wanted);
        let ceiling = ((n * (1.0 + strategy.maximum_over_capacity)).trunc() as u32).max(wanted);
        match (floor < ceiling, resident) {
            (true, _) => Bounds { wanted, floor, ceiling },
            (false, false) => Bounds { wanted, floor, ceiling: floor + 1 },
            (false, true) => Bounds { wanted, floor: ceiling.saturating_sub(1), ceiling },
        }
    }
}

/// How many instances there are, by what matters for a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present {
    /// Of the new configuration, wanted (serving or not, placed or not).
    pub new: u32,
    pub new_serving: u32,
    /// Of any other configuration, wanted.
    pub old: u32,
    pub old_serving: u32,
    /// Told to end and still there.
    pub ending: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moves {
    pub start: u32,
    pub retire_unready: u32,
    pub retire_serving: u32,
}

/// Unready old instances go first, since that costs no capacity; but never so many that fewer than
/// `floor` are left at all, so that one bad moment of a health check does not take the whole app down.
pub fn next_moves(bounds: Bounds, present: Present) -> Moves {
    let Bounds { wanted, floor, ceiling } = bounds;
    let Present { new, new_serving, old, old_serving, ending } = present;
    let retire_unready = (old - old_serving).min((new + old).saturating_sub(floor));
    let left = (new + old - retire_unready).saturating_sub(floor);
    let retire_serving = old_serving.min((new_serving + old_serving).saturating_sub(floor)).min(left);
    // Those told to end just now hold their resources until they are gone.
    let start = wanted.saturating_sub(new).min(ceiling.saturating_sub(new + old + ending));
    Moves { start, retire_unready, retire_serving }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds(n: u32, min: f64, max: f64, resident: bool) -> Bounds {
        let strategy = UpgradeStrategy { minimum_health_capacity: min, maximum_over_capacity: max };
        Bounds::of(&strategy, n, resident)
    }

    /// `running` old instances, all serving: how many are killed at once, and how many may exist.
    fn check(kind: &str, n: u32, min: f64, max: f64, running: u32, ceiling: u32, killed: u32) {
        let bounds = bounds(n, min, max, kind == "resident");
        let moves = next_moves(bounds, Present { old: running, old_serving: running, ..Present::default() });
        assert_eq!(
            (bounds.ceiling, moves.retire_serving),
            (ceiling, killed),
            "{kind} {n} {min} {max} {running}"
        );
    }

    #[test]
    fn restarts_as_the_original() {
        check("resident", 1, 0.5, 0.0, 1, 1, 1);
        check("resident", 5, 0.5, 0.0, 5, 5, 2);
        check("resident", 5, 1.0, 0.0, 7, 5, 3);
        check("resident", 5, 1.0, 0.0, 3, 5, 0);
        check("resident", 5, 1.0, 0.0, 5, 5, 1);
        check("ephemeral", 1, 0.5, 0.0, 1, 2, 0);
        check("ephemeral", 2, 0.5, 0.0, 2, 2, 1);
        check("ephemeral", 10, 0.1, 0.0, 1, 10, 0);
        check("ephemeral", 3, 0.5, 0.0, 3, 3, 1);
        check("ephemeral", 3, 1.0, 1.0, 3, 6, 0);
        check("ephemeral", 5, 0.0, 1.0, 5, 10, 5);
        check("ephemeral", 2, 1.0, 1.0, 5, 4, 3);
        check("ephemeral", 1, 0.0, 0.0, 1, 1, 1);
    }

    #[test]
    fn a_strategy_without_room_lends_one() {
        let moves =
            next_moves(bounds(3, 1.0, 0.0, false), Present { old: 3, old_serving: 3, ..Present::default() });
        assert_eq!(moves, Moves { start: 1, ..Moves::default() });
    }

    #[test]
    fn unready_old_ones_go_but_not_all_at_once() {
        let present = Present { old: 4, old_serving: 0, ..Present::default() };
        assert_eq!(next_moves(bounds(4, 0.5, 0.0, false), present).retire_unready, 2);
        // No room below, so one comes on top first.
        let moves = next_moves(bounds(4, 1.0, 0.0, false), present);
        assert_eq!(moves, Moves { start: 1, ..Moves::default() });
    }

    proptest! {
        #[test]
        fn floor_and_ceiling_are_kept(n in 1u32..40, min in 0.0f64..=1.0, max in 0.0f64..=1.0, resident: bool,
                                      new in 0u32..50, new_ok in 0u32..50, old in 0u32..50, old_ok in 0u32..50, ending in 0u32..9) {
            let bounds = bounds(n, min, max, resident);
            let present = Present { new, new_serving: new_ok.min(new), old, old_serving: old_ok.min(old), ending };
            let moves = next_moves(bounds, present);
            let serving = present.new_serving + present.old_serving;
            prop_assert!(serving - moves.retire_serving >= serving.min(bounds.floor));
            prop_assert!(moves.retire_serving <= present.old_serving && moves.retire_unready <= old - present.old_serving);
            let total = new + old + ending;
            prop_assert!(moves.start == 0 || total + moves.start <= bounds.ceiling);
        }

        /// If every started instance comes to serve and every retired one ends, the rollout ends too.
        #[test]
        fn it_always_ends(n in 1u32..20, min in 0.0f64..=1.0, max in 0.0f64..=1.0, resident: bool, old in 0u32..25, ok in 0u32..25) {
            let bounds = bounds(n, min, max, resident);
            let mut present = Present { old, old_serving: ok.min(old), ..Present::default() };
            for _ in 0..200 {
                let moves = next_moves(bounds, present);
                present.old -= moves.retire_unready + moves.retire_serving;
                present.old_serving -= moves.retire_serving;
                present.new += moves.start;
                present.new_serving = present.new;
            }
            prop_assert_eq!((present.new, present.old), (n, 0));
        }
    }
}
