//! Sockets, the clock, real processes and ZooKeeper around the simulation.
//!
//! All of it runs on one thread: a request borrows the simulation, takes its step and hands the outputs to the
//! streams before anything else happens. A ticker does the same when something is due by time.
//!
//! A stream that its client does not read piles up here. At `PENDING_MAX` bytes it is cut, as if the
//! connection had broken.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};

use crate::body::{Piece, Pieces, Reply};
use crate::front::{Answer, Request};
use crate::processes::Processes;
use crate::sandbox;
use crate::sim::{Output, Sim};
use crate::state::{Conn, Seat};
use crate::time::Time;

const PENDING_MAX: usize = 512 * 1024 * 1024;
/// The headers that matter to a master.
const READ: [&str; 5] = ["content-type", "accept", "mesos-stream-id", "authorization", "content-encoding"];
const BODY_MAX: usize = 256 * 1024 * 1024;

struct Stream {
    pieces: mpsc::UnboundedSender<Piece>,
    pending: Rc<Cell<usize>>,
}

/// The simulation together with everything that is attached to it.
pub struct Shell {
    sim: RefCell<Sim>,
    streams: RefCell<HashMap<Conn, Stream>>,
    processes: RefCell<Processes>,
    gone: RefCell<Vec<Conn>>,
    changed: Notify,
    /// The id of each master's process, while there is one.
    ups: RefCell<Vec<watch::Sender<Option<String>>>>,
    next_conn: Cell<Conn>,
    /// When the ticker wakes by itself.
    alarm: Cell<Time>,
    began: (Time, Instant),
}

impl Shell {
    /// Takes the simulation over. Must be called within a `LocalSet`.
    pub fn new(sim: Sim) -> Rc<Shell> {
        let (processes, mut ended) = Processes::new();
        let ups = sim.seats.iter().map(|it| watch::channel(process(it)).0).collect();
        let began = (sim.now, Instant::now());
        let shell = Rc::new(Shell {
            sim: RefCell::new(sim),
            streams: RefCell::default(),
            processes: RefCell::new(processes),
            gone: RefCell::default(),
            changed: Notify::new(),
            ups: RefCell::new(ups),
            next_conn: Cell::new(1),
            alarm: Cell::new(Time(0)),
            began,
        });
        let this = shell.clone();
        tokio::task::spawn_local(async move { this.tick().await });
        let this = shell.clone();
        tokio::task::spawn_local(async move {
            while let Some((process, exit)) = ended.recv().await {
                this.processes.borrow_mut().ended(process);
                this.with(|sim| sim.exited(process, exit));
            }
        });
        shell
    }

