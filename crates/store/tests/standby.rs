//! A follower that reads along has, when it takes over, exactly what reading everything gives.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use marathon_store::{Cause, Content, Entry, Pair, Standby, Store, ZkOptions, ZkStore, read_zookeeper};
use marathon_testkit::zookeeper::ZooKeeper;
use marathon_zookeeper::{Client, Mode, Options, ZkUrl};
use proptest::prelude::*;
use tokio::runtime::Runtime;

type Kept = HashMap<String, Vec<u8>>;
type Model = BTreeMap<String, Vec<u8>>;

/// For what has to happen in the end.
const LIMIT: Duration = Duration::from_secs(30);

fn server() -> &'static ZooKeeper {
    static SERVER: OnceLock<ZooKeeper> = OnceLock::new();
    SERVER.get_or_init(ZooKeeper::start)
}

/// One instance: a runtime, a session on it, and what it has read ahead.
struct Side {
    runtime: Runtime,
    client: Client,
    url: ZkUrl,
    standby: Standby<Kept>,
}

impl Side {
    fn new(url: &str) -> Side {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = ZkUrl::parse(url).unwrap();
        let client = connect(&runtime, &url);
        Side { client, runtime, standby: Standby::new(&url.path), url }
    }

    /// Reads along for a moment.
    fn follow(&mut self, moment: Duration) {
        let follow = self.standby.follow(&self.client);
        let _ = self.runtime.block_on(async { tokio::time::timeout(moment, follow).await });
    }

    /// Reads along until the commit before `next` was taken in.
    fn follow_to(&mut self, next: u64) {
        let began = Instant::now();
        while self.standby.next() != Some(next) {
            assert!(began.elapsed() < LIMIT, "{:?} and not {next}", self.standby.next());
            self.follow(Duration::from_millis(20));
        }
    }

    fn take_over(&mut self) -> (Store, Content<Kept>) {
        let (client, handle) = (self.client.clone(), self.runtime.handle().clone());
        let standby = Some(&mut self.standby);
        let taken = ZkStore::take_over(client, handle, &self.url.path, "me:1", options(), standby);
        let (store, content) = taken.unwrap();
        (Store::ZooKeeper(Box::new(store)), content)
    }

    /// As somebody who was no follower.
    fn open(&self) -> (Store, Vec<Pair>) {
        let (client, handle) = (self.client.clone(), self.runtime.handle().clone());
        let (store, pairs) = ZkStore::open(client, handle, &self.url.path, "me:1", options()).unwrap();
        (Store::ZooKeeper(Box::new(store)), pairs)
    }

    fn ask<T>(&self, what: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(what(&self.client))
    }

    fn stored(&self) -> Model {
        self.ask(async |it| read_zookeeper(it, &self.url.path).await).unwrap().into_iter().collect()
    }

    /// The numbers of all nodes of the log.
    fn log(&self) -> Vec<u64> {
        let log = format!("{}/store/log", self.url.path);
        self.ask(async |it| {
            let mut numbers = Vec::new();
            for folder in it.children(&log).await.unwrap() {
                let names = it.children(&format!("{log}/{folder}")).await.unwrap();
                numbers.extend(names.iter().map(|it| it.parse::<u64>().unwrap()));
            }
            numbers.sort_unstable();
            numbers
        })
    }

    fn node(&self, number: u64) -> String {
        format!("{}/store/log/{:07}/{number:016}", self.url.path, number / 1000)
    }

    fn remove(&self, path: &str) {
        self.ask(async |it| {
            let mut paths = vec![path.to_owned()];
            let mut at = 0;
            while at < paths.len() {
                let names = it.children(&paths[at]).await.unwrap_or_default();
                let below: Vec<String> = names.iter().map(|name| format!("{}/{name}", paths[at])).collect();
                paths.extend(below);
                at += 1;
            }
            for path in paths.iter().rev() {
                it.delete(path, -1).await.unwrap();
            }
        });
    }
}

fn connect(runtime: &Runtime, url: &ZkUrl) -> Client {
    runtime.block_on(Client::connect_within(&Options::new(url.clone()), LIMIT)).unwrap()
}

