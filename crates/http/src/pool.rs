//! Connections to the leader, kept for the next request.
//!
//! ```text
//! request ─► an idle line, or a new one ─► head of the answer ─► its body ─► back, once the line idles again
//!                └────────── driven by the task of the request, all the way ──────────┘
//! ```
//! Nobody else drives them, so an idle line notices its end when it is used next: before it has taken the request,
//! which is then sent on another. docs/decisions/0016-connections-to-the-leader.md says why this is ours.

#![expect(
    clippy::vec_box,
    reason = "a line is large and moves from the pool to its request, its answer and back"
)]

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout};

use crate::proxy::Limits;

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
    /// By whom it is woken, always the same for the line; it wakes whoever drives it at the moment.
    waker: Waker,
    driver: Arc<Driver>,
    pub silence: Silence,
}

#[derive(Default)]
struct Driver(AtomicWaker);

thread_local! {
    /// What this thread does right now would tell a line what its driver knows.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !QUIET.get() {
            self.0.wake();
        }
    }
}

/// Does what would only tell lines that they are to be driven. Each such turn costs as much as a third of a request.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    struct Quiet;
    impl Drop for Quiet {
        fn drop(&mut self) {
            QUIET.set(false);
        }
    }
    QUIET.set(true);
    let _quiet = Quiet;
    work()
}

/// How long nothing was heard. The timer is set anew only when it ends too early, as nearly no silence is long.
pub(crate) struct Silence {
    limit: Duration,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(limit: Duration) -> Silence {
        Silence { limit, since: Instant::now(), timer: Box::pin(tokio::time::sleep(limit)) }
    }

    pub fn ends(&mut self) {
        self.since = Instant::now();
    }

    /// Ready when it has lasted for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.limit <= self.since.elapsed() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.since + self.limit);
        }
    }
}

pub(crate) struct Pool {
    idle: Mutex<Vec<Box<Line>>>,
    limits: Limits,
}

impl Pool {
    pub fn new(limits: Limits) -> Pool {
        Pool { idle: Mutex::default(), limits }
    }

    /// The head of the answer, and the line on which its body comes. What `again` gives is sent if a line that was
    /// kept breaks; nothing, if it must not be sent twice.
    pub async fn send(
        &self,
        leader: &Arc<str>,
        mut request: Request<Sent>,
        again: impl FnOnce() -> Option<Request<Sent>>,
    ) -> Result<(Response<Incoming>, Box<Line>), Fault> {
        let mut again = Some(again);
        loop {
            // After one that broke only a new one will do.
            let kept = if again.is_some() { self.take(leader) } else { None };
            let was_kept = kept.is_some();
            let mut line = match kept {
                Some(line) => line,
                None => Box::pin(self.connect(leader)).await.map_err(Fault::Unreached)?,
            };
            let mut error = match line.send(request).await {
                Some(Ok(response)) => return Ok((response, line)),
                Some(Err(error)) => error,
                None => return Err(Fault::Silent),
            };
            request = match error.take_message() {
                // It has ended before it took the request.
                Some(unsent) if was_kept => unsent,
                Some(_) => return Err(Fault::Unreached(io::ErrorKind::ConnectionAborted.into())),
                None => {
                    let again = if was_kept { again.take() } else { None };
                    match again.and_then(|it| it()) {
                        Some(copy) => copy,
                        None => return Err(Fault::Lost(error.into_error().into())),
                    }
                }
            };
        }
    }

    /// Keeps a line for the next request, if it is fit for one.
    pub fn keep(&self, line: Box<Line>) {
        if !line.is_idle() {
            return;
        }
        drop(line.driver.0.take());
        let mut idle = self.lock();
        let former = others_than(&mut idle, &line.leader);
        if idle.len() < self.limits.at_once {
            idle.push(line);
        }
        // They end when nobody waits for the lock.
        drop(idle);
        drop(former);
    }

    fn take(&self, leader: &Arc<str>) -> Option<Box<Line>> {
        let mut idle = self.lock();
        let former = others_than(&mut idle, leader);
        let newest = idle.pop();
        drop(idle);
        drop(former);
        newest.filter(|it| !it.is_old())
    }

