//! Bodies about pods.

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::app::UnreachableStrategy;
use marathon_model::command::Refusal;
use marathon_model::id::SpecId;
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};

use crate::app::write_unreachable;
use crate::error::{self, Answer};
use crate::event::condition_name;
use crate::json::Json;
use crate::pod::write_pod;
use crate::pod_status::{shown, write_status};
use crate::task::{write_addresses, write_ports};

/// The pod of this name, and its definition.
pub fn find<'a>(view: &'a View, id: &SpecId) -> Option<(&'a Arc<App>, &'a Arc<AppSpec>)> {
    let app = view.apps.get(id)?;
    Some((app, app.spec.as_ref().filter(|it| it.is_pod())?))
}

fn no_such_pod(id: &SpecId) -> Refusal {
    Refusal::NoSuchPod(id.clone())
}

/// 404 of `GET /v2/pods/{id}`: the original wraps one JSON text in another here.
pub fn not_found(id: &str) -> Answer {
    error::not_found(format_args!("{{\"message\": \"pod with {id} does not exist\"}}"))
}

/// A bare pod, as POST and PUT answer it too.
pub fn definition(spec: &AppSpec) -> Vec<u8> {
    Json::text(|json| write_pod(json, spec))
}

/// `GET /v2/pods`: a bare array of definitions.
pub fn list(view: &View) -> Vec<u8> {
    let pods = view.live_apps().map(|(_, spec)| spec).filter(|it| it.is_pod());
    Json::text(|json| json.array(pods, |json, spec| write_pod(json, spec)))
}

/// `GET /v2/pods/::status`. Pods that are being removed are shown until their last instances have ended.
pub fn statuses(view: &View, now: Timestamp) -> Vec<u8> {
    let pods = view.apps.values().filter_map(|it| Some((it, shown(it)?)));
    Json::text(|json| json.array(pods, |json, (app, spec)| write_status(json, app, spec, now)))
}

/// `GET /v2/pods/{id}::status`.
pub fn status(view: &View, id: &SpecId, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let app = view.apps.get(id).ok_or_else(|| no_such_pod(id))?;
    let spec = shown(app).ok_or_else(|| no_such_pod(id))?;
    Ok(Json::text(|json| write_status(json, app, spec, now)))
}

/// `GET /v2/pods/{id}::versions`: a bare array, newest first.
pub fn versions(view: &View, id: &SpecId) -> Result<Vec<u8>, Refusal> {
    let (app, _) = find(view, id).ok_or_else(|| no_such_pod(id))?;
    let versions = app.history.iter().rev().filter(|(_, spec)| spec.as_ref().is_some_and(|it| it.is_pod()));
    Ok(Json::text(|json| json.array(versions, |json, (at, _)| json.time(*at))))
}

/// `GET /v2/pods/{id}::versions/{version}`.
pub fn version(view: &View, id: &SpecId, version: Timestamp) -> Result<Vec<u8>, Answer> {
    let (app, _) = find(view, id).ok_or_else(|| error::answer(&no_such_pod(id)))?;
    let spec = app
        .version(version)
        .filter(|it| it.is_pod())
        .ok_or_else(|| error::not_found(format_args!("Pod '{id}' does not exist in version {version}")))?;
    Ok(definition(spec))
}

/// In which form instances are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceForm {
    #[default]
    Present,
    /// That of 1.4, with objects in place of the id and the condition. go-marathon reads no other.
    Early,
}

/// `GET /v2/pods/{id}::instances`: those that were ever placed.
pub fn instances(view: &View, id: &SpecId, form: InstanceForm) -> Result<Vec<u8>, Refusal> {
    let (app, spec) = find(view, id).ok_or_else(|| no_such_pod(id))?;
    let placed = app.instances.values().filter(|it| it.agent.is_some());
    Ok(Json::text(|json| json.array(placed, |json, it| write_instance(json, it, app, spec, form))))
}

