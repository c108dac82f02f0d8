//! The store as its caller sees it, on a real disk.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use marathon_store::{Fate, Options, Store};
use proptest::prelude::*;
use tempfile::TempDir;

mod common;
use common::*;

#[test]
fn a_new_folder_is_made_and_is_private() {
    let outer = TempDir::new().unwrap();
    let path = outer.path().join("not/yet/there");
    let (mut store, content) = open_with(&path, Options::default()).unwrap();
    assert_eq!(content, Content::new());
    store.commit(&[put("a", "1")]).unwrap();
    drop(store);
    let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for name in names(&path) {
        assert_eq!(mode(&path.join(&name)), 0o600, "{name}");
    }
    let (_store, content) = open_with(&path, Options::default()).unwrap();
    assert_eq!(content["a"], b"1");
}

#[test]
fn a_second_server_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let (store, _) = open(folder.path()).unwrap();
    let error = Store::open(folder.path(), options()).unwrap_err();
    let want = format!(
        "cannot lock the data folder with `{}/lock`: the data folder is in use by another server (pid {}): stop that \
         one first, or give this one another --data_dir",
        folder.path().display(),
        std::process::id()
    );
    assert_eq!(text(&error), want);
    drop(store);
    assert!(Store::open(folder.path(), options()).is_ok());
}

#[test]
fn a_folder_that_is_none_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(file.path(), options()).unwrap_err();
    assert!(text(&error).contains(&*file.path().to_string_lossy()), "{}", text(&error));
}

#[test]
fn memory_takes_everything_and_keeps_nothing() {
    let mut store = Store::Memory;
    store.commit(&[put("a", "1")]).unwrap();
    assert!(!store.wants_snapshot());
    store.begin_snapshot(std::iter::empty()).unwrap();
}

#[test]
fn snapshots_are_wanted_as_the_log_grows_and_keep_it_short() {
    let folder = scratch();
    let small = Options { snapshot_after: 4_000, preallocate: 1_024, sync: false };
    let (mut store, mut now) = open_with(folder.path(), small.clone()).unwrap();
    let mut snapshots = 0;
    for round in 0..2_000 {
        let batch = [put(&format!("key/{}", round % 7), &format!("value {round}"))];
        store.commit(&batch).unwrap();
        apply(&mut now, &batch);
        if store.wants_snapshot() {
            store.begin_snapshot(pairs(&now).into_iter()).unwrap();
            assert!(!store.wants_snapshot(), "one at a time");
            store.await_snapshot();
            snapshots += 1;
        }
    }
    drop(store);
    assert!((10..100).contains(&snapshots), "{snapshots}");
    let bytes: u64 =
        names(folder.path()).iter().map(|it| fs::metadata(folder.path().join(it)).unwrap().len()).sum();
    assert!(bytes < 20_000, "{bytes}");
    assert_eq!(open_with(folder.path(), small).unwrap().1, now);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever is committed, snapshotted and reopened, the store holds what a map would hold.
    #[test]
    fn behaves_like_a_map(
        rounds in prop::collection::vec(
            (prop::collection::vec((0..9u8, prop::option::of(prop::collection::vec(any::<u8>(), 0..700))), 0..6), 0..8u8),
            1..40,
        ),
        preallocate in prop::sample::select(vec![0u64, 64, 5_000]),
    ) {
        let folder = scratch();
        let options = Options { preallocate, ..options() };
        let (mut store, mut now) = open_with(folder.path(), options.clone()).unwrap();
        for (batch, then) in rounds {
            let batch: Vec<_> = batch
                .into_iter()
                .map(|(key, value)| marathon_store::Entry { key: format!("key/{key}"), value })
                .collect();
            store.commit(&batch).unwrap();
            apply(&mut now, &batch);
            match then {
                0 => {
                    drop(store);
                    let (again, found) = open_with(folder.path(), options.clone()).unwrap();
                    prop_assert_eq!(&found, &now);
                    store = again;
                }
                1 => store.begin_snapshot(pairs(&now).into_iter()).unwrap(),
                _ => {}
            }
        }
        drop(store);
        prop_assert_eq!(open_with(folder.path(), options).unwrap().1, now);
    }
}

