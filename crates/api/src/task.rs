//! Tasks: the objects, their lists, and the plain text that proxy generators read.

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::command::Refusal;
use marathon_model::id::{GroupId, InstanceId, SpecId};
use marathon_model::instance::{Agent, Condition, Health, Instance, Task};
use marathon_model::offer::{CheckResult, IpAddress, TaskState};
use marathon_model::view::{App, View};

use crate::json::Json;
use crate::{live_app, no_such_app, no_such_group};

/// Which tasks `/v2/tasks` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statuses {
    running: bool,
    staging: bool,
}

impl Statuses {
    /// Reads the values of all `status` and `status[]` parameters. Unknown ones are ignored; where
    /// none is left, all tasks are listed.
    pub fn parse<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> Statuses {
        let mut read = Statuses::default();
        for value in values {
            let value = value.as_ref();
            read.running |= value.eq_ignore_ascii_case("running");
            read.staging |= value.eq_ignore_ascii_case("staging");
        }
        read
    }

    fn keeps(self, condition: Condition) -> bool {
        let state = condition.shown_state();
        self == Statuses::default()
            || self.running && state == "TASK_RUNNING"
            || self.staging && state == "TASK_STAGING"
    }
}

/// `GET /v2/tasks`: tasks of all apps (pods are none), those of removed apps while they end included.
pub fn all(view: &View, statuses: Statuses) -> Vec<u8> {
    let mut json = Json::new();
    json.object(|json| {
        json.key("tasks").open(b'[');
        for app in view.apps.values() {
            if app.spec.as_ref().is_some_and(|it| it.is_pod()) {
                continue;
            }
            let ports = app.spec.as_ref().map(|it| it.service_ports()).unwrap_or_default();
            for instance in app.instances.values().filter(|it| statuses.keeps(it.condition)) {
                write_task(json, instance, &ports);
            }
        }
        json.close(b']');
    });
    json.into_bytes()
}

/// `GET /v2/apps/{id}/tasks`.
pub fn of_app(view: &View, id: &SpecId) -> Result<Vec<u8>, Refusal> {
    let (app, _) = live_app(view, id).ok_or_else(|| no_such_app(id))?;
    Ok(list(app.instances.values()))
}

/// `GET /v2/apps/{group}/*/tasks`: of all apps below the group.
pub fn below(view: &View, group: &GroupId) -> Result<Vec<u8>, Refusal> {
    let apps = crate::group::apps_below(view, group).ok_or_else(|| no_such_group(group, None))?;
    Ok(list(apps.flat_map(|(app, _)| app.instances.values())))
}

/// `{"tasks":[…]}`
pub fn list<'a>(instances: impl IntoIterator<Item = &'a Arc<Instance>>) -> Vec<u8> {
    Json::text(|json| json.object(|json| write_tasks(json.key("tasks"), instances, &[])))
}

/// `{"task":{…}}`
pub fn one(instance: &Instance) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            json.key("task");
            match placed(instance) {
                Some(_) => write_task(json, instance, &[]),
                None => json.null(),
            }
        });
    })
}

/// An array of those instances that were ever placed.
pub(crate) fn write_tasks<'a>(
    json: &mut Json,
    instances: impl IntoIterator<Item = &'a Arc<Instance>>,
    service_ports: &[u16],
) {
    json.array(instances, |json, instance| write_task(json, instance, service_ports));
}

/// Where it runs and what runs there; an instance that was never placed has neither and is not listed. Nor is
/// one of a pod, which has a task for each container.
pub(crate) fn placed(instance: &Instance) -> Option<(&Agent, &Task)> {
    let task = instance.task.as_ref().filter(|it| it.parts.is_empty());
    Some((instance.agent.as_ref()?, task?))
}

/// Writes nothing for an instance that is not `placed`.
fn write_task(json: &mut Json, instance: &Instance, service_ports: &[u16]) {
    let Some((agent, task)) = placed(instance) else { return };
    // Of one that was given up only what its agent still keeps is left.
    if instance.is_condemned() {
        return;
    }
    let active = instance.condition.is_active();
    json.object(|json| {
        json.key("appId").string(instance.spec().as_str());
        json.key("healthCheckResults")
            .array(&instance.health, |json, health| write_health(json, health, &instance.id));
        if let Some(check) = task.check {
            json.key("checkResult").object(|json| match check {
                CheckResult::Http { status } => {
                    json.key("http").object(|json| json.key("statusCode").int(status));
                }
                CheckResult::Tcp { succeeded } => {
                    json.key("tcp").object(|json| json.key("succeeded").bool(succeeded));
                }
                CheckResult::Command { exit_code } => {
                    json.key("command").object(|json| json.key("exitCode").int(exit_code));
                }
            });
        }
        json.key("host").string(&agent.host);
        json.key("id").shown(&task.id);
        write_addresses(json, &task.addresses);
        write_ports(json.key("ports"), if active { &task.ports } else { &[] });
        write_ports(json.key("servicePorts"), service_ports);
        json.key("slaveId").string(agent.id.as_str());
        json.key("state").string(instance.condition.shown_state());
        if active {
            json.key("stagedAt").time(task.staged_at);
            if let Some(at) = task.started_at {
                json.key("startedAt").time(at);
            }
            json.key("version").time(instance.version);
        }
        write_local_volumes(json.key("localVolumes"), instance);
        if let Some(region) = &agent.region {
            json.key("region").string(region);
        }
        if let Some(zone) = &agent.zone {
            json.key("zone").string(zone);
        }
        json.key("role").string(&instance.role);
    });
}

