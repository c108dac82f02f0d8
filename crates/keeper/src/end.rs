//! How tasks end, and how they are made to.
//!
//! A task is over when its main process is: what that leaves behind is killed at once, and only when all
//! of it is gone is the end told, so that a successor finds ports and files free. With a cgroup the kernel
//! knows what belongs to the task. Without one the keeper is the subreaper of all: whatever loses its
//! parent becomes its child, and is known by its session or by the task id in its environment.

use std::os::fd::AsFd;

use marathon_posix::{boottime_ms, ended_child, pidfd_exit, reap, status_parts};
use nix::libc::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::journal::{Record, Slot};
use crate::keeper::{Keeper, Source};
use crate::procfs::Owner;
use crate::protocol::{End, Event, How};
use crate::task::{Ending, Phase, Reports, Watch};
use crate::{note, procfs, wall_ms};

/// Longest wait for killed processes to be gone before the end is told all the same.
const SETTLE_MAX_MS: u64 = 10_000;
/// Longest wait for someone else to reap a process that was not our child.
const REAP_MAX_MS: u64 = 1000;
/// Pause between two SIGKILLs to something that stays.
const KILL_AGAIN_MS: u64 = 50;
/// Looks at a process that might belong to an ended task, before it is taken for somebody else's.
const UNCLEAR_TRIES: u32 = 5;
const REAPED_PER_ROUND: usize = 256;
const REPORT_LINE_MAX: usize = 4096;
pub const KEEPER_DIED: &str = "its keeper had died";

impl Keeper {
    /// Takes note of ended children. A bounded number per round; the signal stays set until none is left.
    pub fn reap(&mut self) {
        for _ in 0..REAPED_PER_ROUND {
            let Some(pid) = ended_child() else {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                // One that ended between the two calls would have raised the signal just taken.
                if ended_child().is_none() {
                    return;
                }
                continue;
            };
            let slot = self.tasks.of_pid(pid);
            if slot.is_some_and(|it| self.tasks.get(it).is_some_and(|task| task.kept.group.is_none())) {
                // While the main process is unreaped, no other group can have its number.
                send(-pid, SIGKILL);
            }
            let Some(status) = reap(pid) else { return };
            match slot {
                Some(slot) => self.main_ended(slot, how(status)),
                // An orphan: the task it belonged to may be waiting for just this.
                None => self.look_at_endings(),
            }
        }
    }

    fn look_at_endings(&mut self) {
        if !self.unsettled.is_empty() {
            return;
        }
        let ending = self.tasks.by_slot.iter().filter(|(_, it)| matches!(it.phase, Phase::Ending(..)));
        self.unsettled = ending.map(|(slot, _)| *slot).collect();
    }

    /// A process that is not our child has ended.
    pub fn on_handle(&mut self, slot: Slot) {
        let Some(Watch::Other { handle, gone_since }) =
            self.tasks.get(slot).and_then(|it| it.live()).map(|it| &mut it.watch)
        else {
            return;
        };
        let now = boottime_ms();
        let since = *gone_since.get_or_insert(now);
        // It stays readable from now on.
        let _ = self.epoll.delete(handle.as_fd());
        let how = match pidfd_exit(handle.as_fd()) {
            Ok(Some(status)) => how(status),
            Ok(None) if now < since + REAP_MAX_MS => return self.tasks.set_timer(slot, Some(now + 10)),
            Ok(None) | Err(_) => How::Vanished { why: KEEPER_DIED.to_owned() },
        };
        self.main_ended(slot, how);
    }

    /// The main process of a task is gone; the task is over once nothing is left of it.
    pub fn main_ended(&mut self, slot: Slot, how: How) {
        let Some(task) = self.tasks.get(slot) else { return };
        match std::mem::replace(&mut task.phase, Phase::Intended) {
            Phase::Running(live) => {
                let pid = live.pid;
                let ending = Ending { how, at_ms: wall_ms(), since: boottime_ms(), tries: 0 };
                task.phase = Phase::Ending(live, ending);
                self.tasks.clear_pid(pid);
                self.tasks.set_timer(slot, None);
                self.unsettled.push(slot);
            }
            other => task.phase = other,
        }
    }

    /// Looks at all tasks whose main process is gone, and ends those of which nothing is left.
    pub fn settle(&mut self) {
        let mut slots = std::mem::take(&mut self.unsettled);
        slots.sort_unstable();
        slots.dedup();
        if slots.is_empty() {
            return;
        }
        let strangers =
            if slots.iter().any(|it| self.without_group(*it)) { self.strangers() } else { Vec::new() };
        for slot in slots {
            let left = self.kill_rest(slot, &strangers);
            let Some(task) = self.tasks.get(slot) else { continue };
            let Phase::Ending(_, ending) = &mut task.phase else { continue };
            let now = boottime_ms();
            let patient = now < ending.since + SETTLE_MAX_MS;
            if left && patient {
                ending.tries += 1;
                let pause = 5u64 << ending.tries.min(4);
                self.tasks.set_timer(slot, Some(now + pause));
                continue;
            }
            if left {
                note!("task {} has ended, but something it started cannot be killed", task.id);
            }
            self.finish(slot);
        }
    }

