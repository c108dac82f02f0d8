//! A few hundred histories on every run of the tests; `cargo run --release -p marathon-sim` runs many more.

use marathon_sim::{EVENTS, journal, run};

#[test]
fn two_hundred_histories_hold() {
    let mut launches = 0;
    for seed in 0..200 {
        match run(seed, EVENTS) {
            Ok(summary) => launches += summary.launches,
            Err(it) => panic!("seed {seed}: {}: {}\n{}", it.name, it.detail, it.tail.join("\n")),
        }
    }
    // Histories in which nothing happens prove nothing.
    assert!(launches > 20_000, "{launches} launches");
}

/// What a seed shows once it shows always, or a violation could not be looked at again.
#[test]
fn a_seed_is_one_history() {
    for seed in [1, 2, 3] {
        assert_eq!(journal(seed, 300), journal(seed, 300), "seed {seed}");
    }
}
