//! A Mesos cluster as an engine: finds the leading master, subscribes, and passes on what both sides say.
//!
//! ```text
//!  core ── Call ──► inbox ──► calls (written down) ──► one connection, pipelined ──► master
//!       ◄─ EngineEvent ── event (read) ◄── the event stream ◄──────────────────────
//! ```
//! Nothing is decided here and nothing is stored. Between a call and its answer the engine remembers what it must
//! (`desk`): what an offer listed, so that exactly that can be taken from it, and which tasks were asked for.
//!
//! A lost connection ends everything that was under way. The core hears `Disconnected`, later `Subscribed`, and asks
//! anew; launches that never got out are reported as dropped.

mod address;
mod calls;
mod check;
mod command;
mod config;
mod container;
mod desk;
mod event;
#[cfg(test)]
mod fields;
mod filter;
mod framework;
mod offer;
mod operations;
mod pod;
mod refusal;
mod resource;
mod roles;
mod session;
mod status;
mod take;
mod task;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use marathon_model::offer::{Call, EngineEvent};
use marathon_model::time::Timestamp;
use rand::RngExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

pub use address::{Address, Masters};
pub use marathon_mesos_v1::Codec;

pub use config::{About, Framework, Login, MesosConfig, Secrets};
pub use filter::Filtering;
pub use session::Fatal;

use address::Watcher;
use desk::Desk;
use roles::Roles;
use session::End;

/// The name of the task that nobody has, asked for to see whether the master is there.
const HEARTBEAT_TASK: &str = "marathon-heartbeat";

/// Attempts to subscribe are at most so far apart.
const PAUSE_CEILING: Duration = Duration::from_secs(15);
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// A subscription that stood so long was no failed attempt.
const STANDS_AFTER: Duration = Duration::from_secs(30);
/// How long the last calls may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// The running engine. Dropping it ends the subscription; the tasks run on.
pub struct Mesos {
    /// `None`: nothing is sent any more.
    inbox: Mutex<Option<mpsc::UnboundedSender<Call>>>,
    begin: Mutex<Option<oneshot::Sender<()>>>,
    ended: watch::Receiver<Option<Fatal>>,
    task: JoinHandle<()>,
}

impl Mesos {
    /// Gets ready, and does nothing before `begin`. Must be called within a runtime.
    pub fn connect(config: MesosConfig, events: mpsc::Sender<EngineEvent>) -> Result<Mesos, String> {
        let tls = wire::tls(config.ca_file.as_deref())?;
        let (inbox, calls) = mpsc::unbounded_channel();
        let (begin, begun) = oneshot::channel();
        let (fatal, ended) = watch::channel(None);
        let engine = Engine {
            desk: Mutex::new(Desk::new(Roles::new(&config))),
            watcher: None,
            authorization: config.login.as_ref().map(|it| session::basic(&it.principal, &it.secret)),
            subscribed_before: false,
            is_subscribed: false,
            config,
            tls,
            events,
        };
        let task = tokio::spawn(async move {
            if begun.await.is_ok()
                && let Some(reason) = engine.run(calls).await
            {
                fatal.send_replace(Some(reason));
                // Whoever watches reads it before the sender goes.
                fatal.closed().await;
            }
        });
        Ok(Mesos { inbox: Mutex::new(Some(inbox)), begin: Mutex::new(Some(begin)), ended, task })
    }

    /// From now on events are told. Whoever answers them must be able to `call` by now.
    pub fn begin(&self) {
        let begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begin) = begin {
            let _ = begin.send(());
        }
    }

    /// Never blocks. The queue needs no bound of its own: what the core asks for answers offers and updates, of which
    /// there are only as many as it took.
    pub fn call(&self, call: Call) {
        if let Some(inbox) = &*self.inbox.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = inbox.send(call);
        }
    }

    /// Waits for something that trying again does not help.
    pub async fn failed(&self) -> Fatal {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => match reason.as_ref() {
                Some(reason) => reason.clone(),
                None => std::future::pending().await,
            },
            Err(_) => std::future::pending().await,
        }
    }

    /// Sends what was asked for and leaves. The framework stays, for as long as its failover timeout says.
    pub async fn stop(self) {
        self.finish(FAREWELL).await;
    }

    /// Sends what it was asked for until now, within so much time, and nothing after that: somebody else may lead then.
    pub async fn finish(&self, patience: Duration) {
        drop(self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.begin.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut ended = self.ended.clone();
        // The task ends once it has said everything, and its end is seen here.
        let done = async { while !ended.borrow_and_update().is_some() && ended.changed().await.is_ok() {} };
        // Even a timer of no time lets others run first.
        if !patience.is_zero() {
            let _ = tokio::time::timeout(patience, done).await;
        }
        self.task.abort();
    }
}

