//! A sandbox on this machine. All of this may wait for a disk: not for threads that serve.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use crate::accounts::Accounts;
use crate::walk::{Found, Root, kind, mode_text, open_plain, refused, shown};
use crate::{
    Ask, Chunks, ENTRIES_MAX, Entry, FilePath, LOGS, Listing, Piece, Refused, Source, Whole, rotate,
};

/// Bytes of a download that are in memory at a time.
const CHUNK_BYTES: u64 = 128 * 1024;

/// Where files are asked for, and how far links may lead.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    /// Paths begin here, below the root.
    base: Vec<OsString>,
    aliases: Vec<(PathBuf, Vec<OsString>)>,
}

impl Folder {
    /// `inside` is what a container sees in the place of the base: links that it makes lead there.
    pub fn new(root: PathBuf, base: &[&str], inside: Option<&Path>) -> Folder {
        let base: Vec<OsString> = base.iter().map(OsString::from).collect();
        let aliases = inside.map(|it| (it.to_owned(), base.clone())).into_iter().collect();
        Folder { root, base, aliases }
    }

    fn walk<'a>(&'a self, parts: impl DoubleEndedIterator<Item = &'a OsStr>) -> Result<Found, Refused> {
        let root = Root { path: &self.root, aliases: &self.aliases };
        root.walk(self.base.iter().map(OsString::as_os_str).chain(parts.collect::<Vec<_>>()))
    }

    /// A sandbox that is not there is another answer than a file that is not there.
    fn find(&self, path: &FilePath) -> Result<Found, Refused> {
        let found = self.walk(path.segments().map(OsStr::new));
        match found {
            Err(Refused::NoFile) if path.is_empty() || self.walk(std::iter::empty()).is_err() => {
                Err(Refused::NoSandbox)
            }
            other => other,
        }
    }

    fn file(&self, path: &FilePath) -> Result<(OwnedFd, OsString), Refused> {
        match self.find(path)? {
            Found::Folder(_) => Err(Refused::IsFolder),
            Found::Other { parent, name, .. } => Ok((parent, name)),
        }
    }

    pub fn list(&self, path: &FilePath) -> Result<Listing, Refused> {
        let Found::Folder(folder) = self.find(path)? else { return Err(Refused::NotFolder) };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = openat(&folder, ".", flags, Mode::empty()).map_err(refused)?;
        let mut names = Vec::new();
        let mut truncated = false;
        for entry in Dir::from_fd(open).map_err(refused)?.iter() {
            let entry = entry.map_err(refused)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if names.len() >= ENTRIES_MAX {
                truncated = true;
                break;
            }
            names.push(name.to_owned());
        }
        if truncated && path.is_empty() {
            let missing: Vec<OsString> =
                LOGS.iter().map(OsString::from).filter(|it| !names.contains(it)).collect();
            names.extend(missing);
        }
        names.sort_unstable();
        let accounts = Accounts::of_this_machine();
        // What has gone meanwhile is not there.
        let entries = names.iter().filter_map(|it| self.entry(&folder, path, it, &accounts)).collect();
        Ok(Listing { entries, truncated })
    }

    fn entry(&self, folder: &OwnedFd, path: &FilePath, name: &OsStr, accounts: &Accounts) -> Option<Entry> {
        let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let (mut directory, mut size) = (kind(&stat) == SFlag::S_IFDIR, size_of(&stat));
        let mut link = None;
        if kind(&stat) == SFlag::S_IFLNK {
            link = readlinkat(folder, name).ok().map(|it| shown(&it));
            match self.walk(path.segments().map(OsStr::new).chain([name])) {
                Ok(Found::Folder(_)) => directory = true,
                Ok(Found::Other { stat, .. }) => size = size_of(&stat),
                Err(_) => {}
            }
        }
        Some(Entry {
            name: shown(name),
            directory,
            size,
            mtime: stat.st_mtime,
            mode: mode_text(&stat),
            nlink: stat.st_nlink,
            uid: accounts.user(stat.st_uid),
            gid: accounts.group(stat.st_gid),
            link,
        })
    }

    pub fn read(&self, path: &FilePath, ask: &Ask) -> Result<Piece, Refused> {
        match self.file(path) {
            Ok((parent, name)) => rotate::read(&parent, &name, ask),
            // Perhaps it is just being rotated.
            Err(Refused::NoFile) if ask.file.is_some() => {
                let mut parts: Vec<&OsStr> = path.segments().map(OsStr::new).collect();
                let Some(name) = parts.pop() else { return Err(Refused::IsFolder) };
                match self.walk(parts.into_iter())? {
                    Found::Folder(parent) => rotate::read(&parent, name, ask),
                    Found::Other { .. } => Err(Refused::NoFile),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub fn open(&self, path: &FilePath) -> Result<Whole, Refused> {
        let (parent, name) = self.file(path)?;
        let file = open_plain(&parent, &name)?;
        let meta = file
            .metadata()
            .map_err(|error| Refused::Unavailable(format!("The file cannot be read now: {error}")))?;
        let (seconds, nanos) = (meta.mtime(), meta.mtime_nsec());
        Ok(Whole {
            size: meta.len(),
            modified: meta.modified().ok(),
            tag: Some(format!("{:x}-{:x}-{seconds:x}.{nanos:x}", meta.ino(), meta.len())),
            source: Box::new(OpenFile(Arc::new(file))),
        })
    }
}

fn size_of(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

struct OpenFile(Arc<File>);

impl Source for OpenFile {
    fn chunks(self: Box<Self>, range: Range<u64>) -> Chunks {
        Box::pin(futures_util::stream::try_unfold((self.0, range), |(file, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let length = (range.end - range.start).min(CHUNK_BYTES);
            let chunk = {
                let file = file.clone();
                tokio::task::spawn_blocking(move || read_some(&file, range.start, length))
            };
            let chunk = chunk.await.map_err(io::Error::other)??;
            let next = range.start + chunk.len() as u64;
            Ok(Some((chunk, (file, next..range.end))))
        }))
    }
}

fn read_some(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
    loop {
        match file.read_at(&mut data, at) {
            // It was as long as promised when it was opened.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                data.truncate(count);
                return Ok(data.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
