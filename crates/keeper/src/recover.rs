//! Making tasks out of a journal: after the keeper's death, an upgrade, or a reboot.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::rc::Rc;

use marathon_posix::pidfd_open;
use nix::fcntl::OFlag;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::end::KEEPER_DIED;
use crate::handover::{Streams, descriptor};
use crate::journal::{Kept, Saved, Slot, Story};
use crate::keeper::{Chore, Keeper, Source, token};
use crate::launch::{not_started, open_pipe, pipe_paths};
use crate::protocol::{End, How};
use crate::task::{Live, Phase, Task, Watch};
use crate::{note, procfs, wall_ms};

/// What has become of a process on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is there; as our child its end will be told by the kernel.
    Ours,
    Others,
    Gone,
}

/// Compares a process on record with what has its number now.
pub fn compare(started: u64, now: Option<procfs::Stat>, own: i32) -> Found {
    match now {
        // Pids come back; the same pid with the same start time does not.
        Some(it) if it.started == started && it.parent == own => Found::Ours,
        Some(it) if it.started == started && !it.zombie => Found::Others,
        _ => Found::Gone,
    }
}

impl Keeper {
    /// `streams` holds what a predecessor in this process left open; empty after a death.
    pub fn recover(&mut self, story: Story, streams: Vec<Streams>) {
        if story.unread > 0 {
            note!("{} lines of the journal cannot be read", story.unread);
        }
        let rebooted = !story.boot.is_empty() && story.boot != self.boot;
        self.tasks.next = story.next;
        let mut streams: HashMap<Slot, Streams> = streams.into_iter().map(|it| (it.slot, it)).collect();
        for (slot, saved) in story.tasks {
            match (&saved.end, saved.process) {
                (Some(_), _) => self.recall_ended(slot, saved),
                (None, _) if rebooted => self.recall_rebooted(slot, saved),
                (None, None) => self.undo_start(slot, saved),
                (None, Some((pid, started))) => self.adopt(slot, saved, pid, started, streams.remove(&slot)),
            }
        }
        for group in
            self.base.leftovers(|slot| self.tasks.by_slot.get(&slot).is_some_and(|it| it.pid().is_some()))
        {
            group.kill();
            self.chores.push_back(Chore::RemoveGroup(group));
        }
        self.remove_stale_pipes();
    }

    fn recall_ended(&mut self, slot: Slot, saved: Saved) {
        let Saved { task, kept, asked, said, end, .. } = saved;
        if let Some(end) = end {
            let phase = Phase::Ended(end);
            self.tasks.add(slot, Task { id: Rc::from(task), kept, phase, asked, said, timer: None });
        }
    }

    fn recall_rebooted(&mut self, slot: Slot, saved: Saved) {
        let how = How::Vanished { why: "the machine was rebooted".to_owned() };
        let asked = saved.asked.is_some_and(|it| it.by_server);
        let end = End { how, out_of_memory: false, asked, at_ms: wall_ms() };
        self.recall_ended(slot, Saved { end: Some(end), ..saved });
    }

    /// The keeper died between writing a start down and writing its pid down. Whether the process came to
    /// be is not known, nobody watched it, and the server will start another: it must not run.
    fn undo_start(&mut self, slot: Slot, saved: Saved) {
        if let Some(group) = &saved.kept.group {
            group.kill();
        }
        let all = self.processes.get_or_insert_with(procfs::all);
        for it in all.iter().filter(|it| it.pid != nix::unistd::getpid().as_raw()) {
            if procfs::belongs_to(it.pid, &saved.task) {
                let _ = kill(Pid::from_raw(it.pid), Signal::SIGKILL);
            }
        }
        let end = not_started("the keeper died while starting it".to_owned());
        self.recall_ended(slot, Saved { end: Some(end), ..saved });
        self.clean_up(slot);
    }