/// What the task around the subscription knows.
struct Engine {
    config: MesosConfig,
    tls: TlsConnector,
    authorization: Option<String>,
    events: mpsc::Sender<EngineEvent>,
    desk: Mutex<Desk>,
    watcher: Option<Watcher>,
    subscribed_before: bool,
    is_subscribed: bool,
}

impl Engine {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes again and again; returns why there is no point in going on, if not because it was asked to stop.
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Call>) -> Option<Fatal> {
        self.watcher = Some(Watcher::start(self.config.masters.clone(), self.config.https));
        let mut elsewhere: Option<Address> = None;
        let mut pause = Duration::ZERO;
        let mut said = String::new();
        loop {
            if !self.wait(pause, &mut inbox).await {
                return None;
            }
            let address = match elsewhere.take() {
                Some(address) => address,
                None => self.leader(&mut inbox).await?,
            };
            let since = Instant::now();
            let end = self.session(&address, &mut inbox).await;
            if std::mem::take(&mut self.is_subscribed) {
                self.desk().clear();
                said.clear();
                if self.tell(EngineEvent::Disconnected).await.is_err() {
                    return None;
                }
            }
            if since.elapsed() > STANDS_AFTER {
                pause = Duration::ZERO;
            }
            let why = match end {
                End::Stopped => return None,
                End::Fatal(reason) => return Some(reason),
                End::Deposed => {
                    pause = Duration::ZERO;
                    tracing::warn!(master = %address, "another Mesos master leads, or none");
                    continue;
                }
                End::Again(why) | End::Lost(why) => why,
                // A master that has just lost its leadership may point to one that is dead, or to itself, for seconds:
                // followed once, and then with growing pauses like every other failure.
                End::Elsewhere(to) => {
                    let watched = self.watcher.as_ref().is_some_and(Watcher::is_watched);
                    elsewhere = to.filter(|to| !watched && *to != address && pause < PAUSE_CEILING);
                    match &elsewhere {
                        Some(to) => format!("it does not lead; {to} does"),
                        None => "it does not lead".to_owned(),
                    }
                }
            };
            // The same trouble is told once.
            let text = format!("{address}: {why}");
            if text == said {
                tracing::debug!(master = %address, "no subscription: {why}");
            } else {
                tracing::warn!(master = %address, "no subscription: {why}; trying again");
                said = text;
            }
            pause = match pause {
                Duration::ZERO => PAUSE_FIRST,
                before => (before * 2).min(PAUSE_CEILING),
            };
        }
    }

    /// Waits a random part of a pause. `false`: the server stops.
    async fn wait(&self, pause: Duration, inbox: &mut mpsc::UnboundedReceiver<Call>) -> bool {
        let pause = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        self.meanwhile(tokio::time::sleep(pause), inbox).await.is_some()
    }

    async fn leader(&mut self, inbox: &mut mpsc::UnboundedReceiver<Call>) -> Option<Address> {
        let mut watcher = self.watcher.take()?;
        let found = self.meanwhile(watcher.leader(), inbox).await;
        self.watcher = Some(watcher);
        found
    }

    /// Turns calls down while something is waited for. `None`: the server stops.
    async fn meanwhile<T>(
        &self,
        what: impl Future<Output = T>,
        inbox: &mut mpsc::UnboundedReceiver<Call>,
    ) -> Option<T> {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return Some(done),
                call = inbox.recv() => {
                    let mut told = Vec::new();
                    self.undeliverable(call?, &mut told);
                    for event in told {
                        self.tell(event).await.ok()?;
                    }
                }
            }
        }
    }
}

/// The moment, for what is reported in the master's place.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
