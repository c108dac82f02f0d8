//! The HTTP side: routes, the event stream, authentication, metrics.
//!
//! ```text
//! serve ─► answer: who may come in, how many at a time ─► route ─► read (from the View)
//!   │                                                          └─► change (asks the loop, waits)
//!   └─► hub: /v2/events, callbacks                       reply: headers, CORS, gzip ◄─┘
//! ```
//! On hyper alone: the table of routes is the application, and a framework would only stand between it
//! and the bytes. Reads take the current view, render and go; they never wait for the loop. Changes go
//! through a bounded queue, and a full queue is an honest 503.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use marathon_api::about::InfoConfig;
use marathon_api::{AppsCache, SinglesCache};
use marathon_model::command::{Command, Refusal, Reply};
use marathon_model::explain::Explanation;
use marathon_model::id::SpecId;
use marathon_model::time::Timestamp;
use marathon_model::view::View;
use tokio::sync::oneshot;

mod accept;
mod answer;
mod auth;
mod body;
pub mod callback;
mod change;
mod explain;
pub mod files;
mod gzip;
pub mod help;
pub mod hub;
pub mod lead;
mod metrics;
mod path;
mod pods;
mod pool;
pub mod preview;
pub mod proxy;
mod range;
mod read;
mod reply;
pub mod route;
mod serve;
mod stats;
mod stream;
mod subscription;
mod system;
mod ui;

pub use callback::Callbacks;
pub use hub::EventHub;
pub use lead::{Lead, Leadership};
pub use serve::serve;

/// What the flags say about HTTP.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host:port` under which this server is known.
    pub advertised: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
    pub realm: String,
    pub concurrent_requests_max: Option<usize>,
    pub compression: bool,
    /// Origins whose scripts may read; `None`: no CORS headers at all.
    pub origins: Option<Vec<String>>,
    pub metrics_prefix: String,
    pub prometheus: bool,
    /// The configuration as `/config` shows it: names and values, secrets hidden.
    pub config: Vec<(String, Option<String>)>,
    pub info: InfoConfig,
    /// Waiting for requests in progress at a stop.
    pub grace: Duration,
    /// Of passing requests on to the leader.
    pub proxy: proxy::Limits,
}

/// Said with 504 and never with 503: what is answered with 503 has not been done, so load balancers send it to
/// the next instance, and this must not be done twice.
pub(crate) const OUTCOME_UNKNOWN: &str =
    "The server stopped before the change was confirmed; it may or may not have been made";

/// Said before anything was done.
pub(crate) const STOPPING: &str = "The server is stopping";

/// Hands commands to the loop. Returns the sender when the loop's queue is full or gone.
pub type SendCommand = dyn Fn(Command, oneshot::Sender<Reply>) -> Result<(), Refused> + Send + Sync;

/// Why the loop takes no command right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Full,
    Stopping,
}

#[derive(Clone)]
pub struct Asker(Arc<SendCommand>);

impl Asker {
    pub fn new(
        send: impl Fn(Command, oneshot::Sender<Reply>) -> Result<(), Refused> + Send + Sync + 'static,
    ) -> Asker {
        Asker(Arc::new(send))
    }

    /// Asks and waits for the answer, which comes once its effects are stored.
    pub async fn ask(&self, command: Command) -> Reply {
        let unavailable = |text: &str| Reply::Refused(Refusal::Unavailable(text.to_owned()));
        let (sender, receiver) = oneshot::channel();
        match (self.0)(command, sender) {
            Ok(()) => {}
            Err(Refused::Full) => return unavailable("Too many changes are waiting; try again"),
            Err(Refused::Stopping) => return unavailable(STOPPING),
        }
        // The loop drops what it can no longer answer; whether it was carried out is not known.
        receiver.await.unwrap_or_else(|_| unavailable(OUTCOME_UNKNOWN))
    }
}

/// From the view, the app, how many agents are listed, and the present moment.
pub type Explain = dyn Fn(&View, &SpecId, usize, Timestamp) -> Option<Explanation> + Send + Sync;

/// Levels of the log, as `/logging` shows and sets them.
pub trait Logging: Send + Sync {
    /// Loggers and their levels.
    fn levels(&self) -> Vec<(String, String)>;
    /// `level` is one of trace, debug, info, warn, error; it is undone after `time`, if one is given.
    fn set(&self, logger: &str, level: &str, time: Option<Duration>) -> Result<(), String>;
}

/// Asked of the next leader by whoever makes this one step down: paths of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errand {
    /// Where to save the state before anything else.
    pub backup: Option<String>,
    /// Which saved state to begin with.
    pub restore: Option<String>,
}

/// Everything that answering needs.
pub struct Http {
    pub views: Arc<ArcSwap<View>>,
    pub asker: Asker,
    pub hub: Arc<EventHub>,
    pub previews: preview::Previews,
    /// Files of tasks; set once there is an engine.
    pub files: files::Desk,
    pub settings: Settings,
    pub logging: Box<dyn Logging>,
    /// Gives the leadership up, gracefully.
    pub abdicate: Box<dyn Fn() + Send + Sync>,
    /// What the next leader is asked to do first. Set before `abdicate` is called.
    pub errand: std::sync::Mutex<Option<Errand>>,
    /// Set before anything is served, if events are posted at all.
    pub callbacks: OnceLock<Arc<Callbacks>>,
    apps: AppsCache,
    singles: SinglesCache,
    gzip: gzip::Gzip,
    stats: stats::HttpStats,
    /// Why an app is as it is; the reasons are the core's, which this crate does not know.
    explain: Box<Explain>,
    auth: Option<auth::Auth>,
    requests: AtomicUsize,
    /// Decides where requests are answered.
    pub leadership: lead::Leadership,
    proxy: proxy::Proxy,
    began: Instant,
}

impl Http {
    pub fn new(
        views: Arc<ArcSwap<View>>,
        asker: Asker,
        hub: Arc<EventHub>,
        settings: Settings,
        logging: Box<dyn Logging>,
        abdicate: Box<dyn Fn() + Send + Sync>,
    ) -> Http {
        let auth =
            settings.credentials.as_ref().map(|(user, word)| auth::Auth::new(user, word, &settings.realm));
        Http {
            leadership: lead::Leadership::new(&settings.advertised),
            proxy: proxy::Proxy::new(&settings.advertised, settings.proxy),
            auth,
            views,
            asker,
            hub,
            previews: preview::Previews::default(),
            files: files::Desk::default(),
            settings,
            logging,
            abdicate,
            explain: Box::new(|_, _, _, _| None),
            errand: std::sync::Mutex::new(None),
            callbacks: OnceLock::new(),
            apps: AppsCache::default(),
            singles: SinglesCache::default(),
            gzip: gzip::Gzip::default(),
            stats: stats::HttpStats::default(),
            requests: AtomicUsize::new(0),
            began: Instant::now(),
        }
    }

    /// Answers `…/explain` by this; without it nothing is explained.
    pub fn explaining(
        mut self,
        explain: impl Fn(&View, &SpecId, usize, Timestamp) -> Option<Explanation> + Send + Sync + 'static,
    ) -> Http {
        self.explain = Box::new(explain);
        self
    }

    /// The state is loaded: from now on everything is answered here.
    pub fn set_ready(&self) {
        self.leadership.set(Lead::Us { since: Instant::now() });
    }

    /// We lead no longer: event streams end, and requests go where `lead` says.
    pub fn step_down(&self, lead: Lead) {
        self.leadership.set(lead);
        self.hub.dismiss();
        if let Some(callbacks) = self.callbacks.get() {
            callbacks.follow(std::iter::empty());
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
