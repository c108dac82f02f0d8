//! Every cut and every changed byte: what a crash leaves is forgotten, everything else is refused.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use marathon_store::{Options, Store};

mod common;
use common::*;

const LOG: &str = "log-00000000000000000001";

/// The content after each batch of a small history, and the bytes of its log.
fn history(folder: &Path, options: Options) -> (Vec<Content>, Vec<u8>) {
    let (mut store, mut now) = open_with(folder, options).unwrap();
    let long = "x".repeat(1_400);
    let batches = [
        vec![put("app/a@1", "{}"), put("root/1", "{}")],
        vec![put("instance/a", &long)],
        vec![delete("app/a@1")],
        vec![put("empty", ""), put("root/2", "{}")],
    ];
    let mut states = vec![now.clone()];
    for batch in batches {
        store.commit(&batch).unwrap();
        apply(&mut now, &batch);
        states.push(now.clone());
    }
    drop(store);
    (states, fs::read(folder.join(LOG)).unwrap())
}

fn preallocating() -> Options {
    Options { preallocate: 2_048, ..options() }
}

fn content_of(bytes: &[u8]) -> Result<Content, String> {
    let folder = scratch();
    fs::write(folder.path().join(LOG), bytes).unwrap();
    let found = content(folder.path());
    match &found {
        // A second look must agree, and the store must go on from there.
        Ok(found) => {
            let (mut store, again) = open(folder.path()).unwrap();
            assert_eq!(again, *found);
            store.commit(&[put("later", "1")]).unwrap();
            drop(store);
            let mut want = found.clone();
            apply(&mut want, &[put("later", "1")]);
            assert_eq!(content(folder.path()), Ok(want));
        }
        // Refused means untouched.
        Err(_) => assert_eq!(fs::read(folder.path().join(LOG)).unwrap(), bytes),
    }
    found
}

#[test]
fn a_log_cut_anywhere_gives_whole_batches() {
    for options in [options(), preallocating()] {
        let folder = scratch();
        let (states, bytes) = history(folder.path(), options);
        let mut reached = 0;
        for length in 32..=bytes.len() {
            let found = content_of(&bytes[..length]).unwrap_or_else(|error| panic!("{length}: {error}"));
            let state = states.iter().position(|it| *it == found).expect("a state between two batches");
            assert!(state >= reached, "{length}");
            reached = state;
        }
        assert_eq!(reached, states.len() - 1);
        for length in 0..32 {
            let error = content_of(&bytes[..length]).unwrap_err();
            assert!(error.contains("damaged at byte 0"), "{error}");
        }
    }
}

/// The same for a crash that leaves zeros instead of a shorter file.
#[test]
fn a_log_zeroed_from_any_sector_on_gives_whole_batches() {
    let folder = scratch();
    let (states, bytes) = history(folder.path(), preallocating());
    for from in (512..bytes.len()).step_by(512) {
        let mut cut = bytes.clone();
        cut[from..].fill(0);
        let found = content_of(&cut).unwrap_or_else(|error| panic!("{from}: {error}"));
        assert!(states.contains(&found), "{from}");
    }
}

/// The record being written may lose any of its sectors, the first one too.
#[test]
fn an_unfinished_last_record_may_have_any_hole() {
    let folder = scratch();
    let (mut store, _) = open_with(folder.path(), Options { preallocate: 8_192, ..options() }).unwrap();
    let kept = [put("kept", &"k".repeat(300))];
    store.commit(&kept).unwrap();
    let before = fs::read(folder.path().join(LOG)).unwrap();
    store.commit(&[put("lost", &"y".repeat(3_000))]).unwrap();
    drop(store);
    let after = fs::read(folder.path().join(LOG)).unwrap();
    assert_eq!(before.len(), after.len(), "both fit the space taken beforehand");
    let mut want = Content::new();
    apply(&mut want, &kept);
    let first = before.iter().rposition(|it| *it != 0).unwrap() / 512;
    let last = after.iter().rposition(|it| *it != 0).unwrap() / 512;
    assert!(last - first >= 6, "enough sectors to lose");
    // Each bit says whether a sector came through; at least one did not.
    for came in 0..(1 << (last - first + 1)) - 1 {
        let mut bytes = before.clone();
        for sector in (first..=last).filter(|it| came >> (it - first) & 1 == 1) {
            let range = sector * 512..(sector + 1) * 512;
            bytes[range.clone()].copy_from_slice(&after[range]);
        }
        assert_eq!(content_of(&bytes), Ok(want.clone()), "{came:b}");
    }
}

