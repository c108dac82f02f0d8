//! The store in a folder: appends to the newest log, and starts a new one for each snapshot.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::FallocateFlags;

use crate::error::{Cause, Doing, Fate, StoreError};
use crate::folder::Folder;
use crate::frame::{Builder, FileKind, HEADER, RecordKind};
use crate::lock::Lock;
use crate::recover::{Recovered, Tail, recover};
use crate::snapshot::Running;
use crate::{Entry, Options, Pair};

#[derive(Debug)]
pub struct FileStore {
    folder: Folder,
    options: Options,
    tail: Tail,
    /// The end of the log is not known; nothing more is written.
    in_doubt: bool,
    builder: Builder,
    growth: Growth,
    snapshot: Option<Running>,
    /// Last, so that it is given up when everything else has been.
    _lock: Lock,
}

/// When the next snapshot is due.
#[derive(Debug)]
struct Growth {
    /// How much the logs hold that no snapshot covers.
    logged: u64,
    /// That part of it which the snapshot on its way will cover.
    covered: u64,
    due: u64,
}

impl FileStore {
    pub fn open(path: &Path, options: Options) -> Result<(FileStore, Vec<Pair>), StoreError> {
        let folder = Folder::make(path, options.sync)?;
        let lock = Lock::take(&path.join("lock"))?;
        let Recovered { pairs, tail, logged, snapshot_bytes } = recover(&folder)?;
        let due = options.snapshot_after.max(snapshot_bytes);
        let store = FileStore {
            folder,
            options,
            tail,
            in_doubt: false,
            builder: Builder::new(),
            growth: Growth { logged, covered: 0, due },
            snapshot: None,
            _lock: lock,
        };
        Ok((store, pairs))
    }

    pub fn commit(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.builder.begin(RecordKind::Batch);
        for entry in entries {
            self.builder.put_entry(entry);
        }
        self.append("cannot commit to")
    }

    /// Writes the record in the builder.
    fn append(&mut self, doing: &'static str) -> Result<(), StoreError> {
        if self.in_doubt {
            return Err(Cause::InDoubt).doing(doing, &self.tail.path);
        }
        let record = self.builder.finish(self.tail.next).doing(doing, &self.tail.path)?;
        let length = record.len() as u64;
        reserve(&mut self.tail, length, self.options.preallocate);
        if let Err(error) = self.tail.file.write_all_at(record, self.tail.end) {
            let fate = self.take_back();
            return Err(error).doing(doing, &self.tail.path).map_err(|it| it.of_fate(fate));
        }
        // After a failed flush nobody can say what is on disk, so there is nothing to try again.
        if let Err(error) = self.folder.sync_data(&self.tail.file) {
            self.in_doubt = true;
            return Err(error).doing(doing, &self.tail.path).map_err(|it| it.of_fate(Fate::Unknown));
        }
        self.tail.end += length;
        self.tail.allocated = self.tail.allocated.max(self.tail.end);
        self.tail.next += 1;
        self.growth.logged += length;
        Ok(())
    }

    /// Removes what a failed write may have left (the disk is full, mostly).
    fn take_back(&mut self) -> Fate {
        let Tail { file, end, allocated, .. } = &mut self.tail;
        match file.set_len(*end).and_then(|()| self.folder.sync_data(file)) {
            Ok(()) => {
                *allocated = *end;
                Fate::NotApplied
            }
            Err(_) => {
                self.in_doubt = true;
                Fate::Unknown
            }
        }
    }

    pub fn wants_snapshot(&mut self) -> bool {
        if self.snapshot.as_ref().is_some_and(Running::is_finished) {
            self.await_snapshot();
        }
        self.snapshot.is_none() && !self.in_doubt && self.growth.logged >= self.growth.due
    }

    /// Waits for the snapshot on its way, if there is one.
    pub fn await_snapshot(&mut self) {
        let Some(running) = self.snapshot.take() else { return };
        let Growth { logged, covered, due } = &mut self.growth;
        match running.finish() {
            Some(bytes) => {
                *logged -= *covered;
                *due = self.options.snapshot_after.max(bytes);
            }
            // Not again at once: what stood in the way is likely to stay a while.
            None => *due = logged.saturating_add(self.options.snapshot_after.max(*due)),
        }
    }

    pub fn begin_snapshot(
        &mut self,
        dump: impl Iterator<Item = Pair> + Send + 'static,
    ) -> Result<(), StoreError> {
        if self.snapshot.is_some() {
            self.await_snapshot();
        }
        let covered = self.growth.logged;
        let result = self.begin_log().and_then(|first| {
            let path = self.folder.file(FileKind::Snapshot, first);
            Running::begin(self.folder.clone(), first, dump).doing("cannot begin the snapshot", &path)
        });
        match result {
            Ok(running) => {
                self.growth.covered = covered;
                self.snapshot = Some(running);
                Ok(())
            }
            Err(error) => {
                let step = self.growth.due.max(self.options.snapshot_after);
                self.growth.due = self.growth.logged.saturating_add(step);
                Err(error)
            }
        }
    }

    /// Goes on in a new log, and tells its first sequence number.
    ///
    /// The new log is made before the old one is closed. A crash in between leaves an open log and an
    /// empty one behind it; the other way round, a closed log without its successor would look like a
    /// lost file.
    fn begin_log(&mut self) -> Result<u64, StoreError> {
        if self.in_doubt {
            return Err(Cause::InDoubt).doing("cannot begin a log after", &self.tail.path);
        }
        let first = self.tail.next + 1;
        let path = self.folder.file(FileKind::Log, first);
        self.builder.begin(RecordKind::End);
        let made = self.folder.create_log(first).and_then(|file| {
            self.append("cannot close the log")?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // An empty log behind one that goes on would be taken for damage.
                let gone = match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => self.folder.sync(),
                };
                self.in_doubt |= gone.is_err();
                return Err(if self.in_doubt { error.of_fate(Fate::Unknown) } else { error });
            }
        };
        // The space it took beforehand; if this fails, it stays taken until the snapshot is complete.
        let _ = self.tail.file.set_len(self.tail.end);
        self.tail = Tail { file, path, end: HEADER as u64, allocated: HEADER as u64, next: first };
        self.growth.logged += HEADER as u64;
        Ok(first)
    }
}

/// Takes the space of coming records, so that a commit need not change the length of the file. Where the
/// file system cannot, or the disk is full, the record is simply appended, and the write says what is wrong.
fn reserve(tail: &mut Tail, length: u64, step: u64) {
    let missing = (tail.end + length).saturating_sub(tail.allocated);
    if missing == 0 || step == 0 {
        return;
    }
    let growth = missing.max(step);
    let (Ok(from), Ok(by)) = (i64::try_from(tail.allocated), i64::try_from(growth)) else { return };
    if nix::fcntl::fallocate(&tail.file, FallocateFlags::empty(), from, by).is_ok() {
        tail.allocated += growth;
    }
}

impl Drop for FileStore {
    /// A snapshot that goes on after the lock is given up could remove files under the next server.
    fn drop(&mut self) {
        if let Some(running) = &self.snapshot {
            running.cancel();
        }
        self.await_snapshot();
    }
}
