//! What lies in the store: one record for each thing that is remembered, and the way there and back.
//!
//! ```text
//! model::write::Write ── encode ──► Record { key, value } ──► store
//!                     ◄── load ───  (key, value) pairs    ◄──
//! model::view::View ── snapshot ──► every record of that state
//! ```
//! A key names the thing (`key`), a value is compact JSON of the model type. That keeps a store readable
//! with ordinary tools and tolerant of fields it does not know; docs/decisions/0003-stored-records.md
//! weighs it against the alternatives. `tests/golden.rs` pins the bytes.

mod dump;
mod error;
mod format;
mod key;

pub use dump::{dump, snapshot};
pub use error::RecordError;
pub use format::{FORMAT, Loaded, load};
pub use key::Key;

use std::sync::Arc;

use marathon_model::time::Timestamp;
use marathon_model::write::Write;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: String,
    /// `None`: the key is deleted.
    pub value: Option<Vec<u8>>,
}

/// How a write is stored.
pub fn encode(write: &Write) -> Record {
    let (key, value) = match write {
        Write::App(spec) => (Key::App(spec.id.clone(), spec.version), Some(json(spec))),
        Write::AppRemoved { id, at } => (Key::App(id.clone(), *at), Some(REMOVED.to_vec())),
        Write::AppVersionForgotten { id, version } => (Key::App(id.clone(), *version), None),
        Write::Group(group) => (Key::Group(group.id.clone(), group.version), Some(json(group))),
        Write::GroupRemoved { id, at } => (Key::Group(id.clone(), *at), Some(REMOVED.to_vec())),
        Write::GroupVersionForgotten { id, version } => (Key::Group(id.clone(), *version), None),
        Write::Root { version } => (Key::Root(*version), Some(NOTHING_MORE.to_vec())),
        Write::RootForgotten { version } => (Key::Root(*version), None),
        Write::Instance(instance) => (Key::Instance(instance.id.clone()), Some(json(instance))),
        Write::InstanceGone(id) => (Key::Instance(id.clone()), None),
        Write::Deployment(deployment) => (Key::Deployment(deployment.id), Some(json(deployment))),
        Write::DeploymentGone(id) => (Key::Deployment(*id), None),
        Write::Progress(it) => (Key::Progress(it.deployment), Some(json(it))),
        Write::ProgressGone(id) => (Key::Progress(*id), None),
        Write::Failed(it) => (Key::Failed(it.deployment), Some(json(it))),
        Write::FailedForgotten(id) => (Key::Failed(*id), None),
        Write::Failure(failure) => (Key::Failure(failure.spec.clone()), Some(json(failure))),
        Write::FailureGone(id) => (Key::Failure(id.clone()), None),
        Write::Delay { app, delay } => (Key::Delay(app.clone()), Some(json(delay))),
        Write::DelayGone(id) => (Key::Delay(id.clone()), None),
        Write::Framework(id) => (Key::Framework, Some(json(id))),
        Write::Began(at) => (Key::Began, Some(json(&Beginning { at: *at }))),
        Write::Callback(url) => (Key::Callback(url.clone()), Some(NOTHING_MORE.to_vec())),
        Write::CallbackGone(url) => (Key::Callback(url.clone()), None),
        Write::EventsBegin(begin) => (Key::Events, Some(json(&Events { begin: *begin }))),
    };
    Record { key: key.to_string(), value }
}

/// A bare number that lost its last digits would still be one.
#[derive(Serialize, Deserialize)]
struct Events {
    begin: u64,
}

/// An object, as half a number is a number.
#[derive(Serialize, Deserialize)]
struct Beginning {
    at: Timestamp,
}

/// The version in which something ceased to be.
const REMOVED: &[u8] = b"null";
/// The key says it all; an object, so that later releases can add to it.
const NOTHING_MORE: &[u8] = b"{}";

/// Reads one record back. A record whose value belongs under another key is refused: bytes that were
/// swapped or edited by hand must not pass for something they are not.
pub fn decode(key: &str, value: &[u8]) -> Result<Write, RecordError> {
    let write = match Key::parse(key)? {
        Key::App(id, at) => match parse::<Option<_>>(key, value)? {
            Some(spec) => Write::App(Arc::new(spec)),
            None => Write::AppRemoved { id, at },
        },
        Key::Group(id, at) => match parse::<Option<_>>(key, value)? {
            Some(group) => Write::Group(Arc::new(group)),
            None => Write::GroupRemoved { id, at },
        },
        Key::Root(version) => {
            parse::<serde::de::IgnoredAny>(key, value)?;
            Write::Root { version }
        }
        Key::Instance(_) => Write::Instance(Arc::new(shared(parse(key, value)?))),
        Key::Deployment(_) => Write::Deployment(Arc::new(parse(key, value)?)),
        Key::Progress(_) => Write::Progress(parse(key, value)?),
        Key::Failed(_) => Write::Failed(Arc::new(parse(key, value)?)),
        Key::Failure(_) => Write::Failure(Arc::new(parse(key, value)?)),
        Key::Delay(app) => Write::Delay { app, delay: parse(key, value)? },
        Key::Callback(url) => {
            parse::<serde::de::IgnoredAny>(key, value)?;
            Write::Callback(url)
        }
        Key::Events => Write::EventsBegin(parse::<Events>(key, value)?.begin),
        Key::Framework => Write::Framework(parse(key, value)?),
        Key::Began => Write::Began(parse::<Beginning>(key, value)?.at),
        // `load` takes the format record out before anything is decoded.
        Key::Format => return Err(RecordError::Kind { key: key.to_owned() }),
    };
    match named(&write) {
        Some(found) if found != key => Err(RecordError::Misplaced { key: key.to_owned(), found }),
        _ => Ok(write),
    }
}

/// The key a value claims for itself, where it holds one.
fn named(write: &Write) -> Option<String> {
    let key = match write {
        Write::App(spec) => Key::App(spec.id.clone(), spec.version),
        Write::Group(group) => Key::Group(group.id.clone(), group.version),
        Write::Instance(instance) => Key::Instance(instance.id.clone()),
        Write::Deployment(deployment) => Key::Deployment(deployment.id),
        Write::Progress(it) => Key::Progress(it.deployment),
        Write::Failed(it) => Key::Failed(it.deployment),
        Write::Failure(failure) => Key::Failure(failure.spec.clone()),
        _ => return None,
    };
    Some(key.to_string())
}

/// Each text is read into memory of its own; the id within an instance's task repeats the instance's and
/// may share it. With 100,000 instances that is worth the line.
fn shared(mut instance: marathon_model::instance::Instance) -> marathon_model::instance::Instance {
    if let Some(task) = &mut instance.task
        && task.id.instance == instance.id
    {
        task.id.instance = instance.id.clone();
    }
    instance
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("model types hold no maps with keys other than text")
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(value).map_err(|cause| RecordError::Value { key: key.to_owned(), cause })
}
