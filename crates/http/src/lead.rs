//! Who leads, as far as this instance knows: us, another one, or nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hyper::header::HeaderValue;
use tokio::sync::watch;

/// How long a request waits for the state to be loaded before it is refused with 503.
const LOADING_WAIT: Duration = Duration::from_secs(30);
/// How long it waits for somebody to lead, as the original: eleven looks, 250 ms apart.
pub(crate) const ELECTION_WAIT: Duration = Duration::from_millis(2750);

#[derive(Debug, Clone)]
pub enum Lead {
    /// We lead, but what was stored is still being loaded.
    Loading,
    Us {
        since: Instant,
    },
    /// `host:port` of another instance.
    Other(Arc<str>),
    /// Nobody that we know of, and why, in words that end a sentence: "ZooKeeper cannot be reached".
    Nobody(Arc<str>),
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub enum Place {
    Here,
    Leader(Arc<str>),
    /// 503, with these words.
    Nowhere(String),
}

impl Place {
    pub(crate) fn nowhere(why: &str) -> Place {
        Place::Nowhere(format!("Could not determine the current leader: {why}"))
    }
}

pub struct Leadership {
    now: watch::Sender<Lead>,
    /// `X-Marathon-Leader`, ready made, since every answer has it.
    header: ArcSwapOption<Header>,
    /// `host:port` of this instance.
    own: Arc<str>,
    stopping: watch::Sender<bool>,
    /// Says whether leading is still certain. Whoever was stopped for long and goes on asks this first.
    lease: ArcSwapOption<Box<dyn Fn() -> bool + Send + Sync>>,
}

struct Header {
    value: HeaderValue,
    /// It names this instance, so it is true only while leading is certain.
    ours: bool,
}

impl Leadership {
    /// An instance that begins by loading its state, as one does that is alone.
    pub fn new(own: &str) -> Leadership {
        let leadership = Leadership {
            now: watch::Sender::new(Lead::Loading),
            header: ArcSwapOption::empty(),
            own: own.into(),
            stopping: watch::Sender::new(false),
            lease: ArcSwapOption::empty(),
        };
        leadership.set(Lead::Loading);
        leadership
    }

    pub fn set(&self, lead: Lead) {
        let (address, ours) = match &lead {
            Lead::Us { .. } | Lead::Loading => (Some(self.own.clone()), true),
            Lead::Other(address) => (Some(address.clone()), false),
            Lead::Nobody(_) => (None, false),
        };
        let value = address.and_then(|it| HeaderValue::from_str(&format!("http://{it}")).ok());
        self.now.send_replace(lead);
        self.header.store(value.map(|value| Arc::new(Header { value, ours })));
    }

    pub fn now(&self) -> Lead {
        match &*self.now.borrow() {
            Lead::Us { .. } | Lead::Loading if !self.is_certain() => {
                Lead::Nobody("the session of this instance is over".into())
            }
            lead => lead.clone(),
        }
    }

    pub fn is_ours(&self) -> bool {
        matches!(*self.now.borrow(), Lead::Us { .. }) && self.is_certain()
    }

    /// From now on leading holds only while `holds` says so.
    pub fn set_lease(&self, holds: impl Fn() -> bool + Send + Sync + 'static) {
        self.lease.store(Some(Arc::new(Box::new(holds))));
    }

    fn is_certain(&self) -> bool {
        self.lease.load().as_ref().is_none_or(|it| it())
    }

