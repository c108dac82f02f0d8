//! The data folder: names of files, and changes of the folder itself that survive a crash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Doing, StoreError};
use crate::frame::{self, FileKind};

#[derive(Debug, Clone)]
pub struct Folder {
    pub path: PathBuf,
    pub sync: bool,
}

impl Folder {
    /// Definitions may hold what others should not read, so the folder is its owner's alone.
    pub fn make(path: &Path, sync: bool) -> Result<Folder, StoreError> {
        let doing = "cannot make the data folder";
        let folder = Folder { path: path.to_owned(), sync };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).doing(doing, path)?;
            if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
                sync_folder(parent, sync).doing(doing, path)?;
            }
        }
        Ok(folder)
    }

    pub fn file(&self, kind: FileKind, first: u64) -> PathBuf {
        let name = match kind {
            FileKind::Log => "log",
            FileKind::Snapshot => "snapshot",
        };
        self.path.join(format!("{name}-{first:020}"))
    }

    /// All logs and snapshots by their first sequence number, in ascending order, and unfinished files.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let doing = "cannot read the data folder";
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path).doing(doing, &self.path)? {
            let name = entry.doing(doing, &self.path)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(UNFINISHED) {
                listing.unfinished.push(self.path.join(name));
            } else if let Some(first) = number(name, "log-") {
                listing.logs.push(first);
            } else if let Some(first) = number(name, "snapshot-") {
                listing.snapshots.push(first);
            }
        }
        listing.logs.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }

    /// A new log with its header, under its name only once it is whole.
    pub fn create_log(&self, first: u64) -> Result<File, StoreError> {
        let doing = "cannot begin the log";
        let path = self.file(FileKind::Log, first);
        let unfinished = unfinished(&path);
        let file = create(&unfinished).doing(doing, &unfinished)?;
        file.write_all_at(&frame::header(FileKind::Log, first), 0).doing(doing, &unfinished)?;
        self.sync_data(&file).doing(doing, &unfinished)?;
        fs::rename(&unfinished, &path).doing(doing, &path)?;
        sync_folder(&self.path, self.sync).doing(doing, &path)?;
        Ok(file)
    }

    /// Gives a finished file its name, for good.
    pub fn publish(&self, unfinished: &Path, path: &Path) -> io::Result<()> {
        fs::rename(unfinished, path)?;
        sync_folder(&self.path, self.sync)
    }

    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        if self.sync { file.sync_data() } else { Ok(()) }
    }

    pub fn sync(&self) -> io::Result<()> {
        sync_folder(&self.path, self.sync)
    }
}

#[derive(Debug, Default)]
pub struct Listing {
    pub logs: Vec<u64>,
    pub snapshots: Vec<u64>,
    pub unfinished: Vec<PathBuf>,
}

const UNFINISHED: &str = ".unfinished";

pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn number(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

fn sync_folder(path: &Path, sync: bool) -> io::Result<()> {
    if sync { File::open(path)?.sync_all() } else { Ok(()) }
}
