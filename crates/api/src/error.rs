//! Refusals as status and body. Clients and scripts read these texts, so they are the original's, odd
//! spellings included.

use std::fmt::Display;

use marathon_model::command::{Refusal, Violation};

use crate::info_app::write_deployment_ids;
use crate::json::Json;

/// Status and body.
pub type Answer = (u16, Vec<u8>);

/// Why a command or a look-up was refused, as clients see it.
pub fn answer(refusal: &Refusal) -> Answer {
    let in_version = |version: &Option<_>| version.map(|it| format!(" in version {it}")).unwrap_or_default();
    match refusal {
        Refusal::NoSuchApp { id, version } => {
            not_found(format_args!("App '{id}' does not exist{}", in_version(version)))
        }
        Refusal::NoSuchGroup { id, version } => {
            not_found(format_args!("Group '{id}' does not exist{}", in_version(version)))
        }
        Refusal::NoSuchTask(id) => not_found(format_args!("Task '{id}' does not exist")),
        Refusal::NoSuchDeployment(id) => not_found(format_args!("DeploymentPlan {id} does not exist")),
        Refusal::NotQueued(app) => not_found(format_args!("Application {app} not found in tasks queue.")),
        Refusal::NoSuchPod(id) => message(404, format_args!("Pod '{id}' does not exist")),
        Refusal::PodExists(id) => message(409, format_args!("A pod with id [{id}] already exists.")),
        Refusal::AppExists(id) => message(409, format_args!("An app with id [{id}] already exists.")),
        Refusal::GroupExists(id) => {
            message(409, format_args!("Group {id} is already created. Use PUT to change this group."))
        }
        Refusal::PathTaken(id) => message(409, format_args!("An app with the path {id} already exists.")),
        Refusal::Locked { holders } => (
            409,
            Json::text(|json| {
                json.object(|json| {
                    json.key("message").string(LOCKED);
                    write_deployment_ids(json, holders);
                });
            }),
        ),
        Refusal::Invalid(violations) => invalid(violations),
        Refusal::Illegal(text) => message(422, text),
        Refusal::BadRequest(text) => message(400, text),
        Refusal::TooManyDeployments { limit } => message(
            403,
            format_args!(
                "Max number ({limit}) of running deployments is achieved. Wait for existing deployments to \
                 complete or cancel oneusing force=true parameter. You can increase max deployment number by \
                 using --max_running_deployments parameter but be advised that this can have negative effects \
                 on the performance."
            ),
        ),
        Refusal::PortsExhausted { first, last } => {
            message(500, format_args!("All ports in the range [{first}-{last}) are already in use"))
        }
        Refusal::Unavailable(text) => message(503, text),
    }
}

const LOCKED: &str = "App is locked by one or more deployments. Override with the option '?force=true'. \
                      View details at '/v2/deployments/<DEPLOYMENT_ID>'.";

/// `{"message":"…"}`
pub fn message(status: u16, text: impl Display) -> Answer {
    (status, Json::text(|json| json.object(|json| json.key("message").shown(text))))
}

/// 404 with the empty `details` that resources of the original add.
pub fn not_found(text: impl Display) -> Answer {
    let body = Json::text(|json| {
        json.object(|json| {
            json.key("message").shown(text);
            json.key("details").array([(); 0], |_, ()| {});
        });
    });
    (404, body)
}

/// Text that is no JSON; `details` is the parser's complaint.
pub fn syntax(details: &str) -> Answer {
    (400, with_details("Invalid JSON", |json| json.string(details)))
}

/// No body at all where one is needed.
pub fn empty(details: &str) -> Answer {
    (400, with_details("Please specify data in JSON format", |json| json.string(details)))
}

/// JSON of the wrong shape: types, patterns, missing keys.
pub fn shape(violations: &[Violation]) -> Answer {
    (422, with_details("Invalid JSON", |json| write_violations(json, violations)))
}

/// Well-formed, but a rule is broken.
pub fn invalid(violations: &[Violation]) -> Answer {
    (422, with_details("Object is not valid", |json| write_violations(json, violations)))
}

fn with_details(message: &str, details: impl FnOnce(&mut Json)) -> Vec<u8> {
    Json::text(|json| {
        json.object(|json| {
            json.key("message").string(message);
            details(json.key("details"));
        });
    })
}

/// One entry for each path, in order of first mention, with all its messages.
fn write_violations(json: &mut Json, violations: &[Violation]) {
    let mut order: Vec<usize> = (0..violations.len()).collect();
    // Stable, so the first of each group is the first mention.
    order.sort_by_key(|at| &violations[*at].path);
    let mut groups: Vec<&[usize]> =
        order.chunk_by(|a, b| violations[*a].path == violations[*b].path).collect();
    groups.sort_by_key(|it| it[0]);
    json.array(groups, |json, group| {
        json.object(|json| {
            json.key("path").string(&violations[group[0]].path);
            let mut errors: Vec<&str> = Vec::new();
            for at in group {
                let text = violations[*at].message.as_str();
                if !errors.contains(&text) {
                    errors.push(text);
                }
            }
            json.key("errors").strings(errors);
        });
    });
}

/// The original answers 500 here by accident of its framework; 404 is what every client expects.
pub fn uri_not_found() -> Answer {
    message(404, "URI not found")
}

pub fn method_not_allowed() -> Answer {
    message(405, "Method Not Allowed")
}

pub fn not_acceptable() -> Answer {
    message(406, "Not Acceptable")
}

pub fn unsupported_media_type() -> Answer {
    message(415, "Unsupported Media Type")
}

/// A moment in a path or a query that is none.
pub fn bad_timestamp(text: &str) -> Answer {
    message(422, format_args!("Invalid timestamp provided '{text}'. Expecting ISO-8601 datetime string."))
}

/// For look-ups at the leader endpoints.
pub fn no_leader() -> Answer {
    not_found("There is no leader")
}
