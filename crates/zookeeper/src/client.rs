//! What can be asked of ZooKeeper, in types.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::session::{self, Answer, Lease, Request};
use crate::wire::{Reader, Writer, code};
use crate::{Error, ZkUrl};

/// Requests that wait for the session to take them; more wait with their callers.
const QUEUE: usize = 256;

/// ZooKeeper closes the connection on anything larger (`jute.maxbuffer`), so it is not sent at all.
const REQUEST_MAX: usize = 0xf_ffff - 64;

#[derive(Debug, Clone)]
pub struct Options {
    pub url: ZkUrl,
    /// Asked for; the server may grant another.
    pub session_timeout: Duration,
    /// For one attempt to reach one server.
    pub connection_timeout: Duration,
    /// An answer that takes longer counts as lost. The request may still happen.
    pub request_timeout: Duration,
    /// So many requests are on their way at a time.
    pub window: usize,
}

impl Options {
    /// With the defaults of Marathon's flags.
    pub fn new(url: ZkUrl) -> Options {
        Options {
            url,
            session_timeout: Duration::from_secs(10),
            connection_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            window: 32,
        }
    }

    /// Who may do what with nodes we make: with credentials, we alone.
    pub fn acl(&self) -> Acl {
        if self.url.credentials.is_some() { Acl::Creator } else { Acl::Open }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not connected, or not yet. Requests wait.
    Connecting,
    Connected,
    /// Over, and all that was held by the session with it.
    Expired,
    AuthFailed,
    Closed,
}

impl State {
    pub fn is_over(self) -> bool {
        matches!(self, State::Expired | State::AuthFailed | State::Closed)
    }

