//! Three instances, three ZooKeepers and a Mesos cluster, faults at random, clients that write all the time, and a
//! judge who knows only what the clients and the cluster saw. `bin/test ha [SECONDS]` runs it for longer.
//!
//! ```text
//! clients ─┬──────────────► 3 instances ─┬─► 3 ZooKeepers     lab: who runs where, and what can be cut
//!    │     └─ HAProxy, nginx, ─┘ │       └─► Mesos            faults: what goes wrong, from a seed
//!    │        virtual address    │             │              ways: what stands before the instances
//!    ▼                           ▼             ▼              clock, disk: what time it is, how slow writing is
//!   ops                       claims        journal ─► history ─► judge
//! ```
#![allow(clippy::unwrap_used)]

mod client;
mod clock;
mod cluster;
mod disk;
mod faults;
mod history;
mod judge;
mod judge_tests;
mod lab;
mod mesos;
#[path = "../nets/mod.rs"]
mod nets;
mod report;
mod watch;
mod ways;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Answer, Client, Dice, ask};
use cluster::Cluster;
use faults::Faults;
use history::{End, History, State, Way};
use watch::Journal;

/// Of a run that nobody asked for by name.
const SHORT: u64 = 8;
const CLIENTS: usize = 9;
/// Everything must be as it was asked for this long after the last fault.
const SETTLE: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// Puts a thread to work until `stop`.
fn work<T: Send + 'static>(
    stop: &Arc<AtomicBool>,
    job: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> JoinHandle<T> {
    let stop = stop.clone();
    std::thread::spawn(move || job(&stop))
}

#[test]
fn nothing_that_was_acknowledged_is_lost_whatever_breaks() {
    let seconds = number("MARATHON_HA_SECONDS", SHORT);
    let seed = number("MARATHON_HA_SEED", std::process::id().into());
    println!("ha: MARATHON_HA_SEED={seed}, {seconds} s");
    let mut cluster = Cluster::start();
    let (began, addresses) = (Instant::now(), cluster.addresses());
    let (stop, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let journal = Journal::new(cluster.mesos.masters.clone(), mesos::names(&cluster.lab), began);
    let journal = work(&end, move |end| journal.follow(end));
    let claims: Vec<_> = addresses
        .iter()
        .copied()
        .enumerate()
        .map(|(at, address)| work(&end, move |end| watch::claims(at, address, began, end)))
        .collect();
    let schemes = &cluster.balancers.addresses;
    let ways: Vec<Way> = (0..CLIENTS).map(|it| Way::of(it, schemes)).collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|id| {
            let mut client = Client::new((id, ways[id]), seed, addresses.clone(), schemes, began);
            work(&stop, move |stop| {
                client.run(stop);
                client
            })
        })
        .collect();

    let mut faults = Faults::new(&cluster);
    disturb(&mut cluster, &mut faults, Dice(seed), Duration::from_secs(seconds));
    let disturbed = began.elapsed().as_secs_f64();

    stop.store(true, Ordering::Relaxed);
    let mut clients: Vec<Client> = clients.into_iter().map(|it| it.join().unwrap()).collect();
    let (ends, settled) = settle(&cluster, &mut clients);
    let shares = ways::shares(&cluster, SETTLE);
    end.store(true, Ordering::Relaxed);
    let mut claims: Vec<_> = claims.into_iter().flat_map(|it| it.join().unwrap()).collect();
    let mut journal = journal.join().unwrap();
    assert!(journal.read(), "the cluster does not tell what it saw");
    let without = watch::longest_without(&claims, disturbed);
    clients.iter_mut().for_each(|it| claims.append(&mut it.claims));
    let clients = clients.into_iter().map(|it| it.ops).collect();
    let history = History { clients, ways, claims, cluster: journal.entries, ends, shares };
    let violations = judge::violations(&history);
    report::report(&history, &faults, without, settled, violations.len());
    let mut wrong: Vec<String> = violations.iter().map(|it| format!("{:?}: {}", it.rule, it.what)).collect();
    wrong.extend(cluster.instances.iter_mut().filter_map(cluster::Instance::ended));
    wrong.extend(cluster.balancers.ended());
    if !wrong.is_empty() {
        let logs: Vec<String> = cluster.instances.iter().map(cluster::Instance::last_words).collect();
        let file = std::env::temp_dir().join(format!("marathon-ha-history-{seed}"));
        println!("ha: the history is in {}", file.display());
        std::fs::write(&file, history.lines()).unwrap();
        panic!("seed {seed}:\n{}\n{}", wrong.join("\n"), logs.join("\n---\n"));
    }
}

fn disturb(cluster: &mut Cluster, faults: &mut Faults, mut dice: Dice, time: Duration) {
    let began = Instant::now();
    // In a short run everything is shorter.
    let longest = if time < Duration::from_secs(60) { 1_500 } else { 7_000 };
    let tells = std::env::var_os("MARATHON_HA_TELL").is_some();
    while began.elapsed() < time {
        let count = if dice.below(3) == 0 { 2 } else { 1 };
        let kinds: Vec<_> = (0..count).map(|_| faults.begin(cluster, &mut dice)).collect();
        let hold = Duration::from_millis(300 + dice.below(longest));
        if tells {
            println!("{:8.3} {kinds:?} for {hold:?}", began.elapsed().as_secs_f64());
        }
        std::thread::sleep(hold);
        faults.end(cluster);
        std::thread::sleep(Duration::from_millis(dice.below(longest / 3)));
    }
}

/// Everything becomes as the clients last asked for, and all instances and the cluster say the same.
fn settle(cluster: &Cluster, clients: &mut [Client]) -> (Vec<End>, Duration) {
    let began = Instant::now();
    let wanted: Vec<State> = clients.iter_mut().map(|it| it.finish(SETTLE)).collect();
    loop {
        let ends = look(cluster, clients, &wanted);
        let mut wrong = Vec::new();
        judge::ends(&History { ends: ends.clone(), ..History::default() }, &mut wrong);
        if wrong.is_empty() || SETTLE < began.elapsed() {
            return (ends, began.elapsed());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn look(cluster: &Cluster, clients: &mut [Client], wanted: &[State]) -> Vec<End> {
    let json = |path: &str| match ask(cluster.instances[0].address, "GET", path, "") {
        Answer::Status(200, body) => serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default(),
        _ => serde_json::Value::Null,
    };
    let mut told: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for task in json("/v2/tasks?status=running")["tasks"].as_array().into_iter().flatten() {
        let id = task["id"].as_str().unwrap_or_default();
        told.entry(mesos::client_of(id).unwrap_or(usize::MAX)).or_default().push(id.to_owned());
    }
    let deployments = json("/v2/deployments").as_array().map_or(1, Vec::len);
    let mut real = mesos::running(&cluster.mesos.masters).unwrap_or_default();
    let end = |(client, wanted): (&mut Client, &State)| End {
        wanted: *wanted,
        told: client.insist(*wanted),
        told_tasks: told.remove(&client.id).unwrap_or_default(),
        real_tasks: real.remove(&client.id).unwrap_or_default(),
        deployments,
    };
    clients.iter_mut().zip(wanted).map(end).collect()
}