    fn adopt(&mut self, slot: Slot, saved: Saved, pid: i32, started: u64, streams: Option<Streams>) {
        let own = nix::unistd::getpid().as_raw();
        let found = compare(started, procfs::stat(pid), own);
        let watch = match found {
            Found::Ours => Watch::Child,
            Found::Others => self.watch(slot, pid, started),
            Found::Gone => Watch::Nothing,
        };
        let gone = matches!(watch, Watch::Nothing);
        let mut live = Live { pid, started, watch, stdout: None, stderr: None, reports: None };
        let [out, err, say] = pipes(&saved.kept, slot, pid, gone, streams.as_ref());
        self.listen(slot, &saved.kept, &mut live, out, err, say);
        if let (Some(reports), Some(streams)) = (&mut live.reports, streams) {
            reports.partial = streams.partial;
        }
        let Saved { task, kept, asked, said, .. } = saved;
        let phase = Phase::Running(Box::new(live));
        self.tasks.add(slot, Task { id: Rc::from(task), kept, phase, asked, said, timer: None });
        if gone {
            // Its orphans, if any, went to another reaper, as if it were watched from outside.
            self.main_ended(slot, How::Vanished { why: KEEPER_DIED.to_owned() });
        } else {
            self.tasks.set_timer(slot, asked.map(|it| it.kill_at));
        }
    }

    /// Watches a process that is not our child.
    fn watch(&mut self, slot: Slot, pid: i32, started: u64) -> Watch {
        let Ok(handle) = pidfd_open(pid) else { return Watch::Nothing };
        // The handle is of whoever has the number now, so it is looked at again.
        let own = nix::unistd::getpid().as_raw();
        if compare(started, procfs::stat(pid), own) == Found::Gone {
            return Watch::Nothing;
        }
        let interest = EpollEvent::new(EpollFlags::EPOLLIN, token(Source::Handle, slot));
        match self.epoll.add(handle.as_fd(), interest) {
            Ok(()) => Watch::Other { handle, gone_since: None },
            Err(_) => Watch::Nothing,
        }
    }

    fn remove_stale_pipes(&mut self) {
        let Ok(entries) = std::fs::read_dir(&self.pipes) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let slot = path.file_stem().and_then(|it| it.to_str()?.parse::<Slot>().ok());
            let known = slot.is_some_and(|it| self.tasks.get(it).is_some_and(|task| task.pid().is_some()));
            if !known {
                self.chores.push_back(Chore::Unlink(path));
            }
        }
    }
}

/// Standard output, standard error and reports: those left open in this process, or else by name, or else
/// by way of the process that writes to them.
fn pipes(kept: &Kept, slot: Slot, pid: i32, gone: bool, streams: Option<&Streams>) -> [Option<OwnedFd>; 3] {
    if let Some(streams) = streams {
        return [streams.stdout, streams.stderr, streams.reports]
            .map(|it| it.and_then(|fd| descriptor(fd).ok()));
    }
    let mut number = 0;
    pipe_paths(&kept.pipes, slot).map(|path| {
        number += 1;
        let wanted = number < 3 || kept.reports;
        let by_name = || open_pipe(&path).ok();
        let by_process = || if gone { None } else { pipe_of(pid, number) };
        wanted.then(|| by_name().or_else(by_process)).flatten()
    })
}

fn pipe_of(pid: i32, fd: i32) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/fd/{fd}");
    if !std::fs::metadata(&path).ok()?.file_type().is_fifo() {
        return None;
    }
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok()?;
    Some(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_counts_only_with_its_start_time() {
        let stat =
            |started, parent, zombie| procfs::Stat { pid: 5, parent, group: 5, session: 5, started, zombie };
        let rows = [
            (Some(stat(7, 1, false)), Found::Others),
            (Some(stat(7, 42, false)), Found::Ours),
            (Some(stat(7, 42, true)), Found::Ours), // waits for us to reap it
            (Some(stat(7, 1, true)), Found::Gone),
            (Some(stat(8, 1, false)), Found::Gone),
            (Some(stat(8, 42, false)), Found::Gone),
            (None, Found::Gone),
        ];
        for (now, expected) in rows {
            assert_eq!(compare(7, now, 42), expected, "{now:?}");
        }
    }
}
