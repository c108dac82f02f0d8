//! The engine that runs the tasks, whichever it is.

use marathon_flags::Config;
use marathon_local::Local;
use marathon_model::offer::{Call, EngineEvent};
use tokio::sync::mpsc;

use crate::exit::chain;
use crate::setup;

pub enum Engine {
    /// This machine.
    Local(Local),
}

impl Engine {
    /// Finds or makes the engine. Its events wait until `begin`.
    pub async fn connect(config: &Config, events: mpsc::Sender<EngineEvent>) -> Result<Engine, String> {
        let executable =
            std::env::current_exe().map_err(|error| format!("cannot find our own binary: {error}"))?;
        let local = Local::connect(setup::local(config, executable), events)
            .await
            .map_err(|error| format!("the embedded engine does not start: {}", chain(&error)))?;
        Ok(Engine::Local(local))
    }

    /// Events may flow: the loop finds the engine from now on.
    pub fn begin(&self) {
        match self {
            Engine::Local(local) => local.begin(),
        }
    }

    /// Never waits.
    pub fn call(&self, call: Call) {
        match self {
            Engine::Local(local) => local.call(call),
        }
    }

    pub async fn stop(self) {
        match self {
            Engine::Local(local) => local.stop().await,
        }
    }
}