/// The instances that were told to end, as they were before.
pub fn killed(view: &View, instances: &[Arc<Instance>], form: InstanceForm) -> Vec<u8> {
    Json::text(|json| json.array(instances, |json, it| write_one(json, view, it, form)))
}

/// One instance, told to end or looked up.
pub fn instance(view: &View, instance: &Instance, form: InstanceForm) -> Vec<u8> {
    Json::text(|json| write_one(json, view, instance, form))
}

fn write_one(json: &mut Json, view: &View, instance: &Instance, form: InstanceForm) {
    match find(view, instance.spec()) {
        Some((app, spec)) => write_instance(json, instance, app, spec, form),
        // Removed meanwhile; only the strategy is not known then.
        None => json.object(|json| write_fields(json, instance, UnreachableStrategy::Disabled, form)),
    }
}

fn write_instance(json: &mut Json, instance: &Instance, app: &App, spec: &AppSpec, form: InstanceForm) {
    let strategy = app.version(instance.version).map_or(spec.unreachable, |it| it.unreachable);
    json.object(|json| write_fields(json, instance, strategy, form));
}

fn write_fields(json: &mut Json, instance: &Instance, strategy: UnreachableStrategy, form: InstanceForm) {
    let early = form == InstanceForm::Early;
    json.key("instanceId");
    match early {
        true => json.object(|json| json.key("idString").shown(&instance.id)),
        false => json.shown(&instance.id),
    }
    let started = instance.task.as_ref().and_then(|it| it.started_at);
    json.key("state").object(|json| {
        write_condition(json.key("condition"), instance.condition, form);
        json.key("since").time(instance.since);
        if let Some(at) = started {
            json.key("activeSince").time(at);
        }
        if let Some(healthy) = instance.healthy() {
            json.key("healthy").bool(healthy);
        }
        json.key("goal").string(match instance.goal {
            Goal::Running => "Running",
            Goal::Stopped => "Stopped",
            Goal::Decommissioned => "Decommissioned",
        });
    });
    if let Some(agent) = &instance.agent {
        json.key("agentInfo").object(|json| {
            json.key("host").string(&agent.host);
            json.key("agentId").string(agent.id.as_str());
            if let Some(region) = &agent.region {
                json.key("region").string(region);
            }
            if let Some(zone) = &agent.zone {
                json.key("zone").string(zone);
            }
            json.key("attributes").array([(); 0], |_, ()| {});
        });
    }
    if early {
        write_tasks(json, instance);
    }
    json.key("runSpecVersion").time(instance.version);
    // The early form knows nothing but an object here.
    if !(early && strategy == UnreachableStrategy::Disabled) {
        write_unreachable(json.key("unreachableStrategy"), strategy);
    }
}

fn write_condition(json: &mut Json, condition: Condition, form: InstanceForm) {
    let name = condition_name(condition);
    match form {
        InstanceForm::Present => json.string(name),
        InstanceForm::Early => json.object(|json| json.key("str").string(&name.to_lowercase())),
    }
}

/// The containers by the ids of their tasks.
fn write_tasks(json: &mut Json, instance: &Instance) {
    json.key("tasksMap").object(|json| {
        let Some(task) = &instance.task else { return };
        for part in &task.parts {
            let id = marathon_model::id::TaskId { container: Some(part.name.clone()), ..task.id.clone() };
            json.any_key(&id.to_string()).object(|json| {
                json.key("taskId").shown(&id);
                json.key("runSpecVersion").time(instance.version);
                json.key("status").object(|json| {
                    json.key("stagedAt").time(task.staged_at);
                    if let Some(at) = part.started_at {
                        json.key("startedAt").time(at);
                    }
                    write_condition(json.key("condition"), instance.condition, InstanceForm::Early);
                    json.key("networkInfo").object(|json| {
                        json.key("hostName").string(instance.agent.as_ref().map_or("", |it| &it.host));
                        write_ports(json.key("hostPorts"), &task.ports);
                        write_addresses(json, &task.addresses);
                    });
                });
            });
        }
    });
}
