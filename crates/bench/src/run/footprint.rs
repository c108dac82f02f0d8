//! `footprint`: memory, size on disk, and the time to the first answer.

use std::thread;
use std::time::Duration;

use super::{TASKS, start_sleepers};
use crate::fill::Size;
use crate::hold::Held;
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{max, median, ms};
use crate::stream::Stream;
use crate::web::{Client, free_port};
use crate::{Outcome, Place, procs};

const STARTS: usize = 10;
const LARGE: Size = Size { apps: 10_000, instances: 10 };
const SETTLE: Duration = Duration::from_secs(5);
const MB: f64 = 1e6;

pub fn run(place: &Place) -> Outcome<Report> {
    let starts = starts(place)?;
    let (fresh, empty, per_task, keeper) = small(place)?;
    let none = held_rss(place, &Size { apps: 0, instances: 0 }, false)?;
    let large = held_rss(place, &LARGE, false)?;
    let read = held_rss(place, &LARGE, true)?;
    let binary = std::fs::metadata(&place.server)?.len() as f64 / MB;
    let start = median(&starts);
    let mb = |value: f64| format!("{} MB", number(value));
    Ok(Report::new(empty, "MB", "core and HTTP alone, empty", empty / none)
        .row(format!("RSS of an empty server, {} s after its start", SETTLE.as_secs()), mb(empty))
        .row("  right after its start", mb(fresh))
        .row("  core and HTTP alone (the stand-in below), empty", mb(none))
        .row(
            format!("RSS with {} apps and {} instances", LARGE.apps, LARGE.apps * LARGE.instances),
            mb(large),
        )
        .row("  after their list with tasks was read", mb(read))
        .row(format!("PSS of server and keeper per task, with {TASKS}"), mb(per_task))
        .row(format!("  of it the keeper with {TASKS} tasks, in all"), mb(keeper))
        .row("binary", mb(binary))
        .row(format!("exec to /ping, median of {STARTS}"), format!("{} ms", number(start)))
        .row("  slowest", format!("{} ms", number(max(&starts))))
        .key("rss_fresh", fresh)
        .key("rss_stand_in", none)
        .key("rss_large", large)
        .key("rss_large_read", read)
        .key("per_task", per_task)
        .key("binary", binary)
        .key("start_ms", start)
        .target("RSS empty, MB", empty, Bound::AtMost(15.0))
        .target("RSS with 100,000 instances, MB", large, Bound::AtMost(250.0))
        .target("PSS per task, MB", per_task, Bound::AtMost(0.3))
        .target("binary, MB", binary, Bound::AtMost(25.0))
        .target("exec to /ping, ms", start, Bound::AtMost(30.0)))
}

fn starts(place: &Place) -> Outcome<Vec<f64>> {
    let one = |_| {
        let dir = procs::folder(&place.tmp, "start-")?;
        let server = Server::launch(&place.server, dir, free_port()?)?;
        let time = server.await_ping()?;
        server.stop()?;
        Ok(ms(time))
    };
    (0..STARTS).map(one).collect()
}

/// RSS right after the start and later, PSS per task, PSS of the keeper with all tasks; in MB.
fn small(place: &Place) -> Outcome<(f64, f64, f64, f64)> {
    let server = Server::start(place)?;
    let fresh = procs::rss(server.pid)? as f64;
    thread::sleep(SETTLE);
    let empty = procs::rss(server.pid)? as f64;
    let keeper = || procs::keeper_below(&server.dir).map_or(Ok(0), procs::pss);
    let before = procs::pss(server.pid)? + keeper()?;
    start_sleepers(&server, &Stream::open(server.port)?, "/sleep", TASKS)?;
    thread::sleep(SETTLE);
    let kept = keeper()?;
    let after = procs::pss(server.pid)? + kept;
    server.stop()?;
    let per_task = after.saturating_sub(before) as f64 / f64::from(TASKS);
    Ok((fresh / MB, empty / MB, per_task / MB, kept as f64 / MB))
}

fn held_rss(place: &Place, size: &Size, read: bool) -> Outcome<f64> {
    let held = Held::start(place, size)?;
    if read {
        Client::connect(held.port)?.want("GET", "/v2/apps?embed=apps.tasks", None)?;
    }
    thread::sleep(SETTLE);
    let rss = procs::rss(held.pid)? as f64 / MB;
    held.stop()?;
    Ok(rss)
}
