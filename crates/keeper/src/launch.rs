//! Starting a task.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use marathon_posix::{Setup, SpawnError, Stage};
use nix::fcntl::OFlag;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, mkfifo};

use crate::journal::{Kept, Record, Slot};
use crate::keeper::{Chore, Keeper, Source, token};
use crate::logs::Log;
use crate::procfs;
use crate::protocol::{End, Event, How, Process};
use crate::task::{Live, Output, Phase, Reports, Task, Watch};

/// Most tasks known at once, ended ones included.
const TASKS_MAX: usize = 65_536;
/// Where programs are looked for when the task has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A start that is written down and may now happen.
pub struct Intent {
    slot: Slot,
    process: Box<Process>,
}

/// Why a start failed, for the reader of a status message.
type Why = String;

impl Keeper {
    /// Makes room for the task and writes it down. Asking twice for the same task starts it once; the
    /// second time only repeats the answer.
    pub fn intend(&mut self, id: String, process: Box<Process>) -> Option<Intent> {
        if let Some(slot) = self.tasks.named(&id) {
            self.repeat(slot);
            return None;
        }
        if self.tasks.len() >= TASKS_MAX || id.is_empty() || id.len() > 4096 {
            let why =
                if self.tasks.len() >= TASKS_MAX { "the keeper has too many tasks" } else { "a bad task id" };
            let end = not_started(why.to_owned());
            self.tell(&Event::Ended { task: id, end });
            return None;
        }
        let slot = self.tasks.next;
        let kept = Kept {
            tag: process.tag.clone(),
            stdout: process.stdout.clone(),
            stderr: process.stderr.clone(),
            log_bytes: process.log_bytes,
            log_files: process.log_files,
            owner: process.identity.as_ref().map(|it| (it.uid, it.gid)),
            reports: process.reports,
            group: process.limits.and_then(|_| self.base.group(slot)),
            pipes: self.pipes.clone(),
        };
        self.journal.put(&Record::Intent { slot, task: id.clone(), kept: Box::new(kept.clone()) });
        let task =
            Task { id: Rc::from(id), kept, phase: Phase::Intended, asked: None, said: None, timer: None };
        self.tasks.add(slot, task);
        Some(Intent { slot, process })
    }

    fn repeat(&mut self, slot: Slot) {
        let Some(task) = self.tasks.get(slot) else { return };
        let id = task.id.to_string();
        let event = match &task.phase {
            Phase::Ended(end) => Event::Ended { task: id, end: end.clone() },
            Phase::Running(live) | Phase::Ending(live, _) => {
                Event::Started { task: id, pid: live.pid.cast_unsigned() }
            }
            Phase::Intended => return,
        };
        self.tell(&event);
    }

    pub fn start(&mut self, intent: Intent, written: bool) {
        let Intent { slot, process } = intent;
        let done = if written {
            self.try_start(slot, &process)
        } else {
            Err("the keeper cannot write its journal; is the disk full?".to_owned())
        };
        let Some(task) = self.tasks.get(slot) else { return };
        let id = task.id.to_string();
        match done {
            Ok(live) => {
                let (pid, started) = (live.pid, live.started);
                task.phase = Phase::Running(Box::new(live));
                self.tasks.set_pid(pid, slot);
                self.journal.put(&Record::Running { slot, pid, started });
                self.chores.push_back(Chore::PrepareLogs(slot));
                self.tell(&Event::Started { task: id, pid: pid.cast_unsigned() });
            }
            Err(why) => {
                let end = not_started(why);
                task.phase = Phase::Ended(end.clone());
                self.clean_up(slot);
                self.journal.put(&Record::Ended { slot, end: end.clone() });
                self.tell(&Event::Ended { task: id, end });
            }
        }
    }

