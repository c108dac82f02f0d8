//! The server's requests.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};

use crate::client::IN_USE;
use crate::connection::Connection;
use crate::handover;
use crate::journal::{Asked, Record, Slot};
use crate::keeper::{Chore, Keeper, Stopping};
use crate::launch::Intent;
use crate::note;
use crate::protocol::{End, Event, How, Lifetime, PROTOCOL, Refusal, Request};
use crate::task::Phase;
use marathon_posix::boottime_ms;

/// Requests taken per round of the loop: starts are slow, and output must not wait for all of them.
const REQUESTS_PER_ROUND: usize = 32;
/// Grace of tasks that end because the server is gone.
const LONELY_GRACE_MS: u64 = 3000;

impl Keeper {
    pub fn serve(&mut self) {
        let mut numbers: Vec<u64> = self.connections.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let mut requests = Vec::new();
            while requests.len() < REQUESTS_PER_ROUND {
                let Some(connection) = self.connections.get_mut(&number) else { break };
                if connection.closing || connection.congested() {
                    break;
                }
                let Some(line) = connection.next_line() else { break };
                match serde_json::from_slice(&line) {
                    Ok(Request::Hello { protocol, build, executable, lifetime }) => {
                        self.hello(number, &line, protocol, build, &executable, lifetime);
                    }
                    Ok(request) => requests.push(request),
                    Err(error) => {
                        note!("a request cannot be read: {error}");
                        self.refuse(number, format!("this keeper cannot read a request: {error}"));
                    }
                }
            }
            if requests.is_empty() {
                continue;
            }
            if self.active == Some(number) {
                self.obey(requests);
            } else {
                self.refuse(number, "the first request of a connection must be a hello".to_owned());
            }
        }
    }

    fn hello(
        &mut self,
        number: u64,
        line: &[u8],
        protocol: u32,
        build: String,
        executable: &Path,
        lifetime: Lifetime,
    ) {
        if !self.connections.get(&number).is_some_and(permitted) {
            return self.refuse(number, "only the user who runs this keeper may use it".to_owned());
        }
        if let Some(active) = self.active.filter(|it| *it != number) {
            if !self.connections.get(&active).is_none_or(Connection::hung_up) {
                return self.refuse(number, format!("{IN_USE} {}", self.dir.display()));
            }
            self.drop_connection(active);
        }
        if build != self.build {
            // Comes back only if it failed.
            let error = handover::replace(self, number, line, &build, executable);
            note!("cannot become {}: {error}", executable.display());
            if protocol != PROTOCOL {
                let why = format!(
                    "the running keeper speaks protocol {PROTOCOL}, not {protocol}, and cannot be replaced: {error}"
                );
                return self.refuse(number, why);
            }
        }
        self.welcome(number, lifetime);
    }

    pub fn welcome(&mut self, number: u64, lifetime: Lifetime) {
        self.active = Some(number);
        self.greeted = true;
        self.lifetime = lifetime;
        self.journal.put(&Record::Lifetime(lifetime));
        if self.stopping == Stopping::WhenEnded {
            self.stopping = Stopping::No;
        }
        let mut slots: Vec<Slot> = self.tasks.by_slot.keys().copied().collect();
        slots.sort_unstable();
        let tasks =
            slots.iter().filter_map(|slot| self.tasks.by_slot.get(slot)).map(|it| it.report()).collect();
        let welcome = Event::Welcome {
            protocol: PROTOCOL,
            build: self.build.clone(),
            pid: std::process::id(),
            cgroups: self.base.describe(),
            tasks,
        };
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.greeted = true;
            connection.put(&welcome);
        }
    }

    fn refuse(&mut self, number: u64, why: String) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.put(&Refusal::Refused { why });
            connection.closing = true;
        }
    }

    /// In the order given. Starts that follow each other are written down together before the first of
    /// them happens.
    fn obey(&mut self, requests: Vec<Request>) {
        let mut intents = Vec::new();
        for request in requests {
            if !matches!(request, Request::Launch { .. }) {
                self.start_all(&mut intents);
            }
            match request {
                Request::Launch { task, process } => intents.extend(self.intend(task, process)),
                Request::Kill { task, grace_ms } => self.on_kill(task, grace_ms),
                Request::Forget { task } => self.forget(&task),
                Request::Shutdown { kill } => self.shut_down(kill),
                // Taken out before: see `serve`.
                Request::Hello { .. } => {}
            }
        }
        self.start_all(&mut intents);
    }

    fn start_all(&mut self, intents: &mut Vec<Intent>) {
        if intents.is_empty() {
            return;
        }
        // After an error there may be room again, for a shorter file.
        let written = self.journal.flush().is_ok() || self.rewrite_journal();
        for intent in intents.drain(..) {
            self.start(intent, written);
        }
    }

    fn on_kill(&mut self, task: String, grace_ms: u64) {
        match self.tasks.named(&task) {
            Some(slot) => {
                let ended = match self.tasks.get(slot).map(|it| &it.phase) {
                    Some(Phase::Ended(end)) => Some(end.clone()),
                    _ => None,
                };
                match ended {
                    Some(end) => self.tell(&Event::Ended { task, end }),
                    None => self.ask(slot, grace_ms, true),
                }
            }
            None => {
                let why = "the keeper does not know it".to_owned();
                let end = End {
                    how: How::Vanished { why },
                    out_of_memory: false,
                    asked: true,
                    at_ms: crate::wall_ms(),
                };
                self.tell(&Event::Ended { task, end });
            }
        }
    }

    /// SIGTERM now, SIGKILL when the grace is over; asking again can only bring that forward.
    pub fn ask(&mut self, slot: Slot, grace_ms: u64, by_server: bool) {
        let Some(task) = self.tasks.get(slot) else { return };
        if !matches!(task.phase, Phase::Running(_)) {
            return;
        }
        let first = task.asked.is_none();
        let due = boottime_ms().saturating_add(grace_ms);
        let before = task.asked.unwrap_or(Asked { kill_at: due, by_server });
        let asked = Asked { kill_at: before.kill_at.min(due), by_server: before.by_server || by_server };
        task.asked = Some(asked);
        self.journal.put(&Record::Asked { slot, asked });
        self.tasks.set_timer(slot, Some(asked.kill_at));
        if first && grace_ms > 0 {
            self.signal_tree(slot, nix::libc::SIGTERM);
        }
    }

    pub fn end_all(&mut self, by_server: bool) {
        self.stopping = if by_server { Stopping::Ordered } else { Stopping::WhenEnded };
        for slot in self.tasks.alive() {
            self.ask(slot, LONELY_GRACE_MS, by_server);
        }
    }

    fn forget(&mut self, task: &str) {
        let Some(slot) = self.tasks.named(task) else { return };
        // A task that still runs is not forgotten: nobody would watch it any more.
        if self.tasks.get(slot).is_some_and(|it| matches!(it.phase, Phase::Ended(_))) {
            self.tasks.remove(slot);
            self.journal.put(&Record::Forgotten { slot });
        }
    }

    fn shut_down(&mut self, kill: bool) {
        if kill {
            self.end_all(true);
        } else {
            self.stopping = Stopping::Now;
        }
    }

    /// Takes a task's things out of the way, later.
    pub fn clean_up(&mut self, slot: Slot) {
        let Some(task) = self.tasks.get(slot) else { return };
        let pipes = crate::launch::pipe_paths(&task.kept.pipes, slot);
        let group = task.kept.group.clone();
        self.chores.extend(pipes.into_iter().map(Chore::Unlink));
        self.chores.extend(group.map(Chore::RemoveGroup));
    }
}

/// The folder keeps others out already; this holds even if somebody opened it up.
fn permitted(connection: &Connection) -> bool {
    let Ok(peer) = getsockopt(&connection.stream.as_fd(), sockopt::PeerCredentials) else { return false };
    peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw()
}

/// Number of a descriptor for the next program.
pub fn raw(fd: &impl AsRawFd) -> i32 {
    fd.as_raw_fd()
}

/// Whether there is a file at all, before this process gives itself up for it.
pub fn is_program(path: &Path) -> bool {
    path.is_absolute() && fs::metadata(path).is_ok_and(|it| it.is_file())
}
