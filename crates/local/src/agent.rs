//! The agent (and the master in front of it) as a state machine: inputs in, effects out.
//!
//! ```text
//!              ┌── Call ◄─────────── core ◄── EngineEvent ──┐
//!  keeper ─► Input ─► Agent::step ─► Effect ─► Keep ─► keeper
//!              ▲                       ├─────► Prepare ─► sandbox, fetch ─► Prepared ─┐
//!              └───────────────────────┴─────► Watch ─► Health, Check ◄───────────────┘
//! ```
//! After a batch of inputs, `Agent::settle` makes the offers that are due. No clock, no file, no
//! socket: the shell around it does what the effects say.

mod calls;
mod keeper;
mod offers;
mod pods;
mod statuses;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use marathon_keeper::protocol::{Event, Process, Request, TaskReport};
use marathon_model::id::{AgentId, FrameworkId, OfferId, TaskId};
use marathon_model::offer::{Attribute, Call, CheckResult, EngineEvent, IpAddress, Launch, TaskStatus};
use marathon_model::resources::Role;
use marathon_model::time::{Now, Tick};

use crate::kept::Kept;
use crate::ledger::Pools;
use crate::pod::Start;
use crate::task::{Stage, Task};

pub enum Input {
    /// The keeper answered; these are all tasks it knows.
    Welcome(Vec<TaskReport>),
    KeeperLost,
    Keeper(Event),
    Call(Call),
    /// The sandbox of a task is ready, or why it is not.
    Prepared {
        task: TaskId,
        process: Result<Box<Process>, String>,
    },
    Health {
        task: TaskId,
        outcome: Result<(), String>,
    },
    Check {
        task: TaskId,
        result: CheckResult,
    },
    Woke,
}

#[derive(Debug, PartialEq)]
pub enum Effect {
    Tell(EngineEvent),
    Keep(Request),
    Prepare(Start),
    /// Nobody waits for the preparation any more.
    Cancel(TaskId),
    Watch(Watch),
    Unwatch(TaskId),
    /// The runner of a container ended without having removed it.
    Sweep(TaskId),
    /// The task is forgotten by everybody; its private files can go.
    Clean(TaskId),
    /// What is reserved has changed.
    Save(Kept),
    CreateVolume(String),
    /// With its data.
    RemoveVolume(String),
}

/// Begin to carry out the checks of a task.
#[derive(Debug, PartialEq)]
pub struct Watch {
    pub start: Start,
    pub container: Option<String>,
    /// Where the task listens, when that is not this machine.
    pub address: Option<Arc<str>>,
    /// It ran before this server did: the initial delay has passed.
    pub adopted: bool,
}

/// What does not change while the server runs.
#[derive(Debug, Clone)]
pub struct About {
    pub agent: AgentId,
    pub framework: FrameworkId,
    pub hostname: Arc<str>,
    /// This machine's own address, shown for tasks on the host network.
    pub address: IpAddress,
    pub attributes: Arc<BTreeMap<String, Attribute>>,
    pub region: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    pub total: Pools,
    /// The roles to which offers are made.
    pub roles: Vec<Role>,
    pub default_grace: Duration,
    /// Sets the ids of this run apart from those of all others.
    pub seed: u64,
}

/// As Mesos does for an answer without a filter of its own.
const HOLD_AFTER_EMPTY_ACCEPT: Duration = Duration::from_secs(5);
/// As Mesos: a filter lasts at least one round of allocation, so that a core that declines without
/// any hold is not offered the same again in a tight loop.
const HOLD_FLOOR: Duration = Duration::from_secs(1);

pub struct Agent {
    about: About,
    tasks: BTreeMap<TaskId, Task>,
    offers: BTreeMap<OfferId, Made>,
    /// By role: what was declined, and until when it stays away.
    declined: BTreeMap<Role, Declined>,
    kept: Kept,
    suppressed: bool,
    subscribed: bool,
    again: bool,
    ids: u64,
}

/// An open offer.
struct Made {
    role: Role,
    pools: Pools,
    /// Reserved resources that no task uses.
    kept: Kept,
}

struct Declined {
    until: Tick,
    pools: Pools,
    kept: Kept,
}

impl Agent {
    pub fn new(about: About, kept: Kept) -> Agent {
        Agent {
            about,
            tasks: BTreeMap::new(),
            offers: BTreeMap::new(),
            declined: BTreeMap::new(),
            kept,
            suppressed: false,
            subscribed: false,
            again: false,
            ids: 0,
        }
    }

    /// What holds resources: tasks that are not over, and pods until the last of their containers is.
    pub fn live(&self) -> impl Iterator<Item = &Launch> {
        let mut pods = BTreeSet::new();
        self.tasks.values().filter(|it| it.stage != Stage::Ended).filter_map(move |it| match &it.member {
            None => Some(&*it.launch),
            Some(member) => pods.insert(&member.pod.task).then_some(&*member.pod),
        })
    }

    #[cfg(test)]
    pub fn task(&self, id: &TaskId) -> &Task {
        &self.tasks[id]
    }

    /// Tasks whose files are still needed.
    pub fn known(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.keys()
    }

    pub fn step(&mut self, input: Input, now: Now, out: &mut Vec<Effect>) {
        match input {
            Input::Welcome(reports) => self.welcome(reports, now, out),
            Input::KeeperLost => self.lost(out),
            Input::Keeper(Event::Welcome { tasks, .. }) => self.welcome(tasks, now, out),
            Input::Keeper(Event::Started { task, .. }) => self.started(&task, now, out),
            Input::Keeper(Event::Said { task, line }) => self.said(&task, &line, now, out),
            Input::Keeper(Event::Ended { task, end }) => self.ended(&task, &end, now, out),
            Input::Call(call) => self.call(call, now, out),
            Input::Prepared { task, process } => self.prepared(&task, process, now, out),
            Input::Health { task, outcome } => self.health(&task, outcome, now, out),
            Input::Check { task, result } => self.checked(&task, result, now, out),
            Input::Woke => self.resend(now, out),
        }
    }

    /// When `Input::Woke` is due next.
    pub fn next_wakeup(&self) -> Option<Tick> {
        let updates = self.tasks.values().filter_map(|it| it.updates.due());
        let filters = self.declined.values().map(|it| it.until).filter(|_| !self.suppressed);
        updates.chain(filters).min()
    }
}

fn tell(status: TaskStatus) -> Effect {
    Effect::Tell(EngineEvent::Status(status))
}
