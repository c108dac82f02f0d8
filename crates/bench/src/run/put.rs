//! `durable-put`: how many changes per second are stored for good.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{median, quantile};
use crate::{Outcome, Place, procs, web};

const CLIENTS: usize = 64;
const ROUNDS: usize = 3;
/// About the size of a small change.
const RECORD: usize = 300;
const FLUSH_TIME: Duration = Duration::from_secs(2);

pub fn run(place: &Place) -> Outcome<Report> {
    let server = Server::start(place)?;
    let mut client = server.client()?;
    for number in 0..CLIENTS {
        client.want("PUT", &path(number), Some(&body(0)))?;
    }
    let dir = procs::folder(&place.tmp, "flush-")?;
    let (mut puts, mut appends, mut overwrites, mut latencies) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        appends.push(flushes(&dir, append)?);
        overwrites.push(flushes(&dir, overwrite)?);
        let request = |number: usize, n: u64, into: &mut Vec<u8>| {
            let change = round as u64 * 1_000_000 + n + 1;
            into.extend(web::request("PUT", &path(number), Some(&body(change))));
        };
        let load = Load {
            port: server.port,
            connections: CLIENTS,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(4),
            request: &request,
        };
        let measured = load.run()?;
        if measured.refused > 0 {
            return Err(format!("{} of {} changes were refused", measured.refused, measured.answers).into());
        }
        puts.push(measured.rate());
        latencies.extend(measured.latencies);
    }
    server.stop()?;
    procs::remove_folder(&dir);
    let (rate, append, overwrite) = (median(&puts), median(&appends), median(&overwrites));
    // Whichever way to flush is faster on this file system is the limit.
    let limit = append.max(overwrite);
    let ratio = rate / limit;
    Ok(Report::new(ratio, "x", "fdatasync", ratio)
        .row(format!("acknowledged PUTs, {CLIENTS} clients"), format!("{} /s", number(rate)))
        .row("latency p50", format!("{} ms", number(median(&latencies))))
        .row("latency p99", format!("{} ms", number(quantile(&latencies, 0.99))))
        .row(format!("append {RECORD} bytes and fdatasync, one thread"), format!("{} /s", number(append)))
        .row("the same within a preallocated file", format!("{} /s", number(overwrite)))
        .key("rate", rate)
        .key("rate_raw", limit)
        .key("p50", median(&latencies))
        .key("p99", quantile(&latencies, 0.99))
        .target("ratio", ratio, Bound::AtLeast(2.0)))
}

fn path(number: usize) -> String {
    format!("/v2/apps//put/app-{number:02}?force=true")
}

/// No instances: nothing is to start, so all there is to do is to decide and to store.
fn body(change: u64) -> String {
    format!(r#"{{"cmd":"sleep 1000","cpus":0.001,"mem":16,"instances":0,"labels":{{"change":"{change}"}}}}"#)
}

/// Flushes per second.
fn flushes(dir: &Path, write: fn(&mut File, u64, &[u8]) -> std::io::Result<()>) -> Outcome<f64> {
    let name = dir.join("flushed");
    let mut file = File::create(&name)?;
    let record = [b'x'; RECORD];
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < FLUSH_TIME {
        write(&mut file, count, &record)?;
        file.sync_data()?;
        count += 1;
    }
    let took = begin.elapsed();
    std::fs::remove_file(name)?;
    Ok(count as f64 / took.as_secs_f64())
}

fn append(file: &mut File, _: u64, record: &[u8]) -> std::io::Result<()> {
    file.write_all(record)
}

fn overwrite(file: &mut File, count: u64, record: &[u8]) -> std::io::Result<()> {
    const SIZE: u64 = 1 << 20;
    if count == 0 {
        file.write_all(&vec![0; SIZE as usize])?;
        file.sync_all()?;
    }
    let fit = SIZE / record.len() as u64;
    file.write_all_at(record, count % fit * record.len() as u64)
}
