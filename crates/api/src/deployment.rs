//! Running deployments, and the steps of those that would run.

use std::collections::HashSet;

use marathon_model::deployment::{Action, Deployment, Step};
use marathon_model::id::SpecId;
use marathon_model::view::View;

use crate::info_app::write_readiness;
use crate::json::Json;

/// `GET /v2/deployments`: a bare array.
pub fn list(view: &View) -> Vec<u8> {
    Json::text(|json| json.array(view.deployments.values(), |json, it| write_deployment(json, view, it)))
}

fn write_deployment(json: &mut Json, view: &View, deployment: &Deployment) {
    let Deployment { id, version, steps, current, changes: _, group_changes: _, began_at: _ } = deployment;
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
