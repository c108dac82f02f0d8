//! How the instances of a pod fare, container by container.

use std::sync::Arc;

use marathon_model::app::{AppSpec, CheckPort, HealthKind, Networking};
use marathon_model::id::TaskId;
use marathon_model::instance::{Condition, Health, Instance, Part, Task};
use marathon_model::offer::TaskState;
use marathon_model::pod::{Endpoint, Pod, PodContainer};
use marathon_model::time::Timestamp;
use marathon_model::view::App;

use crate::json::Json;
use crate::pod::{endpoint_of, write_pod, write_resources};
use crate::task::state_name;

/// A pod with its definition; a removed one with its last definition, for as long as instances of it are ending.
pub(crate) fn shown(app: &App) -> Option<&Arc<AppSpec>> {
    let spec = match &app.spec {
        Some(spec) => Some(spec),
        None if is_being_removed(app) => app.history.iter().rev().find_map(|(_, it)| it.as_ref()),
        None => None,
    };
    spec.filter(|it| it.is_pod())
}

fn is_being_removed(app: &App) -> bool {
    app.spec.is_none() && !app.deployments.is_empty()
}

/// `spec` is the definition it is held against, which need not be the present one.
pub(crate) fn write_status(json: &mut Json, app: &App, spec: &AppSpec, now: Timestamp) {
    // What was never anywhere is shown in the queue, and is no instance yet for the original.
    let placed = || app.instances.values().filter(|it| it.agent.is_some());
    let status_of = |it: &Instance| InstanceStatus::of(it, definition(app, spec, it));
    let stable = placed().filter(|it| status_of(it).0 == "STABLE").count();
    let status = if is_being_removed(app) {
        "TERMINAL"
    } else if stable >= spec.instances as usize {
        "STABLE"
    } else {
        "DEGRADED"
    };
    let since = placed().map(|it| it.since).max().unwrap_or(now);
    json.object(|json| {
        json.key("id").string(spec.id.as_str());
        write_pod(json.key("spec"), spec);
        json.key("status").string(status);
        json.key("statusSince").time(since);
        json.key("instances").array(placed(), |json, it| write_instance(json, it, definition(app, spec, it)));
        write_history(json.key("terminationHistory"), app);
        json.key("lastUpdated").time(now);
        json.key("lastChanged").time(since);
    });
}

/// The definition an instance was started from; the one at hand where that is not kept any more.
fn definition<'a>(app: &'a App, spec: &'a AppSpec, instance: &Instance) -> &'a AppSpec {
    match app.version(instance.version) {
        Some(own) if own.is_pod() => own,
        _ => spec,
    }
}

/// Its name and what there is to say about it.
struct InstanceStatus(&'static str, Option<&'static str>);

impl InstanceStatus {
    fn of(instance: &Instance, spec: &AppSpec) -> InstanceStatus {
        match instance.condition {
            Condition::Scheduled | Condition::Provisioned => InstanceStatus("PENDING", None),
            Condition::Staging | Condition::Starting => InstanceStatus("STAGING", None),
            Condition::Running if has_unhealthy_part(instance, spec) => {
                InstanceStatus("DEGRADED", Some("at least one container is not healthy"))
            }
            Condition::Running => InstanceStatus("STABLE", None),
            Condition::Unreachable | Condition::UnreachableInactive => {
                InstanceStatus("DEGRADED", Some("pod instance has become unreachable"))
            }
            _ => InstanceStatus("TERMINAL", None),
        }
    }
}

/// A check without any result yet counts as failing, for a container that has started.
fn has_unhealthy_part(instance: &Instance, spec: &AppSpec) -> bool {
    let checked = spec.pod.iter().flat_map(|it| it.checked());
    let mut checked = checked.zip(health_of(instance));
    checked.any(|((container, _), health)| {
        part_of(instance, &container.name).is_some_and(|it| it.started_at.is_some())
            && health.alive() != Some(true)
    })
}

