//! `health-10k`: ten thousand HTTP checks, each every ten seconds, from the real server to a listener in this
//! process. Steady first, then after `kill -9` and a new start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use marathon_model::act::{Probe, ProbeKind};
use marathon_model::event::{ProbeCheck, ProbeKey};
use marathon_model::id::TaskId;
use marathon_probe::{ProbeConfig, Prober};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::report::{Bound, Report, number};
use crate::server::Server;
use crate::stats::{max, median, ms, quantile};
use crate::{Outcome, Place, procs};

const APPS: usize = 500;
/// Of one instance each; this machine has no room for ten thousand tasks.
const CHECKS_PER_APP: usize = 20;
const CHECKS: usize = APPS * CHECKS_PER_APP;
const INTERVAL: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(40);
const RESTARTED: Duration = Duration::from_secs(25);
const LIMIT: Duration = Duration::from_secs(120);
/// Bursts are looked for in windows of this length.
const WINDOW: Duration = Duration::from_millis(100);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

pub fn run(place: &Place) -> Outcome<Report> {
    let target = Target::start()?;
    let server = Server::start(place)?;
    let apps: Vec<String> = (0..APPS).map(|at| app(at, target.port)).collect();
    server.client()?.want("PUT", "/v2/apps", Some(&format!("[{}]", apps.join(","))))?;
    procs::wait_for("two rounds of all checks", LIMIT, Duration::from_millis(200), || target.rounds() >= 2)?;
    let steady = measure(&target, server.pid, STEADY)?;

    let (binary, dir) = server.crash()?;
    target.clear();
    let server = Server::launch(&binary, dir, crate::web::free_port()?)?;
    server.await_engine()?;
    procs::wait_for("the first check", LIMIT, Duration::from_millis(1), || target.count() > 0)?;
    let restarted = measure(&target, server.pid, RESTARTED)?;
    server.stop()?;
    let alone = prober_alone(target.port)?;

    let window = CHECKS as f64 * WINDOW.as_secs_f64() / INTERVAL.as_secs_f64();
    let cores = steady.cores.max(restarted.cores);
    let p99 = quantile(&steady.jitter, 0.99).max(quantile(&restarted.jitter, 0.99));
    let share = |it: f64| format!("{} cores", number(it));
    let time = |it: f64| format!("{} ms", number(it));
    Ok(Report::new(cores, "cores", "the prober alone", steady.cores / alone)
        .row(format!("{CHECKS} checks each {} s: processor", INTERVAL.as_secs()), share(steady.cores))
        .row("after a restart", share(restarted.cores))
        .row("the prober alone, at the same rate", share(alone))
        .row("jitter of one check: p50", time(median(&steady.jitter)))
        .row("p99", time(quantile(&steady.jitter, 0.99)))
        .row("most", time(max(&steady.jitter)))
        .row("after a restart: p99", time(quantile(&restarted.jitter, 0.99)))
        .row("most", time(max(&restarted.jitter)))
        .row(format!("busiest {} ms (mean {})", WINDOW.as_millis(), number(window)), number(steady.busiest))
        .row("after a restart", number(restarted.busiest))
        .row("checks left out", (steady.missing + restarted.missing).to_string())
        .key("cores_steady", steady.cores)
        .key("cores_restarted", restarted.cores)
        .key("cores_prober", alone)
        .key("p99_steady", quantile(&steady.jitter, 0.99))
        .key("p99_restarted", quantile(&restarted.jitter, 0.99))
        .key("busiest_steady", steady.busiest)
        .key("busiest_restarted", restarted.busiest)
        .key("missing", steady.missing + restarted.missing)
        .target("processor, cores", cores, Bound::AtMost(0.5))
        .target("jitter p99, ms", p99, Bound::AtMost(100.0)))
}

fn app(at: usize, port: u16) -> String {
    let checks: Vec<serde_json::Value> = (0..CHECKS_PER_APP)
        .map(|check| {
            serde_json::json!({
                "protocol": "HTTP",
                "path": format!("/{}", at * CHECKS_PER_APP + check),
                "port": port,
                "gracePeriodSeconds": 0,
                "intervalSeconds": INTERVAL.as_secs(),
                "timeoutSeconds": 5,
                "maxConsecutiveFailures": 0,
            })
        })
        .collect();
    serde_json::json!({
        "id": format!("/checked/app-{at:03}"),
        "args": ["/bin/sleep", "1000"],
        "cpus": 0.1,
        "mem": 16,
        "portDefinitions": [],
        "healthChecks": checks,
    })
    .to_string()
}