    pub(crate) fn error(self) -> Error {
        match self {
            State::AuthFailed => Error::AuthFailed,
            State::Closed => Error::Closed,
            _ => Error::Expired,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acl {
    /// Anybody may do anything.
    Open,
    /// Whoever knows the credentials we connected with may do anything, others nothing.
    Creator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
}

/// One part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Create {
        path: String,
        data: Vec<u8>,
        acl: Acl,
        mode: Mode,
    },
    /// A version of -1 is any.
    Set {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    Delete {
        path: String,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
}

impl Op {
    fn code(&self) -> i32 {
        match self {
            Op::Create { .. } => code::CREATE,
            Op::Set { .. } => code::SET,
            Op::Delete { .. } => code::DELETE,
            Op::Check { .. } => code::CHECK,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The transaction that made the node. A node that was removed and made again has another.
    pub created: i64,
    /// The transaction that last changed its data. Transactions are numbered in their order.
    pub modified: i64,
    /// Of the data; grows by one with each change.
    pub version: i32,
    /// The session of an ephemeral node, else 0.
    pub owner: i64,
    pub children: i32,
    /// Milliseconds since 1970, by the clock of the server.
    pub modified_at: i64,
}

/// Fires once: when what was read changes, or when nobody can tell any more (the connection was lost).
#[derive(Debug)]
pub struct Watch(pub(crate) oneshot::Receiver<()>);

impl Watch {
    pub async fn fired(self) {
        let _ = self.0.await;
    }
}

/// One session. Clones share it; it is closed when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    lease: Arc<Lease>,
    acl: Acl,
    request_timeout: Duration,
}

impl Client {
    /// Begins to connect. Must be called within a tokio runtime.
    pub fn connect(options: &Options) -> Client {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (state_sender, state) = watch::channel(State::Connecting);
        let lease = Arc::new(Lease::default());
        tokio::spawn(session::run(options.clone(), inbox, state_sender, lease.clone()));
        Client { requests, state, lease, acl: options.acl(), request_timeout: options.request_timeout }
    }

    /// A connected client, or why there is none within the time.
    pub async fn connect_within(options: &Options, limit: Duration) -> Result<Client, Error> {
        let client = Client::connect(options);
        let mut state = client.state();
        let connected = state.wait_for(|it| *it != State::Connecting);
        match tokio::time::timeout(limit, connected).await {
            Ok(Ok(state)) if *state == State::Connected => {}
            Ok(Ok(state)) => return Err(state.error()),
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => return Err(Error::Unreachable(client.lease.shown_trouble())),
        }
        Ok(client)
    }

    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Until when no server has ended the session, whatever happens. `None` before it began and after it
    /// was over.
    pub fn lease(&self) -> Option<Instant> {
        if self.state.borrow().is_over() { None } else { self.lease.until() }
    }

    /// Whether the session, and all that it holds, is certainly still there.
    pub fn is_live(&self) -> bool {
        self.lease().is_some_and(|it| Instant::now() < it)
    }

    /// Why there is no connection, as far as it is known.
    pub fn trouble(&self) -> Option<String> {
        self.lease.trouble()
    }

    /// 0 before the first connection.
    pub fn session(&self) -> i64 {
        self.lease.session()
    }

    /// How long the session outlives silence, as the servers granted it: their limits may differ from what was asked
    /// for. Zero before the first connection.
    pub fn session_timeout(&self) -> Duration {
        self.lease.timeout()
    }

    /// What nodes of ours are made with.
    pub fn acl(&self) -> Acl {
        self.acl
    }

    /// Resolves when the session is over.
    pub async fn over(&self) -> State {
        let mut state = self.state();
        let over = state.wait_for(|it| it.is_over()).await.map(|it| *it);
        over.unwrap_or(State::Closed)
    }

    /// Ends the session now, so that what it holds is released at once.
    pub async fn close(&self) {
        if self.ask(code::CLOSE, Writer::default(), None).await.is_ok() {
            self.over().await;
        }
    }

    pub async fn create(&self, path: &str, data: &[u8], mode: Mode) -> Result<String, Error> {
        let op = Op::Create { path: path.to_owned(), data: data.to_vec(), acl: self.acl, mode };
        self.single(&op).await.and_then(|it| Reader(&it).text())
    }

    /// Makes the node and all above it, as far as they are missing.
    pub async fn make(&self, path: &str) -> Result<(), Error> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            let part = &path[..end];
            match self.create(part, b"", Mode::Persistent).await {
                Ok(_) | Err(Error::NodeExists) => {}
                // Whoever owns a node above ours may not let us make it; then it must be there.
                Err(Error::NoAuth) if self.exists(part).await?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub async fn set(&self, path: &str, data: &[u8], version: i32) -> Result<Stat, Error> {
        let op = Op::Set { path: path.to_owned(), data: data.to_vec(), version };
        self.single(&op).await.and_then(|it| Reader(&it).stat())
    }

    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.single(&Op::Delete { path: path.to_owned(), version }).await.map(drop)
    }

    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        match self.read(code::EXISTS, path, None).await {
            Ok(body) => Reader(&body).stat().map(Some),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The watch fires when the node comes, changes or goes.
    pub async fn watch(&self, path: &str) -> Result<(Option<Stat>, Watch), Error> {
        let (fire, watch) = oneshot::channel();
        let stat = match self.read(code::EXISTS, path, Some(fire)).await {
            Ok(body) => Some(Reader(&body).stat()?),
            Err(Error::NoNode) => None,
            Err(error) => return Err(error),
        };
        Ok((stat, Watch(watch)))
    }

    pub async fn get(&self, path: &str) -> Result<(Vec<u8>, Stat), Error> {
        let body = self.read(code::GET, path, None).await?;
        let mut body = Reader(&body);
        Ok((body.buffer()?.to_vec(), body.stat()?))
    }

    /// Queues a read behind everything queued before; its answer is waited for separately.
    pub async fn send_get(
        &self,
        path: &str,
    ) -> Result<impl Future<Output = Result<(Vec<u8>, Stat), Error>> + use<>, Error> {
        let answer = self.send_read(code::GET, path).await?;
        Ok(async move {
            let body = answer.await?;
            let mut body = Reader(&body);
            Ok((body.buffer()?.to_vec(), body.stat()?))
        })
    }

    /// The same for the names of children.
    pub async fn send_children(
        &self,
        path: &str,
    ) -> Result<impl Future<Output = Result<Vec<String>, Error>> + use<>, Error> {
        let answer = self.send_read(code::CHILDREN, path).await?;
        Ok(async move { Reader(&answer.await?).texts() })
    }

    async fn send_read(
        &self,
        code: i32,
        path: &str,
    ) -> Result<impl Future<Output = Result<Answer, Error>> + use<>, Error> {
        let mut body = Writer::default();
        body.text(path).flag(false);
        let answer = self.send(code, body, None).await?;
        Ok(settle(answer, self.request_timeout))
    }

    pub async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        let body = self.read(code::CHILDREN, path, None).await?;
        Reader(&body).texts()
    }

    /// The watch fires when a child comes or goes, or the node itself goes.
    pub async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Watch), Error> {
        let (fire, watch) = oneshot::channel();
        let body = self.read(code::CHILDREN, path, Some(fire)).await?;
        Ok((Reader(&body).texts()?, Watch(watch)))
    }

    /// Waits until the server we are connected to knows everything that was acknowledged before.
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        let mut body = Writer::default();
        body.text(path);
        self.ask(code::SYNC, body, None).await.map(drop)
    }

    /// All parts or none. Returns the paths of created nodes; an error says which part it was of.
    pub async fn multi(&self, ops: &[Op]) -> Result<Vec<Option<String>>, (usize, Error)> {
        self.send_multi(ops).await.map_err(|it| (0, it))?.await
    }

    /// Queues a transaction behind everything queued before; its end is waited for separately.
    pub async fn send_multi(
        &self,
        ops: &[Op],
    ) -> Result<impl Future<Output = Result<Vec<Option<String>>, (usize, Error)>> + use<>, Error> {
        let mut body = Writer::default();
        for op in ops {
            body.int(op.code()).flag(false).int(-1).op(op);
        }
        body.int(-1).flag(true).int(-1);
        let answer = self.send(code::MULTI, body, None).await?;
        let limit = self.request_timeout;
        Ok(async move {
            let body = settle(answer, limit).await.map_err(|it| (0, it))?;
            Reader(&body).multi().map_err(|it| (0, it))?
        })
    }

    async fn single(&self, op: &Op) -> Result<Answer, Error> {
        let mut body = Writer::default();
        body.op(op);
        self.ask(op.code(), body, None).await
    }

    async fn read(&self, code: i32, path: &str, watch: Option<oneshot::Sender<()>>) -> Result<Answer, Error> {
        let mut body = Writer::default();
        body.text(path).flag(watch.is_some());
        self.ask(code, body, watch.map(|it| (path.to_owned(), it))).await
    }

    async fn ask(
        &self,
        code: i32,
        body: Writer,
        watch: Option<(String, oneshot::Sender<()>)>,
    ) -> Result<Answer, Error> {
        let answer = self.send(code, body, watch).await?;
        settle(answer, self.request_timeout).await
    }

    async fn send(
        &self,
        code: i32,
        body: Writer,
        watch: Option<(String, oneshot::Sender<()>)>,
    ) -> Result<oneshot::Receiver<Result<Answer, Error>>, Error> {
        if body.0.len() > REQUEST_MAX {
            return Err(Error::TooLarge(body.0.len()));
        }
        let (answer, receiver) = oneshot::channel();
        let request = Request { code, body: body.0, watch, answer };
        match tokio::time::timeout(self.request_timeout, self.requests.send(request)).await {
            Ok(Ok(())) => Ok(receiver),
            Ok(Err(_)) => Err(self.state.borrow().error()),
            // It never left.
            Err(_) => Err(Error::Unreachable(self.lease.shown_trouble())),
        }
    }
}

async fn settle(answer: oneshot::Receiver<Result<Answer, Error>>, limit: Duration) -> Result<Answer, Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        // The session ended without a word to this request.
        Ok(Err(_)) => Err(Error::ConnectionLost),
        Err(_) => Err(Error::Timeout),
    }
}
