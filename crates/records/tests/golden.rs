//! Stores written by earlier builds must stay readable. `golden/records.txt` holds stored records, key and
//! value by turns; each must decode, and encode to the very same bytes.
//!
//! If this fails, a rename or a new shape inside the model is about to lose data: a renamed optional
//! field, for one, would be passed over silently on reading. Keep the old name with `#[serde(rename)]`,
//! give a new field a default and leave it out while it has it, or raise `FORMAT` and write a migration.
//! Never edit a line to make the test pass; append new ones, which the second test prints.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use marathon_records::{decode, encode};

mod values;
use values::Draw;

const GOLDEN: &str = include_str!("golden/records.txt");

fn golden() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut lines = GOLDEN.lines();
    std::iter::from_fn(move || Some((lines.next()?, lines.next().expect("keys and values come by turns"))))
}

#[test]
fn stored_records_stay_readable() {
    for (key, value) in golden() {
        let write = decode(key, value.as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
        let again = encode(&write);
        assert_eq!((again.key.as_str(), again.value.as_deref()), (key, Some(value.as_bytes())));
    }
}

/// Names of fields and variants; what else is quoted in these records is no plain word.
fn names(text: &str) -> BTreeSet<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let plain = |it: &&str| it.len() > 1 && it.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    quoted.filter(plain).map(str::to_owned).collect()
}

/// Records that show names the golden file does not hold yet.
fn fresh() -> Vec<String> {
    let mut known: BTreeSet<String> =
        golden().flat_map(|(key, value)| names(value).into_iter().chain([kind(key)])).collect();
    let mut fresh = Vec::new();
    for seed in 0..3_000 {
        let record = encode(&Draw::new(seed).write());
        let value = String::from_utf8(record.value.unwrap()).unwrap();
        let mut shown = names(&value);
        shown.insert(kind(&record.key));
        if !shown.is_subset(&known) {
            known.append(&mut shown);
            fresh.push(format!("{}\n{value}", record.key));
        }
    }
    fresh
}

fn kind(key: &str) -> String {
    key.split('/').next().unwrap_or_default().to_owned()
}

/// Every field and every variant must stand in the file, or a rename could pass unseen.
#[test]
fn golden_file_holds_every_name() {
    let fresh = fresh();
    assert!(fresh.is_empty(), "append these to golden/records.txt:\n{}", fresh.join("\n"));
}
