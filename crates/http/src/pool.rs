//! Connections to the leader, kept for the next request.
//!
//! ```text
//! request ─► an idle line, or a new one ─► head of the answer ─► its body ─► back, once the line idles again
//!                └────────── driven by the task of the request, all the way ──────────┘
//! ```
//! Nobody else drives them, so an idle line notices its end when it is used next: before it has taken the request,
//! which is then sent on another. docs/decisions/0016-connections-to-the-leader.md says why this is ours.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Shorter than the leader's own patience, so that it is rarely the leader who ends one.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// A leader whose machine is gone is noticed by this on streams, where silence is no sign: 15 s of silence, then
/// three questions, 15 s apart.
const KEEPALIVE_SECONDS: u32 = 15;
const KEEPALIVE_QUESTIONS: u32 = 3;

pub(crate) type Sent = Either<Full<Bytes>, Incoming>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The leader has not got the request.
    Unreached(io::Error),
    /// It may have got it.
    Lost(Box<dyn std::error::Error + Send + Sync>),
    /// It says nothing, for longer than the limit.
    Silent,
}

/// One connection.
pub(crate) struct Line {
    leader: Arc<str>,
    sender: SendRequest<Sent>,
    /// Gone once it ended.
    driving: Option<Connection<TokioIo<TcpStream>, Sent>>,
}

pub(crate) struct Pool {
    idle: Mutex<Idle>,
    idle_max: usize,
    /// To reach the leader.
    connect: Duration,
}

/// All to the same leader.
#[derive(Default)]
struct Idle {
    /// Newest last.
    lines: Vec<(Box<Line>, Instant)>,
}

impl Pool {
    pub fn new(connect: Duration, idle_max: usize) -> Pool {
        Pool { idle: Mutex::default(), idle_max, connect }
    }

    /// The head of the answer, and the line on which its body comes. What `again` gives is sent if a line that was
    /// kept breaks; nothing, if it must not be sent twice.
    pub async fn send(
        &self,
        leader: &Arc<str>,
        mut request: Request<Sent>,
        again: impl FnOnce() -> Option<Request<Sent>>,
        limit: Duration,
    ) -> Result<(Response<Incoming>, Box<Line>), Fault> {
        while let Some(mut line) = self.take(leader) {
            let mut error = match timeout(limit, line.send(request)).await {
                Ok(Ok(response)) => return Ok((response, line)),
                Ok(Err(error)) => error,
                Err(_) => return Err(Fault::Silent),
            };
            request = match error.take_message() {
                // It has ended before it took the request.
                Some(unsent) => unsent,
                None => match again() {
                    Some(copy) => {
                        request = copy;
                        break;
                    }
                    None => return Err(Fault::Lost(error.into_error().into())),
                },
            };
        }
        let mut line = self.connect(leader).await.map_err(Fault::Unreached)?;
        match timeout(limit, line.send(request)).await {
            Ok(Ok(response)) => Ok((response, line)),
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(_) => Fault::Unreached(io::ErrorKind::ConnectionAborted.into()),
                None => Fault::Lost(error.into_error().into()),
            }),
            Err(_) => Err(Fault::Silent),
        }
    }

    /// Keeps a line for the next request, if it is fit for one.
    pub fn keep(&self, line: Box<Line>) {
        if self.idle_max == 0 || !line.is_idle() {
            return;
        }
        // They end when nobody waits for the lock.
        let _former = {
            let mut idle = self.lock();
            let former = idle.others_than(&line.leader);
            if idle.lines.len() < self.idle_max {
                idle.lines.push((line, Instant::now()));
            }
            former
        };
    }

    fn take(&self, leader: &Arc<str>) -> Option<Box<Line>> {
        let mut idle = self.lock();
        let former = idle.others_than(leader);
        let newest = idle.lines.pop();
        drop(idle);
        drop(former);
        let (line, since) = newest?;
        if since.elapsed() < IDLE_MAX {
            return Some(line);
        }
        // The others have idled for even longer.
        self.sweep();
        None
    }

    /// Ends what has idled for too long.
    pub fn sweep(&self) {
        let mut idle = self.lock();
        let young = idle.lines.iter().position(|(_, since)| since.elapsed() < IDLE_MAX);
        let old = match young {
            Some(young) => idle.lines.drain(..young).collect(),
            None => std::mem::take(&mut idle.lines),
        };
        drop(idle);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Whole at any time.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, leader: &Arc<str>) -> io::Result<Box<Line>> {
        let authority: Authority = leader.parse().map_err(|_| io::Error::other("no host:port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> =
            late(timeout(self.connect, tokio::net::lookup_host((host, authority.port_u16().unwrap_or(80)))))
                .await?
                .collect();
        let share = self.connect / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut cause = io::Error::other("it has no address");
        for address in addresses {
            match late(timeout(share, TcpStream::connect(address))).await {
                Ok(stream) => return Line::new(leader.clone(), stream).await,
                Err(error) => cause = error,
            }
        }
        Err(cause)
    }
}

async fn late<T>(
    waited: impl Future<Output = Result<io::Result<T>, tokio::time::error::Elapsed>>,
) -> io::Result<T> {
    waited.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Idle {
    /// Takes out the lines to others, who lead no longer.
    fn others_than(&mut self, leader: &Arc<str>) -> Vec<(Box<Line>, Instant)> {
        match self.lines.last() {
            Some((line, _)) if line.leader != *leader => std::mem::take(&mut self.lines),
            _ => Vec::new(),
        }
    }
}

impl Line {
    async fn new(leader: Arc<str>, stream: TcpStream) -> io::Result<Box<Line>> {
        // None of these is vital.
        let _ = stream.set_nodelay(true);
        let _ = setsockopt(&stream, sockopt::KeepAlive, &true);
        let _ = setsockopt(&stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS);
        let _ = setsockopt(&stream, sockopt::TcpKeepInterval, &KEEPALIVE_SECONDS);
        let _ = setsockopt(&stream, sockopt::TcpKeepCount, &KEEPALIVE_QUESTIONS);
        let (sender, driving) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Box::new(Line { leader, sender, driving: Some(driving) }))
    }

    async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Sent>>> {
        // Only driving the line makes an answer, and that comes right before the look at it. So no wake-up is needed
        // for it, and it must not wait for the turn in which tokio would let it be ready.
        let mut answer = pin!(tokio::task::unconstrained(self.sender.try_send_request(request)));
        std::future::poll_fn(|cx| {
            drive(&mut self.driving, cx);
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Moves what can be moved, in both directions. Whoever waits for something from this line must have called it
    /// last.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driving, cx);
    }

    /// Whether the answer has come to its end, the request as well, and neither has ended the line.
    pub fn is_idle(&self) -> bool {
        self.driving.is_some() && self.sender.is_ready()
    }
}

fn drive(driving: &mut Option<Connection<TokioIo<TcpStream>, Sent>>, cx: &mut Context<'_>) {
    if let Some(line) = driving
        && Pin::new(line).poll(cx).is_ready()
    {
        // How it ended is told to whoever waits for the answer or reads its body.
        *driving = None;
    }
}
