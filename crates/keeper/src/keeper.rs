//! The loop: one thread, one epoll, all tasks.
//!
//! ```text
//! signals, pipes, handles, sockets ─► note what happened ─► requests ─► settle what ended
//!      ─► journal ─► send events ─► (when idle) chores: clean up after what ended
//! ```
//! Every wake-up does a bounded amount of work per source, so no task and no request waits long behind a
//! loud one. What was journaled goes out afterwards, never before.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use marathon_posix::{Spawner, boottime_ms};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signalfd::SignalFd;

use crate::cgroup::{Base, Group};
use crate::connection::Connection;
use crate::journal::{Journal, Record, Slot};
use crate::note;
use crate::procfs::Stat;
use crate::protocol::{Event, Lifetime, Limits};
use crate::task::Tasks;

/// How long a keeper with nothing to do stays, in case a server comes back at once.
const IDLE_MS: u64 = 5000;
/// Longest sleep: epoll's clock stands still while the machine is suspended, deadlines do not.
const SLEEP_MAX_MS: u64 = 60_000;
/// Peers that have connected; all but one are on their way to be refused.
const CONNECTIONS_MAX: usize = 16;
/// Chores put off at most, before they are done in between.
const CHORES_MAX: usize = 512;
const EVENTS_MAX: usize = 256;

/// What a descriptor in the epoll set is; with a number, packed into the 64 bits the kernel hands back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    Signals,
    Listener,
    Connection,
    Stdout,
    Stderr,
    Reports,
    Handle,
}

const SOURCES: [Source; 7] = [
    Source::Signals,
    Source::Listener,
    Source::Connection,
    Source::Stdout,
    Source::Stderr,
    Source::Reports,
    Source::Handle,
];

pub fn token(source: Source, number: u64) -> u64 {
    ((source as u64) << 56) | (number & ((1 << 56) - 1))
}

fn untoken(token: u64) -> Option<(Source, u64)> {
    let source = SOURCES.into_iter().find(|it| *it as u64 == token >> 56)?;
    Some((source, token & ((1 << 56) - 1)))
}

/// Work that nobody waits for.
#[derive(Debug)]
pub enum Chore {
    PrepareLogs(Slot),
    Unlink(PathBuf),
    RemoveGroup(Group),
}

/// A group that could not be removed yet.
#[derive(Debug)]
pub struct Stuck {
    group: Group,
    tries: u32,
    /// Boot time of the next try.
    due: u64,
}

/// Removing a group takes the kernel about a millisecond, and a start may be on its way.
const CHORES_AT_ONCE: usize = 4;
/// So long nothing must happen before chores are done.
const CHORES_PAUSE_MS: u64 = 3;
/// The kernel lets go of a group a moment after its last process was reaped, on a busy machine many.
const REMOVE_PAUSE_MS: u64 = 10;
const REMOVE_TRIES: u32 = 200;

/// What is to be done once nothing runs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    No,
    /// All tasks were told to end; a server that comes back keeps the keeper.
    WhenEnded,
    /// A server asked for it.
    Ordered,
    Now,
}

/// What tasks get that differs from the keeper's own.
#[derive(Debug)]
pub struct Inherited {
    pub open_files: Option<(u64, u64)>,
    pub oom_score: Option<CString>,
}

