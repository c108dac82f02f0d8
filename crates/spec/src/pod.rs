//! Pods: how a request becomes a definition, and which definitions stand.
//!
//! Shares every rule with apps that both have; what is said of one container is judged for each.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use marathon_model::app::*;
use marathon_model::command::Violation;
use marathon_model::pod::*;
use marathon_model::resources::{Amounts, Milli};
use marathon_model::update::PodUpdate;

use crate::report::{Report, feature_disabled};
use crate::{Place, Rules, constraint, container, judge, network, overlay, role, uri, volume};

/// How many containers one pod may have. They share a machine, and whatever looks at one may look at all.
const CONTAINERS_MAX: usize = 256;

/// What the process that holds the containers together takes for itself.
const EXECUTOR: Amounts = Amounts { cpus: Milli(100), mem: Milli(32_000), disk: Milli(10_000), gpus: 0 };

/// A pod as a whole: what the request says, the defaults for what it does not, normalised and judged.
///
/// The version fields are left at their defaults; the core stamps them.
pub fn create_pod(update: &PodUpdate, rules: &Rules, place: &Place<'_>) -> Result<AppSpec, Vec<Violation>> {
    let mut report = Report::default();
    let spec = complete(update, rules, place, &mut report);
    all(&spec, rules, place, &mut report);
    report.into_result(spec)
}

fn complete(update: &PodUpdate, rules: &Rules, place: &Place<'_>, report: &mut Report) -> AppSpec {
    // No `..`: a new field does not compile until someone says what becomes of it.
    let PodUpdate {
        id,
        user,
        env,
        secrets,
        labels,
        networks,
        instances,
        backoff_initial,
        backoff_factor,
        backoff_max,
        upgrade,
        constraints,
        accepted_resource_roles,
        kill_selection,
        unreachable,
        executor_resources,
        role,
        pod,
    } = update;

    let mut spec = AppSpec::new(id.clone());
    spec.networking = network::of_pod(networks.as_deref().unwrap_or_default(), rules, report);
    let mut pod = pod.clone();
    settle_endpoints(&mut pod, &spec.networking);
    let executor = executor_resources.unwrap_or(EXECUTOR);
    spec.resources = sum(pod.containers.iter().map(|it| &it.resources).chain([&executor]));
    spec.executor_resources = Some(executor);

    let resident = pod.is_resident();
    let (floor, over) = if resident { (0.5, 0.0) } else { (1.0, 1.0) };
    let given = upgrade.as_ref();
    spec.upgrade = UpgradeStrategy {
        minimum_health_capacity: given.and_then(|it| it.minimum_health_capacity).unwrap_or(floor),
        maximum_over_capacity: given.and_then(|it| it.maximum_over_capacity).unwrap_or(over),
    };
    spec.unreachable = match unreachable {
        Some(given) => *given,
        None if resident => UnreachableStrategy::Disabled,
        None => spec.unreachable,
    };
    spec.backoff = Backoff {
        initial: backoff_initial.unwrap_or(spec.backoff.initial),
        factor: backoff_factor.unwrap_or(spec.backoff.factor),
        max: backoff_max.unwrap_or(spec.backoff.max),
    };
    spec.user.clone_from(user);
    spec.env.clone_from(env);
    spec.secrets.clone_from(secrets);
    spec.labels.clone_from(labels);
    spec.instances = instances.unwrap_or(1);
    spec.constraints.clone_from(constraints);
    overlay::drop_duplicates(&mut spec.constraints);
    // An empty list is how a pod says that it names none.
    spec.accepted_resource_roles = accepted_resource_roles.clone().filter(|it| !it.is_empty());
    spec.kill_selection = kill_selection.unwrap_or_default();
    spec.role = role.clone().unwrap_or_else(|| role::default_of(id, rules, place));
    spec.pod = Some(Arc::new(pod));
    spec
}

