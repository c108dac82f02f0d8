//! Processes: finding them, measuring them, and leaving none behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;

/// A process and how it was started.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    pub args: Vec<String>,
    environ: Vec<String>,
}

impl Process {
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environ.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    }

    fn read(pid: i32) -> Option<Process> {
        let split = |path: String| -> Option<Vec<String>> {
            let bytes = fs::read(path).ok()?;
            let parts = bytes.split(|it| *it == 0).filter(|it| !it.is_empty());
            Some(parts.map(|it| String::from_utf8_lossy(it).into_owned()).collect())
        };
        let args = split(format!("/proc/{pid}/cmdline"))?;
        Some(Process { pid, args, environ: split(format!("/proc/{pid}/environ")).unwrap_or_default() })
    }
}

pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).filter(|it| !it.args.is_empty()).collect()
}

/// Tasks whose sandbox lies below this data folder, as `(task id, pid)`.
pub fn tasks_below(data_dir: &Path) -> Vec<(String, i32)> {
    let below =
        |it: &Process| it.variable("MESOS_SANDBOX").is_some_and(|dir| Path::new(dir).starts_with(data_dir));
    let found = all().into_iter().filter(below);
    found.filter_map(|it| Some((it.variable("MESOS_TASK_ID")?.to_owned(), it.pid))).collect()
}

/// The keeper of a data folder.
pub fn keeper_below(data_dir: &Path) -> Option<i32> {
    let is_keeper = |it: &Process| {
        it.args.get(1).is_some_and(|arg| arg == "keeper")
            && it.args.iter().any(|arg| Path::new(arg).starts_with(data_dir))
    };
    all().into_iter().find(is_keeper).map(|it| it.pid)
}

/// Children of a process, counted without looking at every process there is.
pub fn children(pid: i32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().count()
}

pub fn exists(pid: i32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// Resident memory in bytes.
pub fn rss(pid: i32) -> Outcome<u64> {
    field_kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Resident memory in bytes, with what is shared counted in shares.
pub fn pss(pid: i32) -> Outcome<u64> {
    field_kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn field_kib(path: &str, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(path)?;
    let line =
        text.lines().find_map(|it| it.strip_prefix(name)).ok_or_else(|| format!("{path} has no {name}"))?;
    let kib: u64 = line.split_ascii_whitespace().next().unwrap_or_default().parse()?;
    Ok(kib * 1024)
}

/// Processor time a process has used so far, in nanoseconds.
pub fn cpu_time(pid: i32) -> Outcome<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let of_thread = |path: PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split_ascii_whitespace().next()?.parse().ok()
    };
    Ok(threads.filter_map(|it| of_thread(it.path())).sum())
}

pub fn signal(pid: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(pid), signal).is_ok()
}

/// Waits for a condition; what was waited for goes into the error.
pub fn wait_for(what: &str, limit: Duration, pause: Duration, mut done: impl FnMut() -> bool) -> Outcome<()> {
    let end = Instant::now() + limit;
    while !done() {
        if end < Instant::now() {
            return Err(format!("{what}: nothing within {} s", limit.as_secs()).into());
        }
        thread::sleep(pause);
    }
    Ok(())
}

/// What has to go when a bench ends, however it ends.
#[derive(Debug, PartialEq, Eq)]
enum Litter {
    Process(i32),
    Folder(PathBuf),
}

static LITTER: Mutex<Vec<Litter>> = Mutex::new(Vec::new());

fn litter() -> MutexGuard<'static, Vec<Litter>> {
    LITTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be called for each process started, with its id.
pub fn started(pid: u32) -> i32 {
    let pid = i32::try_from(pid).expect("Linux limits process ids to 22 bits");
    litter().push(Litter::Process(pid));
    pid
}

/// To be called once a process was reaped: its id may be somebody else's from then on.
pub fn reaped(pid: i32) {
    litter().retain(|it| *it != Litter::Process(pid));
}

/// A new folder, removed with everything that runs from it when the bench ends.
pub fn folder(parent: &Path, prefix: &str) -> Outcome<PathBuf> {
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(fs::canonicalize(parent)?)?.keep();
    litter().push(Litter::Folder(dir.clone()));
    Ok(dir)
}

/// Processes started with this variable end with the folder it names, and so do their children.
pub const FOLDER_VARIABLE: &str = "MARATHON_BENCH_FOLDER";

/// Removes one folder of [`folder`] now. Tasks and keepers that belong to it are ended first, by id.
pub fn remove_folder(dir: &Path) {
    litter().retain(|it| *it != Litter::Folder(dir.to_owned()));
    end_all_below(dir);
    let _ = fs::remove_dir_all(dir);
}

fn end_all_below(dir: &Path) {
    let ours = |it: &Process| it.variable(FOLDER_VARIABLE).is_some_and(|path| Path::new(path) == dir);
    let rest = || -> Vec<i32> {
        let children = all().into_iter().filter(ours).map(|it| it.pid);
        // A keeper that lives would record the ends of its tasks in the folder to be removed.
        keeper_below(dir)
            .into_iter()
            .chain(tasks_below(dir).into_iter().map(|it| it.1))
            .chain(children)
            .collect()
    };
    let gone = || {
        let rest = rest();
        for pid in &rest {
            signal(*pid, Signal::SIGKILL);
        }
        rest.is_empty()
    };
    let _ = wait_for("the end of tasks", Duration::from_secs(5), Duration::from_millis(20), gone);
}

/// Lets keepers without a server and tasks leave, as they do by themselves; only they know which cgroups
/// to remove.
pub fn settle() {
    let folders: Vec<PathBuf> = litter()
        .iter()
        .filter_map(|it| match it {
            Litter::Folder(dir) => Some(dir.clone()),
            Litter::Process(_) => None,
        })
        .collect();
    let alone = || folders.iter().all(|dir| keeper_below(dir).is_none());
    // One that stays is ended by `sweep`.
    let _ = wait_for("the end of keepers", Duration::from_secs(10), Duration::from_millis(100), alone);
}

/// Ends every process and removes every folder that is still noted.
pub fn sweep() {
    let all = std::mem::take(&mut *litter());
    for it in &all {
        if let Litter::Process(pid) = it {
            signal(*pid, Signal::SIGKILL);
        }
    }
    for it in &all {
        if let Litter::Folder(dir) = it {
            end_all_below(dir);
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// Sweeps when the run is interrupted.
pub fn sweep_on_signals() {
    thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut end)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = end.recv() => {}
            }
        });
        sweep();
        std::process::exit(130);
    });
}
