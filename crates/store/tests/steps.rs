//! A crash between any two steps of a snapshot loses nothing.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::mpsc;

mod common;
use common::*;

const OLD: &str = "log-00000000000000000001";
const NEW: &str = "log-00000000000000000004";
const SNAPSHOT: &str = "snapshot-00000000000000000004";

/// The files of one snapshot at its stages.
struct Stages {
    now: Content,
    /// The old log, still open.
    before: Vec<u8>,
    /// The old log, closed.
    closed: Vec<u8>,
    /// The new log, empty and with one commit.
    empty: Vec<u8>,
    used: Vec<u8>,
    later: Content,
    snapshot: Vec<u8>,
}

fn stages() -> Stages {
    let folder = scratch();
    let path = folder.path();
    let read = |name: &str| fs::read(path.join(name)).unwrap();
    let (mut store, mut now) = open(path).unwrap();
    for batch in [[put("a", "1"), put("b", "2")], [delete("a"), put("c", "3")]] {
        store.commit(&batch).unwrap();
        apply(&mut now, &batch);
    }
    let before = read(OLD);
    // The dump waits, so the stage before it is finished can be looked at.
    let (go_on, wait) = mpsc::channel::<()>();
    let dump = pairs(&now).into_iter().inspect(move |_| {
        let _ = wait.recv();
    });
    store.begin_snapshot(dump).unwrap();
    let (closed, empty) = (read(OLD), read(NEW));
    let batch = [put("b", "4"), put("d", "5")];
    store.commit(&batch).unwrap();
    let mut later = now.clone();
    apply(&mut later, &batch);
    let used = read(NEW);
    drop(go_on);
    store.await_snapshot();
    let snapshot = read(SNAPSHOT);
    drop(store);
    assert_eq!(names(path), [NEW, SNAPSHOT]);
    assert_eq!(content(path), Ok(later.clone()));
    Stages { now, before, closed, empty, used, later, snapshot }
}

/// Opens a folder of just these files, twice, with a commit in between.
fn check(what: &str, files: &[(&str, &[u8])], want: Result<&Content, &str>) {
    let folder = scratch();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    match (open(folder.path()), want) {
        (Ok((mut store, found)), Ok(want)) => {
            assert_eq!(found, *want, "{what}");
            store.commit(&[put("more", "1")]).unwrap();
            drop(store);
            let mut more = want.clone();
            apply(&mut more, &[put("more", "1")]);
            assert_eq!(content(folder.path()), Ok(more), "{what}");
            assert!(names(folder.path()).iter().all(|it| !it.ends_with(".unfinished")), "{what}");
        }
        (Err(error), Err(want)) => assert!(text(&error).contains(want), "{what}: {}", text(&error)),
        (found, want) => panic!("{what}: {:?} instead of {want:?}", found.map(|it| it.1)),
    }
}

#[test]
fn every_step_can_be_the_last() {
    let Stages { now, before, closed, empty, used, later, snapshot } = stages();
    let cut = |bytes: &[u8], length: usize| bytes[..length].to_vec();
    for length in 0..=empty.len() {
        let unfinished = format!("{NEW}.unfinished");
        check("new log begun", &[(OLD, &before), (&unfinished, &cut(&empty, length))], Ok(&now));
    }
    for length in before.len()..=closed.len() {
        check("old log being closed", &[(OLD, &cut(&closed, length)), (NEW, &empty)], Ok(&now));
    }
    check("new log in use", &[(OLD, &closed), (NEW, &used)], Ok(&later));
    for length in 0..=snapshot.len() {
        let unfinished = format!("{SNAPSHOT}.unfinished");
        let files = [(OLD, &closed[..]), (NEW, &used), (&unfinished, &cut(&snapshot, length))];
        check("snapshot being written", &files, Ok(&later));
    }
    check("snapshot complete", &[(OLD, &closed), (NEW, &used), (SNAPSHOT, &snapshot)], Ok(&later));
    check("old files gone", &[(NEW, &used), (SNAPSHOT, &snapshot)], Ok(&later));
}

#[test]
fn a_missing_file_is_noticed() {
    let Stages { before, closed, empty, used, snapshot, .. } = stages();
    check(
        "closed, and nothing follows",
        &[(OLD, &closed)],
        Err("log-00000000000000000004`: damaged at byte 0: the file is missing"),
    );
    check(
        "no first log",
        &[(NEW, &used)],
        Err("log-00000000000000000001`: damaged at byte 0: the file is missing"),
    );
    check(
        "no log",
        &[(SNAPSHOT, &snapshot)],
        Err("log-00000000000000000004`: damaged at byte 0: the file is missing"),
    );
    check(
        "open, and another follows",
        &[(OLD, &before), (NEW, &used)],
        Err("the log was never closed, and another one follows"),
    );
    let half = &closed[..closed.len() - 4];
    check(
        "cut, and another follows",
        &[(OLD, half), (NEW, &used)],
        Err("a record is cut short, and another log follows"),
    );
    // Two batches make the end of the log its third record; a log that begins elsewhere does not fit.
    let (name, other) = ("log-00000000000000000009", "the header belongs to a file of another name");
    check("a renamed log", &[(OLD, &closed), (name, &empty)], Err(other));
}

#[test]
fn a_gap_between_logs_is_noticed() {
    // Three logs, with the middle one taken away.
    let folder = scratch();
    let path = folder.path();
    let (mut store, now) = open(path).unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let dump = [("x".to_owned(), vec![])].into_iter().inspect(move |_| {
        let _ = wait.recv();
    });
    store.begin_snapshot(dump).unwrap();
    store.commit(&[put("a", "1")]).unwrap();
    let copy_of = scratch();
    copy(path, copy_of.path());
    drop(go_on);
    drop((store, now));
    let (mut store, now) = open(copy_of.path()).unwrap();
    assert_eq!(now.len(), 1);
    let (go_on, wait) = mpsc::channel::<()>();
    let dump = [("x".to_owned(), vec![])].into_iter().inspect(move |_| {
        let _ = wait.recv();
    });
    store.begin_snapshot(dump).unwrap();
    let three = scratch();
    copy(copy_of.path(), three.path());
    drop(go_on);
    drop(store);
    assert_eq!(content(three.path()).map(|it| it.len()), Ok(1));

    let lost = three.path().join("log-00000000000000000002");
    let gap = scratch();
    copy(three.path(), gap.path());
    for name in names(gap.path()).iter().filter(|it| !it.starts_with("log-")) {
        fs::remove_file(gap.path().join(name)).unwrap();
    }
    assert!(lost.exists());
    fs::remove_file(gap.path().join("log-00000000000000000002")).unwrap();
    let error = content(gap.path()).unwrap_err();
    assert!(error.contains("the log that begins with record 2 is missing"), "{error}");
}

#[test]
fn a_dump_that_fails_costs_nothing() {
    let folder = scratch();
    let path: &Path = folder.path();
    let (mut store, mut now) = open(path).unwrap();
    let batch = [put("a", "1")];
    store.commit(&batch).unwrap();
    apply(&mut now, &batch);
    let dump = std::iter::from_fn(|| -> Option<(String, Vec<u8>)> { panic!("a broken dump") });
    store.begin_snapshot(dump).unwrap();
    store.commit(&[put("b", "2")]).unwrap();
    apply(&mut now, &[put("b", "2")]);
    drop(store);
    assert_eq!(content(path), Ok(now));
}
