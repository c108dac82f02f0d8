//! Reads what clients send: the JSON bodies of `/v2`, label selectors, query strings. Pure.
//!
//! ```text
//! bytes ─► JSON ─► reader (shape: types, patterns, bounds) ─► legacy forms translated ─► model::update
//!           400              422 Invalid JSON                  422 Object is not valid
//! ```
//! A stage reports everything it finds; the next one runs only on what passed. Rules of the finished
//! definition are the `spec` crate's.

use std::time::Duration;

use marathon_model::command::Violation;
use marathon_model::id::{GroupId, IdError, InstanceId, PathId, TaskId};
use marathon_model::time::Timestamp;
use marathon_model::update::{AppUpdate, GroupUpdate, PodUpdate};
use serde_json::Value;

mod app;
mod check;
mod constraint;
mod container;
mod group;
mod guard;
mod kill;
mod legacy;
mod network;
mod pod;
pub mod query;
mod reader;
pub mod selector;
mod volume;

pub use guard::guard;
use reader::Reader;

/// Why a request was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRequest {
    /// 400 `Invalid JSON`, with the parser's words.
    Syntax { details: String },
    /// 400 `Please specify data in JSON format`.
    Empty { details: String },
    /// 422 `Invalid JSON`: well-formed, but of the wrong types.
    Shape(Vec<Violation>),
    /// 422 `Object is not valid`.
    Invalid(Vec<Violation>),
    /// 422 with this message.
    Illegal(String),
    /// 400 with this message.
    Bad(String),
}

/// What a body of one app is for, which decides what `id` and `version` mean in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// POST: a complete app; `id` is required, `version` is ignored.
    Create,
    /// PUT and PATCH: `version` asks for a rollback and stands alone.
    Update,
    /// PUT with `partialUpdate=false`: a complete app, named by the URL; `version` is ignored.
    Replace,
}

/// The body of one app.
///
/// What only answers carry (`versionInfo`, `tasks`, `deployments`, …) is ignored, since clients send
/// whole answers back.
pub fn app(body: &[u8], mode: Mode) -> Result<AppUpdate, BadRequest> {
    let json = parse(body)?;
    let mut reader = Reader::default();
    let app = app::read(&mut reader, &json, &PathId::root(), mode);
    reader.finish(app)
}

/// The body of `PUT /v2/apps` and `PATCH /v2/apps`: each element names its app.
pub fn apps(body: &[u8], mode: Mode) -> Result<Vec<AppUpdate>, BadRequest> {
    let json = parse(body)?;
    let mut reader = Reader::default();
    let apps = reader.list(&json, |reader, it| app::read(reader, it, &PathId::root(), mode));
    let apps = reader.finish(apps)?;
    if apps.iter().any(|it| it.id.is_none()) {
        return Err(BadRequest::Illegal("requirement failed: App Update must have app id set".to_owned()));
    }
    Ok(apps)
}

/// The body of POST and PUT of a group. Ids in it are resolved, the top one against the URL's group.
pub fn group(body: &[u8], url_group: &GroupId) -> Result<GroupUpdate, BadRequest> {
    let json = parse(body)?;
    let mut reader = Reader::default();
    let group = group::read(&mut reader, &json, url_group);
    reader.finish(group)
}

/// The body of PATCH of a group; `None` stands for the server's default.
pub fn enforce_role(body: &[u8]) -> Result<Option<bool>, BadRequest> {
    let json = parse(body)?;
    let mut reader = Reader::default();
    let enforce = reader.object(&json).map(|it| reader.optional(it, "enforceRole", Reader::boolean));
    reader.finish(enforce)
}

/// The body of `POST /v2/tasks/delete`. Ids of earlier releases are legal and name no task any more.
pub fn kill_ids(body: &[u8]) -> Result<Vec<TaskId>, BadRequest> {
    kill::ids(&parse(body)?)
}

/// The body of POST and PUT of a pod. A `version` in it is ignored.
pub fn pod(body: &[u8]) -> Result<PodUpdate, BadRequest> {
    let json = parse(body)?;
    let mut reader = Reader::default();
    let pod = pod::read(&mut reader, &json);
    reader.finish(pod)
}

/// The body of `DELETE /v2/pods/{id}::instances`: a bare array of instance ids.
pub fn instance_ids(body: &[u8]) -> Result<Vec<InstanceId>, BadRequest> {
    let json = parse(body)?;
    let mut reader = Reader::default();
    let ids = reader.list(&json, |reader, it| {
        let text = reader.text(it)?;
        match InstanceId::parse(&text) {
            Ok(id) => Some(id),
            Err(IdError::Shape(_)) => reader.misshapen("error.pattern"),
            Err(error @ IdError::Uuid(_)) => reader.misshapen(error.to_string()),
        }
    });
    reader.finish(ids)
}

/// An instance id in a path.
pub fn instance_id(text: &str) -> Result<InstanceId, BadRequest> {
    InstanceId::parse(text).map_err(|error| match error {
        IdError::Shape(_) => BadRequest::Illegal(format!("Invalid instance id '{text}'")),
        IdError::Uuid(_) => BadRequest::Illegal(error.to_string()),
    })
}

/// A version in a path or a query.
pub fn timestamp(text: &str) -> Result<Timestamp, BadRequest> {
    Timestamp::parse(text).ok_or_else(|| {
        BadRequest::Illegal(format!(
            "Invalid timestamp provided '{text}'. Expecting ISO-8601 datetime string."
        ))
    })
}

fn parse(body: &[u8]) -> Result<Value, BadRequest> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BadRequest::Empty { details: "No content to map due to end-of-input".to_owned() });
    }
    // Its limit of 128 levels also bounds the recursion of everything that walks the value.
    serde_json::from_slice(body).map_err(|error| BadRequest::Syntax { details: error.to_string() })
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}
