//! A file that is read while it grows, and moves on when it is full.
//!
//! ```text
//! stdout ─► stdout.1 ─► stdout.2 ─► gone      each time `stdout` is full
//! ```
//! Who reads says which file he was reading, and finds it wherever it has moved.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::SystemTime;

use bytes::Bytes;

use crate::walk::open_plain;
use crate::{Ask, PIECE_BYTES_MAX, Piece, Refused};

/// Older files than this are not looked for.
const NUMBERS_MAX: u32 = 1000;

/// One file, and how to know it again. Numbers of files are used again at once, times are not.
struct Known {
    file: File,
    id: String,
    size: u64,
}

fn unreadable(error: &io::Error) -> Refused {
    Refused::Unavailable(format!("The file cannot be read now: {error}"))
}

impl Known {
    fn open(parent: &OwnedFd, name: &OsStr) -> Result<Known, Refused> {
        let file = open_plain(parent, name)?;
        let meta = file.metadata().map_err(|error| unreadable(&error))?;
        // Where the file system does not know, the number alone must do.
        let born = meta.created().ok().and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        let id = format!("{:x}-{:x}", meta.ino(), born.unwrap_or_default().as_nanos());
        Ok(Known { file, id, size: meta.len() })
    }

    fn piece(self, offset: u64, length: u64, restarted: bool) -> Result<Piece, Refused> {
        let left = self.size.saturating_sub(offset);
        let mut data = vec![0; usize::try_from(left.min(length).min(PIECE_BYTES_MAX)).unwrap_or(0)];
        let mut filled = 0;
        while filled < data.len() {
            match self.file.read_at(&mut data[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
        data.truncate(filled);
        Ok(Piece { data: Bytes::from(data), offset, size: self.size, file: Some(self.id), restarted })
    }
}

pub fn read(parent: &OwnedFd, name: &OsStr, ask: &Ask) -> Result<Piece, Refused> {
    let current = Known::open(parent, name);
    let Some(offset) = ask.offset else {
        let current = current?;
        let end = current.size;
        return current.piece(end, 0, false);
    };
    match (&ask.file, current) {
        (None, current) => current?.piece(offset, ask.length, false),
        (Some(id), Ok(current)) if *id == current.id => match offset <= current.size {
            true => current.piece(offset, ask.length, false),
            // Its content was thrown away, and it is written anew.
            false => current.piece(0, ask.length, true),
        },
        // There is a moment without the file while it is rotated.
        (Some(_), Err(error)) if error != Refused::NoFile => Err(error),
        (Some(id), current) => older(parent, name, id, offset, ask.length, current),
    }
}

fn older(
    parent: &OwnedFd,
    name: &OsStr,
    id: &str,
    offset: u64,
    length: u64,
    current: Result<Known, Refused>,
) -> Result<Piece, Refused> {
    // The next newer one, seen from the one that is looked at.
    let mut newer = current;
    for number in 1..=NUMBERS_MAX {
        match Known::open(parent, &numbered(name, number)) {
            Ok(it) if it.id == id && offset < it.size => return it.piece(offset, length, false),
            Ok(it) if it.id == id => break,
            Ok(it) => newer = Ok(it),
            // Not a log, and no way to one.
            Err(_) => break,
        }
    }
    newer?.piece(0, length, true)
}

fn numbered(name: &OsStr, number: u32) -> OsString {
    let mut name = name.to_owned();
    name.push(format!(".{number}"));
    name
}
