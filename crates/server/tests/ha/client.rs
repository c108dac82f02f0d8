//! Clients of the run: each owns an app, changes it by its way, reads it, and writes down what it saw.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::history::{Claim, Moment, Op, Outcome, State, Way, What};

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

/// What the head of an answer says about who gave it.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// By an instance. HAProxy and nginx say things of their own, which promise nothing.
    pub is_ours: bool,
    pub passed_on: bool,
    /// `host:port`
    pub leader: String,
}

/// One request, with an end to its patience: a frozen instance answers nothing.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    ask_and_see(address, method, path, body).0
}

pub fn ask_and_see(address: SocketAddr, method: &str, path: &str, body: &str) -> (Answer, Head) {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return (Answer::Unsent, Head::default());
    };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(head.as_bytes()).is_err() {
        return (Answer::Nothing, Head::default());
    }
    let mut answer = Vec::new();
    let whole = stream.read_to_end(&mut answer).is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer_of(&answer).filter(|_| whole).unwrap_or((Answer::Nothing, Head::default()))
}

fn answer_of(answer: &str) -> Option<(Answer, Head)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let field = |wanted: &str| {
        head.lines().find_map(|it| {
            let (name, value) = it.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let leader = field("x-marathon-leader").unwrap_or_default().trim_start_matches("http://").to_owned();
    let passed_on = field("x-marathon-via").is_some();
    let seen = Head { is_ours: field("x-frame-options").is_some(), passed_on, leader };
    // An answer that was cut off is none.
    let answer = match field("content-length").and_then(|it| it.parse::<usize>().ok()) {
        Some(length) if body.len() != length => None,
        _ if field("transfer-encoding").is_some() => {
            body.ends_with("0\r\n\r\n").then(|| Answer::Status(status, dechunked(body)))
        }
        _ => Some(Answer::Status(status, body.to_owned())),
    };
    answer.map(|it| (it, seen))
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
    /// Hardly any, and nothing is killed or restarted: whatever becomes of its tasks has another cause.
    Still,
}

pub struct Client {
    pub id: usize,
    /// Where it asks: the instances, or one address for all.
    at: Vec<SocketAddr>,
    /// Every way there is, instances first.
    everywhere: Vec<SocketAddr>,
    instances: Vec<SocketAddr>,
    pub began: Instant,
    pub ops: Vec<Op>,
    /// Instances that answered it as leaders.
    pub claims: Vec<Claim>,
    /// What it last tried to make of its app.
    tried: State,
    dice: Dice,
}

impl Client {
    pub fn new(
        (id, way): (usize, Way),
        seed: u64,
        instances: Vec<SocketAddr>,
        schemes: &[(Way, SocketAddr)],
        began: Instant,
    ) -> Client {
        let dice = Dice(seed.wrapping_add(id as u64 + 1));
        let at = schemes.iter().find(|it| it.0 == way).map_or(instances.clone(), |it| vec![it.1]);
        let everywhere = instances.iter().copied().chain(schemes.iter().map(|it| it.1)).collect();
        let (ops, claims, tried) = (Vec::new(), Vec::new(), State::default());
        Client { id, at, everywhere, instances, began, ops, claims, tried, dice }
    }

    fn now(&self) -> Moment {
        self.began.elapsed().as_secs_f64()
    }

    fn pace(&self) -> Pace {
        [Pace::Quick, Pace::Busy, Pace::Calm, Pace::Quick, Pace::Busy, Pace::Still][self.id % 6]
    }

    fn path(&self) -> String {
        format!("/v2/apps/client{}", self.id)
    }

    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let at = self.at[self.dice.below(3) as usize % self.at.len()];
            // Of a thousand.
            let (change, other, pause) = match self.pace() {
                Pace::Quick => (650, 0, 80),
                Pace::Busy => (450, 30, 400),
                Pace::Calm => (60, 30, 400),
                Pace::Still if self.tried == State::default() => (1000, 0, 400),
                Pace::Still => (4, 0, 400),
            };
            match self.dice.below(1000) {
                it if it < change => self.change(at),
                it if it < change + other => self.other(at),
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

    /// Asks, and notes who led.
    fn ask(&mut self, at: SocketAddr, method: &str, path: &str, body: &str) -> (Answer, bool) {
        let sent = self.now();
        let (answer, head) = ask_and_see(at, method, path, body);
        if let Answer::Status(200 | 201, _) = answer
            && let Some(instance) = self.instances.iter().position(|it| it.to_string() == head.leader)
        {
            self.claims.push(Claim { instance, sent, told: self.now() });
        }
        (answer, head.is_ours)
    }

    /// What an answer says of a change. Only an instance knows that nothing was done.
    fn outcome((answer, is_ours): (Answer, bool)) -> Outcome {
        match answer {
            Answer::Status(200 | 201, _) if is_ours => Outcome::Done,
            Answer::Status(400..500 | 503, _) if is_ours => Outcome::Refused,
            // An instance that could not reach the leader.
            Answer::Status(502, text) if is_ours && text.contains("nothing was changed") => Outcome::Refused,
            Answer::Unsent => Outcome::Refused,
            Answer::Status(..) | Answer::Nothing => Outcome::Unknown,
        }
    }

    fn note(&mut self, sent: Moment, what: What) {
        self.ops.push(Op { sent, told: self.now(), what });
    }

    fn write(&mut self, at: SocketAddr, state: State) -> Outcome {
        self.tried = state;
        let State { label, instances } = state;
        let body = format!(
            r#"{{"cmd":"./service","cpus":0.05,"mem":16,"instances":{instances},"labels":{{"n":"{label}"}},
                "backoffSeconds":0,"upgradeStrategy":{{"minimumHealthCapacity":0.5,"maximumOverCapacity":0.5}},
                "unreachableStrategy":{{"inactiveAfterSeconds":1,"expungeAfterSeconds":3}}}}"#
        );
        let (sent, path) = (self.now(), format!("{}?force=true", self.path()));
        let outcome = Client::outcome(self.ask(at, "PUT", &path, &body));
        self.note(sent, What::Write(state, outcome));
        outcome
    }

    /// `None`: no answer, or none that says anything.
    pub fn read(&mut self, at: SocketAddr) -> Option<State> {
        let (sent, path) = (self.now(), self.path());
        let state = match self.ask(at, "GET", &path, "").0 {
            Answer::Status(200, body) => {
                let json: serde_json::Value = serde_json::from_str(&body).ok()?;
                let label = json["app"]["labels"]["n"].as_str()?.parse().ok()?;
                State { label, instances: json["app"]["instances"].as_u64()? }
            }
            Answer::Status(404, body) if body.contains("does not exist") => State::default(),
            _ => return None,
        };
        self.note(sent, What::Read(state));
        Some(state)
    }

    fn other(&mut self, at: SocketAddr) {
        let sent = self.now();
        // Only the busy ones restart: new tasks beside old ones of the same definition cannot be told from too many.
        if self.pace() == Pace::Busy && self.dice.below(2) == 0 {
            let path = format!("{}/restart?force=true", self.path());
            let outcome = Client::outcome(self.ask(at, "POST", &path, ""));
            self.note(sent, What::Restart(outcome));
        } else {
            let path = format!("{}/tasks", self.path());
            let outcome = Client::outcome(self.ask(at, "DELETE", &path, ""));
            self.note(sent, What::Kill(outcome));
        }
    }

    /// After the faults: what the app shall be is acknowledged, and nothing that was late has changed it since.
    pub fn finish(&mut self, limit: Duration) -> State {
        let began = Instant::now();
        let wanted = State { label: self.tried.label + 1, instances: 1 + self.dice.below(4) };
        for round in 0.. {
            let at = self.at[round % self.at.len()];
            if self.write(at, wanted) == Outcome::Done || limit < began.elapsed() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        wanted
    }

    /// As it is seen by every way. Says it again where something late has overtaken it.
    pub fn insist(&mut self, wanted: State) -> Vec<Option<State>> {
        let told: Vec<Option<State>> = self.everywhere.clone().into_iter().map(|it| self.read(it)).collect();
        if told.iter().flatten().any(|it| *it != wanted) {
            self.write(self.at[0], wanted);
        }
        told
    }
}
