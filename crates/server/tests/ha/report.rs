//! What a run was worth, in figures.

use std::time::Duration;

use super::faults::Faults;
use super::history::{Deed, History, Op, Outcome, Way, What};

const WAYS: [Way; 4] = [Way::Direct, Way::HaProxy, Way::Nginx, Way::VirtualAddress];

pub fn report(history: &History, faults: &Faults, without: f64, settled: Duration, violations: usize) {
    println!("ha: faults: {} of {} kinds", faults.done.values().sum::<u64>(), faults.done.len());
    for (kind, count) in &faults.done {
        println!("ha:   {count:4} {kind:?}");
    }
    println!(
        "ha:   {} pairs of hosts were cut, each {} times or more",
        faults.pairs_cut.values().filter(|it| 0 < **it).count(),
        faults.pairs_cut.values().min().unwrap_or(&0)
    );
    println!(
        "ha: audited, by way:      writes acknowledged   refused   of unknown outcome     reads   kills, restarts"
    );
    for way in WAYS.into_iter().filter(|it| history.ways.contains(it)) {
        row(&format!("{way:?}"), history, |it| it == way);
    }
    row("all", history, |_| true);
    let all = || history.clients.iter().flatten();
    let deeds = |of: fn(&Deed) -> bool| history.cluster.iter().filter(|it| of(&it.deed)).count();
    println!(
        "ha: Mesos saw {} subscriptions, {} calls carried out, {} refused, {} launches; {} answers of leaders audited",
        deeds(|it| matches!(it, Deed::Subscribed { .. })),
        deeds(|it| matches!(it, Deed::Call { taken: true, .. })),
        deeds(|it| matches!(it, Deed::Call { taken: false, .. })),
        deeds(|it| matches!(it, Deed::Launched { .. })),
        history.claims.len()
    );
    for it in &history.shares {
        println!("ha: in the end {} of {} requests by {:?} were passed on", it.passed_on, it.asked, it.way);
    }
    println!(
        "ha: longest time without a leader: {without:.1} s; settled {:.1} s after the faults",
        settled.as_secs_f64()
    );
    println!("ha: {violations} violations");
    let writes = count(all(), |it| matches!(it, What::Write(_, Outcome::Done)));
    assert!(writes > 0 && count(all(), |it| matches!(it, What::Read(_))) > 0, "the clients got nothing done");
}

fn row(name: &str, history: &History, wanted: impl Fn(Way) -> bool) {
    let clients = || history.clients.iter().zip(&history.ways).filter(|it| wanted(*it.1));
    let all = || clients().flat_map(|it| it.0);
    println!(
        "ha:   {:22} {:>21} {:>9} {:>20} {:>9} {:>17}",
        format!("{name} ({} clients)", clients().count()),
        count(all(), |it| matches!(it, What::Write(_, Outcome::Done))),
        count(all(), |it| matches!(it, What::Write(_, Outcome::Refused))),
        count(all(), |it| matches!(it, What::Write(_, Outcome::Unknown))),
        count(all(), |it| matches!(it, What::Read(_))),
        count(all(), |it| matches!(it, What::Kill(_) | What::Restart(_))),
    );
}

fn count<'a>(ops: impl Iterator<Item = &'a Op>, wanted: impl Fn(&What) -> bool) -> usize {
    ops.filter(|it| wanted(&it.what)).count()
}
