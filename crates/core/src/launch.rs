//! From a placed instance to what the engine needs to start it: command, environment, ports, checks.

use std::collections::{BTreeMap, BTreeSet};

use marathon_model::app::*;
use marathon_model::id::TaskId;
use marathon_model::instance::Agent;
use marathon_model::offer::{
    Command, CpuOrMemLimit, DiscoveryPort, EngineCheck, EngineCheckKind, ForMesos, Launch, TaskNetwork,
};

use crate::ids::Ids;

/// Labels with a name or value of this many characters or more stay out of the environment.
const LABEL_NAME_MAX: usize = 493;
const LABEL_VALUE_MAX: usize = 512;

/// `ports`: one entry for each declaration, with the host port it got.
pub fn build(
    spec: &AppSpec,
    task: TaskId,
    agent: &Agent,
    ports: &[Option<u16>],
    prefix: &str,
    enforce_role: bool,
    ids: &mut Ids,
) -> Launch {
    let mappings = mappings(spec, ports);
    let mut env = context(spec, &task, enforce_role);
    label_variables(&spec.labels, &mut env);
    port_variables(spec, agent, ports, prefix, ids, &mut env);
    let mut secret_env = BTreeMap::new();
    for (name, value) in &spec.env {
        match value {
            EnvValue::Text(text) => drop(env.insert(name.clone(), text.clone())),
            EnvValue::Secret(secret) => {
                env.remove(name);
                let source = spec.secrets.get(secret).cloned().unwrap_or_default();
                secret_env.insert(name.clone(), source);
            }
        }
    }
    let (cpu_limit, mem_limit) = limits(spec.resource_limits);
    let inside = |port| engine_port(spec, port, ports);
    Launch {
        spec: spec.id.clone(),
        version: spec.version,
        agent: agent.id.clone(),
        name: spec.id.host_name(),
        role: spec.role.clone(),
        resources: spec.resources,
        shares: BTreeMap::new(),
        cpu_limit,
        mem_limit,
        host_ports: ports.iter().flatten().copied().collect(),
        command: match (&spec.cmd, spec.args.is_empty()) {
            (Some(cmd), _) => Command::Shell(cmd.clone()),
            (None, false) => Command::Args(spec.args.clone()),
            (None, true) => Command::Image,
        },
        env,
        secret_env,
        user: spec.user.clone(),
        fetch: spec.fetch.clone(),
        container: spec.container.clone(),
        network: network(spec),
        discovery: match &spec.networking {
            Networking::Host { ports: definitions, .. } => definitions
                .iter()
                .zip(ports)
                .flat_map(|(it, host)| {
                    by_protocol(host.unwrap_or(it.port), it.name.as_deref(), it.protocol, &it.labels)
                })
                .collect(),
            _ => discovery(spec, &mappings),
        },
        health_check: spec
            .health_checks
            .iter()
            .find(|it| it.by_engine())
            .and_then(|it| engine_health(it, inside)),
        check: spec.check.as_ref().and_then(|it| engine_check(it, inside)),
        mappings,
        labels: spec.labels.clone(),
        kill_grace: spec.kill_grace,
        tty: spec.tty == Some(true),
        secrets: secrets(spec),
        containers: Vec::new(),
        volumes: Vec::new(),
        reserved: Vec::new(),
        mesos: ForMesos {
            executor: spec.executor.clone(),
            network_labels: network_labels(spec),
            ..ForMesos::default()
        },
        task,
    }
}

pub fn network_labels(spec: &AppSpec) -> Vec<Labels> {
    match &spec.networking {
        Networking::Host { .. } => Vec::new(),
        Networking::Bridge { labels, .. } => vec![labels.clone()],
        Networking::Container { networks, .. } => networks.iter().map(|it| it.labels.clone()).collect(),
    }
}

