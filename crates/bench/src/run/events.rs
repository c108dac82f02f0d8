//! `events-1000`: how fast a thousand readers of `/v2/events` hear of it, and whether they hear all.
//!
//! A task is killed, and the clock runs until the bytes of its status update have arrived at each reader.
//! That is more than the target asks for: the kernel, the keeper and the engine come before the update.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::start_sleepers;
use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{Dice, max, median, ms, quantile};
use crate::stream::Stream;
use crate::{Outcome, Place, procs, web};

const READERS: usize = 1000;
const TASKS: u32 = 50;
const ROUNDS: usize = 100;
/// Between two kills: the replacement has been told of by then.
const PAUSE: Duration = Duration::from_millis(120);
const LIMIT: Duration = Duration::from_secs(60);
const REQUEST: &[u8] = b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

/// What one reader saw.
#[derive(Debug, Default)]
struct Seen {
    /// Ids, in the order in which they came.
    first: u64,
    last: u64,
    /// Ids that were left out or came twice.
    lost: u64,
    /// Status updates, and when their ids arrived.
    updates: Vec<(u64, Instant)>,
}

pub fn run(place: &Place) -> Outcome<Report> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let server = Server::start(place)?;
    let stream = Stream::open(server.port)?;
    start_sleepers(&server, &stream, "/sleep", TASKS)?;
    let (progress, readers) = open(server.port)?;
    let before = procs::cpu_time(server.pid)?;
    let kills = kill_some(&server, &stream, &progress)?;
    let cpu = Duration::from_nanos(procs::cpu_time(server.pid)? - before);
    drop(stream);
    server.stop()?;
    let seen = readers.join().map_err(|_| "the readers failed")??;

    // The first update after what was known before the kill is about the kill.
    let all: Vec<u64> = seen[0].updates.iter().map(|it| it.0).collect();
    let kills: Vec<(u64, Instant)> = kills
        .into_iter()
        .map(|(known, killed)| Some((*all.iter().find(|it| **it > known)?, killed)))
        .collect::<Option<_>>()
        .ok_or("an update is missing at the first reader")?;
    let mut latencies = Vec::with_capacity(READERS * ROUNDS);
    let (mut lost, mut untold) = (0, 0);
    let newest = seen.iter().map(|it| it.last).max().unwrap_or(0);
    for reader in &seen {
        lost += reader.lost;
        untold += newest - reader.last;
        let updates: BTreeMap<u64, Instant> = reader.updates.iter().copied().collect();
        for (id, killed) in &kills {
            match updates.get(id) {
                Some(at) => latencies.push(ms(*at - *killed)),
                None => lost += 1,
            }
        }
    }
    let events = newest - seen.iter().map(|it| it.first).max().unwrap_or(0);
    let p99 = quantile(&latencies, 0.99);
    let per_write = cpu.as_secs_f64() * 1e6 / (events as f64 * READERS as f64);
    Ok(Report::new(p99, "ms", "the target", p99 / 25.0)
        .row(format!("SIGKILL to the update at each of {READERS} readers: p50"), text(median(&latencies)))
        .row("p99", text(p99))
        .row("slowest", text(max(&latencies)))
        .row("events, all readers", number(events as f64 * seen.len() as f64))
        .row("lost in between", lost.to_string())
        .row("not told before the server stopped", untold.to_string())
        .row("processor time of the server per event and reader", format!("{} us", number(per_write)))
        .key("p50", median(&latencies))
        .key("max", max(&latencies))
        .key("lost", lost)
        .key("untold", untold)
        .key("samples", latencies.len())
        .key("us_per_event_and_reader", per_write)
        .target("p99, ms", p99, Bound::AtMost(25.0))
        .target("lost", (lost + untold) as f64, Bound::AtMost(0.0)))
}

fn text(ms: f64) -> String {
    format!("{} ms", number(ms))
}

