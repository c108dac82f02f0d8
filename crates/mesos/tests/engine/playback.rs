//! A server that plays the master's side of a recorded event stream.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use marathon_mesos::{About, Framework, Masters, Mesos, MesosConfig};
use marathon_mesos_v1::transcript::{FOLDER, Line, What};
use marathon_mesos_v1::{Call, Codec, Event, record};
use marathon_model::id::FrameworkId;
use marathon_model::offer::{Call as CoreCall, EngineEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longer than any of this takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn recordings() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(FOLDER).expect("the recordings are part of the checkout") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            all.push((name, fs::read_to_string(&path).expect("UTF-8")));
        }
    }
    all.sort();
    all
}

pub fn recording(name: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{name}.jsonl")).expect("a recording")
}

/// One event stream.
pub struct Stream {
    pub codec: Codec,
    pub id: String,
    /// Payload, and the sizes of the chunks in which it came.
    frames: Vec<(Vec<u8>, Vec<usize>)>,
}

impl Stream {
    pub fn events(&self) -> Vec<Event> {
        self.frames.iter().map(|(data, _)| self.codec.decode(data).expect("a recorded event")).collect()
    }

    pub fn framework(&self) -> Option<String> {
        self.events().iter().find_map(|it| it.subscribed.as_ref().map(|it| it.framework_id.value.clone()))
    }

    pub fn call(&self, body: &[u8]) -> Call {
        self.codec.decode(body).expect("a call of ours")
    }

    /// The body as it went over the wire: chunks with the borders that the master set, where nothing in the recording
    /// was replaced. Tasks get names of the form that Marathon gives.
    fn wire(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut names = Names::default();
        for ((_, chunks), event) in self.frames.iter().zip(self.events()) {
            let payload = self.codec.encode(&names.give(event));
            let bytes = record::encode(&payload);
            let mut rest: &[u8] = &bytes;
            for size in chunks {
                let (now, later) = rest.split_at((*size).min(rest.len()));
                put_chunk(&mut out, now);
                rest = later;
            }
            put_chunk(&mut out, rest);
        }
        out
    }
}

fn put_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// Gives recorded tasks ids of our form.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn give(&mut self, mut event: Event) -> Event {
        if let Some(update) = &mut event.update {
            let next = self.0.len();
            let number = *self.0.entry(update.status.task_id.value.clone()).or_insert(next);
            update.status.task_id.value =
                format!("rec.instance-{}._app.1", uuid::Uuid::from_u128(number as u128));
        }
        event
    }
}

/// The event streams of a recording whose frames are calls of a scheduler.
pub fn streams(lines: &[Line]) -> Vec<Stream> {
    let mut all: Vec<Stream> = Vec::new();
    let mut asks: BTreeMap<&str, bool> = BTreeMap::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        let connection = line.connection.as_str();
        match &line.what {
            What::Request { line, .. } => {
                asks.insert(connection, line.contains("/api/v1/scheduler "));
                open.remove(connection);
            }
            What::Response { headers, streamed: true, .. } if asks.get(connection) == Some(&true) => {
                let Some(codec) = headers.get("content-type").and_then(Codec::from_media_type) else {
                    continue;
                };
                let id = headers.get("mesos-stream-id").unwrap_or_default().to_owned();
                open.insert(connection, all.len());
                all.push(Stream { codec, id, frames: Vec::new() });
            }
            What::Frame { data, chunks, .. } => {
                if let Some(at) = open.get(connection) {
                    all[*at].frames.push((data.clone(), chunks.clone()));
                }
            }
            _ => {}
        }
    }
    all.retain(|it| !it.frames.is_empty());
    all
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads one request; `None` at the end of the connection.
pub async fn request(from: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        if let Some(end) = buffer.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).expect("a head is text");
            let mut lines = head.split("\r\n");
            let line = lines.next().expect("a request line").to_owned();
            let header = |it: &str| it.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()));
            let headers: Vec<(String, String)> = lines.filter_map(header).collect();
            let length =
                headers.iter().find(|(it, _)| it == "Content-Length").map_or("0", |it| it.1.as_str());
            let (from_body, length) = (end + 4, length.parse::<usize>().expect("a length"));
            if buffer.len() >= from_body + length {
                let body = buffer[from_body..from_body + length].to_vec();
                buffer.drain(..from_body + length);
                return Some(Request { line, headers, body });
            }
        }
        let mut piece = [0; 4096];
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&piece[..read]),
        }
    }
}

