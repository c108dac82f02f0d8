//! Running deployments, and the steps of those that would run.

use std::collections::HashSet;

use marathon_model::command::Refusal;
use marathon_model::deployment::{Action, Aftermath, Cause, Deployment, Failed, Guard, Step};
use marathon_model::id::{DeploymentId, SpecId};
use marathon_model::view::View;

use crate::info_app::write_readiness;
use crate::json::Json;

/// `GET /v2/deployments`: a bare array.
///
/// `guards`: with what the original does not have. Left out otherwise, since marathon-python refuses keys that
/// it does not know.
pub fn list(view: &View, guards: bool) -> Vec<u8> {
    Json::text(|json| {
        json.array(view.deployments.values(), |json, it| write_deployment(json, view, it, guards));
    })
}

/// `GET /v2/deployments/{id}`: a running one, or what is remembered of one that gave up.
pub fn one(view: &View, id: DeploymentId) -> Result<Vec<u8>, Refusal> {
    if let Some(running) = view.deployments.get(&id) {
        return Ok(Json::text(|json| write_deployment(json, view, running, true)));
    }
    let failed = view.failed.iter().find(|it| it.deployment == id);
    let failed = failed.ok_or_else(|| Refusal::NoSuchDeployment(id.to_string()))?;
    Ok(Json::text(|json| write_failed(json, failed)))
}

/// `GET /v2/deployments/failed`: those that gave up by themselves, the latest first.
pub fn failed(view: &View) -> Vec<u8> {
    Json::text(|json| json.array(view.failed.iter().rev(), |json, it| write_failed(json, it)))
}

fn write_failed(json: &mut Json, failed: &Failed) {
    let Failed { deployment, version, at, reason, apps, then } = failed;
    json.object(|json| {
        json.key("id").shown(deployment);
        json.key("version").time(*version);
        json.key("failedAt").time(*at);
        json.key("reason").string(reason);
        json.key("affected").strings(apps.iter().map(|it| it.as_str()));
        match then {
            Aftermath::Stopped => json.key("then").string("stopped"),
            Aftermath::RolledBack(by) => {
                json.key("then").string("rolledBack");
                json.key("rollback").shown(by);
            }
            Aftermath::NotRolledBack(why) => {
                json.key("then").string("notRolledBack");
                json.key("refusal").string(why);
            }
        }
    });
}

fn write_guard(json: &mut Json, deployment: &Deployment) {
    if let Some(Guard { deadline, max_failures, on_failure }) = &deployment.guard {
        json.key("guard").object(|json| {
            if let Some(deadline) = deadline {
                json.key("deadlineSeconds").int(deadline.as_secs());
                json.key("deadline").time(deployment.began_at + *deadline);
            }
            if let Some(most) = max_failures {
                json.key("maxFailures").int(*most);
                json.key("failures").int(deployment.failures);
            }
            json.key("onFailure").string(on_failure.name());
        });
    }
    if let Some(Cause { deployment, reason }) = &deployment.cause {
        json.key("rollbackOf").object(|json| {
            json.key("id").shown(deployment);
            json.key("reason").string(reason);
        });
    }
}

fn write_deployment(json: &mut Json, view: &View, deployment: &Deployment, guards: bool) {
    let Deployment {
        id,
        version,
        steps,
        current,
        changes: _,
        group_changes: _,
        began_at: _,
        guard: _,
        failures: _,
        cause: _,
    } = deployment;
    json.object(|json| {
        json.key("id").shown(id);
        json.key("version").time(*version);
        // `Deployment::affected` compares each with each, which is slow for thousands of apps.
        let mut seen: HashSet<&SpecId> = HashSet::new();
        let actions = steps.iter().flat_map(|it| &it.actions);
        let (pods, apps): (Vec<&Action>, Vec<&Action>) =
            actions.filter(|it| seen.insert(&it.app)).partition(|it| it.pod);
        for (key, actions) in [("affectedApps", apps), ("affectedPods", pods)] {
            json.key(key).strings(actions.into_iter().map(|it| it.app.as_str()));
        }
        write_steps(json, steps);
        let actions = deployment.step().into_iter().flat_map(|it| &it.actions);
        json.key("currentActions").array(actions, |json, action| {
            json.object(|json| {
                write_action(json, action);
                let results = view.apps.get(&action.app).into_iter().flat_map(|it| it.readiness.values());
                json.key("readinessCheckResults").array(results, write_readiness);
            });
        });
        json.key("currentStep").int((current + 1).min(steps.len()));
        json.key("totalSteps").int(steps.len());
        if guards {
            write_guard(json, deployment);
        }
    });
}

/// `{"steps":[…]}`, the answer to a dry run.
pub fn dry_run(steps: &[Step]) -> Vec<u8> {
    Json::text(|json| json.object(|json| write_steps(json, steps)))
}

pub(crate) fn write_steps(json: &mut Json, steps: &[Step]) {
    json.key("steps").array(steps, write_step);
}

pub(crate) fn write_step(json: &mut Json, step: &Step) {
    json.object(|json| {
        json.key("actions").array(&step.actions, |json, it| json.object(|json| write_action(json, it)));
    });
}

fn write_action(json: &mut Json, action: &Action) {
    json.key("action").string(action.name());
    json.key(if action.pod { "pod" } else { "app" }).string(action.app.as_str());
}