/// Small nodes, so that commits are split, and snapshots only when the test wants them.
fn options() -> ZkOptions {
    ZkOptions {
        max_node_size: 600,
        compression: None,
        snapshot_after: u64::MAX,
        snapshot_after_commits: u64::MAX,
        ..ZkOptions::default()
    }
}

fn put(key: &str, value: &[u8]) -> Entry {
    Entry { key: key.to_owned(), value: Some(value.to_vec()) }
}

fn apply(model: &mut Model, entries: &[Entry]) {
    for Entry { key, value } in entries {
        match value {
            Some(value) => drop(model.insert(key.clone(), value.clone())),
            None => drop(model.remove(key)),
        }
    }
}

/// What happens in a history.
#[derive(Debug, Clone)]
enum Happens {
    /// Keys by number, and the length of their values; 0 deletes.
    Commit(Vec<(u8, u16)>),
    /// `marathon state load --force`: other records in place of all.
    Replace(u8),
    Snapshot,
    /// The leader dies within a commit: of its nodes, those are there whose bit is set.
    Torn(u8),
    /// Another instance takes over, and the one before tries to write.
    Term,
    /// The follower loses its session and gets another.
    Session,
    /// Everything is removed by hand, and a new store begins.
    Wiped,
    /// The follower reads along for some milliseconds, while what comes next happens.
    Follow(u8),
    /// The follower takes over.
    Taken,
}

fn happens() -> impl Strategy<Value = Happens> {
    let entry = (0..30_u8, prop_oneof![3 => 1..60_u16, 1 => Just(0), 1 => 500..3000_u16]);
    prop_oneof![
        12 => proptest::collection::vec(entry, 1..4).prop_map(Happens::Commit),
        1 => any::<u8>().prop_map(Happens::Replace),
        3 => Just(Happens::Snapshot),
        3 => (1..31_u8).prop_map(Happens::Torn),
        2 => Just(Happens::Term),
        1 => Just(Happens::Session),
        1 => Just(Happens::Wiped),
        8 => (1..90_u8).prop_map(Happens::Follow),
        3 => Just(Happens::Taken),
    ]
}

fn value(length: u16, seed: usize) -> Vec<u8> {
    (0..length).map(|at| (usize::from(at) * 7 + seed) as u8).collect()
}

struct History {
    leader: Side,
    store: Store,
    follower: Side,
    model: Model,
    warm: usize,
    cold: usize,
}

impl History {
    fn begin(path: &str) -> History {
        let leader = Side::new(&server().url(path));
        let (store, pairs) = leader.open();
        assert!(pairs.is_empty());
        let follower = Side::new(&server().url(path));
        History { leader, store, follower, model: Model::new(), warm: 0, cold: 0 }
    }

    fn commit(&mut self, entries: &[Entry]) {
        self.store.commit(entries).unwrap();
        apply(&mut self.model, entries);
    }

    fn happen(&mut self, at: usize, what: &Happens) {
        match what {
            Happens::Commit(keys) => {
                let entries = keys.iter().enumerate().map(|(nth, (key, length))| Entry {
                    key: format!("k{key}"),
                    value: (*length > 0).then(|| value(*length, at + nth)),
                });
                self.commit(&entries.collect::<Vec<_>>());
            }
            Happens::Replace(seed) => {
                let gone = self.model.keys().map(|it| Entry { key: it.clone(), value: None });
                let new = (0..9).map(|key| put(&format!("k{key}"), &[*seed; 40]));
                let entries: Vec<Entry> = gone.chain(new).collect();
                self.commit(&entries);
            }
            Happens::Snapshot => {
                self.store.begin_snapshot(self.model.clone().into_iter()).unwrap();
                self.store.await_snapshot();
            }
            Happens::Torn(present) => {
                self.tear(*present);
                self.change();
            }
            Happens::Term => self.change(),
            Happens::Session => {
                self.follower.client = connect(&self.follower.runtime, &self.follower.url);
            }
            Happens::Wiped => {
                self.leader.remove(&format!("{}/store", self.leader.url.path));
                self.model.clear();
                (self.store, _) = self.leader.open();
            }
            Happens::Follow(moment) => self.follower.follow(Duration::from_millis(u64::from(*moment))),
            Happens::Taken => drop(self.taken()),
        }
    }