struct Measured {
    cores: f64,
    /// How far each pause between two checks of a kind was off, in milliseconds.
    jitter: Vec<f64>,
    busiest: f64,
    missing: usize,
}

fn measure(target: &Target, pid: i32, time: Duration) -> Outcome<Measured> {
    target.clear();
    let (began, before) = (Instant::now(), procs::cpu_time(pid)?);
    thread::sleep(time);
    let used = Duration::from_nanos(procs::cpu_time(pid)?.saturating_sub(before));
    let took = began.elapsed();
    let hits = target.take();
    let mut windows: HashMap<u128, usize> = HashMap::new();
    let mut last: HashMap<u32, Instant> = HashMap::new();
    let mut jitter = Vec::new();
    for (check, at) in &hits {
        *windows.entry((*at - began).as_millis() / WINDOW.as_millis()).or_default() += 1;
        if let Some(before) = last.insert(*check, *at) {
            jitter.push(ms((*at - before).abs_diff(INTERVAL)));
        }
    }
    // Each check falls into every whole interval once.
    let due = (took.as_secs_f64() / INTERVAL.as_secs_f64()).floor() as usize * CHECKS;
    Ok(Measured {
        cores: used.as_secs_f64() / took.as_secs_f64(),
        jitter,
        busiest: windows.values().max().copied().unwrap_or(0) as f64,
        missing: due.saturating_sub(hits.len()),
    })
}

/// Which check arrived when.
type Hits = Arc<Mutex<Vec<(u32, Instant)>>>;

/// Answers every check, as fast as it can.
struct Target {
    port: u16,
    hits: Hits,
    _runtime: tokio::runtime::Runtime,
}

impl Target {
    fn start() -> Outcome<Target> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let (port, hits) = (listener.local_addr()?.port(), Hits::default());
        let ours = hits.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, ours.clone(), Instant::now()));
            }
        });
        Ok(Target { port, hits, _runtime: runtime })
    }

    fn hits(&self) -> std::sync::MutexGuard<'_, Vec<(u32, Instant)>> {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        self.hits().clear();
    }

    fn count(&self) -> usize {
        self.hits().len()
    }

    fn take(&self) -> Vec<(u32, Instant)> {
        std::mem::take(&mut *self.hits())
    }

    /// How often every check has arrived, at least.
    fn rounds(&self) -> usize {
        let mut counts = vec![0; CHECKS];
        for (check, _) in self.hits().iter() {
            if let Some(count) = counts.get_mut(*check as usize) {
                *count += 1;
            }
        }
        counts.into_iter().min().unwrap_or(0)
    }
}

async fn answer(mut stream: TcpStream, hits: Hits, at: Instant) {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(n) if n > 0) {
            return;
        }
    }
    let path = String::from_utf8_lossy(&head);
    if let Some(check) = path.strip_prefix("GET /").and_then(|it| it.split(' ').next()?.parse().ok()) {
        hits.lock().unwrap_or_else(PoisonError::into_inner).push((check, at));
    }
    // A client that hangs up early has what it wants.
    let _ = stream.write_all(ANSWER).await;
}

/// What the connections alone cost: the cores that a thousand checks a second keep busy.
fn prober_alone(port: u16) -> Outcome<f64> {
    let task = TaskId::parse("web.instance-0a1b2c3d-b2d0-11e5-9c11-0242ac110002._app.1")?;
    let probe = |number: u32| Probe {
        key: ProbeKey { task: task.clone(), check: ProbeCheck::Health(number) },
        kind: ProbeKind::Http { https: false, path: "/".to_owned(), keep_body: 0 },
        host: "127.0.0.1".to_owned(),
        port,
        timeout: Duration::from_secs(20),
    };
    // Its thread alone does the checks, so its processor time is their cost.
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let used = || -> Outcome<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        Ok(text.split(' ').next().unwrap_or_default().parse()?)
    };
    let before = used()?;
    client.block_on(async {
        let (send, mut results) = tokio::sync::mpsc::channel(CHECKS);
        let prober = Prober::new(ProbeConfig::default(), send, tokio::runtime::Handle::current());
        (0..CHECKS as u32).for_each(|it| prober.probe(probe(it)));
        for _ in 0..CHECKS {
            results.recv().await.ok_or("the prober ended")?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let used = Duration::from_nanos(used()? - before);
    Ok(used.as_secs_f64() / INTERVAL.as_secs_f64())
}
