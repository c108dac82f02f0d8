#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use marathon_store::{Entry, Options, Pair, Store, StoreError};
use tempfile::TempDir;

pub type Content = BTreeMap<String, Vec<u8>>;

/// Small steps and no flushing.
pub fn options() -> Options {
    Options { preallocate: 0, snapshot_after: u64::MAX, sync: false }
}

pub fn put(key: &str, value: &str) -> Entry {
    Entry { key: key.to_owned(), value: Some(value.as_bytes().to_vec()) }
}

pub fn delete(key: &str) -> Entry {
    Entry { key: key.to_owned(), value: None }
}

pub fn open(folder: &Path) -> Result<(Store, Content), StoreError> {
    open_with(folder, options())
}

pub fn open_with(folder: &Path, options: Options) -> Result<(Store, Content), StoreError> {
    let (store, pairs) = Store::open(folder, options)?;
    let content: Content = pairs.iter().cloned().collect();
    assert!(pairs.is_sorted() && pairs.len() == content.len(), "each key once, in order");
    Ok((store, content))
}

/// What a folder holds, or why it cannot be told.
pub fn content(folder: &Path) -> Result<Content, String> {
    open(folder).map(|(_, content)| content).map_err(|error| text(&error))
}

pub fn text(error: &StoreError) -> String {
    format!("{error}: {}", error.cause)
}

pub fn apply(content: &mut Content, entries: &[Entry]) {
    for Entry { key, value } in entries {
        match value {
            Some(value) => content.insert(key.clone(), value.clone()),
            None => content.remove(key),
        };
    }
}

pub fn pairs(content: &Content) -> Vec<Pair> {
    content.clone().into_iter().collect()
}

pub fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|it| it != "lock").collect();
    names.sort();
    names
}

pub fn copy(from: &Path, to: &Path) {
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// A folder in memory where there is one: what is tested there is the meaning of bytes, not a disk.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}
