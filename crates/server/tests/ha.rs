//! Three instances, three ZooKeepers, faults at random, clients that write all the time, and a judge who knows
//! only what the clients saw. `bin/test ha [SECONDS]` runs it for longer.
//!
//! ```text
//! clients ─► instance 1, 2, 3 ─► wires, which can be cut in one direction or both ─► ZooKeeper 1, 2, 3
//! ```
//! Each client owns an app and writes numbers into it, one after the other. What it reads must be what it last
//! wrote, or something newer that it tried to write and got no answer to; and never anything older than what
//! was read before. So a lost change, a change that was made although it was refused, and an answer from a leader
//! of the past all show.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::Server;
use marathon_testkit::zookeeper::ZooKeeper;

/// Of a run that nobody asked for by name.
const SHORT: u64 = 12;
const CLIENTS: usize = 4;
/// Everything must be as it was this long after the last fault.
const SETTLE: Duration = Duration::from_secs(60);

/// Which direction of a wire lets nothing through.
const OPEN: u8 = 0;
const DEAF: u8 = 1;
const MUTE: u8 = 2;
const CUT: u8 = 3;

/// Between one instance and one ZooKeeper.
struct Wire {
    port: u16,
    state: Arc<AtomicU8>,
}

impl Wire {
    fn new(to: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(AtomicU8::new(OPEN));
        let shared = state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (up, down) = (shared.clone(), shared.clone());
                std::thread::spawn(move || pump(near, far, &up, MUTE));
                std::thread::spawn(move || pump(far2, near2, &down, DEAF));
            }
        });
        Wire { port, state }
    }
}

/// A direction that is cut holds back what comes, as a network that drops packets makes a connection do.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8, cut: u8) {
    let mut buffer = [0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while state.load(Ordering::Relaxed) & cut != 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What one client did and saw.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    reads: u64,
    violations: Vec<String>,
}

enum Told {
    Done,
    Refused,
    Unknown,
}

/// One request, with an end to its patience: a frozen instance answers nothing.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let address = ([127, 0, 0, 1], port).into();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(8))).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // An answer that was cut off is none.
    let length = head.lines().find_map(|it| {
        let (name, value) = it.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) if body.len() != length => None,
        _ => Some((status, body.to_owned())),
    }
}

