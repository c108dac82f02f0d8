//! What will happen, and when. Time jumps from one entry to the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use marathon_model::event::ProbeResult;
use marathon_model::id::TaskId;
use marathon_model::offer::{Call, EngineEvent};

/// Milliseconds since the history began.
pub type Millis = u64;

#[derive(Debug, Clone)]
pub enum Happening {
    /// The engine's word reaches the scheduler, if the connection still stands.
    Told {
        connection: u64,
        event: EngineEvent,
    },
    /// A call reaches the engine.
    Called {
        connection: u64,
        call: Call,
    },
    /// A probe comes back to the process that sent it.
    Probed {
        term: u64,
        result: ProbeResult,
    },
    /// The moment the core asked to be woken at.
    Woke {
        term: u64,
    },
    /// A user thinks of something.
    Client,
    /// The engine makes offers.
    Allocate,
    Task {
        task: TaskId,
        what: TaskMove,
    },
    /// An agent's update was not acknowledged in time.
    Resend {
        task: TaskId,
        update: uuid::Uuid,
        attempt: u32,
    },
    AgentCut,
    /// The engine gives up waiting for an agent.
    AgentMissed {
        agent: usize,
    },
    AgentBack {
        agent: usize,
        cut: u64,
    },
    Rescind,
    /// Our own host is in trouble: for a while no probe gets through.
    Storm,
    /// An operator announces the maintenance of an agent.
    Maintenance,
    Disconnect,
    /// The engine accepts the scheduler's subscription.
    Connected {
        term: u64,
        again: bool,
    },
    Restart,
    ClockStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskMove {
    Starting,
    Running,
    Failed,
    Finished,
    /// The engine's own check found out something new.
    Sicken,
    Recover,
    /// The grace period of a kill is over.
    Dead,
}

/// When, in which order among those of one moment, and where in `whats`.
type Entry = (Millis, u64, usize);

#[derive(Debug, Default)]
pub struct Agenda {
    pub now: Millis,
    entries: BinaryHeap<Reverse<Entry>>,
    /// What will happen, kept apart from the heap: a happening is large, and a heap moves its entries about.
    whats: Vec<Option<Happening>>,
    free: Vec<usize>,
    order: u64,
}

impl Agenda {
    pub fn at(&mut self, at: Millis, what: Happening) {
        self.order += 1;
        let place = self.free.pop().unwrap_or(self.whats.len());
        match self.whats.get_mut(place) {
            Some(slot) => *slot = Some(what),
            None => self.whats.push(Some(what)),
        }
        self.entries.push(Reverse((at.max(self.now), self.order, place)));
    }

    pub fn after(&mut self, delay: Millis, what: Happening) {
        self.at(self.now + delay, what);
    }

    pub fn next_at(&self) -> Option<Millis> {
        self.entries.peek().map(|it| it.0.0)
    }

    pub fn pop(&mut self) -> Option<Happening> {
        let Reverse((at, _, place)) = self.entries.pop()?;
        self.now = self.now.max(at);
        self.free.push(place);
        self.whats[place].take()
    }
}