    /// Wall time at the start of a program.
    pub fn wall() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(u64::try_from(since.as_nanos()).unwrap_or(0))
    }

    fn now(&self) -> Time {
        self.began.0.plus(self.began.1.elapsed())
    }

    /// One step: first what is due, then this, then everything that follows outside.
    pub fn with<T>(&self, act: impl FnOnce(&mut Sim) -> T) -> T {
        let result = self.step(act);
        self.route();
        result
    }

    fn step<T>(&self, act: impl FnOnce(&mut Sim) -> T) -> T {
        let mut sim = self.sim.borrow_mut();
        sim.run_until(self.now());
        let result = act(&mut sim);
        // The ticker sleeps until what it knows of; only something earlier must wake it.
        if sim.next_wakeup().is_some_and(|it| it < self.alarm.get()) {
            self.changed.notify_one();
        }
        result
    }

    async fn tick(&self) {
        loop {
            let due = self.sim.borrow().next_wakeup();
            self.alarm.set(due.unwrap_or(Time(u64::MAX)));
            let wait = due.map_or(Duration::from_secs(3600), |it| it.since(self.now()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {
                    // Many requests may have come at once; one look is enough for all.
                    tokio::task::yield_now().await;
                }
            }
            let gone = std::mem::take(&mut *self.gone.borrow_mut());
            let mut sim = self.sim.borrow_mut();
            for conn in gone {
                sim.disconnected(conn);
            }
            sim.run_until(self.now());
            drop(sim);
            self.route();
        }
    }

    /// Hands what the simulation wants done to those who do it.
    fn route(&self) {
        let outputs = {
            let mut sim = self.sim.borrow_mut();
            for (sender, seat) in self.ups.borrow().iter().zip(&sim.seats) {
                if sender.borrow().as_ref() != Some(&seat.id).filter(|_| seat.up) {
                    sender.send_replace(process(seat));
                }
            }
            sim.take_outputs()
        };
        for output in outputs {
            match output {
                Output::Frame { conn, bytes } => self.push(conn, bytes),
                Output::Close { conn, clean } => {
                    if let Some(stream) = self.streams.borrow_mut().remove(&conn) {
                        let _ = stream.pieces.send(if clean { Piece::End } else { Piece::Break });
                    }
                }
                Output::Start { process, job } => self.processes.borrow_mut().start(process, &job),
                Output::Signal { process, hard } => self.processes.borrow().signal(process, hard),
            }
        }
    }

    fn push(&self, conn: Conn, bytes: Bytes) {
        let mut streams = self.streams.borrow_mut();
        let Some(stream) = streams.get(&conn) else { return };
        let pending = stream.pending.get() + bytes.len();
        if PENDING_MAX < pending {
            let _ = stream.pieces.send(Piece::Break);
            streams.remove(&conn);
            self.gone.borrow_mut().push(conn);
            self.changed.notify_one();
            return;
        }
        stream.pending.set(pending);
        let _ = stream.pieces.send(Piece::Bytes(bytes));
    }

    /// The id of a master's process, none while it is dead, and when that changes.
    pub fn up(&self, seat: usize) -> watch::Receiver<Option<String>> {
        self.ups.borrow()[seat].subscribe()
    }

    /// The client of a stream has left.
    pub(crate) fn left(&self, conn: Conn) {
        self.streams.borrow_mut().remove(&conn);
        self.gone.borrow_mut().push(conn);
        self.changed.notify_one();
    }

    /// Serves one master at this address, while it is up.
    pub async fn serve_master(self: Rc<Shell>, seat: usize, first: TcpListener) {
        let Ok(address) = first.local_addr() else { return };
        let mut up = self.ups.borrow()[seat].subscribe();
        let mut listener = Some(first);
        loop {
            if up.borrow_and_update().is_none() {
                // A dead process refuses connections.
                listener = None;
                if up.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if listener.is_none() {
                listener = TcpListener::bind(address).await.ok();
            }
            let Some(open) = &listener else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            tokio::select! {
                accepted = open.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let shell = self.clone();
                        let dying = up.clone();
                        tokio::task::spawn_local(async move { shell.connection(stream, Some(seat), dying).await });
                    }
                }
                _ = up.changed() => {}
            }
        }
    }

    /// Serves all agents: which one is meant tells the address that the client connected to.
    pub async fn serve_agents(self: Rc<Shell>, listener: TcpListener) {
        let (_alive, dying) = watch::channel(Some(String::new()));
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let shell = self.clone();
                let dying = dying.clone();
                tokio::task::spawn_local(async move { shell.connection(stream, None, dying).await });
            }
        }
    }

    async fn connection(
        self: Rc<Shell>,
        stream: TcpStream,
        seat: Option<usize>,
        mut dying: watch::Receiver<Option<String>>,
    ) {
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok();
        let service = service_fn(move |request| {
            let shell = self.clone();
            async move { Ok::<_, Infallible>(shell.answer(request, seat, local).await) }
        });
        // A connection for calls may rest as long as it likes.
        let mut http = hyper::server::conn::http1::Builder::new();
        http.title_case_headers(true).pipeline_flush(true).header_read_timeout(None).timer(TokioTimer::new());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            _ = connection => {}
            () = async { while dying.changed().await.is_ok() && dying.borrow().is_some() {} } => {}
        }
    }

    async fn answer(
        self: Rc<Shell>,
        request: hyper::Request<Incoming>,
        seat: Option<usize>,
        local: Option<SocketAddr>,
    ) -> hyper::Response<Reply> {
        let (head, body) = request.into_parts();
        let Ok(body) = http_body_util::Limited::new(body, BODY_MAX).collect().await else {
            return Reply::response(Answer::text(400, "The body could not be read"), None);
        };
        let headers = READ.iter().filter_map(|name| {
            let value = head.headers.get(*name)?;
            Some(((*name).to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        });
        let conn = self.next_conn.get();
        self.next_conn.set(conn + 1);
        let request = Request {
            seat: seat.unwrap_or(0),
            method: head.method.to_string(),
            target: head.uri.path_and_query().map_or_else(|| "/".to_owned(), |it| it.as_str().to_owned()),
            headers: headers.collect(),
            body: body.to_bytes(),
            conn,
        };
        match seat {
            Some(_) => self.master_answer(&request),
            None => Reply::response(self.agent_answer(request, local), None),
        }
    }

    fn master_answer(self: &Rc<Shell>, request: &Request) -> hyper::Response<Reply> {
        let conn = request.conn;
        let (answer, slow) = self.step(|sim| (sim.handle(request), sim.faults.slow_stream));
        if !answer.streamed {
            self.route();
            return Reply::response(answer, None);
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let pending = Rc::new(Cell::new(0));
        // Before the outputs of the step are routed: they are the beginning of this stream.
        self.streams.borrow_mut().insert(conn, Stream { pieces: sender, pending: pending.clone() });
        self.route();
        Reply::response(answer, Some(Pieces::new(self.clone(), conn, receiver, pending, slow)))
    }

    fn agent_answer(&self, mut request: Request, local: Option<SocketAddr>) -> Answer {
        let prefixed = request.target.strip_prefix("/agents/").and_then(|it| it.split_once('/'));
        let by_path = prefixed.map(|(id, rest)| (id.to_owned(), format!("/{rest}")));
        self.with(|sim| {
            let agent = match &by_path {
                Some((id, _)) => crate::agents::named(sim, id),
                None => match local.map(|it| it.ip()) {
                    Some(IpAddr::V4(ip)) => sim.agents.iter().rposition(|it| it.ip == ip.octets()),
                    _ => None,
                },
            };
            if let Some((_, rest)) = by_path {
                request.target = rest;
            }
            let Some(agent) = agent.filter(|at| sim.agents[*at].process_up && !sim.agents[*at].partitioned)
            else {
                return crate::front::not_found();
            };
            sandbox::serve(sim, agent, &request).unwrap_or_else(|| sim.handle_agent(agent, &request))
        })
    }
}

fn process(seat: &Seat) -> Option<String> {
    seat.up.then(|| seat.id.clone())
}
