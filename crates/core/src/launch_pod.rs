//! From a placed instance of a pod to what the engine needs to start it: one launch, all containers in it.
//!
//! Each container sees the endpoints of all, since they share one network. What Marathon sets wins over what
//! the user wrote, other than for apps: that is how the original orders the two.

use std::collections::BTreeMap;

use marathon_model::app::*;
use marathon_model::id::TaskId;
use marathon_model::instance::Agent;
use marathon_model::offer::{Command, ContainerLaunch, DiscoveryPort, ForMesos, Launch};
use marathon_model::pod::{Endpoint, Exec, Pod, PodContainer, PodVolumeSource};

use crate::launch::*;

/// `ports`: one entry for each endpoint of the pod, with the host port it got.
pub fn build(
    spec: &AppSpec,
    pod: &Pod,
    task: TaskId,
    agent: &Agent,
    ports: &[Option<u16>],
    prefix: &str,
    enforce_role: bool,
) -> Launch {
    let all = Ports::of(spec, pod, ports);
    let base = Base { spec, agent, endpoints: all.variables(&prefix.to_uppercase()), enforce_role };
    Launch {
        spec: spec.id.clone(),
        version: spec.version,
        agent: agent.id.clone(),
        name: spec.id.host_name(),
        role: spec.role.clone(),
        resources: spec.resources,
        shares: BTreeMap::new(),
        cpu_limit: None,
        mem_limit: None,
        host_ports: ports.iter().flatten().copied().collect(),
        command: Command::Image,
        env: BTreeMap::new(),
        secret_env: BTreeMap::new(),
        user: spec.user.clone(),
        fetch: Vec::new(),
        container: None,
        network: network(spec),
        mappings: all.mappings(|_| true),
        labels: spec.labels.clone(),
        kill_grace: None,
        health_check: None,
        check: None,
        discovery: Vec::new(),
        tty: false,
        secrets: secrets(spec, pod),
        containers: pod.containers.iter().map(|it| container(it, &base, &all, &task)).collect(),
        volumes: pod.volumes.clone(),
        reserved: Vec::new(),
        mesos: ForMesos {
            network_labels: network_labels(spec),
            linux: pod.linux.clone(),
            shared_cgroups: pod.legacy_shared_cgroups == Some(true),
            ..ForMesos::default()
        },
        task,
    }
}

/// What is the same for all containers.
struct Base<'a> {
    spec: &'a AppSpec,
    agent: &'a Agent,
    endpoints: BTreeMap<String, String>,
    enforce_role: bool,
}

fn container(it: &PodContainer, base: &Base, ports: &Ports, pod: &TaskId) -> ContainerLaunch {
    let spec = base.spec;
    let task = TaskId { container: Some(it.name.clone()), ..pod.clone() };
    let mut labels = spec.labels.clone();
    labels.extend(it.labels.clone());
    let (env, secret_env) = environment(it, base, &task, &labels);
    let (cpu_limit, mem_limit) = limits(it.resource_limits);
    let inside = |port| ports.inside(port);
    ContainerLaunch {
        name: it.name.clone(),
        resources: it.resources,
        cpu_limit,
        mem_limit,
        command: match it.exec.as_ref().map(|it| &it.command) {
            Some(CheckCommand::Shell(text)) => Command::Shell(text.clone()),
            Some(CheckCommand::Argv(args)) => Command::Args(args.clone()),
            None => Command::Image,
        },
        override_entrypoint: matches!(it.exec, Some(Exec { override_entrypoint: Some(true), .. })),
        env,
        secret_env,
        user: it.user.clone().or_else(|| spec.user.clone()),
        image: it.image.as_ref().map(|image| DockerImage {
            image: image.id.clone(),
            force_pull: image.force_pull == Some(true),
            privileged: false,
            parameters: Vec::new(),
            pull_secret: image.pull_secret.clone(),
        }),
        fetch: it.artifacts.clone(),
        mounts: it.mounts.clone(),
        labels,
        kill_grace: it.kill_grace,
        health_check: it.health.as_ref().and_then(|it| engine_health(it, inside)),
        check: it.check.as_ref().and_then(|it| engine_check(it, inside)),
        discovery: ports.discovery(spec, &it.name),
        tty: it.tty == Some(true),
        linux: it.linux.clone(),
        task,
    }
}

