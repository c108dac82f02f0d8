//! Replays one recorded conversation against the simulation, on virtual time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use marathon_mesos_sim::front::{Answer, Request};
use marathon_mesos_sim::sim::{Output, Sim};
use marathon_mesos_sim::time::Time;
use marathon_mesos_v1::json::Json;
use marathon_mesos_v1::transcript::{Headers, Line, What};
use marathon_mesos_v1::{Call, Codec, Event, record};
use serde_json::Value;

use crate::table::{Act, Scenario};
use crate::unify::Bindings;

/// How much later than recorded a frame may come: nothing here takes time but what is simulated.
const SLACK: Duration = Duration::from_millis(2500);
/// What the recorder wrote in place of a long state.
const STATE_LEFT_OUT: &[u8] = b"(state body left out)";
const CYCLE: Duration = Duration::from_millis(500);
const HEADERS: [&str; 5] = ["Location", "WWW-Authenticate", "Allow", "Content-Type", "Content-Disposition"];

#[derive(Debug, Default)]
struct Stream {
    protobuf: bool,
    operator: bool,
    decoder: Option<record::Decoder>,
    inbox: VecDeque<(Time, Value)>,
    closed: Option<bool>,
}

pub struct Replay<'a> {
    pub sim: Sim,
    scenario: &'a Scenario,
    bindings: Bindings,
    began: Time,
    /// How far we lag behind the recording, because something came later.
    lag: Duration,
    streams: HashMap<u64, Stream>,
    conns: HashMap<String, u64>,
    pending: HashMap<String, (Answer, u64)>,
    next_conn: u64,
    hooks: Vec<(f64, Act)>,
    next_cycle: Time,
    pub compared: usize,
    pub skipped: usize,
}

