//! What goes between Marathon and an engine: Mesos's two-level model without its wire format.
//!
//! ```text
//! engine ── offers, rescinds, statuses ──► core
//!        ◄── accept, decline, kill, acknowledge, reconcile, revive, suppress ──
//! ```
//! The embedded engine, Mesos and the simulated cluster speak exactly this.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::{CheckCommand, Container, DockerImage, Fetch, Labels, LinuxInfo, PortMapping, Protocol};
use crate::id::{AgentId, FrameworkId, OfferId, SpecId, TaskId};
use crate::pod::{Mount, PodVolume};
use crate::resources::{Amounts, Milli, PortRange, Resource, Role};
use crate::time::Timestamp;

/// Free resources of one agent, ours until accepted, declined or rescinded.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub id: OfferId,
    pub agent: AgentId,
    pub hostname: Arc<str>,
    /// The role the offer was made to (`allocation_info.role`).
    pub role: Role,
    pub resources: Vec<Resource>,
    pub attributes: Arc<BTreeMap<String, Attribute>>,
    pub region: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    /// Planned maintenance: its start and, if bounded, its length.
    pub unavailability: Option<(Timestamp, Option<Duration>)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    Scalar(f64),
    Text(String),
    Ranges(Vec<(u64, u64)>),
    Set(Vec<String>),
}

/// What the core asks of the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Takes an offer for these, in this order; what is left of it goes back.
    Accept {
        offer: OfferId,
        operations: Vec<Operation>,
    },
    Decline {
        offers: Vec<OfferId>,
        hold: Duration,
    },
    /// Offers to these roles are wanted, whatever was declined before. An engine without roles takes it for all.
    Revive(Vec<Role>),
    /// No offers to these roles are wanted until they are revived. With `Policy::offers_by_role` off: none at all.
    Suppress(Vec<Role>),
    Kill {
        task: TaskId,
        agent: Option<AgentId>,
        grace: Option<Duration>,
    },
    Acknowledge {
        task: TaskId,
        agent: AgentId,
        update: UpdateId,
    },
    /// Tell the present status of these tasks; of all tasks when empty.
    Reconcile(Vec<(TaskId, Option<AgentId>)>),
}

/// What an accepted offer is used for.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    Launch(Vec<Launch>),
    /// These resources shall belong to one instance from now on, as their `reserved` says.
    Reserve(Vec<Resource>),
    /// Volumes on reserved disk, as their `disk` says.
    Create(Vec<Resource>),
    Destroy(Vec<Resource>),
    Unreserve(Vec<Resource>),
}

impl Operation {
    pub fn launches(all: &[Operation]) -> impl Iterator<Item = &Launch> {
        all.iter().flat_map(|it| match it {
            Operation::Launch(launches) => launches.as_slice(),
            _ => &[],
        })
    }
}

/// Names one status update until it is acknowledged.
pub type UpdateId = uuid::Uuid;

/// Everything the engine needs to start one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub task: TaskId,
    pub spec: SpecId,
    pub version: Timestamp,
    pub agent: AgentId,
    /// `/web/front` as `front.web`.
    pub name: String,
    pub role: Role,
    pub resources: Amounts,
    /// `resources`, and what a custom executor takes, by the role they were taken from; empty where that is not known.
    #[serde(default)]
    pub shares: BTreeMap<Role, Amounts>,
    /// `None`: the request is the limit.
    pub cpu_limit: Option<CpuOrMemLimit>,
    pub mem_limit: Option<CpuOrMemLimit>,
    /// Host ports in the order they were taken.
    pub host_ports: Vec<u16>,
    pub command: Command,
    /// The complete environment as the task sees it, secrets still by name.
    pub env: BTreeMap<String, String>,
    /// Variable to secret source; resolved by the engine right before the start, never stored.
    pub secret_env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub fetch: Vec<Fetch>,
    pub container: Option<Container>,
    pub network: TaskNetwork,
    /// Mappings with their real host ports, for bridge and container networks.
    pub mappings: Vec<PortMapping>,
    pub labels: Labels,
    pub kill_grace: Option<Duration>,
    pub health_check: Option<EngineCheck>,
    /// Shown, without consequence.
    pub check: Option<EngineCheck>,
    pub discovery: Vec<DiscoveryPort>,
    pub tty: bool,
    /// Secret name to source, for the volumes (and image credentials) that name one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The containers of a pod. Then `task` names all of them together: a kill of it ends every container, and
    /// each container reports under its own id. What `command`, `fetch`, `container` and the checks say of an app
    /// is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerLaunch>,
    /// The volumes that the containers of a pod mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PodVolume>,
    /// What was reserved for the instance, its volumes included, exactly as the offer listed it. The task takes
    /// everything from here, and `shares` is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<Resource>,
    #[serde(default, skip_serializing_if = "ForMesos::is_empty")]
    pub mesos: ForMesos,
}

