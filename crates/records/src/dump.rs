//! A whole state as writes, for snapshots.

use std::sync::Arc;

use marathon_model::callback::Subscriber;
use marathon_model::group::Group;
use marathon_model::id::GroupId;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};
use marathon_model::write::Write;

use crate::format::{FORMAT, format_record};
use crate::{Record, encode};

/// All writes that give this view back, and no write twice.
///
/// The iterator owns a copy of the view, which costs a few pointers: it can be sent to another thread and
/// walked there while the core goes on.
pub fn dump(view: &View) -> impl Iterator<Item = Write> + Send + use<> {
    let View {
        revision: _,
        apps,
        groups,
        mut group_history,
        deployments,
        failed,
        root_version,
        root_versions,
        framework,
        began,
        master: _,
        master_ui: _,
        master_region: _,
        counters: _,
        callbacks,
        events_begin,
        agents: _,
    } = view.clone();
    // The present form of a group may or may not stand in its history too.
    for (id, group) in &groups {
        let history = group_history.entry(id.clone()).or_default();
        if history.last().is_none_or(|(at, _)| *at != group.version) {
            history.push_back((group.version, Some(group.clone())));
        }
    }
    // Version 0 is the empty tree of a new store; nobody asked for it.
    let newest = (root_version != Timestamp::default() && !root_versions.contains(&root_version))
        .then_some(root_version);
    let roots = root_versions.into_iter().chain(newest).map(|version| Write::Root { version });
    let groups = group_history
        .into_iter()
        .flat_map(|(id, history)| history.into_iter().map(move |(at, group)| group_write(&id, at, group)));
    framework
        .into_iter()
        .map(Write::Framework)
        .chain((began != Timestamp::default()).then_some(Write::Began(began)))
        .chain((events_begin != 0).then_some(Write::EventsBegin(events_begin)))
        .chain(
            callbacks.into_iter().filter(|(_, it)| *it == Subscriber::Asked).map(|it| Write::Callback(it.0)),
        )
        .chain(roots)
        .chain(groups)
        .chain(deployments.into_iter().map(|(_, it)| Write::Deployment(it)))
        .chain(failed.into_iter().map(Write::Failed))
        .chain(apps.into_iter().flat_map(|(_, app)| app_writes(&app)))
}

/// A snapshot for the store: every record of this state, with the format number first.
pub fn snapshot(view: &View) -> impl Iterator<Item = (String, Vec<u8>)> + Send + use<> {
    let records = std::iter::once(format_record(FORMAT)).chain(dump(view).map(|it| encode(&it)));
    records.filter_map(|Record { key, value }| Some((key, value?)))
}

fn group_write(id: &GroupId, at: Timestamp, group: Option<Arc<Group>>) -> Write {
    match group {
        Some(group) => Write::Group(group),
        None => Write::GroupRemoved { id: id.clone(), at },
    }
}

fn app_writes(app: &App) -> impl Iterator<Item = Write> + use<> {
    // No `..`: a new field does not compile until someone says whether it is stored.
    let App {
        id,
        spec,
        history,
        instances,
        tally: _,
        failure,
        delay,
        deployments: _,
        waiting: _,
        readiness: _,
        revision: _,
    } = app.clone();
    let known = history.last().map(|(at, _)| *at);
    let newest = spec.filter(|it| Some(it.version) != known).map(Write::App);
    let versions = {
        let id = id.clone();
        history.into_iter().map(move |(at, spec)| match spec {
            Some(spec) => Write::App(spec),
            None => Write::AppRemoved { id: id.clone(), at },
        })
    };
    versions
        .chain(newest)
        .chain(instances.into_iter().map(|(_, it)| Write::Instance(it)))
        .chain(failure.into_iter().map(Write::Failure))
        .chain(delay.into_iter().map(move |delay| Write::Delay { app: id.clone(), delay }))
}