#[derive(Debug)]
pub struct Keeper {
    pub dir: PathBuf,
    pub pipes: PathBuf,
    pub build: String,
    pub epoll: Epoll,
    pub signals: SignalFd,
    pub listener: UnixListener,
    /// Held as long as this keeper lives.
    pub lock: File,
    pub journal: Journal,
    pub spawner: Spawner,
    pub base: Base,
    pub inherited: Inherited,
    pub tasks: Tasks,
    /// Tasks whose main process is gone, to be looked at before the loop sleeps.
    pub unsettled: Vec<Slot>,
    pub connections: HashMap<u64, Connection>,
    pub next_connection: u64,
    /// The server.
    pub active: Option<u64>,
    pub lifetime: Lifetime,
    /// It had a server.
    pub greeted: bool,
    /// Boot time since which there is no server.
    pub alone_since: u64,
    pub stopping: Stopping,
    pub chores: VecDeque<Chore>,
    /// Started in this round; their share of the processors is set once the server knows of them.
    pub unlimited: Vec<(Slot, Limits)>,
    pub stuck: VecDeque<Stuck>,
    /// Report pipes not listened to while the server is slow.
    pub muted: Vec<Slot>,
    /// All processes, as of this round of the loop.
    pub processes: Option<Vec<Stat>>,
    pub boot: String,
}

impl Keeper {
    pub fn run(&mut self) -> io::Result<()> {
        while self.stopping != Stopping::Now {
            self.round()?;
        }
        self.leave();
        Ok(())
    }

    fn round(&mut self) -> io::Result<()> {
        self.processes = None;
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let timeout = self.sleep_ms();
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for event in &events[..count] {
            if let Some((source, number)) = untoken(event.data()) {
                self.on_event(source, number, event.events());
            }
        }
        for slot in self.tasks.take_due(boottime_ms()) {
            self.on_timer(slot);
        }
        self.serve();
        self.settle();
        self.keep_journal();
        self.send();
        self.limit_started();
        if (count == 0 && !self.requests_wait()) || self.chores.len() > CHORES_MAX {
            self.do_chores();
        }
        self.retry_groups();
        self.watch_lifetime();
        Ok(())
    }

    fn on_event(&mut self, source: Source, number: u64, flags: EpollFlags) {
        match source {
            Source::Signals => self.reap(),
            Source::Listener => self.accept(),
            Source::Connection => self.on_connection(number, flags),
            Source::Stdout | Source::Stderr => self.copy_output(number, source),
            Source::Reports => self.read_reports(number),
            Source::Handle => self.on_handle(number),
        }
    }

    /// Zero while there is work at hand; else until the next deadline.
    fn sleep_ms(&self) -> EpollTimeout {
        let now = boottime_ms();
        let waiting = self.requests_wait() || self.answers_wait();
        let stuck = self.stuck.front().map(|it| it.due);
        let deadline = [self.tasks.next_timer(), self.lonely_deadline(), stuck].into_iter().flatten().min();
        let ms = match deadline {
            _ if waiting => 0,
            // What ends is often followed by a start, which must not wait for the cleaning.
            Some(at) if !self.chores.is_empty() => at.saturating_sub(now).min(CHORES_PAUSE_MS),
            None if !self.chores.is_empty() => CHORES_PAUSE_MS,
            Some(at) => at.saturating_sub(now).min(SLEEP_MAX_MS),
            None => SLEEP_MAX_MS,
        };
        EpollTimeout::try_from(ms).unwrap_or(EpollTimeout::ZERO)
    }

    fn requests_wait(&self) -> bool {
        self.connections.values().any(|it| !it.closing && it.has_line() && !it.congested())
    }

