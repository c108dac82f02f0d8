//! `small-read`: the price of a small answer, beside a bare hyper server that gives the same bytes.

use std::time::Duration;

use crate::cpu::{Pair, pair, pin};
use crate::load::{Load, Measured};
use crate::raw::Raw;
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{median, quantile};
use crate::{Outcome, Place, procs, web};

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 5;
const APP: &str =
    r#"{"id":"/x","cmd":"sleep 1000","cpus":0.001,"mem":16,"instances":0,"labels":{"team":"a"}}"#;

pub fn run(place: &Place) -> Outcome<Report> {
    let pair = pair()?;
    // Children inherit the processor they may use.
    let pinned = pin(pair.map(|it| it.server))?;
    let server = Server::start(place)?;
    drop(pinned);
    server.client()?.want("POST", "/v2/apps", Some(APP))?;
    let ping = compare(place, &server, pair, "/ping")?;
    let app = compare(place, &server, pair, "/v2/apps//x")?;
    server.stop()?;
    let worse = if ping.ratio() <= app.ratio() { &ping } else { &app };
    let mut report = Report::new(worse.ratio(), "x", "raw hyper", worse.ratio());
    for (name, it) in [("/ping", &ping), ("/v2/apps//x", &app)] {
        report = report
            .row(
                name,
                format!(
                    "{} /s, p50 {} ms, p99 {} ms",
                    number(median(&it.ours.rates)),
                    number(median(&it.ours.latencies)),
                    number(quantile(&it.ours.latencies, 0.99))
                ),
            )
            .row(
                "  raw hyper, same bytes",
                format!(
                    "{} /s, p50 {} ms, p99 {} ms",
                    number(median(&it.raw.rates)),
                    number(median(&it.raw.latencies)),
                    number(quantile(&it.raw.latencies, 0.99))
                ),
            )
            .row(
                "  processor time per request",
                format!("{} us, raw {} us", number(median(&it.ours.cpu_us)), number(median(&it.raw.cpu_us))),
            )
            .row(
                "  server's processor busy",
                format!("{} %, raw {} %", number(median(&it.ours.busy)), number(median(&it.raw.busy))),
            );
    }
    let figures = |it: &Comparison| {
        serde_json::json!({
            "rate": median(&it.ours.rates), "rate_raw": median(&it.raw.rates), "ratio": it.ratio(),
            "cpu_us": median(&it.ours.cpu_us), "cpu_us_raw": median(&it.raw.cpu_us),
            "p99": quantile(&it.ours.latencies, 0.99), "p99_raw": quantile(&it.raw.latencies, 0.99),
        })
    };
    Ok(report
        .key("ping", figures(&ping))
        .key("app", figures(&app))
        .target("/ping", ping.ratio(), Bound::AtLeast(0.7))
        .target("one app", app.ratio(), Bound::AtLeast(0.7)))
}

#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    latencies: Vec<f64>,
    cpu_us: Vec<f64>,
    /// Percent of one processor.
    busy: Vec<f64>,
}

struct Comparison {
    ours: Side,
    raw: Side,
}

impl Comparison {
    /// The median of the rounds' ratios: what slows the machine for a while slows both of a round.
    fn ratio(&self) -> f64 {
        let ratios: Vec<f64> =
            self.ours.rates.iter().zip(&self.raw.rates).map(|(ours, raw)| ours / raw).collect();
        median(&ratios)
    }
}

fn compare(place: &Place, server: &Server, pair: Option<Pair>, path: &str) -> Outcome<Comparison> {
    let answer = server.client()?.want("GET", path, None)?;
    let pinned = pin(pair.map(|it| it.server))?;
    let raw = Raw::start(&answer, &place.tmp)?;
    drop(pinned);
    let _pinned = pin(pair.map(|it| it.load))?;
    let mut found = Comparison { ours: Side::default(), raw: Side::default() };
    for _ in 0..ROUNDS {
        found.ours.take(path, server.port, server.pid)?;
        found.raw.take(path, raw.port, raw.pid)?;
    }
    raw.stop()?;
    Ok(found)
}

impl Side {
    fn take(&mut self, path: &str, port: u16, pid: i32) -> Outcome<()> {
        let bytes = web::request("GET", path, None);
        let request = |_: usize, _: u64, into: &mut Vec<u8>| into.extend_from_slice(&bytes);
        let load = |time: Duration| Load {
            port,
            connections: CONNECTIONS,
            warm_up: Duration::ZERO,
            time,
            request: &request,
        };
        load(Duration::from_millis(300)).run()?;
        let before = procs::cpu_time(pid)?;
        let measured: Measured = load(Duration::from_secs(2)).run()?;
        let used_us = procs::cpu_time(pid)?.saturating_sub(before) as f64 / 1e3;
        if measured.refused > 0 {
            return Err(format!("{path}: {} answers were no success", measured.refused).into());
        }
        self.rates.push(measured.rate());
        self.cpu_us.push(used_us / measured.answers.max(1) as f64);
        self.busy.push(used_us / 1e4 / measured.seconds);
        self.latencies.extend(measured.latencies);
        Ok(())
    }
}