/// Kills one task after the other; gives the newest update before each kill and its moment.
fn kill_some(
    server: &Server,
    stream: &Stream,
    progress: &watch::Receiver<u64>,
) -> Outcome<Vec<(u64, Instant)>> {
    let mut tasks: BTreeMap<String, i32> = procs::tasks_below(&server.dir).into_iter().collect();
    let mut dice = Dice::new(1);
    let mut kills = Vec::new();
    for _ in 0..ROUNDS {
        thread::sleep(PAUSE);
        let known = *progress.borrow();
        let victim = tasks.keys().nth(dice.below(tasks.len())).ok_or("no task is left")?.clone();
        let pid = tasks.remove(&victim).ok_or("no such task")?;
        let killed = Instant::now();
        procs::signal(pid, Signal::SIGKILL);
        stream.next("TASK_RUNNING", LIMIT)?;
        procs::wait_for("the update", LIMIT, Duration::from_millis(1), || *progress.borrow() > known)?;
        thread::sleep(PAUSE);
        kills.push((known, killed));
        tasks = procs::tasks_below(&server.dir).into_iter().collect();
    }
    Ok(kills)
}

type Readers = thread::JoinHandle<Result<Vec<Seen>, String>>;

/// Opens all readers on a thread of their own. The receiver shows the newest status update of the first.
fn open(port: u16) -> Outcome<(watch::Receiver<u64>, Readers)> {
    let (progress, shown) = watch::channel(0);
    let (ready, all_ready) = std::sync::mpsc::channel();
    let readers = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for at in 0..READERS {
                let mut stream =
                    TcpStream::connect(web::local(port)).await.map_err(|error| error.to_string())?;
                stream.write_all(REQUEST).await.map_err(|error| error.to_string())?;
                let progress = (at == 0).then(|| progress.clone());
                tasks.push(tokio::spawn(read(stream, progress)));
            }
            let _ = ready.send(());
            let mut all = Vec::new();
            for task in tasks {
                all.push(task.await.map_err(|error| error.to_string())?);
            }
            Ok(all)
        })
    });
    all_ready.recv().map_err(|_| "the readers could not be opened")?;
    // The last of them has attached, which all others hear of.
    thread::sleep(Duration::from_secs(2));
    Ok((shown, readers))
}

/// Reads until the server ends the stream.
async fn read(mut stream: TcpStream, progress: Option<watch::Sender<u64>>) -> Seen {
    let mut seen = Seen::default();
    let mut lines = Lines::default();
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = stream.read(&mut piece).await {
        if n == 0 {
            break;
        }
        let at = Instant::now();
        lines.take(&piece[..n], |id, is_update| {
            if seen.first == 0 {
                seen.first = id;
            } else {
                seen.lost += id.abs_diff(seen.last + 1);
            }
            seen.last = id;
            if is_update {
                seen.updates.push((id, at));
                if let Some(progress) = &progress {
                    progress.send_replace(id);
                }
            }
        });
    }
    seen
}

/// Finds ids in a stream, whatever its pieces. Only the beginning of a line is of interest.
#[derive(Default)]
struct Lines {
    begin: Vec<u8>,
    is_update: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], mut found: impl FnMut(u64, bool)) {
        const KEPT: usize = 40;
        let mut parts = bytes.split(|it| *it == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = KEPT.saturating_sub(self.begin.len());
            self.begin.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_none() {
                return;
            }
            let line = self.begin.trim_ascii_end();
            if let Some(name) = line.strip_prefix(b"event: ") {
                self.is_update = name == b"status_update_event";
            } else if let Some(id) = line.strip_prefix(b"id: ")
                && let Some(id) = std::str::from_utf8(id).ok().and_then(|it| it.parse().ok())
            {
                found(id, self.is_update);
            }
            self.begin.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_any_pieces() {
        let text = b"5c\r\nevent: status_update_event\r\ndata: {\"id: 7\":1}\r\nid: 12\r\n\r\nevent: x\r\ndata: 1\r\nid: 13\r\n\r\n";
        for size in [1, 2, 7, 50, 500] {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            text.chunks(size).for_each(|it| lines.take(it, |id, update| seen.push((id, update))));
            assert_eq!(seen, [(12, true), (13, false)], "{size}");
        }
    }
}