    /// Something is to be sent that was not tried yet: before its first round a keeper may have a welcome.
    fn answers_wait(&self) -> bool {
        self.connections.values().any(|it| it.has_unsent() && !it.waits_to_send)
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.connections.len() >= CONNECTIONS_MAX || stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.add_connection(Connection::new(stream, Vec::new()));
        }
    }

    pub fn add_connection(&mut self, connection: Connection) -> Option<u64> {
        let number = self.next_connection;
        let interest =
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, token(Source::Connection, number));
        self.epoll.add(&connection.stream, interest).ok()?;
        self.next_connection += 1;
        self.connections.insert(number, connection);
        Some(number)
    }

    fn on_connection(&mut self, number: u64, flags: EpollFlags) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let gone = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        let alive = match connection.read() {
            Ok(alive) => alive,
            Err(error) => {
                note!("a connection broke: {error}");
                false
            }
        };
        // It neither sends nor listens any more.
        let gone = gone || (flags.contains(EpollFlags::EPOLLRDHUP) && connection.congested());
        // Requests that came before the end still count, unless nobody would hear the answer to the first.
        if (!alive && !connection.has_line()) || (gone && (connection.congested() || !connection.greeted)) {
            self.drop_connection(number);
        }
    }

    pub fn drop_connection(&mut self, number: u64) {
        self.connections.remove(&number);
        if self.active == Some(number) {
            self.active = None;
            self.unmute();
            self.server_left();
        }
    }

    /// Queues an event for the server, if there is one. Without one, its `Welcome` will tell.
    pub fn tell(&mut self, event: &Event) {
        if let Some(connection) = self.active.and_then(|it| self.connections.get_mut(&it)) {
            connection.put(event);
        }
    }

    fn send(&mut self) {
        let mut lost = Vec::new();
        for (number, connection) in &mut self.connections {
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            match connection.send() {
                Ok(true) if connection.closing => lost.push(*number),
                Ok(all) if all == connection.waits_to_send => {
                    connection.waits_to_send = !all;
                    // While the peer does not listen it is not listened to either.
                    let interest = if all { interest } else { EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP };
                    let mut event = EpollEvent::new(interest, token(Source::Connection, *number));
                    let _ = self.epoll.modify(&connection.stream, &mut event);
                }
                Ok(_) => {}
                Err(_) => lost.push(*number),
            }
        }
        for number in lost {
            self.drop_connection(number);
        }
        if !self.muted.is_empty() && !self.active_congested() {
            self.unmute();
        }
    }

    pub fn active_congested(&self) -> bool {
        self.active.and_then(|it| self.connections.get(&it)).is_some_and(Connection::congested)
    }

    /// Writes down what gathered. A journal that cannot be written is tried again as a whole.
    pub fn keep_journal(&mut self) {
        if let Err(error) = self.journal.flush() {
            note!("cannot write the journal: {error}");
        }
        if self.journal.wants_rewrite() {
            self.rewrite_journal();
        }
    }

    pub fn rewrite_journal(&mut self) -> bool {
        let head =
            [Record::Boot { id: self.boot.clone(), next: self.tasks.next }, Record::Lifetime(self.lifetime)];
        let done = self.journal.rewrite(head.into_iter().chain(self.tasks.records()));
        if let Err(error) = &done {
            note!("cannot rewrite the journal: {error}");
        }
        done.is_ok()
    }

    /// A quota costs as much as the whole start, and changes nothing about a process that runs for less
    /// than a millisecond; a task that cannot be limited must not run, though.
    fn limit_started(&mut self) {
        for (slot, limits) in std::mem::take(&mut self.unlimited) {
            let Some(task) = self.tasks.get(slot) else { continue };
            let group = task.kept.group.clone();
            let Some(group) = group.filter(|_| task.live().is_some()) else { continue };
            if let Err(error) = self.base.limit_cpu(&group, &limits) {
                note!("cannot limit the processors of task {slot}, so it is ended: {error}");
                group.kill();
            }
        }
    }

    fn do_chores(&mut self) {
        for _ in 0..CHORES_AT_ONCE {
            let Some(chore) = self.chores.pop_front() else { return };
            match chore {
                Chore::PrepareLogs(slot) => {
                    if let Some(live) = self.tasks.get(slot).and_then(|it| it.live()) {
                        [&mut live.stdout, &mut live.stderr]
                            .into_iter()
                            .flatten()
                            .for_each(|it| it.log.prepare());
                    }
                }
                Chore::Unlink(path) => drop(fs::remove_file(path)),
                Chore::RemoveGroup(group) => self.remove_group(group, 0),
            }
        }
    }

    fn remove_group(&mut self, group: Group, tries: u32) {
        // Only what cannot be killed (asleep in the kernel) stays; the next keeper tries again.
        if group.remove().is_err() && tries < REMOVE_TRIES {
            group.kill();
            let due = boottime_ms() + REMOVE_PAUSE_MS;
            self.stuck.push_back(Stuck { group, tries: tries + 1, due });
        }
    }

    /// In the order they became stuck, which is the one they are due in.
    fn retry_groups(&mut self) {
        let now = boottime_ms();
        while let Some(Stuck { group, tries, .. }) = self.stuck.pop_front_if(|it| it.due <= now) {
            self.remove_group(group, tries);
        }
    }

    /// When something is due because there is no server.
    fn lonely_deadline(&self) -> Option<u64> {
        if self.active.is_some() {
            return None;
        }
        let idle = (!self.tasks.any_alive()).then_some(self.alone_since.saturating_add(IDLE_MS));
        let failover =
            (self.stopping == Stopping::No).then(|| self.alone_since.saturating_add(self.failover_ms()));
        [idle, failover].into_iter().flatten().min()
    }

    fn failover_ms(&self) -> u64 {
        // A cast of a float saturates, and turns what is no number into zero.
        let asked = (self.lifetime.failover_secs.max(0.0) * 1000.0) as u64;
        // Whoever started this keeper is about to connect, however short the last server's patience was.
        if self.greeted { asked } else { asked.max(IDLE_MS) }
    }

    fn watch_lifetime(&mut self) {
        let now = boottime_ms();
        let alive = self.tasks.any_alive();
        if self.stopping == Stopping::Ordered && !alive {
            // The last events are on their way; only a server that does not read could lose them.
            self.stopping = Stopping::Now;
        }
        if self.active.is_some() {
            return;
        }
        let alone = now.saturating_sub(self.alone_since);
        if !alive && (self.stopping != Stopping::No || alone >= IDLE_MS) {
            self.stopping = Stopping::Now;
        } else if self.stopping == Stopping::No && alone >= self.failover_ms() {
            note!("no server for {} s, ending all tasks", alone / 1000);
            self.end_all(false);
        }
    }

    fn server_left(&mut self) {
        self.alone_since = boottime_ms();
        if !self.lifetime.checkpoint && self.stopping == Stopping::No {
            note!("the server is gone, ending all tasks, as it asked for");
            self.end_all(false);
        }
    }

    /// The last things before the process ends.
    fn leave(&mut self) {
        while !self.chores.is_empty() || !self.stuck.is_empty() {
            self.do_chores();
            if self.chores.is_empty() && !self.stuck.is_empty() {
                std::thread::sleep(Duration::from_millis(REMOVE_PAUSE_MS));
            }
            self.retry_groups();
        }
        self.rewrite_journal();
        let _ = fs::remove_file(self.dir.join(crate::socket::NAME));
        // Both refuse while something is still in there.
        let _ = fs::remove_dir(&self.pipes);
        self.base.tidy();
    }

    /// Stops listening to a report pipe while the server has enough to read.
    pub fn mute(&mut self, slot: Slot) {
        self.set_interest(slot, EpollFlags::empty());
        self.muted.push(slot);
    }

    fn unmute(&mut self) {
        for slot in std::mem::take(&mut self.muted) {
            self.set_interest(slot, EpollFlags::EPOLLIN);
        }
    }

    fn set_interest(&mut self, slot: Slot, flags: EpollFlags) {
        if let Some(reports) = self.tasks.get(slot).and_then(|it| it.live()?.reports.as_ref()) {
            let mut event = EpollEvent::new(flags, token(Source::Reports, slot));
            let _ = self.epoll.modify(reports.pipe.as_fd(), &mut event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back() {
        for source in SOURCES {
            for number in [0, 1, (1 << 56) - 1] {
                assert_eq!(untoken(token(source, number)), Some((source, number)));
            }
        }
        assert_eq!(untoken(u64::MAX), None);
    }
}