pub fn config(address: SocketAddr, codec: Codec) -> MesosConfig {
    MesosConfig {
        masters: Masters::parse(&address.to_string()).expect("an address"),
        framework: Framework {
            name: "replay".to_owned(),
            user: "root".to_owned(),
            failover_timeout: Duration::from_secs(60),
            checkpoint: true,
            hostname: "localhost".to_owned(),
            webui_url: "http://localhost:8080".to_owned(),
            principal: None,
            task_killing: true,
            gpus: false,
        },
        id: None,
        roles: vec!["test".into()],
        suppress: true,
        login: None,
        https: false,
        ca_file: None,
        codec,
        heartbeat: PATIENCE,
        heartbeats_missed: 2,
        about: About::default(),
        filtering: None,
    }
}

/// What came of a stream.
pub struct Heard {
    pub events: Vec<EngineEvent>,
    pub subscribe: Request,
    pub calls: Vec<Request>,
}

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

struct Master {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    subscribes: mpsc::UnboundedReceiver<Request>,
}

/// Answers SUBSCRIBE with the stream, keeps it open, and takes every other call.
async fn master(stream: &Stream) -> Master {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (calls, requests) = mpsc::unbounded_channel();
    let (subscribed, subscribes) = mpsc::unbounded_channel();
    let head = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: {}\r\nContent-Type: {}\r\n\r\n",
        stream.id,
        stream.codec.media_type()
    );
    let body = stream.wire();
    let codec = stream.codec;
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let (calls, subscribed, head, body) =
                (calls.clone(), subscribed.clone(), head.clone(), body.clone());
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while let Some(it) = request(&mut io, &mut buffer).await {
                    let call: Call = codec.decode(&it.body).expect("a call of ours");
                    if call.subscribe.is_some() {
                        let _ = subscribed.send(it);
                        let _ = io.write_all(head.as_bytes()).await;
                        // Any borders will do, also those of the transport.
                        for piece in body.chunks(777) {
                            if io.write_all(piece).await.is_err() {
                                return;
                            }
                        }
                    } else {
                        let _ = calls.send(it);
                        let _ = io.write_all(ACCEPTED).await;
                    }
                }
            });
        }
    });
    Master { address, requests, subscribes }
}

/// Plays a stream until so many events were told; each update is acknowledged and each offer declined, as the core
/// would.
pub async fn play(stream: &Stream, wanted: usize) -> Heard {
    let mut master = master(stream).await;
    let (sender, mut told) = mpsc::channel(1024);
    let mut config = config(master.address, stream.codec);
    config.id = stream.framework().map(FrameworkId::new);
    let mesos = Mesos::connect(config, sender).expect("a client");
    mesos.begin();
    let mut events = Vec::new();
    while events.len() < wanted {
        let event = tokio::time::timeout(PATIENCE, told.recv()).await;
        let Ok(Some(event)) = event else { break };
        match &event {
            EngineEvent::Offers(all) => {
                let offers = all.iter().map(|it| it.id.clone()).collect();
                mesos.call(CoreCall::Decline { offers, hold: Duration::from_secs(120) });
            }
            EngineEvent::Status(it) => {
                if let (Some(update), Some(agent)) = (it.update, it.agent.clone()) {
                    mesos.call(CoreCall::Acknowledge { task: it.task.clone(), agent, update });
                }
            }
            _ => {}
        }
        events.push(event);
    }
    // Calls keep their order, so this one is the last.
    mesos.call(CoreCall::Reconcile(Vec::new()));
    let mut calls = Vec::new();
    loop {
        let call = tokio::select! {
            call = tokio::time::timeout(PATIENCE, master.requests.recv()) => call,
            // After an ERROR nothing is sent any more.
            _ = mesos.failed() => break,
        };
        let Ok(Some(call)) = call else { break };
        let is_last = stream.call(&call.body).reconcile.is_some_and(|it| it.tasks.is_empty());
        calls.push(call);
        if is_last {
            break;
        }
    }
    let subscribe = master.subscribes.recv().await.expect("it subscribed");
    mesos.stop().await;
    Heard { events, subscribe, calls }
}

/// Plays a stream that ends in an error, and tells how the client puts it.
pub async fn fate(stream: &Stream) -> String {
    let master = master(stream).await;
    let (sender, mut told) = mpsc::channel(1024);
    let mut config = config(master.address, stream.codec);
    config.id = Some(FrameworkId::new("removed-0000"));
    let mesos = Mesos::connect(config, sender).expect("a client");
    mesos.begin();
    tokio::spawn(async move { while told.recv().await.is_some() {} });
    tokio::time::timeout(PATIENCE, mesos.failed()).await.expect("an end").to_string()
}
