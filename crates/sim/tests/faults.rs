//! The simulator finds what it is meant to find: with a bug of the original back in the core, some history
//! breaks an invariant, and the very same history without the bug breaks none.

use std::collections::BTreeSet;

use marathon_sim::{Fault, History, run};

/// Each is found within the first ten, see docs/simulation.md; new kinds of misfortune shift the numbers.
const SEEDS: u64 = 400;

#[test]
fn every_old_bug_is_found() {
    std::thread::scope(|scope| {
        let running: Vec<_> = Fault::ALL.map(|fault| scope.spawn(move || is_found(fault))).into();
        running.into_iter().for_each(|it| it.join().expect("each bug was found"));
    });
}

fn is_found(fault: Fault) {
    let broken = BTreeSet::from([fault]);
    let found = (0..SEEDS).find_map(|seed| {
        let history = History { broken: broken.clone(), ..History::of(seed) };
        run(&history).err()
    });
    let violation = found.unwrap_or_else(|| panic!("{}: not found in {SEEDS} seeds", fault.name()));
    println!("{}: seed {}: {}", fault.name(), violation.history.seed, violation.name);
    let whole = History { broken: BTreeSet::new(), ..violation.history };
    assert!(run(&whole).is_ok(), "{}: seed {} is no proof", fault.name(), whole.seed);
}
