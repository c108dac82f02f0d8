//! One task, and all of them.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::journal::{Asked, Kept, Record, Slot};
use crate::logs::Log;
use crate::protocol::{End, How, TaskReport};

#[derive(Debug)]
pub struct Task {
    pub id: Rc<str>,
    pub kept: Kept,
    pub phase: Phase,
    pub asked: Option<Asked>,
    /// The last line it said on its report pipe.
    pub said: Option<String>,
    /// When to look at it again.
    pub timer: Option<u64>,
}

#[derive(Debug)]
pub enum Phase {
    /// Written down, not yet started.
    Intended,
    Running(Box<Live>),
    /// The main process is gone; what it left behind is being killed.
    Ending(Box<Live>, Ending),
    Ended(End),
}

#[derive(Debug)]
pub struct Live {
    pub pid: i32,
    pub started: u64,
    pub watch: Watch,
    pub stdout: Option<Output>,
    pub stderr: Option<Output>,
    pub reports: Option<Reports>,
}

#[derive(Debug)]
pub enum Watch {
    /// Started by this very process (or what it was before an upgrade): the kernel tells of its end.
    Child,
    /// Started by a keeper that died. Its handle tells when it ends; `gone_since` bounds the wait for
    /// whoever has to reap it.
    Other { handle: OwnedFd, gone_since: Option<u64> },
    /// Ended before anybody could watch, who knows when.
    Nothing,
}

#[derive(Debug)]
pub struct Output {
    pub pipe: OwnedFd,
    pub log: Log,
}

#[derive(Debug)]
pub struct Reports {
    pub pipe: OwnedFd,
    /// What came after the last end of a line.
    pub partial: Vec<u8>,
}

#[derive(Debug)]
pub struct Ending {
    pub how: How,
    pub at_ms: i64,
    /// Boot time at which the rest of the tree was first killed, and how often since.
    pub since: u64,
    pub tries: u32,
}

impl Task {
    pub fn live(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Running(live) | Phase::Ending(live, _) => Some(live),
            Phase::Intended | Phase::Ended(_) => None,
        }
    }

    pub fn pid(&self) -> Option<i32> {
        match &self.phase {
            Phase::Running(live) | Phase::Ending(live, _) => Some(live.pid),
            Phase::Intended | Phase::Ended(_) => None,
        }
    }

    pub fn report(&self) -> TaskReport {
        TaskReport {
            task: self.id.to_string(),
            tag: self.kept.tag.clone(),
            pid: self.pid().and_then(|it| u32::try_from(it).ok()),
            said: self.said.clone(),
            end: match &self.phase {
                Phase::Ended(end) => Some(end.clone()),
                _ => None,
            },
        }
    }

    /// What a fresh journal has to say about it.
    fn records(&self, slot: Slot) -> Vec<Record> {
        let kept = Box::new(self.kept.clone());
        let mut records = vec![Record::Intent { slot, task: self.id.to_string(), kept }];
        match &self.phase {
            Phase::Running(live) | Phase::Ending(live, _) => {
                records.push(Record::Running { slot, pid: live.pid, started: live.started });
            }
            Phase::Ended(end) => records.push(Record::Ended { slot, end: end.clone() }),
            Phase::Intended => {}
        }
        records.extend(self.asked.map(|asked| Record::Asked { slot, asked }));
        records.extend(self.said.clone().map(|line| Record::Said { slot, line }));
        records
    }
}

/// All tasks, found by slot, name and process.
#[derive(Debug, Default)]
pub struct Tasks {
    pub by_slot: HashMap<Slot, Task>,
    by_id: HashMap<Rc<str>, Slot>,
    by_pid: HashMap<i32, Slot>,
    timers: BTreeSet<(u64, Slot)>,
    pub next: Slot,
}

impl Tasks {
    pub fn len(&self) -> usize {
        self.by_slot.len()
    }

    pub fn add(&mut self, slot: Slot, task: Task) {
        self.next = self.next.max(slot + 1);
        self.by_id.insert(task.id.clone(), slot);
        if let Some(pid) = task.pid() {
            self.by_pid.insert(pid, slot);
        }
        self.by_slot.insert(slot, task);
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Task> {
        self.set_timer(slot, None);
        let task = self.by_slot.remove(&slot)?;
        self.by_id.remove(&task.id);
        Some(task)
    }

    pub fn get(&mut self, slot: Slot) -> Option<&mut Task> {
        self.by_slot.get_mut(&slot)
    }

    pub fn named(&self, id: &str) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// The running task whose main process this is.
    pub fn of_pid(&self, pid: i32) -> Option<Slot> {
        self.by_pid.get(&pid).copied()
    }

    pub fn set_pid(&mut self, pid: i32, slot: Slot) {
        self.by_pid.insert(pid, slot);
    }

    /// The main process is gone, and its number may come back.
    pub fn clear_pid(&mut self, pid: i32) {
        self.by_pid.remove(&pid);
    }

    /// Tasks that still have something running.
    pub fn alive(&self) -> Vec<Slot> {
        let alive = |it: &Task| matches!(it.phase, Phase::Running(_) | Phase::Ending(..));
        self.by_slot.iter().filter(|(_, it)| alive(it)).map(|(slot, _)| *slot).collect()
    }

    pub fn any_alive(&self) -> bool {
        self.by_slot.values().any(|it| matches!(it.phase, Phase::Running(_) | Phase::Ending(..)))
    }

    pub fn set_timer(&mut self, slot: Slot, at: Option<u64>) {
        let Some(task) = self.by_slot.get_mut(&slot) else { return };
        if let Some(before) = task.timer.take() {
            self.timers.remove(&(before, slot));
        }
        if let Some(at) = at {
            task.timer = Some(at);
            self.timers.insert((at, slot));
        }
    }

    pub fn next_timer(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn take_due(&mut self, now: u64) -> Vec<Slot> {
        let mut due = Vec::new();
        while let Some((at, slot)) = self.timers.first().copied()
            && at <= now
        {
            self.set_timer(slot, None);
            due.push(slot);
        }
        due
    }

    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.by_slot.iter().flat_map(|(slot, task)| task.records(*slot))
    }
}