/// What means something to a Mesos cluster only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ForMesos {
    /// As the definition names it; empty: the server's default.
    pub executor: String,
    /// What a custom executor itself takes, where there is one.
    pub executor_resources: Option<Amounts>,
    /// Of each network, in their order.
    pub network_labels: Vec<Labels>,
    /// Of a pod as a whole.
    pub linux: Option<LinuxInfo>,
    /// The containers of a pod share the control groups of their executor, as they did before 1.10.
    pub shared_cgroups: bool,
}

impl ForMesos {
    pub fn is_empty(&self) -> bool {
        *self == ForMesos::default()
    }
}

/// One container of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerLaunch {
    pub name: Arc<str>,
    /// `Launch::task` with the container's name.
    pub task: TaskId,
    pub resources: Amounts,
    pub cpu_limit: Option<CpuOrMemLimit>,
    pub mem_limit: Option<CpuOrMemLimit>,
    pub command: Command,
    pub override_entrypoint: bool,
    /// The complete environment, that of the pod included.
    pub env: BTreeMap<String, String>,
    pub secret_env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub image: Option<DockerImage>,
    pub fetch: Vec<Fetch>,
    pub mounts: Vec<Mount>,
    pub labels: Labels,
    pub kill_grace: Option<Duration>,
    pub health_check: Option<EngineCheck>,
    pub check: Option<EngineCheck>,
    pub discovery: Vec<DiscoveryPort>,
    pub tty: bool,
    pub linux: Option<LinuxInfo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuOrMemLimit {
    Unlimited,
    Amount(Milli),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Run by `/bin/sh -c`.
    Shell(String),
    /// Executed as it is. With an image the arguments go to its entry point.
    Args(Vec<String>),
    /// The image's own.
    Image,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskNetwork {
    Host,
    Bridge,
    /// Names of container networks.
    Container(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryPort {
    pub number: u16,
    pub name: Option<String>,
    pub protocol: Protocol,
    pub labels: Labels,
}

/// A check that the engine carries out beside the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCheck {
    pub kind: EngineCheckKind,
    pub delay: Duration,
    pub interval: Duration,
    pub timeout: Duration,
    /// Health checks only: failures before the first success within this time do not count.
    pub grace: Duration,
    /// Health checks only: the engine kills the task after so many failures in a row; 0 means never.
    pub max_failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineCheckKind {
    Http { https: bool, port: u16, path: String, ipv6: bool },
    Tcp { port: u16, ipv6: bool },
    Command(CheckCommand),
}

/// What the engine tells the core.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineEvent {
    /// Connected; calls are accepted from now on. `again` after a connection was lost.
    Subscribed {
        framework: FrameworkId,
        /// The name of its host.
        master: String,
        /// The address of its own interface, if it has one.
        ui: Option<Arc<str>>,
        region: Option<Arc<str>>,
        again: bool,
    },
    Disconnected,
    Offers(Vec<Offer>),
    Rescinded(OfferId),
    Status(TaskStatus),
    AgentLost(AgentId),
}

#[derive(Debug, Clone, PartialEq)]
pub struct TaskStatus {
    pub task: TaskId,
    pub state: TaskState,
    pub agent: Option<AgentId>,
    /// Absent on updates that need no acknowledgement (answers to a reconciliation).
    pub update: Option<UpdateId>,
    pub at: Timestamp,
    pub message: String,
    pub reason: Option<Reason>,
    /// Result of an engine-side health check.
    pub healthy: Option<bool>,
    pub check: Option<CheckResult>,
    pub addresses: Vec<IpAddress>,
    /// Since when the agent is out of reach (`TASK_UNREACHABLE` only).
    pub unreachable_since: Option<Timestamp>,
}

/// The states of Mesos 1.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    Staging,
    Starting,
    Running,
    Killing,
    Finished,
    Failed,
    Killed,
    Error,
    Lost,
    Dropped,
    Unreachable,
    Gone,
    GoneByOperator,
    Unknown,
}

/// Why a task changed state, as far as a decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    AgentDraining,
    AgentDisconnected,
    AgentRemoved,
    ContainerLimitationMemory,
    CommandExecutorFailed,
    HealthCheckUnhealthy,
    InvalidOffers,
    Reconciliation,
    TaskUnknown,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Http { status: u16 },
    Tcp { succeeded: bool },
    Command { exit_code: i32 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpAddress {
    pub address: Arc<str>,
    pub ipv6: bool,
}

/// How many ports a list of ranges holds.
pub fn port_count(ranges: &[PortRange]) -> usize {
    ranges.iter().map(|it| usize::from(it.last - it.first) + 1).sum()
}