fn client(id: usize, ports: [u16; 3], stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut dice = Dice(id as u64 + 1);
    let path = format!("/v2/apps/client{id}");
    // What may be there: all from `floor` to `tried`.
    let (mut floor, mut tried) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let port = ports[dice.below(3) as usize];
        if dice.below(3) > 0 {
            tried += 1;
            let body = format!(r#"{{"cmd":"true","instances":0,"labels":{{"n":"{tried}"}}}}"#);
            match write(port, &path, &body) {
                Told::Done => {
                    seen.acknowledged += 1;
                    floor = tried;
                }
                Told::Refused => seen.refused += 1,
                Told::Unknown => seen.unknown += 1,
            }
        } else if let Some(found) = read(port, &path) {
            seen.reads += 1;
            if found < floor || found > tried {
                seen.violations.push(format!("client {id} read {found}, not within {floor}..={tried}"));
            }
            // What was seen once stays.
            floor = floor.max(found);
        }
        std::thread::sleep(Duration::from_millis(dice.below(30)));
    }
    // In the end all instances agree.
    let began = Instant::now();
    let mut agreed = 0;
    while agreed < 3 {
        match read(ports[agreed], &path) {
            Some(found) if found >= floor && found <= tried => agreed += 1,
            Some(found) => {
                seen.violations
                    .push(format!("client {id} reads {found} in the end, not within {floor}..={tried}"));
                agreed += 1;
            }
            None if began.elapsed() > SETTLE => {
                seen.violations.push(format!("client {id} gets no answer after the faults"));
                break;
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    seen
}

fn write(port: u16, path: &str, body: &str) -> Told {
    match ask(port, "PUT", &format!("{path}?force=true"), body) {
        Some((200 | 201, _)) => Told::Done,
        Some((400..500, _)) => Told::Refused,
        _ => Told::Unknown,
    }
}

/// `None`: no answer, or none that says anything.
fn read(port: u16, path: &str) -> Option<u64> {
    match ask(port, "GET", path, "")? {
        (200, body) => {
            let json: serde_json::Value = serde_json::from_str(&body).ok()?;
            json["app"]["labels"]["n"].as_str()?.parse().ok()
        }
        (404, body) if body.contains("does not exist") => Some(0),
        _ => None,
    }
}

struct Cluster {
    /// First, so that they can end in order.
    servers: Vec<Server>,
    zookeepers: Vec<ZooKeeper>,
    wires: Vec<Vec<Wire>>,
    faults: AtomicU64,
}

impl Cluster {
    fn start(folder: &std::path::Path) -> Cluster {
        let zookeepers = ZooKeeper::ensemble(3);
        let wires: Vec<Vec<Wire>> =
            (0..3).map(|_| zookeepers.iter().map(|it| Wire::new(it.port())).collect()).collect();
        let mut servers = Vec::new();
        for (at, wires) in wires.iter().enumerate() {
            let hosts: Vec<String> = wires.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
            let url = format!("zk://{}/marathon", hosts.join(","));
            let dir = folder.join(at.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            let flags = ["--zk", &url, "--zk_session_timeout", "2000", "--zk_timeout", "2000"];
            servers.push(Server::at(&dir, &flags));
        }
        Cluster { zookeepers, wires, servers, faults: AtomicU64::new(0) }
    }

    /// One fault, for a while.
    fn disturb(&mut self, dice: &mut Dice) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        let at = dice.below(3) as usize;
        let hold = Duration::from_millis(200 + dice.below(4000));
        match dice.below(8) {
            0 => {
                self.servers[at].kill();
                std::thread::sleep(hold / 4);
                self.servers[at].begin_again();
            }
            1 => {
                common::signal(self.servers[at].pid(), "STOP");
                std::thread::sleep(hold);
                common::signal(self.servers[at].pid(), "CONT");
            }
            2 => {
                self.zookeepers[at].stop();
                std::thread::sleep(hold / 2);
                self.zookeepers[at].begin();
            }
            3 => {
                self.zookeepers[at].signal("STOP");
                std::thread::sleep(hold);
                self.zookeepers[at].signal("CONT");
            }
            4 => {
                let _ = ask(self.servers[at].port, "DELETE", "/v2/leader", "");
                std::thread::sleep(hold / 4);
            }
            kind => {
                let cut = [DEAF, MUTE, CUT][kind as usize - 5];
                // An instance loses one, two, or all of its ZooKeepers.
                let several = dice.below(3) as usize + 1;
                for wire in &self.wires[at][..several] {
                    wire.state.store(cut, Ordering::Relaxed);
                }
                std::thread::sleep(hold);
                for wire in &self.wires[at] {
                    wire.state.store(OPEN, Ordering::Relaxed);
                }
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_that_was_acknowledged_is_lost_whatever_breaks() {
    let seconds = number("MARATHON_HA_SECONDS", SHORT);
    let seed = number("MARATHON_HA_SEED", std::process::id().into());
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(folder.path());
    let ports: [u16; 3] = std::array::from_fn(|at| cluster.servers[at].port);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<JoinHandle<Seen>> = (0..CLIENTS)
        .map(|id| {
            let stop = stop.clone();
            std::thread::spawn(move || client(id, ports, &stop))
        })
        .collect();
    let mut dice = Dice(seed);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        cluster.disturb(&mut dice);
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
    }
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<Seen> = clients.into_iter().map(|it| it.join().unwrap()).collect();
    let sum = |part: fn(&Seen) -> u64| seen.iter().map(part).sum::<u64>();
    let violations: Vec<&String> = seen.iter().flat_map(|it| &it.violations).collect();
    println!(
        "ha: seed {seed}, {seconds} s, {} faults; {} writes acknowledged, {} refused, {} unknown; {} reads; {} violations",
        cluster.faults.load(Ordering::Relaxed),
        sum(|it| it.acknowledged),
        sum(|it| it.refused),
        sum(|it| it.unknown),
        sum(|it| it.reads),
        violations.len()
    );
    let logs: Vec<String> = cluster.servers.iter().map(Server::log).collect();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}\n{}", logs.join("\n---\n"));
    assert!(sum(|it| it.acknowledged) > 0 && sum(|it| it.reads) > 0);
}