    /// A commit of five nodes that nobody was told of, as the leader of now would have made it.
    fn tear(&mut self, present: u8) {
        let path = format!("{}-torn", self.leader.url.path);
        let scratch = Side::new(&server().url(&path));
        let (mut store, _) = scratch.open();
        store.commit(&[put("torn", &value(2600, usize::from(present)))]).unwrap();
        let numbers = scratch.log();
        assert_eq!(numbers.len(), 5);
        let next = self.next();
        let folder = format!("{}/store/log/{:07}", self.leader.url.path, next / 1000);
        self.leader.ask(async |it| it.make(&folder).await).unwrap();
        for number in numbers {
            let (node, _) = scratch.ask(async |it| it.get(&scratch.node(number)).await).unwrap();
            if number < 5 && present & (1 << number) != 0 {
                let path = self.leader.node(next + number);
                self.leader.ask(async |it| it.create(&path, &node, Mode::Persistent).await).unwrap();
            }
        }
        drop(store);
        scratch.remove(&path);
    }

    /// The number of the next commit, if nothing is torn.
    fn next(&self) -> u64 {
        let names = format!("{}/store/snapshot", self.leader.url.path);
        let names = self.leader.ask(async |it| it.children(&names).await).unwrap();
        let first = names.iter().filter_map(|it| it.split('-').next()?.parse::<u64>().ok()).max();
        self.leader.log().last().map(|it| it + 1).max(first).unwrap_or(0)
    }

    fn change(&mut self) {
        let (store, pairs) = self.leader.open();
        let mut before = std::mem::replace(&mut self.store, store);
        let error = before.commit(&[put("fenced", b"x")]).unwrap_err();
        assert!(matches!(error.cause, Cause::Fenced), "{error:?}");
        assert_eq!(pairs.into_iter().collect::<Model>(), self.model);
    }

    /// The follower leads from now on, and the leader follows. Says whether anything was left to read.
    fn taken(&mut self) -> bool {
        let (store, content) = self.follower.take_over();
        let (found, warm): (Model, bool) = match content {
            Content::Kept(kept) => (kept.into_iter().collect(), true),
            Content::Pairs(pairs) => (pairs.into_iter().collect(), false),
        };
        assert!(found == self.model, "{:?}", different(&found, &self.model));
        let stored = self.follower.stored();
        assert!(stored == self.model, "{:?}", different(&stored, &self.model));
        self.store = store;
        std::mem::swap(&mut self.leader, &mut self.follower);
        if warm {
            self.warm += 1;
        } else {
            self.cold += 1;
        }
        warm
    }
}

fn different<'a>(a: &'a Model, b: &'a Model) -> Vec<&'a String> {
    a.keys().chain(b.keys()).filter(|it| a.get(*it) != b.get(*it)).collect()
}

/// Torn commits of five nodes: with the last one missing, or one in the middle.
fn torn(mask: u8) -> u8 {
    if mask & 31 == 31 { 15 } else { mask }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_read_ahead_is_what_is_there(
        histories in proptest::collection::vec(happens(), 20..70),
    ) {
        // One that failed leaves its nodes behind, and is tried again in parts.
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        let path = format!("/history{}", TRIED.fetch_add(1, Ordering::Relaxed));
        let mut history = History::begin(&path);
        for (at, what) in histories.iter().enumerate() {
            let what = match what {
                Happens::Torn(mask) => Happens::Torn(torn(*mask)),
                other => other.clone(),
            };
            history.happen(at, &what);
        }
        history.commit(&[put("last", b"1")]);
        // That another store is at its path a follower finds out within two seconds, which nobody waits for here.
        let mut since = histories.iter().rev().take_while(|it| !matches!(it, Happens::Taken));
        if since.any(|it| matches!(it, Happens::Wiped)) {
            history.follower.standby = Standby::new(&history.follower.url.path);
        }
        // Whatever happened before: whoever has read everything need not read it again.
        let next = history.next();
        history.follower.follow_to(next);
        prop_assert!(history.taken());
        let next = history.next();
        history.follower.follow_to(next);
        history.commit(&[put("last", b"2")]);
        prop_assert!(history.taken());
        history.leader.remove(&path);
    }
}

