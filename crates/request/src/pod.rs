//! The pod object: always a whole pod, since pods have no partial update.
//!
//! Health checks name their endpoint. The name is looked up here and becomes the number of the endpoint in the
//! pod, so that later parts know no names that could be wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use marathon_model::app::*;
use marathon_model::id::PathId;
use marathon_model::pod::*;
use marathon_model::resources::{Amounts, Milli, Role};
use marathon_model::update::{PodUpdate, UpgradeUpdate};
use serde_json::Value;

use crate::reader::{Object, Reader, present};
use crate::{app, check, constraint, container, network, volume};

pub fn read(r: &mut Reader, value: &Value) -> Option<PodUpdate> {
    let o = r.object(value)?;
    let id = match present(o, "id") {
        None => r.undefined(o, "id"),
        Some(_) => r.required(o, "id", absolute_path),
    };
    let containers = match present(o, "containers") {
        None => r.undefined(o, "containers"),
        Some(_) => r.required(o, "containers", containers),
    };
    let volumes = r.optional(o, "volumes", |r, it| r.list(it, pod_volume)).unwrap_or_default();
    let scheduling = r.optional(o, "scheduling", scheduling).unwrap_or_default();
    let update = PodUpdate {
        user: r.optional(o, "user", Reader::some_text),
        env: r.optional(o, "environment", environment).unwrap_or_default(),
        secrets: r.optional(o, "secrets", |r, it| r.map(it, app::secret_source)).unwrap_or_default(),
        labels: r.optional(o, "labels", Reader::texts).unwrap_or_default(),
        networks: r.optional(o, "networks", network::list),
        instances: r.optional(o, "scaling", scaling).flatten(),
        backoff_initial: scheduling.backoff.initial,
        backoff_factor: scheduling.backoff.factor,
        backoff_max: scheduling.backoff.max,
        upgrade: scheduling.upgrade,
        constraints: scheduling.constraints,
        accepted_resource_roles: scheduling.accepted_resource_roles,
        kill_selection: scheduling.kill_selection,
        unreachable: scheduling.unreachable,
        executor_resources: r.optional(o, "executorResources", app::executor_resources),
        role: r.optional(o, "role", |r, it| r.some_text(it).map(Into::into)),
        pod: Pod {
            containers: containers.unwrap_or_default(),
            volumes,
            linux: r.optional(o, "linuxInfo", container::linux),
            legacy_shared_cgroups: r.optional(o, "legacySharedCgroups", Reader::boolean),
        },
        id: id?,
    };
    Some(update)
}

fn absolute_path(r: &mut Reader, value: &Value) -> Option<PathId> {
    if value.as_str().is_some_and(|it| !it.is_empty() && !it.starts_with('/')) {
        r.broken("Path needs to be absolute");
    }
    app::path(r, value, &PathId::root())
}

fn environment(r: &mut Reader, value: &Value) -> Option<std::collections::BTreeMap<String, EnvValue>> {
    let object = r.object(value)?;
    for name in object.keys().filter(|it| !is_variable(it)) {
        r.optional(object, name, |r, _| r.misshapen::<()>("error.pattern"));
    }
    r.map(value, app::env_value)
}

/// `^[a-zA-Z_][a-zA-Z0-9_]{0,253}?$`
fn is_variable(name: &str) -> bool {
    let letter = |it: u8| it.is_ascii_alphabetic() || it == b'_';
    name.len() <= 254
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|it| letter(it) || it.is_ascii_digit())
}

/// The name of a container, an endpoint or a volume.
fn name(r: &mut Reader, value: &Value) -> Option<Arc<str>> {
    let text = network::port_name(r, value)?;
    if text.len() > 63 { r.misshapen("error.maxLength") } else { Some(text.into()) }
}

fn scaling(r: &mut Reader, value: &Value) -> Option<Option<u32>> {
    let object = r.object(value)?;
    // Without a kind it can only mean the one there is.
    if let Some(kind) = r.optional(object, "kind", Reader::text)
        && !kind.eq_ignore_ascii_case("fixed")
    {
        r.broken("Not a fixed scaling policy");
    }
    Some(r.optional(object, "instances", Reader::count))
}

// ---- scheduling

