//! From a spec to the body of the request that creates the container. Pure but for the few parameters
//! that name files.

use std::collections::BTreeMap;
use std::path::Path;

use marathon_model::app::{PortMapping, Protocol, Volume, VolumeSource};
use marathon_model::offer::{Command, TaskNetwork};
use serde_json::{Map, Value, json};

use crate::parameters;
use crate::spec::{Limits, OWNER_LABEL, RunSpec, SANDBOX, TASK_LABEL};

/// Below this no container gets its limit; the original's agent does the same.
const MEMORY_MIN: u64 = 32 << 20;
/// The kernel's usual period of cpu quotas, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// A request in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) config: Map<String, Value>,
    pub(crate) host: Map<String, Value>,
    /// Of the first network.
    pub(crate) endpoint: Map<String, Value>,
    pub(crate) networks: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// A later entry of the same name wins.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) entrypoint: Option<String>,
    exposed: Map<String, Value>,
    bindings: Map<String, Value>,
}

/// What the rest of a run needs to know of the request.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) json: Value,
    pub(crate) tty: bool,
    /// Networks to connect after the first, which is in the request.
    pub(crate) more_networks: Vec<String>,
}

pub(crate) fn of(spec: &RunSpec) -> Result<Body, String> {
    let mut draft = Draft::default();
    draft.config.insert("Image".to_owned(), json!(spec.image));
    draft.config.insert("AttachStdout".to_owned(), json!(true));
    draft.config.insert("AttachStderr".to_owned(), json!(true));
    draft.config.insert("Tty".to_owned(), json!(spec.tty));
    if let Some(user) = &spec.user {
        draft.config.insert("User".to_owned(), json!(user));
    }
    draft.host.insert("Privileged".to_owned(), json!(spec.privileged));
    limit(&mut draft, &spec.limits);

    draft.env = spec.env.clone();
    draft.env.push(("MESOS_SANDBOX".to_owned(), SANDBOX.to_owned()));
    draft.env.push(("MESOS_CONTAINER_NAME".to_owned(), spec.container.clone()));

    draft.networks = match &spec.network {
        _ if spec.network_of.is_some() => {
            spec.network_of.iter().map(|it| format!("container:{it}")).collect()
        }
        TaskNetwork::Host => vec!["host".to_owned()],
        TaskNetwork::Bridge => vec!["bridge".to_owned()],
        TaskNetwork::Container(names) => names.clone(),
    };
    if spec.network != TaskNetwork::Host && spec.network_of.is_none() {
        spec.mappings.iter().for_each(|it| draft.map_port(it));
    }

    confine(&mut draft, spec);
    draft.mount(&spec.sandbox, SANDBOX, false)?;
    for volume in &spec.volumes {
        draft.volume(volume, &spec.sandbox)?;
    }

    draft.labels = spec.labels.clone();
    for (key, value) in &spec.parameters {
        parameters::apply(&mut draft, key, value)?;
    }
    // Last, so that no parameter hides a container from the search for leftovers.
    draft.labels.insert(TASK_LABEL.to_owned(), spec.task.clone());
    draft.labels.insert(OWNER_LABEL.to_owned(), spec.owner.clone());
    draft.finish(&spec.command, &spec.entrypoint)
}

fn confine(draft: &mut Draft, spec: &RunSpec) {
    if let Some(mode) = &spec.ipc {
        draft.host.insert("IpcMode".to_owned(), json!(mode));
    }
    if let Some(bytes) = spec.shm_bytes {
        draft.host.insert("ShmSize".to_owned(), json!(i64::try_from(bytes).unwrap_or(i64::MAX)));
    }
    if let Some(profile) = &spec.seccomp {
        draft.host.insert("SecurityOpt".to_owned(), json!([format!("seccomp={profile}")]));
    }
}

fn limit(draft: &mut Draft, limits: &Limits) {
    let mut set = |field: &str, value: u64| {
        draft.host.insert(field.to_owned(), json!(i64::try_from(value).unwrap_or(i64::MAX)));
    };
    if limits.cpu_shares_milli != 0 {
        set("CpuShares", (limits.cpu_shares_milli.saturating_mul(1024) / 1000).max(2));
    }
    if let Some(quota) = limits.cpu_quota_milli {
        set("CpuPeriod", CPU_PERIOD);
        set("CpuQuota", (quota.saturating_mul(CPU_PERIOD) / 1000).max(1000));
    }
    let memory = limits.memory_bytes.map(|it| it.max(MEMORY_MIN));
    if let Some(memory) = memory {
        set("Memory", memory);
    }
    if let Some(reserved) = limits.memory_reservation_bytes.map(|it| it.max(MEMORY_MIN)) {
        set("MemoryReservation", reserved.min(memory.unwrap_or(u64::MAX)));
    }
}

impl Draft {
    pub(crate) fn expose(&mut self, port: u16, protocol: &str) {
        self.exposed.insert(format!("{port}/{protocol}"), json!({}));
    }

