//! The nouns of the simulation: masters, frameworks, agents, offers, tasks.
//!
//! Agents and their tasks outlive a master; all that a master only remembers (offers, filters, subscriptions,
//! which tasks it knows) is lost with it. [`View`] is a task as the leading master sees it, beside what the
//! agent knows.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1::{
    Attribute, CheckInfo, CheckStatusInfo, Codec, DomainInfo, FrameworkInfo, FrameworkInfoCapabilityType,
    HealthCheck, OfferConstraints, OfferOperation, OperationState, TaskInfo, TaskState, TaskStatusReason,
    TaskStatusSource, Unavailability,
};

use crate::convert::Form;
use crate::resources::Resources;
use crate::script::{Exit, Plan};
use crate::time::Time;

/// Looked up by key only, never walked through, so its order cannot matter.
pub type Index<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A connection that carries a stream of events.
pub type Conn = u64;

/// One master process: a place at an address, with a new id at each start.
#[derive(Debug, Clone)]
pub struct Seat {
    pub id: String,
    pub hostname: String,
    pub ip: [u8; 4],
    pub port: u16,
    pub up: bool,
    pub started: Time,
    pub elected: Option<Time>,
    /// Told to answer as a leader that cannot read its registry.
    pub recovering: bool,
    /// Its process listens, but no page is there yet.
    pub starting: bool,
}

impl Seat {
    pub fn pid(&self) -> String {
        let [a, b, c, d] = self.ip;
        format!("master@{a}.{b}.{c}.{d}:{}", self.port)
    }

