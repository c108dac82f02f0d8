//! Durable writes: an append-only log with snapshots, in a folder or in ZooKeeper, or nothing but memory.
//!
//! The whole state lives in the core's memory; a store only has to give it back after a restart. So it is
//! no database: it is read once, at the start, and after that only written.
//!
//! ```text
//! data folder
//!   lock                          held by the running server, holds its pid
//!   snapshot-00000000000000004711 everything up to record 4710
//!   log-00000000000000004711      records from 4711 on, one for each commit
//! ```
//! - One commit is one record, one `write`, one `fdatasync`: all of it is there after a crash, or nothing.
//! - What was never acknowledged (a record cut short at the end of the newest log) is cut off when the
//!   folder is opened. Anything else that does not verify is damage, and damage is refused: `recover`.
//! - A snapshot begins by closing the log, is written by a thread of its own, and replaces what is older
//!   once it is complete: `snapshot`.
//!
//! docs/decisions/0004-embedded-store.md says why this is not an embedded database.

mod error;
mod file;
mod folder;
mod frame;
mod lock;
mod recover;
mod snapshot;
mod zk;

use std::path::Path;

pub use error::{Cause, Fate, StoreError};
pub use file::FileStore;
pub use zk::{Content, Keep, Standby, ZkOptions, ZkStore, read as read_zookeeper};

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// `None`: the key is deleted.
    pub value: Option<Vec<u8>>,
}

/// A key and its value, as a store gives them back and a snapshot takes them.
pub type Pair = (String, Vec<u8>);

#[derive(Debug, Clone)]
pub struct Options {
    /// The log grows by so many bytes at once: the space of coming records is taken beforehand, which
    /// saves every commit a change of the file's length (a quarter of its time on ext4).
    pub preallocate: u64,
    /// A snapshot is wanted once the logs hold this much, and no less than the last snapshot did.
    pub snapshot_after: u64,
    /// `false` leaves the flushing to the operating system: for tests, and for nothing else.
    pub sync: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { preallocate: 1 << 20, snapshot_after: 16 << 20, sync: true }
    }
}

/// Where writes go.
#[derive(Debug)]
pub enum Store {
    File(Box<FileStore>),
    /// Shared by several servers, one of which leads.
    ZooKeeper(Box<ZkStore>),
    /// Nothing outlives the process (`--internal_store_backend mem`).
    Memory,
}

impl Store {
    /// Opens the folder (making it if need be) and reads everything that was committed, in the order of
    /// the keys.
    pub fn open(folder: &Path, options: Options) -> Result<(Store, Vec<Pair>), StoreError> {
        let (store, pairs) = FileStore::open(folder, options)?;
        Ok((Store::File(Box::new(store)), pairs))
    }

    /// Makes all entries durable, or none of them. After an error of fate `Unknown` the store takes
    /// nothing more: open it again to see what is there.
    pub fn commit(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        match self {
            Store::File(store) => store.commit(entries),
            Store::ZooKeeper(store) => store.commit(entries),
            Store::Memory => Ok(()),
        }
    }

    /// An error if somebody else may have taken the store over: then nothing more may be done in its name.
    pub fn ensure_ours(&self) -> Result<(), StoreError> {
        match self {
            Store::ZooKeeper(store) => store.ensure_ours(),
            Store::File(_) | Store::Memory => Ok(()),
        }
    }

    /// Whether the log has grown enough for a snapshot, and none is on its way.
    pub fn wants_snapshot(&mut self) -> bool {
        match self {
            Store::File(store) => store.wants_snapshot(),
            Store::ZooKeeper(store) => store.wants_snapshot(),
            Store::Memory => false,
        }
    }

    /// Starts a snapshot in the background. `dump` must yield the state with every commit so far, and no
    /// later one. An error here leaves the store as it was; a later one is logged, and the older files
    /// stay, so it costs nothing but disk space.
    pub fn begin_snapshot(
        &mut self,
        dump: impl Iterator<Item = Pair> + Send + 'static,
    ) -> Result<(), StoreError> {
        match self {
            Store::File(store) => store.begin_snapshot(dump),
            Store::ZooKeeper(store) => store.begin_snapshot(dump),
            Store::Memory => Ok(()),
        }
    }

    /// Waits until no snapshot is on its way. Dropping a store gives up an unfinished one instead.
    pub fn await_snapshot(&mut self) {
        match self {
            Store::File(store) => store.await_snapshot(),
            Store::ZooKeeper(store) => store.await_snapshot(),
            Store::Memory => {}
        }
    }
}
