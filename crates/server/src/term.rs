//! One leadership term: the loop that owns the core.
//!
//! ```text
//! commands ┐                                                               ┌► replies
//! statuses ├─► take all that waits ─► step each ─► commit once ─► view ──► ├► calls, probes
//! probes   ┘                                          │                    └► events
//!                                                     └─ failed: the term ends, nothing leaves
//! ```
//! The queues are bounded. A full command queue is answered with 503 by whoever asks; a full queue of the
//! engine or the prober makes them wait.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use imbl::OrdMap;
use marathon_core::Core;
use marathon_http::{Callbacks, EventHub};
use marathon_model::act::{Act, Batch};
use marathon_model::callback::{CallbackUrl, Subscriber};
use marathon_model::command::{Command, Reply};
use marathon_model::event::{Event, ProbeResult};
use marathon_model::id::RequestId;
use marathon_model::offer::EngineEvent;
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::view::View;
use marathon_model::write::Write;
use marathon_probe::Prober;
use marathon_store::{Entry, Store, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::news::News;

/// Commands that wait for the loop. More are refused.
pub const COMMANDS_MAX: usize = 4096;
/// Events of the engine, and results of probes, that wait for the loop. More make their sender wait.
pub const EVENTS_MAX: usize = 8192;
/// Events of one kind taken in one round, so that no commit grows without a bound.
const ROUND_MAX: usize = 1024;
/// A command with the way back to whoever asked.
pub type Question = (Command, oneshot::Sender<Reply>);

/// Both clocks of the process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX));
        Now { wall, tick: Tick(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)) }
    }

    fn instant(&self, tick: Tick) -> tokio::time::Instant {
        (self.began + Duration::from_millis(tick.0)).into()
    }
}

/// What reaches the loop.
pub struct Inbox {
    pub commands: mpsc::Receiver<Question>,
    pub engine: mpsc::Receiver<EngineEvent>,
    pub probes: mpsc::Receiver<ProbeResult>,
    /// Ends the term.
    pub stop: oneshot::Receiver<()>,
}

/// What the loop talks to.
pub struct Outside {
    pub views: Arc<ArcSwap<View>>,
    pub hub: Arc<EventHub>,
    /// Set once the engine is up; the core asks nothing of it before it has subscribed.
    pub engine: Arc<OnceLock<Engine>>,
    pub prober: Prober,
    pub callbacks: Option<Arc<Callbacks>>,
}

pub struct Term {
    pub core: Core,
    pub store: Store,
    pub clock: Clock,
    pub outside: Outside,
    waiting: HashMap<RequestId, oneshot::Sender<Reply>>,
    asked: u64,
    published: u64,
    /// Who the events go to, as last told.
    subscribers: OrdMap<CallbackUrl, Subscriber>,
    news: News,
}

impl Term {
    pub fn new(core: Core, store: Store, clock: Clock, outside: Outside) -> Term {
        Term {
            core,
            store,
            clock,
            outside,
            waiting: HashMap::new(),
            asked: 0,
            published: 0,
            subscribers: OrdMap::new(),
            news: News::default(),
        }
    }

    /// Makes durable what the restored core wants, and shows its state.
    pub fn begin(&mut self, first: Batch) -> Result<(), StoreError> {
        self.carry_out(first)?;
        self.publish();
        Ok(())
    }

