//! The socket in the data folder, however long the folder's path is.
//!
//! Addresses of Unix sockets hold 108 bytes, paths 4096. Both sides therefore go through their own open
//! descriptor of the folder, whose path in /proc is always short.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};

pub const NAME: &str = "keeper.sock";

fn short(folder: &File) -> PathBuf {
    format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()).into()
}

pub fn connect(dir: &Path) -> io::Result<UnixStream> {
    let folder = File::open(dir)?;
    UnixStream::connect(short(&folder))
}

/// Only for the one who holds the folder's lock: what a dead keeper left is replaced.
pub fn listen(dir: &Path) -> io::Result<UnixListener> {
    let folder = File::open(dir)?;
    match std::fs::remove_file(dir.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(short(&folder));
    umask(before);
    listener
}