/// On the agent's own network and behind a bridge every endpoint has a host port.
fn settle_endpoints(pod: &mut Pod, networking: &Networking) {
    for endpoint in pod.containers.iter_mut().flat_map(|it| &mut it.endpoints) {
        match networking {
            Networking::Host { .. } => {
                endpoint.host_port.get_or_insert(0);
            }
            Networking::Bridge { .. } => {
                endpoint.host_port.get_or_insert(0);
                endpoint.container_port.get_or_insert(0);
            }
            Networking::Container { .. } => {}
        }
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Amounts>) -> Amounts {
    all.fold(Amounts::default(), |sum, it| sum + *it)
}

/// Every broken rule of a finished pod.
pub fn all(spec: &AppSpec, rules: &Rules, place: &Place<'_>, report: &mut Report) {
    let Some(pod) = &spec.pod else { return };
    judge::id(&spec.id, report);
    crate::name::judge(spec, rules, report);
    judge::secrets(spec, rules, report);
    judge::environment(&spec.env, spec, "/environment", rules, report);
    nul(spec.user.as_deref(), || "/user".to_owned(), report);
    if spec.resources.gpus > 0 && !rules.features.gpu_resources {
        report.add("/", feature_disabled("gpu_resources"));
    }
    if pod.containers.is_empty() {
        report.add("/containers", "must not be empty");
    }
    let count = pod.containers.len();
    if count > CONTAINERS_MAX {
        report.add("/containers", format!("got {count}, expected {CONTAINERS_MAX} or less"));
    }
    if pod.linux.as_ref().is_some_and(|it| it.seccomp.is_some()) {
        report.add("/linuxInfo", "Seccomp configuration on executor level is not supported");
    }
    if let Some(linux) = &pod.linux {
        container::judge_linux(&LinuxInfo { seccomp: None, ipc: linux.ipc.clone() }, "/linuxInfo", report);
    }
    names_and_ports(pod, report);
    for (at, it) in pod.containers.iter().enumerate() {
        judge_container(it, &format!("/containers({at})"), pod, spec, rules, report);
    }
    endpoints(pod, &spec.networking, report);
    volumes(pod, spec, rules, report);
    placement(pod, spec, report);
    judge::upgrade(spec, "/scheduling/upgrade", report);
    if spec.is_resident() && spec.unreachable != UnreachableStrategy::Disabled {
        report.add(
            "/scheduling/unreachableStrategy",
            "unreachableStrategy must be disabled for pods with persistent volumes",
        );
    }
    judge::unreachable(spec.unreachable, "/scheduling/unreachableStrategy", report);
    role::judge(spec, rules, place, report);
}

/// What must differ across the containers of a pod.
fn names_and_ports(pod: &Pod, report: &mut Report) {
    let endpoints = || pod.endpoints().map(|(_, it)| it);
    let given = |port: Option<u16>| port.filter(|&it| it != 0);
    let mut distinct = |holds: bool, path: &str, message: &str| {
        report.require(holds, || (path.to_owned(), message.to_owned()));
    };
    distinct(
        network::unique(pod.containers.iter().map(|it| &it.name)),
        "/containers",
        "container names must be unique",
    );
    distinct(
        network::unique(pod.volumes.iter().map(|it| &it.name)),
        "/volumes",
        "volume names must be unique",
    );
    distinct(
        network::unique(endpoints().map(|it| &it.name)),
        "/containers",
        // Misspelt in the original as well, and clients may compare it.
        "endpoint names nust be unique across all containers",
    );
    distinct(
        network::unique(endpoints().filter_map(|it| given(it.container_port))),
        "/containers",
        "container ports must be unique across all containers",
    );
    distinct(
        network::unique(endpoints().filter_map(|it| given(it.host_port))),
        "/containers",
        "host ports must be unique across all containers",
    );
}

fn judge_container(
    it: &PodContainer,
    path: &str,
    pod: &Pod,
    spec: &AppSpec,
    rules: &Rules,
    report: &mut Report,
) {
    judge::environment(&it.env, spec, &format!("{path}/environment"), rules, report);
    nul(it.user.as_deref(), || format!("{path}/user"), report);
    match it.exec.as_ref().map(|it| &it.command) {
        Some(CheckCommand::Shell(text)) => {
            nul(Some(text), || format!("{path}/exec/command/shell"), report);
        }
        Some(CheckCommand::Argv(argv)) => {
            for (at, text) in argv.iter().enumerate() {
                nul(Some(text), || format!("{path}/exec/command/argv({at})"), report);
            }
        }
        // The original starts such a container and watches it fail again and again.
        None if it.image.is_none() => report.add(path, "must define exec, image, or both"),
        None => {}
    }
    if it.resource_limits.is_some() && pod.legacy_shared_cgroups == Some(true) {
        report.add(
            format!("{path}/resourceLimits"),
            "resourceLimits cannot be defined if legacySharedCgroups is enabled",
        );
    }
    judge::limits(it.resource_limits, &it.resources, &format!("{path}/resourceLimits"), report);
    for (at, fetch) in it.artifacts.iter().enumerate() {
        report.require(uri::is_valid(&fetch.uri), || {
            (format!("{path}/artifacts({at})/uri"), "URI has invalid syntax.".to_owned())
        });
    }
    if let Some(secret) = it.image.as_ref().and_then(|it| it.pull_secret.as_ref()) {
        let path = format!("{path}/image/pullConfig");
        if !rules.features.secrets {
            report.add(&path, feature_disabled("secrets"));
        }
        if !spec.secrets.contains_key(secret) {
            report.add(&path, "pullConfig.secret must refer to an existing secret");
        }
    }
    let mut timing = |key: &str, timeout: std::time::Duration, interval: std::time::Duration| {
        report.require(timeout < interval, || {
            (
                format!("{path}/{key}/timeoutSeconds"),
                format!("got {}, expected less than {}", timeout.as_secs(), interval.as_secs()),
            )
        });
    };
    if let Some(health) = &it.health {
        timing("healthCheck", health.timeout, health.interval);
    }
    if let Some(check) = &it.check {
        timing("check", check.timeout, check.interval);
    }
    if let Some(linux) = &it.linux {
        container::judge_linux(linux, &format!("{path}/linuxInfo"), report);
    }
}

/// No process can be started with such a text.
fn nul(text: Option<&str>, path: impl FnOnce() -> String, report: &mut Report) {
    report.require(!text.is_some_and(|it| it.contains('\0')), || {
        (path(), "must not contain NUL characters".to_owned())
    });
}

fn endpoints(pod: &Pod, networking: &Networking, report: &mut Report) {
    let networks: &[ContainerNetwork] = match networking {
        Networking::Container { networks, .. } => networks,
        _ => &[],
    };
    let known: HashSet<&str> = networks.iter().map(|it| it.name.as_str()).collect();
    for (at, container) in pod.containers.iter().enumerate() {
        for (nth, it) in container.endpoints.iter().enumerate() {
            let path = || format!("/containers({at})/endpoints({nth})");
            let port = match (networking, it.container_port) {
                (Networking::Host { .. }, Some(_)) => Some("is not allowed when using host-mode networking"),
                (Networking::Container { .. }, None) => {
                    Some("is required when using container-mode networking")
                }
                _ => None,
            };
            if let Some(message) = port {
                report.add(format!("{}/containerPort", path()), message);
            }
            report.require(network::unique(it.protocols.iter().map(|it| *it as u8)), || {
                (
                    format!("{}/protocol", path()),
                    "Duplicate protocols within the same endpoint are not allowed".to_owned(),
                )
            });
            let names_one = it.network_names.len() == 1;
            report.require(networks.len() <= 1 || it.host_port.is_none() || names_one, || {
                (path(), network::NAMES_ONE_NETWORK.to_owned())
            });
            network::judge_names(&it.network_names, &known, networks, path, report);
        }
    }
}

fn volumes(pod: &Pod, spec: &AppSpec, rules: &Rules, report: &mut Report) {
    let sources: BTreeMap<&str, &PodVolumeSource> =
        pod.volumes.iter().map(|it| (&*it.name, &it.source)).collect();
    let mut mounted: HashSet<&str> = HashSet::new();
    for (at, container) in pod.containers.iter().enumerate() {
        for (nth, it) in container.mounts.iter().enumerate() {
            let path = || format!("/containers({at})/volumeMounts({nth})");
            mounted.insert(&it.volume);
            report.require(sources.contains_key(&*it.volume), || {
                (path(), "Referenced Volume in VolumeMount should exist".to_owned())
            });
            report.require(it.path.split('/').all(|it| it != ".."), || {
                (format!("{}/mountPath", path()), "must not contain \"..\"".to_owned())
            });
            nul(Some(&it.path), || format!("{}/mountPath", path()), report);
        }
    }
    for (at, it) in pod.volumes.iter().enumerate() {
        let path = format!("/volumes({at})");
        report.require(mounted.contains(&*it.name), || {
            (path.clone(), "volume must be referenced by at least one container".to_owned())
        });
        match &it.source {
            PodVolumeSource::Ephemeral => {}
            PodVolumeSource::Host { path: host } => nul(Some(host), || format!("{path}/host"), report),
            PodVolumeSource::Secret { secret } => {
                if !rules.features.secrets {
                    report.add("/volumes", feature_disabled("secrets"));
                }
                if !spec.secrets.contains_key(secret) {
                    report.add(&path, "volume.secret must refer to an existing secret");
                }
            }
            PodVolumeSource::Persistent { kind, size, max_size, profile: _, constraints } => {
                volume::judge_disk(*kind, *size, *max_size, constraints, &path, report);
            }
        }
    }
}

fn placement(pod: &Pod, spec: &AppSpec, report: &mut Report) {
    let of_volumes = |it: &PodVolume| match &it.source {
        PodVolumeSource::Persistent { constraints, .. } => constraints.len(),
        _ => 0,
    };
    let count = pod.volumes.iter().map(of_volumes).sum();
    if !constraint::judge_placement(&spec.constraints, count, "/scheduling/placement/constraints", report) {
        return;
    }
    for (at, it) in pod.volumes.iter().enumerate() {
        if let PodVolumeSource::Persistent { constraints, .. } = &it.source {
            constraint::judge_of_volume(
                constraints,
                &format!("/volumes({at})/persistent/constraints"),
                report,
            );
        }
    }
}
