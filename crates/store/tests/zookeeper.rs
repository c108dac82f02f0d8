//! The store in a real ZooKeeper, as its caller sees it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use marathon_store::{Cause, Entry, Fate, Pair, Store, StoreError, ZkOptions, ZkStore, read_zookeeper};
use marathon_testkit::zookeeper::ZooKeeper;
use marathon_zookeeper::{Client, Error, Mode, Options, ZkUrl};
use tokio::runtime::Runtime;

fn server() -> &'static ZooKeeper {
    static SERVER: OnceLock<ZooKeeper> = OnceLock::new();
    SERVER.get_or_init(ZooKeeper::start)
}

/// A runtime, and a session on it.
struct Side {
    runtime: Runtime,
    client: Client,
    url: ZkUrl,
}

impl Side {
    fn new(url: &str) -> Side {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = ZkUrl::parse(url).unwrap();
        let client =
            runtime.block_on(Client::connect_within(&Options::new(url.clone()), Duration::from_secs(30)));
        Side { client: client.unwrap(), runtime, url }
    }

    fn open(&self, options: &ZkOptions) -> Result<(Store, Vec<Pair>), StoreError> {
        let handle = self.runtime.handle().clone();
        let opened = ZkStore::open(self.client.clone(), handle, &self.url.path, "me:1", options.clone());
        opened.map(|(store, pairs)| (Store::ZooKeeper(Box::new(store)), pairs))
    }

    fn ask<T>(&self, what: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(what(&self.client))
    }

    fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        self.runtime.block_on(read_zookeeper(&self.client, &self.url.path)).unwrap().into_iter().collect()
    }
}

fn put(key: &str, value: &[u8]) -> Entry {
    Entry { key: key.to_owned(), value: Some(value.to_vec()) }
}

fn delete(key: &str) -> Entry {
    Entry { key: key.to_owned(), value: None }
}

fn map(pairs: Vec<(String, Vec<u8>)>) -> BTreeMap<String, Vec<u8>> {
    pairs.into_iter().collect()
}

/// Text that does not compress.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn what_is_committed_is_there_for_the_next_leader() {
    let side = Side::new(&server().url("/plain"));
    let (mut store, pairs) = side.open(&ZkOptions::default()).unwrap();
    assert!(pairs.is_empty());
    store.commit(&[put("a", b"1"), put("b", b"2")]).unwrap();
    store.commit(&[delete("a"), put("c", b"")]).unwrap();
    store.commit(&[]).unwrap();
    let want = map(vec![("b".into(), b"2".to_vec()), ("c".into(), vec![])]);
    assert_eq!(side.stored(), want);
    let (_, pairs) = Side::new(&server().url("/plain")).open(&ZkOptions::default()).unwrap();
    assert_eq!(map(pairs), want);
    let holder = side.ask(async |it| it.get("/plain/store/epoch").await).unwrap().0;
    assert_eq!(holder, b"me:1");
}

#[test]
fn a_leader_of_before_cannot_write_a_byte() {
    let (old, new) = (Side::new(&server().url("/fence")), Side::new(&server().url("/fence")));
    let (mut first, _) = old.open(&ZkOptions::default()).unwrap();
    first.commit(&[put("a", b"1")]).unwrap();
    let (mut second, _) = new.open(&ZkOptions::default()).unwrap();
    let tree =
        |side: &Side| side.ask(async |it| it.children("/fence/store/log/0000000").await).unwrap().len();
    let error = first.commit(&[put("a", b"2")]).unwrap_err();
    assert!(matches!((error.fate, &error.cause), (Fate::NotApplied, Cause::Fenced)), "{error:?}");
    let large = first.commit(&[put("a", &noise(3 << 20, 1))]).unwrap_err();
    assert!(matches!(large.cause, Cause::InDoubt), "{large:?}");
    first.begin_snapshot([("a".to_owned(), b"2".to_vec())].into_iter()).unwrap();
    first.await_snapshot();
    assert_eq!(side_children(&new, "/fence/store/snapshot"), 0);
    assert_eq!(tree(&new), 1);
    second.commit(&[put("a", b"3")]).unwrap();
    assert_eq!(new.stored()["a"], b"3");
}

fn side_children(side: &Side, path: &str) -> usize {
    side.ask(async |it| it.children(path).await).unwrap().len()
}

