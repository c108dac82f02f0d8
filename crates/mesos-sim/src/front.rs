//! HTTP requests and their answers, without any socket: which path, which check first, which words.
//!
//! The order of the checks is the master's: who asks, does this seat lead, has it recovered, method, media type,
//! parsing, validation, and only then the framework and its stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use marathon_mesos_v1::Codec;
use serde_json::{Value, json};

use crate::sim::Sim;
use crate::state::Conn;
use crate::watch::Told;

#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Which master is asked.
    pub seat: usize,
    pub method: String,
    /// With the query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// The number under which a stream would run, if this becomes one.
    pub conn: Conn,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn query(&self) -> BTreeMap<String, String> {
        let text = self.target.split_once('?').map_or("", |(_, it)| it);
        form(text)
    }
}

/// Reads `a=b&c=d`, with percent escapes.
pub fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|it| !it.is_empty());
    pairs
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(key, value)| (unescaped(key), unescaped(value)))
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|it| std::str::from_utf8(it).ok());
        match (bytes[at], digits.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// The body follows as frames under the request's `conn`.
    pub streamed: bool,
}

impl Answer {
    pub fn empty(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    pub fn text(status: u16, text: impl Into<String>) -> Answer {
        let headers = vec![("Content-Type", "text/plain; charset=utf-8".to_owned())];
        Answer { status, headers, body: Bytes::from(text.into()), streamed: false }
    }

    pub fn json(value: &Value) -> Answer {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Answer { status: 200, headers, body: Bytes::from(value.to_string()), streamed: false }
    }

    pub(crate) fn stream(codec: Codec, id: Option<String>) -> Answer {
        let mut headers: Vec<(&'static str, String)> =
            id.into_iter().map(|id| ("Mesos-Stream-Id", id)).collect();
        headers.push(("Content-Type", codec.media_type().to_owned()));
        Answer { status: 200, headers, body: Bytes::new(), streamed: true }
    }
}

impl Sim {
    pub fn handle(&mut self, request: &Request) -> Answer {
        let path = request.path().trim_end_matches('/');
        if path.contains("/..") || self.seats[request.seat].starting {
            return not_found();
        }
        let short = path.strip_prefix("/master").unwrap_or(path);
        match short {
            crate::admin::PATH => self.admin_request(request),
            "/api/v1/scheduler" => self.scheduler(request),
            // Any other path below belongs to the operator API.
            _ if short == "/api/v1" || short.starts_with("/api/v1/") => self.operator(request, short),
            "/redirect" => match self.location("") {
                Some(it) => redirect(it),
                None => Answer::text(503, "No leader elected"),
            },
            "/health" => Answer::empty(200),
            "/version" => {
                Answer::json(&sorted(Value::Object(crate::operator::version_json(&self.config.version))))
            }
            "/metrics/snapshot" => {
                let all = self.metrics().into_iter().map(|(name, value)| (name, json!(value)));
                Answer::json(&sorted(Value::Object(all.collect())))
            }
            "/flags" => Answer::json(&json!({ "flags": self.flags_json(request.seat) })),
            "/logging/toggle" => Answer::text(200, "0\n".trim_end()),
            _ => self.page(request, short),
        }
    }

    fn admin_request(&mut self, request: &Request) -> Answer {
        if request.method == "GET" {
            return Answer::json(&self.audit_report());
        }
        match serde_json::from_slice(&request.body) {
            Ok(order) => self.admin(&order),
            Err(cause) => Answer::text(400, format!("not JSON: {cause}")),
        }
    }

    /// Pages that only the leader serves.
    fn page(&mut self, request: &Request, short: &str) -> Answer {
        const PAGES: [&str; 13] = [
            "/state",
            "/state.json",
            "/state-summary",
            "/slaves",
            "/frameworks",
            "/tasks",
            "/roles",
            "/quota",
            "/weights",
            "/maintenance/status",
            "/maintenance/schedule",
            "/teardown",
            "/machine/down",
        ];
        if !PAGES.contains(&short) && short != "/machine/up" {
            return not_found();
        }
        if let Some(answer) = self.not_leading(request, short) {
            return answer;
        }
        let query = request.query();
        let only = |name: &str| query.get(name).map(String::as_str);
        let value = match (short, request.method.as_str()) {
            ("/state" | "/state.json", _) => self.state_json(request.seat),
            ("/state-summary", _) => self.summary_json(request.seat),
            ("/slaves", _) => self.slaves_json(only("slave_id")),
            ("/frameworks", _) => self.frameworks_json(only("framework_id")),
            ("/tasks", _) => self.tasks_json(&query),
            ("/roles", _) => self.roles_json(),
            ("/quota", _) => json!({}),
            ("/weights", _) => json!([]),
            ("/maintenance/status", _) => self.maintenance_status(),
            ("/maintenance/schedule", "GET") => self.schedule.clone(),
            ("/maintenance/schedule", _) => return self.post_schedule(request),
            ("/machine/down" | "/machine/up", "POST") => {
                let machines: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                return told(self.machines(short == "/machine/down", &machines));
            }
            ("/teardown", "POST") => {
                let fields = form(&String::from_utf8_lossy(&request.body));
                return told(
                    self.tear_down(fields.get("frameworkId").map(String::as_str).unwrap_or_default()),
                );
            }
            _ => return wrong_method("POST", &request.method),
        };
        match query.get("jsonp") {
            Some(name) => Answer {
                status: 200,
                headers: vec![("Content-Type", "text/javascript".to_owned())],
                body: Bytes::from(format!("{name}({value});")),
                streamed: false,
            },
            None => Answer::json(&value),
        }
    }

    fn post_schedule(&mut self, request: &Request) -> Answer {
        match serde_json::from_slice::<Value>(&request.body) {
            Ok(schedule) => match self.set_schedule(schedule) {
                Ok(()) => Answer::empty(200),
                Err(why) => Answer::text(400, why),
            },
            Err(cause) => Answer::text(400, format!("Failed to parse JSON: {cause}")),
        }
    }

    /// Where the leader is, as far as this cluster's followers know.
    fn location(&self, path: &str) -> Option<String> {
        if let Some((host, port)) = &self.foreign {
            return Some(format!("//{host}:{port}{path}"));
        }
        let it = &self.seats[self.announced?];
        Some(format!("//{}:{}{path}", it.hostname, it.port))
    }

    /// The answer of a seat that does not lead.
    pub(crate) fn not_leading(&self, request: &Request, short: &str) -> Option<Answer> {
        if self.leader == Some(request.seat) {
            return None;
        }
        let query = request.target.split_once('?').map(|(_, it)| format!("?{it}")).unwrap_or_default();
        Some(match self.location(&format!("/master{short}{query}")) {
            Some(it) => redirect(it),
            None => Answer::text(503, "No leader elected"),
        })
    }

    fn operator(&mut self, request: &Request, short: &str) -> Answer {
        if let Some(answer) = self.not_leading(request, short) {
            return answer;
        }
        if self.seats[request.seat].recovering {
            return Answer::text(503, "Master has not finished recovery");
        }
        if request.method != "POST" {
            return wrong_method("POST", &request.method);
        }
        let call: Value = match serde_json::from_slice(&request.body) {
            Ok(call) => call,
            Err(_) => return syntax_error(&request.body),
        };
        match self.operator_call(request.seat, &call) {
            Told::Stream => {
                self.watch(request.conn);
                Answer::stream(Codec::Json, None)
            }
            other => told(other),
        }
    }
}

fn told(it: Told) -> Answer {
    match it {
        Told::Body(value) => Answer::json(&value),
        Told::Done | Told::Stream => Answer::empty(200),
        Told::Bad(why) => Answer::text(400, why),
        Told::Missing(why) => Answer::text(404, why),
    }
}

/// The master's parser says where it stopped: after the first byte that it took for the beginning of something.
pub(crate) fn syntax_error(body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body);
    let rest: String = text.chars().skip(1).take_while(|it| *it != '\n').collect();
    Answer::text(400, format!("Failed to parse body into JSON: syntax error at line 1 near: {rest}"))
}

fn redirect(location: String) -> Answer {
    Answer { status: 307, headers: vec![("Location", location)], ..Answer::default() }
}

pub(crate) fn wrong_method(allowed: &str, method: &str) -> Answer {
    let mut answer = Answer::text(
        405,
        format!("405 Method Not Allowed. Expecting one of {{ '{allowed}' }}, but received '{method}'."),
    );
    answer.headers.insert(0, ("Allow", allowed.to_owned()));
    answer
}

pub fn not_found() -> Answer {
    Answer::text(404, "404 Not Found.")
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<String, Value> = fields.into_iter().collect();
            Value::Object(ordered.into_iter().collect())
        }
        other => other,
    }
}