    /// Ends what has idled for too long.
    pub fn sweep(&self) {
        let mut idle = self.lock();
        let (old, young) = idle.drain(..).partition::<Vec<_>, _>(|it| it.is_old());
        *idle = young;
        drop(idle);
        drop(old);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<Line>>> {
        // Whole at any time.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, leader: &Arc<str>) -> io::Result<Box<Line>> {
        let authority: Authority = leader.parse().map_err(|_| io::Error::other("no host:port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = late(timeout(
            self.limits.connect,
            tokio::net::lookup_host((host, authority.port_u16().unwrap_or(80))),
        ))
        .await?
        .collect();
        let share = self.limits.connect / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut cause = io::Error::other("it has no address");
        for address in addresses {
            match late(timeout(share, TcpStream::connect(address))).await {
                Ok(stream) => return Line::new(leader.clone(), stream, self.limits.read).await,
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

/// Takes out the lines to others, who lead no longer. All lead to the same.
fn others_than(idle: &mut Vec<Box<Line>>, leader: &Arc<str>) -> Vec<Box<Line>> {
    match idle.last() {
        Some(line) if line.leader != *leader => std::mem::take(idle),
        _ => Vec::new(),
    }
}

impl Line {
    async fn new(leader: Arc<str>, stream: TcpStream, limit: Duration) -> io::Result<Box<Line>> {
        // None of these is vital.
        let _ = stream.set_nodelay(true);
        let _ = setsockopt(&stream, sockopt::KeepAlive, &true);
        let _ = setsockopt(&stream, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS);
        let _ = setsockopt(&stream, sockopt::TcpKeepInterval, &KEEPALIVE_SECONDS);
        let _ = setsockopt(&stream, sockopt::TcpKeepCount, &KEEPALIVE_QUESTIONS);
        let (sender, driving) = Builder::new()
            // Most of what is sent is short, and then a copy costs less than a list of pieces.
            .writev(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = Arc::new(Driver::default());
        let (waker, silence) = (driver.clone().into(), Silence::new(limit));
        Ok(Box::new(Line { leader, sender, driving: Some(driving), waker, driver, silence }))
    }

    /// Nothing after too long a silence.
    async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<Sent>>>> {
        self.silence.ends();
        // Only driving the line makes an answer, and that comes right before the look at it. So no wake-up is needed
        // for it, and it must not wait for the turn in which tokio would let it be ready.
        let sent = quietly(|| self.sender.try_send_request(request));
        let mut answer = pin!(tokio::task::unconstrained(sent));
        std::future::poll_fn(|cx| {
            self.drive(cx);
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => self.silence.poll(cx).map(|()| None),
            }
        })
        .await
    }

    /// The next piece of the body of an answer on this line.
    pub fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.drive(cx);
        take_frame(body)
    }

    /// Moves what can be moved, in both directions.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(driving) = &mut self.driving else { return };
        self.driver.0.register(cx.waker());
        if Pin::new(driving).poll(&mut Context::from_waker(&self.waker)).is_ready() {
            // How it ended is told to whoever waits for the answer or reads its body.
            self.driving = None;
        }
    }

    /// Whether the answer has come to its end, the request as well, and neither has ended the line.
    pub fn is_idle(&self) -> bool {
        self.driving.is_some() && self.sender.is_ready()
    }

    fn is_old(&self) -> bool {
        IDLE_MAX <= self.silence.since.elapsed()
    }
}

/// A piece of a body that is there already. Only a line that is driven brings more, so nobody else need be woken: not the
/// reader, who drives it, and not the line, which is driven before the next look.
pub(crate) fn take_frame(body: &mut Incoming) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    quietly(|| Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { connect: Duration::from_secs(5), read: Duration::from_secs(10), at_once: 2 };

    /// Lines to somebody who takes connections and says nothing.
    async fn lines(pool: &Pool, count: usize) -> (tokio::net::TcpListener, Arc<str>, Vec<Box<Line>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let leader: Arc<str> = listener.local_addr().unwrap().to_string().into();
        let mut lines = Vec::new();
        for _ in 0..count {
            let mut line = pool.connect(&leader).await.unwrap();
            // A new one is ready once it was driven.
            line.drive(&mut Context::from_waker(Waker::noop()));
            lines.push(line);
        }
        (listener, leader, lines)
    }

    fn idle(pool: &Pool) -> usize {
        pool.lock().len()
    }

    #[tokio::test]
    async fn what_is_kept() {
        let pool = Pool::new(LIMITS);
        let (_listener, leader, kept) = lines(&pool, 3).await;
        kept.into_iter().for_each(|it| pool.keep(it));
        assert_eq!(idle(&pool), 2, "no more than requests at once");
        assert!(pool.take(&leader).is_some());
        assert!(pool.take(&"other:1".into()).is_none());
        assert_eq!(idle(&pool), 0, "none to a former leader");
    }

    #[tokio::test]
    async fn how_long_it_is_kept() {
        let pool = Pool::new(LIMITS);
        let (_listener, leader, kept) = lines(&pool, 2).await;
        tokio::time::pause();
        kept.into_iter().for_each(|it| pool.keep(it));
        tokio::time::advance(IDLE_MAX - Duration::from_secs(1)).await;
        pool.sweep();
        let mut used = pool.take(&leader).expect("not old yet");
        used.silence.ends();
        pool.keep(used);
        tokio::time::advance(Duration::from_secs(2)).await;
        pool.sweep();
        assert_eq!(idle(&pool), 1, "the one that was not used has ended");
        tokio::time::advance(IDLE_MAX).await;
        assert!(pool.take(&leader).is_none());
    }
}
