//! The embedded engine: this machine as a Mesos-like cluster of one agent.
//!
//! ```text
//!           call ──────► ┌────────────┐ ─ requests ─► keeper ── starts, watches ──► tasks
//!  core                  │   agent    │ ◄─ events ───
//!           ◄─── events  └────────────┘ ◄─ prepared, checked ── sandbox, fetch, checks
//! ```
//! `agent` decides (what to offer, what to tell, what to kill) and does no IO; `shell` is the thread
//! around it. Tasks belong to the keeper, a process that outlives this one; what must be known of a
//! task after a restart lies with it. Stored here are the agent's identity, what is reserved, and volumes.
//!
//! Differences from a Mesos agent that users can see:
//! - A plain process gets to `TASK_RUNNING` without `TASK_STARTING` before it.
//! - An image of the Mesos containerizer is run by Docker. Volumes of a task without an image are links in
//!   its sandbox.
//! - A task without `user` runs as whoever runs the server, which may be root.
//! - `fetch` knows http, https and files of this machine.

mod agent;
#[cfg(test)]
mod agent_tests;
mod archive;
mod boxed;
mod cache;
mod checks;
mod config;
mod durable;
mod fetch;
#[cfg(test)]
mod fetch_tests;
mod files;
mod identity;
mod kept;
mod ledger;
mod link;
mod outcome;
mod pod;
mod ports;
mod prepare;
mod private;
mod sandbox;
pub mod secrets;
mod shell;
mod task;
mod updates;
mod user;
mod volumes;
mod web;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use marathon_keeper::KeeperError;
use marathon_model::id::{AgentId, FrameworkId, TaskId};
use marathon_model::offer::{Call, EngineEvent};

pub use config::{LocalConfig, complete, detect_resources};
pub use files::TaskFiles;
pub use sandbox::Retention;

use agent::{About, Agent, Input};
use checks::Checker;
use fetch::Fetcher;
use identity::Identity;
use link::Connector;
use prepare::Prepare;
use sandbox::Places;
use shell::{Message, Shell, Work};

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot use `{}` for the embedded engine", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot reach the keeper of the tasks")]
    Keeper(#[from] KeeperError),
    #[error("cannot start the thread of the embedded engine")]
    Thread(#[source] io::Error),
}

impl LocalError {
    /// Another server of this machine has the engine of this folder.
    pub fn is_in_use(&self) -> bool {
        matches!(self, LocalError::Keeper(error) if error.is_in_use())
    }
}

/// The running engine. Dropping it stops it as `stop` does, without waiting.
pub struct Local {
    inbox: Sender<Message>,
    stop: tokio::sync::watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    places: Places,
    identity: Identity,
}

impl Local {
    /// Connects to the keeper, starting one if there is none, and says nothing before `begin`.
    pub async fn connect(
        config: LocalConfig,
        events: tokio::sync::mpsc::Sender<EngineEvent>,
    ) -> Result<Local, LocalError> {
        let runtime = tokio::runtime::Handle::current();
        let connect = move || connect(config, events, runtime);
        let done = tokio::task::spawn_blocking(connect).await;
        done.map_err(|error| LocalError::Thread(io::Error::other(error)))?
    }

    /// From now on `events` are told: first `Subscribed`, then what became of tasks, then offers. Whoever
    /// answers them must be able to `call` by now.
    pub fn begin(&self) {
        let _ = self.inbox.send(Message::Begin);
    }

    /// Both in one, for those who can `call` before they take the first event.
    pub async fn start(
        config: LocalConfig,
        events: tokio::sync::mpsc::Sender<EngineEvent>,
    ) -> Result<Local, LocalError> {
        let local = Local::connect(config, events).await?;
        local.begin();
        Ok(local)
    }

    /// Never blocks.
    pub fn call(&self, call: Call) {
        let _ = self.inbox.send(Message::Input(Input::Call(call)));
    }

    pub fn agent(&self) -> &AgentId {
        &self.identity.agent
    }

    pub fn framework(&self) -> &FrameworkId {
        &self.identity.framework
    }

    /// Where a task's files are, or were.
    pub fn sandbox(&self, task: &TaskId) -> PathBuf {
        self.places.sandbox(task)
    }

    /// Ends the engine, not the tasks: these live on with the keeper, unless `checkpoint` is off.
    pub async fn stop(mut self) {
        self.tell_stop();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Local {
    fn tell_stop(&self) {
        self.stop.send_replace(true);
        let _ = self.inbox.send(Message::Stop);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.tell_stop();
    }
}

fn connect(
    mut config: LocalConfig,
    outbox: tokio::sync::mpsc::Sender<EngineEvent>,
    runtime: tokio::runtime::Handle,
) -> Result<Local, LocalError> {
    let folder = |path: &PathBuf| {
        let path = path.clone();
        move |source| LocalError::Folder { path, source }
    };
    config.dir = std::path::absolute(&config.dir).map_err(folder(&config.dir))?;
    config.resources = complete(config.resources, &config.dir);
    fs::create_dir_all(&config.dir).map_err(folder(&config.dir))?;
    let places = Places::new(config.dir.clone());
    places.create().map_err(folder(&config.dir))?;
    if nix::unistd::geteuid().is_root()
        && let Some(folder) = sandbox::barrier(&places.sandboxes())
    {
        tracing::warn!(
            folder = %folder.display(),
            "tasks with a user of their own cannot reach their sandboxes; `chmod o+x` of this folder helps"
        );
    }
    let identity = Identity::of(&config.dir).map_err(folder(&config.dir))?;
    let seed = identity::random().map_err(folder(&config.dir))?;
    let kept = durable::load(&places).map_err(folder(&config.dir))?;
    let agent = Agent::new(about(&config, &identity, seed), kept);
    let config = Arc::new(config);
    let prepare = Arc::new(Prepare {
        config: config.clone(),
        places: places.clone(),
        agent: identity.agent.clone(),
        framework: identity.framework.clone(),
    });

    let (sender, inbox) = std::sync::mpsc::channel();
    let connector = Connector { config: config.clone(), warned: AtomicBool::new(false) };
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let (link, welcome) = connector.connect(1, &sender)?;
    let shell = Shell {
        agent,
        inbox,
        sender: sender.clone(),
        outbox,
        stopping,
        connector,
        link,
        checker: Checker::new(prepare.clone()),
        fetcher: Arc::new(Fetcher::new(places.cache(), config.fetch_cache_bytes)),
        prepare,
        runtime,
        work: Work::default(),
    };
    let thread = std::thread::Builder::new().name("local-agent".to_owned());
    let thread = thread.spawn(move || shell.run(welcome)).map_err(LocalError::Thread)?;
    Ok(Local { inbox: sender, stop, thread: Some(thread), places, identity })
}

fn about(config: &LocalConfig, identity: &Identity, seed: u64) -> About {
    About {
        agent: identity.agent.clone(),
        framework: identity.framework.clone(),
        hostname: Arc::from(config.hostname.as_str()),
        address: config::primary_address(),
        attributes: Arc::new(config.attributes.clone()),
        region: config.region.as_deref().map(Arc::from),
        zone: config.zone.as_deref().map(Arc::from),
        total: ledger::Pools::new(&config.resources),
        roles: config.roles.clone(),
        default_grace: config.default_grace,
        seed,
    }
}
