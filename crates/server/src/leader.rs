//! One term of leadership, from the stored state to the last answer.
//!
//! ```text
//! begin: load ─► core ─► loop ─► ready          connect: engine          stop: loop ─► engine
//! ```
//! The engine comes last: by then the state it is compared with is there.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use marathon_model::offer::EngineEvent;
use marathon_probe::Prober;
use tokio::sync::{mpsc, oneshot};

use crate::election::failure;
use crate::engine::{Broken, Engine};
use crate::exit::{Exit, chain};
use crate::load::{Loaded, Opened, load};
use crate::setup;
use crate::shell::Shell;
use crate::term::{EVENTS_MAX, Inbox, Outside, Term};

/// Why a term did not begin.
#[derive(Debug)]
pub enum Failure {
    /// It may go better next time.
    Passing(String),
    /// Somebody has to do something about it.
    Lasting(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Passing(text) | Failure::Lasting(text) => f.write_str(text),
        }
    }
}

pub struct Leader {
    engine: Arc<OnceLock<Engine>>,
    engine_events: Option<mpsc::Sender<EngineEvent>>,
    stop_loop: Option<oneshot::Sender<()>>,
    loop_end: oneshot::Receiver<Exit>,
    /// How the loop ended, once it has.
    ended: Option<Exit>,
    /// Nothing of the loop is left. Not a thread to join: those that could wait for it may all be looking up hosts.
    dropped: oneshot::Receiver<()>,
}

impl Leader {
    /// Loads the state and begins to decide. From now on everything is answered.
    pub fn begin(shell: &Shell, opened: Opened) -> Result<Leader, Failure> {
        let Loaded { store, core, first } = load(&shell.config, shell.clock, opened)?;
        shell.hub.begin_at(core.view().events_begin);
        let (engine_sender, engine_inbox) = mpsc::channel(EVENTS_MAX);
        let (probe_sender, probe_inbox) = mpsc::channel(EVENTS_MAX);
        let prober =
            Prober::new(setup::probes(&shell.config), probe_sender, tokio::runtime::Handle::current());
        let engine: Arc<OnceLock<Engine>> = Arc::default();
        let outside = Outside {
            views: shell.views.clone(),
            hub: shell.hub.clone(),
            engine: engine.clone(),
            prober,
            callbacks: shell.callbacks.clone(),
        };
        let (stop_loop, loop_stopped) = oneshot::channel();
        let inbox = Inbox {
            commands: shell.door.open(),
            engine: engine_inbox,
            probes: probe_inbox,
            stop: loop_stopped,
        };
        let (loop_ended, loop_end) = oneshot::channel::<Exit>();
        let (all_dropped, dropped) = oneshot::channel();
        let mut term = Term::new(core, store, shell.clock, outside);
        term.begin(first).map_err(|error| failure(&error))?;
        let thread = std::thread::Builder::new().name("loop".to_owned()).spawn(move || {
            let mut term = term;
            let exit = match term.run(inbox) {
                Ok(()) => Exit::Ok,
                Err(error) => {
                    tracing::error!(
                        "the state cannot be stored, so nothing more is decided: {}",
                        chain(&error)
                    );
                    Exit::Uncaught
                }
            };
            // Others need not wait until a large state is dropped.
            let _ = loop_ended.send(exit);
            drop(term);
            let _ = all_dropped.send(());
        });
        thread.map_err(|error| Failure::Passing(format!("cannot start the thread that decides: {error}")))?;
        shell.http.set_ready();
        Ok(Leader {
            engine,
            engine_events: Some(engine_sender),
            stop_loop: Some(stop_loop),
            loop_end,
            ended: None,
            dropped,
        })
    }

    /// Brings the engine up and lets its events in. May take long, and may be given up at any time.
    pub async fn connect(&mut self, shell: &Shell) -> Result<(), Broken> {
        if let Some(events) = self.engine_events.take() {
            let engine = Engine::connect(&shell.config, &shell.views, events).await?;
            // The loop must find the engine when the first event of it arrives.
            self.engine.get_or_init(|| engine).begin();
        }
        Ok(())
    }

    /// Waits until the engine that is connected cannot go on.
    pub async fn engine_failed(engine: Arc<OnceLock<Engine>>) -> Broken {
        match engine.get() {
            Some(engine) => engine.failed().await,
            None => std::future::pending().await,
        }
    }

    pub fn engine(&self) -> Arc<OnceLock<Engine>> {
        self.engine.clone()
    }

    /// Waits until the loop ends: by itself only when it cannot go on.
    pub async fn failed(&mut self) -> Exit {
        match self.ended {
            Some(exit) => exit,
            None => {
                let exit = (&mut self.loop_end).await.unwrap_or(Exit::Uncaught);
                *self.ended.insert(exit)
            }
        }
    }

    /// What was asked before is answered, and nothing is decided or stored any more. Tells what went wrong.
    pub async fn end(&mut self) -> Exit {
        if let Some(stop) = self.stop_loop.take() {
            let _ = stop.send(());
        }
        self.failed().await
    }

    /// From here on nothing is asked of the cluster, but for what is said within so much time.
    pub async fn hush(&self, patience: Duration) {
        if let Some(engine) = self.engine.get() {
            engine.finish(patience).await;
        }
    }

    /// Ends, and lets the engine go.
    pub async fn stop(mut self) -> Exit {
        let exit = self.end().await;
        let _ = self.dropped.await;
        if let Some(engine) = Arc::into_inner(self.engine).and_then(OnceLock::into_inner) {
            engine.stop().await;
        }
        exit
    }
}
