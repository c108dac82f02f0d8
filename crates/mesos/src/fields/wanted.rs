//! What a recorded operation asks for, in the core's words.

use std::collections::BTreeMap;

use marathon_mesos_v1 as v1;
use marathon_model::app::{CheckCommand, Fetch, Protocol};
use marathon_model::id::{AgentId, TaskId};
use marathon_model::offer::{
    Command, ContainerLaunch, DiscoveryPort, EngineCheck, EngineCheckKind, Launch, Operation, TaskNetwork,
};
use marathon_model::resources::{Amounts, Milli};
use marathon_model::time::Timestamp;
use std::time::Duration;
use v1::OfferOperationType as Kind;

use super::grace;
use crate::resource;

pub fn operation(it: &v1::OfferOperation) -> Option<Operation> {
    let models = |all: &[v1::Resource]| all.iter().map(resource::model).collect::<Option<Vec<_>>>();
    if it.id.is_some() {
        // Feedback is not asked for: what came about is seen in the next offer.
        return None;
    }
    match Kind::try_from(it.r#type?).ok()? {
        Kind::LAUNCH => {
            let tasks = it.launch.as_ref()?.task_infos.iter();
            Some(Operation::Launch(tasks.map(launch).collect::<Option<_>>()?))
        }
        Kind::LAUNCH_GROUP => {
            let group = it.launch_group.as_ref()?;
            let tasks = &group.task_group.tasks;
            let first = launch(tasks.first()?)?;
            let containers = tasks.iter().map(container).collect::<Option<Vec<_>>>()?;
            let whole = tasks.iter().flat_map(|it| &it.resources).chain(&group.executor.resources);
            Some(Operation::Launch(vec![Launch {
                resources: amounts(whole.clone()),
                host_ports: ports(whole),
                containers,
                ..first
            }]))
        }
        Kind::RESERVE => Some(Operation::Reserve(models(&it.reserve.as_ref()?.resources)?)),
        Kind::UNRESERVE => Some(Operation::Unreserve(models(&it.unreserve.as_ref()?.resources)?)),
        Kind::CREATE => Some(Operation::Create(models(&it.create.as_ref()?.volumes)?)),
        Kind::DESTROY => Some(Operation::Destroy(models(&it.destroy.as_ref()?.volumes)?)),
        _ => None,
    }
}

fn amounts<'a>(of: impl Iterator<Item = &'a v1::Resource>) -> Amounts {
    of.fold(Amounts::default(), |mut sum, it| {
        let field = match it.name.as_str() {
            "cpus" => &mut sum.cpus,
            "mem" => &mut sum.mem,
            "disk" => &mut sum.disk,
            _ => return sum,
        };
        *field = Milli(field.0 + resource::scalar(it).0);
        sum
    })
}

fn ports<'a>(of: impl Iterator<Item = &'a v1::Resource>) -> Vec<u16> {
    of.flat_map(resource::ports).flat_map(|it| it.first..=it.last).collect()
}

fn command(it: &v1::CommandInfo) -> Command {
    match (it.shell, &it.value) {
        (Some(false), _) => Command::Args(it.arguments.clone()),
        (_, value) => Command::Shell(value.clone().unwrap_or_default()),
    }
}

fn launch(it: &v1::TaskInfo) -> Option<Launch> {
    let info = it.command.as_ref()?;
    if it.container.is_some() || it.executor.is_some() || it.max_completion_time.is_some() {
        return None;
    }
    let is_reserved = it.resources.iter().any(|it| !it.reservations.is_empty() || it.reservation.is_some());
    let reserved = it.resources.iter().filter_map(resource::model);
    let task = TaskId::parse(&it.task_id.value).expect("a name of ours");
    Some(Launch {
        spec: task.instance.spec.clone(),
        task,
        version: Timestamp(0),
        agent: AgentId::new(it.agent_id.value.as_str()),
        name: it.name.clone(),
        role: "test".into(),
        resources: amounts(it.resources.iter()),
        shares: BTreeMap::new(),
        cpu_limit: None,
        mem_limit: None,
        host_ports: ports(it.resources.iter()),
        command: command(info),
        env: info
            .environment
            .iter()
            .flat_map(|it| &it.variables)
            .map(|it| (it.name.clone(), it.value.clone().unwrap_or_default()))
            .collect(),
        secret_env: BTreeMap::new(),
        user: info.user.clone(),
        fetch: info.uris.iter().map(fetch).collect(),
        container: None,
        network: TaskNetwork::Host,
        mappings: Vec::new(),
        labels: labels(it.labels.as_ref()),
        kill_grace: it.kill_policy.as_ref().and_then(grace),
        health_check: it.health_check.as_ref().and_then(health),
        check: it.check.as_ref().and_then(check),
        discovery: it
            .discovery
            .iter()
            .flat_map(|it| &it.ports)
            .flat_map(|it| &it.ports)
            .filter_map(port)
            .collect(),
        tty: false,
        secrets: BTreeMap::new(),
        containers: Vec::new(),
        volumes: Vec::new(),
        reserved: if is_reserved { reserved.collect() } else { Vec::new() },
        mesos: Default::default(),
    })
}

