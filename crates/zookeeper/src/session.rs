//! One session, kept alive over as many connections as it takes.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, sleep_until, timeout};

use crate::wire::{ANSWER_MAX, Reader, Writer, code, xid};
use crate::{Error, Options, State};

/// Between two rounds over all servers.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Bytes read at once; larger answers come in several reads.
const READ: usize = 64 << 10;
/// What waits to be written before further requests are taken.
const UNSENT_MAX: usize = 4 << 20;

pub type Answer = Vec<u8>;

#[derive(Debug)]
pub struct Request {
    pub code: i32,
    pub body: Vec<u8>,
    /// The path, and whom to tell once it changes.
    pub watch: Option<(String, oneshot::Sender<()>)>,
    pub answer: oneshot::Sender<Result<Answer, Error>>,
}

/// What others may know of the session without asking it.
#[derive(Debug, Default)]
pub struct Lease(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    session: i64,
    timeout: Duration,
    until: Option<Instant>,
    trouble: String,
}

impl Lease {
    pub fn until(&self) -> Option<Instant> {
        self.known(|it| it.until)
    }

    pub fn session(&self) -> i64 {
        self.known(|it| it.session)
    }

    /// As the server granted it; zero before.
    pub fn timeout(&self) -> Duration {
        self.known(|it| it.timeout)
    }

    /// Why there is no connection, as far as it is known.
    pub fn trouble(&self) -> Option<String> {
        self.known(|it| (!it.trouble.is_empty()).then(|| it.trouble.clone()))
    }

    pub fn shown_trouble(&self) -> String {
        self.trouble().unwrap_or_else(|| "no answer yet".to_owned())
    }

