//! One subscription, from the connection to its end.
//!
//! ```text
//! connect ─► SUBSCRIBE ─► 200, the stream ─► SUBSCRIBED ─► ┬─ listen: pieces ─► records ─► events ─► core
//!               │                                          └─ speak: calls, pipelined on another connection
//!               └─ 307 elsewhere, 404 and 503 later, 4xx never
//! ```
//! Either half ends the other: a lost connection for calls may have lost some, and only a new subscription with its
//! reconciliation tells which.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::BytesMut;
use marathon_mesos_v1::{self as v1, Codec, record};
use marathon_model::id::{AgentId, TaskId};
use marathon_model::offer::{Call, EngineEvent, Reason, TaskState};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use v1::CallType;

use crate::address::Address;
use crate::calls::{Written, reconcile};
use crate::refusal::{said, turned_away};
use crate::wire::{Answers, Head, Io, dial, request};
use crate::{Engine, HEARTBEAT_TASK, framework, now, status};

const PATH: &str = "/api/v1/scheduler";
const CONNECT: Duration = Duration::from_secs(10);
/// A busy master may take its time, but a dead one must be noticed before the first heartbeat is due.
const ANSWER: Duration = Duration::from_secs(60);
/// So many calls are on their way at a time.
const WINDOW: usize = 256;

/// Why a subscription ended.
#[derive(Debug)]
pub(crate) enum End {
    Lost(String),
    /// Another master leads.
    Elsewhere(Option<Address>),
    /// There is another leader now, or none.
    Deposed,
    /// Subscribe again, with what has changed.
    Again(String),
    Fatal(Fatal),
    Stopped,
}

/// What cannot be helped by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error("Mesos has removed the framework {0}, and its tasks with it")]
    Removed(String),
    #[error("another process has subscribed with the id of this framework and taken it over")]
    TakenOver,
    #[error("the Mesos master refuses this framework: {0}")]
    Refused(String),
    #[error("the Mesos master is of version {0}; 1.5.0 is the oldest that will do")]
    TooOld(String),
}

/// What was sent, for when its answer comes.
#[derive(Debug)]
pub(crate) enum Sent {
    Plain(CallType),
    /// The framework as it is from now on, with these roles.
    Update(Vec<String>),
    Accept(Vec<(TaskId, AgentId)>),
}

impl Sent {
    fn name(&self) -> &'static str {
        match self {
            Sent::Plain(kind) => kind.as_str(),
            Sent::Update(_) => CallType::UPDATE_FRAMEWORK.as_str(),
            Sent::Accept(_) => CallType::ACCEPT.as_str(),
        }
    }
}

/// Calls that do not come from the core.
pub(crate) struct Calls(mpsc::UnboundedSender<v1::Call>);

impl Calls {
    pub fn send(&self, call: v1::Call) {
        // Nobody takes it only when the session ends.
        let _ = self.0.send(call);
    }
}

fn lost(doing: &str) -> impl Fn(io::Error) -> End + '_ {
    move |error| End::Lost(format!("{doing}: {error}"))
}

fn refused(error: record::RecordError) -> End {
    End::Lost(format!("the event stream cannot be read: {error}"))
}

/// A subscription that stands.
struct Stream {
    answers: Answers<Box<dyn Io>>,
    records: record::Decoder,
    codec: Codec,
    id: String,
}

struct Line {
    answers: Answers<ReadHalf<Box<dyn Io>>>,
    out: WriteHalf<Box<dyn Io>>,
    in_flight: VecDeque<(Sent, Instant)>,
    buffer: BytesMut,
    stream_id: String,
    host: String,
}

impl Engine {
    /// Runs one subscription to its end.
    pub(crate) async fn session(
        &mut self,
        address: &Address,
        inbox: &mut mpsc::UnboundedReceiver<Call>,
    ) -> End {
        match self.subscribe(address).await {
            Ok((stream, welcome)) => match self.connected(address, stream, welcome, inbox).await {
                Ok(never) => never,
                Err(end) => end,
            },
            Err(end) => end,
        }
    }