    /// Zero unless we lead.
    pub fn led(&self) -> Duration {
        match &*self.now.borrow() {
            Lead::Us { since } => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    pub fn own(&self) -> &Arc<str> {
        &self.own
    }

    /// The leader's `host:port`.
    pub fn address(&self) -> Option<Arc<str>> {
        match self.now() {
            Lead::Us { .. } | Lead::Loading => Some(self.own.clone()),
            Lead::Other(address) => Some(address),
            Lead::Nobody(_) => None,
        }
    }

    /// For `X-Marathon-Leader`.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let header = self.header.load();
        header.as_deref().filter(|it| !it.ours || self.is_certain()).map(|it| it.value.clone())
    }

    /// Where to answer. Waits a little while nobody leads, and longer while we load, rather than sending
    /// clients away.
    pub(crate) async fn place(&self) -> Place {
        match &*self.now.borrow() {
            Lead::Us { .. } if self.is_certain() => return Place::Here,
            Lead::Other(leader) => return Place::Leader(leader.clone()),
            Lead::Us { .. } | Lead::Loading | Lead::Nobody(_) => {}
        }
        let mut now = self.now.subscribe();
        let elected = now.wait_for(|it| !matches!(it, Lead::Nobody(_)));
        if let Ok(Ok(lead)) = tokio::time::timeout(ELECTION_WAIT, elected).await
            && let Lead::Other(leader) = &*lead
        {
            return Place::Leader(leader.clone());
        }
        let settled = now.wait_for(|it| !matches!(it, Lead::Loading));
        let _ = tokio::time::timeout(LOADING_WAIT, settled).await;
        match &self.now() {
            Lead::Us { .. } => Place::Here,
            Lead::Other(leader) => Place::Leader(leader.clone()),
            Lead::Loading => Place::Nowhere("The server is starting: its state is being loaded".to_owned()),
            Lead::Nobody(why) => Place::nowhere(why),
        }
    }

    /// Waits until somebody else leads than this one, but not for longer than that.
    pub(crate) async fn other_than(&self, leader: &str, limit: Duration) {
        let mut now = self.now.subscribe();
        let other = now.wait_for(|it| !matches!(it, Lead::Other(now) if **now == *leader));
        let _ = tokio::time::timeout(limit, other).await;
    }

    /// Requests that wait for somebody to lead, or for the state.
    pub fn waiting(&self) -> usize {
        self.now.receiver_count()
    }

    /// Ends what would otherwise go on for ever.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(first: Lead, then: Option<Lead>, want: &str) {
        let leadership = Arc::new(Leadership::new("us:1"));
        leadership.set(first.clone());
        let place = tokio::spawn({
            let leadership = leadership.clone();
            async move { leadership.place().await }
        });
        tokio::task::yield_now().await;
        if let Some(lead) = then {
            leadership.set(lead);
        }
        let place = match place.await.expect("no panic") {
            Place::Here => "here".to_owned(),
            Place::Leader(leader) => leader.to_string(),
            Place::Nowhere(why) => why,
        };
        assert_eq!(place, want, "{first:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_requests_go() {
        let us = || Lead::Us { since: Instant::now() };
        let other = || Lead::Other("them:2".into());
        let nobody = || Lead::Nobody("no quorum".into());
        check(us(), None, "here").await;
        check(other(), None, "them:2").await;
        check(nobody(), None, "Could not determine the current leader: no quorum").await;
        check(nobody(), Some(other()), "them:2").await;
        check(nobody(), Some(us()), "here").await;
        check(Lead::Loading, None, "The server is starting: its state is being loaded").await;
        check(Lead::Loading, Some(us()), "here").await;
        check(Lead::Loading, Some(other()), "them:2").await;
        check(Lead::Loading, Some(nobody()), "Could not determine the current leader: no quorum").await;
    }

    #[test]
    fn whose_address() {
        let leadership = Leadership::new("us:1");
        for (lead, want) in [
            (Lead::Loading, Some("http://us:1")),
            (Lead::Us { since: Instant::now() }, Some("http://us:1")),
            (Lead::Other("them:2".into()), Some("http://them:2")),
            (Lead::Nobody("x".into()), None),
        ] {
            leadership.set(lead.clone());
            let header = leadership.header();
            assert_eq!(header.as_ref().and_then(|it| it.to_str().ok()), want, "{lead:?}");
        }
    }

    /// Nothing is set anew when a lease runs out, but no answer names us from then on.
    #[test]
    fn whose_address_once_the_lease_is_over() {
        let leadership = Leadership::new("us:1");
        let holds = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let lease = holds.clone();
        leadership.set_lease(move || lease.load(std::sync::atomic::Ordering::SeqCst));
        for lead in [Lead::Loading, Lead::Us { since: Instant::now() }, Lead::Other("them:2".into())] {
            let ours = !matches!(lead, Lead::Other(_));
            holds.store(true, std::sync::atomic::Ordering::SeqCst);
            leadership.set(lead.clone());
            assert!(leadership.header().is_some() && leadership.address().is_some(), "{lead:?}");
            holds.store(false, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(leadership.header().is_none(), ours, "{lead:?}");
            assert_eq!(leadership.address().is_none(), ours, "{lead:?}");
        }
    }
}
