//! A few hundred histories on every run of the tests; `cargo run --release -p marathon-sim` runs many more.

use marathon_sim::{History, Summary, journal, run};

#[test]
fn two_hundred_histories_hold() {
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
    let all: Vec<Summary> = std::thread::scope(|scope| {
        let part = |first: u64| (first..200).step_by(threads as usize).map(hold).collect::<Vec<_>>();
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        running.into_iter().flat_map(|it| it.join().expect("no history broke a rule")).collect()
    });
    // Histories in which nothing happens prove nothing.
    let launches: u64 = all.iter().map(|it| it.launches).sum();
    assert!(launches > 20_000, "{launches} launches");
    let foreseen: u64 = all.iter().map(|it| it.foreseen).sum();
    assert!(foreseen > 100, "{foreseen} previews came true");
}

fn hold(seed: u64) -> Summary {
    match run(&History::of(seed)) {
        Ok(summary) => summary,
        Err(it) => panic!("seed {seed}: {}: {}\n{}", it.name, it.detail, it.tail.join("\n")),
    }
}

/// What a seed shows once it shows always, or a violation could not be looked at again.
#[test]
fn a_seed_is_one_history() {
    for seed in [1, 2, 3] {
        let history = History { events: 300, ..History::of(seed) };
        assert_eq!(journal(&history), journal(&history), "seed {seed}");
    }
}