#[derive(Default)]
struct Scheduling {
    backoff: BackoffUpdate,
    upgrade: Option<UpgradeUpdate>,
    constraints: Vec<Constraint>,
    accepted_resource_roles: Option<Vec<Role>>,
    kill_selection: Option<KillSelection>,
    unreachable: Option<UnreachableStrategy>,
}

#[derive(Default)]
struct BackoffUpdate {
    initial: Option<Duration>,
    factor: Option<f64>,
    max: Option<Duration>,
}

fn scheduling(r: &mut Reader, value: &Value) -> Option<Scheduling> {
    let o = r.object(value)?;
    let placement = r.optional(o, "placement", |r, it| {
        let o = r.object(it)?;
        let constraints = r.optional(o, "constraints", |r, it| r.list(it, constraint::of_pod));
        let roles = r.optional(o, "acceptedResourceRoles", |r, it| {
            r.list(it, |r, it| r.some_text(it).map(Role::from))
        });
        Some((constraints.unwrap_or_default(), roles))
    });
    let (constraints, accepted_resource_roles) = placement.unwrap_or_default();
    Some(Scheduling {
        backoff: r.optional(o, "backoff", backoff).unwrap_or_default(),
        upgrade: r.optional(o, "upgrade", app::upgrade),
        constraints,
        accepted_resource_roles,
        kill_selection: r.optional(o, "killSelection", app::kill_selection),
        unreachable: r.optional(o, "unreachableStrategy", app::unreachable),
    })
}

fn backoff(r: &mut Reader, value: &Value) -> Option<BackoffUpdate> {
    let o = r.object(value)?;
    Some(BackoffUpdate {
        initial: r.optional(o, "backoff", fractional_seconds),
        factor: r.optional(o, "backoffFactor", |r, it| r.number(it, 0.0)),
        max: r.optional(o, "maxLaunchDelay", fractional_seconds),
    })
}

fn fractional_seconds(r: &mut Reader, value: &Value) -> Option<Duration> {
    let number = r.number(value, 0.0)?;
    if number > f64::from(i32::MAX) {
        return r.misshapen("error.max");
    }
    // Nothing is kept finer than a millisecond.
    Some(Duration::from_millis((number * 1000.0).round() as u64))
}

// ---- volumes

fn pod_volume(r: &mut Reader, value: &Value) -> Option<PodVolume> {
    let o = r.object(value)?;
    let name = r.required(o, "name", name);
    let given = ["host", "secret", "persistent"].iter().filter(|it| present(o, it).is_some()).count();
    if given > 1 {
        r.broken("Only one of host, secret, or persistent may be specified");
    }
    let host = r.optional(o, "host", |r, it| Some(PodVolumeSource::Host { path: r.locator(it)? }));
    let secret = r.optional(o, "secret", |r, it| Some(PodVolumeSource::Secret { secret: r.some_text(it)? }));
    let persistent = r.optional(o, "persistent", |r, it| match volume::persistent(r, it)? {
        VolumeSource::Persistent { kind, size, max_size, profile, constraints } => {
            Some(PodVolumeSource::Persistent { kind, size, max_size, profile, constraints })
        }
        _ => None,
    });
    let source = host.or(secret).or(persistent);
    Some(PodVolume { name: name?, source: source.unwrap_or(PodVolumeSource::Ephemeral) })
}

fn mount(r: &mut Reader, value: &Value) -> Option<Mount> {
    let o = r.object(value)?;
    let volume = r.required(o, "name", name);
    let path = r.required(o, "mountPath", Reader::locator);
    let read_only = r.optional(o, "readOnly", Reader::boolean);
    Some(Mount { volume: volume?, path: path?, read_only })
}

// ---- containers

fn containers(r: &mut Reader, value: &Value) -> Option<Vec<PodContainer>> {
    let mut all = r.list(value, one_container)?;
    if all.is_empty() {
        return r.misshapen("error.minLength");
    }
    // Until here the checks count the endpoints of their own container.
    let mut before = 0;
    for it in &mut all {
        let shift = |port: &mut CheckPort| {
            if let CheckPort::Index(index) = port {
                *index = index.saturating_add(before);
            }
        };
        match it.health.as_mut().map(|it| &mut it.kind) {
            Some(HealthKind::Http { port, .. } | HealthKind::Tcp { port, .. }) => shift(port),
            Some(HealthKind::Command { .. }) | None => {}
        }
        match it.check.as_mut().map(|it| &mut it.kind) {
            Some(CheckKind::Http { port, .. } | CheckKind::Tcp { port }) => shift(port),
            Some(CheckKind::Exec(_)) | None => {}
        }
        before = before.saturating_add(u32::try_from(it.endpoints.len()).unwrap_or(u32::MAX));
    }
    Some(all)
}