    fn try_start(&mut self, slot: Slot, process: &Process) -> Result<Live, Why> {
        let program = process.argv.first().filter(|it| !it.is_empty()).ok_or("there is no command to run")?;
        let programs = candidates(program, &process.env)?;
        let argv = process.argv.iter().map(|it| text(it)).collect::<Result<Vec<_>, _>>()?;
        let env =
            process.env.iter().map(|(name, value)| variable(name, value)).collect::<Result<Vec<_>, _>>()?;
        let cwd = CString::new(process.cwd.as_os_str().as_bytes()).map_err(|_| NUL)?;
        let kept = self.tasks.get(slot).map(|it| it.kept.clone()).ok_or("the task is gone")?;

        let mut entrances = Vec::new();
        if let (Some(group), Some(limits)) = (&kept.group, &process.limits) {
            let made = self.base.create(group, limits).and_then(|()| group.entrances());
            entrances = made.map_err(|error| format!("cannot limit its resources: {error}"))?;
        }
        let [out, err, say] = pipe_paths(&kept.pipes, slot);
        let piped =
            |path: &Path| make_pipe(path, kept.owner).map_err(|error| format!("cannot make a pipe: {error}"));
        let (out, out_end) = piped(&out)?;
        let (err, err_end) = piped(&err)?;
        let say = if kept.reports { Some(piped(&say)?) } else { None };
        let null = File::open("/dev/null").map_err(|error| format!("cannot open /dev/null: {error}"))?;

        let network = process.network.as_ref().map(File::open).transpose();
        let network = network.map_err(|error| format!("cannot enter the network of its pod: {error}"))?;
        let cgroups: Vec<BorrowedFd<'_>> = entrances.iter().map(|it| it.as_fd()).collect();
        let identity = process.identity.as_ref();
        let pid = self.spawner.start(&Setup {
            programs: &programs,
            argv: &argv,
            env: &env,
            cwd: &cwd,
            stdio: [null.as_fd(), out_end.as_fd(), err_end.as_fd()],
            extra: say.as_ref().map(|(_, end)| end.as_fd()),
            network: network.as_ref().map(|it| it.as_fd()),
            cgroups: &cgroups,
            identity: identity.map(|it| marathon_posix::Identity {
                uid: it.uid,
                gid: it.gid,
                groups: &it.groups,
            }),
            open_files: self.inherited.open_files,
            oom_score: self.inherited.oom_score.as_deref(),
        });
        let pid = pid.map_err(|error| friendly(&error, program, process))?;
        self.unlimited.extend(process.limits.map(|limits| (slot, limits)));
        // The child cannot have been reaped yet, so its line is there; zero would match no process.
        let started = procfs::stat(pid).map_or(0, |it| it.started);
        let mut live = Live { pid, started, watch: Watch::Child, stdout: None, stderr: None, reports: None };
        self.listen(slot, &kept, &mut live, Some(out), Some(err), say.map(|(pipe, _)| pipe));
        Ok(live)
    }

    /// Takes the task's pipes into the loop.
    pub fn listen(
        &mut self,
        slot: Slot,
        kept: &Kept,
        live: &mut Live,
        out: Option<OwnedFd>,
        err: Option<OwnedFd>,
        say: Option<OwnedFd>,
    ) {
        let log = |path: &Path| Log::new(path.to_owned(), kept.owner, kept.log_bytes, kept.log_files);
        let watched = |pipe: OwnedFd, source| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, token(source, slot));
            self.epoll.add(&pipe, event).ok().map(|()| pipe)
        };
        let out = out.and_then(|pipe| watched(pipe, Source::Stdout));
        let err = err.and_then(|pipe| watched(pipe, Source::Stderr));
        let say = say.and_then(|pipe| watched(pipe, Source::Reports));
        live.stdout = out.map(|pipe| Output { pipe, log: log(&kept.stdout) });
        live.stderr = err.map(|pipe| Output { pipe, log: log(&kept.stderr) });
        live.reports = say.map(|pipe| Reports { pipe, partial: Vec::new() });
    }
}

pub fn not_started(error: Why) -> End {
    End { how: How::NotStarted { error }, out_of_memory: false, asked: false, at_ms: crate::wall_ms() }
}

/// Standard output, standard error, reports.
pub fn pipe_paths(dir: &Path, slot: Slot) -> [PathBuf; 3] {
    ["out", "err", "say"].map(|kind| dir.join(format!("{slot}.{kind}")))
}

