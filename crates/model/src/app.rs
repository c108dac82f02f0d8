//! The app definition in its canonical 1.11 form. Older spellings (`ports`, `uris`, `ipAddress`,
//! `container.docker.network`) are translated at the edge and do not exist here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{PathId, SpecId};
use crate::pod::Pod;
use crate::resources::{Amounts, Milli, Role};
use crate::time::Timestamp;

pub type Labels = BTreeMap<String, String>;

/// What a user wants to run: an app, or (with `pod` set) a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppSpec {
    pub id: SpecId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// Name to source; values never pass through here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Empty: the server's default (`--executor`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub executor: String,
    pub instances: u32,
    pub resources: Amounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<ResourceLimits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_resources: Option<Amounts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// `None`: decided by the role and `--accepted_resource_roles_default_behavior`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_resource_roles: Option<Vec<Role>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<Fetch>,
    pub networking: Networking,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness_checks: Vec<ReadinessCheck>,
    pub backoff: Backoff,
    pub upgrade: UpgradeStrategy,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<PathId>,
    #[serde(default)]
    pub kill_selection: KillSelection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_grace: Option<Duration>,
    pub unreachable: UnreachableStrategy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// Then `resources` is the sum over its containers and the executor, and everything that an app says about its
    /// one container is empty here; `networking` names the networks, with no ports and no mappings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<Pod>>,
    pub role: Role,
    pub version: Timestamp,
    pub last_scaling_at: Timestamp,
    pub last_config_change_at: Timestamp,
    /// Names the configuration: instances with the same value run the same thing and are never replaced
    /// for it. Scaling keeps it, and a roll back brings the earlier value back.
    pub config: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    Text(String),
    /// The name of an entry of `secrets`.
    Secret(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimits {
    pub cpus: Option<Limit>,
    pub mem: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Unlimited,
    Amount(Milli),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname`, `@region`, `@zone` or the name of an agent attribute.
    pub field: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operator {
    Unique,
    Cluster,
    GroupBy,
    Like,
    Unlike,
    MaxPer,
    Is,
    /// None of these. The rules refuse it, with everything else that is wrong; so it is never stored.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    pub uri: String,
    pub extract: bool,
    pub executable: bool,
    pub cache: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

/// Host ports, bridge mappings and container networks exclude each other, so the type does too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Networking {
    Host {
        ports: Vec<PortDefinition>,
        /// Take exactly the declared numbers from the offer.
        require_ports: bool,
    },
    Bridge {
        labels: Labels,
        mappings: Vec<PortMapping>,
    },
    Container {
        networks: Vec<ContainerNetwork>,
        mappings: Vec<PortMapping>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerNetwork {
    pub name: String,
    pub labels: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDefinition {
    /// The service port; 0 until one is assigned.
    pub port: u16,
    pub protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// 0: the same number as the host port.
    pub container_port: u16,
    /// `None`: no host port; 0: any.
    pub host_port: Option<u16>,
    /// 0 until one is assigned.
    pub service_port: u16,
    pub protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Tcp,
    Udp,
    UdpTcp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub kind: ContainerKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerImage>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxInfo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerKind {
    Docker,
    Mesos,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerImage {
    pub image: String,
    pub force_pull: bool,
    pub privileged: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<(String, String)>,
    /// The name of the secret with registry credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub container_path: String,
    pub read_only: bool,
    pub source: VolumeSource,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    Host {
        host_path: String,
    },
    Persistent {
        kind: DiskKind,
        /// MiB.
        size: u64,
        max_size: Option<u64>,
        profile: Option<String>,
        constraints: Vec<Constraint>,
    },
    External {
        name: String,
        provider: String,
        size: Option<u64>,
        /// Kept as given: nested for `csi`, flat text for `dvdi`.
        options: serde_json_text::JsonText,
        shared: bool,
    },
    Secret {
        secret: String,
    },
}

/// A JSON value kept as its text, so that the model needs no JSON library.
pub mod serde_json_text {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(transparent)]
    pub struct JsonText(pub String);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskKind {
    Root,
    Path,
    Mount,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinuxInfo {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc: Option<Ipc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seccomp {
    pub profile: Option<String>,
    pub unconfined: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipc {
    /// `true`: PRIVATE, `false`: SHARE_PARENT.
    pub private: bool,
    pub shm_size: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub kind: HealthKind,
    pub grace: Duration,
    pub interval: Duration,
    pub timeout: Duration,
    /// Engine-side checks only.
    pub delay: Duration,
    /// 0: never kill.
    pub max_failures: u32,
    pub ipv6: bool,
}

impl HealthCheck {
    /// Whether the engine carries it out beside the task, rather than Marathon over the network.
    pub fn by_engine(&self) -> bool {
        match &self.kind {
            HealthKind::Command { .. } => true,
            HealthKind::Http { by_engine, .. } | HealthKind::Tcp { by_engine, .. } => *by_engine,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    Http { https: bool, by_engine: bool, path: Option<String>, port: CheckPort, ignore_1xx: bool },
    Tcp { by_engine: bool, port: CheckPort },
    Command { shell: String },
}

/// Which port a check talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPort {
    Index(u32),
    Number(u16),
}

/// An informative check by the engine; its result is shown and has no consequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub kind: CheckKind,
    pub interval: Duration,
    pub timeout: Duration,
    pub delay: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    Http { port: CheckPort, path: Option<String> },
    Tcp { port: CheckPort },
    Exec(CheckCommand),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckCommand {
    Shell(String),
    Argv(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessCheck {
    pub name: String,
    pub https: bool,
    pub path: String,
    pub port_name: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub ready_codes: Vec<u16>,
    pub preserve_last_response: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    pub initial: Duration,
    pub factor: f64,
    pub max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpgradeStrategy {
    pub minimum_health_capacity: f64,
    pub maximum_over_capacity: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    #[default]
    YoungestFirst,
    OldestFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreachableStrategy {
    Disabled,
    After { inactive: Duration, expunge: Duration },
}

/// `//cmd` and nothing stand for the engine's own.
pub fn custom_executor<'a>(named: &'a str, default: &'a str) -> Option<&'a str> {
    let path = if named.is_empty() { default } else { named };
    (!matches!(path, "" | "//cmd")).then_some(path)
}

impl AppSpec {
    /// An app with every default of 1.11, still without a command.
    pub fn new(id: SpecId) -> AppSpec {
        AppSpec {
            id,
            cmd: None,
            args: Vec::new(),
            user: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            labels: Labels::new(),
            executor: String::new(),
            instances: 1,
            resources: Amounts {
                cpus: Milli::from_whole(1),
                mem: Milli::from_whole(128),
                disk: Milli::ZERO,
                gpus: 0,
            },
            resource_limits: None,
            executor_resources: None,
            constraints: Vec::new(),
            accepted_resource_roles: None,
            fetch: Vec::new(),
            networking: Networking::Host { ports: Vec::new(), require_ports: false },
            container: None,
            health_checks: Vec::new(),
            check: None,
            readiness_checks: Vec::new(),
            backoff: Backoff { initial: Duration::from_secs(1), factor: 1.15, max: Duration::from_secs(300) },
            upgrade: UpgradeStrategy { minimum_health_capacity: 1.0, maximum_over_capacity: 1.0 },
            dependencies: Vec::new(),
            kill_selection: KillSelection::YoungestFirst,
            kill_grace: None,
            unreachable: UnreachableStrategy::After { inactive: Duration::ZERO, expunge: Duration::ZERO },
            tty: None,
            pod: None,
            role: Arc::from(crate::resources::ANY_ROLE),
            version: Timestamp::default(),
            last_scaling_at: Timestamp::default(),
            last_config_change_at: Timestamp::default(),
            config: Timestamp::default(),
        }
    }

    /// Whether instances keep volumes of their own between starts.
    pub fn is_resident(&self) -> bool {
        let volumes = self.container.iter().flat_map(|it| &it.volumes);
        volumes.into_iter().any(|it| matches!(it.source, VolumeSource::Persistent { .. }))
            || self.pod.as_ref().is_some_and(|it| it.is_resident())
    }

    pub fn is_pod(&self) -> bool {
        self.pod.is_some()
    }

    /// How many health checks an instance has results for.
    pub fn check_count(&self) -> usize {
        self.pod.as_ref().map_or(self.health_checks.len(), |it| it.checked().count())
    }

    /// The program that runs it in place of the engine's own executor. `default`: of apps that name none.
    pub fn custom_executor<'a>(&'a self, default: &'a str) -> Option<&'a str> {
        custom_executor(&self.executor, default).filter(|_| !self.is_pod())
    }

    /// The image, when the Docker engine runs it.
    pub fn docker_image(&self) -> Option<&DockerImage> {
        self.container.as_ref().filter(|it| it.kind == ContainerKind::Docker)?.docker.as_ref()
    }

    /// Service ports in the order of their declaration.
    pub fn service_ports(&self) -> Vec<u16> {
        match &self.networking {
            Networking::Host { ports, .. } => ports.iter().map(|it| it.port).collect(),
            Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => {
                mappings.iter().map(|it| it.service_port).collect()
            }
        }
    }

    pub fn service_ports_mut(&mut self) -> Vec<&mut u16> {
        match &mut self.networking {
            Networking::Host { ports, .. } => ports.iter_mut().map(|it| &mut it.port).collect(),
            Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => {
                mappings.iter_mut().map(|it| &mut it.service_port).collect()
            }
        }
    }

    /// Which port index carries this name.
    pub fn port_index(&self, name: &str) -> Option<usize> {
        match &self.networking {
            Networking::Host { ports, .. } => ports.iter().position(|it| it.name.as_deref() == Some(name)),
            Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => {
                mappings.iter().position(|it| it.name.as_deref() == Some(name))
            }
        }
    }
}

/// What the difference between two definitions of one app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    /// Only the number of instances differs.
    Scale,
    /// Running instances must be replaced.
    Replace,
}

impl AppSpec {
    pub fn change_to(&self, next: &AppSpec) -> Change {
        // No `..`: a new field does not compile until someone says whether it restarts tasks.
        // `executor_resources` counts, unlike in the original, where running instances silently
        // kept the old ones.
        let AppSpec {
            id: _,
            cmd,
            args,
            user,
            env,
            secrets,
            labels,
            executor,
            instances,
            resources,
            resource_limits,
            executor_resources,
            constraints,
            accepted_resource_roles,
            fetch,
            networking,
            container,
            health_checks,
            check,
            readiness_checks,
            backoff,
            upgrade,
            dependencies,
            kill_selection,
            kill_grace,
            unreachable,
            tty,
            pod,
            role,
            version: _,
            last_scaling_at: _,
            last_config_change_at: _,
            config: _,
        } = self;
        let same_tasks = *cmd == next.cmd
            && *args == next.args
            && *user == next.user
            && *env == next.env
            && *secrets == next.secrets
            && *labels == next.labels
            && *executor == next.executor
            && *resources == next.resources
            && *resource_limits == next.resource_limits
            && *executor_resources == next.executor_resources
            && *constraints == next.constraints
            && *accepted_resource_roles == next.accepted_resource_roles
            && *fetch == next.fetch
            && *networking == next.networking
            && *container == next.container
            && *health_checks == next.health_checks
            && *check == next.check
            && *readiness_checks == next.readiness_checks
            && *backoff == next.backoff
            && *upgrade == next.upgrade
            && *dependencies == next.dependencies
            && *kill_selection == next.kill_selection
            && *kill_grace == next.kill_grace
            && *unreachable == next.unreachable
            && *tty == next.tty
            && *pod == next.pod
            && *role == next.role;
        match (same_tasks, *instances == next.instances) {
            (false, _) => Change::Replace,
            (true, false) => Change::Scale,
            (true, true) => Change::None,
        }
    }
}
