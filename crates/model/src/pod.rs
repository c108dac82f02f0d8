//! Pods: several containers that start, run and end together, on one machine, in one sandbox and network.
//!
//! A pod is a definition like an app (`AppSpec` with `pod` set), so deployments, groups, constraints and the
//! queue treat both alike. What an app says about its one container (`cmd`, `container`, `fetch`, checks, ports)
//! stays empty there and stands here instead, for each container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::{
    Check, CheckCommand, Constraint, DiskKind, EnvValue, Fetch, HealthCheck, Labels, LinuxInfo, Protocol,
    ResourceLimits,
};
use crate::resources::Amounts;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    pub containers: Vec<PodContainer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PodVolume>,
    /// `ipc` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legacy_shared_cgroups: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodContainer {
    pub name: Arc<str>,
    /// `None`: the image's own command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    pub resources: Amounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<ResourceLimits>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PodImage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Fetch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// Carried out by the engine. `CheckPort::Index` counts the endpoints of the whole pod, see `endpoints`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_grace: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    pub command: CheckCommand,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_entrypoint: Option<bool>,
}

/// A port under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub name: Arc<str>,
    /// Absent with host networking; 0: the same number as the host port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_port: Option<u16>,
    /// `None`: no host port; 0: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// `Tcp` and `Udp`, each at most once.
    pub protocols: Vec<Protocol>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_names: Vec<String>,
}

/// A Docker image; the only kind there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodImage {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_pull: Option<bool>,
    /// The name of the secret with registry credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodVolume {
    pub name: Arc<str>,
    pub source: PodVolumeSource,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodVolumeSource {
    /// Lives and ends with one start of the instance.
    Ephemeral,
    Host {
        path: String,
    },
    /// A file with the value of this secret.
    Secret {
        secret: String,
    },
    Persistent {
        kind: DiskKind,
        /// MiB.
        size: u64,
        max_size: Option<u64>,
        profile: Option<String>,
        constraints: Vec<Constraint>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The name of a volume of the pod.
    pub volume: Arc<str>,
    /// Absolute, or relative to the container's sandbox.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

impl Pod {
    /// The endpoints of all containers in the order of their declaration. Host ports are given out in this
    /// order to those that want one, and `Task::ports` lists them so.
    pub fn endpoints(&self) -> impl Iterator<Item = (&PodContainer, &Endpoint)> {
        self.containers.iter().flat_map(|it| it.endpoints.iter().map(move |endpoint| (it, endpoint)))
    }

    /// Containers with a health check: `Instance::health` has one entry for each, in this order.
    pub fn checked(&self) -> impl Iterator<Item = (&PodContainer, &HealthCheck)> {
        self.containers.iter().filter_map(|it| Some((it, it.health.as_ref()?)))
    }

    pub fn container(&self, name: &str) -> Option<&PodContainer> {
        self.containers.iter().find(|it| *it.name == *name)
    }

    pub fn is_resident(&self) -> bool {
        self.volumes.iter().any(|it| matches!(it.source, PodVolumeSource::Persistent { .. }))
    }

    /// The host port of each endpoint (in the order of `endpoints`), given those an instance holds.
    pub fn host_ports(&self, held: &[u16]) -> Vec<Option<u16>> {
        let mut held = held.iter().copied();
        self.endpoints().map(|(_, it)| it.host_port.and_then(|_| held.next())).collect()
    }
}
