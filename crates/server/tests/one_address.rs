//! What a client sees behind one address (the files in `deploy/`): no extra hop, events as they come, and a
//! leadership that moves in order, by force and back. Each program is on a machine of its own (a network namespace).
//! Needs root; says so and proves nothing without.
//!
//! ```text
//!   .1 .2 .3 instances (and keepalived)   .4 HAProxy   .5 nginx
//!    └──┴──┴───────────── bridge ─────────────┴──────────┘   .254: this test, and the way to ZooKeeper
//! ```
#![allow(clippy::unwrap_used)]

mod common;
mod nets;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marathon_testkit::zookeeper::ZooKeeper;
use nets::schemes::{self, VIRTUAL};
use nets::{Guard, Net};

const PATIENCE: Duration = Duration::from_secs(60);
/// Requests of which the share that was passed on is told.
const SAMPLE: usize = 60;

struct Lab {
    net: Net,
    folder: PathBuf,
    processes: Vec<(String, Child)>,
    /// Dropped last.
    _guard: Guard,
}

impl Lab {
    fn new(hosts: u8) -> Option<Lab> {
        let net = Net::claim("mz", 99)?;
        let folder = schemes::folder("lab");
        let guard = Guard::new(Some(&net), Path::new("/run/no-group"), &[&folder]);
        net.build(1..=hosts);
        Some(Lab { net, folder, processes: Vec::new(), _guard: guard })
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        self.net.address(host)
    }

    /// Starts a program on a host. What it says is in a file of that name.
    fn start(&mut self, host: u8, what: &str, program: &[String]) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join(what)).unwrap();
        let words = [&self.net.through(host)[..], program].concat();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.push((what.to_owned(), child));
    }

    fn end(&mut self, what: &str, signal: &str) {
        let at = self.processes.iter().position(|it| it.0 == what).unwrap();
        let (_, mut child) = self.processes.remove(at);
        common::signal(child.id(), signal);
        child.wait().unwrap();
    }

    fn log(&self, what: &str) -> String {
        std::fs::read_to_string(self.folder.join(what)).unwrap_or_default()
    }

    fn marathon(&mut self, host: u8, zk: &str) {
        let data = self.folder.join(format!("data{host}")).display().to_string();
        let hostname = self.address(host).to_string();
        let flags = ["--master", "local", "--zk", zk, "--zk_session_timeout", "2000", "--data_dir", &data];
        let flags = [&flags[..], &["--hostname", &hostname, "--http_port", "8080"]].concat();
        let words = [&[env!("CARGO_BIN_EXE_marathon")], &flags[..]].concat();
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        self.start(host, &format!("marathon{host}"), &words);
    }

    /// The instance that says that it leads.
    #[track_caller]
    fn leader(&self, among: &[u8]) -> u8 {
        let leads =
            |it: &&u8| get(self.address(**it), "/v2/leader/health", "").is_some_and(|it| it.status == 200);
        let mut found = None;
        until(
            || {
                found = among.iter().find(leads).copied();
                found.is_some()
            },
            || format!("somebody leads\n{}", self.log("marathon1")),
        );
        found.unwrap()
    }

    fn holds(&self, host: u8, address: Ipv4Addr) -> bool {
        self.net.holds(host, address)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for (_, child) in &mut self.processes {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
        }
        for (_, mut child) in self.processes.drain(..) {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(10) && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = (child.kill(), child.wait());
        }
    }
}

#[track_caller]
fn until(mut condition: impl FnMut() -> bool, what: impl Fn() -> String) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {}", what());
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Answer {
    status: u16,
    head: String,
}

impl Answer {
    fn was_passed_on(&self) -> bool {
        self.head.to_ascii_lowercase().contains("\nx-marathon-via:")
    }
}

fn connect(address: Ipv4Addr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&(address, 8080).into(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
    Some(stream)
}

/// GET, or with a body PUT.
fn get(address: Ipv4Addr, path: &str, body: &str) -> Option<Answer> {
    let mut stream = connect(address)?;
    let method = if body.is_empty() { "GET" } else { "PUT" };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: marathon\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let head = answer.chars().take(2000).collect();
    Some(Answer { status, head })
}

/// How many of a sample of requests took an extra hop.
#[track_caller]
fn passed_on(addresses: &[Ipv4Addr]) -> usize {
    let ask = |at: usize| get(addresses[at % addresses.len()], "/v2/apps", "").expect("an answer");
    let answers: Vec<Answer> = (0..SAMPLE).map(ask).collect();
    if let Some(bad) = answers.iter().find(|it| it.status != 200) {
        panic!("{addresses:?} answered {}", bad.head);
    }
    answers.iter().filter(|it| it.was_passed_on()).count()
}

/// Events arrive while the stream is open.
#[track_caller]
fn streams(address: Ipv4Addr, id: &str) {
    let mut stream = connect(address).unwrap();
    let ask = "GET /v2/events HTTP/1.1\r\nHost: m\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(
        lines
            .any(|it| it.starts_with("event: event_stream_attached") || it.contains("event_stream_attached"))
    );
    change(address, id);
    assert!(lines.any(|it| it.contains("deployment_success")), "the event did not arrive");
}