/// Sources of the secrets that volumes and the image name.
fn secrets(spec: &AppSpec) -> BTreeMap<String, String> {
    let container = spec.container.as_ref();
    let of_volumes = container.into_iter().flat_map(|it| &it.volumes).filter_map(|it| match &it.source {
        VolumeSource::Secret { secret } => Some(secret),
        _ => None,
    });
    let of_image = container.and_then(|it| it.docker.as_ref()?.pull_secret.as_ref());
    let named = of_volumes.chain(of_image);
    named.filter_map(|it| Some((it.clone(), spec.secrets.get(it)?.clone()))).collect()
}

/// The mappings with the ports that were given out; container port 0 becomes the host port.
fn mappings(spec: &AppSpec, ports: &[Option<u16>]) -> Vec<PortMapping> {
    match &spec.networking {
        Networking::Host { .. } => Vec::new(),
        Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => mappings
            .iter()
            .zip(ports)
            .map(|(mapping, port)| PortMapping {
                host_port: *port,
                container_port: match (mapping.container_port, port) {
                    (0, Some(port)) => *port,
                    (port, _) => port,
                },
                ..mapping.clone()
            })
            .collect(),
    }
}

/// A number the way Java prints doubles, on which scripts rely: `0.5`, `128.0`, `1.0E7`.
pub fn java_double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        let text = value.to_string();
        return if text.contains('.') { text } else { format!("{text}.0") };
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

fn context(spec: &AppSpec, task: &TaskId, enforce_role: bool) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut put = |name: &str, value: String| env.insert(name.to_owned(), value);
    put("MESOS_TASK_ID", task.to_string());
    put("MARATHON_APP_ID", spec.id.to_string());
    put("MARATHON_APP_VERSION", spec.version.to_string());
    if let Some(docker) = spec.docker_image() {
        put("MARATHON_APP_DOCKER_IMAGE", docker.image.clone());
    }
    put("MARATHON_APP_RESOURCE_CPUS", java_double(spec.resources.cpus.as_f64()));
    put("MARATHON_APP_RESOURCE_MEM", java_double(spec.resources.mem.as_f64()));
    put("MARATHON_APP_RESOURCE_DISK", java_double(spec.resources.disk.as_f64()));
    put("MARATHON_APP_RESOURCE_GPUS", spec.resources.gpus.to_string());
    put("MARATHON_APP_ENFORCE_GROUP_ROLE", if enforce_role { "TRUE" } else { "FALSE" }.to_owned());
    env
}

pub fn limits(of: Option<ResourceLimits>) -> (Option<CpuOrMemLimit>, Option<CpuOrMemLimit>) {
    let limit = |limit: Option<Limit>| {
        limit.map(|it| match it {
            Limit::Unlimited => CpuOrMemLimit::Unlimited,
            Limit::Amount(amount) => CpuOrMemLimit::Amount(amount),
        })
    };
    let ResourceLimits { cpus, mem } = of.unwrap_or_default();
    (limit(cpus), limit(mem))
}

pub fn network(spec: &AppSpec) -> TaskNetwork {
    match &spec.networking {
        Networking::Host { .. } => TaskNetwork::Host,
        Networking::Bridge { .. } => TaskNetwork::Bridge,
        Networking::Container { networks, .. } => {
            TaskNetwork::Container(networks.iter().map(|it| it.name.clone()).collect())
        }
    }
}

pub fn label_variables(labels: &Labels, env: &mut BTreeMap<String, String>) {
    let kept = labels.iter().filter(|(name, value)| {
        name.chars().count() < LABEL_NAME_MAX && value.chars().count() < LABEL_VALUE_MAX
    });
    let mut names = Vec::new();
    for (name, value) in kept {
        let name = sanitised(name);
        env.insert(format!("MARATHON_APP_LABEL_{name}"), value.clone());
        names.push(name);
    }
    env.insert("MARATHON_APP_LABELS".to_owned(), names.join(" "));
}

/// Each run of characters that a variable cannot hold becomes one `_`.
pub fn sanitised(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut in_run = false;
    for c in name.chars() {
        let legal = c.is_ascii_alphanumeric() || c == '_';
        if legal {
            text.push(c.to_ascii_uppercase());
        } else if !in_run {
            text.push('_');
        }
        in_run = !legal;
    }
    text
}

