//! HTTP requests and their answers, without any socket: which path, which check first, which words.
//!
//! The order of the checks is the master's: who asks, does this seat lead, has it recovered, method, media type,
//! parsing, validation, and only then the framework and its stream.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use marathon_mesos_v1::{Call, CallType, Codec, DecodeError};
use serde_json::{Value, json};

use crate::sim::Sim;
use crate::state::Conn;
use crate::validate;
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

    fn stream(codec: Codec, id: Option<String>) -> Answer {
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
    fn not_leading(&self, request: &Request, short: &str) -> Option<Answer> {
        if self.leader == Some(request.seat) {
            return None;
        }
        let query = request.target.split_once('?').map(|(_, it)| format!("?{it}")).unwrap_or_default();
        Some(match self.location(&format!("/master{short}{query}")) {
            Some(it) => redirect(it),
            None => Answer::text(503, "No leader elected"),
        })
    }

    fn principal(&self, request: &Request) -> Result<Option<String>, Answer> {
        let Some(credentials) = &self.config.credentials else { return Ok(None) };
        let given = request.header("Authorization").and_then(|it| it.strip_prefix("Basic "));
        let decoded = given.and_then(|it| base64::engine::general_purpose::STANDARD.decode(it.trim()).ok());
        let text = decoded.and_then(|it| String::from_utf8(it).ok()).unwrap_or_default();
        let parts: Vec<&str> = text.split(':').collect();
        let found =
            credentials.iter().find(|(principal, secret)| parts == [principal.as_str(), secret.as_str()]);
        found.map(|(principal, _)| Some(principal.clone())).ok_or_else(|| {
            let mut answer = Answer::text(401, "401 Unauthorized.");
            answer
                .headers
                .insert(0, ("WWW-Authenticate", "Basic realm=\"mesos-master-scheduler\"".to_owned()));
            answer
        })
    }

    fn scheduler(&mut self, request: &Request) -> Answer {
        let principal = match self.principal(request) {
            Ok(it) => it,
            Err(answer) => return answer,
        };
        if let Some(answer) = self.not_leading(request, "/api/v1/scheduler") {
            return answer;
        }
        if self.seats[request.seat].recovering {
            return Answer::text(503, "Master has not finished recovery");
        }
        if request.method != "POST" {
            return wrong_method("POST", &request.method);
        }
        let call = match read_call(request) {
            Ok(call) => call,
            Err(answer) => return answer,
        };
        self.call(request, call, principal.as_deref())
    }

    fn call(&mut self, request: &Request, call: Call, principal: Option<&str>) -> Answer {
        if call.r#type == Some(CallType::UNKNOWN as i32) {
            return Answer::empty(501);
        }
        let invalid = |why: String| Answer::text(400, format!("Failed to validate scheduler::Call: {why}"));
        if let Err(why) = validate::call(&call) {
            return invalid(why);
        }
        let Some(kind) = call.r#type.and_then(|it| CallType::try_from(it).ok()) else {
            return Answer::empty(501);
        };
        *self.counters.calls.entry(kind.as_str()).or_default() += 1;
        if let Some(subscribe) = call.subscribe.filter(|_| kind == CallType::SUBSCRIBE) {
            if let Some(why) = strange_principal(principal, subscribe.framework_info.principal.as_deref()) {
                return invalid(why);
            }
            let Some(codec) = accepted(request.header("Accept")) else {
                return Answer::text(
                    406,
                    "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
                );
            };
            if request.header("Mesos-Stream-Id").is_some() {
                return Answer::text(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header");
            }
            let stream = self.subscribe(request.conn, codec, subscribe, principal);
            return Answer::stream(codec, Some(stream));
        }
        let id = call.framework_id.as_ref().map(|it| it.value.clone()).unwrap_or_default();
        let framework = match self.subscribed(request, &id, principal) {
            Ok(framework) => framework,
            Err(answer) => return answer,
        };
        let call = Call { subscribe: None, ..call };
        self.obey(framework, kind, &call)
    }

    /// The framework of a call, if it is subscribed and this is its stream.
    fn subscribed(&self, request: &Request, id: &str, principal: Option<&str>) -> Result<usize, Answer> {
        let found = self.framework_ids.get(id).copied().filter(|at| self.frameworks[*at].removed.is_none());
        let Some(framework) = found else { return Err(Answer::text(400, "Framework cannot be found")) };
        let it = &self.frameworks[framework];
        if let Some(why) = strange_principal(principal, it.info.principal.as_deref()) {
            return Err(Answer::text(400, why));
        }
        let Some(subscription) = &it.subscription else {
            return Err(Answer::text(403, "Framework is not subscribed"));
        };
        match request.header("Mesos-Stream-Id") {
            None => {
                Err(Answer::text(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"))
            }
            Some(given) if given != subscription.stream => Err(Answer::text(
                400,
                format!(
                    "The stream ID '{given}' included in this request didn't match the stream ID currently associated with framework ID {id}"
                ),
            )),
            Some(_) => Ok(framework),
        }
    }

    /// A call that is as it should be.
    pub fn obey(&mut self, framework: usize, kind: CallType, call: &Call) -> Answer {
        if self.call_is_lost() {
            return Answer::empty(202);
        }
        match kind {
            CallType::TEARDOWN => self.remove_framework(framework),
            CallType::ACCEPT => call.accept.iter().for_each(|it| self.accept(framework, it)),
            CallType::DECLINE => call.decline.iter().for_each(|it| self.decline(framework, it)),
            CallType::REVIVE => {
                self.revive(
                    framework,
                    call.revive.as_ref().map(|it| it.roles.as_slice()).unwrap_or_default(),
                );
            }
            CallType::SUPPRESS => {
                self.suppress(
                    framework,
                    call.suppress.as_ref().map(|it| it.roles.as_slice()).unwrap_or_default(),
                );
            }
            CallType::KILL => call.kill.iter().for_each(|it| self.kill(framework, it)),
            CallType::ACKNOWLEDGE => call.acknowledge.iter().for_each(|it| self.acknowledge(framework, it)),
            CallType::RECONCILE => call.reconcile.iter().for_each(|it| self.reconcile(framework, it)),
            CallType::SHUTDOWN => {
                if let Some(it) = &call.shutdown {
                    self.shut_executor_down(framework, &it.agent_id.value, &it.executor_id.value);
                }
            }
            CallType::ACCEPT_INVERSE_OFFERS => {
                if let Some(it) = &call.accept_inverse_offers {
                    self.answer_inverse(framework, &it.inverse_offer_ids, true, it.filters.as_ref());
                }
            }
            CallType::DECLINE_INVERSE_OFFERS => {
                if let Some(it) = &call.decline_inverse_offers {
                    self.answer_inverse(framework, &it.inverse_offer_ids, false, it.filters.as_ref());
                }
            }
            CallType::ACKNOWLEDGE_OPERATION_STATUS => {
                call.acknowledge_operation_status
                    .iter()
                    .for_each(|it| self.acknowledge_operation(framework, it));
            }
            CallType::RECONCILE_OPERATIONS => {
                call.reconcile_operations.iter().for_each(|it| self.reconcile_operations(framework, it));
            }
            CallType::UPDATE_FRAMEWORK => {
                if let Some(it) = &call.update_framework {
                    return match self.update_framework(framework, it) {
                        Ok(()) => Answer::empty(200),
                        Err(why) => Answer::text(400, why),
                    };
                }
            }
            // Executors of the simulation do not listen, and the allocator ignores requests.
            CallType::MESSAGE | CallType::REQUEST | CallType::SUBSCRIBE | CallType::UNKNOWN => {}
        }
        Answer::empty(202)
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

fn read_call(request: &Request) -> Result<Call, Answer> {
    let Some(kind) = request.header("Content-Type") else {
        return Err(Answer::text(400, "Expecting 'Content-Type' to be present"));
    };
    let Some(codec) = Codec::from_media_type(kind) else {
        return Err(Answer::text(
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        ));
    };
    let body = match request.header("Content-Encoding") {
        Some("gzip") => {
            unzipped(&request.body).ok_or_else(|| Answer::text(400, "Failed to decompress the body"))?
        }
        _ => request.body.clone(),
    };
    codec.decode::<Call>(&body).map_err(|cause| match cause {
        DecodeError::Protobuf(_) => Answer::text(400, "Failed to parse body into Call protobuf"),
        DecodeError::Syntax(_) => syntax_error(&body),
        DecodeError::Json(error) => Answer::text(
            400,
            format!("Failed to convert JSON into Call protobuf: {}", in_their_words(&error.at, &error.what)),
        ),
    })
}

fn unzipped(body: &[u8]) -> Option<Bytes> {
    use std::io::Read as _;
    const MOST: u64 = 256 * 1024 * 1024;
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(body).take(MOST).read_to_end(&mut out).ok()?;
    Some(Bytes::from(out))
}

/// The master's parser says where it stopped: after the first byte that it took for the beginning of something.
fn syntax_error(body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body);
    let rest: String = text.chars().skip(1).take_while(|it| *it != '\n').collect();
    Answer::text(400, format!("Failed to parse body into JSON: syntax error at line 1 near: {rest}"))
}

/// Mesos's words for what our parser found.
fn in_their_words(at: &str, what: &str) -> String {
    let field = at.rsplit(['.', ']']).next().unwrap_or_default();
    if what.contains("Missing required") {
        return format!("Missing required fields: {at}");
    }
    if at.is_empty() && what.contains("an object") {
        return "Expecting a JSON object".to_owned();
    }
    if what.contains("base64") {
        // The first character that is none.
        let symbol =
            what.split("symbol ").nth(1).and_then(|it| it.split([',', ' ']).next()?.parse::<u8>().ok());
        let symbol = symbol.map(|it| char::from(it).to_string()).unwrap_or_default();
        return format!("Failed to base64 decode bytes field '{field}': Invalid character '{symbol}'");
    }
    if let Some(found) = what.split("found ").nth(1) {
        let kind = found.trim_start_matches("an ").trim_start_matches("a ").trim_start_matches("the ");
        return format!(
            "Not expecting a JSON {} for field '{field}'",
            kind.split(' ').next().unwrap_or_default()
        );
    }
    format!("{at}: {what}")
}

fn strange_principal(authenticated: Option<&str>, stated: Option<&str>) -> Option<String> {
    match (authenticated, stated) {
        (Some(real), Some(stated)) if real != stated => Some(format!(
            "Authenticated principal '{real}' does not match principal '{stated}' set in `FrameworkInfo`"
        )),
        _ => None,
    }
}

fn accepted(header: Option<&str>) -> Option<Codec> {
    let Some(header) = header else { return Some(Codec::Json) };
    for part in header.split(',') {
        match part.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" => return Some(Codec::Json),
            "application/x-protobuf" => return Some(Codec::Protobuf),
            _ => {}
        }
    }
    None
}

fn redirect(location: String) -> Answer {
    Answer { status: 307, headers: vec![("Location", location)], ..Answer::default() }
}

fn wrong_method(allowed: &str, method: &str) -> Answer {
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