impl<'a> Replay<'a> {
    pub fn new(sim: Sim, scenario: &'a Scenario) -> Replay<'a> {
        Replay {
            began: sim.now,
            sim,
            scenario,
            bindings: Bindings::new(scenario.nested, scenario.instead),
            lag: Duration::ZERO,
            streams: HashMap::new(),
            conns: HashMap::new(),
            pending: HashMap::new(),
            next_conn: 1,
            hooks: scenario.at.to_vec(),
            next_cycle: crate::table::START.plus(CYCLE),
            compared: 0,
            skipped: 0,
        }
    }

    pub fn run(&mut self, lines: &[Line]) -> Result<(), String> {
        for (number, line) in lines.iter().enumerate() {
            self.line(line).map_err(|why| format!("line {} (t={}): {why}", number + 1, line.at))?;
        }
        self.nothing_is_left()
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        while let Some(at) = self.hooks.iter().position(|(at, _)| *at <= line.at) {
            let (at, act) = self.hooks.remove(at);
            self.advance(at);
            act(&mut self.sim);
            self.collect();
        }
        self.advance(line.at);
        match &line.what {
            What::Note(text) => {
                for (part, act) in self.scenario.notes {
                    if text.contains(part) {
                        act(&mut self.sim);
                        self.collect();
                    }
                }
                Ok(())
            }
            What::Request { port, line: first, headers, body } => {
                self.request(&line.connection, *port, first, headers, body)
            }
            What::Response { status, headers, body, streamed } => {
                self.response(&line.connection, *status, headers, body, *streamed)
            }
            What::Frame { data, .. } => self.frame(&line.connection, data, line.at),
            What::Closed { by, why } => self.closed(&line.connection, by, why, line.at),
            What::Other(value) => self.other(value),
        }
    }

    fn moment(&self, at: f64) -> Time {
        self.began.plus(Duration::from_secs_f64(at)).plus(self.lag)
    }

    fn advance(&mut self, at: f64) {
        let moment = self.moment(at);
        // A cycle shortly before is the recorded one itself.
        while self.scenario.cycles && self.next_cycle.plus(CYCLE / 2) < moment {
            self.sim.run_until(self.next_cycle);
            self.sim.allocate(None);
            self.next_cycle = self.next_cycle.plus(CYCLE);
        }
        self.sim.run_until(moment);
        self.collect();
    }

    fn collect(&mut self) {
        for output in self.sim.take_outputs() {
            match output {
                Output::Frame { conn, bytes } => {
                    let now = self.sim.now;
                    let Some(stream) = self.streams.get_mut(&conn) else { continue };
                    let decoder = stream.decoder.get_or_insert_with(|| record::Decoder::new(64 << 20));
                    decoder.feed(&bytes);
                    while let Ok(Some(record)) = decoder.next_record() {
                        stream.inbox.push_back((now, decoded(&record, stream.protobuf)));
                    }
                }
                Output::Close { conn, clean } => {
                    if let Some(stream) = self.streams.get_mut(&conn) {
                        stream.closed = Some(clean);
                    }
                }
                Output::Start { .. } | Output::Signal { .. } => {}
            }
        }
    }

    fn request(
        &mut self,
        name: &str,
        port: u16,
        first: &str,
        headers: &Headers,
        body: &[u8],
    ) -> Result<(), String> {
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let running =
            self.sim.tasks.iter().find(|(_, it)| &*it.id == "t-run").map(|(at, _)| self.sim.sandbox_of(at));
        let ours = self.bindings.ours_in(target).replace("<SANDBOX>", &running.unwrap_or_default());
        let conn = self.next_conn;
        self.next_conn += 1;
        let mut request = Request {
            seat: self.sim.seats.iter().position(|it| it.port == port).unwrap_or(0),
            method: method.to_owned(),
            target: ours,
            headers: headers
                .0
                .iter()
                .map(|(name, value)| (name.clone(), self.bindings.ours_in(value)))
                .collect(),
            body: Bytes::new(),
            conn,
        };
        request.body = self.body(&request, body);
        let protobuf = request.header("Accept").is_some_and(|it| it == "application/x-protobuf");
        let operator = !target.contains("/scheduler");
        self.streams.insert(conn, Stream { protobuf, operator, ..Stream::default() });
        let agent = self.sim.agents.iter().rposition(|it| it.port == port);
        let answer = match agent {
            Some(agent) => self.sim.handle_agent(agent, &request),
            None => self.sim.handle(&request),
        };
        self.collect();
        self.conns.insert(name.to_owned(), conn);
        self.pending.insert(name.to_owned(), (answer, conn));
        Ok(())
    }

    /// A recorded body in our terms.
    fn body(&self, request: &Request, body: &[u8]) -> Bytes {
        if request.header("Content-Encoding") == Some("gzip") {
            return Bytes::from(self.rezipped(body));
        }
        if request.header("Content-Type") == Some("application/x-protobuf") {
            let Ok(call) = Codec::Protobuf.decode::<Call>(body) else { return Bytes::copy_from_slice(body) };
            let text = self.bindings.ours_in(&call.to_json().to_string());
            let call =
                serde_json::from_str(&text).ok().and_then(|it| Call::from_json(it).ok()).unwrap_or_default();
            return Bytes::from(Codec::Protobuf.encode(&call));
        }
        match std::str::from_utf8(body) {
            Ok(text) => Bytes::from(self.bindings.ours_in(text)),
            Err(_) => Bytes::copy_from_slice(body),
        }
    }

    fn rezipped(&self, body: &[u8]) -> Vec<u8> {
        use std::io::{Read as _, Write as _};
        let mut text = String::new();
        flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap();
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(self.bindings.ours_in(&text).as_bytes()).unwrap();
        out.finish().unwrap()
    }

    fn response(
        &mut self,
        name: &str,
        status: u16,
        headers: &Headers,
        body: &[u8],
        streamed: bool,
    ) -> Result<(), String> {
        let Some((answer, _)) = self.pending.remove(name) else {
            return Err(format!("an answer on `{name}` without a request"));
        };
        let shown = || format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
        if answer.status != status {
            return Err(format!("expected {status} {}, got {}", String::from_utf8_lossy(body), shown()));
        }
        if answer.streamed != streamed {
            return Err(format!("expected streamed={streamed}, got {}", shown()));
        }
        for header in HEADERS {
            let mine = answer.headers.iter().find(|(it, _)| *it == header).map(|(_, value)| value.as_str());
            if mine != headers.get(header).filter(|_| true) {
                return Err(format!("header {header}: expected {:?}, got {mine:?}", headers.get(header)));
            }
        }
        if let Some(theirs) = headers.get("Mesos-Stream-Id") {
            let mine = answer
                .headers
                .iter()
                .find(|(it, _)| *it == "Mesos-Stream-Id")
                .map(|(_, value)| value.clone());
            self.bindings.bind(theirs, &mine.ok_or("no Mesos-Stream-Id")?)?;
        }
        self.compared += 1;
        // The files of a real executor hold its log; the list of paths also those of tasks that are gone.
        let file = headers.get("Content-Disposition").is_some() || body.starts_with(b"{\"/frameworks/");
        if file || streamed || self.scenario.status_only.iter().any(|it| name.starts_with(it)) {
            self.skipped += usize::from(!streamed);
            return Ok(());
        }
        self.same_body(headers, body, &answer.body)
    }

    fn same_body(&mut self, headers: &Headers, theirs: &[u8], ours: &[u8]) -> Result<(), String> {
        let theirs = match headers.get("Content-Encoding") {
            Some("gzip") => unzipped(theirs),
            _ => theirs.to_vec(),
        };
        let kind = headers.get("Content-Type").unwrap_or_default();
        if kind == "application/json" && theirs != STATE_LEFT_OUT {
            let read = |it: &[u8]| serde_json::from_slice::<Value>(it).map_err(|cause| cause.to_string());
            return self.bindings.unify(&read(&theirs)?, &read(ours)?);
        }
        if theirs == STATE_LEFT_OUT {
            return Ok(());
        }
        if kind == "text/javascript" {
            let inner = |it: &[u8]| {
                let text = String::from_utf8_lossy(it).into_owned();
                let from = text.find('(').unwrap_or(0) + 1;
                serde_json::from_str::<Value>(&text[from..text.rfind(')').unwrap_or(text.len())])
                    .map_err(|cause| cause.to_string())
            };
            return self.bindings.unify(&inner(&theirs)?, &inner(ours)?);
        }
        let text = |it: &[u8]| String::from_utf8_lossy(it).trim_end().to_owned();
        self.bindings.text(&text(&theirs), &text(ours))
    }

    fn frame(&mut self, name: &str, data: &[u8], at: f64) -> Result<(), String> {
        let Some(&conn) = self.conns.get(name) else {
            return Err(format!("a frame on `{name}`, which is unknown"));
        };
        let expected = decoded(data, self.streams[&conn].protobuf);
        let key = key_of(&expected);
        let limit = self.moment(at).plus(SLACK);
        loop {
            if let Some(place) = self.streams[&conn].inbox.iter().position(|(_, it)| key_of(it) == key) {
                let Some((_, ours)) = self.streams.get_mut(&conn).and_then(|it| it.inbox.remove(place))
                else {
                    continue;
                };
                self.compared += 1;
                if key.starts_with("OFFERS") {
                    self.next_cycle = self.sim.now.plus(CYCLE);
                }
                if self.scenario.kind_only.contains(&(name, expected["type"].as_str().unwrap_or_default())) {
                    self.skipped += 1;
                    return Ok(());
                }
                return self
                    .bindings
                    .unify(&expected, &ours)
                    .map_err(|why| format!("{why}\n  expected {expected}\n  got      {ours}"));
            }
            if key.starts_with("OFFERS") || key.starts_with("INVERSE") {
                self.sim.allocate(None);
                self.collect();
                if self.streams[&conn].inbox.iter().any(|(_, it)| key_of(it) == key) {
                    continue;
                }
            }
            match self.sim.next_wakeup().filter(|it| *it <= limit) {
                Some(next) => {
                    let before = self.moment(at);
                    self.sim.run_until(next);
                    self.lag += next.since(before);
                    self.collect();
                }
                None => {
                    let inbox: Vec<String> =
                        self.streams[&conn].inbox.iter().map(|(_, it)| it.to_string()).collect();
                    return Err(format!(
                        "did not come: {expected}\n  there is: {}",
                        inbox.join("\n            ")
                    ));
                }
            }
        }
    }

    fn closed(&mut self, name: &str, by: &str, why: &str, at: f64) -> Result<(), String> {
        let Some(&conn) = self.conns.get(name) else { return Ok(()) };
        if by == "client" {
            self.sim.disconnected(conn);
            self.collect();
            return Ok(());
        }
        let limit = self.moment(at).plus(SLACK);
        while self.streams[&conn].closed.is_none() {
            // The recorder may have seen the end before the answer to the call that caused it, not before the call.
            let Some(next) = self.sim.next_wakeup().filter(|it| *it <= limit) else {
                return Err(format!("the stream `{name}` does not end"));
            };
            self.sim.run_until(next);
            self.collect();
        }
        let clean = why == "terminating chunk";
        if self.streams[&conn].closed == Some(clean) {
            Ok(())
        } else {
            Err(format!("expected the end by {why}"))
        }
    }

    /// Nodes of ZooKeeper; raw bytes are for the tests of the shell.
    fn other(&mut self, value: &Value) -> Result<(), String> {
        let path = value["path"].as_str().unwrap_or_default();
        if value["dir"] == "znode" && path.contains("json.info_") {
            let theirs: Value = serde_json::from_str(value["data"].as_str().unwrap_or_default())
                .map_err(|it| it.to_string())?;
            let seat = usize::from(theirs["port"] != self.sim.seats[0].port);
            let ours = marathon_mesos_sim::launch::master_node(&self.sim, seat);
            self.compared += 1;
            self.bindings.unify(&theirs, &ours)?;
            let ours = ours.to_string();
            let text = self.bindings.ours_in(value["data"].as_str().unwrap_or_default());
            return if text == ours { Ok(()) } else { Err(format!("expected {text}, got {ours}")) };
        }
        self.skipped += 1;
        Ok(())
    }

    /// What came beyond what was recorded: heartbeats and offers of the last moment are nobody's business.
    fn nothing_is_left(&self) -> Result<(), String> {
        for stream in self.streams.values() {
            for (_, frame) in &stream.inbox {
                let kind = frame["type"].as_str().unwrap_or_default();
                let extra = self.scenario.may_be_left.contains(&kind) || kind == "HEARTBEAT";
                if !extra {
                    return Err(format!("nobody waited for {frame} (operator: {})", stream.operator));
                }
            }
        }
        Ok(())
    }
}

fn unzipped(body: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap();
    out
}

fn decoded(bytes: &[u8], protobuf: bool) -> Value {
    if protobuf {
        return Codec::Protobuf.decode::<Event>(bytes).map(|it| it.to_json()).unwrap_or_default();
    }
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// Frames of one key keep their order; those of different tasks race in real life.
fn key_of(frame: &Value) -> String {
    let kind = frame["type"].as_str().unwrap_or_default();
    let task = &frame["update"]["status"]["task_id"]["value"];
    let updated = &frame["task_updated"]["status"]["task_id"]["value"];
    format!("{kind} {}{}", task.as_str().unwrap_or_default(), updated.as_str().unwrap_or_default())
}