    fn without_group(&mut self, slot: Slot) -> bool {
        self.tasks.get(slot).is_some_and(|it| it.kept.group.is_none())
    }

    /// Our children that are no task's main process: orphans of tasks.
    fn strangers(&mut self) -> Vec<procfs::Stat> {
        let stats = match procfs::own_children() {
            Some(pids) => {
                let unknown = pids.into_iter().filter(|pid| self.tasks.of_pid(*pid).is_none());
                unknown.filter_map(procfs::stat).filter(|it| !it.zombie).collect()
            }
            None => {
                let own = nix::unistd::getpid().as_raw();
                let all = self.processes.get_or_insert_with(procfs::all);
                all.iter().filter(|it| it.parent == own).copied().collect::<Vec<_>>()
            }
        };
        stats.into_iter().filter(|it| self.tasks.of_pid(it.pid).is_none()).collect()
    }

    /// Kills what the main process left behind; tells whether there was anything.
    fn kill_rest(&mut self, slot: Slot, strangers: &[procfs::Stat]) -> bool {
        let Some(task) = self.tasks.get(slot) else { return false };
        let Phase::Ending(live, ending) = &task.phase else { return false };
        if let Some(group) = &task.kept.group {
            return group.kill();
        }
        let main = live.pid;
        // Long after the end of a process another may have its number, and lead another session.
        let fresh = !matches!(live.watch, Watch::Nothing);
        let ours = matches!(live.watch, Watch::Child);
        let patient = ending.tries < UNCLEAR_TRIES;
        let id = task.id.clone();
        let mut rest = Vec::new();
        let mut unclear = false;
        let mut look = |it: &procfs::Stat| match procfs::owner(it.pid) {
            _ if fresh && it.session == main => rest.push(it.pid),
            Owner::Task(owner) if *owner == *id => rest.push(it.pid),
            Owner::Unclear => unclear = true,
            Owner::Task(_) | Owner::Nobody => {}
        };
        strangers.iter().for_each(&mut look);
        if !ours {
            // Its orphans went to another reaper than us.
            let all = self.processes.get_or_insert_with(procfs::all);
            let candidates = all.iter().filter(|it| it.session == main || it.parent == 1);
            candidates.filter(|it| self.tasks.of_pid(it.pid).is_none()).for_each(&mut look);
            rest.extend(procfs::descendants(&rest, all));
            // The next look needs a fresh list.
            self.processes = None;
        }
        for pid in &rest {
            send(*pid, SIGKILL);
        }
        !rest.is_empty() || (unclear && patient)
    }

    /// Nothing is left of the task but what waits in its pipes.
    fn finish(&mut self, slot: Slot) {
        let lines = self.last_words(slot);
        lines.into_iter().for_each(|line| self.said(slot, line));
        let Some(task) = self.tasks.get(slot) else { return };
        let Phase::Ending(_, ending) = &task.phase else { return };
        let (how, at_ms) = (ending.how.clone(), ending.at_ms);
        let killed = task.kept.group.as_ref().is_some_and(|it| it.out_of_memory());
        let end = End {
            out_of_memory: killed && how != How::Exited { code: 0 },
            asked: task.asked.is_some_and(|it| it.by_server),
            how,
            at_ms,
        };
        task.phase = Phase::Ended(end.clone());
        let id = task.id.to_string();
        self.tasks.set_timer(slot, None);
        self.journal.put(&Record::Ended { slot, end: end.clone() });
        self.tell(&Event::Ended { task: id, end });
        self.clean_up(slot);
    }

    /// What is still in the pipes. Their ends are not waited for: something that got away may hold them.
    fn last_words(&mut self, slot: Slot) -> Vec<String> {
        let Some(live) = self.tasks.get(slot).and_then(|it| it.live()) else { return Vec::new() };
        for output in [&mut live.stdout, &mut live.stderr].into_iter().flatten() {
            output.log.drain(output.pipe.as_fd());
            output.log.prepare();
        }
        let Some(reports) = &mut live.reports else { return Vec::new() };
        let mut lines = Vec::new();
        while let Some(more) = read_lines(reports)
            && lines.len() < 1000
        {
            lines.extend(more);
        }
        if !reports.partial.is_empty() {
            lines.push(String::from_utf8_lossy(&std::mem::take(&mut reports.partial)).into_owned());
        }
        lines
    }

    pub fn on_timer(&mut self, slot: Slot) {
        let Some(task) = self.tasks.get(slot) else { return };
        match &task.phase {
            Phase::Running(live) if matches!(live.watch, Watch::Other { gone_since: Some(_), .. }) => {
                self.on_handle(slot)
            }
            Phase::Running(_) => {
                let now = boottime_ms();
                let Some(asked) = task.asked else { return };
                if asked.kill_at <= now {
                    self.signal_tree(slot, SIGKILL);
                    self.tasks.set_timer(slot, Some(now + KILL_AGAIN_MS));
                } else {
                    self.tasks.set_timer(slot, Some(asked.kill_at));
                }
            }
            Phase::Ending(..) => self.unsettled.push(slot),
            Phase::Intended | Phase::Ended(_) => {}
        }
    }