/// The leader writes and snapshots while the follower reads, so that both meet at any moment.
#[test]
fn a_follower_keeps_up_with_a_leader_at_work() {
    let mut history = History::begin("/work");
    for round in 0..6_usize {
        let History { store, model, follower, .. } = &mut history;
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..300_usize {
                    let length = if at % 9 == 0 { 2000 } else { 30 };
                    let entries = [put(&format!("k{}", at * 31 % 97), &value(length, at + round))];
                    store.commit(&entries).unwrap();
                    apply(model, &entries);
                    if at % 60 == 59 {
                        store.begin_snapshot(model.clone().into_iter()).unwrap();
                    }
                }
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            });
            // Sometimes it is in the middle of something when it takes over.
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                follower.follow(Duration::from_millis(70));
            }
        });
        history.taken();
    }
    let next = history.next();
    history.follower.follow_to(next);
    assert!(history.taken());
}

#[test]
fn whatever_is_in_doubt_is_read_anew() {
    fn check(path: &str, why: &str, spoil: impl FnOnce(&mut History)) {
        let mut history = History::begin(path);
        for at in 0..5_u8 {
            history.commit(&[put("a", &[at])]);
        }
        history.follower.follow_to(5);
        spoil(&mut history);
        assert!(!history.taken(), "{why}");
    }
    check("/doubt/nothing", "nothing was read", |it| it.follower.standby = Standby::new("/doubt/nothing"));
    check("/doubt/session", "another session", |it| {
        it.follower.client = connect(&it.follower.runtime, &it.follower.url);
    });
    check("/doubt/store", "another store", |it| it.happen(0, &Happens::Wiped));
    check("/doubt/covered", "a snapshot covers what was not read", |it| {
        it.commit(&[put("b", b"1")]);
        it.happen(0, &Happens::Snapshot);
    });
    // The same number, but not the same node.
    check("/doubt/last", "the last commit was made again", |it| {
        let path = it.leader.node(4);
        it.leader.ask(async |client| {
            let (node, _) = client.get(&path).await.unwrap();
            client.delete(&path, -1).await.unwrap();
            client.create(&path, &node, Mode::Persistent).await.unwrap();
        });
    });
}

/// What was removed by hand is missed, although it has been read: nobody could load it after us.
#[test]
fn what_is_missing_is_not_covered_up() {
    let mut history = History::begin("/missing");
    for at in 0..5_u8 {
        history.commit(&[put("a", &[at])]);
    }
    history.follower.follow_to(5);
    history.leader.remove(&history.leader.node(2));
    let Side { client, runtime, standby, url } = &mut history.follower;
    let taken = ZkStore::take_over(
        client.clone(),
        runtime.handle().clone(),
        &url.path,
        "me:1",
        options(),
        Some(standby),
    );
    assert!(matches!(taken.unwrap_err().cause, Cause::DamagedNode(_)));
}

/// A follower asks for each commit once, and for little besides.
#[test]
fn reading_along_costs_little() {
    const COMMITS: u64 = 500;
    let server = ZooKeeper::start();
    let packets = || {
        let told = server.command("mntr").unwrap();
        let line = told.lines().find_map(|it| it.strip_prefix("zk_packets_received")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let leader = Side::new(&server.url("/cost"));
    let (mut store, _) = leader.open();
    store.commit(&[put("a", b"1")]).unwrap();
    let mut follower = Side::new(&server.url("/cost"));
    follower.follow_to(1);
    let (began, before) = (Instant::now(), packets());
    let thread = std::thread::spawn(move || {
        for at in 0..COMMITS {
            store.commit(&[put("a", &at.to_be_bytes())]).unwrap();
        }
    });
    follower.follow_to(COMMITS + 1);
    thread.join().unwrap();
    let asked = packets() - before - COMMITS;
    // In each round: the wait for the next commit, and up to 16 nodes that are not there yet. `follow_to` begins a round
    // each 20 ms, and not each 50 ms as it would be.
    let rounds = began.elapsed().as_millis() as u64 / 20 + 2;
    assert!(asked <= COMMITS + 24 * rounds, "{asked} for {COMMITS} commits in {rounds} rounds");
}
