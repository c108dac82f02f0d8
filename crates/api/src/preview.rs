//! The answer to `?dryRun=true`: what would happen. The keys of the original's dry run come first, so its
//! clients read what they know.

use std::fmt::Write as _;

use marathon_model::app::AppSpec;
use marathon_model::deployment::{AppChange, GroupChange};
use marathon_model::group::Group;
use marathon_model::preview::{AppPreview, Obstacle, Outcome, Peak, Preview, Stuck, StuckApp};
use marathon_model::view::Mismatch;
use serde_json::{Map, Value};

use crate::app::write_app;
use crate::deployment::write_steps;
use crate::json::Json;
use crate::pod::write_pod;

pub fn body(preview: &Preview) -> Vec<u8> {
    let Preview { steps, apps, groups, ends, peak, agents, outcome } = preview;
    Json::text(|json| {
        json.object(|json| {
            write_steps(json, steps);
            json.key("outcome").string(match outcome {
                Outcome::Completes => "completes",
                Outcome::Stuck(_) => "stuck",
                Outcome::Unknown(_) => "unknown",
            });
            json.key("message").string(&sentence(preview));
            json.key("tasksStarted").int(apps.iter().map(|it| u64::from(it.starts)).sum::<u64>());
            json.key("tasksStopped").int(apps.iter().map(|it| u64::from(it.stops)).sum::<u64>());
            write_peak(json, peak);
            json.key("apps").array(apps, write_one);
            json.key("groups").array(groups, write_group);
            json.key("cancels").array(ends, |json, it| json.shown(it));
            json.key("agents").int(*agents);
            if let Outcome::Stuck(stuck) = outcome {
                write_stuck(json, stuck, steps.len());
            }
        });
    })
}

fn sentence(preview: &Preview) -> String {
    match &preview.outcome {
        Outcome::Completes if preview.apps.is_empty() && preview.groups.is_empty() => {
            "Nothing changes.".into()
        }
        Outcome::Completes if preview.apps.iter().all(|it| it.starts == 0) => {
            "Nothing has to be started, so nothing can get stuck for want of a place.".into()
        }
        Outcome::Completes => "Everything finds its place, if every task starts and is healthy.".into(),
        Outcome::Unknown(why) => format!("It is not known how it would end: {why}."),
        Outcome::Stuck(stuck) => {
            let mut text = match stuck.step {
                Some(at) => format!("It would get stuck in step {} of {}:", at + 1, preview.steps.len()),
                None => "It would get stuck:".to_owned(),
            };
            for app in &stuck.apps {
                let _ = write!(text, " {}", stuck_sentence(app));
            }
            text
        }
    }
}

fn stuck_sentence(app: &StuckApp) -> String {
    let mut parts = Vec::new();
    let verb = |count: u32, one: &'static str, many: &'static str| if count == 1 { one } else { many };
    if app.unplaced > 0 {
        let what = verb(app.unplaced, "finds", "find");
        parts.push(format!("{} of {} instances {what} no place", app.unplaced, app.wanted));
    }
    if app.unready > 0 {
        parts.push(format!("{} {} not serve", app.unready, verb(app.unready, "does", "do")));
    }
    if app.ending > 0 {
        parts.push(format!("{} {} not end", app.ending, verb(app.ending, "does", "do")));
    }
    if parts.is_empty() {
        parts.push("is not done".to_owned());
    }
    let mut text = format!("{}: {}", app.id, parts.join(", "));
    if !app.obstacles.is_empty() {
        let why: Vec<String> = app.obstacles.iter().map(obstacle_sentence).collect();
        let _ = write!(text, " ({})", why.join("; "));
    }
    text + "."
}

fn obstacle_sentence(it: &Obstacle) -> String {
    let agents = format!("{} {}", it.agents, if it.agents == 1 { "agent" } else { "agents" });
    match it.amounts {
        Some((needs, has)) => {
            let (name, unit) = resource(it.why);
            format!("needs {needs}{unit} {name}, at most {has}{unit} free on {agents}")
        }
        None => format!("{} on {agents}", it.why.name()),
    }
}

fn resource(why: Mismatch) -> (&'static str, &'static str) {
    match why {
        Mismatch::InsufficientCpus => ("cpus", ""),
        Mismatch::InsufficientMemory => ("mem", " MiB"),
        Mismatch::InsufficientDisk => ("disk", " MiB"),
        _ => ("gpus", ""),
    }
}

fn write_peak(json: &mut Json, peak: &Peak) {
    json.key("extraCapacity").object(|json| {
        json.key("instances").int(peak.instances);
        json.key("cpus").milli(peak.amounts.cpus);
        json.key("mem").milli(peak.amounts.mem);
        json.key("disk").milli(peak.amounts.disk);
        json.key("gpus").int(peak.amounts.gpus);
    });
}

