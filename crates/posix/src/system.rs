//! Single system calls with a safe face.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;

/// Milliseconds since boot, counting time asleep: deadlines that go on through a suspend.
pub fn boottime_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec into a local; this clock exists on every kernel since 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    secs.saturating_mul(1000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// Makes the process of a command live in an open network namespace (`/proc/<pid>/ns/net`), as this user and
/// group. Both in one: who has become another user may not change the network any more, and `Command` changes
/// the user first.
pub fn in_network(command: &mut Command, network: OwnedFd, user: Option<(u32, u32)>) {
    let enter = move || {
        // SAFETY: system calls on plain numbers and on a descriptor that lives as long as the command. The raw
        // calls change this thread only, which after the fork is the whole process.
        let done = unsafe {
            libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) == 0
                && user.is_none_or(|(uid, gid)| {
                    libc::syscall(libc::SYS_setgroups, 0usize, std::ptr::null::<u32>()) == 0
                        && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
                        && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
                })
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec nothing happens but the system calls above; `last_os_error` reads errno.
    unsafe { command.pre_exec(enter) };
}

/// A handle on a running process that a later process with the same number cannot take over.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: a call on plain numbers; a non-negative result is a new descriptor of ours (close-on-exec).
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if fd < 0 { Err(Errno::last()) } else { Ok(OwnedFd::from_raw_fd(fd as RawFd)) }
    }
}

pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: a borrowed descriptor and plain numbers; no siginfo is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if done == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// First version of the kernel's `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(0xFF, 11, struct pidfd_info)` for the 64 bytes above.
const PIDFD_GET_INFO: u64 = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The wait status of an ended and reaped process that was not our child, where the kernel keeps it
/// (Linux 6.15 and later). `Ok(None)`: nobody has reaped it yet. An error: it will never be known.
pub fn pidfd_exit(pidfd: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    const { assert!(size_of::<PidfdInfo>() == 64) };
    // SAFETY: the request number carries the size of the struct it is given, so the kernel writes no more.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if done != 0 {
        return Err(Errno::last());
    }
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// A child that has ended and waits to be reaped; its number stays taken until then.
pub fn ended_child() -> Option<i32> {
    // SAFETY: an all-zero siginfo is valid; the call fills it, or leaves it zero when no child has ended.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let done = libc::waitid(libc::P_ALL, 0, &mut info, flags);
        (done == 0 && info.si_pid() > 0).then(|| info.si_pid())
    }
}

/// Reaps an ended child and gives its wait status. Real-time signals are beyond what the safe wrappers
/// can name, so the number stays raw.
pub fn reap(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: writes one integer into a local.
    let done = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) };
    (done == pid).then_some(status)
}

/// What a wait status says: the exit code, or the signal that ended the process.
pub fn status_parts(status: i32) -> Result<i32, i32> {
    if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) }
}

/// Takes over a descriptor that a predecessor left open across exec, and closes it on the next one.
/// Only numbers of open descriptors above the standard three are taken.
pub fn take_fd(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the first call fails for a number that is not open. The caller names each number once,
    // right after exec, when nothing else in this process owns any descriptor above 2.
    unsafe {
        if libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from(File::from_raw_fd(fd)))
    }
}