#[test]
fn large_commits_are_split_and_come_back_whole() {
    for (at, options) in [
        ZkOptions { compression: None, ..ZkOptions::default() },
        ZkOptions::default(),
        ZkOptions { max_node_size: 10_000, ..ZkOptions::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/large{at}");
        let side = Side::new(&server().url(&path));
        let (mut store, _) = side.open(&options).unwrap();
        store.commit(&[put("small", b"1")]).unwrap();
        let (text, data) = (vec![b'x'; 3 << 20], noise(2_500_000, 7));
        store.commit(&[put("text", &text), put("data", &data)]).unwrap();
        store.commit(&[put("after", b"2")]).unwrap();
        let stored = side.stored();
        assert_eq!(stored.len(), 4);
        assert!(stored["text"] == text && stored["data"] == data);
        let (mut store, pairs) = side.open(&options).unwrap();
        assert_eq!(map(pairs), stored);
        store.begin_snapshot(stored.clone().into_iter()).unwrap();
        store.await_snapshot();
        assert_eq!(side_children(&side, &format!("{path}/store/snapshot")), 1);
        assert!(side.stored() == stored);
    }
}

#[test]
fn half_a_commit_was_never_told_and_goes() {
    let options = ZkOptions { max_node_size: 1000, compression: None, ..ZkOptions::default() };
    let folder = "/torn/store/log/0000000";
    let side = Side::new(&server().url("/torn"));
    let (mut store, _) = side.open(&options).unwrap();
    store.commit(&[put("a", b"1")]).unwrap();
    store.commit(&[put("b", &noise(3500, 3))]).unwrap();
    let nodes: Vec<Vec<u8>> = (1..5)
        .map(|it| side.ask(async |client| client.get(&format!("{folder}/{it:016}")).await).unwrap().0)
        .collect();
    let whole = side.stored();
    assert_eq!(whole.len(), 2);
    // Every set of its nodes but the full one is half a commit.
    for present in 0..15_u32 {
        for (at, node) in nodes.iter().enumerate() {
            let path = format!("{folder}/{:016}", at + 1);
            let _ = side.ask(async |it| it.delete(&path, -1).await);
            if present & (1 << at) != 0 {
                side.ask(async |it| it.create(&path, node, Mode::Persistent).await).unwrap();
            }
        }
        assert_eq!(side.stored().keys().collect::<Vec<_>>(), ["a"], "{present:b}");
        let (mut store, pairs) = side.open(&options).unwrap();
        assert_eq!(pairs.len(), 1, "{present:b}");
        assert_eq!(side_children(&side, folder), 1);
        if present % 4 == 3 {
            store.commit(&[put("c", b"1")]).unwrap();
            assert_eq!(side.open(&options).unwrap().1.len(), 2);
            side.ask(async |it| it.delete(&format!("{folder}/{:016}", 1), -1).await).unwrap();
        }
    }
}

#[test]
fn what_is_damaged_or_not_ours_is_refused_and_left_alone() {
    fn check(path: &str, prepare: impl AsyncFnOnce(&Client), want: &str) {
        let side = Side::new(&server().url(path));
        let (mut store, _) = side.open(&ZkOptions::default()).unwrap();
        for at in 0..3 {
            store.commit(&[put("a", at.to_string().as_bytes())]).unwrap();
        }
        side.ask(prepare);
        let error = side.open(&ZkOptions::default()).unwrap_err();
        let text = error.cause.to_string();
        assert!(text.contains(want), "{text}");
        assert_eq!(error.to_string(), format!("cannot read the state in ZooKeeper at `{path}/store`"));
    }
    check(
        "/gap",
        async |it| it.delete("/gap/store/log/0000000/0000000000000001", -1).await.unwrap(),
        "`/gap/store/log/0000000/0000000000000002`: commit 1 before it is missing. Nothing was changed.",
    );
    check(
        "/edited",
        async |it| {
            it.set("/edited/store/log/0000000/0000000000000001", b"{}", -1).await.unwrap();
        },
        "it is too short",
    );
    check(
        "/newer",
        async |it| {
            it.set("/newer/store/format", b"2", -1).await.unwrap();
        },
        "it has layout 2, and this release knows layouts up to 1: start the newer release again",
    );

    let side = Side::new(&server().url("/original"));
    side.ask(async |it| {
        it.make("/original/state/internal:storage:version").await.unwrap();
    });
    let error = side.open(&ZkOptions::default()).unwrap_err();
    assert!(matches!(error.cause, Cause::Original), "{error:?}");
    assert_eq!(side.ask(async |it| it.children("/original").await).unwrap(), ["state"]);
    // Other things below the path are no business of ours.
    let side = Side::new(&server().url("/others"));
    side.ask(async |it| it.make("/others/things/here").await).unwrap();
    side.open(&ZkOptions::default()).unwrap();
    assert_eq!(side_children(&side, "/others/things"), 1);
}

#[test]
fn snapshots_take_the_place_of_what_they_cover() {
    let options = ZkOptions { snapshot_after: 1 << 30, snapshot_after_commits: 700, ..ZkOptions::default() };
    let side = Side::new(&server().url("/snapshots"));
    let (mut store, _) = side.open(&options).unwrap();
    let mut model = BTreeMap::new();
    let mut taken = 0;
    for at in 0..3000_u32 {
        let key = format!("k{}", at.wrapping_mul(2_654_435_761) % 97);
        let entry = if at % 5 == 4 { delete(&key) } else { put(&key, &at.to_be_bytes()) };
        match &entry.value {
            Some(value) => drop(model.insert(key, value.clone())),
            None => drop(model.remove(&key)),
        }
        store.commit(&[entry]).unwrap();
        if store.wants_snapshot() {
            taken += 1;
            store.begin_snapshot(model.clone().into_iter()).unwrap();
        }
    }
    store.await_snapshot();
    assert!(taken >= 3, "{taken}");
    assert_eq!(side.stored(), model);
    assert_eq!(side_children(&side, "/snapshots/store/snapshot"), 1);
    assert!(side_children(&side, "/snapshots/store/log") <= 2);
    // An unfinished one counts for nothing and goes.
    side.ask(async |it| {
        it.make("/snapshots/store/snapshot/0000000000009999-9-1").await.unwrap();
        it.make("/snapshots/store/snapshot/0000000000009999-9-1/00000000").await.unwrap();
    });
    let (_, pairs) = side.open(&options).unwrap();
    assert_eq!(map(pairs), model);
    assert_eq!(side_children(&side, "/snapshots/store/snapshot"), 1);
}

#[test]
fn with_credentials_nobody_else_reads_or_writes() {
    let url = server().url("/private");
    let ours = Side::new(&url.replace("zk://", "zk://me:pw@"));
    let (mut store, _) = ours.open(&ZkOptions::default()).unwrap();
    store.commit(&[put("a", b"1")]).unwrap();
    let stranger = Side::new(&url);
    for path in
        ["/private/store/format", "/private/store/epoch", "/private/store/log/0000000/0000000000000000"]
    {
        assert_eq!(stranger.ask(async |it| it.get(path).await).unwrap_err(), Error::NoAuth, "{path}");
    }
    let error = stranger.open(&ZkOptions::default()).unwrap_err();
    assert!(matches!(error.cause, Cause::ZooKeeper(Error::NoAuth)), "{error:?}");
    assert_eq!(ours.stored().len(), 1);
}

#[test]
fn a_server_that_dies_and_returns_costs_time_and_nothing_else() {
    let mut server = ZooKeeper::start();
    let side = Side::new(&server.url("/outage"));
    let options = ZkOptions { timeout: Duration::from_secs(30), ..ZkOptions::default() };
    let (mut store, _) = side.open(&options).unwrap();
    let mut told = 0_u32;
    for round in 0..3 {
        let thread = std::thread::spawn(move || {
            for _ in 0..100 {
                store.commit(&[put(&told.to_string(), b"x")]).unwrap();
                told += 1;
            }
            (store, told)
        });
        if round < 2 {
            server.stop();
            server.begin();
            server.await_ready();
        }
        (store, told) = thread.join().unwrap();
    }
    assert_eq!(side.stored().len(), 300);

    // Gone for longer than anybody waits: nobody knows, and the store takes nothing more.
    let options = ZkOptions { timeout: Duration::from_millis(300), ..ZkOptions::default() };
    let (mut store, _) = side.open(&options).unwrap();
    server.stop();
    let error = store.commit(&[put("late", b"x")]).unwrap_err();
    assert!(matches!((error.fate, &error.cause), (Fate::Unknown, Cause::ZooKeeper(_))), "{error:?}");
    assert!(matches!(store.commit(&[put("later", b"x")]).unwrap_err().cause, Cause::InDoubt));
}
