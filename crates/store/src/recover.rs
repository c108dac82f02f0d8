//! Reading a folder back, and telling a crash from damage.
//!
//! A commit is acknowledged after its record is on disk, and only one is on its way at a time. So a crash
//! can leave at most one unfinished record, it is the last of the newest log, and nobody was told of it.
//! Of such a record any sectors may be missing: cut off by the end of the file, or zero as the space
//! was before. That, and nothing else, is cut off and forgotten. Every other mismatch could be an
//! acknowledged change, and going on without it would be silent loss; so the folder is refused as it is.
//!
//! What cannot be told apart: whole sectors of the very last record that turn to zero (or a file that gets
//! shorter) after it was acknowledged. No log can, without a second place to write to.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::Pair;
use crate::error::{Cause, Doing, StoreError};
use crate::folder::Folder;
use crate::frame::{self, FileKind, HEAD, HEADER, Head, RecordKind, SECTOR};

/// A folder that was read completely.
pub struct Recovered {
    pub pairs: Vec<Pair>,
    pub tail: Tail,
    /// How much all logs hold that no snapshot covers.
    pub logged: u64,
    pub snapshot_bytes: u64,
}

/// Where the next record goes.
#[derive(Debug)]
pub struct Tail {
    pub file: File,
    pub path: PathBuf,
    pub end: u64,
    /// The length of the file: zeros from `end` to here.
    pub allocated: u64,
    /// The sequence number of the next record.
    pub next: u64,
}

type State = HashMap<String, Vec<u8>>;

/// Reads everything first; changes nothing in the folder before all of it is known to be sound.
pub fn recover(folder: &Folder) -> Result<Recovered, StoreError> {
    let listing = folder.list()?;
    let base = listing.snapshots.last().copied();
    let first = base.unwrap_or(1);
    let mut logs: Vec<u64> = listing.logs.iter().copied().filter(|it| *it >= first).collect();
    let fresh = base.is_none() && listing.logs.is_empty();
    if !fresh && logs.first() != Some(&first) {
        return Err(missing(folder, first));
    }

    let mut state = State::new();
    let snapshot_bytes = match base {
        Some(first) => read_snapshot(&folder.file(FileKind::Snapshot, first), first, &mut state)?,
        None => 0,
    };
    let mut logged = 0;
    let mut last: Option<(u64, Scan)> = None;
    let mut unused = None;
    for (at, &first) in logs.iter().enumerate() {
        let path = folder.file(FileKind::Log, first);
        let bytes = fs::read(&path).doing(READ, &path)?;
        let scan = scan(&bytes, first, &mut state).doing(READ, &path)?;
        let newest = at + 1 == logs.len();
        if let Some((before, previous)) = &last {
            let previous_path = folder.file(FileKind::Log, *before);
            let crossed = newest && scan.is_empty() && !previous.closed && previous.next + 1 == first;
            if crossed {
                // A crash came after the new log was made and before the old one was closed.
                unused = Some(first);
                break;
            }
            previous.must_lead_to(first).doing(READ, &previous_path)?;
        }
        logged += scan.end as u64;
        last = Some((first, scan));
    }
    if unused.is_some() {
        logs.pop();
    }
    if let Some((_, scan)) = &last
        && scan.closed
    {
        return Err(missing(folder, scan.next));
    }

    let tail = match last {
        None => begin(folder)?,
        Some((first, scan)) => go_on(&folder.file(FileKind::Log, first), &scan, folder)?,
    };
    let old_logs = listing.logs.iter().filter(|it| !logs.contains(it));
    let old_logs = old_logs.map(|it| folder.file(FileKind::Log, *it));
    let old_snapshots = listing.snapshots.iter().filter(|it| Some(**it) != base);
    let old_snapshots = old_snapshots.map(|it| folder.file(FileKind::Snapshot, *it));
    for path in listing.unfinished.into_iter().chain(old_logs).chain(old_snapshots) {
        fs::remove_file(&path).doing("cannot remove the leftover", &path)?;
    }
    folder.sync().doing("cannot flush the data folder", &folder.path)?;

    let mut pairs: Vec<Pair> = state.into_iter().collect();
    pairs.sort_unstable();
    Ok(Recovered { pairs, tail, logged, snapshot_bytes })
}

const READ: &str = "cannot use the stored data in";

fn missing(folder: &Folder, first: u64) -> StoreError {
    let cause =
        Cause::Damaged { offset: 0, what: "the file is missing, and other files go with it".to_owned() };
    StoreError::new(READ, &folder.file(FileKind::Log, first), cause)
}

fn begin(folder: &Folder) -> Result<Tail, StoreError> {
    let file = folder.create_log(1)?;
    let path = folder.file(FileKind::Log, 1);
    Ok(Tail { file, path, end: HEADER as u64, allocated: HEADER as u64, next: 1 })
}

/// Opens the newest log for appending, without the record that a crash left unfinished.
fn go_on(path: &Path, scan: &Scan, folder: &Folder) -> Result<Tail, StoreError> {
    let doing = "cannot go on with the log";
    let file = OpenOptions::new().read(true).write(true).open(path).doing(doing, path)?;
    let end = scan.end as u64;
    let mut allocated = scan.length as u64;
    if let Some(torn) = &scan.torn {
        tracing::info!(file = %path.display(), offset = end, bytes = allocated - end, why = torn,
            "cut off a record that was being written when the server stopped");
        file.set_len(end).doing(doing, path)?;
        folder.sync_data(&file).doing(doing, path)?;
        allocated = end;
    }
    Ok(Tail { file, path: path.to_owned(), end, allocated, next: scan.next })
}

