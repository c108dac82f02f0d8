//! How fast the keeper starts processes, beside the raw `posix_spawn` of the standard library.
//!
//! `cargo run --release -p marathon-keeper --example start-rate [tasks]`
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use marathon_keeper::Client;
use marathon_keeper::protocol::{Event, Lifetime, Limits, Process, Request};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|it| it == "keeper") {
        std::process::exit(marathon_keeper::main(&args[1..]));
    }
    let count: usize = args.first().map_or(500, |it| it.parse().unwrap());
    let limits = Limits { cpu_shares_milli: 100, cpu_quota_milli: None, memory_bytes: Some(64 << 20) };
    for round in 1..=3 {
        let raw = raw(count);
        let plain = kept(count, None);
        let limited = kept(count, Some(limits));
        let quota = kept(count, Some(Limits { cpu_quota_milli: Some(1000), ..limits }));
        let row = [("plain", plain), ("limited", limited), ("with quota too", quota)];
        let row = row.map(|(name, rate)| format!("{name} {rate:.0}/s ({:.2})", rate / raw));
        println!("round {round}: raw {raw:.0}/s; keeper: {}", row.join(", "));
    }
}

fn raw(count: usize) -> f64 {
    let before = cpu_us("self");
    let begun = Instant::now();
    let spawn = || Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let mut children: Vec<Child> = (0..count).map(|_| spawn()).collect();
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("  raw: {:.0} us of cpu per start", (cpu_us("self") - before) / count as f64);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    rate
}

/// Processor time a process has used so far.
fn cpu_us(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks: Vec<f64> = rest.split(' ').skip(11).take(2).map(|it| it.parse().unwrap()).collect();
    (ticks[0] + ticks[1]) * 10_000.0
}

fn kept(count: usize, limits: Option<Limits>) -> f64 {
    let root = tempfile::tempdir().unwrap();
    let lifetime = Lifetime { checkpoint: true, failover_secs: 60.0 };
    let executable = std::env::current_exe().unwrap();
    let dir = root.path().join("data");
    let (mut client, mut events) = Client::connect(&dir, &executable, "b", lifetime).unwrap();
    let Some(Event::Welcome { pid, .. }) = events.next() else { panic!("no welcome") };
    let requests: Vec<Request> = (0..count).map(|number| launch(root.path(), number, limits)).collect();
    let begun = Instant::now();
    let sender = std::thread::spawn(move || {
        client.send_all(&requests).unwrap();
        client
    });
    for _ in 0..count {
        assert!(matches!(events.next(), Some(Event::Started { .. })));
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    let mut client = sender.join().unwrap();
    println!("  keeper: {:.0} us of cpu per start", cpu_us(&pid.to_string()) / count as f64);
    let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = |name: &str| memory.lines().find(|it| it.starts_with(name)).unwrap_or_default().to_owned();
    println!("  keeper with {count} tasks: {}  {}", line("Pss:"), line("Private_Dirty:"));
    let begun = Instant::now();
    client.send(&Request::Shutdown { kill: true }).unwrap();
    let mut left: HashSet<usize> = (0..count).collect();
    for event in events {
        if let Event::Ended { task, .. } = event {
            left.remove(&task[1..].parse().unwrap());
        }
    }
    assert!(left.is_empty());
    println!("  all ended in {:.0} ms", begun.elapsed().as_secs_f64() * 1000.0);
    rate
}

fn launch(root: &Path, number: usize, limits: Option<Limits>) -> Request {
    let cwd = root.join(format!("box{number}"));
    std::fs::create_dir(&cwd).unwrap();
    let task = format!("t{number}");
    let mut env =
        vec![("MESOS_TASK_ID".to_owned(), task.clone()), ("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    env.extend((0..30).map(|it| (format!("MARATHON_VARIABLE_{it}"), format!("some value {it}"))));
    let process = Process {
        argv: vec!["/bin/sleep".to_owned(), "1000".to_owned()],
        env,
        stdout: cwd.join("stdout"),
        stderr: cwd.join("stderr"),
        cwd,
        identity: None,
        log_bytes: 1 << 20,
        log_files: 2,
        limits,
        reports: false,
        network: None,
        tag: "tag".repeat(50),
    };
    Request::Launch { task, process: Box::new(process) }
}
