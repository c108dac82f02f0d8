//! Changes that are only looked at: `?dryRun=true`.
//!
//! A preview plays a whole deployment, which may take a second or two on a large state. It runs apart from the
//! loop and from the threads that serve; few at a time, a few more may wait, and the rest is sent away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use marathon_model::command::{Command, Refusal};
use marathon_model::preview::Preview;
use marathon_model::view::View;
use tokio::sync::Semaphore;

/// Previews that are worked out at a time.
const AT_A_TIME: usize = 2;
/// Previews that are worked out or wait. More are refused with 503.
const WAITING_MAX: usize = 32;

pub type Foresee = dyn Fn(&View, Command) -> Result<Preview, Refusal> + Send + Sync;

pub struct Previews {
    foresee: OnceLock<Arc<Foresee>>,
    turns: Semaphore,
    waiting: AtomicUsize,
}

impl Default for Previews {
    fn default() -> Previews {
        Previews { foresee: OnceLock::new(), turns: Semaphore::new(AT_A_TIME), waiting: AtomicUsize::new(0) }
    }
}

struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Previews {
    /// Says how to look ahead. Once; later calls change nothing.
    pub fn set(&self, foresee: impl Fn(&View, Command) -> Result<Preview, Refusal> + Send + Sync + 'static) {
        let _ = self.foresee.set(Arc::new(foresee));
    }

    pub async fn look(&self, view: Arc<View>, command: Command) -> Result<Preview, Refusal> {
        let unavailable = |text: &str| Refusal::Unavailable(text.to_owned());
        let foresee = self.foresee.get().cloned();
        let foresee = foresee.ok_or_else(|| unavailable("This server cannot look ahead"))?;
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(&self.waiting);
        if waiting >= WAITING_MAX {
            return Err(unavailable("Too many previews are waiting; try again"));
        }
        let turn = self.turns.acquire().await.map_err(|_| unavailable("The server is stopping"))?;
        let preview = tokio::task::spawn_blocking(move || foresee(&view, command)).await;
        drop(turn);
        preview.unwrap_or_else(|_| Err(unavailable("The preview was broken off")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_bounded() {
        let previews = Arc::new(Previews::default());
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        previews.set(move |_, _| {
            let _ = gate.lock().unwrap().recv();
            Err(Refusal::Illegal("seen".to_owned()))
        });
        let look = |previews: &Arc<Previews>| {
            let (previews, app) = (previews.clone(), marathon_model::id::PathId::parse("/a").unwrap());
            tokio::spawn(async move { previews.look(Arc::default(), Command::ResetDelay { app }).await })
        };
        let all: Vec<_> = (0..WAITING_MAX).map(|_| look(&previews)).collect();
        while previews.waiting.load(Ordering::SeqCst) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        let more = look(&previews).await.unwrap();
        assert!(matches!(more, Err(Refusal::Unavailable(_))), "{more:?}");
        drop(go);
        for one in all {
            assert!(matches!(one.await.unwrap(), Err(Refusal::Illegal(_))));
        }
        assert_eq!(previews.waiting.load(Ordering::SeqCst), 0);
    }
}
