//! Events as POSTs to whoever subscribed.
//!
//! ```text
//! ring ◄── one task per subscriber: the next event ─► POST ─► 2xx: the next
//!                                      ▲               ├─► refused (4xx): given up, the next
//!                                      └── a pause ◄───┴─► no answer, 5xx: the same again, a few times
//! ```
//! A subscriber gets its events one at a time and in their order. It holds nothing but its place in the
//! hub's ring, so one that is dead costs neither memory nor the others' time; when it falls behind the ring,
//! the oldest events are lost to it, which is logged and counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use marathon_model::callback::CallbackUrl;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::EventHub;
use crate::hub::Taken;

/// An event is sent this often before it is given up: about four minutes, by the pauses in between.
const ATTEMPTS: u32 = 10;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_CEILING: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one request.
    pub request: Duration,
    /// Whoever takes longer is given a pause.
    pub slow: Duration,
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Totals {
    pub delivered: AtomicU64,
    /// Requests without a 2xx answer.
    pub failed: AtomicU64,
    /// Events that a subscriber will never get.
    pub dropped: AtomicU64,
}

pub struct Callbacks {
    hub: Arc<EventHub>,
    client: reqwest::Client,
    runtime: Handle,
    limits: Limits,
    active: Mutex<BTreeMap<CallbackUrl, AbortHandle>>,
    pub totals: Totals,
}

/// How one request ended badly.
struct Failure {
    why: String,
    /// Whether sending the same event again may help.
    again: bool,
}

impl Callbacks {
    /// `runtime`: where to deliver.
    pub fn new(hub: Arc<EventHub>, limits: Limits, runtime: Handle) -> Result<Callbacks, String> {
        // Whoever installed one before has the same intention.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(limits.request)
                .pool_max_idle_per_host(1)
                .user_agent("marathon")
        };
        // A machine may have no certificates at all, as a bare container has none: http works without.
        let client = builder()
            .build()
            .or_else(|_| builder().tls_certs_only([]).build())
            .map_err(|error| format!("no HTTP client for callbacks: {}", chain(&error)))?;
        Ok(Callbacks { hub, client, runtime, limits, active: Mutex::default(), totals: Totals::default() })
    }

    /// These and no others get what is published from now on.
    pub fn follow<'a>(self: &Arc<Self>, urls: impl Iterator<Item = &'a CallbackUrl>) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *active);
        for url in urls {
            let task = before.remove(url).unwrap_or_else(|| {
                tracing::info!(%url, "events are posted to a subscriber");
                let deliver = self.clone().deliver(url.clone(), self.hub.head());
                self.runtime.spawn(deliver).abort_handle()
            });
            active.insert(url.clone(), task);
        }
        for (url, task) in before {
            tracing::info!(%url, "no more events are posted to a subscriber");
            task.abort();
        }
    }

    pub fn active(&self) -> usize {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Delivers from this event on, until it is aborted or the hub closes.
    async fn deliver(self: Arc<Self>, url: CallbackUrl, mut next: u64) {
        let mut heads = self.hub.heads();
        let mut streak = Streak::default();
        while !self.hub.is_closed() {
            let Some(event) = self.hub.at(next) else {
                if heads.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if event.missed > 0 {
                self.totals.dropped.fetch_add(event.missed, Relaxed);
                streak.lost += event.missed;
                tracing::warn!(%url, events = event.missed, "a subscriber fell too far behind: events are lost to it");
            }
            self.one(&url, &event, &mut streak).await;
            next = event.id + 1;
        }
    }

    /// Sends one event until it is delivered or given up.
    async fn one(&self, url: &CallbackUrl, event: &Taken, streak: &mut Streak) {
        for attempt in 1..=ATTEMPTS {
            let began = Instant::now();
            let done = self.post(url, event.json.clone()).await;
            let took = began.elapsed();
            match done {
                Ok(()) => {
                    self.totals.delivered.fetch_add(1, Relaxed);
                    if took <= self.limits.slow {
                        streak.end(url);
                        return;
                    }
                    streak.fail(url, &format!("it took {} ms to answer", took.as_millis()));
                    tokio::time::sleep(streak.pause()).await;
                    return;
                }
                Err(Failure { why, again }) => {
                    self.totals.failed.fetch_add(1, Relaxed);
                    streak.fail(url, &why);
                    if !again {
                        break;
                    }
                    tokio::time::sleep(streak.pause()).await;
                    // Kept in memory by us alone by now: what the ring has dropped is lost anyway.
                    if attempt == ATTEMPTS || self.hub.at(event.id).is_none_or(|it| it.missed > 0) {
                        break;
                    }
                }
            }
        }
        streak.lost += 1;
        self.totals.dropped.fetch_add(1, Relaxed);
    }

    async fn post(&self, url: &CallbackUrl, json: Bytes) -> Result<(), Failure> {
        let request = self
            .client
            .post(url.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(json);
        // The page is of no interest, but a connection whose answer was not read is closed.
        let answer = async {
            let answer = request.send().await?;
            let status = answer.status();
            if answer.content_length().is_some_and(|it| it <= ANSWER_MAX) {
                answer.bytes().await?;
            }
            Ok::<_, reqwest::Error>(status)
        };
        match answer.await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => {
                let refused = status.is_client_error() && status != 408 && status != 429;
                Err(Failure { why: format!("it answered {}", status.as_u16()), again: !refused })
            }
            Err(error) => Err(Failure { why: chain(&error.without_url()), again: true }),
        }
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        for task in self.active.lock().unwrap_or_else(PoisonError::into_inner).values() {
            task.abort();
        }
    }
}

/// Answers up to this size are read, so that their connection can be used again.
const ANSWER_MAX: u64 = 64 << 10;

/// Failures without a success in between: worth one line at their beginning and one at their end.
#[derive(Default)]
struct Streak {
    failures: u32,
    lost: u64,
}

impl Streak {
    fn fail(&mut self, url: &CallbackUrl, why: &str) {
        if self.failures == 0 {
            tracing::warn!(%url, why, "an event could not be posted; it is tried again with growing pauses");
        }
        self.failures = self.failures.saturating_add(1);
    }

    fn end(&mut self, url: &CallbackUrl) {
        if self.failures > 0 {
            let (failures, lost) = (self.failures, self.lost);
            tracing::info!(%url, failures, lost, "a subscriber takes events again");
        }
        *self = Streak::default();
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        (PAUSE_FIRST * 2u32.pow(doublings)).min(PAUSE_CEILING)
    }
}

/// An error with its causes; the HTTP client's own text says only which part of it failed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    struct Chain<'a>(&'a dyn std::error::Error);
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0)?;
            let mut source = self.0.source();
            while let Some(cause) = source {
                write!(f, ": {cause}")?;
                source = cause.source();
            }
            Ok(())
        }
    }
    Chain(error).to_string()
}

#[cfg(test)]
#[path = "callback_tests.rs"]
mod tests;
