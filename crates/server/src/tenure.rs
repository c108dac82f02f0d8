//! How long a leader may believe in its session.
//!
//! A ZooKeeper server answers pings by itself, also one that is cut off from the others and has not noticed yet, while
//! these end the session and let another instance lead. What a majority has agreed to is proof: a transaction that
//! changes nothing, and checks that the store is still ours. The servers tell each other of a session's life within a
//! quarter of its time (half a tick, and a session has two at least), so half of it is safe from the moment it was sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use marathon_zookeeper::{Client, Error, Op};
use tokio::time::{Duration, Instant};

#[derive(Debug, Default)]
pub struct Tenure(Mutex<Option<Instant>>);

impl Tenure {
    /// Also before it has begun: then nothing is answered yet.
    pub fn holds(&self) -> bool {
        self.until().is_none_or(|it| Instant::now() < it)
    }

    /// Resolves when it is over, which a majority that answers in time puts off.
    pub async fn keep(&self, client: &Client, leads: Op) {
        let ask = || async {
            let answer = client.multi(std::slice::from_ref(&leads)).await;
            answer.map(drop).map_err(|(_, error)| error)
        };
        self.keep_by(ask, || client.session_timeout()).await;
    }

    async fn keep_by(&self, ask: impl AsyncFn() -> Result<(), Error>, session: impl Fn() -> Duration) {
        *self.until() = Some(Instant::now() + session() / 2);
        loop {
            let (sent, session) = (Instant::now(), session());
            let until = self.until().unwrap_or(sent);
            if sent >= until {
                tracing::warn!("no majority of ZooKeeper servers was reached for half of the session's time");
                return;
            }
            match tokio::time::timeout_at(until, ask()).await {
                Ok(Ok(())) => *self.until() = Some(sent + session / 2),
                Ok(Err(Error::BadVersion | Error::NoNode)) => {
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
            tokio::time::sleep_until(sent + session / 8).await;
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SESSION: Duration = Duration::from_secs(8);

    enum Answer {
        /// After so many seconds.
        Yes(u64),
        Lost,
        Taken,
        Never,
    }
    use Answer::*;

    /// What a majority says to each question, the last answer over and over; when it is over, in seconds.
    async fn check(answers: &[Answer], want: Option<u64>) {
        let tenure = Tenure::default();
        assert!(tenure.holds(), "nothing has begun");
        let began = Instant::now();
        let asked = AtomicUsize::new(0);
        let ask = || async {
            let at = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            match answers[at] {
                Yes(after) => {
                    tokio::time::sleep(Duration::from_secs(after)).await;
                    Ok(())
                }
                Lost => Err(Error::ConnectionLost),
                Taken => Err(Error::BadVersion),
                Never => std::future::pending().await,
            }
        };
        let over = tokio::time::timeout(10 * SESSION, tenure.keep_by(ask, || SESSION)).await;
        let got = over.is_ok().then(|| began.elapsed().as_secs());
        assert_eq!(got, want);
        assert!(matches!(answers.last(), Some(Taken)) || tenure.holds() == want.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_majority_puts_the_end_off() {
        check(&[Yes(0)], None).await;
        check(&[Yes(1)], None).await;
        // Each answer comes in time for the question, and the next one too late.
        check(&[Yes(3)], Some(4)).await;
        check(&[Never], Some(4)).await;
        check(&[Lost], Some(4)).await;
        check(&[Lost, Lost, Yes(0)], None).await;
        // Asked at 0, 1 and 2 s: what counts is when the question was sent that was answered.
        check(&[Yes(0), Yes(0), Never], Some(5)).await;
        check(&[Yes(0), Yes(0), Taken], Some(2)).await;
    }
}
