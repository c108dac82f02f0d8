//! One folder, one server.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Cause, Doing, StoreError};

/// Held as long as this lives. The operating system gives it up when the process ends, however it ends,
/// so a lock is never left behind; the file stays and means nothing by itself.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "held, not read")] Flock<File>);

const DOING: &str = "cannot lock the data folder with";

impl Lock {
    pub fn take(path: &Path) -> Result<Lock, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).doing(DOING, path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                let own = format!("{}\n", std::process::id());
                // Only for the message of another server, so the disk may be full here.
                let _ = lock
                    .set_len(0)
                    .and_then(|()| lock.rewind())
                    .and_then(|()| lock.write_all(own.as_bytes()));
                Ok(Lock(lock))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                Err(StoreError::new(DOING, path, Cause::Locked { pid }))
            }
            Err((_, errno)) => Err(StoreError::new(DOING, path, std::io::Error::from(errno))),
        }
    }
}