#[test]
fn a_changed_byte_is_never_taken_for_content() {
    for options in [options(), preallocating()] {
        let folder = scratch();
        let (states, bytes) = history(folder.path(), options);
        let used = bytes.iter().rposition(|it| *it != 0).unwrap() + 1;
        for at in 0..bytes.len() {
            // To zero, to the neighbour, to the complement: the first is what a hole looks like.
            for change in [bytes[at], 1, 0xFF] {
                if change == 0 {
                    continue;
                }
                let mut changed = bytes.clone();
                changed[at] ^= change;
                match content_of(&changed) {
                    Err(error) => assert!(error.contains("damaged at byte"), "{error}"),
                    // In the space that was taken beforehand there is nothing to lose.
                    Ok(found) => assert!(at >= used && found == states[4], "byte {at} ^ {change}"),
                }
            }
        }
    }
}

#[test]
fn a_lost_sector_with_acknowledged_records_behind_it_is_refused() {
    let folder = scratch();
    let (_, bytes) = history(folder.path(), options());
    for sector in 0..bytes.len() / 512 {
        let mut damaged = bytes.clone();
        damaged[sector * 512..(sector + 1) * 512].fill(0);
        let error = content_of(&damaged).unwrap_err();
        assert!(error.contains("damaged at byte"), "{error}");
    }
}

#[test]
fn records_out_of_order_are_refused() {
    let folder = scratch();
    let (mut store, _) = open(folder.path()).unwrap();
    let mut ends = vec![32];
    for batch in [put("a", "1"), put("b", "1"), put("c", "1")] {
        store.commit(&[batch]).unwrap();
        ends.push(fs::metadata(folder.path().join(LOG)).unwrap().len() as usize);
    }
    drop(store);
    let bytes = fs::read(folder.path().join(LOG)).unwrap();
    let part = |it: usize| &bytes[ends[it]..ends[it + 1]];
    for (order, want) in [
        (&[0, 2][..], "record 3 stands where record 2 belongs"),
        (&[0, 0, 1], "record 1 stands where record 2 belongs"),
        (&[1, 0, 2], "record 2 stands where record 1 belongs"),
    ] {
        let parts = order.iter().map(|it| part(*it));
        let shuffled = [&bytes[..32]].into_iter().chain(parts).collect::<Vec<_>>().concat();
        let error = content_of(&shuffled).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_changed_or_cut_snapshot_is_refused() {
    let folder = scratch();
    let (mut store, mut now) = open(folder.path()).unwrap();
    let batch = [put("a", "1"), put("b", "2")];
    store.commit(&batch).unwrap();
    apply(&mut now, &batch);
    store.begin_snapshot(pairs(&now).into_iter()).unwrap();
    store.await_snapshot();
    drop(store);
    let path = folder.path().join("snapshot-00000000000000000003");
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        for bad in [&changed[..], &bytes[..at]] {
            fs::write(&path, bad).unwrap();
            let error = content(folder.path()).unwrap_err();
            assert!(error.contains("damaged at byte") && error.contains("snapshot-"), "{error}");
        }
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    assert!(content(folder.path()).unwrap_err().contains("something follows the end of the snapshot"));
    fs::write(&path, &bytes).unwrap();
    assert_eq!(content(folder.path()), Ok(now));
}

#[test]
fn the_message_says_where_and_what_to_do() {
    let folder = scratch();
    let (_, mut bytes) = history(folder.path(), options());
    bytes[60] ^= 1;
    fs::write(folder.path().join(LOG), &bytes).unwrap();
    let error = Store::open(folder.path(), options()).unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "cannot use the stored data in `{}/{LOG}`: damaged at byte 32: a record does not match its checksum, \
             and others follow. Nothing was changed. Keep a copy of the folder, then restore it from a backup, or \
             start with an empty --data_dir (tasks that still run are then unknown to it)",
            folder.path().display()
        )
    );
}
