//! The v2 JSON as it leaves: answers, errors and events. Pure.
//!
//! ```text
//! json                                   a writer of bytes; knows commas, escapes and number forms
//! app  pod  container  check             one definition
//! embed  info_app  task  stats           a definition with what is known of it: counts, tasks, …
//! pod_status                             how the instances of a pod fare
//! apps  pods  cache  group  deployment  queue  bodies of GET, from a `View`
//! reply  error  preview                  bodies of changes, from a `Reply`, a `Refusal` or a `Preview`
//! event  about                           the event stream; info, leader, ping
//! ```
//! Everything is in the form of 1.11: its key order, doubles with a fraction, unset fields left out.
//! Clients refuse unknown fields and `1.0` where an integer belongs, so a field is added here only if
//! the original has it. Writing by hand keeps that form in one visible place, and a list of ten
//! thousand apps costs one pass over memory instead of a tree of values.
//!
//! Functions that answer a GET take the `View` and return the body, or the `Refusal` that
//! `error::answer` turns into status and body.

pub mod about;
pub mod agents;
pub mod app;
pub mod apps;
pub mod cache;
mod check;
mod container;
pub mod deployment;
pub mod embed;
pub mod error;
pub mod event;
pub mod explain;
pub mod group;
pub mod info_app;
pub mod json;
pub mod pod;
mod pod_status;
pub mod pods;
pub mod preview;
pub mod queue;
pub mod reply;
pub mod singles;
mod stats;
pub mod task;

pub use cache::{AppsCache, Filter};
pub use embed::{Embed, GroupEmbed};
pub use error::Answer;
pub use singles::SinglesCache;

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::command::Refusal;
use marathon_model::id::{GroupId, SpecId};
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};

/// An app: pods lie beside the apps in the view and are none for the endpoints of apps.
fn live_app<'a>(view: &'a View, id: &SpecId) -> Option<(&'a Arc<App>, &'a Arc<AppSpec>)> {
    let app = view.apps.get(id)?;
    Some((app, app.spec.as_ref().filter(|it| !it.is_pod())?))
}

fn live_apps(view: &View) -> impl Iterator<Item = (&Arc<App>, &Arc<AppSpec>)> {
    view.live_apps().filter(|(_, spec)| !spec.is_pod())
}

fn no_such_app(id: &SpecId) -> Refusal {
    Refusal::NoSuchApp { id: id.clone(), version: None }
}

fn no_such_group(id: &GroupId, version: Option<Timestamp>) -> Refusal {
    Refusal::NoSuchGroup { id: id.clone(), version }
}