    /// Runs until told to stop, or until the store fails. What is left of the term may take a moment to be dropped.
    pub fn run(&mut self, mut inbox: Inbox) -> Result<(), StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without IO needs nothing that could be refused");
        let mut events: Vec<Event> = Vec::with_capacity(ROUND_MAX);
        loop {
            let stopped = runtime.block_on(self.wait(&mut inbox, &mut events));
            self.take_waiting(&mut inbox, &mut events);
            self.round(&mut events)?;
            if stopped {
                break;
            }
        }
        // What was asked before the end is answered; what comes now is refused by the closed queue.
        inbox.commands.close();
        self.take_waiting(&mut inbox, &mut events);
        self.round(&mut events)
    }

    /// Waits for the first thing to happen. `true`: the term shall end.
    async fn wait(&mut self, inbox: &mut Inbox, events: &mut Vec<Event>) -> bool {
        let wakeup = self.core.next_wakeup().map(|(tick, _)| self.clock.instant(tick));
        let sleep = async {
            match wakeup {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = &mut inbox.stop => true,
            Some(event) = inbox.engine.recv() => {
                events.push(Event::Engine(event));
                false
            }
            Some(question) = inbox.commands.recv() => {
                let event = self.ask(question);
                events.push(event);
                false
            }
            Some(result) = inbox.probes.recv() => {
                events.push(Event::Probed(result));
                false
            }
            () = sleep => false,
        }
    }

    fn take_waiting(&mut self, inbox: &mut Inbox, events: &mut Vec<Event>) {
        let more = |taken: usize| taken < ROUND_MAX;
        let mut taken = 0;
        while more(taken)
            && let Ok(event) = inbox.engine.try_recv()
        {
            events.push(Event::Engine(event));
            taken += 1;
        }
        taken = 0;
        while more(taken)
            && let Ok(question) = inbox.commands.try_recv()
        {
            let event = self.ask(question);
            events.push(event);
            taken += 1;
        }
        taken = 0;
        while more(taken)
            && let Ok(result) = inbox.probes.try_recv()
        {
            events.push(Event::Probed(result));
            taken += 1;
        }
    }

    fn ask(&mut self, (command, reply): Question) -> Event {
        self.asked += 1;
        let from = RequestId(self.asked);
        self.waiting.insert(from, reply);
        Event::Asked { from, command }
    }

    /// Steps everything that waits and carries out what follows.
    fn round(&mut self, events: &mut Vec<Event>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for event in events.drain(..) {
            batch.append(self.core.step(event, self.clock.now()));
        }
        let now = self.clock.now();
        if self.core.next_wakeup().is_some_and(|(tick, _)| tick <= now.tick) {
            batch.append(self.core.step(Event::Woke, now));
        }
        self.carry_out(batch)?;
        self.snapshot();
        Ok(())
    }

    /// Invariant: nothing leaves before it is stored. Held by this order and nothing else.
    fn carry_out(&mut self, batch: Batch) -> Result<(), StoreError> {
        if !batch.writes.is_empty() {
            self.store.commit(&entries(&batch.writes))?;
        } else if !batch.acts.is_empty() {
            // What needs no write must not leave either once somebody else may lead.
            self.store.ensure_ours()?;
        }
        // Dropping what nobody looks at any more takes a while, and the acts need not wait for it.
        let _before = self.publish();
        let now = self.clock.now().tick;
        self.news.turn_over(now);
        for act in batch.acts {
            match act {
                Act::Engine(call) => {
                    if let Some(engine) = self.outside.engine.get() {
                        engine.call(call);
                    }
                }
                Act::Probe(probe) => self.outside.prober.probe(probe),
                Act::Publish(notice) => {
                    self.news.tell(&notice, now);
                    self.outside.hub.publish(notice);
                }
                Act::Reply(to, reply) => {
                    if let Some(waiting) = self.waiting.remove(&to) {
                        // Whoever asked may have gone; what was asked is done all the same.
                        let _ = waiting.send(reply);
                    }
                }
            }
        }
        Ok(())
    }

    /// Shows readers the present state, before any reply says that it is. Returns what they saw before.
    fn publish(&mut self) -> Option<Arc<View>> {
        if self.published == self.core.revision() {
            return None;
        }
        self.published = self.core.revision();
        let view = self.core.view();
        self.tell_subscribers(&view);
        Some(self.outside.views.swap(view))
    }

    /// Before the events of this round are published, so that a new subscriber gets its own.
    fn tell_subscribers(&mut self, view: &View) {
        if let Some(callbacks) = &self.outside.callbacks
            && !self.subscribers.ptr_eq(&view.callbacks)
        {
            self.subscribers = view.callbacks.clone();
            callbacks.follow(self.subscribers.keys());
        }
    }

    fn snapshot(&mut self) {
        if self.store.wants_snapshot() {
            let dump = marathon_records::snapshot(&self.core.view());
            if let Err(error) = self.store.begin_snapshot(dump) {
                tracing::warn!(
                    error = crate::exit::chain(&error),
                    "no snapshot could be begun; the log goes on"
                );
            }
        }
    }
}

/// The last write of each key, in order: what is overwritten within one commit need not be stored.
fn entries(writes: &[Write]) -> Vec<Entry> {
    let mut seen: HashSet<String> = HashSet::new();
    let mut entries: Vec<Entry> = Vec::with_capacity(writes.len());
    for write in writes.iter().rev() {
        let record = marathon_records::encode(write);
        if seen.insert(record.key.clone()) {
            entries.push(Entry { key: record.key, value: record.value });
        }
    }
    entries.reverse();
    entries
}
