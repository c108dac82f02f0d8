//! `local-adopt`: how fast a server that was killed has its tasks back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{TASKS, start_sleepers};
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{max, median, ms};
use crate::stream::Stream;
use crate::web::{Client, free_port};
use crate::{Outcome, Place, procs};

const ROUNDS: usize = 10;
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

pub fn run(place: &Place) -> Outcome<Report> {
    let mut server = Server::start(place)?;
    start_sleepers(&server, &Stream::open(server.port)?, "/sleep", TASKS)?;
    let before: BTreeMap<String, i32> = procs::tasks_below(&server.dir).into_iter().collect();
    let (mut shown, mut adopted, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        empty.push(ms(empty_start(place)?));
        let (binary, dir) = server.crash()?;
        server = Server::launch(&binary, dir, free_port()?)?;
        server.await_ping()?;
        let mut client = server.client()?;
        procs::wait_for("tasksRunning", LIMIT, LOOK, || shows_all(&mut client).unwrap_or(false))?;
        shown.push(ms(server.since.elapsed()));
        procs::wait_for("the engine's word on each task", LIMIT, LOOK, || {
            confirmed(&mut client).is_ok_and(|it| it >= u64::from(TASKS))
        })?;
        adopted.push(ms(server.since.elapsed()));
    }
    let after: BTreeMap<String, i32> = procs::tasks_below(&server.dir).into_iter().collect();
    let kept = before.iter().filter(|(task, pid)| after.get(*task) == Some(pid)).count();
    let restarts = (TASKS as usize).saturating_sub(kept) + after.len().saturating_sub(kept);
    server.stop()?;
    let (time, start) = (median(&adopted), median(&empty));
    Ok(Report::new(time, "ms", "empty server, exec to /ping", time / start)
        .row(
            format!("kill -9 with {TASKS} tasks; start to the engine's word on each"),
            format!("{} ms", number(time)),
        )
        .row("slowest", format!("{} ms", number(max(&adopted))))
        .row("start to all shown as running", format!("{} ms", number(median(&shown))))
        .row("empty server, start to /ping", format!("{} ms", number(start)))
        .row(format!("restarts in {ROUNDS} rounds"), restarts.to_string())
        .key("max", max(&adopted))
        .key("shown", median(&shown))
        .key("empty_start", start)
        .key("restarts", restarts)
        .target("adopted, ms", time, Bound::AtMost(200.0))
        .target("restarts", restarts as f64, Bound::AtMost(0.0)))
}

fn empty_start(place: &Place) -> Outcome<Duration> {
    let dir = procs::folder(&place.tmp, "empty-")?;
    let server = Server::launch(&place.server, dir, free_port()?)?;
    let time = server.await_ping()?;
    server.stop()?;
    Ok(time)
}

fn shows_all(client: &mut Client) -> Outcome<bool> {
    Ok(client.get("/v2/apps//sleep")?.json()?["app"]["tasksRunning"] == TASKS)
}

/// TASK_RUNNING updates since this server began. What the store holds is shown at once, but each of these
/// comes from the engine, which has found the process; the first of them answer for one task each.
fn confirmed(client: &mut Client) -> Outcome<u64> {
    // An update that brings nothing new makes no new view, so the counters are old until something changes.
    client.want("PUT", "/v2/apps//mark?force=true", Some(r#"{"cmd":"true","instances":0}"#))?;
    client.want("PUT", "/v2/apps//mark?force=true", Some(r#"{"cmd":"false","instances":0}"#))?;
    let metrics = client.get("/metrics")?.json()?;
    let counters = metrics["counters"].as_object().ok_or("no counters")?;
    let running = counters.iter().find(|(name, _)| name.contains("mesos.task-updates.task-running"));
    let count = running.and_then(|(_, it)| it["count"].as_u64().or_else(|| Value::as_u64(it)));
    Ok(count.unwrap_or(0))
}