#[track_caller]
fn change(address: Ipv4Addr, id: &str) {
    let body = r#"{"cmd":"true","instances":0}"#;
    let path = format!("/v2/apps/{id}");
    until(|| get(address, &path, body).is_some_and(|it| matches!(it.status, 200 | 201)), || path.clone());
}

#[test]
fn every_scheme_leads_to_the_leader() {
    let mut missing = vec!["haproxy", "nginx", "keepalived"];
    missing.retain(|it| !schemes::is_installed(it));
    assert!(missing.is_empty(), "these tests need {missing:?}: bin/need installs them");
    let Some(mut lab) = Lab::new(5) else {
        eprintln!("skipped: network namespaces need root");
        return;
    };
    let zookeeper = ZooKeeper::start();
    // The way into the lab.
    let gate = TcpListener::bind((lab.address(254), 0)).unwrap();
    let (gate_port, zk_port) = (gate.local_addr().unwrap().port(), zookeeper.port());
    std::thread::spawn(move || {
        for mut near in gate.incoming().flatten() {
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", zk_port)) else { continue };
            let (mut near2, mut far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut near, &mut far);
                let _ = far.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut far2, &mut near2);
                let _ = near2.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    let zk = format!("zk://{}:{gate_port}/marathon", lab.address(254));
    for host in 1..=3 {
        lab.marathon(host, &zk);
    }
    let haproxy = schemes::haproxy(&lab.net, &lab.folder);
    lab.start(4, "haproxy", &haproxy);
    let nginx = schemes::nginx(&lab.net, &lab.folder);
    lab.start(5, "nginx", &nginx);
    for host in 1..=3 {
        let keepalived = schemes::keepalived(&lab.net, &lab.folder, host);
        lab.start(host, &format!("keepalived{host}"), &keepalived);
    }

    let all = [1, 2, 3];
    let (balanced, by_nginx, virtual_ip) = (lab.address(4), lab.address(5), lab.address(VIRTUAL));
    let schemes = [("HAProxy", balanced), ("nginx", by_nginx), ("keepalived", virtual_ip)];
    let mut before = lab.leader(&all);
    // Another leads, the one of before comes back as a follower, and so on around.
    for round in 0..3 {
        let plain = passed_on(&all.map(|it| lab.address(it)));
        assert_eq!(plain, SAMPLE * 2 / 3);
        for (name, address) in schemes {
            let direct = || {
                (0..5).all(|_| {
                    get(address, "/v2/apps", "").is_some_and(|it| it.status == 200 && !it.was_passed_on())
                })
            };
            until(direct, || {
                format!(
                    "{name} leads to the leader in round {round}\n{}{}",
                    lab.log("haproxy"),
                    lab.log(&format!("keepalived{before}"))
                )
            });
            let passed = passed_on(&[address]);
            println!(
                "{name}, round {round}: {passed} of {SAMPLE} requests were passed on; {plain} of {SAMPLE} without it"
            );
            assert_eq!(passed, 0);
            change(address, &format!("{}{round}", name.to_lowercase()));
            streams(address, &format!("{}-s{round}", name.to_lowercase()));
        }
        let holders: Vec<u8> = all.into_iter().filter(|it| lab.holds(*it, virtual_ip)).collect();
        assert_eq!(holders, [before], "the address is where the leader is");
        let what = format!("marathon{before}");
        // In order, by force, and on request.
        match round {
            0 => lab.end(&what, "TERM"),
            1 => lab.end(&what, "KILL"),
            _ => return,
        }
        let rest: Vec<u8> = all.into_iter().filter(|it| *it != before).collect();
        let after = lab.leader(&rest);
        for (name, address) in schemes {
            change(address, &format!("{}-after{round}", name.to_lowercase()));
        }
        lab.marathon(before, &zk);
        until(
            || get(lab.address(before), "/v2/apps", "").is_some_and(|it| it.status == 200),
            || "it is back".to_owned(),
        );
        assert!(!lab.holds(before, virtual_ip) || lab.leader(&all) == before);
        before = after;
    }
}