    async fn subscribe(&mut self, address: &Address) -> Result<(Stream, EngineEvent), End> {
        let mut io = dial(address, &self.tls, CONNECT).await.map_err(lost("cannot connect"))?;
        let (call, roles) = self.subscription();
        let codec = self.config.codec;
        let mut buffer = BytesMut::new();
        self.put(&mut buffer, &address.authority(), None, &call);
        io.write_all(&buffer).await.map_err(lost("cannot subscribe"))?;
        io.flush().await.map_err(lost("cannot subscribe"))?;

        let mut answers = Answers::new(io);
        let head = tokio::time::timeout(ANSWER, answers.head()).await;
        let head = head
            .map_err(|_| End::Lost("no answer to SUBSCRIBE".to_owned()))?
            .map_err(lost("no answer to SUBSCRIBE"))?;
        if head.status != 200 {
            let text = tokio::time::timeout(CONNECT, answers.text()).await.ok().and_then(Result::ok);
            return Err(self.unless_for_roles(turned_away(address, &head, &text.unwrap_or_default())));
        }
        let Some(stream_id) = head.get("mesos-stream-id").map(str::to_owned) else {
            return Err(End::Lost(
                "the answer to SUBSCRIBE names no stream; this is no Mesos master".to_owned(),
            ));
        };
        let codec = head.get("content-type").and_then(Codec::from_media_type).unwrap_or(codec);
        let mut stream = Stream { answers, records: record::Decoder::default(), codec, id: stream_id };
        loop {
            if let Some(record) = stream.records.next_record().map_err(refused)? {
                let event = codec.decode::<v1::Event>(&record);
                let event =
                    event.map_err(|error| End::Lost(format!("the first event cannot be read: {error}")))?;
                let welcome = self.welcome(event).map_err(|end| self.unless_for_roles(end))?;
                self.took(&roles);
                return Ok((stream, welcome));
            }
            let piece = tokio::time::timeout(ANSWER, stream.answers.piece()).await;
            let piece = piece.map_err(|_| End::Lost("no event follows SUBSCRIBE".to_owned()))?;
            match piece.map_err(lost("the event stream broke"))? {
                Some(piece) => stream.records.feed(&piece),
                None => return Err(End::Lost("the event stream ended at once".to_owned())),
            }
        }
    }