fn container(it: &v1::TaskInfo) -> Option<ContainerLaunch> {
    let Launch {
        task,
        resources,
        command,
        env,
        user,
        fetch,
        labels,
        kill_grace,
        health_check,
        check,
        discovery,
        ..
    } = launch(it)?;
    Some(ContainerLaunch {
        name: it.name.as_str().into(),
        task,
        resources,
        cpu_limit: None,
        mem_limit: None,
        command,
        override_entrypoint: false,
        env,
        secret_env: BTreeMap::new(),
        user,
        image: None,
        fetch,
        mounts: Vec::new(),
        labels,
        kill_grace,
        health_check,
        check,
        discovery,
        tty: false,
        linux: None,
    })
}

fn labels(of: Option<&v1::Labels>) -> BTreeMap<String, String> {
    let all = of.into_iter().flat_map(|it| &it.labels);
    all.map(|it| (it.key.clone(), it.value.clone().unwrap_or_default())).collect()
}

fn fetch(it: &v1::CommandInfoUri) -> Fetch {
    Fetch {
        uri: it.value.clone(),
        extract: it.extract.unwrap_or(true),
        executable: it.executable.unwrap_or_default(),
        cache: it.cache.unwrap_or_default(),
        dest_path: it.output_file.clone(),
    }
}

fn port(it: &v1::Port) -> Option<DiscoveryPort> {
    let protocol = match it.protocol.as_deref() {
        Some("udp") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let number = u16::try_from(it.number).ok()?;
    Some(DiscoveryPort { number, name: it.name.clone(), protocol, labels: labels(it.labels.as_ref()) })
}

fn seconds(it: Option<f64>, default: u64) -> Duration {
    it.map_or(Duration::from_secs(default), Duration::from_secs_f64)
}

fn checked(it: &v1::CommandInfo) -> EngineCheckKind {
    EngineCheckKind::Command(CheckCommand::Shell(it.value.clone().unwrap_or_default()))
}

/// What is checked, and how: the first that there is of a command, HTTP and TCP.
fn kind(
    command: Option<&v1::CommandInfo>,
    http: Option<(bool, u32, Option<&String>)>,
    tcp: Option<u32>,
) -> Option<EngineCheckKind> {
    if let Some(command) = command {
        return Some(checked(command));
    }
    if let Some((https, port, path)) = http {
        let path = path.cloned().unwrap_or_default();
        return Some(EngineCheckKind::Http { https, port: u16::try_from(port).ok()?, path, ipv6: false });
    }
    Some(EngineCheckKind::Tcp { port: u16::try_from(tcp?).ok()?, ipv6: false })
}

fn health(it: &v1::HealthCheck) -> Option<EngineCheck> {
    let http = it.http.as_ref().map(|it| (it.scheme.as_deref() == Some("https"), it.port, it.path.as_ref()));
    Some(EngineCheck {
        kind: kind(it.command.as_ref(), http, it.tcp.as_ref().map(|it| it.port))?,
        delay: seconds(it.delay_seconds, 15),
        interval: seconds(it.interval_seconds, 10),
        timeout: seconds(it.timeout_seconds, 20),
        grace: seconds(it.grace_period_seconds, 10),
        max_failures: it.consecutive_failures.unwrap_or(3),
    })
}

fn check(it: &v1::CheckInfo) -> Option<EngineCheck> {
    let http = it.http.as_ref().map(|it| (false, it.port, it.path.as_ref()));
    Some(EngineCheck {
        kind: kind(it.command.as_ref().map(|it| &it.command), http, it.tcp.as_ref().map(|it| it.port))?,
        delay: seconds(it.delay_seconds, 15),
        interval: seconds(it.interval_seconds, 10),
        timeout: seconds(it.timeout_seconds, 20),
        grace: Duration::ZERO,
        max_failures: 0,
    })
}
