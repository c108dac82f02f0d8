//! `failover-term`, `failover-kill`: how long nothing can be changed when the leader goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::ensemble::{APPS, Fleet, INSTANCES, is_whole};
use crate::report::{Bound, Report, number};
use crate::stats::{max, median, ms};
use crate::web::Client;
use crate::{Outcome, Place, procs};

/// The default of `--zk_session_timeout`, with which the instances run.
const SESSION_MS: f64 = 10_000.0;
/// Good writes before the leader goes, and after another has come.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(120);
/// Between two writes of a client; the figures are no finer.
const PAUSE: Duration = Duration::from_millis(2);

pub fn term(place: &Place) -> Outcome<Report> {
    let changes = changes(place, Signal::SIGTERM, 5)?;
    let gaps: Vec<f64> = changes.iter().map(|it| it.gap).collect();
    let report = Report::new(median(&gaps), "ms", "300 ms", median(&gaps) / 300.0);
    Ok(rows(report, "SIGTERM", &changes).target("median, ms", median(&gaps), Bound::AtMost(300.0)))
}

pub fn kill(place: &Place) -> Outcome<Report> {
    let changes = changes(place, Signal::SIGKILL, 3)?;
    let gaps: Vec<f64> = changes.iter().map(|it| it.gap).collect();
    let report = Report::new(max(&gaps), "ms", "the session's time", max(&gaps) / SESSION_MS);
    Ok(rows(report, "SIGKILL", &changes)
        .row("the session's time", format!("{} ms", number(SESSION_MS)))
        .target("slowest, ms", max(&gaps), Bound::AtMost(SESSION_MS + 500.0)))
}

fn rows(report: Report, signal: &str, changes: &[Change]) -> Report {
    let gaps: Vec<f64> = changes.iter().map(|it| it.gap).collect();
    let touched: f64 = changes.iter().map(|it| it.touched).sum();
    let (good, refused) = changes.iter().fold((0, 0), |sum, it| (sum.0 + it.good, sum.1 + it.refused));
    report
        .row(
            format!(
                "{signal} of the leader, {APPS} apps, {INSTANCES} instances: last good write to first, median"
            ),
            format!("{} ms", number(median(&gaps))),
        )
        .row(format!("slowest of {}", gaps.len()), format!("{} ms", number(max(&gaps))))
        .row("writes through the two others: good, not", format!("{good}, {refused}"))
        .key("gaps", gaps)
        .key("good", good)
        .key("refused", refused)
        .target("tasks touched", touched, Bound::AtMost(0.0))
}

struct Change {
    /// Milliseconds from the last good write under the old leader to the first under the new.
    gap: f64,
    good: u64,
    refused: u64,
    /// Launches and kills meanwhile.
    touched: f64,
}

fn changes(place: &Place, signal: Signal, rounds: usize) -> Outcome<Vec<Change>> {
    let mut fleet = Fleet::start(place)?;
    let changes = (0..rounds).map(|_| change(&mut fleet, signal)).collect::<Outcome<Vec<Change>>>()?;
    fleet.end()?;
    Ok(changes)
}

fn change(fleet: &mut Fleet<'_>, signal: Signal) -> Outcome<Change> {
    fleet.settle()?;
    let before = touches(fleet)?;
    let others: Vec<u16> =
        (0..fleet.members.len()).filter(|it| *it != fleet.leader).map(|it| fleet.members[it].port).collect();
    let (mut change, port) = fleet.without_leader(signal, |strike| {
        let writers: Vec<Writer> = others.iter().map(|it| Writer::start(*it)).collect();
        thread::sleep(BEFORE);
        let at = strike();
        let over = || writers.iter().any(Writer::has_seen_two);
        let came = procs::wait_for("a write under another leader", LIMIT, Duration::from_millis(20), over);
        thread::sleep(AFTER);
        let seen = writers.into_iter().map(Writer::stop).collect::<Outcome<Vec<Seen>>>()?;
        came.map_err(|error| {
            let told: Vec<&str> = seen.iter().filter_map(|it| it.trouble.as_deref()).collect();
            format!("{error}; the last refusals were: {}", told.join("; "))
        })?;
        Ok((judge(&seen, at)?, others[0]))
    })?;
    if !is_whole(port)? {
        return Err("the new leader does not show all instances".into());
    }
    fleet.settle()?;
    change.touched = touches(fleet)? - before;
    Ok(change)
}

fn touches(fleet: &Fleet<'_>) -> Outcome<f64> {
    Ok(fleet.cluster.metric("mesos-sim/launches")? + fleet.cluster.metric("mesos-sim/calls/KILL")?)
}

fn judge(seen: &[Seen], struck: Instant) -> Outcome<Change> {
    let good: Vec<&(Instant, String)> = seen.iter().flat_map(|it| &it.good).collect();
    let old = &good.iter().min_by_key(|it| it.0).ok_or("no write succeeded")?.1;
    let last = good.iter().filter(|it| it.1 == *old).map(|it| it.0).max().ok_or("no write before")?;
    let first = good.iter().filter(|it| it.1 != *old).map(|it| it.0).min().ok_or("no write after")?;
    if first < struck {
        return Err("the leader changed before it was asked to".into());
    }
    Ok(Change {
        gap: ms(first.saturating_duration_since(last)),
        good: good.len() as u64,
        refused: seen.iter().map(|it| it.refused).sum(),
        touched: 0.0,
    })
}

#[derive(Default)]
struct Seen {
    /// When a write was acknowledged, and who led.
    good: Vec<(Instant, String)>,
    refused: u64,
    /// Why, the last time.
    trouble: Option<String>,
}

/// A client that changes an app of its own through one instance, all the time.
struct Writer {
    stop: Arc<AtomicBool>,
    two: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Writer {
    fn start(port: u16) -> Writer {
        let (stop, two) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (stopped, seen_two) = (stop.clone(), two.clone());
        let thread = thread::spawn(move || write(port, &stopped, &seen_two));
        Writer { stop, two, thread }
    }

    fn has_seen_two(&self) -> bool {
        self.two.load(Ordering::Relaxed)
    }

    fn stop(self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "a writer failed".into())
    }
}

fn write(port: u16, stop: &AtomicBool, two: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(PAUSE);
        // No instances and no ports, which are all taken: all there is to do is to decide and to store.
        let body = format!(
            r#"{{"cmd":"true","instances":0,"portDefinitions":[],"labels":{{"change":"{number}"}}}}"#
        );
        let path = format!("/v2/apps//written/through-{port}?force=true");
        let mut client = match connection.take().map_or_else(|| Client::connect(port), Ok) {
            Ok(client) => client,
            Err(_) => continue,
        };
        match client.send("PUT", &path, Some(&body)) {
            Ok(answer) if (200..300).contains(&answer.status) => {
                // A leader that is stepping down still acknowledges, but no longer says who leads.
                let before = || seen.good.last().map(|it| it.1.clone());
                let leader = answer.header("X-Marathon-Leader").map(str::to_owned).or_else(before);
                let leader = leader.unwrap_or_default();
                if seen.good.first().is_some_and(|it| it.1 != leader) {
                    two.store(true, Ordering::Relaxed);
                }
                seen.good.push((Instant::now(), leader));
                connection = Some(client);
            }
            Ok(answer) => {
                seen.refused += 1;
                seen.trouble = Some(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
                connection = Some(client);
            }
            Err(error) => {
                seen.refused += 1;
                seen.trouble = Some(error.to_string());
            }
        }
    }
    seen
}
