//! Becoming another binary without letting go of anything.
//!
//! A process that executes a new program stays the parent of its children, and descriptors that are not
//! closed on exec stay open. So an upgrade of the server reaches its keeper without any task noticing:
//! the old program writes down what the journal does not hold, lets its descriptors through, and becomes
//! the new one, which finds all that in one file.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};

use crate::journal::Slot;
use crate::keeper::Keeper;
use crate::serve::{is_program, raw};

/// What the next program has to know. Only ever extended, with defaults: the two may be versions apart.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// The process this was written by, which is the one to read it.
    pub pid: u32,
    pub lock: i32,
    pub listener: i32,
    pub connection: i32,
    /// The hello that caused it, still to be answered, and what came after it.
    pub hello: String,
    pub rest: Vec<u8>,
    pub streams: Vec<Streams>,
    pub open_files: Option<(u64, u64)>,
    pub oom_score: Option<String>,
}

/// The pipes of one task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Streams {
    pub slot: Slot,
    pub stdout: Option<i32>,
    pub stderr: Option<i32>,
    pub reports: Option<i32>,
    pub partial: Vec<u8>,
}

const NAME: &str = "keeper.handover";

/// Becomes `executable`. Returns only if that failed, with everything as it was.
pub fn replace(keeper: &mut Keeper, number: u64, hello: &[u8], build: &str, executable: &Path) -> io::Error {
    match try_replace(keeper, number, hello, build, executable) {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

fn try_replace(
    keeper: &mut Keeper,
    number: u64,
    hello: &[u8],
    build: &str,
    executable: &Path,
) -> io::Result<std::convert::Infallible> {
    if !is_program(executable) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such program"));
    }
    let program = CString::new(executable.as_os_str().as_bytes())?;
    let dir = CString::new(keeper.dir.as_os_str().as_bytes())?;
    let argv =
        [program.clone(), c"keeper".into(), c"--dir".into(), dir, c"--build".into(), CString::new(build)?];
    keeper.keep_journal();
    let path = keeper.dir.join(NAME);
    let handover = describe(keeper, number, hello)?;
    crate::start::write_private(&path, &serde_json::to_vec(&handover)?)?;
    let error = pass_descriptors(keeper, number, FdFlag::empty())
        .and_then(|()| nix::unistd::execv(&program, &argv).map_err(io::Error::from));
    let _ = pass_descriptors(keeper, number, FdFlag::FD_CLOEXEC);
    let _ = fs::remove_file(path);
    error
}

fn describe(keeper: &mut Keeper, number: u64, hello: &[u8]) -> io::Result<Handover> {
    let gone = || io::Error::from(io::ErrorKind::NotConnected);
    let connection = keeper.connections.get(&number).ok_or_else(gone)?;
    let mut streams = Vec::new();
    for (slot, task) in &mut keeper.tasks.by_slot {
        let Some(live) = task.live() else { continue };
        streams.push(Streams {
            slot: *slot,
            stdout: live.stdout.as_ref().map(|it| raw(&it.pipe)),
            stderr: live.stderr.as_ref().map(|it| raw(&it.pipe)),
            reports: live.reports.as_ref().map(|it| raw(&it.pipe)),
            partial: live.reports.as_ref().map_or_else(Vec::new, |it| it.partial.clone()),
        });
    }
    Ok(Handover {
        pid: std::process::id(),
        lock: raw(&keeper.lock),
        listener: raw(&keeper.listener),
        connection: raw(&connection.stream),
        hello: String::from_utf8_lossy(hello).into_owned(),
        rest: connection.rest().to_vec(),
        streams,
        open_files: keeper.inherited.open_files,
        oom_score: keeper.inherited.oom_score.as_ref().map(|it| it.to_string_lossy().into_owned()),
    })
}

fn pass_descriptors(keeper: &mut Keeper, number: u64, flag: FdFlag) -> io::Result<()> {
    let set = |fd: BorrowedFd<'_>| -> io::Result<()> {
        fcntl(fd, FcntlArg::F_SETFD(flag))?;
        Ok(())
    };
    set(keeper.lock.as_fd())?;
    set(keeper.listener.as_fd())?;
    if let Some(connection) = keeper.connections.get(&number) {
        set(connection.stream.as_fd())?;
    }
    for task in keeper.tasks.by_slot.values_mut() {
        let Some(live) = task.live() else { continue };
        for output in [&live.stdout, &live.stderr].into_iter().flatten() {
            set(output.pipe.as_fd())?;
        }
        if let Some(reports) = &live.reports {
            set(reports.pipe.as_fd())?;
        }
    }
    Ok(())
}

/// What a predecessor in this very process left.
pub fn take(dir: &Path) -> Option<Handover> {
    let path = dir.join(NAME);
    let bytes = fs::read(&path).ok()?;
    let _ = fs::remove_file(path);
    let handover: Handover = serde_json::from_slice(&bytes).ok()?;
    // One that another process left behind names descriptors that are not ours.
    (handover.pid == std::process::id()).then_some(handover)
}

/// Descriptors taken over, by what they are.
pub fn descriptor(fd: i32) -> io::Result<OwnedFd> {
    marathon_posix::take_fd(fd)
}

pub fn lock_file(fd: i32) -> io::Result<File> {
    descriptor(fd).map(File::from)
}