    /// Sends a signal to all processes of a running task, once each.
    pub fn signal_tree(&mut self, slot: Slot, signal: i32) {
        let Some(task) = self.tasks.get(slot) else { return };
        let Phase::Running(live) = &task.phase else { return };
        let main = live.pid;
        if let Some(group) = &task.kept.group {
            if signal == SIGKILL {
                group.kill();
            }
            let pids = group.pids();
            pids.iter().filter(|pid| **pid != main).for_each(|pid| send(*pid, signal));
            return send(main, signal);
        }
        // The main process is unreaped or watched by its handle, so its number is still its own.
        let adopted = matches!(live.watch, Watch::Other { .. });
        if adopted && procfs::stat(main).is_none_or(|it| it.started != live.started) {
            return;
        }
        let id = task.id.clone();
        let own = nix::unistd::getpid().as_raw();
        let all = self.processes.get_or_insert_with(procfs::all);
        let mut roots = vec![main];
        roots.extend(all.iter().filter(|it| it.pid != main && it.session == main).map(|it| it.pid));
        let orphans = all.iter().filter(|it| it.parent == own || (adopted && it.parent == 1));
        let orphans = orphans.filter(|it| self.tasks.of_pid(it.pid).is_none() && it.session != main);
        roots.extend(orphans.filter(|it| procfs::belongs_to(it.pid, &id)).map(|it| it.pid));
        let grouped = |pid: i32| all.iter().any(|it| it.pid == pid && it.group == main);
        let others = procfs::descendants(&roots, all);
        let others: Vec<i32> =
            roots.iter().chain(&others).copied().filter(|pid| *pid != main && !grouped(*pid)).collect();
        send(-main, signal);
        others.into_iter().for_each(|pid| send(pid, signal));
    }

    pub fn copy_output(&mut self, slot: Slot, source: Source) {
        let Some(task) = self.tasks.get(slot) else { return };
        let id = task.id.clone();
        let Some(live) = task.live() else { return };
        let output = if source == Source::Stdout { &mut live.stdout } else { &mut live.stderr };
        let Some(output) = output else { return };
        let fine = output.log.trouble.is_none();
        output.log.copy(output.pipe.as_fd());
        if let (true, Some(error)) = (fine, &output.log.trouble) {
            note!("output of task {id} is lost: {error}");
        }
    }

    pub fn read_reports(&mut self, slot: Slot) {
        if self.active_congested() {
            return self.mute(slot);
        }
        let Some(reports) = self.tasks.get(slot).and_then(|it| it.live()?.reports.as_mut()) else { return };
        for line in read_lines(reports).unwrap_or_default() {
            self.said(slot, line);
        }
    }

    fn said(&mut self, slot: Slot, line: String) {
        let Some(task) = self.tasks.get(slot) else { return };
        task.said = Some(line.clone());
        let task = task.id.to_string();
        self.journal.put(&Record::Said { slot, line: line.clone() });
        self.tell(&Event::Said { task, line });
    }
}

fn how(status: i32) -> How {
    match status_parts(status) {
        Ok(code) => How::Exited { code },
        Err(signal) => How::Signaled { signal },
    }
}

/// Reads once; `None` when nothing waits. Too long a line is cut.
fn read_lines(reports: &mut Reports) -> Option<Vec<String>> {
    let mut buffer = [0; REPORT_LINE_MAX];
    let count = nix::unistd::read(&reports.pipe, &mut buffer).ok().filter(|it| *it > 0)?;
    let mut lines = Vec::new();
    for byte in &buffer[..count] {
        if *byte != b'\n' {
            reports.partial.push(*byte);
        }
        if *byte == b'\n' || reports.partial.len() >= REPORT_LINE_MAX {
            lines.push(String::from_utf8_lossy(&reports.partial).into_owned());
            reports.partial.clear();
        }
    }
    Some(lines)
}

/// Signals a process, or with a negative number a group. Zero and one are no task's.
fn send(pid: i32, signal: i32) {
    if pid.unsigned_abs() > 1
        && let Ok(signal) = nix::sys::signal::Signal::try_from(signal)
    {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(written: &str, expected: &[&str], partial: &str) {
        let (read, mut write) = std::io::pipe().unwrap();
        let mut reports = Reports { pipe: read.into(), partial: Vec::new() };
        write.write_all(written.as_bytes()).unwrap();
        assert_eq!(read_lines(&mut reports).unwrap(), expected);
        assert_eq!(reports.partial, partial.as_bytes());
    }

    #[test]
    fn reports_are_lines() {
        check("one\ntwo\nthr", &["one", "two"], "thr");
        check("\n", &[""], "");
        let long = "x".repeat(REPORT_LINE_MAX);
        check(&long, &[&long], "");
    }

    #[test]
    fn statuses_become_ends() {
        assert_eq!(how(0x0300), How::Exited { code: 3 });
        assert_eq!(how(15), How::Signaled { signal: 15 });
        // Real-time signals have no name, but a number.
        assert_eq!(how(40), How::Signaled { signal: 40 });
    }
}
