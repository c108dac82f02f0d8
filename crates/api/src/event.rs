//! Events of `/v2/events`: each one flat object on one line.
//!
//! Where releases disagree about the name of an id (`taskId` up to 1.3, `instanceId` since), both are
//! written: consumers look for theirs and leave the other alone. Deployment plans never carry the groups
//! before and after, as in the last releases of the original, but their keys are there unless the light
//! form is asked for: marathon-python cannot read a plan without them. New types are out of the
//! question, since that client refuses types it does not know.

use marathon_model::app::HealthCheck;
use marathon_model::deployment::Deployment;
use marathon_model::id::{InstanceId, SpecId, TaskId};
use marathon_model::instance::Condition;
use marathon_model::notice::{Notice, What};

use crate::app::write_app;
use crate::check::write_health_check;
use crate::deployment::{write_step, write_steps};
use crate::json::Json;
use crate::task::{state_name, write_addresses, write_ports};

/// Longer messages of tasks are cut, as in the original.
const MESSAGE_CHARS_MAX: usize = 10_000;

/// How much of a deployment plan an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlanFormat {
    /// With empty `original` and `target`.
    #[default]
    Full,
    /// Without them, for those who ask by `plan-format=light`.
    Light,
}

/// Whether the event reads differently in the two formats.
pub fn has_plan(what: &What) -> bool {
    matches!(
        what,
        What::DeploymentStep { .. } | What::DeploymentSucceeded { .. } | What::DeploymentFailed { .. }
    )
}

/// The event as one line of JSON, without a line end.
pub fn write(notice: &Notice, format: PlanFormat) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            write_fields(json, &notice.what, format);
            json.key("eventType").string(notice.what.name());
            json.key("timestamp").time(notice.at);
        });
    })
}

/// The event as a frame of the stream, without the empty line that ends it: an id may follow. Lines end
/// in CRLF, on which some consumers split.
pub fn frame(notice: &Notice, format: PlanFormat) -> Vec<u8> {
    let data = write(notice, format);
    [b"event: ", notice.what.name().as_bytes(), b"\r\ndata: ", &data, b"\r\n"].concat()
}