fn kind<T>(before: Option<&T>, after: Option<&T>, same: bool) -> &'static str {
    match (before, after) {
        (None, Some(_)) => "create",
        (Some(_), None) => "delete",
        _ if same => "none",
        _ => "update",
    }
}

fn write_one(json: &mut Json, app: &AppPreview) {
    let AppPreview { change: AppChange { id, before, after }, starts, stops } = app;
    let (before, after) = (before.as_deref(), after.as_deref());
    let fields = difference(before.map(definition), after.map(definition));
    let is_restart = before.zip(after).is_some_and(|(a, b)| fields.is_empty() && a.config != b.config);
    json.object(|json| {
        let pod = before.or(after).is_some_and(|it| it.pod.is_some());
        json.key(if pod { "pod" } else { "app" }).string(id.as_str());
        let kind = kind(before, after, fields.is_empty());
        json.key("change").string(if is_restart { "restart" } else { kind });
        write_fields(json, &fields);
        json.key("tasksStarted").int(*starts);
        json.key("tasksStopped").int(*stops);
    });
}

fn write_group(json: &mut Json, change: &GroupChange) {
    let GroupChange { id, before, after } = change;
    let (before, after) = (before.as_deref(), after.as_deref());
    let fields = difference(before.map(group), after.map(group));
    json.object(|json| {
        json.key("group").string(id.as_str());
        json.key("change").string(kind(before, after, fields.is_empty()));
        write_fields(json, &fields);
    });
}

/// One field that changes; an absent side is `null`.
struct Field {
    name: String,
    before: Value,
    after: Value,
}

fn write_fields(json: &mut Json, fields: &[Field]) {
    json.key("fields").array(fields, |json, it| {
        json.object(|json| {
            json.key("field").string(&it.name);
            json.key("before").raw(it.before.to_string().as_bytes());
            json.key("after").raw(it.after.to_string().as_bytes());
        });
    });
}

/// The fields as the API shows them, in their order there.
fn difference(before: Option<Map<String, Value>>, after: Option<Map<String, Value>>) -> Vec<Field> {
    let (mut before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let mut fields = Vec::new();
    for (name, after) in after {
        let before = before.shift_remove(&name).unwrap_or_default();
        if before != after {
            fields.push(Field { name, before, after });
        }
    }
    fields.extend(before.into_iter().map(|(name, before)| Field { name, before, after: Value::Null }));
    fields
}

fn definition(spec: &AppSpec) -> Map<String, Value> {
    let mut all = match &spec.pod {
        Some(_) => object(Json::text(|json| write_pod(json, spec))),
        None => object(Json::text(|json| write_app(json, spec))),
    };
    for name in ["id", "version", "versionInfo"] {
        all.shift_remove(name);
    }
    all
}

fn group(group: &Group) -> Map<String, Value> {
    // No `..`: a new field does not compile until someone says whether it is told of.
    let Group { id: _, dependencies, enforce_role, version: _ } = group;
    let dependencies = dependencies.iter().map(|it| Value::from(it.as_str())).collect::<Vec<_>>();
    Map::from_iter([
        ("dependencies".to_owned(), dependencies.into()),
        ("enforceRole".to_owned(), Value::from(*enforce_role)),
    ])
}

fn object(text: Vec<u8>) -> Map<String, Value> {
    match serde_json::from_slice(&text) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn write_stuck(json: &mut Json, stuck: &Stuck, of: usize) {
    let Stuck { step, apps } = stuck;
    json.key("stuck").object(|json| {
        if let Some(step) = step {
            json.key("step").int(step + 1);
            json.key("totalSteps").int(of);
        }
        json.key("apps").array(apps, |json, app| {
            // No `..`, as above.
            let StuckApp { id, action, pod, wanted, unplaced, unready, ending, obstacles } = app;
            json.object(|json| {
                json.key(if *pod { "pod" } else { "app" }).string(id.as_str());
                if let Some(action) = action {
                    json.key("action").string(if *pod { action.pod_name() } else { action.name() });
                }
                json.key("message").string(&stuck_sentence(app));
                json.key("instances").int(*wanted);
                json.key("unplaced").int(*unplaced);
                json.key("notServing").int(*unready);
                json.key("notEnding").int(*ending);
                json.key("reasons").array(obstacles, write_obstacle);
            });
        });
    });
}

fn write_obstacle(json: &mut Json, obstacle: &Obstacle) {
    let Obstacle { why, agents, amounts } = obstacle;
    json.object(|json| {
        json.key("reason").string(why.name());
        json.key("agents").int(*agents);
        if let Some((needs, has)) = amounts {
            json.key("resource").string(resource(*why).0);
            json.key("needed").milli(*needs);
            json.key("mostFree").milli(*has);
        }
    });
}