fn one_container(r: &mut Reader, value: &Value) -> Option<PodContainer> {
    let o = r.object(value)?;
    let name = r.required(o, "name", name);
    let resources = r.required(o, "resources", resources);
    let endpoints = r.optional(o, "endpoints", |r, it| r.list(it, endpoint)).unwrap_or_default();
    let known: Endpoints = endpoints.iter().map(|it| &*it.name).zip(0..).collect();
    Some(PodContainer {
        exec: r.optional(o, "exec", exec),
        resource_limits: r.optional(o, "resourceLimits", app::resource_limits),
        image: r.optional(o, "image", image),
        env: r.optional(o, "environment", environment).unwrap_or_default(),
        user: r.optional(o, "user", Reader::some_text),
        labels: r.optional(o, "labels", Reader::texts).unwrap_or_default(),
        artifacts: r.optional(o, "artifacts", |r, it| r.list(it, app::fetch)).unwrap_or_default(),
        tty: r.optional(o, "tty", Reader::boolean),
        health: r.optional(o, "healthCheck", |r, it| health(r, it, &known)),
        check: r.optional(o, "check", |r, it| informative(r, it, &known)),
        mounts: r.optional(o, "volumeMounts", |r, it| r.list(it, mount)).unwrap_or_default(),
        kill_grace: r
            .optional(o, "lifecycle", |r, it| {
                let o = r.object(it)?;
                Some(r.optional(o, "killGracePeriodSeconds", fractional_seconds))
            })
            .flatten(),
        linux: r.optional(o, "linuxInfo", container::linux),
        name: name?,
        resources: resources?,
        endpoints,
    })
}

fn exec(r: &mut Reader, value: &Value) -> Option<Exec> {
    let o = r.object(value)?;
    let command = r.required(o, "command", check::command);
    let override_entrypoint = r.optional(o, "overrideEntrypoint", Reader::boolean);
    Some(Exec { command: command?, override_entrypoint })
}

fn resources(r: &mut Reader, value: &Value) -> Option<Amounts> {
    let o = r.object(value)?;
    let mut amount = |key: &str, min: f64| r.optional(o, key, |r, it| app::amount(r, it, min));
    let (cpus, mem, disk) = (amount("cpus", 0.001), amount("mem", 0.001), amount("disk", 0.0));
    Some(Amounts {
        cpus: cpus.unwrap_or(Milli::from_whole(1)),
        mem: mem.unwrap_or(Milli::from_whole(128)),
        disk: disk.unwrap_or_default(),
        gpus: r.optional(o, "gpus", Reader::count).unwrap_or(0),
    })
}

fn endpoint(r: &mut Reader, value: &Value) -> Option<Endpoint> {
    let o = r.object(value)?;
    let name = r.required(o, "name", name);
    let protocols = r.optional(o, "protocol", |r, it| {
        r.list(it, |r, it| r.word(it, &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]))
    });
    Some(Endpoint {
        container_port: r
            .optional(o, "containerPort", |r, it| r.int(it, 1, i32::from(u16::MAX)))
            .and_then(|it| u16::try_from(it).ok()),
        host_port: r.optional(o, "hostPort", Reader::port),
        protocols: protocols.filter(|it| !it.is_empty()).unwrap_or_else(|| vec![Protocol::Tcp]),
        labels: r.optional(o, "labels", Reader::texts).unwrap_or_default(),
        network_names: r.optional(o, "networkNames", |r, it| r.list(it, network::name)).unwrap_or_default(),
        name: name?,
    })
}

