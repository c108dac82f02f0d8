//! `local-start`: how fast many instances of one app start.

use std::time::Instant;

use serde_json::{Map, Value};

use super::{RUNNING_LIMIT, TASKS, all_running};
use crate::report::{Bound, Report, number};
use crate::server::{Server, sleepers};
use crate::stats::median;
use crate::stream::Stream;
use crate::{Outcome, Place, peers, spawn};

const ROUNDS: usize = 5;
/// Peers are asked in the first rounds only; they are far from the limit, and pm2 takes its time.
const PEER_ROUNDS: usize = 3;
type Peer = fn(&Place, usize) -> Outcome<f64>;
const PEERS: [(&str, Peer); 2] = [("supervisord", peers::supervisord), ("pm2", peers::pm2)];

pub fn run(place: &Place) -> Outcome<Report> {
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    let mut theirs: [Outcome<Vec<f64>>; PEERS.len()] = [Ok(Vec::new()), Ok(Vec::new())];
    for round in 0..ROUNDS {
        raw.push(spawn::rate(TASKS)?);
        ours.push(starts_per_second(place)?);
        for ((_, start), measured) in PEERS.iter().zip(&mut theirs).filter(|_| round < PEER_ROUNDS) {
            // A peer that failed once is not asked again.
            if let Ok(rates) = measured {
                match start(place, TASKS as usize) {
                    Ok(rate) => rates.push(rate),
                    Err(error) => *measured = Err(error),
                }
            }
        }
    }
    let (rate, limit) = (median(&ours), median(&raw));
    // Round by round: what slows the machine for a while slows both of a round.
    let ratios: Vec<f64> = ours.iter().zip(&raw).map(|(ours, raw)| ours / raw).collect();
    let ratio = median(&ratios);
    let mut report = Report::new(ratio, "x", "posix_spawn", ratio)
        .row(format!("{TASKS} x sleep, POST to the last TASK_RUNNING"), format!("{} starts/s", number(rate)))
        .row("posix_spawn of the same command, one thread", format!("{} starts/s", number(limit)))
        .key("rate", rate)
        .key("rate_raw", limit)
        .key("rates", ours)
        .key("rates_raw", raw)
        .target("ratio", ratio, Bound::AtLeast(0.5));

    let mut rates = Map::new();
    let mut best: f64 = 0.0;
    for ((name, _), measured) in PEERS.iter().zip(theirs) {
        report = match measured {
            Ok(measured) => {
                let rate = median(&measured);
                best = best.max(rate);
                rates.insert((*name).to_owned(), rate.into());
                report.row(*name, format!("{} starts/s", number(rate)))
            }
            Err(error) => report.row(*name, format!("not measured: {error}")),
        };
    }
    report = report.key("peers", Value::Object(rates));
    if best > 0.0 {
        report = report
            .row(
                "posix_spawn over the better peer, so nothing can be faster",
                format!("{} x", number(limit / best)),
            )
            .target("times the better peer", rate / best, Bound::AtLeast(5.0))
            .key("over_peer", rate / best)
            .key("limit_over_peer", limit / best);
    }
    Ok(report)
}

fn starts_per_second(place: &Place) -> Outcome<f64> {
    let server = Server::start(place)?;
    let stream = Stream::open(server.port)?;
    let mut client = server.client()?;
    let app = sleepers("/sleep", TASKS);
    let begin = Instant::now();
    client.want("POST", "/v2/apps", Some(&app))?;
    let mut last = begin;
    for _ in 0..TASKS {
        last = stream.next("TASK_RUNNING", RUNNING_LIMIT)?.at;
    }
    if !all_running(&server, "/sleep", TASKS)? {
        return Err("a task ended early".into());
    }
    server.stop()?;
    Ok(f64::from(TASKS) / (last - begin).as_secs_f64())
}
