//! `local-respawn`: how fast a killed task is replaced while many others run.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{TASKS, start_sleepers};
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{Dice, max, median, ms, quantile};
use crate::stream::Stream;
use crate::{Outcome, Place, procs, spawn};

const ROUNDS: usize = 200;
const LIMIT: Duration = Duration::from_secs(30);

pub fn run(place: &Place) -> Outcome<Report> {
    let server = Server::start(place)?;
    let stream = Stream::open(server.port)?;
    start_sleepers(&server, &stream, "/sleep", TASKS)?;
    let mut tasks: BTreeMap<String, i32> = procs::tasks_below(&server.dir).into_iter().collect();
    let mut dice = Dice::new(1);
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turns with the limit, a few at a time.
        if round % 20 == 0 {
            raw.extend(spawn::respawns(20)?.into_iter().map(ms));
        }
        thread::sleep(Duration::from_millis(5 + dice.below(20) as u64));
        ours.push(ms(respawn(&server, &stream, &mut tasks, &mut dice)?));
    }
    if tasks.len() != TASKS as usize {
        return Err(format!("{} tasks are left of {TASKS}", tasks.len()).into());
    }
    drop(stream);
    server.stop()?;
    let (p50, p99, limit) = (median(&ours), quantile(&ours, 0.99), median(&raw));
    Ok(Report::new(p50, "ms", "SIGKILL, wait, posix_spawn", p50 / limit)
        .row(
            format!("SIGKILL to TASK_RUNNING of the replacement, {TASKS} tasks present: p50"),
            format!("{} ms", number(p50)),
        )
        .row("p99", format!("{} ms", number(p99)))
        .row("slowest", format!("{} ms", number(max(&ours))))
        .row("SIGKILL, wait, posix_spawn in one process: p50", format!("{} ms", number(limit)))
        .key("p50", p50)
        .key("p90", quantile(&ours, 0.9))
        .key("p99", p99)
        .key("max", max(&ours))
        .key("p50_raw", limit)
        .key("rounds", ROUNDS)
        .target("p50, ms", p50, Bound::AtMost(4.0))
        .target("p99, ms", p99, Bound::AtMost(15.0)))
}

fn respawn(
    server: &Server,
    stream: &Stream,
    tasks: &mut BTreeMap<String, i32>,
    dice: &mut Dice,
) -> Outcome<Duration> {
    let victim = tasks.keys().nth(dice.below(tasks.len())).ok_or("no task is left")?.clone();
    let pid = tasks.remove(&victim).ok_or("no such task")?;
    let begin = Instant::now();
    procs::signal(pid, Signal::SIGKILL);
    let running = stream.next("TASK_RUNNING", LIMIT)?;
    // Said to run is not enough: the process must be there. Its environment is there a moment later than
    // itself, and finding it takes longer than the whole respawn, so this stays out of the time.
    let mut pid = None;
    procs::wait_for(&running.task, Duration::from_secs(2), Duration::from_millis(1), || {
        pid = procs::tasks_below(&server.dir).into_iter().find(|it| it.0 == running.task).map(|it| it.1);
        pid.is_some()
    })?;
    let pid = pid.ok_or("no process")?;
    if tasks.insert(running.task.clone(), pid).is_some() {
        return Err(format!("{} was running before", running.task).into());
    }
    Ok(running.at - begin)
}