/// One declared port: the number asked for, its name, and the host port it got.
struct Declared<'a> {
    requested: u16,
    name: Option<&'a str>,
    host: Option<u16>,
}

fn declared<'a>(spec: &'a AppSpec, ports: &[Option<u16>]) -> Vec<Declared<'a>> {
    match &spec.networking {
        Networking::Host { ports: definitions, .. } => definitions
            .iter()
            .zip(ports)
            .map(|(it, host)| Declared { requested: it.port, name: it.name.as_deref(), host: *host })
            .collect(),
        Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => mappings
            .iter()
            .zip(ports)
            .map(|(it, host)| Declared {
                requested: it.container_port,
                name: it.name.as_deref(),
                host: *host,
            })
            .collect(),
    }
}

fn port_variables(
    spec: &AppSpec,
    agent: &Agent,
    ports: &[Option<u16>],
    prefix: &str,
    ids: &mut Ids,
    env: &mut BTreeMap<String, String>,
) {
    let mut put = |name: String, value: String| env.insert(format!("{prefix}{name}"), value);
    put("HOST".to_owned(), agent.host.to_string());
    let declared = declared(spec, ports);
    if declared.is_empty() {
        return;
    }
    let mut used: BTreeSet<u16> =
        declared.iter().flat_map(|it| [Some(it.requested), it.host]).flatten().collect();
    let mut counted: Vec<u16> = declared.iter().filter_map(|it| it.host).collect();
    for (at, port) in declared.iter().enumerate() {
        let (number, key) = match (port.requested, port.host) {
            (0, Some(host)) => (host, host),
            (requested, Some(host)) => (host, requested),
            (0, None) => {
                let made_up = made_up_port(&used, ids);
                used.insert(made_up);
                counted.push(made_up);
                (made_up, made_up)
            }
            (requested, None) => (requested, requested),
        };
        put(format!("PORT{at}"), number.to_string());
        put(format!("PORT_{key}"), number.to_string());
        if let Some(name) = port.name {
            put(format!("PORT_{}", name.to_uppercase()), number.to_string());
        }
    }
    if let Some(first) = counted.first() {
        put("PORT".to_owned(), first.to_string());
    }
    put("PORTS".to_owned(), counted.iter().map(u16::to_string).collect::<Vec<_>>().join(","));
}

/// A number for a port that exists nowhere: neither a host port nor a container port was given.
fn made_up_port(used: &BTreeSet<u16>, ids: &mut Ids) -> u16 {
    const FIRST: usize = 1025;
    let start = ids.below(65_536 - FIRST);
    let candidates = (0..65_536 - FIRST).map(|step| (FIRST + (start + step) % (65_536 - FIRST)) as u16);
    candidates.into_iter().find(|it| !used.contains(it)).unwrap_or(u16::MAX)
}

/// One entry for each protocol of a port.
pub fn by_protocol(
    number: u16,
    name: Option<&str>,
    protocol: Protocol,
    labels: &Labels,
) -> Vec<DiscoveryPort> {
    let protocols: &[Protocol] = match protocol {
        Protocol::Tcp => &[Protocol::Tcp],
        Protocol::Udp => &[Protocol::Udp],
        Protocol::UdpTcp => &[Protocol::Udp, Protocol::Tcp],
    };
    let name = name.map(str::to_owned);
    protocols
        .iter()
        .map(|it| DiscoveryPort { number, name: name.clone(), protocol: *it, labels: labels.clone() })
        .collect()
}

/// Ports inside a network of its own: under the host port where there is one, else once for each network.
pub fn discovery(spec: &AppSpec, mappings: &[PortMapping]) -> Vec<DiscoveryPort> {
    let each = |number, it: &PortMapping, more: &[(&str, &str)]| {
        let mut labels = it.labels.clone();
        labels.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        by_protocol(number, it.name.as_deref(), it.protocol, &labels)
    };
    let mut all = Vec::new();
    for it in mappings {
        match (it.host_port, &spec.networking) {
            (Some(port), _) => all.extend(each(port, it, &[("network-scope", "host")])),
            (None, Networking::Container { networks, .. }) => {
                let names = networks.iter().map(|network| &network.name);
                for name in
                    names.filter(|name| it.network_names.is_empty() || it.network_names.contains(name))
                {
                    let more = [("network-scope", "container"), ("network-name", name)];
                    all.extend(each(it.container_port, it, &more));
                }
            }
            (None, _) => all.extend(each(it.container_port, it, &[("network-scope", "container")])),
        }
    }
    all
}

