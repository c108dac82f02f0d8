use std::io;
use std::path::{Path, PathBuf};

/// What was attempted, where, and what became of it. The cause is the `source`.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`", path.display())]
pub struct StoreError {
    pub doing: &'static str,
    pub path: PathBuf,
    pub fate: Fate,
    #[source]
    pub cause: Cause,
}

/// What became of a commit that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it is stored, now or later; the store goes on.
    NotApplied,
    /// It may turn up when the store is opened again. Until then the store takes nothing.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
pub enum Cause {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the data folder is in use by another server ({}): stop that one first, or give this one another --data_dir", holder(*pid))]
    Locked { pid: Option<u32> },
    #[error(
        "damaged at byte {offset}: {what}. Nothing was changed. Keep a copy of the folder, then restore it from a \
         backup, or start with an empty --data_dir (tasks that still run are then unknown to it)"
    )]
    Damaged { offset: u64, what: String },
    #[error(
        "the file has format {found}, and this release knows formats up to {known}: start the newer release again"
    )]
    Newer { found: u32, known: u32 },
    #[error("a commit of {bytes} bytes is larger than the {limit} a record can hold")]
    TooLarge { bytes: usize, limit: usize },
    #[error(transparent)]
    ZooKeeper(#[from] marathon_zookeeper::Error),
    #[error("another instance leads now, so nothing of ours is stored any more")]
    Fenced,
    #[error(
        "the path holds the state of the original Marathon, which this one does not read and never changes. Choose \
         another path for --zk; to take the definitions along, save those of the original with `curl \
         http://original:8080/v2/groups > groups.json` while it runs, stop it, and load them here with `curl -X PUT -H \
         'Content-Type: application/json' http://new:8080/v2/groups -d @groups.json` (tasks start anew)"
    )]
    Original,
    #[error(
        "it has layout {found}, and this release knows layouts up to {known}: start the newer release again"
    )]
    NewerLayout { found: u32, known: u32 },
    #[error(
        "{0}. Nothing was changed. Restore the state from a backup, or choose another path for --zk (tasks that \
         still run are then unknown to it)"
    )]
    DamagedNode(String),
    #[error("an earlier failure left the end of the log in doubt: open the store again")]
    InDoubt,
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "its pid is not known".to_owned(), |pid| format!("pid {pid}"))
}

/// Attaches what was attempted to a bare error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T, E: Into<Cause>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|cause| StoreError::new(doing, path, cause))
    }
}

impl StoreError {
    pub(crate) fn new(doing: &'static str, path: &Path, cause: impl Into<Cause>) -> StoreError {
        StoreError { doing, path: path.to_owned(), fate: Fate::NotApplied, cause: cause.into() }
    }

    pub(crate) fn of_fate(self, fate: Fate) -> StoreError {
        StoreError { fate, ..self }
    }
}
