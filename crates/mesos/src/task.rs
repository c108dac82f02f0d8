//! From a launch of the core to the message with which Mesos starts it.

use std::collections::BTreeMap;
use std::time::Duration;

use marathon_mesos_v1 as v1;
use marathon_model::app::{ContainerKind, Labels, custom_executor};
use marathon_model::offer::{CpuOrMemLimit, DiscoveryPort, Launch};
use marathon_model::resources::{ANY_ROLE, Amounts, Role};

use crate::command::Program;
use crate::config::About;
use crate::container;
use crate::take::{Short, Stock};

/// Where a launch goes.
pub struct Place<'a> {
    pub framework: &'a str,
    pub about: &'a About,
}

/// Why a launch cannot be written down.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Short(#[from] Short),
    #[error("{0}")]
    Other(String),
}

impl From<String> for Unfit {
    fn from(text: String) -> Unfit {
        Unfit::Other(text)
    }
}

/// Everything that a launch holds, as the offer listed it.
pub fn resources(launch: &Launch, stock: &mut Stock) -> Result<Vec<v1::Resource>, Short> {
    if !launch.reserved.is_empty() {
        return stock.take_reserved(&launch.reserved);
    }
    let whole = launch.resources + launch.mesos.executor_resources.unwrap_or_default();
    let unknown = BTreeMap::from([(Role::from(ANY_ROLE), whole)]);
    let shares = if launch.shares.is_empty() { &unknown } else { &launch.shares };
    let mut taken = stock.take_shares(shares)?;
    taken.extend(stock.take_ports(&launch.host_ports)?);
    Ok(taken)
}

/// The message for an app.
pub fn info(launch: &Launch, stock: &mut Stock, place: &Place<'_>) -> Result<v1::TaskInfo, Unfit> {
    let about = place.about;
    let program = Program {
        command: &launch.command,
        image: launch.container.as_ref().is_some_and(|it| it.docker.is_some()),
        docker: launch.container.as_ref().is_some_and(|it| it.kind == ContainerKind::Docker),
        env: &launch.env,
        secret_env: &launch.secret_env,
        fetch: &launch.fetch,
        user: launch.user.as_deref(),
    };
    let command = program.info(&about.secrets)?;
    let container = container::of_app(launch, about)?;
    let mut info = v1::TaskInfo {
        name: launch.name.clone(),
        task_id: v1::TaskId { value: launch.task.to_string() },
        agent_id: v1::AgentId { value: launch.agent.to_string() },
        resources: resources(launch, stock)?,
        health_check: launch.health_check.as_ref().map(crate::check::health),
        check: launch.check.as_ref().map(crate::check::check),
        kill_policy: launch.kill_grace.map(kill_policy),
        labels: Some(container::labels(&launch.labels)),
        discovery: Some(discovery(&launch.name, &launch.discovery)),
        limits: limits(launch.cpu_limit, launch.mem_limit),
        ..Default::default()
    };
    match custom_executor(&launch.mesos.executor, &about.executor) {
        None => (info.command, info.container) = (Some(command), container),
        Some(path) => {
            let needs = launch.mesos.executor_resources.unwrap_or_default();
            let mut all = Stock::new(std::mem::take(&mut info.resources));
            let resources = all.deal(&needs)?;
            info.resources = all.into_left();
            info.executor = Some(custom(launch, path, command, container, place, resources));
        }
    }
    Ok(info)
}

fn custom(
    launch: &Launch,
    path: &str,
    command: v1::CommandInfo,
    container: Option<v1::ContainerInfo>,
    place: &Place<'_>,
    resources: Vec<v1::Resource>,
) -> v1::ExecutorInfo {
    let rest = match &command.value {
        Some(line) if command.shell == Some(true) => line.clone(),
        _ => command.arguments.join(" "),
    };
    let line = format!("chmod ug+rx '{path}' && exec '{path}' {rest}");
    v1::ExecutorInfo {
        r#type: Some(v1::ExecutorInfoType::CUSTOM as i32),
        executor_id: v1::ExecutorId { value: format!("marathon-{}", launch.task) },
        framework_id: Some(v1::FrameworkId { value: place.framework.to_owned() }),
        command: Some(v1::CommandInfo {
            shell: Some(true),
            value: Some(line.trim_end().to_owned()),
            arguments: Vec::new(),
            ..command
        }),
        container,
        resources,
        ..Default::default()
    }
}

pub fn kill_policy(grace: Duration) -> v1::KillPolicy {
    let nanoseconds = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
    v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds }) }
}

pub fn limits(cpus: Option<CpuOrMemLimit>, mem: Option<CpuOrMemLimit>) -> BTreeMap<String, v1::ValueScalar> {
    let value = |it: CpuOrMemLimit| match it {
        CpuOrMemLimit::Unlimited => f64::INFINITY,
        CpuOrMemLimit::Amount(amount) => amount.as_f64(),
    };
    let both = [("cpus", cpus), ("mem", mem)];
    both.into_iter()
        .filter_map(|(name, it)| Some((name.to_owned(), v1::ValueScalar { value: value(it?) })))
        .collect()
}

pub fn discovery(name: &str, ports: &[DiscoveryPort]) -> v1::DiscoveryInfo {
    let port = |it: &DiscoveryPort| v1::Port {
        number: it.number.into(),
        name: it.name.clone(),
        protocol: Some(protocol(it)),
        visibility: None,
        labels: some(&it.labels),
    };
    v1::DiscoveryInfo {
        visibility: v1::DiscoveryInfoVisibility::FRAMEWORK as i32,
        name: Some(name.to_owned()),
        ports: Some(v1::Ports { ports: ports.iter().map(port).collect() }),
        ..Default::default()
    }
}

fn protocol(it: &DiscoveryPort) -> String {
    use marathon_model::app::Protocol;
    match it.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::UdpTcp => "udp,tcp",
    }
    .to_owned()
}

fn some(labels: &Labels) -> Option<v1::Labels> {
    (!labels.is_empty()).then(|| container::labels(labels))
}

/// What is left for the executor of a pod, whose containers are part of the whole.
pub fn rest(whole: &Amounts, parts: impl Iterator<Item = Amounts>) -> Amounts {
    parts.fold(*whole, |left, part| Amounts {
        cpus: left.cpus.saturating_sub(part.cpus),
        mem: left.mem.saturating_sub(part.mem),
        disk: left.disk.saturating_sub(part.disk),
        gpus: left.gpus.saturating_sub(part.gpus),
    })
}