/// The port a check beside the task talks to: inside the container where it has a network of its own.
fn engine_port(spec: &AppSpec, port: CheckPort, ports: &[Option<u16>]) -> Option<u16> {
    match port {
        CheckPort::Number(port) => Some(port),
        CheckPort::Index(at) => {
            let at = at as usize;
            match &spec.networking {
                Networking::Host { .. } => ports.get(at).copied().flatten(),
                _ => mappings(spec, ports).get(at).map(|it| it.container_port),
            }
        }
    }
}

/// `inside`: the number of a port as a check beside the task reaches it.
pub fn engine_health(it: &HealthCheck, inside: impl Fn(CheckPort) -> Option<u16>) -> Option<EngineCheck> {
    let kind = match &it.kind {
        HealthKind::Command { shell } => EngineCheckKind::Command(CheckCommand::Shell(shell.clone())),
        HealthKind::Http { https, path, port, .. } => EngineCheckKind::Http {
            https: *https,
            port: inside(*port)?,
            path: path.clone().unwrap_or_else(|| "/".to_owned()),
            ipv6: it.ipv6,
        },
        HealthKind::Tcp { port, .. } => EngineCheckKind::Tcp { port: inside(*port)?, ipv6: it.ipv6 },
    };
    Some(EngineCheck {
        kind,
        delay: it.delay,
        interval: it.interval,
        timeout: it.timeout,
        grace: it.grace,
        max_failures: it.max_failures,
    })
}

