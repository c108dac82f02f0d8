//! From a command line to a running keeper.
//!
//! ```text
//! server ── keeper --detach ── keeper          the first step exits at once, so that the keeper is
//!              (exits)          (stays)        nobody's child and no terminal or session reaches it
//! ```

use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use marathon_posix::{Setup, Spawner, boottime_ms};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::cgroup::{Base, short_hash};
use crate::connection::Connection;
use crate::handover::{self, Handover};
use crate::journal::Journal;
use crate::keeper::{Inherited, Keeper, Source, Stopping, token};
use crate::protocol::{Lifetime, Request};
use crate::task::Tasks;
use crate::{note, procfs, socket};

/// What the parent of a detached keeper reads once the socket is there.
pub const READY: &str = "ready";
/// What it reads when another keeper has the folder.
pub const TAKEN: &str = "taken";
/// Bad command line, as everywhere else.
const EXIT_USAGE: i32 = 2;
const EXIT_FAILED: i32 = 1;
/// Descriptors the keeper may need: up to six per task, and what it passes on is the old limit.
const OPEN_FILES: u64 = 1 << 19;
/// The keeper is small and everything depends on it, so the kernel shall look elsewhere for memory.
const OOM_SCORE: &str = "-900";
const LOG_MAX: u64 = 256 * 1024;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    dir: PathBuf,
    build: String,
    detach: bool,
    ready: Option<i32>,
}

pub const USAGE: &str = "usage: marathon keeper --dir DIR [--build BUILD] [--detach]";

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--dir" => options.dir = value()?.into(),
            "--build" => options.build = value()?.clone(),
            "--ready" => {
                options.ready = Some(value()?.parse().map_err(|_| "--ready needs a number".to_owned())?)
            }
            "--detach" => options.detach = true,
            _ => return Err(format!("unknown argument `{arg}`")),
        }
    }
    if options.dir.as_os_str().is_empty() { Err("--dir is missing".to_owned()) } else { Ok(options) }
}

/// Runs a keeper until it is no longer needed; `args` is what follows `keeper` on the command line.
/// Gives the exit code.
pub fn main(args: &[String]) -> i32 {
    let options = match parse(args) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return EXIT_USAGE;
        }
    };
    let done = if options.detach { detach(&options) } else { run(&options) };
    match done {
        Ok(()) => 0,
        Err(error) => {
            note!("the keeper of {} cannot go on: {error}", options.dir.display());
            EXIT_FAILED
        }
    }
}

/// Makes the folder, if need be, and gives its one true name.
pub fn prepare_dir(dir: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::canonicalize(dir)
}

fn detach(options: &Options) -> io::Result<()> {
    let dir = prepare_dir(&options.dir)?;
    let log = open_log(&dir).or_else(|_| OpenOptions::new().write(true).open("/dev/null"))?;
    let null = File::open("/dev/null")?;
    let executable = c_string(std::env::current_exe()?.as_os_str().to_owned())?;
    let mut argv: Vec<CString> = vec![executable.clone(), c"keeper".into(), c"--dir".into()];
    argv.push(c_string(dir.into_os_string())?);
    argv.extend([c"--build".into(), c_string(options.build.clone().into())?, c"--ready".into(), c"3".into()]);
    let env: Vec<CString> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            c_string(name)
        })
        .collect::<io::Result<_>>()?;
    let stdout = io::stdout();
    let started = Spawner::new()?.start(&Setup {
        programs: &[executable],
        argv: &argv,
        env: &env,
        cwd: c"/",
        stdio: [null.as_fd(), log.as_fd(), log.as_fd()],
        extra: Some(stdout.as_fd()),
        network: None,
        cgroups: &[],
        identity: None,
        open_files: None,
        oom_score: None,
    });
    started.map(drop).map_err(io::Error::other)
}