    /// The call that subscribes, and the roles it names.
    pub(crate) fn subscription(&self) -> (v1::Call, Vec<String>) {
        let id = self.config.id.as_ref().map(|it| it.to_string());
        let roles = &mut self.desk().roles;
        // It costs nothing to ask with what has to be asked anyway.
        if let Some(role) = roles.try_again(Instant::now()) {
            tracing::info!(role, "the master is asked again for a role that was refused");
        }
        let subscribe = v1::CallSubscribe {
            framework_info: framework::info(&self.config.framework, id.as_deref(), roles),
            suppressed_roles: roles.suppressed(),
            offer_constraints: None,
        };
        let call = v1::Call {
            framework_id: id.map(|value| v1::FrameworkId { value }),
            r#type: Some(CallType::SUBSCRIBE as i32),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        (call, roles.known())
    }

    async fn connected(
        &mut self,
        address: &Address,
        stream: Stream,
        welcome: EngineEvent,
        inbox: &mut mpsc::UnboundedReceiver<Call>,
    ) -> Result<End, End> {
        let io = dial(address, &self.tls, CONNECT).await.map_err(lost("cannot connect a second time"))?;
        let (from, out) = tokio::io::split(io);
        let line = Line {
            answers: Answers::new(from),
            out,
            in_flight: VecDeque::new(),
            buffer: BytesMut::new(),
            stream_id: stream.id.clone(),
            host: address.authority(),
        };
        // What the core asked of an earlier subscription is void.
        self.turn_down(inbox).await;
        self.tell(welcome).await?;
        self.is_subscribed = true;
        let (sender, more) = mpsc::unbounded_channel();
        let calls = Calls(sender);
        let mut changed = self.watcher.take();
        let end = {
            let deposed = async {
                match &mut changed {
                    Some(watcher) => watcher.changed().await,
                    None => std::future::pending().await,
                }
            };
            let this = &*self;
            tokio::select! {
                end = this.listen(stream, &calls) => end,
                end = this.speak(line, inbox, more) => end,
                () = deposed => Ok(End::Deposed),
            }
        };
        self.watcher = changed;
        end
    }

    pub(crate) async fn tell(&self, event: EngineEvent) -> Result<(), End> {
        self.events.send(event).await.map_err(|_| End::Stopped)
    }

    /// Reads events until the stream ends.
    async fn listen(&self, mut stream: Stream, calls: &Calls) -> Result<End, End> {
        let mut misses = 0;
        loop {
            while let Some(record) = stream.records.next_record().map_err(refused)? {
                match stream.codec.decode::<v1::Event>(&record) {
                    Ok(event) => {
                        if let Some(event) = self.told(event, calls)? {
                            self.tell(event).await?;
                        }
                    }
                    // Updates come again; what else is lost is found by reconciliation.
                    Err(error) => tracing::error!(bytes = record.len(), "an event cannot be read: {error}"),
                }
            }
            let piece = tokio::time::timeout(self.config.heartbeat, stream.answers.piece()).await;
            match piece {
                Ok(piece) => match piece.map_err(lost("the event stream broke"))? {
                    Some(piece) => stream.records.feed(&piece),
                    None => return Ok(End::Lost("the master ended the event stream".to_owned())),
                },
                Err(_) => {
                    misses += 1;
                    if misses >= self.config.heartbeats_missed {
                        let silence = self.config.heartbeat * misses;
                        return Ok(End::Lost(format!("the master has been silent for {silence:?}")));
                    }
                    calls.send(provoke());
                    continue;
                }
            }
            misses = 0;
        }
    }

    /// Sends calls in their order and takes the answers.
    async fn speak(
        &self,
        mut line: Line,
        inbox: &mut mpsc::UnboundedReceiver<Call>,
        mut more: mpsc::UnboundedReceiver<v1::Call>,
    ) -> Result<End, End> {
        let far = || Instant::now() + Duration::from_secs(3600);
        let mut stopping = false;
        loop {
            if stopping && line.in_flight.is_empty() {
                return Ok(End::Stopped);
            }
            let overdue = line.in_flight.front().map(|(_, since)| *since + ANSWER);
            let (repeat, look, role) = {
                let desk = self.desk();
                let look = desk.filter.next().filter(|_| self.config.filtering.is_some());
                (desk.repeat_at(), look, desk.roles.due())
            };
            let room = line.in_flight.len() < WINDOW;
            tokio::select! {
                answer = line.answers.answer(), if !line.in_flight.is_empty() => {
                    let (head, text) = answer.map_err(lost("the connection for calls broke"))?;
                    if let Some((sent, _)) = line.in_flight.pop_front() {
                        let next = self.answered(sent, &head, &text).await?;
                        if !next.is_empty() {
                            self.send(&mut line, next).await?;
                        }
                    }
                }
                call = inbox.recv(), if room && !stopping => match call {
                    Some(call) => {
                        let (mut out, mut told) = (Vec::new(), Vec::new());
                        self.write(call, &mut out, &mut told);
                        while line.in_flight.len() + out.len() < WINDOW && let Ok(call) = inbox.try_recv() {
                            self.write(call, &mut out, &mut told);
                        }
                        self.send(&mut line, out).await?;
                        for event in told {
                            self.tell(event).await?;
                        }
                    }
                    None => stopping = true,
                },
                Some(call) = more.recv(), if room => {
                    let kind = call.r#type.and_then(|it| CallType::try_from(it).ok()).unwrap_or(CallType::UNKNOWN);
                    self.send(&mut line, vec![Written { call, sent: Sent::Plain(kind) }]).await?;
                }
                () = sleep_until(repeat.unwrap_or_else(far).into()), if room => {
                    let mut out = Vec::new();
                    let tasks = self.desk().repeat(Instant::now());
                    if !tasks.is_empty() {
                        tracing::info!(tasks = tasks.len(), "asking again for tasks that the master has not spoken of");
                        reconcile(&tasks, &mut out);
                    }
                    self.send(&mut line, out).await?;
                }
                () = sleep_until(look.unwrap_or_else(far).into()), if room && look.is_some() && !stopping => {
                    let out = self.filtered().into_iter().collect();
                    self.send(&mut line, out).await?;
                }
                () = sleep_until(role.map_or_else(far, |it| it.at).into()), if room && role.is_some() && !stopping => {
                    if role.is_some_and(|it| it.subscribe) {
                        return Ok(End::Again("roles that were refused together are asked for one by one".to_owned()));
                    }
                    let role = self.desk().roles.try_again(Instant::now());
                    if let Some(role) = role {
                        tracing::info!(role, "the master is asked again for a role that it refused");
                        self.send(&mut line, vec![self.update_framework()]).await?;
                    }
                }
                () = sleep_until(overdue.unwrap_or_else(far).into()), if overdue.is_some() => {
                    return Ok(End::Lost(format!("the master has not answered a call for {ANSWER:?}")));
                }
            }
        }
    }

    async fn send(&self, line: &mut Line, out: Vec<Written>) -> Result<(), End> {
        let since = Instant::now();
        for Written { mut call, sent } in out {
            call.framework_id = self.config.id.as_ref().map(|it| v1::FrameworkId { value: it.to_string() });
            self.put(&mut line.buffer, &line.host, Some(&line.stream_id), &call);
            line.in_flight.push_back((sent, since));
        }
        let written = async {
            line.out.write_all(&line.buffer).await?;
            line.out.flush().await
        };
        let written = tokio::time::timeout(ANSWER, written).await;
        line.buffer.clear();
        written
            .map_err(|_| End::Lost("the master takes no calls".to_owned()))?
            .map_err(lost("a call cannot be sent"))
    }

    fn put(&self, buffer: &mut BytesMut, host: &str, stream: Option<&str>, call: &v1::Call) {
        let codec = self.config.codec;
        let kind = codec.media_type();
        let mut headers =
            vec![("Host", host), ("Content-Type", kind), ("Accept", kind), ("User-Agent", "marathon")];
        headers.extend(stream.map(|it| ("Mesos-Stream-Id", it)));
        headers.extend(self.authorization.as_deref().map(|it| ("Authorization", it)));
        request(buffer, PATH, &headers, &codec.encode(call));
    }

    /// Returns the calls that follow from an answer.
    async fn answered(&self, sent: Sent, head: &Head, text: &str) -> Result<Vec<Written>, End> {
        if matches!(head.status, 200 | 202) {
            if let Sent::Update(roles) = sent {
                self.took(&roles);
            }
            return Ok(Vec::new());
        }
        if let Sent::Update(named) = &sent {
            let next = self.without_roles(named, head.status, text);
            if !next.is_empty() {
                return Ok(next);
            }
        }
        match (head.status, &sent) {
            // A master older than 1.9 does not know the call, and others refuse it with another user than the
            // framework once had; a new subscription says the same, and what of it is not taken is told apart there.
            (400 | 403 | 501, Sent::Update(_)) => {
                if self.desk().filter.give_up() {
                    tracing::warn!(
                        "the master does not filter offers for us (--mesos_offer_constraints): {text}"
                    );
                }
                return Err(End::Again(format!(
                    "the master does not take new roles while it is subscribed to: {text}"
                )));
            }
            (307 | 403 | 404 | 503, _) => {
                return Err(End::Lost(format!("the master answers a call with {}", said(head, text))));
            }
            (400, _)
                if text.contains("Mesos-Stream-Id")
                    || text.contains("stream ID")
                    || text.contains("cannot be found") =>
            {
                return Err(End::Lost(format!("the subscription is over: {text}")));
            }
            (401, _) => return Err(End::Fatal(Fatal::Refused(said(head, text)))),
            _ => {}
        }
        tracing::error!(status = head.status, call = sent.name(), "the master refuses a call: {text}");
        if let Sent::Accept(tasks) = sent {
            for (task, agent) in tasks {
                let why = format!("the master refuses the launch: {text}");
                let status = status::never_sent(task, agent, TaskState::Error, Reason::Other, why, now());
                self.tell(EngineEvent::Status(status)).await?;
            }
        }
        Ok(Vec::new())
    }

    /// Calls for which there is no subscription.
    pub(crate) async fn turn_down(&self, inbox: &mut mpsc::UnboundedReceiver<Call>) {
        let mut told = Vec::new();
        while let Ok(call) = inbox.try_recv() {
            self.undeliverable(call, &mut told);
        }
        for event in told {
            let _ = self.tell(event).await;
        }
    }
}

/// A question that even an idle master answers: for a task that nobody has.
fn provoke() -> v1::Call {
    let task_id = v1::TaskId { value: HEARTBEAT_TASK.to_owned() };
    let agent_id = Some(v1::AgentId { value: HEARTBEAT_TASK.to_owned() });
    v1::Call {
        r#type: Some(CallType::RECONCILE as i32),
        reconcile: Some(v1::CallReconcile { tasks: vec![v1::CallReconcileTask { task_id, agent_id }] }),
        ..Default::default()
    }
}

/// `Authorization` for a principal and its secret.
pub(crate) fn basic(principal: &str, secret: &[u8]) -> String {
    let mut both = principal.as_bytes().to_vec();
    both.push(b':');
    both.extend_from_slice(secret);
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
}
