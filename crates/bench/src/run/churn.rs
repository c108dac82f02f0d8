//! `churn`: a running population of apps, of which many are changed in each round: is any change refused?
//!
//! The original was measured with a round each 30 s for 2 min. Nothing here waits for the 30 s, so by default a
//! round comes each 3 s, which is ten times harder; `MARATHON_BENCH_CHURN_PAUSE=30` has the original's pace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::play::Played;
use crate::report::{Bound, Report};
use crate::run::deploy::{body, successes};
use crate::web::Client;
use crate::{Outcome, Place};

const APPS: usize = 2_500;
/// Changed in each round, each once.
const CHANGED: usize = 2_000;
const ROUNDS: usize = 4;
const CLIENTS: usize = 8;
const LIMIT: Duration = Duration::from_secs(120);

pub fn run(place: &Place) -> Outcome<Report> {
    let pause =
        std::env::var("MARATHON_BENCH_CHURN_PAUSE").ok().and_then(|it| it.parse().ok()).unwrap_or(3.0);
    let pause = Duration::try_from_secs_f64(pause)?;
    let server = Played::start(place)?;
    let done = successes(server.port)?;
    let all: Vec<String> = (0..APPS).map(|it| body(it, 0)).collect();
    Client::connect(server.port)?.want("PUT", "/v2/apps", Some(&format!("[{}]", all.join(","))))?;
    done.recv_timeout(LIMIT).map_err(|_| "the population did not come up")?;
    let refused = AtomicUsize::new(0);
    let mut slowest: f64 = 0.0;
    for round in 1..=ROUNDS {
        let began = Instant::now();
        change(server.port, round, &refused)?;
        let expected = CHANGED - refused.load(Ordering::SeqCst).min(CHANGED);
        for _ in 0..expected {
            done.recv_timeout(LIMIT).map_err(|_| "not every change was deployed")?;
        }
        slowest = slowest.max(began.elapsed().as_secs_f64());
        thread::sleep(pause.saturating_sub(began.elapsed()));
    }
    server.stop()?;
    let refused = refused.into_inner();
    Ok(Report::new(CHANGED as f64, "apps per round", "the original, 200", CHANGED as f64 / 200.0)
        .row(
            format!("rounds of {CHANGED} changes to {APPS} running apps, one each"),
            format!("{} s", pause.as_secs_f64()),
        )
        .row("slowest round, first PUT to last deployment_success", format!("{slowest:.2} s"))
        .row("refused (403, 409, 5xx)", refused.to_string())
        .key("slowest_round", slowest)
        .target("apps per round", CHANGED as f64, Bound::AtLeast(2_000.0))
        .target("refused", refused as f64, Bound::AtMost(0.0)))
}

/// Changes apps in an order that looks random and is another one in each round.
fn change(port: u16, round: usize, refused: &AtomicUsize) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let put = || -> Result<(), String> {
            let mut client = Client::connect(port).map_err(|it| it.to_string())?;
            loop {
                let at = next.fetch_add(1, Ordering::SeqCst);
                if at >= CHANGED {
                    return Ok(());
                }
                // 1,103 and 2,500 have no common factor, so no app comes twice.
                let app = (at * 1_103 + round * 677) % APPS;
                let answer =
                    client.send("PUT", &format!("/v2/apps/bench/app-{app}"), Some(&body(app, round)));
                if !(200..300).contains(&answer.map_err(|it| it.to_string())?.status) {
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(put)).collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}