/// Runs one of the ignored tests below as a process of its own.
fn child(name: &str, folder: &Path, before: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("{before} exec \"$0\" {name} --exact --ignored --nocapture");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap());
    command.env("STORE_FOLDER", folder).stdout(Stdio::piped());
    command
}

fn folder_of_child() -> std::path::PathBuf {
    std::env::var_os("STORE_FOLDER").expect("run by its test only").into()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = 0;
    for round in 1..=8 {
        let mut writer = child("writes_until_killed", folder.path(), "").spawn().unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let numbers =
            lines.map_while(Result::ok).filter_map(|it| it.strip_prefix("done ")?.parse::<u64>().ok());
        acknowledged = numbers.take(round * 37).last().expect("it got somewhere");
        writer.kill().unwrap();
        writer.wait().unwrap();
        let (_store, content) = open_with(folder.path(), Options::default()).unwrap();
        let newest: u64 = String::from_utf8(content["newest"].clone()).unwrap().parse().unwrap();
        assert!(newest >= acknowledged, "{newest} {acknowledged}");
        // Both halves of the newest batch, or neither.
        assert!(content.contains_key(&format!("n/{}", newest % 100)));
        assert_eq!(content[&format!("n/{}", newest % 100)], newest.to_string().into_bytes());
    }
    assert!(acknowledged >= 8);
}

#[test]
#[ignore = "a process for what_was_acknowledged_survives_kill_9"]
fn writes_until_killed() {
    let small = Options { snapshot_after: 8_000, preallocate: 4_096, sync: true };
    let (mut store, mut now) = open_with(&folder_of_child(), small).unwrap();
    let newest = now.get("newest").map_or(0, |it| String::from_utf8_lossy(it).parse().unwrap());
    for number in newest + 1.. {
        let text = number.to_string();
        let batch = [put("newest", &text), put(&format!("n/{}", number % 100), &text)];
        store.commit(&batch).unwrap();
        apply(&mut now, &batch);
        println!("done {number}");
        if store.wants_snapshot() {
            store.begin_snapshot(pairs(&now).into_iter()).unwrap();
        }
    }
}

/// A limit on file sizes behaves as a full disk does: the write comes back short, then fails.
#[test]
fn a_full_disk_takes_nothing_by_halves() {
    let folder = TempDir::new().unwrap();
    let output = child("fills_the_disk", folder.path(), "trap '' XFSZ; ulimit -f 16;").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let content = content(folder.path()).unwrap();
    assert_eq!(content["small"], b"fits");
    assert!(content.contains_key("big/0") && !content.contains_key("big/99"));
}

#[test]
#[ignore = "a process for a_full_disk_takes_nothing_by_halves"]
fn fills_the_disk() {
    for preallocate in [0, 4_096] {
        let options = Options { preallocate, sync: true, snapshot_after: u64::MAX };
        let (mut store, mut want) = open_with(&folder_of_child(), options).unwrap();
        let mut refused = 0;
        for number in 0..100 {
            let batch = [put(&format!("big/{number}"), &"b".repeat(1_000))];
            match store.commit(&batch) {
                Ok(()) => apply(&mut want, &batch),
                Err(error) => {
                    assert_eq!(error.fate, Fate::NotApplied);
                    refused += 1;
                }
            }
        }
        assert!(refused > 50, "{refused}");
        // The store goes on with what fits.
        if store.commit(&[put("small", "fits")]).is_ok() {
            apply(&mut want, &[put("small", "fits")]);
        }
        drop(store);
        assert_eq!(content(&folder_of_child()), Ok(want));
    }
}

#[test]
fn a_hundred_thousand_records_come_back() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut now) = open(folder.path()).unwrap();
    for chunk in 0..100 {
        let batch: Vec<_> =
            (0..1_000).map(|it| put(&format!("instance/{chunk}-{it}"), &"v".repeat(500))).collect();
        store.commit(&batch).unwrap();
        apply(&mut now, &batch);
    }
    store.begin_snapshot(pairs(&now).into_iter()).unwrap();
    store.await_snapshot();
    drop(store);
    let began = std::time::Instant::now();
    let (_store, found) = open(folder.path()).unwrap();
    println!("read 100,000 records of 500 bytes in {:?}", began.elapsed());
    assert_eq!(found, now);
}
