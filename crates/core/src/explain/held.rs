//! What a deployment holds back: instances that are wanted and not even scheduled yet.

use marathon_model::deployment::{Action, ActionKind, Deployment};
use marathon_model::explain::{Reason, Why};
use marathon_model::id::PathId;

use super::{Case, noun};

/// Unfinished actions told of one by one.
const ACTIONS_MAX: usize = 5;

/// The instances that the definition asks for and that do not exist.
pub(super) fn missing(case: &Case) -> Option<Reason> {
    let present = case.app.tally.current.wanted;
    let count = case.spec.instances.saturating_sub(present);
    if count == 0 {
        return None;
    }
    let deployment = of(case);
    let (why, text) = match deployment {
        Some(plan) => {
            let on = dependencies_not_up(case, plan);
            let why = if on.is_empty() { Why::DeploymentStep } else { Why::Dependency };
            let text = match on.is_empty() {
                true => describe(case, plan),
                false => format!(
                    "depends on {}, which {} not up; {}",
                    on.join(", "),
                    be(on.len()),
                    describe(case, plan)
                ),
            };
            (why, text)
        }
        None => (Why::DeploymentStep, "scheduled as soon as those before them are placed".to_owned()),
    };
    let since = deployment.map(|it| it.began_at);
    Some(Reason { why, text, count, instances: Vec::new(), since, until: None })
}

fn be(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// The deployment an app is part of.
fn of<'a>(case: &Case<'a>) -> Option<&'a Deployment> {
    let plans = &case.view.deployments;
    case.app.deployments.iter().find_map(|it| plans.get(it)).map(|it| &**it)
}

/// Which step the app's deployment is in, and what that waits for.
pub(super) fn step(case: &Case) -> Option<String> {
    of(case).map(|plan| describe(case, plan))
}

fn describe(case: &Case, plan: &Deployment) -> String {
    let (step, all) = (plan.current + 1, plan.steps.len());
    let begin = format!("deployment {} is in step {step} of {all}", plan.id);
    let open: Vec<String> =
        plan.step().iter().flat_map(|it| &it.actions).filter_map(|it| waits_for(case, it)).collect();
    if open.is_empty() {
        return begin;
    }
    let mut named: Vec<String> = open.iter().take(ACTIONS_MAX).cloned().collect();
    if open.len() > ACTIONS_MAX {
        named.push(format!("and {} more", open.len() - ACTIONS_MAX));
    }
    format!("{begin}, which waits for {}", named.join(", "))
}

/// What is still to happen before an action is done; see `Core::is_done`.
fn waits_for(case: &Case, action: &Action) -> Option<String> {
    let app = case.view.apps.get(&action.app)?;
    let (id, sum) = (&action.app, app.tally.sum());
    let mut open = Vec::new();
    if let Some(spec) = &app.spec
        && matches!(action.kind, ActionKind::ScaleApplication | ActionKind::RestartApplication)
    {
        let (new, wanted) = (app.tally.current, spec.instances);
        if new.serving < wanted {
            let late = wanted - new.serving;
            open.push(format!("{late} of {wanted} {} to serve", noun(wanted)));
        }
        let old = app.tally.outdated.wanted;
        if action.kind == ActionKind::RestartApplication && old > 0 {
            open.push(format!("{old} old {} to be replaced", noun(old)));
        }
    }
    if sum.ending > 0 && action.kind != ActionKind::StartApplication {
        open.push(format!("{} {} to end", sum.ending, noun(sum.ending)));
    }
    (!open.is_empty()).then(|| format!("{id} ({})", open.join(", ")))
}

/// Apps that this one depends on, itself or by a group around it, and that do not serve fully while an
/// earlier step works on them.
fn dependencies_not_up(case: &Case, plan: &Deployment) -> Vec<String> {
    let busy = plan.step().map(|it| it.actions.as_slice()).unwrap_or_default();
    if busy.iter().any(|it| it.app == case.spec.id && it.kind != ActionKind::StartApplication) {
        return Vec::new();
    }
    let mut all: Vec<&PathId> = case.spec.dependencies.iter().collect();
    for group in case.spec.id.ancestors() {
        all.extend(case.view.groups.get(&group).into_iter().flat_map(|it| &it.dependencies));
    }
    let depends = |app: &PathId| all.iter().any(|it| *it == app || app.is_below(it));
    let open = busy.iter().filter(|it| depends(&it.app) && waits_for(case, it).is_some());
    open.map(|it| it.app.to_string()).take(ACTIONS_MAX).collect()
}