/// The variables of a container, and those of them that are secrets.
fn environment(
    it: &PodContainer,
    base: &Base,
    task: &TaskId,
    labels: &Labels,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let spec = base.spec;
    let (mut env, mut secret_env) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in spec.env.iter().chain(&it.env) {
        env.remove(name);
        secret_env.remove(name);
        match value {
            EnvValue::Text(text) => drop(env.insert(name.clone(), text.clone())),
            EnvValue::Secret(secret) => {
                let source = spec.secrets.get(secret).cloned().unwrap_or_default();
                secret_env.insert(name.clone(), source);
            }
        }
    }
    let mut ours = BTreeMap::new();
    let mut put = |name: &str, value: String| ours.insert(name.to_owned(), value);
    put("HOST", base.agent.host.to_string());
    put("MESOS_TASK_ID", task.to_string());
    put("MESOS_EXECUTOR_ID", format!("instance-{}.{}", spec.id.safe(), task.instance.uuid.as_hyphenated()));
    put("MARATHON_APP_ID", spec.id.to_string());
    put("MARATHON_APP_VERSION", spec.version.to_string());
    put("MARATHON_APP_ENFORCE_GROUP_ROLE", if base.enforce_role { "TRUE" } else { "FALSE" }.to_owned());
    put("MARATHON_CONTAINER_ID", it.name.to_string());
    put("MARATHON_CONTAINER_RESOURCE_CPUS", java_double(it.resources.cpus.as_f64()));
    put("MARATHON_CONTAINER_RESOURCE_MEM", java_double(it.resources.mem.as_f64()));
    put("MARATHON_CONTAINER_RESOURCE_DISK", java_double(it.resources.disk.as_f64()));
    put("MARATHON_CONTAINER_RESOURCE_GPUS", it.resources.gpus.to_string());
    label_variables(labels, &mut ours);
    ours.extend(base.endpoints.clone());
    secret_env.retain(|name, _| !ours.contains_key(name));
    env.extend(ours);
    (env, secret_env)
}

/// Sources of the secrets that volumes and images name.
fn secrets(spec: &AppSpec, pod: &Pod) -> BTreeMap<String, String> {
    let of_volumes = pod.volumes.iter().filter_map(|it| match &it.source {
        PodVolumeSource::Secret { secret } => Some(secret),
        _ => None,
    });
    let of_images = pod.containers.iter().filter_map(|it| it.image.as_ref()?.pull_secret.as_ref());
    let named = of_volumes.chain(of_images);
    named.filter_map(|it| Some((it.clone(), spec.secrets.get(it)?.clone()))).collect()
}

/// One endpoint with the numbers it has on both sides.
struct Port<'a> {
    container: &'a str,
    endpoint: &'a Endpoint,
    host: Option<u16>,
    /// In the network of the pod; none where that is the host's.
    inner: Option<u16>,
}

struct Ports<'a>(Vec<Port<'a>>);

impl<'a> Ports<'a> {
    fn of(spec: &AppSpec, pod: &'a Pod, ports: &[Option<u16>]) -> Ports<'a> {
        let on_host = matches!(spec.networking, Networking::Host { .. });
        let endpoints = pod.endpoints().zip(ports).map(|((container, endpoint), host)| Port {
            container: &container.name,
            endpoint,
            host: *host,
            inner: match endpoint.container_port {
                _ if on_host => None,
                None | Some(0) => *host,
                port => port,
            },
        });
        Ports(endpoints.collect())
    }

    fn variables(&self, prefix: &str) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for it in &self.0 {
            let name = sanitised(&it.endpoint.name);
            let mut put = |kind: &str, port: Option<u16>| {
                if let Some(port) = port {
                    env.insert(format!("{prefix}{kind}_{name}"), port.to_string());
                }
            };
            put("ENDPOINT", it.inner.or(it.host));
            put("EP_HOST", it.host);
            put("EP_CONTAINER", it.inner);
        }
        env
    }

    /// The port a check beside the containers talks to.
    fn inside(&self, port: CheckPort) -> Option<u16> {
        match port {
            CheckPort::Number(port) => Some(port),
            CheckPort::Index(at) => self.0.get(at as usize).and_then(|it| it.inner.or(it.host)),
        }
    }

    fn mappings(&self, of: impl Fn(&str) -> bool) -> Vec<PortMapping> {
        let all = self.0.iter().filter(|it| of(it.container)).filter_map(|it| {
            Some(PortMapping {
                container_port: it.inner?,
                host_port: it.host,
                service_port: 0,
                protocol: protocol(it.endpoint),
                name: Some(it.endpoint.name.to_string()),
                labels: it.endpoint.labels.clone(),
                network_names: it.endpoint.network_names.clone(),
            })
        });
        all.collect()
    }

    fn discovery(&self, spec: &AppSpec, container: &str) -> Vec<DiscoveryPort> {
        if !matches!(spec.networking, Networking::Host { .. }) {
            return discovery(spec, &self.mappings(|it| it == container));
        }
        let own = self.0.iter().filter(|it| it.container == container);
        let ports = own.filter_map(|it| {
            Some(by_protocol(it.host?, Some(&it.endpoint.name), protocol(it.endpoint), &it.endpoint.labels))
        });
        ports.flatten().collect()
    }
}

fn protocol(of: &Endpoint) -> Protocol {
    match (of.protocols.contains(&Protocol::Tcp), of.protocols.contains(&Protocol::Udp)) {
        (true, true) => Protocol::UdpTcp,
        (false, true) => Protocol::Udp,
        _ if of.protocols.contains(&Protocol::UdpTcp) => Protocol::UdpTcp,
        _ => Protocol::Tcp,
    }
}

#[cfg(test)]
#[path = "launch_pod_tests.rs"]
mod tests;
