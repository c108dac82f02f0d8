//! The thread around the agent: takes what comes, does what the agent wants done.
//!
//! One thread of its own, not a task of the runtime: it makes folders and writes to the keeper, which
//! may block, and a start should cost as few changes of context as possible. Fetching and checking go
//! on in the runtime and come back as inputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use marathon_keeper::protocol::{Process, Request};
use marathon_model::id::TaskId;
use marathon_model::offer::EngineEvent;
use marathon_model::time::{Now, Tick, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;

use crate::agent::{Agent, Effect, Input, Watch};
use crate::checks::Checker;
use crate::durable;
use crate::fetch::Fetcher;
use crate::kept::Kept;
use crate::link::{Connector, Link};
use crate::pod::{Start, whole};
use crate::ports::Listening;
use crate::prepare::Prepare;
use crate::sandbox::{self, folder_name};

/// What arrives at the thread.
pub enum Message {
    Input(Input),
    /// A connection to the keeper ended; the number tells which.
    Lost(u64),
    /// All containers of this engine.
    Containers(Vec<marathon_docker::Found>),
    /// Somebody is there to be told something.
    Begin,
    Stop,
}

/// As many inputs are taken together before offers and answers go out.
const BATCH: usize = 1024;
/// As many starts are handed to the keeper at a time; what it says of others is heard in between.
const STARTS_AT_A_TIME: usize = 16;
const COLLECT_PAUSE: Duration = Duration::from_secs(60);
/// Sandboxes grow old without anything happening.
const COLLECT_INTERVAL: Duration = Duration::from_secs(3600);
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_CEILING: Duration = Duration::from_secs(5);

pub struct Shell {
    pub agent: Agent,
    pub inbox: Receiver<Message>,
    pub sender: Sender<Message>,
    pub outbox: tokio::sync::mpsc::Sender<EngineEvent>,
    /// Becomes true when the engine is to stop, also while nobody takes its events.
    pub stopping: tokio::sync::watch::Receiver<bool>,
    pub connector: Connector,
    pub link: Link,
    pub prepare: Arc<Prepare>,
    pub fetcher: Arc<Fetcher>,
    pub checker: Checker,
    pub runtime: Handle,
    pub work: Work,
}

/// What is under way.
pub struct Work {
    begin: Instant,
    fetches: BTreeMap<TaskId, AbortHandle>,
    checks: BTreeMap<TaskId, Vec<AbortHandle>>,
    listening: Listening,
    /// Launches whose sandboxes are still to be made.
    starts: VecDeque<Start>,
    requests: Vec<Request>,
    events: Vec<EngineEvent>,
    /// Messages that came while the keeper was away.
    backlog: VecDeque<Message>,
    /// When old sandboxes were last looked for, and whether tasks have ended since.
    collected: Option<Instant>,
    collect_soon: bool,
    /// What is reserved, not stored yet.
    unsaved: Option<Kept>,
    /// Data of volumes is to be removed.
    sweep_soon: bool,
}

impl Default for Work {
    fn default() -> Work {
        let begin = Instant::now();
        Work {
            begin,
            fetches: BTreeMap::new(),
            checks: BTreeMap::new(),
            listening: Listening::default(),
            starts: VecDeque::new(),
            requests: Vec::new(),
            events: Vec::new(),
            backlog: VecDeque::new(),
            collected: None,
            collect_soon: true,
            unsaved: None,
            // A server that was killed may have left some.
            sweep_soon: true,
        }
    }
}

impl Work {
    fn collect_at(&self) -> Instant {
        let wait = if self.collect_soon { COLLECT_PAUSE } else { COLLECT_INTERVAL };
        self.collected.map_or(self.begin, |it| it + wait)
    }
}

/// Why the thread ends.
enum End {
    Asked,
    /// Nobody takes the events any more.
    Abandoned,
}

impl Shell {
    /// Runs until told to stop. `welcome` is the first thing the agent hears.
    pub fn run(mut self, welcome: Input) {
        let end = match self.await_begin().and_then(|()| self.hello(welcome)) {
            Ok(()) => self.serve(),
            Err(end) => end,
        };
        if let End::Abandoned = end {
            tracing::debug!("nobody takes the engine's events any more; it stops");
        }
        let fetches = self.work.fetches.values();
        fetches.chain(self.work.checks.values().flatten()).for_each(AbortHandle::abort);
        self.prepare.places.tidy();
        // With the connection, the keeper begins to count down the failover timeout (or ends the tasks
        // at once, without checkpoints).
    }

    fn hello(&mut self, welcome: Input) -> Result<(), End> {
        self.input(welcome);
        self.look_for_containers();
        self.rest()
    }

    fn await_begin(&mut self) -> Result<(), End> {
        loop {
            match self.inbox.recv() {
                Ok(Message::Begin) => return Ok(()),
                Ok(Message::Stop) | Err(_) => return Err(End::Asked),
                Ok(early) => self.work.backlog.push_back(early),
            }
        }
    }

    fn serve(&mut self) -> End {
        loop {
            let mut next = match self.wait() {
                Some(message) => Some(message),
                None => Some(Message::Input(Input::Woke)),
            };
            for _ in 0..BATCH {
                let Some(message) = next.take() else { break };
                match message {
                    Message::Stop => return End::Asked,
                    Message::Lost(number) if number == self.link.number => {
                        if let Err(end) = self.reconnect() {
                            return end;
                        }
                    }
                    Message::Containers(found) => self.remove_unknown(found),
                    Message::Lost(_) | Message::Begin => {}
                    Message::Input(input) => self.input(input),
                }
                next = self.work.backlog.pop_front().or_else(|| self.inbox.try_recv().ok());
            }
            self.work.backlog.extend(next);
            self.some_starts();
            if let Err(end) = self.rest() {
                return end;
            }
        }
    }

    /// Begins some of the starts that wait. The keeper takes them about as fast as it carries them
    /// out, so what it says of the first must not wait until the last is handed over.
    fn some_starts(&mut self) {
        let count = STARTS_AT_A_TIME.min(self.work.starts.len());
        for start in self.work.starts.drain(..count).collect::<Vec<_>>() {
            self.prepare(start);
        }
    }

    /// The next message, or `None` when the time has come for something else.
    fn wait(&mut self) -> Option<Message> {
        if let Some(message) = self.work.backlog.pop_front() {
            return Some(message);
        }
        if !self.work.starts.is_empty() {
            return self.inbox.try_recv().ok();
        }
        let collect = self.work.collect_at().saturating_duration_since(Instant::now());
        let update = self.agent.next_wakeup().map(|it| it - self.now().tick);
        let limit = update.map_or(collect, |it| collect.min(it)).max(Duration::from_millis(1));
        match self.inbox.recv_timeout(limit) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Stop),
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let wall = Timestamp(i64::try_from(millis(wall)).unwrap_or(i64::MAX));
        Now { wall, tick: Tick(millis(self.work.begin.elapsed())) }
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.agent.step(input, self.now(), &mut effects);
        effects.into_iter().for_each(|it| self.apply(it));
    }

    /// What is due after a batch: offers, then everything leaves the house.
    fn rest(&mut self) -> Result<(), End> {
        let mut effects = Vec::new();
        let now = self.now();
        self.agent.settle(now, &mut || self.work.listening.now(), &mut effects);
        effects.into_iter().for_each(|it| self.apply(it));
        self.save();
        self.hand_over();
        self.send_events()?;
        self.collect();
        Ok(())
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Tell(event) => self.work.events.push(event),
            Effect::Keep(request) => self.work.requests.push(request),
            Effect::Prepare(start) => self.work.starts.push_back(start),
            Effect::Cancel(task) => {
                self.work.starts.retain(|it| it.launch.task != task);
                if let Some(fetch) = self.work.fetches.remove(&task) {
                    fetch.abort();
                }
            }
            Effect::Watch(watch) => self.watch(watch),
            Effect::Unwatch(task) => {
                self.work.checks.remove(&task).iter().flatten().for_each(AbortHandle::abort);
            }
            Effect::Sweep(task) => {
                let (docker, owner) = (self.docker(), self.prepare.agent.to_string());
                self.runtime.spawn(async move {
                    if let Err(error) = docker.remove_of_task(&owner, &task.to_string()).await {
                        tracing::warn!(%task, %error, "a container may be left over");
                    }
                });
            }
            Effect::Save(kept) => self.work.unsaved = Some(kept),
            Effect::CreateVolume(id) => {
                if let Err(error) = durable::create(&self.prepare.places, &id) {
                    tracing::error!(volume = id, %error, "cannot make a volume; tasks that need it will not start");
                }
            }
            Effect::RemoveVolume(id) => {
                if let Err(error) = durable::discard(&self.prepare.places, &id) {
                    tracing::error!(volume = id, %error, "cannot remove a volume");
                }
                self.work.sweep_soon = true;
            }
            Effect::Clean(task) => {
                let _ = fs::remove_dir_all(self.prepare.places.private(&task));
                self.work.collect_soon = true;
            }
        }
    }

    /// To the keeper. If it is gone, its connection's reader finds out, too, and says so.
    fn hand_over(&mut self) {
        if !self.work.requests.is_empty() {
            self.link.send(&self.work.requests);
            self.work.requests.clear();
        }
    }

    fn send_events(&mut self) -> Result<(), End> {
        for event in self.work.events.drain(..) {
            match self.outbox.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Err(End::Abandoned),
                Err(TrySendError::Full(event)) => {
                    let (outbox, stopping) = (&self.outbox, &mut self.stopping);
                    self.runtime.block_on(async {
                        tokio::select! {
                            sent = outbox.send(event) => sent.map_err(|_| End::Abandoned),
                            _ = stopping.wait_for(|it| *it) => Err(End::Asked),
                        }
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Before anybody hears of it. A failure is tried again with whatever comes next.
    fn save(&mut self) {
        if let Some(kept) = &self.work.unsaved {
            match durable::save(&self.prepare.places, kept) {
                Ok(()) => self.work.unsaved = None,
                Err(error) => tracing::error!(%error, "cannot store what is reserved"),
            }
        }
        if std::mem::take(&mut self.work.sweep_soon) {
            let prepare = self.prepare.clone();
            self.runtime.spawn_blocking(move || durable::sweep(&prepare.places));
        }
    }

    // ---- starts ----

    fn prepare(&mut self, start: Start) {
        if start.launch.fetch.is_empty() && !self.prepare.has_secrets(&start) {
            let process =
                self.prepare.sandbox(&start).and_then(|(path, who)| self.prepare.process(&start, &path, who));
            return self.input(prepared(&start, process));
        }
        let (prepare, fetcher, sender) = (self.prepare.clone(), self.fetcher.clone(), self.sender.clone());
        let task = start.launch.task.clone();
        self.work.fetches.retain(|_, it| !it.is_finished());
        let fetch = self.runtime.spawn(async move {
            let start = Arc::new(start);
            let process = slowly(start.clone(), prepare, &fetcher).await;
            let _ = sender.send(Message::Input(prepared(&start, process)));
        });
        self.work.fetches.insert(task, fetch.abort_handle());
    }

    fn watch(&mut self, watch: Watch) {
        let watch = Arc::new(watch);
        let tell = || {
            let sender = self.sender.clone();
            move |input| drop(sender.send(Message::Input(input)))
        };
        let mut handles = Vec::new();
        if let Some(check) = &watch.start.launch.health_check {
            let health = self.checker.clone().health(watch.clone(), check.clone(), tell());
            handles.push(self.runtime.spawn(health).abort_handle());
        }
        if let Some(check) = &watch.start.launch.check {
            let check = self.checker.clone().check(watch.clone(), check.clone(), tell());
            handles.push(self.runtime.spawn(check).abort_handle());
        }
        let before = self.work.checks.insert(watch.start.launch.task.clone(), handles);
        before.iter().flatten().for_each(AbortHandle::abort);
    }

    // ---- the keeper ----

    /// Tasks live on while the keeper is replaced; the core is told that we are away meanwhile.
    fn reconnect(&mut self) -> Result<(), End> {
        tracing::warn!("the keeper is gone; starting it again");
        self.input(Input::KeeperLost);
        self.work.requests.clear();
        self.send_events()?;
        let mut pause = RECONNECT_FIRST;
        loop {
            match self.connector.connect(self.link.number + 1, &self.sender) {
                Ok((link, welcome)) => {
                    self.link = link;
                    self.input(welcome);
                    return Ok(());
                }
                Err(error) => tracing::error!(%error, "cannot reach the keeper"),
            }
            let again = Instant::now() + pause;
            pause = (pause * 2).min(RECONNECT_CEILING);
            while let Some(left) = again.checked_duration_since(Instant::now()) {
                match self.inbox.recv_timeout(left) {
                    Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return Err(End::Asked),
                    Ok(message) => self.work.backlog.push_back(message),
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }

    // ---- leftovers ----

    fn docker(&self) -> marathon_docker::Docker {
        let socket = self.prepare.config.docker_socket.clone();
        marathon_docker::Docker::new(&socket.unwrap_or_else(marathon_docker::default_socket))
    }

    /// Looks for containers of tasks that nobody knows any more, as after a reboot. Without a daemon
    /// there are none.
    fn look_for_containers(&self) {
        let (docker, owner, sender) = (self.docker(), self.prepare.agent.to_string(), self.sender.clone());
        self.runtime.spawn(async move {
            let found = docker.containers(&owner).await.unwrap_or_default();
            let _ = sender.send(Message::Containers(found));
        });
    }

    /// A task that is not known when its container has been found will never be.
    fn remove_unknown(&self, found: Vec<marathon_docker::Found>) {
        let known: BTreeSet<String> = self.agent.known().map(TaskId::to_string).collect();
        let docker = self.docker();
        self.runtime.spawn(async move {
            for container in found.iter().filter(|it| !known.contains(&it.task)) {
                tracing::info!(
                    container = container.name,
                    task = container.task,
                    "removing a left-over container"
                );
                if let Err(error) = docker.remove(&container.name).await {
                    tracing::warn!(container = container.name, %error, "cannot remove it");
                }
            }
        });
    }

    fn collect(&mut self) {
        let now = Instant::now();
        if now < self.work.collect_at() {
            return;
        }
        self.work.collect_soon = false;
        self.work.collected = Some(now);
        let folders = |it: &TaskId| [folder_name(it), folder_name(&whole(it))];
        let in_use: BTreeSet<String> = self.agent.known().flat_map(folders).collect();
        let prepare = self.prepare.clone();
        self.runtime.spawn_blocking(move || {
            sandbox::collect(&prepare.places, &in_use, prepare.config.retention);
        });
    }
}

fn prepared(start: &Start, process: Result<Process, String>) -> Input {
    Input::Prepared { task: start.launch.task.clone(), process: process.map(Box::new) }
}

/// With fetching, and with secrets, whose source may let us wait.
async fn slowly(start: Arc<Start>, prepare: Arc<Prepare>, fetcher: &Fetcher) -> Result<Process, String> {
    let (sandbox, who) = prepare.sandbox(&start)?;
    if !start.launch.fetch.is_empty() {
        fetcher.fetch(&start.launch.fetch, &sandbox, who.as_ref()).await?;
    }
    let rest = move || prepare.process(&start, &sandbox, who);
    tokio::task::spawn_blocking(rest).await.unwrap_or_else(|error| Err(error.to_string()))
}
