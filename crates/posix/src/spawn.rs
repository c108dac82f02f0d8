//! Starting a process as fast as `posix_spawn` does, with the steps it lacks.
//!
//! The child shares the parent's memory until it executes its program (`CLONE_VM | CLONE_VFORK`): no page
//! table is copied, and the parent, which is suspended meanwhile, reads the child's error from memory
//! instead of a pipe. The price is that the child may do nothing but system calls on memory prepared
//! beforehand: no allocation, no lock, no panic, no library state.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// Everything about one process to start. Nothing of the parent reaches it but what is named here.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Paths to try in order, as `execvp` does: a missing one gives way to the next.
    pub programs: &'a [CString],
    pub argv: &'a [CString],
    pub env: &'a [CString],
    pub cwd: &'a CStr,
    /// Becomes descriptors 0, 1 and 2.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Becomes descriptor 3.
    pub extra: Option<BorrowedFd<'a>>,
    /// An open network namespace (`/proc/<pid>/ns/net`) in which the process lives.
    pub network: Option<BorrowedFd<'a>>,
    /// Open `cgroup.procs` files the process enters before it executes anything.
    pub cgroups: &'a [BorrowedFd<'a>],
    pub identity: Option<Identity<'a>>,
    /// Soft and hard limit of open files, where they shall differ from the parent's.
    pub open_files: Option<(u64, u64)>,
    /// Value for `oom_score_adj`, where it shall differ from the parent's.
    pub oom_score: Option<&'a CStr>,
}

#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    pub uid: u32,
    pub gid: u32,
    pub groups: &'a [u32],
}

/// The step of a start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Stage {
    Clone = 1,
    Session,
    Cgroup,
    Descriptors,
    Network,
    Cwd,
    Identity,
    Execute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpawnError {
    pub stage: Stage,
    pub errno: Errno,
}

impl std::fmt::Display for SpawnError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "starting a process failed at {:?}", self.stage)
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

const STACK: usize = 64 * 1024;
const GUARD: usize = 4096;

/// Starts processes, one at a time, each on the same borrowed stack.
#[derive(Debug)]
pub struct Spawner {
    stack: *mut c_void,
}

/// What the child sees: raw pointers into the parent's memory, and room for its error.
struct Shared {
    programs: *const *const c_char,
    argv: *const *const c_char,
    env: *const *const c_char,
    cwd: *const c_char,
    stdio: [RawFd; 3],
    extra: RawFd,
    network: RawFd,
    cgroups: *const RawFd,
    cgroup_count: usize,
    identity: *const Raw,
    open_files: *const libc::rlimit,
    oom_score: *const c_char,
    stage: i32,
    errno: i32,
}

struct Raw {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: *const u32,
    group_count: usize,
}