fn write_fields(json: &mut Json, what: &What, format: PlanFormat) {
    match what {
        What::ApiPost { origin, app } => {
            json.key("clientIp").string(&origin.client_ip);
            json.key("uri").string(&origin.uri);
            write_app(json.key("appDefinition"), app);
        }
        What::PodChanged { origin, .. } => {
            json.key("clientIp").string(&origin.client_ip);
            json.key("uri").string(&origin.uri);
        }
        What::SchedulerRegistered { framework, master } => {
            json.key("frameworkId").string(framework);
            json.key("master").string(master);
        }
        What::SchedulerReregistered { master } => json.key("master").string(master),
        What::SchedulerDisconnected => {}
        What::CallbackAdded { client_ip, url } | What::CallbackRemoved { client_ip, url } => {
            json.key("clientIp").string(client_ip);
            json.key("callbackUrl").string(url.as_str());
        }
        What::StreamAttached { remote } | What::StreamDetached { remote } => {
            json.key("remoteAddress").string(remote);
        }
        What::HealthCheckAdded { app, version, check } => {
            write_app_id(json, app);
            json.key("version").time(*version);
            write_health(json, check);
        }
        What::HealthCheckRemoved { app } | What::AppTerminated { app } => write_app_id(json, app),
        What::HealthCheckFailed { instance, task, check } => {
            write_app_id(json, &instance.spec);
            write_ids(json, Some(task), instance);
            write_health(json, check);
        }
        What::HealthChanged { instance, task, version, alive } => {
            write_app_id(json, &instance.spec);
            write_ids(json, Some(task), instance);
            json.key("version").time(*version);
            json.key("alive").bool(*alive);
        }
        What::UnhealthyKilled { instance, reason } => {
            write_app_id(json, instance.spec());
            write_ids(json, instance.task.as_ref().map(|it| &it.id), &instance.id);
            json.key("version").time(instance.version);
            json.key("reason").string(reason);
            json.key("host").string(instance.agent.as_ref().map_or("unknown", |it| &it.host));
            if let Some(agent) = &instance.agent {
                json.key("slaveId").string(agent.id.as_str());
            }
        }
        What::GroupChanged { group, version } => {
            json.key("groupId").string(group.as_str());
            json.key("version").time(*version);
        }
        What::GroupChangeFailed { group, version, reason } => {
            json.key("groupId").string(group.as_str());
            json.key("version").time(*version);
            json.key("reason").string(reason);
        }
        What::DeploymentStep { how: _, plan, step } => {
            write_plan(json, plan, format);
            write_step(json.key("currentStep"), step);
        }
        What::DeploymentSucceeded { plan } => {
            json.key("id").shown(plan.id);
            write_plan(json, plan, format);
        }
        What::DeploymentFailed { plan, reason } => {
            json.key("id").shown(plan.id);
            write_plan(json, plan, format);
            json.key("reason").string(reason);
        }
        What::StatusUpdate { task, agent, host, state, message, ports, addresses, version } => {
            json.key("slaveId").string(agent);
            json.key("taskId").shown(task);
            json.key("taskStatus").string(state_name(*state));
            json.key("message").string(cut(message));
            write_app_id(json, &task.instance.spec);
            json.key("host").string(host);
            write_addresses(json, addresses);
            write_ports(json.key("ports"), ports);
            json.key("version").time(*version);
        }
        What::InstanceChanged { instance } => {
            json.key("instanceId").shown(&instance.id);
            json.key("condition").string(condition_name(instance.condition));
            json.key("runSpecId").string(instance.spec().as_str());
            json.key("agentId").string_or_null(instance.agent.as_ref().map(|it| it.id.as_str()));
            json.key("host").string_or_null(instance.agent.as_ref().map(|it| &*it.host));
            json.key("runSpecVersion").time(instance.version);
        }
        What::InstanceHealthChanged { instance, version, healthy } => {
            json.key("instanceId").shown(instance);
            json.key("runSpecId").string(instance.spec.as_str());
            match healthy {
                Some(healthy) => json.key("healthy").bool(*healthy),
                None => json.key("healthy").null(),
            }
            json.key("runSpecVersion").time(*version);
        }
        What::UnknownInstanceTerminated { instance, condition } => {
            json.key("instanceId").shown(instance);
            json.key("runSpecId").string(instance.spec.as_str());
            json.key("condition").string(condition_name(*condition));
        }
    }
}

fn write_app_id(json: &mut Json, app: &SpecId) {
    json.key("appId").string(app.as_str());
}

fn write_ids(json: &mut Json, task: Option<&TaskId>, instance: &InstanceId) {
    match task {
        Some(task) => json.key("taskId").shown(task),
        None => json.key("taskId").shown(instance),
    }
    json.key("instanceId").shown(instance);
}

fn write_health(json: &mut Json, check: &HealthCheck) {
    write_health_check(json.key("healthCheck"), check);
}

fn write_plan(json: &mut Json, plan: &Deployment, format: PlanFormat) {
    json.key("plan").object(|json| {
        json.key("id").shown(plan.id);
        if format == PlanFormat::Full {
            json.key("original").object(|_| {});
            json.key("target").object(|_| {});
        }
        write_steps(json, &plan.steps);
        json.key("version").time(plan.version);
    });
}

fn cut(text: &str) -> &str {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}

pub(crate) fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Scheduled => "Scheduled",
        Condition::Provisioned => "Provisioned",
        Condition::Staging => "Staging",
        Condition::Starting => "Starting",
        Condition::Running => "Running",
        Condition::Killing => "Killing",
        Condition::Unreachable => "Unreachable",
        Condition::UnreachableInactive => "UnreachableInactive",
        Condition::Finished => "Finished",
        Condition::Killed => "Killed",
        Condition::Error => "Error",
        Condition::Failed => "Failed",
        Condition::Gone => "Gone",
        Condition::Dropped => "Dropped",
        Condition::Unknown => "Unknown",
    }
}
