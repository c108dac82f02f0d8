//! Changes as a user words them: every field optional, absent means "keep".

use std::collections::BTreeMap;
use std::time::Duration;

use crate::app::*;
use crate::id::{GroupId, PathId, SpecId};
use crate::pod::Pod;
use crate::resources::{Milli, Role};
use crate::time::Timestamp;

/// An app as it stands in a request. `spec::merge` lays it over a definition (or over the defaults) and
/// then normalises and validates the result as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppUpdate {
    pub id: Option<SpecId>,
    pub cmd: Option<String>,
    pub args: Option<Vec<String>>,
    pub user: Option<String>,
    pub env: Option<BTreeMap<String, EnvValue>>,
    pub secrets: Option<BTreeMap<String, String>>,
    pub labels: Option<Labels>,
    pub executor: Option<String>,
    pub instances: Option<u32>,
    pub cpus: Option<Milli>,
    pub mem: Option<Milli>,
    pub disk: Option<Milli>,
    pub gpus: Option<u32>,
    pub resource_limits: Option<ResourceLimits>,
    pub executor_resources: Option<crate::resources::Amounts>,
    pub constraints: Option<Vec<Constraint>>,
    pub accepted_resource_roles: Option<Vec<Role>>,
    /// `uris` of older clients arrives here, already translated.
    pub fetch: Option<Vec<Fetch>>,
    pub networks: Option<Vec<NetworkUpdate>>,
    /// `ports` of older clients arrives here, already translated.
    pub port_definitions: Option<Vec<PortDefinition>>,
    pub require_ports: Option<bool>,
    pub container: Option<ContainerUpdate>,
    pub health_checks: Option<Vec<HealthCheckUpdate>>,
    pub check: Option<Check>,
    pub readiness_checks: Option<Vec<ReadinessCheck>>,
    pub backoff_initial: Option<Duration>,
    pub backoff_factor: Option<f64>,
    pub backoff_max: Option<Duration>,
    pub upgrade: Option<UpgradeUpdate>,
    pub dependencies: Option<Vec<Dependency>>,
    pub kill_selection: Option<KillSelection>,
    pub kill_grace: Option<Duration>,
    pub unreachable: Option<UnreachableStrategy>,
    pub tty: Option<bool>,
    pub role: Option<Role>,
    /// In an update: roll back to this version. Excludes every other field but `id`.
    pub version: Option<Timestamp>,
}

/// A pod as it stands in a request: always the whole of it. `spec::pod` fills in defaults and validates.
#[derive(Debug, Clone, PartialEq)]
pub struct PodUpdate {
    pub id: SpecId,
    pub user: Option<String>,
    pub env: BTreeMap<String, EnvValue>,
    pub secrets: BTreeMap<String, String>,
    pub labels: Labels,
    pub networks: Option<Vec<NetworkUpdate>>,
    pub instances: Option<u32>,
    pub backoff_initial: Option<Duration>,
    pub backoff_factor: Option<f64>,
    pub backoff_max: Option<Duration>,
    pub upgrade: Option<UpgradeUpdate>,
    pub constraints: Vec<Constraint>,
    pub accepted_resource_roles: Option<Vec<Role>>,
    pub kill_selection: Option<KillSelection>,
    pub unreachable: Option<UnreachableStrategy>,
    pub executor_resources: Option<crate::resources::Amounts>,
    pub role: Option<Role>,
    /// Health checks name their endpoint by its index already; a name that no endpoint has was refused before.
    pub pod: Pod,
}

/// A dependency as written; relative ones resolve against the enclosing group.
pub type Dependency = String;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpgradeUpdate {
    pub minimum_health_capacity: Option<f64>,
    pub maximum_over_capacity: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NetworkUpdate {
    pub mode: NetworkMode,
    pub name: Option<String>,
    pub labels: Labels,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    Host,
    Bridge,
    Container,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerUpdate {
    pub kind: ContainerKind,
    pub docker: Option<DockerImage>,
    pub volumes: Vec<Volume>,
    pub linux: Option<LinuxInfo>,
    /// `None`: not given, so bridge and container networks get one default mapping.
    pub port_mappings: Option<Vec<PortMapping>>,
}

/// A health check whose port may still be open: "index 0 unless said otherwise" depends on the ports.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheckUpdate {
    pub check: HealthCheck,
    /// Both `port` and `portIndex` were given; refused with the original's message.
    pub port_and_index: bool,
}

/// One change to one app.
#[derive(Debug, Clone, PartialEq)]
pub enum AppEdit {
    /// POST: refused where the app exists.
    Create(AppUpdate),
    /// PUT: created where it does not exist, else merged over what is there.
    Merge(AppUpdate),
    /// PUT with `partialUpdate=false`.
    Replace(AppUpdate),
    /// PATCH: refused where the app does not exist.
    Patch(AppUpdate),
    Delete,
    Restart,
}

/// A group as it stands in a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupUpdate {
    /// Already resolved against the URL's group; `None` only at the top, where the URL names it.
    pub id: Option<GroupId>,
    pub apps: Option<Vec<AppUpdate>>,
    pub groups: Option<Vec<GroupUpdate>>,
    pub dependencies: Option<Vec<PathId>>,
    pub enforce_role: Option<bool>,
    pub scale_by: Option<f64>,
    pub version: Option<Timestamp>,
}
