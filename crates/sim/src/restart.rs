//! "Restart from the store gives the same state": what a restored core must share with the running one.

use std::collections::BTreeSet;

use marathon_model::act::Batch;
use marathon_model::instance::Instance;
use marathon_model::view::{App, View};
use marathon_model::write::Write;

use crate::check::{Found, ensure};
use crate::store::Store;

const NAME: &str = "a restart gives the same state";

/// Everything stored, on some days by way of the very bytes that would lie on disk.
pub fn saved(store: &Store, through_bytes: bool) -> Vec<Write> {
    let writes = store.dump();
    if !through_bytes {
        return writes;
    }
    let records = writes.iter().map(marathon_records::encode);
    let pairs = records.filter_map(|it| Some((it.key, it.value?)));
    let pairs =
        pairs.chain([("format".to_owned(), marathon_records::FORMAT.to_string().into_bytes())]).collect();
    let loaded = marathon_records::load(pairs).expect("what was just encoded can be decoded");
    assert_eq!(loaded.writes.len(), writes.len());
    loaded.writes
}

/// Counters, revisions, times of health checks, notes on offers and the connection live in memory only.
pub fn same(running: &View, restored: &View, batch: &Batch) -> Found {
    ensure!(batch.writes.is_empty(), NAME, "restoring wants to write {:?}", batch.writes);
    ensure!(running.root_version == restored.root_version, NAME, "root version");
    ensure!(running.root_versions == restored.root_versions, NAME, "root versions");
    ensure!(running.callbacks == restored.callbacks, NAME, "subscribers of callbacks");
    ensure!(running.framework == restored.framework, NAME, "framework");
    ensure!(running.began == restored.began, NAME, "beginning");
    ensure!(running.deployments == restored.deployments, NAME, "deployments");
    ensure!(running.groups == restored.groups, NAME, "groups");
    let remembered = |it: &View| {
        it.group_history
            .iter()
            .filter(|it| !it.1.is_empty())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<Vec<_>>()
    };
    ensure!(remembered(running) == remembered(restored), NAME, "group history");
    let ids: BTreeSet<_> = running.apps.keys().chain(restored.apps.keys()).collect();
    for id in ids {
        let (a, b) = (running.apps.get(id), restored.apps.get(id));
        match (a.filter(|it| is_something(it)), b.filter(|it| is_something(it))) {
            (None, None) => {}
            (Some(a), Some(b)) => same_app(a, b)?,
            (a, b) => {
                let text = format!("{id}: running {:?}, restored {:?}", a.is_some(), b.is_some());
                return Err((NAME, text));
            }
        }
    }
    Ok(())
}

fn is_something(app: &App) -> bool {
    !(app.history.is_empty() && app.instances.is_empty() && app.failure.is_none() && app.delay.is_none())
}

fn same_app(a: &App, b: &App) -> Found {
    let id = &a.id;
    ensure!(a.spec == b.spec, NAME, "{id}: definition");
    ensure!(a.history == b.history, NAME, "{id}: versions");
    ensure!(a.tally == b.tally, NAME, "{id}: tally {:?} and {:?}", a.tally, b.tally);
    ensure!(a.failure == b.failure, NAME, "{id}: failure {:?} and {:?}", a.failure, b.failure);
    ensure!(a.delay == b.delay, NAME, "{id}: delay {:?} and {:?}", a.delay, b.delay);
    let set = |it: &App| it.deployments.iter().copied().collect::<BTreeSet<_>>();
    ensure!(set(a) == set(b), NAME, "{id}: deployments {:?} and {:?}", set(a), set(b));
    ensure!(a.instances.len() == b.instances.len(), NAME, "{id}: instances");
    for (a, b) in a.instances.values().zip(b.instances.values()) {
        ensure!(same_instance(a, b), NAME, "{a:?} and {b:?}");
    }
    Ok(())
}

fn same_instance(a: &Instance, b: &Instance) -> bool {
    let Instance {
        id,
        goal,
        condition,
        since: _,
        version,
        config,
        role,
        incarnation,
        agent,
        task,
        health,
        ready,
        reservation,
    } = a;
    let alive = |it: &Instance| it.health.iter().map(|it| it.alive()).collect::<Vec<_>>();
    *id == b.id
        && *goal == b.goal
        && *condition == b.condition
        && *version == b.version
        && *config == b.config
        && *role == b.role
        && *incarnation == b.incarnation
        && *agent == b.agent
        && *task == b.task
        && *ready == b.ready
        && *reservation == b.reservation
        && health.len() == b.health.len()
        && alive(a) == alive(b)
}