pub fn engine_check(it: &Check, inside: impl Fn(CheckPort) -> Option<u16>) -> Option<EngineCheck> {
    let kind = match &it.kind {
        CheckKind::Http { port, path } => EngineCheckKind::Http {
            https: false,
            port: inside(*port)?,
            path: path.clone().unwrap_or_else(|| "/".to_owned()),
            ipv6: false,
        },
        CheckKind::Tcp { port } => EngineCheckKind::Tcp { port: inside(*port)?, ipv6: false },
        CheckKind::Exec(command) => EngineCheckKind::Command(command.clone()),
    };
    Some(EngineCheck {
        kind,
        delay: it.delay,
        interval: it.interval,
        timeout: it.timeout,
        grace: std::time::Duration::ZERO,
        max_failures: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::{AgentId, InstanceId, PathId};
    use marathon_model::resources::Milli;
    use std::sync::Arc;

    fn env(spec: &AppSpec, ports: &[Option<u16>], prefix: &str) -> BTreeMap<String, String> {
        let instance = InstanceId { spec: spec.id.clone(), uuid: uuid::Uuid::nil() };
        let task = TaskId { instance, container: None, incarnation: 1 };
        let agent = Agent {
            id: AgentId::new("a"),
            host: "agent7.example".into(),
            region: None,
            zone: None,
            attributes: Arc::default(),
        };
        build(spec, task, &agent, ports, prefix, false, &mut Ids::new(1)).env
    }

    fn only(env: &BTreeMap<String, String>, start: &str) -> String {
        let of = env.iter().filter(|(name, _)| name.starts_with(start));
        of.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }

    fn mapping(container_port: u16, host_port: Option<u16>) -> PortMapping {
        PortMapping {
            container_port,
            host_port,
            service_port: 0,
            protocol: Protocol::Tcp,
            name: None,
            labels: Labels::new(),
            network_names: Vec::new(),
        }
    }

    #[test]
    fn secrets_of_volumes_and_images_come_with_their_sources() {
        let mut spec = AppSpec::new(PathId::parse("/web").unwrap());
        let all = ["pw", "pull", "env", "unused"].map(|it| (it.to_owned(), format!("src/{it}")));
        spec.secrets = all.into();
        spec.env.insert("X".to_owned(), EnvValue::Secret("env".to_owned()));
        let docker = DockerImage {
            image: "i".to_owned(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
            pull_secret: Some("pull".to_owned()),
        };
        let source = VolumeSource::Secret { secret: "pw".to_owned() };
        let volume = Volume { container_path: "f".to_owned(), read_only: true, source };
        spec.container = Some(Container {
            kind: ContainerKind::Mesos,
            docker: Some(docker),
            volumes: vec![volume],
            linux: None,
        });
        let wanted = ["pw", "pull"].map(|it| (it.to_owned(), format!("src/{it}")));
        assert_eq!(secrets(&spec), wanted.into());
    }

    #[test]
    fn ports_by_network_mode() {
        let mut spec = AppSpec::new(PathId::parse("/web/front").unwrap());
        let definition = |port| PortDefinition {
            port,
            protocol: Protocol::Tcp,
            name: Some("http-api".to_owned()),
            labels: Labels::new(),
        };
        spec.networking = Networking::Host { ports: vec![definition(8080)], require_ports: false };
        let host = "PORT=31005 PORT0=31005 PORTS=31005 PORT_8080=31005 PORT_HTTP-API=31005";
        assert_eq!(only(&env(&spec, &[Some(31005)], ""), "PORT"), host);
        spec.networking = Networking::Bridge { labels: Labels::new(), mappings: vec![mapping(0, Some(0))] };
        let bridge = "PORT=31005 PORT0=31005 PORTS=31005 PORT_31005=31005";
        assert_eq!(only(&env(&spec, &[Some(31005)], ""), "PORT"), bridge);
        spec.networking = Networking::Container { networks: Vec::new(), mappings: vec![mapping(8080, None)] };
        assert_eq!(only(&env(&spec, &[None], ""), "PORT"), "PORT0=8080 PORTS= PORT_8080=8080");
        spec.networking = Networking::Host { ports: Vec::new(), require_ports: false };
        assert_eq!(only(&env(&spec, &[], ""), "PORT"), "");
    }

    #[test]
    fn the_prefix_is_for_host_and_ports_alone() {
        let mut spec = AppSpec::new(PathId::parse("/a").unwrap());
        spec.networking = Networking::Bridge { labels: Labels::new(), mappings: vec![mapping(80, Some(0))] };
        let env = env(&spec, &[Some(31000)], "CUSTOM_");
        assert_eq!(only(&env, "CUSTOM_PORT_"), "CUSTOM_PORT_80=31000");
        assert!(
            env.contains_key("CUSTOM_HOST") && !env.contains_key("HOST") && env.contains_key("MESOS_TASK_ID")
        );
    }

    #[test]
    fn labels_numbers_and_overrides() {
        let mut spec = AppSpec::new(PathId::parse("/a").unwrap());
        spec.resources.cpus = Milli::from_f64(0.5);
        spec.labels =
            BTreeMap::from([("my.label-x".to_owned(), "a b".to_owned()), ("x".to_owned(), "y".repeat(512))]);
        spec.env.insert("MARATHON_APP_ID".to_owned(), EnvValue::Text("mine".to_owned()));
        let env = env(&spec, &[], "");
        assert_eq!(
            only(&env, "MARATHON_APP_LABEL"),
            "MARATHON_APP_LABELS=MY_LABEL_X MARATHON_APP_LABEL_MY_LABEL_X=a b"
        );
        assert_eq!(only(&env, "MARATHON_APP_ID"), "MARATHON_APP_ID=mine");
        let resources = "MARATHON_APP_RESOURCE_CPUS=0.5 MARATHON_APP_RESOURCE_DISK=0.0 MARATHON_APP_RESOURCE_GPUS=0 MARATHON_APP_RESOURCE_MEM=128.0";
        assert_eq!(only(&env, "MARATHON_APP_RESOURCE"), resources);
        assert_eq!(
            [java_double(1e7), java_double(0.0005), java_double(12345678.0)],
            ["1.0E7", "5.0E-4", "1.2345678E7"]
        );
    }
}