    /// An empty host port lets the daemon choose.
    pub(crate) fn publish(&mut self, inside: u16, protocol: &str, address: &str, outside: String) {
        self.expose(inside, protocol);
        let binding = json!({ "HostIp": address, "HostPort": outside });
        let slot = self.bindings.entry(format!("{inside}/{protocol}")).or_insert_with(|| json!([]));
        if let Some(list) = slot.as_array_mut() {
            list.push(binding);
        }
    }

    fn map_port(&mut self, mapping: &PortMapping) {
        let inside = match (mapping.container_port, mapping.host_port) {
            (0, Some(outside)) => outside,
            (inside, _) => inside,
        };
        let protocols: &[&str] = match mapping.protocol {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::UdpTcp => &["udp", "tcp"],
        };
        for protocol in protocols {
            match mapping.host_port {
                Some(outside) => self.publish(inside, protocol, "", outside.to_string()),
                None if inside != 0 => self.expose(inside, protocol),
                None => {}
            }
        }
    }

    fn volume(&mut self, volume: &Volume, sandbox: &Path) -> Result<(), String> {
        // A relative path inside lies in the sandbox.
        let inside = match volume.container_path.starts_with('/') {
            true => volume.container_path.clone(),
            false => format!("{SANDBOX}/{}", volume.container_path),
        };
        match &volume.source {
            // `join` leaves an absolute path as it is.
            VolumeSource::Host { host_path } => {
                self.mount(&sandbox.join(host_path), &inside, volume.read_only)
            }
            VolumeSource::External { name, options, .. } => {
                let options: Value = serde_json::from_str(&options.0).unwrap_or_default();
                let driver = options.get("dvdi/driver").and_then(Value::as_str);
                let driver = driver.ok_or_else(|| format!("the volume `{name}` has no `dvdi/driver`"))?;
                self.add_mount(json!({
                    "Type": "volume", "Source": name, "Target": inside, "ReadOnly": volume.read_only,
                    "VolumeOptions": { "DriverConfig": { "Name": driver } },
                }));
                Ok(())
            }
            VolumeSource::Persistent { .. } | VolumeSource::Secret { .. } => Err(format!(
                "the volume at `{}` is of a kind that Docker containers cannot have here",
                volume.container_path
            )),
        }
    }

    fn mount(&mut self, outside: &Path, inside: &str, read_only: bool) -> Result<(), String> {
        let outside = outside.to_str().ok_or("a volume's path is not Unicode")?;
        if outside.contains(':') || inside.contains(':') {
            self.add_mount(json!({
                "Type": "bind", "Source": outside, "Target": inside, "ReadOnly": read_only,
            }));
            return Ok(());
        }
        // The older form, because it makes missing folders.
        let mode = if read_only { "ro" } else { "rw" };
        let binds = self.host.entry("Binds").or_insert_with(|| json!([]));
        if let Some(list) = binds.as_array_mut() {
            list.push(json!(format!("{outside}:{inside}:{mode}")));
        }
        Ok(())
    }

    fn add_mount(&mut self, mount: Value) {
        let mounts = self.host.entry("Mounts").or_insert_with(|| json!([]));
        if let Some(list) = mounts.as_array_mut() {
            list.push(mount);
        }
    }

    fn finish(mut self, command: &Command, replacement: &[String]) -> Result<Body, String> {
        let (entrypoint, arguments) = match command {
            Command::Shell(text) => (Some("/bin/sh".to_owned()), Some(vec!["-c".to_owned(), text.clone()])),
            Command::Args(arguments) => (None, Some(arguments.clone())),
            Command::Image => (None, None),
        };
        if !replacement.is_empty() {
            self.config.insert("Entrypoint".to_owned(), json!(replacement));
        } else if let Some(entrypoint) = self.entrypoint.take().or(entrypoint) {
            self.config.insert("Entrypoint".to_owned(), json!([entrypoint]));
        }
        if let Some(arguments) = arguments.filter(|_| replacement.is_empty()) {
            self.config.insert("Cmd".to_owned(), json!(arguments));
        }

        let env: BTreeMap<&str, &str> = self.env.iter().map(|(name, value)| (&**name, &**value)).collect();
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.config.insert("Env".to_owned(), json!(env));
        self.config.insert("Labels".to_owned(), json!(self.labels));
        self.config.insert("ExposedPorts".to_owned(), Value::Object(self.exposed));
        self.host.insert("PortBindings".to_owned(), Value::Object(self.bindings));

        let mut networks = self.networks.into_iter();
        let first = networks.next().ok_or("the task has no network")?;
        if !self.endpoint.is_empty() {
            let endpoints = json!({ "EndpointsConfig": { &first: self.endpoint } });
            self.config.insert("NetworkingConfig".to_owned(), endpoints);
        }
        self.host.insert("NetworkMode".to_owned(), json!(first));
        self.config.insert("HostConfig".to_owned(), Value::Object(self.host));
        let tty = self.config.get("Tty").and_then(Value::as_bool).unwrap_or(false);
        Ok(Body { json: Value::Object(self.config), tty, more_networks: networks.collect() })
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