/// What a log holds.
struct Scan {
    /// Behind the last record.
    end: usize,
    length: usize,
    /// The sequence number after the last record.
    next: u64,
    first: u64,
    /// Ends with the record that says another log follows.
    closed: bool,
    /// An unfinished record follows, and why it is one.
    torn: Option<&'static str>,
}

impl Scan {
    fn is_empty(&self) -> bool {
        self.next == self.first && self.torn.is_none()
    }

    /// A log that is not the newest was closed, and the next one goes on where it ends.
    fn must_lead_to(&self, first: u64) -> Result<(), Cause> {
        let what = match &self.torn {
            Some(_) => "a record is cut short, and another log follows".to_owned(),
            None if !self.closed => "the log was never closed, and another one follows".to_owned(),
            None if self.next != first => format!("the log that begins with record {} is missing", self.next),
            None => return Ok(()),
        };
        Err(Cause::Damaged { offset: self.end as u64, what })
    }
}

fn scan(bytes: &[u8], first: u64, state: &mut State) -> Result<Scan, Cause> {
    frame::check_header(bytes, FileKind::Log, first)?;
    let mut scan = Scan { end: HEADER, length: bytes.len(), next: first, first, closed: false, torn: None };
    loop {
        let rest = &bytes[scan.end..];
        if is_zero(rest) {
            return Ok(scan);
        }
        let damaged = |what: &str| Cause::Damaged { offset: scan.end as u64, what: what.to_owned() };
        if scan.closed {
            return Err(damaged("something follows the end of the log"));
        }
        let head = Head::read(rest);
        let Some((head, body)) = head.and_then(|head| Some((head, head.body(rest)?))) else {
            scan.torn = Some(torn(bytes, scan.end, head, scan.next).map_err(damaged)?);
            return Ok(scan);
        };
        if head.sequence != scan.next {
            let what = format!("record {} stands where record {} belongs", head.sequence, scan.next);
            return Err(damaged(&what));
        }
        apply(body, state, &mut scan.closed).ok_or_else(|| damaged("the record is no list of changes"))?;
        scan.end += head.extent();
        scan.next += 1;
    }
}

/// Whether the record at `at`, which does not verify, can be one that a crash interrupted. If so, says
/// why; else says what is wrong.
fn torn(bytes: &[u8], at: usize, head: Option<Head>, expected: u64) -> Result<&'static str, &'static str> {
    let rest = &bytes[at..];
    let Some(head) = head else {
        if rest.len() < HEAD {
            return Ok("its head is cut short");
        }
        if !has_zero_sector(bytes, at, at + HEAD) {
            return Err("the head of a record does not match its checksum");
        }
        // The length is lost with the head. If a later record exists, this one was acknowledged.
        let later = (8..rest.len()).step_by(8).filter_map(|by| Head::read(&rest[by..]));
        return match later.into_iter().find(|it| it.sequence > expected) {
            Some(_) => Err("a record is gone, and others follow"),
            None => Ok("its head was never written"),
        };
    };
    if head.sequence != expected {
        return Err("a record stands where another belongs, and does not match its checksum");
    }
    let end = at + head.extent();
    if end > bytes.len() {
        return Ok("its body is cut short");
    }
    if !is_zero(&bytes[end..]) {
        return Err("a record does not match its checksum, and others follow");
    }
    if has_zero_sector(bytes, at, end) {
        return Ok("part of its body was never written");
    }
    Err("a complete record does not match its checksum")
}

/// Whether some sector holds nothing but zeros between `from` and `to`. The last one counts up to its own
/// end where `to` lies within it: nothing but zeros can follow an unfinished record.
fn has_zero_sector(bytes: &[u8], from: usize, to: usize) -> bool {
    (from / SECTOR..to.div_ceil(SECTOR)).any(|sector| {
        let (begin, end) = (from.max(sector * SECTOR), bytes.len().min((sector + 1) * SECTOR));
        is_zero(&bytes[begin..end])
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|it| *it == [0; 8]) && rest.iter().all(|it| *it == 0)
}

fn apply(body: &[u8], state: &mut State, ended: &mut bool) -> Option<()> {
    match frame::record_kind(body)? {
        RecordKind::Batch => frame::entries(body, |key, value| match value {
            Some(value) => match state.get_mut(key) {
                Some(present) => value.clone_into(present),
                None => drop(state.insert(key.to_owned(), value.to_owned())),
            },
            None => drop(state.remove(key)),
        }),
        RecordKind::End => {
            *ended = true;
            (body.len() == 1).then_some(())
        }
    }
}

/// A snapshot got its name only when it was complete and on disk, so nothing in it may be missing.
fn read_snapshot(path: &Path, first: u64, state: &mut State) -> Result<u64, StoreError> {
    let bytes = fs::read(path).doing(READ, path)?;
    parse_snapshot(&bytes, first, state).doing(READ, path)?;
    Ok(bytes.len() as u64)
}

fn parse_snapshot(bytes: &[u8], first: u64, state: &mut State) -> Result<(), Cause> {
    frame::check_header(bytes, FileKind::Snapshot, first)?;
    let (mut at, mut ended) = (HEADER, false);
    for sequence in 1.. {
        let rest = &bytes[at..];
        let damaged = |what: &str| Cause::Damaged { offset: at as u64, what: what.to_owned() };
        if ended {
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(damaged("something follows the end of the snapshot"))
            };
        }
        if rest.is_empty() {
            return Err(damaged("the snapshot is cut short"));
        }
        let head = Head::read(rest).filter(|it| it.sequence == sequence);
        let head = head.ok_or_else(|| damaged("the head of a record does not match"))?;
        let body = head.body(rest).ok_or_else(|| damaged("a record does not match its checksum"))?;
        apply(body, state, &mut ended).ok_or_else(|| damaged("the record is no list of values"))?;
        at += head.extent();
    }
    Ok(())
}