fn c_string(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn open_log(dir: &Path) -> io::Result<File> {
    let path = dir.join("keeper.log");
    let full = fs::metadata(&path).is_ok_and(|it| it.len() > LOG_MAX);
    if full {
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn run(options: &Options) -> io::Result<()> {
    let dir = prepare_dir(&options.dir)?;
    match handover::take(&dir) {
        Some(handover) => resume(dir, options, handover),
        None => begin(dir, options),
    }
}

fn begin(dir: PathBuf, options: &Options) -> io::Result<()> {
    let ready = options.ready.map(marathon_posix::take_fd).transpose()?;
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("keeper.lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return answer(ready, TAKEN),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let listener = socket::listen(&dir)?;
    let inherited = Inherited { open_files: raise_open_files(), oom_score: lower_oom_score() };
    let mut keeper = assemble(dir, options, lock, listener, inherited)?;
    let (journal, story) = Journal::open(&keeper.dir)?;
    keeper.journal = journal;
    keeper.lifetime = story.lifetime.unwrap_or(keeper.lifetime);
    keeper.recover(story, Vec::new());
    settle_in(&mut keeper);
    answer(ready, READY)?;
    keeper.run()
}

/// Goes on where another program in this process stopped.
fn resume(dir: PathBuf, options: &Options, handover: Handover) -> io::Result<()> {
    let lock = handover::lock_file(handover.lock)?;
    let listener = UnixListener::from(handover::descriptor(handover.listener)?);
    let stream = UnixStream::from(handover::descriptor(handover.connection)?);
    let oom_score = handover.oom_score.and_then(|it| CString::new(it).ok());
    let inherited = Inherited { open_files: handover.open_files, oom_score };
    let mut keeper = assemble(dir, options, lock, listener, inherited)?;
    let (journal, story) = Journal::open(&keeper.dir)?;
    keeper.journal = journal;
    keeper.recover(story, handover.streams);
    settle_in(&mut keeper);
    stream.set_nonblocking(true)?;
    let connection = keeper.add_connection(Connection::new(stream, handover.rest));
    if let (Some(number), Ok(Request::Hello { lifetime, .. })) =
        (connection, serde_json::from_str(&handover.hello))
    {
        keeper.welcome(number, lifetime);
    }
    keeper.run()
}

fn assemble(
    dir: PathBuf,
    options: &Options,
    lock: File,
    listener: UnixListener,
    inherited: Inherited,
) -> io::Result<Keeper> {
    umask(Mode::from_bits_truncate(0o022));
    // Orphans of tasks come to the keeper, which knows whose they are. Where that is refused, trees are
    // found through /proc alone.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let signals = take_signals()?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, token(Source::Signals, 0)))?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, token(Source::Listener, 0)))?;
    let base = Base::detect(&dir);
    if let Base::None { why } = &base {
        note!("limits of tasks are not enforced: {why}");
    }
    Ok(Keeper {
        pipes: pipes_dir(&dir)?,
        journal: Journal::open(&dir)?.0,
        build: options.build.clone(),
        dir,
        epoll,
        signals,
        listener,
        lock,
        spawner: Spawner::new()?,
        base,
        inherited,
        tasks: Tasks::default(),
        unsettled: Vec::new(),
        connections: HashMap::new(),
        next_connection: 0,
        active: None,
        lifetime: Lifetime { checkpoint: true, failover_secs: 604_800.0 },
        greeted: false,
        alone_since: boottime_ms(),
        stopping: Stopping::No,
        chores: VecDeque::new(),
        unlimited: Vec::new(),
        stuck: VecDeque::new(),
        muted: Vec::new(),
        processes: None,
        boot: procfs::boot_id(),
    })
}

/// After the tasks are known: whatever ended before anybody listened is noticed now.
fn settle_in(keeper: &mut Keeper) {
    keeper.rewrite_journal();
    keeper.reap();
    keeper.settle();
}

/// SIGCHLD is read like any other input; what a terminal or a file limit sends does not matter here.
fn take_signals() -> io::Result<SignalFd> {
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGXFSZ] {
        blocked.add(signal);
    }
    blocked.thread_block()?;
    let mut read = SigSet::empty();
    read.add(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&read, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Gives the limit tasks shall have: the one from before.
fn raise_open_files() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = hard.min(OPEN_FILES);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).ok()?;
    }
    Some((soft, hard))
}

/// Gives the score tasks shall have: the one from before. Lowering it is a privilege.
fn lower_oom_score() -> Option<CString> {
    let path = "/proc/self/oom_score_adj";
    let before = fs::read_to_string(path).ok()?;
    fs::write(path, OOM_SCORE).ok()?;
    CString::new(before.trim()).ok()
}

/// Where named pipes lie. They need not outlast a reboot, so a folder in memory is best: making them on a
/// disk costs as much as starting a process.
fn pipes_dir(dir: &Path) -> io::Result<PathBuf> {
    let name = format!("marathon-{}", short_hash(dir.as_os_str().as_bytes()));
    for parent in ["/run", "/dev/shm"] {
        let in_memory = statfs(parent).is_ok_and(|it| it.filesystem_type() == TMPFS_MAGIC);
        let path = Path::new(parent).join(&name);
        if in_memory && private_dir(&path).is_ok() {
            return Ok(path);
        }
    }
    let path = dir.join("pipes");
    private_dir(&path)?;
    Ok(path)
}

fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    let mine = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if mine { Ok(()) } else { Err(io::Error::other("the folder of pipes belongs to somebody else")) }
}

fn answer(ready: Option<OwnedFd>, word: &str) -> io::Result<()> {
    match ready {
        Some(fd) => File::from(fd).write_all(format!("{word}\n").as_bytes()),
        None if word == TAKEN => Err(io::Error::other("another keeper is there already")),
        None => Ok(()),
    }
}

/// Writes a file only its owner can read.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str], expected: Result<Options, &str>) {
        let args: Vec<String> = args.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(parse(&args), expected.map_err(str::to_owned));
    }

    #[test]
    fn command_lines() {
        let options = || Options { dir: "/d".into(), ..Options::default() };
        check(&["--dir", "/d"], Ok(options()));
        check(
            &["--detach", "--dir", "/d", "--build", "b"],
            Ok(Options { build: "b".into(), detach: true, ..options() }),
        );
        check(&["--dir", "/d", "--ready", "3"], Ok(Options { ready: Some(3), ..options() }));
        check(&[], Err("--dir is missing"));
        check(&["--dir"], Err("--dir needs a value"));
        check(&["--dir", "/d", "--ready", "x"], Err("--ready needs a number"));
        check(&["--dir", "/d", "x"], Err("unknown argument `x`"));
    }

    #[test]
    fn pipes_are_not_put_into_a_strangers_folder() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert!(private_dir(&link).is_err());
        let open = dir.path().join("open");
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(private_dir(&open).is_err());
        assert!(private_dir(&dir.path().join("mine")).is_ok());
    }
}