/// The volumes that an instance owns.
pub(crate) fn write_local_volumes(json: &mut Json, instance: &Instance) {
    let volumes = instance.reservation.iter().flat_map(|it| &it.volumes);
    json.array(volumes, |json, volume| {
        json.object(|json| {
            json.key("runSpecId").string(instance.spec().as_str());
            json.key("containerPath").string(&volume.name);
            json.key("uuid").shown(volume.uuid.as_hyphenated());
            json.key("persistenceId").string(&volume.persistence_id(instance.spec()));
        });
    });
}

/// A check without any result yet counts as not alive: proxies must not route there.
fn write_health(json: &mut Json, health: &Health, instance: &InstanceId) {
    json.object(|json| {
        json.key("alive").bool(health.alive() == Some(true));
        json.key("consecutiveFailures").int(health.consecutive_failures);
        for (key, moment) in [
            ("firstSuccess", health.first_success),
            ("lastSuccess", health.last_success),
            ("lastFailure", health.last_failure),
        ] {
            if let Some(moment) = moment {
                json.key(key).time(moment);
            }
        }
        if let Some(cause) = &health.last_failure_cause {
            json.key("lastFailureCause").string(cause);
        }
        json.key("instanceId").shown(instance);
    });
}

pub(crate) fn write_ports(json: &mut Json, ports: &[u16]) {
    json.array(ports, |json, port| json.int(*port));
}

pub(crate) fn write_addresses(json: &mut Json, addresses: &[IpAddress]) {
    json.key("ipAddresses").array(addresses, |json, IpAddress { address, ipv6 }| {
        json.object(|json| {
            json.key("ipAddress").string(address);
            json.key("protocol").string(if *ipv6 { "IPv6" } else { "IPv4" });
        });
    });
}

pub(crate) fn state_name(state: TaskState) -> &'static str {
    match state {
        TaskState::Staging => "TASK_STAGING",
        TaskState::Starting => "TASK_STARTING",
        TaskState::Running => "TASK_RUNNING",
        TaskState::Killing => "TASK_KILLING",
        TaskState::Finished => "TASK_FINISHED",
        TaskState::Failed => "TASK_FAILED",
        TaskState::Killed => "TASK_KILLED",
        TaskState::Error => "TASK_ERROR",
        TaskState::Lost => "TASK_LOST",
        TaskState::Dropped => "TASK_DROPPED",
        TaskState::Unreachable => "TASK_UNREACHABLE",
        TaskState::Gone => "TASK_GONE",
        TaskState::GoneByOperator => "TASK_GONE_BY_OPERATOR",
        TaskState::Unknown => "TASK_UNKNOWN",
    }
}

/// `GET /v2/tasks` with `Accept: text/plain`.
///
/// The original dropped this form in 1.11; scripts that generate proxy configurations still read it.
pub fn plain(view: &View) -> Vec<u8> {
    let mut out = Vec::new();
    for (app, spec) in crate::live_apps(view) {
        plain_app(&mut out, app, spec);
    }
    out
}

/// `GET /v2/apps/{id}/tasks` with `Accept: text/plain`.
pub fn plain_of_app(view: &View, id: &SpecId) -> Result<Vec<u8>, Refusal> {
    let (app, spec) = live_app(view, id).ok_or_else(|| no_such_app(id))?;
    let mut out = Vec::new();
    plain_app(&mut out, app, spec);
    Ok(out)
}

/// One line for each service port: `safe_id<TAB>port<TAB>` and `host:port<TAB>` for each running task.
/// An app without service ports gets one line with a blank in place of the port, and bare hosts.
fn plain_app(out: &mut Vec<u8>, app: &App, spec: &AppSpec) {
    let mut running: Vec<(&Agent, &Task)> = app
        .instances
        .values()
        .filter(|it| it.condition == Condition::Running)
        .filter_map(|it| placed(it))
        .collect();
    running.sort_by(|(a, x), (b, y)| (&a.host, &x.ports, &x.id).cmp(&(&b.host, &y.ports, &y.id)));

    let name = app.id.safe();
    let mut line = |port: Option<u16>, index: usize| {
        let mut digits = itoa::Buffer::new();
        let shown = port.map_or(" ", |it| digits.format(it));
        for part in [&name, "\t", shown, "\t"] {
            out.extend_from_slice(part.as_bytes());
        }
        for (agent, task) in &running {
            let host_port = match port {
                Some(_) => match task.ports.get(index) {
                    Some(port) => format!("{}:{port}\t", agent.host),
                    None => continue,
                },
                None => format!("{}\t", agent.host),
            };
            out.extend_from_slice(host_port.as_bytes());
        }
        out.push(b'\n');
    };
    let ports = spec.service_ports();
    if ports.is_empty() {
        line(None, 0);
    }
    for (index, port) in ports.into_iter().enumerate() {
        line(Some(port), index);
    }
}
