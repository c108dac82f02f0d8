//! A scheduler that takes everything: it fills each offer with tasks and acknowledges what it hears.
//!
//! It decides and stores nothing, so its rate is the ceiling of the simulation: no real scheduler can be faster
//! against it. Calls are written one behind the other without waiting for the answers.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use marathon_mesos_v1::record::Decoder;
use marathon_mesos_v1::{
    AgentId, Call, CallAccept, CallAcknowledge, CallSubscribe, CallType, CommandInfo, Event, EventType,
    Filters, FrameworkId, FrameworkInfo, FrameworkInfoCapability, FrameworkInfoCapabilityType as Capability,
    Message, Offer, OfferOperation, OfferOperationLaunch, OfferOperationType, Resource,
    ResourceAllocationInfo, TaskId, TaskInfo, TaskState, TaskStatus, ValueScalar, ValueType,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

const ROLE: &str = "null";
const CPUS: f64 = 0.01;
const MEM: f64 = 16.0;

/// What it did.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub launched: u64,
    pub running: u64,
    pub seconds: f64,
    /// Launches a second in the first and in the last tenth.
    pub first: f64,
    pub last: f64,
}

struct Null {
    host: String,
    framework: Option<FrameworkId>,
    stream: String,
    calls: OwnedWriteHalf,
    out: Vec<u8>,
    wanted: u64,
    launched: u64,
    running: u64,
    began: Instant,
    marks: Vec<f64>,
}

/// Launches so many tasks, at most `per_offer` on one offer, and returns when all of them run.
pub async fn run(host: &str, wanted: u64, per_offer: u64, limit: Duration) -> Result<Outcome, String> {
    let text = |it: std::io::Error| it.to_string();
    let mut events = TcpStream::connect(host).await.map_err(text)?;
    let subscribe = Call {
        r#type: Some(CallType::SUBSCRIBE as i32),
        subscribe: Some(CallSubscribe { framework_info: info(), ..CallSubscribe::default() }),
        ..Call::default()
    };
    let mut request = Vec::new();
    write_call(&mut request, host, "", &subscribe);
    events.write_all(&request).await.map_err(text)?;
    let mut body = Chunks::default();
    let stream = body.head(&mut events).await?;
    let (mut answers, calls) = TcpStream::connect(host).await.map_err(text)?.into_split();
    // Answers are only swallowed; an error shows as tasks that never run.
    tokio::spawn(async move {
        let mut rest = [0; 65536];
        while answers.read(&mut rest).await.is_ok_and(|it| it > 0) {}
    });
    let mut null = Null {
        host: host.to_owned(),
        framework: None,
        stream,
        calls,
        out: Vec::new(),
        wanted,
        launched: 0,
        running: 0,
        began: Instant::now(),
        marks: Vec::new(),
    };
    let mut decoder = Decoder::new(1 << 30);
    while null.running < wanted {
        let Ok(piece) = tokio::time::timeout(limit, body.next(&mut events)).await else {
            return Err(format!("{} of {wanted} tasks run, and nothing more comes", null.running));
        };
        decoder.feed(&piece?);
        while let Some(record) = decoder.next_record().map_err(|cause| cause.to_string())? {
            null.event(&Event::decode(record).map_err(|cause| cause.to_string())?, per_offer);
        }
        null.flush().await?;
    }
    Ok(null.outcome())
}

