//! `big-read`: the list of ten thousand apps, beside a bare hyper server that gives the same bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::fill::Size;
use crate::hold::Held;
use crate::load::Load;
use crate::raw::Raw;
use crate::report::{Bound, Report, number};
use crate::stats::{max, median, ms, quantile};
use crate::web::{self, Client};
use crate::{Outcome, Place};

const PATH: &str = "/v2/apps?embed=apps.tasks";
const SIZE: Size = Size { apps: 10_000, instances: 1 };
const CONNECTIONS: usize = 2;
const ROUNDS: usize = 5;
/// Ten a second for this many requests.
const PACED: u32 = 200;
const PACE: Duration = Duration::from_millis(100);
/// An app changes this often while the second half of the paced requests is answered.
const CHANGE: Duration = Duration::from_millis(20);

pub fn run(place: &Place) -> Outcome<Report> {
    let held = Held::start(place, &SIZE)?;
    let answer = Client::connect(held.port)?.want("GET", PATH, None)?;
    if answer.json()?["apps"].as_array().map(Vec::len) != Some(SIZE.apps as usize) {
        return Err("the list is not complete".into());
    }
    let raw = Raw::start(&answer, &place.tmp)?;
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(rate(held.port)?);
        limits.push(rate(raw.port)?);
    }
    let calm = paced(held.port)?;
    let calm_raw = paced(raw.port)?;
    let (changing, changes) = while_changing(held.port, || paced(held.port))?;
    raw.stop()?;
    held.stop()?;

    let ratios: Vec<f64> = ours.iter().zip(&limits).map(|(ours, raw)| ours / raw).collect();
    let (ratio, p99) = (median(&ratios), quantile(&calm, 0.99));
    let row = |it: &[f64]| format!("p50 {} ms, p99 {} ms", number(median(it)), number(quantile(it, 0.99)));
    Ok(Report::new(ratio, "x", "raw hyper", ratio)
        .row(
            format!("{PATH}, {} apps, {} bytes", SIZE.apps, answer.body.len()),
            format!("{} /s", number(median(&ours))),
        )
        .row("raw hyper, same bytes", format!("{} /s", number(median(&limits))))
        .row("ten a second", row(&calm))
        .row("  raw hyper", row(&calm_raw))
        .row(format!("  while apps change, {} times a second", number(changes)), row(&changing))
        .key("rate", median(&ours))
        .key("rate_raw", median(&limits))
        .key("bytes", answer.body.len())
        .key("p50", median(&calm))
        .key("p99", p99)
        .key("max", max(&calm))
        .key("p99_raw", quantile(&calm_raw, 0.99))
        .key("p99_changing", quantile(&changing, 0.99))
        .target("ratio", ratio, Bound::AtLeast(0.7))
        .target("p99, ms", p99, Bound::AtMost(40.0)))
}

/// Answers per second, as fast as they come.
fn rate(port: u16) -> Outcome<f64> {
    let bytes = web::request("GET", PATH, None);
    let request = |_: usize, _: u64, into: &mut Vec<u8>| into.extend_from_slice(&bytes);
    let (warm_up, time) = (Duration::from_millis(300), Duration::from_secs(3));
    let measured = Load { port, connections: CONNECTIONS, warm_up, time, request: &request }.run()?;
    if measured.refused > 0 {
        return Err(format!("{} answers were no success", measured.refused).into());
    }
    Ok(measured.rate())
}

/// Milliseconds from the moment each request was due to its last byte.
fn paced(port: u16) -> Outcome<Vec<f64>> {
    let mut client = Client::connect(port)?;
    let begin = Instant::now();
    let mut times = Vec::new();
    for number in 0..PACED {
        let due = begin + PACE * number;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.want("GET", PATH, None)?;
        times.push(ms(due.elapsed()));
    }
    Ok(times)
}

/// Does `measure` while an app without instances changes all the time; gives the changes per second too.
fn while_changing<T>(port: u16, measure: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let changer = scope.spawn(|| -> Result<f64, String> {
            let mut client = Client::connect(port).map_err(|it| it.to_string())?;
            let (begin, mut changes) = (Instant::now(), 0u32);
            while !done.load(Ordering::Relaxed) {
                let body = format!(r#"{{"cmd":"true","instances":0,"labels":{{"change":"{changes}"}}}}"#);
                client
                    .want("PUT", "/v2/apps//changing?force=true", Some(&body))
                    .map_err(|it| it.to_string())?;
                changes += 1;
                thread::sleep(CHANGE);
            }
            Ok(f64::from(changes) / begin.elapsed().as_secs_f64())
        });
        let measured = measure();
        done.store(true, Ordering::Relaxed);
        let changes = changer.join().map_err(|_| "the changer panicked")??;
        Ok((measured?, changes))
    })
}
