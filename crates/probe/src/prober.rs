//! Who may run now and who waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marathon_model::act::{Probe, ProbeKind};
use marathon_model::event::{ProbeOutcome, ProbeResult};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::check::{check_tcp, within};
use crate::http;

/// How long a result waits for somebody to take it. The loop that does has long stopped by then.
const RESULT_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct ProbeConfig {
    /// Checks that run at the same time.
    pub max_concurrent: usize,
    /// Checks that wait for one of them to end.
    pub max_waiting: usize,
    /// Host name to the address to use instead of looking it up, such as our own to `127.0.0.1`.
    pub overrides: BTreeMap<String, String>,
}

impl Default for ProbeConfig {
    fn default() -> ProbeConfig {
        ProbeConfig { max_concurrent: 256, max_waiting: 100_000, overrides: BTreeMap::new() }
    }
}

/// Takes checks and sends back their results, in the order in which they end. Dropping it forgets the
/// checks that wait; those that run end by themselves.
pub struct Prober {
    shared: Arc<Shared>,
    handle: Handle,
}

struct Shared {
    config: ProbeConfig,
    results: mpsc::Sender<ProbeResult>,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    running: usize,
    waiting: VecDeque<Probe>,
}

impl Prober {
    pub fn new(config: ProbeConfig, results: mpsc::Sender<ProbeResult>, handle: Handle) -> Prober {
        let line = Mutex::default();
        Prober { shared: Arc::new(Shared { config, results, line }), handle }
    }

    /// Starts a check, now or as soon as there is room. Never blocks.
    pub fn probe(&self, probe: Probe) {
        let mut line = self.shared.line();
        if line.running < self.shared.config.max_concurrent.max(1) {
            line.running += 1;
            drop(line);
            let place = Place { shared: Arc::clone(&self.shared), held: true };
            self.handle.spawn(place.work(probe));
        } else if line.waiting.len() < self.shared.config.max_waiting {
            line.waiting.push_back(probe);
        } else {
            drop(line);
            let outcome = ProbeOutcome::Failed { cause: "too many checks are waiting".into() };
            if self.shared.results.try_send(ProbeResult { key: probe.key, outcome }).is_err() {
                tracing::warn!("a check was neither made nor answered: nobody keeps up with the results");
            }
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.shared.line().waiting = VecDeque::new();
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out(&self, probe: Probe) -> ProbeOutcome {
        let Probe { key: _, kind, host, port, timeout } = &probe;
        let address = self.config.overrides.get(host).unwrap_or(host);
        match kind {
            ProbeKind::Tcp => check_tcp(address, *port, *timeout).await,
            ProbeKind::Http { https, path, keep_body } => {
                within(*timeout, http::get(*https, host, address, *port, path, *keep_body)).await
            }
        }
    }
}

/// One of the places of those who run; given back however its holder ends.
struct Place {
    shared: Arc<Shared>,
    held: bool,
}

impl Place {
    async fn work(mut self, first: Probe) {
        let mut next = Some(first);
        while let Some(probe) = next {
            let key = probe.key.clone();
            let outcome = self.shared.carry_out(probe).await;
            let sent = self.shared.results.send_timeout(ProbeResult { key, outcome }, RESULT_WAIT).await;
            if let Err(mpsc::error::SendTimeoutError::Timeout(lost)) = sent {
                tracing::warn!(task = %lost.key.task, "the result of a check is dropped: nobody takes it");
            }
            next = self.next();
        }
    }

    /// The next one in the line; without one the place is given back in the same moment, so that nobody
    /// gets into the line after the last who looked.
    fn next(&mut self) -> Option<Probe> {
        let mut line = self.shared.line();
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.running -= 1;
            self.held = false;
        }
        next
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.held {
            self.shared.line().running -= 1;
        }
    }
}
