//! The engine that runs the tasks, whichever it is.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use marathon_flags::{Config, Master};
use marathon_local::Local;
use marathon_mesos::{Fatal, Mesos};
use marathon_model::offer::{Call, EngineEvent};
use marathon_model::view::View;
use tokio::sync::mpsc;

use crate::exit::{Exit, chain};
use crate::setup;

/// Between two looks at an engine that another instance of this machine holds.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

pub enum Engine {
    /// This machine.
    Local(Local),
    Mesos(Mesos),
}

/// Why there is no engine, or none any more.
#[derive(Debug)]
pub struct Broken {
    pub exit: Exit,
    pub why: String,
    /// Another process does our work now.
    pub taken_over: bool,
}

impl From<String> for Broken {
    fn from(why: String) -> Broken {
        Broken { exit: Exit::EngineFailed, why, taken_over: false }
    }
}

impl Engine {
    /// Finds or makes the engine. Its events wait until `begin`.
    pub async fn connect(
        config: &Config,
        views: &Arc<ArcSwap<View>>,
        events: mpsc::Sender<EngineEvent>,
    ) -> Result<Engine, Broken> {
        if let Master::Mesos(master) = &config.master {
            let id = identity(config, &views.load())?;
            let config = setup::mesos(config, master, views, id)?;
            return Ok(Engine::Mesos(Mesos::connect(config, events)?));
        }
        let executable =
            std::env::current_exe().map_err(|error| format!("cannot find our own binary: {error}"))?;
        let mut told = false;
        loop {
            match Local::connect(setup::local(config, executable.clone()), events.clone()).await {
                Ok(local) => return Ok(Engine::Local(local)),
                // Whoever led before lets it go once it is awake again. Tasks run on meanwhile, and all the rest works.
                Err(error) if config.zk.is_some() && error.is_in_use() => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("waiting for the embedded engine: {}", chain(&error));
                    }
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(error) => {
                    return Err(format!("the embedded engine does not start: {}", chain(&error)).into());
                }
            }
        }
    }

    /// Events may flow: the loop finds the engine from now on.
    pub fn begin(&self) {
        match self {
            Engine::Local(local) => local.begin(),
            Engine::Mesos(mesos) => mesos.begin(),
        }
    }

    /// Never waits.
    pub fn call(&self, call: Call) {
        match self {
            Engine::Local(local) => local.call(call),
            Engine::Mesos(mesos) => mesos.call(call),
        }
    }

    /// Waits until the engine cannot go on.
    pub async fn failed(&self) -> Broken {
        match self {
            Engine::Local(_) => std::future::pending().await,
            Engine::Mesos(mesos) => broken(&mesos.failed().await),
        }
    }

    /// What was asked for until now may still leave within so much time, and nothing after that. Tasks of this machine
    /// need no word to anybody else.
    pub async fn finish(&self, patience: Duration) {
        if let Engine::Mesos(mesos) = self {
            mesos.finish(patience).await;
        }
    }

    pub async fn stop(self) {
        match self {
            Engine::Local(local) => local.stop().await,
            Engine::Mesos(mesos) => mesos.stop().await,
        }
    }
}

/// The framework id that the state knows. Registering anew beside running tasks would orphan them, and start
/// everything twice.
fn identity(config: &Config, view: &View) -> Result<Option<marathon_model::id::FrameworkId>, Broken> {
    let id = view.framework.clone();
    if id.is_some() && id.as_ref().map(|it| it.as_str()) == config.mesos_replace_framework.as_deref() {
        tracing::warn!(framework = ?id, "registering as a new framework in its place (--mesos_replace_framework)");
        return Ok(None);
    }
    let runs_something =
        || view.apps.values().flat_map(|it| it.instances.values()).any(|it| it.task.is_some());
    if id.is_none() && runs_something() {
        let why = "the state holds instances with tasks, but no framework id; \
                   restore it from a backup, or remove the instances";
        return Err(Broken { exit: Exit::FrameworkIdMissing, why: why.to_owned(), taken_over: false });
    }
    Ok(id)
}

fn broken(reason: &Fatal) -> Broken {
    match reason {
        Fatal::Removed(id) => Broken {
            exit: Exit::FrameworkHasBeenRemoved,
            taken_over: false,
            why: format!(
                "{reason}. Either it was away for longer than --failover_timeout, or somebody tore it down. Nothing is \
                 started again by itself: to register as a new framework and start all apps anew, start with \
                 --mesos_replace_framework {id}"
            ),
        },
        _ => Broken { taken_over: *reason == Fatal::TakenOver, ..Broken::from(reason.to_string()) },
    }
}
