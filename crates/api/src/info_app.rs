//! An app together with what is known of it: counts, deployments, tasks, the last failure.

use marathon_model::app::AppSpec;
use marathon_model::event::ProbeOutcome;
use marathon_model::id::DeploymentId;
use marathon_model::instance::TaskFailure;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Counts, Readiness};

use crate::app::write_fields;
use crate::embed::Embed;
use crate::json::Json;
use crate::stats::write_stats;
use crate::task::{state_name, write_tasks};

/// `now` matters to `Embed::TASK_STATS` only, which tells ages.
pub fn write_app_info(json: &mut Json, app: &App, spec: &AppSpec, embed: Embed, now: Timestamp) {
    json.object(|json| {
        write_fields(json, spec, true);
        if embed.has(Embed::COUNTS) {
            write_counts(json, app.tally.sum());
        }
        if embed.has(Embed::DEPLOYMENTS) {
            write_deployment_ids(json, &app.deployments);
        }
        if embed.has(Embed::READINESS) {
            json.key("readinessCheckResults").array(app.readiness.values(), write_readiness);
        }
        if embed.has(Embed::TASKS) {
            write_tasks(json.key("tasks"), app.instances.values(), &[]);
        }
        if embed.has(Embed::LAST_TASK_FAILURE)
            && let Some(failure) = &app.failure
        {
            write_failure(json.key("lastTaskFailure"), failure);
        }
        if embed.has(Embed::TASK_STATS) {
            // The last releases of the original write `tasksStats`, by a slip: their documentation, the web
            // UI and the clients in use all read `taskStats`, and marathon-python raises on the other.
            write_stats(json.key("taskStats"), app, spec, now);
        }
    });
}

pub(crate) fn write_counts(json: &mut Json, counts: Counts) {
    json.key("tasksStaged").int(counts.staged);
    json.key("tasksRunning").int(counts.running);
    json.key("tasksHealthy").int(counts.healthy);
    json.key("tasksUnhealthy").int(counts.unhealthy);
}

/// `deployments`, also part of the answer to an app that is locked.
pub(crate) fn write_deployment_ids(json: &mut Json, ids: &[DeploymentId]) {
    json.key("deployments").array(ids, |json, id| json.object(|json| json.key("id").shown(id)));
}

pub(crate) fn write_readiness(json: &mut Json, result: &Readiness) {
    let Readiness { name, task, ready, last_response } = result;
    json.object(|json| {
        json.key("name").string(name);
        json.key("taskId").shown(task);
        json.key("ready").bool(*ready);
        if let Some(ProbeOutcome::Answered { status, content_type, body }) = last_response {
            json.key("lastResponse").object(|json| {
                json.key("status").int(*status);
                json.key("contentType").string(content_type);
                json.key("body").string(body);
            });
        }
    });
}

fn write_failure(json: &mut Json, failure: &TaskFailure) {
    let TaskFailure { spec, task, state, message, host, agent, version, at } = failure;
    json.object(|json| {
        json.key("appId").string(spec.as_str());
        json.key("host").string(host);
        json.key("message").string(message);
        json.key("state").string(state_name(*state));
        json.key("taskId").shown(task);
        json.key("timestamp").time(*at);
        json.key("version").time(*version);
        if let Some(agent) = agent {
            json.key("slaveId").string(agent.as_str());
        }
    });
}