impl Spawner {
    pub fn new() -> io::Result<Spawner> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a fresh anonymous mapping touches no existing memory.
        let stack =
            unsafe { libc::mmap(ptr::null_mut(), STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if stack == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let spawner = Spawner { stack };
        // SAFETY: the lowest page of the mapping just made becomes a guard against overflow.
        if unsafe { libc::mprotect(stack, GUARD, libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(spawner)
    }

    /// Starts the process in a session of its own, with default signal dispositions, no signal blocked,
    /// umask 022 and no descriptor above 3; returns once the program runs or has failed to.
    pub fn start(&mut self, setup: &Setup<'_>) -> Result<i32, SpawnError> {
        let programs = pointers(setup.programs);
        let argv = pointers(setup.argv);
        let env = pointers(setup.env);
        // Descriptors below 4 could be overwritten by the child's own dup2 calls, so they move up first.
        let mut moved = Vec::new();
        let mut high = |fd: BorrowedFd<'_>| above_targets(fd, &mut moved);
        let stdio = [high(setup.stdio[0])?, high(setup.stdio[1])?, high(setup.stdio[2])?];
        let extra = setup.extra.map(&mut high).transpose()?.unwrap_or(-1);
        let network = setup.network.map(&mut high).transpose()?.unwrap_or(-1);
        let cgroups: Vec<RawFd> = setup.cgroups.iter().map(|fd| high(*fd)).collect::<Result<_, _>>()?;
        let identity = setup.identity.map(|it| Raw {
            uid: it.uid,
            gid: it.gid,
            groups: it.groups.as_ptr(),
            group_count: it.groups.len(),
        });
        let open_files = setup.open_files.map(|(soft, hard)| libc::rlimit { rlim_cur: soft, rlim_max: hard });
        let mut shared = Shared {
            programs: programs.as_ptr(),
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            cwd: setup.cwd.as_ptr(),
            stdio,
            extra,
            network,
            cgroups: cgroups.as_ptr(),
            cgroup_count: cgroups.len(),
            identity: identity.as_ref().map_or(ptr::null(), ptr::from_ref),
            open_files: open_files.as_ref().map_or(ptr::null(), ptr::from_ref),
            oom_score: setup.oom_score.map_or(ptr::null(), CStr::as_ptr),
            stage: 0,
            errno: 0,
        };
        self.run(&mut shared)
    }

    fn run(&mut self, shared: &mut Shared) -> Result<i32, SpawnError> {
        // SAFETY: the signal sets are plain data, filled before they are read. All signals stay blocked
        // while the child lives in this memory, so none of the parent's handlers can run in it. The child
        // gets the top of a private stack that nothing else uses (`&mut self`), and CLONE_VFORK suspends
        // this thread until the child has executed or exited, so `shared` and all it points to outlive
        // the child's use of them and are never touched by both at once.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, &mut before);
            let top = self.stack.byte_add(STACK);
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            let pid = libc::clone(child, top, flags, ptr::from_mut(shared).cast());
            let clone_error = Errno::last();
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            if pid < 0 {
                return Err(SpawnError { stage: Stage::Clone, errno: clone_error });
            }
            // The child wrote through a pointer the compiler cannot follow.
            let stage = ptr::read_volatile(&shared.stage);
            let errno = ptr::read_volatile(&shared.errno);
            if stage == 0 {
                return Ok(pid);
            }
            while libc::waitpid(pid, ptr::null_mut(), 0) < 0 && Errno::last() == Errno::EINTR {}
            Err(SpawnError { stage: stage_of(stage), errno: Errno::from_raw(errno) })
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and no child uses it once `start` has returned.
        unsafe { libc::munmap(self.stack, STACK) };
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|it| it.as_ptr()).chain([ptr::null()]).collect()
}

fn above_targets(fd: BorrowedFd<'_>, moved: &mut Vec<OwnedFd>) -> Result<RawFd, SpawnError> {
    if fd.as_raw_fd() > 3 {
        return Ok(fd.as_raw_fd());
    }
    // SAFETY: duplicates a valid borrowed descriptor; the result is new and owned by nobody else.
    let copy = unsafe {
        let copy = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 4);
        if copy < 0 {
            return Err(SpawnError { stage: Stage::Descriptors, errno: Errno::last() });
        }
        OwnedFd::from_raw_fd(copy)
    };
    let raw = copy.as_raw_fd();
    moved.push(copy);
    Ok(raw)
}

fn stage_of(raw: i32) -> Stage {
    let all = [
        Stage::Session,
        Stage::Cgroup,
        Stage::Descriptors,
        Stage::Network,
        Stage::Cwd,
        Stage::Identity,
        Stage::Execute,
    ];
    all.into_iter().find(|it| *it as i32 == raw).unwrap_or(Stage::Clone)
}

/// Runs in the parent's memory. Never returns to it: either the program replaces it, or it exits.
extern "C" fn child(shared: *mut c_void) -> c_int {
    let shared: *mut Shared = shared.cast();
    // SAFETY: `shared` points to the suspended parent's live `Shared` (see `Spawner::run`), whose arrays
    // are null-terminated or counted. Only system calls that are safe after fork are made; those whose
    // library versions act on all threads (setuid and kin) are made raw. _exit runs no destructor.
    unsafe {
        let stage = steps(&*shared);
        let errno = *errno_place();
        ptr::write_volatile(&raw mut (*shared).errno, errno);
        ptr::write_volatile(&raw mut (*shared).stage, stage as i32);
        libc::_exit(127)
    }
}

/// Does everything up to the program; comes back only with the step that failed, its cause in `errno`.
unsafe fn steps(it: &Shared) -> Stage {
    // SAFETY: as in `child`, the only caller.
    unsafe {
        if libc::setsid() < 0 {
            return Stage::Session;
        }
        for i in 0..it.cgroup_count {
            if libc::write(*it.cgroups.add(i), c"0".as_ptr().cast(), 1) < 0 {
                return Stage::Cgroup;
            }
        }
        if !it.oom_score.is_null() {
            set_oom_score(it.oom_score);
        }
        // Only this child moves: it shares the parent's memory, not its namespaces.
        if it.network >= 0 && libc::setns(it.network, libc::CLONE_NEWNET) < 0 {
            return Stage::Network;
        }
        let [stdin, stdout, stderr] = it.stdio;
        if libc::dup2(stdin, 0) < 0 || libc::dup2(stdout, 1) < 0 || libc::dup2(stderr, 2) < 0 {
            return Stage::Descriptors;
        }
        if it.extra >= 0 && libc::dup2(it.extra, 3) < 0 {
            return Stage::Descriptors;
        }
        // All of the parent's descriptors close on exec; this also covers any a library forgot. Kernels
        // without the call are left with the flag alone.
        let first: c_long = if it.extra >= 0 { 4 } else { 3 };
        libc::syscall(
            libc::SYS_close_range,
            first,
            c_long::from(u32::MAX),
            c_long::from(libc::CLOSE_RANGE_CLOEXEC),
        );
        if !it.open_files.is_null() {
            libc::setrlimit(libc::RLIMIT_NOFILE, it.open_files);
        }
        libc::umask(0o022);
        // Before the change of identity: the path to the sandbox need not be open to the user.
        if libc::chdir(it.cwd) < 0 {
            return Stage::Cwd;
        }
        if !it.identity.is_null() && !become_user(&*it.identity) {
            return Stage::Identity;
        }
        reset_signals();
        execute(it)
    }
}

unsafe fn set_oom_score(value: *const c_char) {
    // SAFETY: a constant path and a terminated string; failing is harmless, so errors are ignored.
    unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, value.cast(), libc::strlen(value));
            libc::close(fd);
        }
    }
}