    fn known<T>(&self, read: impl FnOnce(&mut Known) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why a connection came to its end.
enum End {
    Lost(Error),
    Over(State),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        match error {
            Error::Expired => End::Over(State::Expired),
            Error::AuthFailed => End::Over(State::AuthFailed),
            error => End::Lost(error),
        }
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> End {
        End::Lost(Error::Unreachable(error.to_string()))
    }
}

struct Session<'a> {
    options: &'a Options,
    lease: &'a Lease,
    state: &'a watch::Sender<State>,
    id: i64,
    password: Vec<u8>,
    /// Granted by the server; what was asked for, before.
    timeout: Duration,
    last_zxid: i64,
    xid: i32,
}

/// Sent, not answered.
struct Pending {
    xid: i32,
    code: i32,
    sent: Instant,
    watch: Option<(String, oneshot::Sender<()>)>,
    answer: Option<oneshot::Sender<Result<Answer, Error>>>,
}

pub async fn run(
    options: Options,
    mut inbox: mpsc::Receiver<Request>,
    state: watch::Sender<State>,
    lease: std::sync::Arc<Lease>,
) {
    let mut session = Session {
        options: &options,
        lease: &lease,
        state: &state,
        id: 0,
        password: vec![0; 16],
        timeout: options.session_timeout,
        last_zxid: 0,
        xid: 0,
    };
    let over = session.live(&mut inbox).await;
    lease.known(|it| it.until = None);
    state.send_replace(over);
    tracing::debug!(session = session.id, ?over, "a ZooKeeper session is over");
    inbox.close();
    while let Some(request) = inbox.recv().await {
        let _ = request.answer.send(Err(over.error()));
    }
}

impl Session<'_> {
    async fn live(&mut self, inbox: &mut mpsc::Receiver<Request>) -> State {
        let hosts = &self.options.url.hosts;
        // Clients spread over the servers, and each keeps to its own order.
        let first = random(hosts.len() as u64) as usize;
        let mut pause = PAUSE_MIN;
        for attempt in 0.. {
            let (host, port) = &hosts[(first + attempt) % hosts.len()];
            let expires = self.expires();
            let stream = tokio::select! {
                stream = self.open(host, *port) => stream,
                () = expires => return State::Expired,
                () = gone(inbox) => return State::Closed,
            };
            let end = match stream {
                Ok(stream) => {
                    pause = PAUSE_MIN;
                    tracing::debug!(host, port, session = self.id, "connected to ZooKeeper");
                    self.lease.known(|it| it.trouble.clear());
                    self.state.send_replace(State::Connected);
                    let end = self.serve(stream, inbox).await;
                    if !matches!(end, End::Over(_)) {
                        self.state.send_replace(State::Connecting);
                    }
                    end
                }
                Err(end) => end,
            };
            match end {
                End::Over(state) => return state,
                End::Lost(error) => {
                    tracing::debug!(host, port, %error, "no connection to ZooKeeper");
                    let why = match error {
                        // Whoever shows it says that much itself.
                        Error::Unreachable(why) => why,
                        error => error.to_string(),
                    };
                    self.lease.known(|it| it.trouble = format!("{host}:{port}: {why}"));
                }
            }
            if (attempt + 1) % hosts.len() == 0 {
                tokio::select! {
                    () = sleep(pause / 2 + pause.mul_f64(random(1000) as f64 / 2000.0)) => {}
                    () = self.expires() => return State::Expired,
                    () = gone(inbox) => return State::Closed,
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        State::Closed
    }

    /// When the session is certainly over, if it ever began: no server can have heard of us since the last
    /// answered request, and the servers may take a while longer than they promised.
    fn expires(&self) -> impl Future<Output = ()> + use<> {
        let until = self.lease.until();
        async move {
            match until {
                Some(until) => sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn open(&mut self, host: &str, port: u16) -> Result<TcpStream, End> {
        let hosts = self.options.url.hosts.len() as u32;
        let limit = self.options.connection_timeout.min((self.timeout * 2 / 3 / hosts).max(PAUSE_MAX));
        let late = || Error::Unreachable("no answer in time".to_owned());
        match timeout(limit, self.handshake(host, port)).await {
            Ok(result) => result,
            Err(_) => Err(late().into()),
        }
    }

    /// Connects, and begins the session or goes on with it.
    async fn handshake(&mut self, host: &str, port: u16) -> Result<TcpStream, End> {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let sent = Instant::now();
        let mut hello = Writer::default();
        let millis = i32::try_from(self.options.session_timeout.as_millis()).unwrap_or(i32::MAX);
        // The last field: a server without a quorum must not serve us old data, so it closes instead.
        hello.int(0).long(self.last_zxid).int(millis).long(self.id).buffer(&self.password).flag(false);
        stream.write_all(&framed(&hello.0)).await?;
        let length = stream.read_u32().await? as usize;
        if length > 1 << 10 {
            return Err(Error::Malformed("the answer to a greeting is too long").into());
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await?;
        let mut answer = Reader(&answer);
        let (_protocol, granted, id) = (answer.int()?, answer.int()?, answer.long()?);
        let password = answer.buffer()?.to_vec();
        if granted <= 0 || id == 0 || (self.id != 0 && self.id != id) {
            return Err(End::Over(State::Expired));
        }
        if answer.flag().unwrap_or(false) {
            return Err(Error::Unreachable("the server is read-only".to_owned()).into());
        }
        self.id = id;
        self.password = password;
        self.timeout = Duration::from_millis(u64::try_from(granted).unwrap_or(0));
        self.heard(sent);
        Ok(stream)
    }

    /// The servers heard of us no earlier than this.
    fn heard(&self, sent: Instant) {
        let until = sent + self.timeout;
        self.lease.known(|it| {
            it.session = self.id;
            it.timeout = self.timeout;
            it.until = it.until.max(Some(until));
        });
    }

    async fn serve(&mut self, mut stream: TcpStream, inbox: &mut mpsc::Receiver<Request>) -> End {
        let mut link = Link::default();
        if let Some(credentials) = &self.options.url.credentials {
            let mut auth = Writer::default();
            auth.int(xid::AUTH).int(code::AUTH).int(0).text("digest").text(credentials);
            link.send(&auth.0);
        }
        let end = match self.exchange(&mut stream, inbox, &mut link).await {
            Ok(state) => End::Over(state),
            Err(end) => end,
        };
        // What was sent may have happened. Watches are dropped, which ends them.
        for pending in link.pending.drain(..) {
            if let Some(answer) = pending.answer {
                let _ = answer.send(Err(Error::ConnectionLost));
            }
        }
        end
    }

    async fn exchange(
        &mut self,
        stream: &mut TcpStream,
        inbox: &mut mpsc::Receiver<Request>,
        link: &mut Link,
    ) -> Result<State, End> {
        let (mut reader, mut writer) = stream.split();
        let mut received = BytesMut::with_capacity(READ);
        let (mut last_sent, mut last_heard) = (Instant::now(), Instant::now());
        let mut closing = false;
        loop {
            let ping_at = last_sent + self.timeout / 4;
            let silent_at = last_heard + self.timeout * 2 / 3;
            let room = link.pending.len() < self.options.window && link.unsent.len() < UNSENT_MAX;
            received.reserve(READ);
            tokio::select! {
                read = reader.read_buf(&mut received) => {
                    if read? == 0 {
                        let closed = Error::Unreachable("the server closed the connection".to_owned());
                        return if closing { Ok(State::Closed) } else { Err(closed.into()) };
                    }
                    last_heard = Instant::now();
                    while let Some(answer) = frame(&mut received)? {
                        match self.hear(link, &answer)? {
                            Heard::Closed => return Ok(State::Closed),
                            Heard::Other => {}
                        }
                    }
                }
                written = writer.write_buf(&mut link.unsent), if link.unsent.has_remaining() => {
                    written?;
                    last_sent = Instant::now();
                }
                request = inbox.recv(), if room && !closing => match request {
                    Some(request) => {
                        closing = request.code == code::CLOSE;
                        self.ask(link, request);
                    }
                    // Nobody can ask any more.
                    None => {
                        closing = true;
                        link.ask(self.next_xid(), code::CLOSE, &[], None, None);
                    }
                },
                () = sleep_until(ping_at.into()), if link.pinged.is_none() && !closing => {
                    link.ping();
                }
                () = sleep_until(silent_at.into()) => {
                    return Err(Error::Unreachable("the server has fallen silent".to_owned()).into());
                }
            }
        }
    }

    fn next_xid(&mut self) -> i32 {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        self.xid
    }

    /// What nobody waits for any more was told to have failed, so it must not happen after all.
    fn ask(&mut self, link: &mut Link, request: Request) {
        if request.answer.is_closed() {
            return;
        }
        let xid = self.next_xid();
        link.ask(xid, request.code, &request.body, request.watch, Some(request.answer));
    }

    fn hear(&mut self, link: &mut Link, answer: &[u8]) -> Result<Heard, End> {
        let mut body = Reader(answer);
        let (number, zxid, error) = (body.int()?, body.long()?, body.int()?);
        self.last_zxid = self.last_zxid.max(zxid);
        match number {
            xid::EVENT => {
                let (_kind, _state, path) = (body.int()?, body.int()?, body.text()?);
                link.fire(&path);
                return Ok(Heard::Other);
            }
            xid::AUTH if error == 0 => return Ok(Heard::Other),
            xid::AUTH => return Err(Error::AuthFailed.into()),
            // Pings are answered out of turn.
            xid::PING => {
                if let Some(sent) = link.pinged.take() {
                    self.heard(sent);
                }
                return Ok(Heard::Other);
            }
            _ => {}
        }
        let Some(pending) = link.pending.pop_front().filter(|it| it.xid == number) else {
            return Err(Error::Malformed("an answer belongs to no request").into());
        };
        self.heard(pending.sent);
        if pending.code == code::CLOSE {
            return Ok(Heard::Closed);
        }
        let watched = error == 0 || (pending.code == code::EXISTS && Error::of_code(error) == Error::NoNode);
        if let Some((path, fire)) = pending.watch.filter(|_| watched) {
            link.watch(path, fire);
        }
        let result = if error == 0 { Ok(body.0.to_vec()) } else { Err(Error::of_code(error)) };
        let expired = matches!(result, Err(Error::Expired));
        if let Some(answer) = pending.answer {
            let _ = answer.send(result);
        }
        if expired { Err(Error::Expired.into()) } else { Ok(Heard::Other) }
    }
}

enum Heard {
    Closed,
    Other,
}

/// What belongs to one connection.
#[derive(Default)]
struct Link {
    unsent: BytesMut,
    /// When the ping that is on its way was sent.
    pinged: Option<Instant>,
    pending: VecDeque<Pending>,
    watches: HashMap<String, Vec<oneshot::Sender<()>>>,
}

impl Link {
    fn send(&mut self, packet: &[u8]) {
        self.unsent.extend_from_slice(&framed(packet));
    }

    fn ping(&mut self) {
        let mut packet = Writer::default();
        packet.int(xid::PING).int(code::PING);
        self.send(&packet.0);
        self.pinged = Some(Instant::now());
    }

    fn ask(
        &mut self,
        xid: i32,
        code: i32,
        body: &[u8],
        watch: Option<(String, oneshot::Sender<()>)>,
        answer: Option<oneshot::Sender<Result<Answer, Error>>>,
    ) {
        let mut packet = Writer::default();
        packet.int(xid).int(code);
        packet.0.extend_from_slice(body);
        self.send(&packet.0);
        self.pending.push_back(Pending { xid, code, sent: Instant::now(), watch, answer });
    }

    fn watch(&mut self, path: String, fire: oneshot::Sender<()>) {
        let watches = self.watches.entry(path).or_default();
        watches.retain(|it| !it.is_closed());
        watches.push(fire);
    }

    /// Several kinds of watches may wait at a path, and one kind fires: waking the others costs them a look.
    fn fire(&mut self, path: &str) {
        for watch in self.watches.remove(path).unwrap_or_default() {
            let _ = watch.send(());
        }
    }
}

/// The next whole packet, without its length.
fn frame(received: &mut BytesMut) -> Result<Option<BytesMut>, Error> {
    let Some(length) = received.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > ANSWER_MAX {
        return Err(Error::Malformed("an answer is too long"));
    }
    if received.len() - 4 < length {
        return Ok(None);
    }
    received.advance(4);
    Ok(Some(received.split_to(length)))
}

fn framed(packet: &[u8]) -> Vec<u8> {
    let mut framed = Writer(Vec::with_capacity(packet.len() + 4));
    framed.buffer(packet);
    framed.0
}

/// All clients were dropped while there is no connection to say so on; the session then runs out.
async fn gone(inbox: &mpsc::Receiver<Request>) {
    while !(inbox.is_closed() || inbox.sender_strong_count() == 0) {
        sleep(PAUSE_MAX).await;
    }
}

/// Below `limit`; good enough to spread clients, and no library for it.
fn random(limit: u64) -> u64 {
    RandomState::new().hash_one(Instant::now()) % limit.max(1)
}
