//! Writing the whole state into one file, beside the running store.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::Pair;
use crate::error::Cause;
use crate::folder::{self, Folder};
use crate::frame::{self, Builder, FileKind, RecordKind};

/// Records of a snapshot hold about this much.
const CHUNK: usize = 256 << 10;
/// Flushed in portions, so that a commit's flush never waits for a heap of ours.
const FLUSH_EVERY: u64 = 4 << 20;

/// A snapshot on its way.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<Result<u64, Cause>>,
    cancelled: Arc<AtomicBool>,
    path: PathBuf,
}

impl Running {
    pub fn begin(
        folder: Folder,
        first: u64,
        dump: impl Iterator<Item = Pair> + Send + 'static,
    ) -> io::Result<Running> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let path = folder.file(FileKind::Snapshot, first);
        let stop = cancelled.clone();
        let run = move || write(&folder, first, dump, &stop);
        let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(run)?;
        Ok(Running { thread, cancelled, path })
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end. The size of the snapshot, or `None` after a failure, which was logged: the logs
    /// still hold everything.
    pub fn finish(self) -> Option<u64> {
        let result = self.thread.join();
        match result {
            Ok(Ok(bytes)) => return Some(bytes),
            Ok(Err(_)) if self.cancelled.load(Ordering::Relaxed) => {}
            Ok(Err(error)) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(file = %self.path.display(), cause, "no snapshot was written; the logs stay");
            }
            Err(_) => {
                tracing::warn!(file = %self.path.display(), "no snapshot was written: its thread panicked")
            }
        }
        None
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn write(
    folder: &Folder,
    first: u64,
    dump: impl Iterator<Item = Pair>,
    cancelled: &AtomicBool,
) -> Result<u64, Cause> {
    let began = Instant::now();
    let path = folder.file(FileKind::Snapshot, first);
    let unfinished = folder::unfinished(&path);
    let result = write_file(folder, first, dump, cancelled, &unfinished);
    let bytes = match result {
        Ok(bytes) => bytes,
        Err(error) => {
            // If this fails too, the next start removes it.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
    };
    folder.publish(&unfinished, &path)?;
    tracing::info!(file = %path.display(), bytes, took = ?began.elapsed(), "wrote a snapshot");
    remove_older(folder, first);
    Ok(bytes)
}

fn write_file(
    folder: &Folder,
    first: u64,
    dump: impl Iterator<Item = Pair>,
    cancelled: &AtomicBool,
    path: &std::path::Path,
) -> Result<u64, Cause> {
    let mut file = folder::create(path)?;
    file.write_all(&frame::header(FileKind::Snapshot, first))?;
    let (mut bytes, mut unflushed) = (frame::HEADER as u64, 0);
    let mut dump = dump.peekable();
    let mut builder = Builder::new();
    for sequence in 1.. {
        if cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        let last = dump.peek().is_none();
        builder.begin(if last { RecordKind::End } else { RecordKind::Batch });
        while builder.len() < CHUNK
            && let Some(pair) = dump.next()
        {
            builder.put_pair(&pair);
        }
        let record = builder.finish(sequence)?;
        file.write_all(record)?;
        bytes += record.len() as u64;
        unflushed += record.len() as u64;
        if unflushed >= FLUSH_EVERY {
            folder.sync_data(&file)?;
            unflushed = 0;
        }
        if last {
            break;
        }
    }
    if folder.sync {
        file.sync_all()?;
    }
    Ok(bytes)
}

/// The snapshot has taken their place. What stays behind is removed by the next start.
fn remove_older(folder: &Folder, first: u64) {
    let Ok(listing) = folder.list() else { return };
    let older = |kind, all: Vec<u64>| {
        all.into_iter().filter(|it| *it < first).map(|it| folder.file(kind, it)).collect::<Vec<_>>()
    };
    let paths = [older(FileKind::Log, listing.logs), older(FileKind::Snapshot, listing.snapshots)].concat();
    for path in paths {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "cannot remove a file that a snapshot replaced");
        }
    }
}
