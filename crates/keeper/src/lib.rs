//! Watches the processes of the embedded engine and outlives the server.
//!
//! One small process per data folder starts all tasks, keeps their output, and knows how they ended. It is
//! the same binary as the server, started by it, and owned by nobody: the server may crash, be stopped or
//! be replaced, and the next one finds its tasks as they are. The keeper itself may die, too: tasks go on,
//! and a new keeper finds them by its journal.
//!
//! ```text
//! server ═ socket ═ keeper ─┬─ task ─ its processes
//!                      │    └─ task ─ …
//!                      ├─ keeper.journal     what a successor must know
//!                      └─ stdout, stderr     of each task, bounded
//! ```
//! `protocol` is what the two say to each other, `Client` the server's side of it, `main` the process.

mod cgroup;
mod client;
mod connection;
mod end;
mod handover;
mod journal;
#[allow(clippy::module_inception)]
mod keeper;
mod launch;
mod logs;
mod procfs;
pub mod protocol;
mod recover;
mod serve;
mod socket;
mod start;
mod task;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub use client::{Client, Events, KeeperError};
pub use start::main;

/// Milliseconds since 1970.
fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX))
}

/// Bytes of notes one keeper writes in its life. They go to a file that nobody rotates.
const NOTES_MAX: usize = 256 * 1024;
static NOTED: AtomicUsize = AtomicUsize::new(0);

fn write_note(text: &str) {
    let before = NOTED.fetch_add(text.len() + 16, Ordering::Relaxed);
    if before < NOTES_MAX {
        // Whoever reads the file later wants to know when; there is no other reader to tell of an error.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{} {text}\n", wall_ms()));
    }
}

/// Writes a line to the keeper's log.
macro_rules! note {
    ($($arg:tt)*) => { $crate::write_note(&format!($($arg)*)) };
}
use note;