/// One for each container with a check; those the core has not noted yet have no result.
fn health_of(instance: &Instance) -> impl Iterator<Item = &Health> {
    const UNKNOWN: &Health = &Health {
        first_success: None,
        last_success: None,
        last_failure: None,
        last_failure_cause: None,
        consecutive_failures: 0,
    };
    instance.health.iter().chain(std::iter::repeat(UNKNOWN))
}

fn part_of<'a>(instance: &'a Instance, name: &str) -> Option<&'a Part> {
    instance.task.as_ref()?.parts.iter().find(|it| *it.name == *name)
}

fn write_instance(json: &mut Json, instance: &Instance, spec: &AppSpec) {
    let InstanceStatus(status, message) = InstanceStatus::of(instance, spec);
    json.object(|json| {
        json.key("id").shown(&instance.id);
        json.key("status").string(status);
        json.key("statusSince").time(instance.since);
        if let Some(message) = message {
            json.key("message").string(message);
        }
        json.key("conditions").array([(); 0], |_, ()| {});
        if let Some(agent) = &instance.agent {
            json.key("agentHostname").string(&agent.host);
            json.key("agentId").string(agent.id.as_str());
            if let Some(region) = &agent.region {
                json.key("agentRegion").string(region);
            }
            if let Some(zone) = &agent.zone {
                json.key("agentZone").string(zone);
            }
        }
        write_resources(json.key("resources"), &spec.resources);
        write_networks(json.key("networks"), instance.task.as_ref(), &spec.networking);
        json.key("containers").open(b'[');
        if let Some(pod) = &spec.pod {
            write_containers(json, instance, pod);
        }
        json.close(b']');
        let version = instance.version;
        json.key("specReference").shown(format_args!("/v2/pods{}::versions/{version}", spec.id));
        crate::task::write_local_volumes(json.key("localVolumes"), instance);
        json.key("lastUpdated").time(instance.since);
        json.key("lastChanged").time(instance.since);
        json.key("role").string(&instance.role);
    });
}

/// One address goes to each network, in the order of both, where they are as many.
fn write_networks(json: &mut Json, task: Option<&Task>, networking: &Networking) {
    let addresses: Vec<&str> = task.iter().flat_map(|it| &it.addresses).map(|it| &*it.address).collect();
    let names: Vec<&str> = match networking {
        Networking::Container { networks, .. } => networks.iter().map(|it| it.name.as_str()).collect(),
        _ => Vec::new(),
    };
    let one = |json: &mut Json, name: Option<&str>, addresses: &[&str]| {
        json.object(|json| {
            if let Some(name) = name {
                json.key("name").string(name);
            }
            json.key("addresses").strings(addresses.iter().copied());
        });
    };
    json.open(b'[');
    if names.len() == addresses.len() {
        for (name, address) in names.iter().zip(&addresses) {
            one(json, Some(name), &[address]);
        }
    } else if !addresses.is_empty() {
        one(json, names.first().copied(), &addresses);
    }
    json.close(b']');
}

fn write_containers(json: &mut Json, instance: &Instance, pod: &Pod) {
    let ports = instance.task.as_ref().filter(|_| instance.condition.is_active());
    let mut ports = pod.host_ports(ports.map_or(&[], |it| &it.ports)).into_iter();
    let mut health = health_of(instance);
    for container in &pod.containers {
        let own: Vec<Option<u16>> = ports.by_ref().take(container.endpoints.len()).collect();
        let health = container.health.as_ref().and_then(|_| health.next());
        write_container(json, instance, container, pod, &own, health);
    }
}

