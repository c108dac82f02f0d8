//! `deploy-800`: 800 apps of one instance, each by a POST of its own, until the last of them is deployed.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::play::Played;
use crate::report::{Bound, Report};
use crate::web::{Chunks, Client, read_head};
use crate::{Outcome, Place};

const APPS: usize = 800;
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

pub fn run(place: &Place) -> Outcome<Report> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let server = Played::start(place)?;
        rounds.push(round(server.port)?);
        server.stop()?;
    }
    rounds.sort_by(f64::total_cmp);
    let (median, slowest) = (rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
    // The original takes 60 to 75 s for the same (issue 3 of its own scale tests).
    Ok(Report::new(median, "s", "the original, 60 s", median / 60.0)
        .row("first POST to last deployment_success, 800 apps: median", format!("{:.0} ms", median * 1e3))
        .row("slowest of 5 rounds", format!("{:.0} ms", slowest * 1e3))
        .key("slowest", slowest)
        .target("median, s", median, Bound::AtMost(1.5)))
}

fn round(port: u16) -> Outcome<f64> {
    let done = successes(port)?;
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let sent: Outcome<()> = thread::scope(|scope| {
        let post = || -> Result<(), String> {
            let mut client = Client::connect(port).map_err(|it| it.to_string())?;
            loop {
                let app = next.fetch_add(1, Ordering::SeqCst);
                if app >= APPS {
                    return Ok(());
                }
                client.want("POST", "/v2/apps", Some(&body(app, 0))).map_err(|it| it.to_string())?;
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(post)).collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    });
    sent?;
    let mut last = began;
    for _ in 0..APPS {
        last = done.recv_timeout(LIMIT).map_err(|_| "not every deployment succeeded")?;
    }
    Ok((last - began).as_secs_f64())
}

/// An app without ports, so that starting it needs nothing but a place.
pub fn body(app: usize, change: usize) -> String {
    format!(
        r#"{{"id":"/bench/app-{app}","cmd":"sleep 1000","cpus":0.1,"mem":32,"portDefinitions":[],"env":{{"N":"{change}"}}}}"#
    )
}

/// The moment of each `deployment_success` from now on.
pub fn successes(port: u16) -> Outcome<Receiver<Instant>> {
    let mut client = Client::connect(port)?;
    client.begin(
        b"GET /v2/events?event_type=deployment_success HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    )?;
    let mut reader = client.into_reader();
    let (status, _) = read_head(&mut reader)?;
    if status != 200 {
        return Err(format!("/v2/events answered {status}").into());
    }
    let (sender, received) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(Chunks::new(reader));
        let mut line = String::new();
        while matches!(lines.read_line(&mut line), Ok(n) if n > 0) {
            if line.starts_with("event: deployment_success") && sender.send(Instant::now()).is_err() {
                return;
            }
            line.clear();
        }
    });
    Ok(received)
}