    pub fn ip_text(&self) -> String {
        let [a, b, c, d] = self.ip;
        format!("{a}.{b}.{c}.{d}")
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    pub task_killing_state: bool,
    pub gpus: bool,
    pub shared: bool,
    pub revocable: bool,
    pub partition_aware: bool,
    pub multi_role: bool,
    pub refinement: bool,
    pub region_aware: bool,
}

impl Abilities {
    pub fn of(info: &FrameworkInfo) -> Abilities {
        use FrameworkInfoCapabilityType as Kind;
        let has = |kind: Kind| info.capabilities.iter().any(|it| it.r#type == Some(kind as i32));
        Abilities {
            task_killing_state: has(Kind::TASK_KILLING_STATE),
            gpus: has(Kind::GPU_RESOURCES),
            shared: has(Kind::SHARED_RESOURCES),
            revocable: has(Kind::REVOCABLE_RESOURCES),
            partition_aware: has(Kind::PARTITION_AWARE),
            multi_role: has(Kind::MULTI_ROLE),
            refinement: has(Kind::RESERVATION_REFINEMENT),
            region_aware: has(Kind::REGION_AWARE),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Subscription {
    pub conn: Conn,
    pub stream: String,
    pub codec: Codec,
}

#[derive(Debug)]
pub struct Framework {
    pub id: Arc<str>,
    pub info: FrameworkInfo,
    pub abilities: Abilities,
    pub roles: Vec<Arc<str>>,
    pub suppressed: BTreeSet<Arc<str>>,
    pub constraints: Option<OfferConstraints>,
    pub subscription: Option<Subscription>,
    /// Known from agents only, since a master failover.
    pub recovered: bool,
    pub removed: Option<Time>,
    pub registered: Time,
    pub reregistered: Option<Time>,
    /// Raised at each subscription and end of one: tells stale timers apart.
    pub life: u32,
    /// All tasks that agents have, known to this master or not.
    pub tasks: Index<Arc<str>, usize>,
    pub completed: VecDeque<Task>,
    /// Scalars allocated and offered, by role: cpus, mem, disk, gpus.
    pub shares: BTreeMap<Arc<str>, Shares>,
}

pub type Shares = [i64; 4];

pub fn shares_of(resources: &Resources) -> Shares {
    ["cpus", "mem", "disk", "gpus"].map(|it| resources.scalar(it))
}

impl Framework {
    pub fn form(&self) -> Form {
        Form { refined: self.abilities.refinement, multi_role: self.abilities.multi_role }
    }

    pub fn is_connected(&self) -> bool {
        self.subscription.is_some() && self.removed.is_none()
    }

    pub fn checkpoints(&self) -> bool {
        self.info.checkpoint.unwrap_or(false)
    }
}

/// What the leading master thinks of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not heard of.
    Unknown,
    /// In the registry, not back since the failover.
    Recovered,
    Registered,
    Disconnected,
    Unreachable(Time),
    Gone,
    /// Unregistered; forgotten.
    Removed,
}

#[derive(Debug, Clone)]
pub struct Drain {
    pub grace: Option<Duration>,
    pub mark_gone: bool,
    pub since: Time,
    pub done: bool,
}

#[derive(Debug, Clone)]
pub struct Filter {
    pub framework: usize,
    pub role: Arc<str>,
    pub until: Time,
    pub resources: Resources,
}

#[derive(Debug)]
pub struct Agent {
    pub id: Arc<str>,
    pub hostname: String,
    pub ip: [u8; 4],
    pub port: u16,
    /// All agents of a cluster share a few shapes.
    pub attributes: Arc<Vec<Attribute>>,
    pub domain: Option<DomainInfo>,
    pub total: Resources,
    /// Neither used nor offered.
    pub free: Resources,
    pub process_up: bool,
    pub partitioned: bool,
    pub link: Link,
    pub registered: Time,
    pub reregistered: Option<Time>,
    pub deactivated: bool,
    pub drain: Option<Drain>,
    pub unavailability: Option<Unavailability>,
    /// Answers to inverse offers: framework, accepted, when.
    pub answers: Vec<(usize, bool, Time)>,
    /// When an inverse offer may come again, by framework.
    pub inverse_after: BTreeMap<usize, Time>,
    pub tasks: Vec<usize>,
    pub executors: Vec<usize>,
    pub offers: Vec<u64>,
    pub filters: Vec<Filter>,
    /// Files on persistent volumes, as far as the simulated shell knows.
    pub files: BTreeSet<String>,
    /// Kills asked for while it was away.
    pub kills: Vec<usize>,
    pub life: u32,
    pub started: Time,
}

impl Agent {
    pub fn pid(&self) -> String {
        let [a, b, c, d] = self.ip;
        format!("slave(1)@{a}.{b}.{c}.{d}:{}", self.port)
    }

    pub fn ip_text(&self) -> String {
        let [a, b, c, d] = self.ip;
        format!("{a}.{b}.{c}.{d}")
    }

    /// Messages go both ways.
    pub fn talks(&self) -> bool {
        self.link == Link::Registered && self.process_up && !self.partitioned
    }

    pub fn is_active(&self) -> bool {
        self.link == Link::Registered && !self.deactivated
    }

    pub fn region(&self) -> Option<&str> {
        Some(&self.domain.as_ref()?.fault_domain.as_ref()?.region.name)
    }
}

#[derive(Debug)]
pub struct Offer {
    pub framework: usize,
    pub agent: usize,
    pub role: Arc<str>,
    pub resources: Resources,
    pub made: Time,
}

#[derive(Debug)]
pub struct InverseOffer {
    pub framework: usize,
    pub agent: usize,
}

/// One state that a task was in.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub state: TaskState,
    pub source: TaskStatusSource,
    pub reason: Option<TaskStatusReason>,
    pub message: Option<Box<str>>,
    pub time: Time,
    /// Absent in what needs no acknowledgement.
    pub uuid: Option<[u8; 16]>,
    pub healthy: Option<bool>,
    pub check: Option<Box<CheckStatusInfo>>,
    /// Comes from a container that exists.
    pub contained: bool,
    /// Names the executor.
    pub executed: bool,
    pub limitation: Option<Box<Resources>>,
    pub unreachable: Option<Time>,
}

impl Status {
    pub fn new(state: TaskState, source: TaskStatusSource, time: Time) -> Status {
        Status {
            state,
            source,
            reason: None,
            message: None,
            time,
            uuid: None,
            healthy: None,
            check: None,
            contained: false,
            executed: false,
            limitation: None,
            unreachable: None,
        }
    }

    pub fn because(mut self, reason: TaskStatusReason) -> Status {
        self.reason = Some(reason);
        self
    }

    pub fn saying(mut self, message: impl Into<Box<str>>) -> Status {
        self.message = Some(message.into());
        self
    }
}

pub fn is_terminal(state: TaskState) -> bool {
    use TaskState as S;
    match state {
        S::TASK_STAGING
        | S::TASK_STARTING
        | S::TASK_RUNNING
        | S::TASK_KILLING
        | S::TASK_UNREACHABLE
        | S::TASK_UNKNOWN => false,
        S::TASK_FINISHED
        | S::TASK_FAILED
        | S::TASK_KILLED
        | S::TASK_ERROR
        | S::TASK_LOST
        | S::TASK_DROPPED
        | S::TASK_GONE
        | S::TASK_GONE_BY_OPERATOR => true,
    }
}

/// How the leading master sees a task that an agent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Known,
    Unreachable,
    /// The agent has not told yet, or the master declared it lost and forgot it.
    Hidden,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Staging,
    Starting,
    Running,
    Ended,
}

/// What the simulated executor is doing.
#[derive(Debug)]
pub struct Run {
    pub plan: Arc<Plan>,
    pub stage: Stage,
    /// Raised whenever the next wake-up changes.
    pub life: u32,
    pub began: Time,
    pub kill: Option<Kill>,
    /// How long it may take at most.
    pub completion: Option<Duration>,
    pub grace: Option<Duration>,
    pub health: Option<Box<Checking>>,
    pub check: Option<Box<Checking>>,
    pub before: BTreeSet<String>,
    /// A real process carries it out.
    pub real: bool,
    /// That process has ended, so this remains to be told.
    pub over: Option<Exit>,
    /// It never gets to its executor: what the agent will say instead.
    pub doomed: Option<Box<Status>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Kill {
    pub at: Time,
    /// SIGKILL was needed.
    pub hard: bool,
    pub reason: Option<TaskStatusReason>,
}

/// A health check or check of a running task.
#[derive(Debug, Clone, Default)]
pub struct Checking {
    pub health: Option<HealthCheck>,
    pub check: Option<CheckInfo>,
    pub next: Time,
    pub failures: u32,
    /// Results prescribed by a label: pass or fail, from which moment after the start.
    pub told: Vec<(Duration, bool)>,
    pub last: Option<i64>,
}

#[derive(Debug)]
pub struct Task {
    pub id: Arc<str>,
    pub name: Box<str>,
    pub framework: usize,
    pub agent: usize,
    pub agent_id: Arc<str>,
    pub executor: Option<usize>,
    pub executor_id: Option<Arc<str>>,
    pub role: Arc<str>,
    pub resources: Resources,
    /// An encoded `Task` with what a state endpoint shows beyond this: labels, discovery, container, checks.
    pub shown: Option<Box<[u8]>>,
    pub container: [u8; 16],
    pub parent: Option<[u8; 16]>,
    pub pid: u32,
    /// What is really the case; ahead of what the master was told while updates wait.
    pub state: TaskState,
    pub healthy: Option<bool>,
    pub checked: Option<Box<CheckStatusInfo>>,
    /// Updates that are not acknowledged; the first one was sent.
    pub queue: VecDeque<Status>,
    pub send: u32,
    pub backoff: Duration,
    pub view: View,
    /// The latest state that the master was told.
    pub latest: TaskState,
    /// The last update that the master passed on.
    pub forwarded: Option<(TaskState, [u8; 16])>,
    pub history: Vec<Status>,
    /// Its resources are free again.
    pub released: bool,
    pub run: Option<Box<Run>>,
    /// The launch did not get through to the agent.
    pub undelivered: Option<Box<TaskInfo>>,
}

#[derive(Debug)]
pub struct Executor {
    pub id: Arc<str>,
    pub framework: usize,
    pub agent: usize,
    pub role: Arc<str>,
    pub resources: Resources,
    pub info: Vec<u8>,
    pub container: [u8; 16],
    pub pid: u32,
    pub default: bool,
    pub tasks: Vec<usize>,
    /// The default executor's groups: all members of one live and die together.
    pub exiting: bool,
}

#[derive(Debug)]
pub struct OperationRecord {
    pub id: Option<String>,
    pub framework: usize,
    pub agent: usize,
    pub info: OfferOperation,
    pub uuid: [u8; 16],
    pub state: OperationState,
    pub send: u32,
    pub backoff: Duration,
}