fn write_container(
    json: &mut Json,
    instance: &Instance,
    container: &PodContainer,
    pod: &Pod,
    ports: &[Option<u16>],
    health: Option<&Health>,
) {
    let part = part_of(instance, &container.name);
    let state = match part.and_then(|it| it.state) {
        // The containers of an instance nobody hears of are as lost as itself.
        Some(state) if instance.condition.is_unreachable() && !is_terminal(state) => TaskState::Unreachable,
        Some(state) => state,
        None if instance.condition.is_unreachable() => TaskState::Unreachable,
        None => TaskState::Staging,
    };
    let since = part.map_or(instance.since, |it| it.since);
    let runs = part.is_some_and(|it| it.started_at.is_some()) && !is_terminal(state);
    let message = part.and_then(|it| it.message.as_deref()).filter(|it| !it.is_empty());
    json.object(|json| {
        json.key("name").string(&container.name);
        json.key("status").string(state_name(state));
        json.key("statusSince").time(since);
        json.key("conditions").open(b'[');
        if let Some(health) = health
            && runs
        {
            write_health(json, health, instance.since);
        }
        json.close(b']');
        if let Some(task) = &instance.task {
            let id = TaskId { container: Some(container.name.clone()), ..task.id.clone() };
            json.key("containerId").shown(id);
        }
        let known = health.and_then(Health::alive).filter(|_| runs);
        let checked = checked_endpoint(container, pod);
        json.key("endpoints").array(container.endpoints.iter().zip(ports), |json, (endpoint, port)| {
            json.object(|json| {
                json.key("name").string(&endpoint.name);
                if let Some(port) = port {
                    json.key("allocatedHostPort").int(*port);
                }
                if let Some(alive) = known
                    && checked.is_some_and(|it| it.name == endpoint.name)
                {
                    json.key("healthy").bool(alive);
                }
            });
        });
        // What has not begun or is over takes nothing, unless it is kept reserved.
        let takes = part.is_some_and(|it| it.state.is_some()) && !is_terminal(state);
        if takes || pod.is_resident() {
            write_resources(json.key("resources"), &container.resources);
        }
        if let Some(message) = message {
            json.key("message").string(message);
            if is_terminal(state) {
                json.key("termination").object(|json| json.key("message").string(message));
            }
        }
        json.key("lastUpdated").time(since);
        json.key("lastChanged").time(since);
    });
}

fn checked_endpoint<'a>(container: &PodContainer, pod: &'a Pod) -> Option<&'a Endpoint> {
    let port: CheckPort = match &container.health.as_ref()?.kind {
        HealthKind::Http { port, .. } | HealthKind::Tcp { port, .. } => *port,
        HealthKind::Command { .. } => return None,
    };
    endpoint_of(pod, port)
}

fn write_health(json: &mut Json, health: &Health, changed: Timestamp) {
    let reported = health.alive();
    let updated = health.last_success.max(health.last_failure).unwrap_or(changed);
    json.object(|json| {
        json.key("name").string("healthy");
        json.key("lastChanged").time(changed);
        json.key("lastUpdated").time(updated);
        json.key("value").string(if reported == Some(true) { "true" } else { "false" });
        json.key("reason").string(match reported {
            Some(_) => "health-reported-by-mesos",
            None => "health-unreported-by-mesos",
        });
    });
}

fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(state, Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator | Unknown)
}

/// At most one entry: the last failure, for as long as the instance it happened to is there.
fn write_history(json: &mut Json, app: &App) {
    let failure = app.failure.as_deref();
    let failed = failure.and_then(|it| Some((it, app.instances.get(&it.task.instance.uuid)?)));
    json.array(failed, |json, (failure, instance)| {
        json.object(|json| {
            json.key("instanceID").shown(&instance.id);
            // An instance that was started again has forgotten when it began before.
            let same = instance.task.as_ref().filter(|it| it.id.incarnation == failure.task.incarnation);
            if let Some(task) = same {
                json.key("startedAt").time(task.started_at.unwrap_or(task.staged_at));
            }
            json.key("terminatedAt").time(failure.at);
            json.key("message").string(&failure.message);
            let container = failure.task.container.is_some().then_some(&failure.task);
            json.key("containers").array(container, |json, id| {
                json.object(|json| {
                    json.key("containerId").shown(id);
                    json.key("lastKnownState").string(state_name(failure.state));
                    if !failure.message.is_empty() {
                        json.key("termination").object(|json| json.key("message").string(&failure.message));
                    }
                });
            });
        });
    });
}