unsafe fn become_user(it: &Raw) -> bool {
    // SAFETY: raw calls on counted memory; they change this thread only, which is the whole child.
    unsafe {
        let gid = c_long::from(it.gid);
        let uid = c_long::from(it.uid);
        libc::syscall(libc::SYS_setgroups, it.group_count, it.groups) == 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
    }
}

unsafe fn reset_signals() {
    // Raw calls: the library's own refuse the numbers it keeps for itself, yet one of those can arrive
    // ignored from whoever started the keeper, and would stay so for every task.
    // SAFETY: an all-zero kernel sigaction (at most 64 bytes) is the default disposition, an all-zero
    // mask the empty one. Dispositions belong to the child alone (no CLONE_SIGHAND); numbers the kernel
    // refuses are skipped. The mask opens last, when no handler of the parent is left.
    unsafe {
        let zero = [0u64; 8];
        for signal in 1..=64 as c_long {
            libc::syscall(libc::SYS_rt_sigaction, signal, zero.as_ptr(), ptr::null::<u64>(), 8usize);
        }
        let (how, none) = (c_long::from(libc::SIG_SETMASK), zero.as_ptr());
        libc::syscall(libc::SYS_rt_sigprocmask, how, none, ptr::null::<u64>(), 8usize);
    }
}

/// Tries each candidate; "not allowed" is remembered over "not there", as `execvp` does.
unsafe fn execute(it: &Shared) -> Stage {
    // SAFETY: all arrays are null-terminated and their strings live in the suspended parent.
    unsafe {
        let mut denied = false;
        let mut next = it.programs;
        while !(*next).is_null() {
            libc::execve(*next, it.argv, it.env);
            match *errno_place() {
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG => {}
                libc::EACCES => denied = true,
                _ => return Stage::Execute,
            }
            next = next.add(1);
        }
        *errno_place() = if denied { libc::EACCES } else { libc::ENOENT };
        Stage::Execute
    }
}

unsafe fn errno_place() -> *mut c_int {
    // SAFETY: always valid for the calling thread; the child uses its suspended parent's.
    unsafe { libc::__errno_location() }
}
