//! Files of tasks: what can be asked for, whoever has them.
//!
//! ```text
//! http ─► Files ─┬─ embedded engine: Folder, a sandbox on this machine
//!                └─ Mesos: the agent of the task
//! ```
//! A sandbox belongs to its task, which may be hostile: `folder` is where it is read, and `path` what may be asked.

mod accounts;
mod folder;
mod path;
mod rotate;
mod walk;

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use marathon_model::id::{AgentId, TaskId};

pub use folder::Folder;
pub use path::{FilePath, PathError};

/// As many bytes as one piece has at most; a Mesos agent has the same bound.
pub const PIECE_BYTES_MAX: u64 = 64 * 1024;
/// As many entries of a folder are listed at most.
pub const ENTRIES_MAX: usize = 5000;
/// Listed in any case: they are what people look for.
pub const LOGS: [&str; 2] = ["stdout", "stderr"];

pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Refused>> + Send>>;
pub type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Who has the files.
pub trait Files: Send + Sync {
    fn list(&self, of: &Target, path: &FilePath) -> Answer<Listing>;
    fn read(&self, of: &Target, path: &FilePath, ask: &Ask) -> Answer<Piece>;
    fn open(&self, of: &Target, path: &FilePath) -> Answer<Whole>;
    /// How often to read on behalf of somebody who waits for more.
    fn look(&self) -> Duration {
        Duration::from_millis(200)
    }
}

/// A task, a container of a pod, or (without a container) a pod as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub task: TaskId,
    /// Of a pod, so that a task without a container has others below it.
    pub pod: bool,
    /// Where it runs or ran, as far as is known.
    pub agent: Option<AgentId>,
    pub host: Option<Arc<str>>,
}

/// Which piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// `None`: only how long the file is.
    pub offset: Option<u64>,
    /// Never more than `PIECE_BYTES_MAX` are given.
    pub length: u64,
    /// The file that was read before, wherever it has moved.
    pub file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub data: Bytes,
    pub offset: u64,
    pub size: u64,
    /// Names the file whatever it is called, where there is such a thing.
    pub file: Option<String>,
    /// This is another file than the one asked for, or it began again.
    pub restarted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// By name.
    pub entries: Vec<Entry>,
    /// There are more.
    pub truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub directory: bool,
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// As `ls -l` writes it.
    pub mode: String,
    pub nlink: u64,
    /// Names of the accounts, or their numbers.
    pub uid: String,
    pub gid: String,
    /// Where a link leads, as it is written.
    pub link: Option<String>,
}

/// An open file.
pub struct Whole {
    pub size: u64,
    pub modified: Option<SystemTime>,
    /// Changes with the content.
    pub tag: Option<String>,
    pub source: Box<dyn Source>,
}

pub trait Source: Send {
    /// Fewer bytes than asked for end in an error.
    fn chunks(self: Box<Self>, range: Range<u64>) -> Chunks;
}

/// Why nothing is shown. Whoever tells it knows the task and the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no such sandbox")]
    NoSandbox,
    #[error("no such file")]
    NoFile,
    #[error("leads out of the sandbox")]
    LeadsOut,
    #[error("may not be read: {0}")]
    Denied(String),
    #[error("is a directory")]
    IsFolder,
    #[error("is no directory")]
    NotFolder,
    /// A pipe, a device: its kind.
    #[error("is {0}")]
    Special(&'static str),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    TooSlow(String),
}