/// The keeper's end of a pipe. Both ends are opened for reading and writing: the keeper's, so that a task
/// that closes its output leaves no descriptor that is ready forever; the task's, so that its writes
/// wait, instead of killing it, while no keeper is there to read them.
pub fn open_pipe(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_NONBLOCK.bits();
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
}

fn make_pipe(path: &Path, owner: Option<(u32, u32)>) -> io::Result<(OwnedFd, OwnedFd)> {
    mkfifo(path, Mode::from_bits_truncate(0o600))?;
    let ours = open_pipe(path)?;
    let theirs: OwnedFd = OpenOptions::new().read(true).write(true).open(path)?.into();
    if let Some((uid, gid)) = owner {
        // For tasks that open /dev/stdout by name.
        nix::unistd::fchown(&theirs, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok((ours, theirs))
}

const NUL: &str = "its command or environment contains a zero byte";

fn text(of: &str) -> Result<CString, Why> {
    CString::new(of).map_err(|_| NUL.to_owned())
}

fn variable(name: &str, value: &str) -> Result<CString, Why> {
    text(&format!("{name}={value}"))
}

/// Where the program may be, in the order of the task's own `PATH`.
fn candidates(program: &str, env: &[(String, String)]) -> Result<Vec<CString>, Why> {
    if program.contains('/') {
        return Ok(vec![text(program)?]);
    }
    let path = search_path(env);
    path.split(':')
        .map(|dir| text(&format!("{}/{program}", if dir.is_empty() { "." } else { dir })))
        .collect()
}

fn search_path(env: &[(String, String)]) -> &str {
    env.iter().rev().find(|(name, _)| name == "PATH").map_or(PATH, |(_, value)| value)
}

fn friendly(error: &SpawnError, program: &str, process: &Process) -> Why {
    let cause = error.errno.desc();
    match error.stage {
        Stage::Execute if error.errno == nix::errno::Errno::ENOENT && program.contains('/') => {
            format!("cannot run `{program}`: there is no such file (or the interpreter it names is missing)")
        }
        Stage::Execute if error.errno == nix::errno::Errno::ENOENT => {
            format!("cannot run `{program}`: there is no such program in {}", search_path(&process.env))
        }
        Stage::Execute if error.errno == nix::errno::Errno::E2BIG => {
            format!("cannot run `{program}`: its arguments and environment are too long for the kernel")
        }
        Stage::Execute if error.errno == nix::errno::Errno::ENOEXEC => {
            format!(
                "cannot run `{program}`: it is neither a program for this machine nor a script that names one"
            )
        }
        Stage::Execute => format!("cannot run `{program}`: {cause}"),
        Stage::Cwd => format!("cannot enter the folder {}: {cause}", process.cwd.display()),
        Stage::Identity => {
            let uid = process.identity.as_ref().map_or(0, |it| it.uid);
            format!("cannot run it as user {uid}: {cause}")
        }
        Stage::Cgroup => format!("cannot put it under its resource limits: {cause}"),
        Stage::Network => format!("cannot enter the network of its pod: {cause}"),
        Stage::Clone => format!("cannot make another process: {cause}"),
        Stage::Session | Stage::Descriptors => format!("cannot prepare its process: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str, env: &[(&str, &str)], expected: &[&str]) {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = candidates(program, &env).unwrap();
        let found: Vec<&str> = found.iter().map(|it| it.to_str().unwrap()).collect();
        assert_eq!(found, expected, "{program}");
    }

    #[test]
    fn programs_are_looked_up_in_the_tasks_path() {
        check("sleep", &[("PATH", "/a:/b")], &["/a/sleep", "/b/sleep"]);
        check("sleep", &[("PATH", ":/b")], &["./sleep", "/b/sleep"]);
        check("sleep", &[("PATH", "/a"), ("PATH", "/b")], &["/b/sleep"]);
        check("./sleep", &[("PATH", "/a")], &["./sleep"]);
        check("/bin/sleep", &[], &["/bin/sleep"]);
        assert_eq!(candidates("sleep", &[]).unwrap().len(), PATH.split(':').count());
        assert_eq!(candidates("a\0b", &[]).unwrap_err(), NUL);
    }
}