fn image(r: &mut Reader, value: &Value) -> Option<PodImage> {
    let o = r.object(value)?;
    r.optional(o, "kind", |r, it| r.word(it, &[("DOCKER", ())]));
    let id = r.required(o, "id", Reader::locator);
    let force_pull = r.optional(o, "forcePull", Reader::boolean);
    let pull_secret = r.optional(o, "pullConfig", |r, it| {
        let config = r.object(it)?;
        r.required(config, "secret", Reader::some_text)
    });
    let labels = r.optional(o, "labels", Reader::texts).unwrap_or_default();
    Some(PodImage { id: id?, force_pull, pull_secret, labels })
}

// ---- checks

/// The endpoints of one container by their names.
type Endpoints<'a> = HashMap<&'a str, u32>;

fn health(r: &mut Reader, value: &Value, known: &Endpoints<'_>) -> Option<HealthCheck> {
    let o = r.object(value)?;
    one_kind(r, o, "Only one of http, tcp, or command may be specified");
    let http = r.optional(o, "http", |r, it| {
        let o = r.object(it)?;
        let port = endpoint_port(r, o, known);
        let path = r.optional(o, "path", Reader::locator);
        let https = r.optional(o, "scheme", |r, it| r.word(it, &[("HTTP", false), ("HTTPS", true)]));
        let https = https.unwrap_or(false);
        Some(HealthKind::Http { https, by_engine: true, path, port: port?, ignore_1xx: false })
    });
    let tcp = r.optional(o, "tcp", |r, it| {
        let o = r.object(it)?;
        Some(HealthKind::Tcp { by_engine: true, port: endpoint_port(r, o, known)? })
    });
    let command = r.optional(o, "exec", shell_of_check);
    let command = command.map(|shell| HealthKind::Command { shell });
    let mut seconds = |key: &str, default: u64| check::seconds(r, o, key, default);
    Some(HealthCheck {
        grace: seconds("gracePeriodSeconds", 300),
        interval: seconds("intervalSeconds", 60),
        timeout: seconds("timeoutSeconds", 20),
        delay: seconds("delaySeconds", 15),
        max_failures: r.optional(o, "maxConsecutiveFailures", Reader::count).unwrap_or(3),
        ipv6: false,
        kind: http.or(tcp).or(command)?,
    })
}

fn informative(r: &mut Reader, value: &Value, known: &Endpoints<'_>) -> Option<Check> {
    let o = r.object(value)?;
    one_kind(r, o, "Only one of http, tcp, or exec may be specified");
    let http = r.optional(o, "http", |r, it| {
        let o = r.object(it)?;
        let port = endpoint_port(r, o, known);
        let path = r.optional(o, "path", Reader::locator);
        // The engine knows no other scheme here.
        r.optional(o, "scheme", |r, it| r.word(it, &[("HTTP", ())]));
        Some(CheckKind::Http { port: port?, path })
    });
    let tcp = r.optional(o, "tcp", |r, it| {
        let o = r.object(it)?;
        Some(CheckKind::Tcp { port: endpoint_port(r, o, known)? })
    });
    let exec = r.optional(o, "exec", |r, it| {
        let o = r.object(it)?;
        r.required(o, "command", check::command).map(CheckKind::Exec)
    });
    let mut seconds = |key: &str, default: u64| check::seconds(r, o, key, default);
    Some(Check {
        interval: seconds("intervalSeconds", 60),
        timeout: seconds("timeoutSeconds", 20),
        delay: seconds("delaySeconds", 15),
        kind: http.or(tcp).or(exec)?,
    })
}

fn one_kind(r: &mut Reader, o: &Object, message: &str) {
    if ["http", "tcp", "exec"].iter().filter(|it| present(o, it).is_some()).count() != 1 {
        r.broken(message);
    }
}

fn endpoint_port(r: &mut Reader, o: &Object, known: &Endpoints<'_>) -> Option<CheckPort> {
    let name = r.required(o, "endpoint", name)?;
    match known.get(&*name) {
        Some(index) => Some(CheckPort::Index(*index)),
        None => {
            r.broken_at("endpoint", "contained in the container endpoints");
            None
        }
    }
}

/// A health check that runs a command.
fn shell_of_check(r: &mut Reader, value: &Value) -> Option<String> {
    let o = r.object(value)?;
    match r.required(o, "command", check::command)? {
        CheckCommand::Shell(shell) => Some(shell),
        CheckCommand::Argv(argv) => Some(argv.iter().map(|it| quoted(it)).collect::<Vec<_>>().join(" ")),
    }
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
