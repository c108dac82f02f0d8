//! The benches.

mod adopt;
mod big_read;
mod churn;
mod deploy;
mod events;
mod explain;
mod failover;
mod footprint;
mod health;
mod load;
mod mesos;
mod plan;
mod proxy;
mod put;
mod respawn;
mod sim;
mod small_read;
mod start;
mod zk_put;

use std::time::Duration;

use crate::report::Report;
use crate::server::{Server, sleepers};
use crate::stream::Stream;
use crate::{Outcome, Place};

pub type Bench = fn(&Place) -> Outcome<Report>;

pub const BENCHES: [(&str, Bench); 24] = [
    ("local-start", start::run),
    ("local-respawn", respawn::run),
    ("local-adopt", adopt::run),
    ("durable-put", put::run),
    ("small-read", small_read::run),
    ("big-read", big_read::run),
    ("footprint", footprint::run),
    ("explain", explain::run),
    ("health-10k", health::run),
    ("events-1000", events::run),
    ("sim-speed", sim::run),
    ("deploy-800", deploy::run),
    ("churn", churn::run),
    ("plan-10k", plan::run),
    ("mesos-scale", mesos::scale),
    ("mesos-million", mesos::million),
    ("mesos-idle", mesos::idle),
    ("mesos-reconnect", mesos::reconnect),
    ("decide", mesos::decide),
    ("zk-put", zk_put::run),
    ("load", load::run),
    ("failover-term", failover::term),
    ("failover-kill", failover::kill),
    ("proxy", proxy::run),
];

/// Tasks that are there while something else is measured, or that are started.
const TASKS: u32 = 500;
/// For all of them to run.
const RUNNING_LIMIT: Duration = Duration::from_secs(120);

/// Starts an app of sleepers and waits for all of them; gives the ids of the tasks.
fn start_sleepers(server: &Server, stream: &Stream, id: &str, count: u32) -> Outcome<Vec<String>> {
    server.client()?.want("POST", "/v2/apps", Some(&sleepers(id, count)))?;
    (0..count).map(|_| stream.next("TASK_RUNNING", RUNNING_LIMIT).map(|it| it.task)).collect()
}

/// Whether all instances of an app are shown as running.
fn all_running(server: &Server, id: &str, count: u32) -> Outcome<bool> {
    let app = server.client()?.want("GET", &format!("/v2/apps/{id}"), None)?.json()?;
    Ok(app["app"]["tasksRunning"] == count)
}