impl Null {
    fn event(&mut self, event: &Event, per_offer: u64) {
        match event.r#type.and_then(|it| EventType::try_from(it).ok()) {
            Some(EventType::SUBSCRIBED) => {
                self.framework = event.subscribed.as_ref().map(|it| it.framework_id.clone());
                self.began = Instant::now();
            }
            Some(EventType::OFFERS) => {
                for offer in event.offers.iter().flat_map(|it| &it.offers) {
                    self.offer(offer, per_offer);
                }
            }
            Some(EventType::UPDATE) => {
                if let Some(it) = &event.update {
                    self.update(&it.status);
                }
            }
            _ => {}
        }
    }

    fn offer(&mut self, offer: &Offer, per_offer: u64) {
        let has = |name: &str| -> f64 {
            offer
                .resources
                .iter()
                .filter(|it| it.name == name)
                .filter_map(|it| it.scalar.as_ref())
                .map(|it| it.value)
                .sum()
        };
        let fits = (has("cpus") / CPUS).min(has("mem") / MEM) as u64;
        let count = fits.min(per_offer).min(self.wanted - self.launched);
        let tasks: Vec<TaskInfo> = (0..count).map(|at| task(self.launched + at, &offer.agent_id)).collect();
        self.launched += count;
        let launch = OfferOperation {
            r#type: Some(OfferOperationType::LAUNCH as i32),
            launch: Some(OfferOperationLaunch { task_infos: tasks }),
            ..OfferOperation::default()
        };
        let accept = CallAccept {
            offer_ids: vec![offer.id.clone()],
            operations: if count == 0 { Vec::new() } else { vec![launch] },
            filters: Some(Filters {
                refuse_seconds: Some(if self.launched < self.wanted { 0.0 } else { 3600.0 }),
            }),
        };
        self.call(Call { r#type: Some(CallType::ACCEPT as i32), accept: Some(accept), ..Call::default() });
    }

    fn update(&mut self, status: &TaskStatus) {
        if status.state == TaskState::TASK_RUNNING as i32 {
            self.running += 1;
            if self.running.is_multiple_of((self.wanted / 10).max(1)) {
                self.marks.push(self.began.elapsed().as_secs_f64());
            }
        }
        let (Some(agent_id), Some(uuid)) = (status.agent_id.clone(), status.uuid.clone()) else { return };
        let acknowledge = CallAcknowledge { agent_id, task_id: status.task_id.clone(), uuid };
        self.call(Call {
            r#type: Some(CallType::ACKNOWLEDGE as i32),
            acknowledge: Some(acknowledge),
            ..Call::default()
        });
    }

    fn call(&mut self, call: Call) {
        let call = Call { framework_id: self.framework.clone(), ..call };
        write_call(&mut self.out, &self.host, &self.stream, &call);
    }

    async fn flush(&mut self) -> Result<(), String> {
        let out = std::mem::take(&mut self.out);
        self.calls.write_all(&out).await.map_err(|cause| cause.to_string())
    }

    fn outcome(&self) -> Outcome {
        let seconds = self.began.elapsed().as_secs_f64();
        let tenth = self.wanted as f64 / 10.0;
        let last = match self.marks.as_slice() {
            [.., before, end] => tenth / (end - before).max(1e-9),
            _ => 0.0,
        };
        Outcome {
            launched: self.launched,
            running: self.running,
            seconds,
            first: self.marks.first().map_or(0.0, |it| tenth / it.max(1e-9)),
            last,
        }
    }
}

fn info() -> FrameworkInfo {
    let kinds = [Capability::MULTI_ROLE, Capability::RESERVATION_REFINEMENT, Capability::PARTITION_AWARE];
    FrameworkInfo {
        user: "root".to_owned(),
        name: "null".to_owned(),
        roles: vec![ROLE.to_owned()],
        failover_timeout: Some(0.0),
        checkpoint: Some(true),
        capabilities: kinds
            .into_iter()
            .map(|it| FrameworkInfoCapability { r#type: Some(it as i32) })
            .collect(),
        ..FrameworkInfo::default()
    }
}

fn task(number: u64, agent: &AgentId) -> TaskInfo {
    let scalar = |name: &str, value: f64| Resource {
        name: name.to_owned(),
        r#type: ValueType::SCALAR as i32,
        scalar: Some(ValueScalar { value }),
        allocation_info: Some(ResourceAllocationInfo { role: Some(ROLE.to_owned()) }),
        ..Resource::default()
    };
    TaskInfo {
        name: "null".to_owned(),
        task_id: TaskId { value: format!("null.{number}") },
        agent_id: agent.clone(),
        resources: vec![scalar("cpus", CPUS), scalar("mem", MEM)],
        command: Some(CommandInfo { value: Some("./service".to_owned()), ..CommandInfo::default() }),
        ..TaskInfo::default()
    }
}

fn write_call(out: &mut Vec<u8>, host: &str, stream: &str, call: &Call) {
    let id = if stream.is_empty() { String::new() } else { format!("Mesos-Stream-Id: {stream}\r\n") };
    let head = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nAccept: application/x-protobuf\r\n{id}Content-Length: {}\r\n\r\n",
        call.encoded_len()
    );
    out.extend_from_slice(head.as_bytes());
    // A Vec grows as needed, so encoding into it cannot fail.
    let _ = call.encode(out);
}

/// A chunked body, read piece by piece.
#[derive(Default)]
struct Chunks {
    buffer: BytesMut,
    /// What is left of the chunk at hand, its line end included.
    left: usize,
}

impl Chunks {
    async fn more(&mut self, from: &mut TcpStream) -> Result<(), String> {
        match from.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the stream ended".to_owned()),
            Ok(_) => Ok(()),
            Err(cause) => Err(cause.to_string()),
        }
    }

    /// Reads the head of the answer and gives the stream's id.
    async fn head(&mut self, from: &mut TcpStream) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer.split_to(end + 4)).into_owned();
                let id = head.lines().find_map(|it| it.strip_prefix("Mesos-Stream-Id: "));
                return id.map(str::to_owned).ok_or_else(|| format!("not subscribed: {head}"));
            }
            self.more(from).await?;
        }
    }

    async fn next(&mut self, from: &mut TcpStream) -> Result<BytesMut, String> {
        loop {
            if self.left > 2 && !self.buffer.is_empty() {
                let piece = self.buffer.split_to((self.left - 2).min(self.buffer.len()));
                self.left -= piece.len();
                return Ok(piece);
            }
            if (1..=2).contains(&self.left) && self.left <= self.buffer.len() {
                let _ = self.buffer.split_to(self.left);
                self.left = 0;
                continue;
            }
            let line = self.buffer.windows(2).position(|it| it == b"\r\n").filter(|_| self.left == 0);
            if let Some(end) = line {
                let line = self.buffer.split_to(end + 2);
                let digits = std::str::from_utf8(&line[..end]).unwrap_or_default();
                let length = usize::from_str_radix(digits, 16).map_err(|_| format!("no chunk: {digits}"))?;
                if length == 0 {
                    return Err("the stream ended".to_owned());
                }
                self.left = length + 2;
                continue;
            }
            self.more(from).await?;
        }
    }
}
