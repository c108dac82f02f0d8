//! `zk-put`: changes stored in ZooKeeper, beside the nodes that the same servers make when nobody thinks about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use marathon_zookeeper::{Client, Mode, Options, ZkUrl};

use crate::ensemble::ZooKeepers;
use crate::load::{Load, Measured};
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{median, quantile};
use crate::web::{self, free_port};
use crate::{Outcome, Place, procs};

const CLIENTS: usize = 64;
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(4);
/// Creates on their way at a time. The best of them is the limit.
const WINDOWS: [usize; 3] = [64, 250, 1000];
const LIMIT: Duration = Duration::from_secs(60);

pub fn run(place: &Place) -> Outcome<Report> {
    let zookeepers = ZooKeepers::start(place)?;
    let dir = procs::folder(&place.tmp, "member-")?;
    let server = Server::member(place, dir, free_port()?, "local", &zookeepers.url("/marathon"))?;
    server.await_leading(LIMIT)?;
    server.await_engine()?;
    let mut client = server.client()?;
    for number in 0..CLIENTS {
        client.want("PUT", &path(number), Some(&body(0)))?;
    }
    let bytes = bytes_of_a_change(&zookeepers, &server)?;
    let (mut puts, mut latencies) = (Vec::new(), Vec::new());
    let mut creates = [const { Vec::new() }; WINDOWS.len()];
    // Java compiles what is used, so neither side goes first.
    put(&server, 2, WARM_UP, TIME)?;
    create(&zookeepers, bytes, WINDOWS[1], "warm")?;
    for round in 0..ROUNDS {
        for (window, rates) in WINDOWS.iter().zip(&mut creates) {
            rates.push(create(&zookeepers, bytes, *window, &format!("{round}-{window}"))?);
        }
        let measured = put(&server, round as u64 + 3, WARM_UP, TIME)?;
        puts.push(measured.rate());
        latencies.extend(measured.latencies);
    }
    server.stop()?;
    zookeepers.end();
    let medians = creates.each_ref().map(|it| median(it));
    let (rate, limit) = (median(&puts), medians.iter().fold(0.0, |a: f64, b| a.max(*b)));
    let ratio = rate / limit;
    let mut report = Report::new(ratio, "x", "raw creates", ratio)
        .row(format!("acknowledged PUTs, {CLIENTS} clients, 3 ZooKeepers"), format!("{} /s", number(rate)))
        .row("latency p50", format!("{} ms", number(median(&latencies))))
        .row("latency p99", format!("{} ms", number(quantile(&latencies, 0.99))))
        .row("bytes stored for each", format!("{bytes}"));
    for (window, rate) in WINDOWS.iter().zip(medians) {
        report = report
            .row(format!("create of as many bytes, {window} on their way"), format!("{} /s", number(rate)));
    }
    Ok(report
        .key("rate", rate)
        .key("rate_raw", limit)
        .key("rates", puts)
        .key("p50", median(&latencies))
        .key("p99", quantile(&latencies, 0.99))
        .key("bytes", bytes as u64)
        .target("ratio", ratio, Bound::AtLeast(0.7)))
}

fn path(number: usize) -> String {
    format!("/v2/apps//put/app-{number:02}?force=true")
}

/// No instances: nothing is to start, so all there is to do is to decide and to store.
fn body(change: u64) -> String {
    format!(r#"{{"cmd":"sleep 1000","cpus":0.001,"mem":16,"instances":0,"labels":{{"change":"{change}"}}}}"#)
}

fn put(server: &Server, round: u64, warm_up: Duration, time: Duration) -> Outcome<Measured> {
    let request = |number: usize, n: u64, into: &mut Vec<u8>| {
        let change = round * 1_000_000 + n + 1;
        into.extend(web::request("PUT", &path(number), Some(&body(change))));
    };
    let load = Load { port: server.port, connections: CLIENTS, warm_up, time, request: &request };
    let measured = load.run()?;
    match measured.refused {
        0 => Ok(measured),
        refused => Err(format!("{refused} of {} changes were refused", measured.answers).into()),
    }
}

/// What ZooKeeper keeps more for each of some changes, before the first snapshot takes the place of anything.
fn bytes_of_a_change(zookeepers: &ZooKeepers, server: &Server) -> Outcome<usize> {
    let before = zookeepers.data_size()?;
    let changes = put(server, 1, Duration::ZERO, Duration::from_millis(500))?.answers;
    // One server may be behind the others.
    std::thread::sleep(Duration::from_millis(500));
    let after = zookeepers.data_size()?;
    let bytes = after.checked_sub(before).ok_or("ZooKeeper holds less than before")? / changes.max(1);
    Ok(usize::try_from(bytes)?)
}

/// Nodes made per second over one session with so many requests on their way.
fn create(zookeepers: &ZooKeepers, bytes: usize, window: usize, name: &str) -> Outcome<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = ZkUrl::parse(&zookeepers.url("/raw")).map_err(|error| error.to_string())?;
    let options = Options { window, ..Options::new(url) };
    runtime.block_on(async {
        let client = Client::connect_within(&options, LIMIT).await?;
        let folder = format!("/raw/{name}");
        client.make(&folder).await?;
        let next = Arc::new(AtomicU64::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..window {
            let (client, folder, next) = (client.clone(), folder.clone(), next.clone());
            writers.spawn(async move {
                let data = vec![b'x'; bytes];
                loop {
                    let path = format!("{folder}/{:08}", next.fetch_add(1, Ordering::Relaxed));
                    if let Err(error) = client.create(&path, &data, Mode::Persistent).await {
                        return error;
                    }
                }
            });
        }
        tokio::time::sleep(WARM_UP).await;
        let (before, began) = (next.load(Ordering::Relaxed), Instant::now());
        tokio::select! {
            () = tokio::time::sleep(TIME) => {}
            Some(Ok(error)) = writers.join_next() => return Err(error.into()),
        }
        let rate = (next.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        writers.shutdown().await;
        client.close().await;
        Ok(rate)
    })
}
