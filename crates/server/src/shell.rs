//! What lives as long as the process, whoever leads: HTTP, the event stream, and the door to the loop.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use marathon_flags::Config;
use marathon_http::{Asker, Callbacks, Errand, EventHub, Http, Refused};
use marathon_model::id::SpecId;
use marathon_model::view::View;
use tokio::sync::{Notify, mpsc};

use crate::log::Levels;
use crate::setup;
use crate::term::{COMMANDS_MAX, Clock, Question};

pub struct Shell {
    pub config: Config,
    pub clock: Clock,
    pub views: Arc<ArcSwap<View>>,
    pub hub: Arc<EventHub>,
    pub http: Arc<Http>,
    pub callbacks: Option<Arc<Callbacks>>,
    pub door: Door,
    /// Told when somebody asks us to give the leadership up.
    pub abdicated: Arc<Notify>,
}

impl Shell {
    pub fn new(config: Config, clock: Clock, levels: Levels) -> Result<Shell, String> {
        let views = Arc::new(ArcSwap::from_pointee(View::default()));
        let hub = Arc::new(EventHub::new(config.event_stream_max_outstanding_messages, 1));
        let door = Door::default();
        let abdicated = Arc::new(Notify::new());
        let policy = setup::policy(&config);
        let abdicate = {
            let abdicated = abdicated.clone();
            Box::new(move || abdicated.notify_one())
        };
        let http = Http::new(
            views.clone(),
            door.asker(),
            hub.clone(),
            setup::http(&config),
            Box::new(levels),
            abdicate,
        );
        let explain = {
            let policy = policy.clone();
            move |view: &View, id: &SpecId, rows, now| marathon_core::explain(view, &policy, id, rows, now)
        };
        let http = Arc::new(http.explaining(explain));
        http.previews.set(move |view, command| marathon_core::preview(view, &policy, command, clock.now()));
        setup::files(&config, views.clone(), &http.files)?;
        let callbacks = callbacks(&config, &hub)?;
        if let Some(callbacks) = &callbacks {
            http.callbacks.get_or_init(|| callbacks.clone());
        }
        Ok(Shell { config, clock, views, hub, http, callbacks, door, abdicated })
    }
}

impl Shell {
    /// What the next leader shall do, as it was asked for together with stepping down.
    pub fn take_errand(&self) -> Option<Errand> {
        self.http.errand.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

/// Leads commands to the loop of the present term, if there is one. A full queue refuses instead of waiting.
#[derive(Clone, Default)]
pub struct Door(Arc<ArcSwapOption<mpsc::Sender<Question>>>);

impl Door {
    /// From now on commands arrive at the returned end.
    pub fn open(&self) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
        self.0.store(Some(Arc::new(sender)));
        receiver
    }

    fn asker(&self) -> Asker {
        let door = self.clone();
        Asker::new(move |command, reply| {
            let door = door.0.load();
            let sender = door.as_ref().ok_or(Refused::Stopping)?;
            sender.try_send((command, reply)).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Refused::Full,
                mpsc::error::TrySendError::Closed(_) => Refused::Stopping,
            })
        })
    }
}

/// Posts events, if it was asked for.
fn callbacks(config: &Config, hub: &Arc<EventHub>) -> Result<Option<Arc<Callbacks>>, String> {
    if config.callbacks.is_none() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Handle::current();
    Callbacks::new(hub.clone(), setup::callbacks(config), runtime).map(|it| Some(Arc::new(it)))
}
