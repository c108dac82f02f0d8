//! How long a leader may believe in its session.
//!
//! A ZooKeeper server answers pings by itself, also one that is cut off from the others and has not noticed yet, while
//! these end the session and let another instance lead. What a majority has agreed to is proof: a transaction that
//! changes nothing, and checks that the store is still ours. The servers tell each other of a session's life within a
//! quarter of its time (half a tick, and a session has two at least), so half of it is safe from the moment it was sent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use marathon_zookeeper::{Client, Error, Op};

#[derive(Debug, Default)]
pub struct Tenure(Mutex<Option<Instant>>);

impl Tenure {
    /// Also before it has begun: then nothing is answered yet.
    pub fn holds(&self) -> bool {
        self.until().is_none_or(|it| Instant::now() < it)
    }

    /// Resolves when it is over, which a majority that answers in time puts off.
    pub async fn keep(&self, client: &Client, leads: Op) {
        *self.until() = Some(Instant::now() + client.session_timeout() / 2);
        loop {
            let session = client.session_timeout();
            let sent = Instant::now();
            let asked = client.multi(std::slice::from_ref(&leads));
            let until = self.until().unwrap_or(sent);
            match tokio::time::timeout_at(until.into(), asked).await {
                Ok(Ok(_)) => *self.until() = Some(sent + session / 2),
                Ok(Err((_, Error::BadVersion | Error::NoNode))) => {
                    tracing::warn!("another instance has taken the store over");
                    return;
                }
                // The connection is lost; there may be another in time.
                Ok(Err(_)) => {}
                Err(_) => {
                    tracing::warn!(
                        "no majority of ZooKeeper servers has answered for half of the session's time"
                    );
                    return;
                }
            }
            tokio::time::sleep_until((sent + session / 8).into()).await;
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
