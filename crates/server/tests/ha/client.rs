//! Clients of the run: each owns an app, changes it through any instance, reads it, and writes down what it saw.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::history::{Moment, Op, Outcome, State, What};

/// A client that waited so long for an answer gives up.
const PATIENCE: Duration = Duration::from_secs(8);

pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub enum Answer {
    Status(u16, String),
    /// Sent, and then silence, or half an answer.
    Nothing,
    /// Nobody took it.
    Unsent,
}

/// One request, with an end to its patience: a frozen instance answers nothing.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return Answer::Unsent;
    };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(head.as_bytes()).is_err() {
        return Answer::Nothing;
    }
    let mut answer = Vec::new();
    let whole = stream.read_to_end(&mut answer).is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer_of(&answer).filter(|_| whole).unwrap_or(Answer::Nothing)
}

fn answer_of(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let field = |wanted: &str| {
        head.lines().find_map(|it| {
            let (name, value) = it.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    // An answer that was cut off is none.
    match field("content-length").and_then(|it| it.parse::<usize>().ok()) {
        Some(length) if body.len() != length => None,
        _ if field("transfer-encoding").is_some() => {
            body.ends_with("0\r\n\r\n").then(|| Answer::Status(status, dechunked(body)))
        }
        _ => Some(Answer::Status(status, body.to_owned())),
    }
}

fn dechunked(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = after.get(..size).filter(|_| size > 0) else { break };
        whole.push_str(chunk);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    whole
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Many changes, and no tasks.
    Quick,
    /// Upgrades and scaling, one into the other.
    Busy,
    /// Few changes: its tasks run long enough to be counted exactly.
    Calm,
}

pub struct Client {
    pub id: usize,
    pub instances: Vec<SocketAddr>,
    pub began: Instant,
    pub ops: Vec<Op>,
    /// Changes that are no part of the audited state: tasks killed, apps restarted.
    pub others: u64,
    /// What it last tried to make of its app.
    tried: State,
    dice: Dice,
}

impl Client {
    pub fn new(id: usize, seed: u64, instances: Vec<SocketAddr>, began: Instant) -> Client {
        let dice = Dice(seed.wrapping_add(id as u64 + 1));
        Client { id, instances, began, ops: Vec::new(), others: 0, tried: State::default(), dice }
    }

    fn now(&self) -> Moment {
        self.began.elapsed().as_secs_f64()
    }

    fn pace(&self) -> Pace {
        [Pace::Quick, Pace::Busy, Pace::Calm][self.id % 3]
    }

    fn path(&self) -> String {
        format!("/v2/apps/client{}", self.id)
    }

    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let at = self.instances[self.dice.below(3) as usize];
            let (change, pause) = match self.pace() {
                Pace::Quick => (65, 80),
                Pace::Busy => (45, 400),
                Pace::Calm => (6, 400),
            };
            match self.dice.below(100) {
                it if it < change => self.change(at),
                it if it < change + 3 => self.other(at),
                _ => drop(self.read(at)),
            }
            std::thread::sleep(Duration::from_millis(20 + self.dice.below(pause)));
        }
    }

    fn change(&mut self, at: SocketAddr) {
        let mut next = self.tried;
        let quick = self.pace() == Pace::Quick;
        if quick || next.label == 0 || self.dice.below(3) == 0 {
            next.label += 1;
        }
        next.instances = if quick { 0 } else { self.dice.below(5) };
        if next != self.tried {
            self.write(at, next);
        }
    }

    fn write(&mut self, at: SocketAddr, state: State) -> Outcome {
        self.tried = state;
        let State { label, instances } = state;
        let body = format!(
            r#"{{"cmd":"./service","cpus":0.05,"mem":16,"instances":{instances},"labels":{{"n":"{label}"}},
                "backoffSeconds":0,"upgradeStrategy":{{"minimumHealthCapacity":0.5,"maximumOverCapacity":0.5}},
                "unreachableStrategy":{{"inactiveAfterSeconds":1,"expungeAfterSeconds":3}}}}"#
        );
        let sent = self.now();
        let outcome = match ask(at, "PUT", &format!("{}?force=true", self.path()), &body) {
            Answer::Status(200 | 201, _) => Outcome::Done,
            Answer::Status(400..500 | 503, _) | Answer::Unsent => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        self.ops.push(Op { sent, told: self.now(), what: What::Write(state, outcome) });
        outcome
    }

    /// `None`: no answer, or none that says anything.
    pub fn read(&mut self, at: SocketAddr) -> Option<State> {
        let sent = self.now();
        let state = match ask(at, "GET", &self.path(), "") {
            Answer::Status(200, body) => {
                let json: serde_json::Value = serde_json::from_str(&body).ok()?;
                let label = json["app"]["labels"]["n"].as_str()?.parse().ok()?;
                State { label, instances: json["app"]["instances"].as_u64()? }
            }
            Answer::Status(404, body) if body.contains("does not exist") => State::default(),
            _ => return None,
        };
        self.ops.push(Op { sent, told: self.now(), what: What::Read(state) });
        Some(state)
    }

    fn other(&mut self, at: SocketAddr) {
        if self.pace() == Pace::Quick {
            return;
        }
        let (method, path) = match self.dice.below(2) {
            0 => ("DELETE", format!("{}/tasks", self.path())),
            _ => ("POST", format!("{}/restart?force=true", self.path())),
        };
        let sent = self.now();
        if matches!(ask(at, method, &path, ""), Answer::Status(200, _)) {
            self.others += 1;
        }
        if method == "DELETE" {
            self.ops.push(Op { sent, told: self.now(), what: What::Kill });
        }
    }

    /// After the faults: what the app shall be is acknowledged, and nothing that was late has changed it since.
    pub fn finish(&mut self, limit: Duration) -> State {
        let began = Instant::now();
        let wanted = State { label: self.tried.label + 1, instances: 1 + self.dice.below(4) };
        for round in 0.. {
            let at = self.instances[round % 3];
            if self.write(at, wanted) == Outcome::Done || limit < began.elapsed() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        wanted
    }

    /// Says it again where something late has overtaken it.
    pub fn insist(&mut self, wanted: State) -> Vec<Option<State>> {
        let told: Vec<Option<State>> = self.instances.clone().into_iter().map(|it| self.read(it)).collect();
        if told.iter().flatten().any(|it| *it != wanted) {
            self.write(self.instances[0], wanted);
        }
        told
    }
}
