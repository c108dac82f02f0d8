//! Events on their way from the loop to the readers of `/v2/events`.
//!
//! ```text
//! loop ── publish ──► ring (bounded) ◄── each reader takes what is new, at its own pace
//!              └─► pump ── wakes readers; ends those that lag behind
//! ```
//! Publishing costs the loop one short lock, however many readers there are. An event is rendered by
//! the first reader that needs it, once for all. A reader holds nothing but its place in the ring, so a
//! slow one costs no memory; when more events wait for it than allowed, its connection is closed and the
//! log says why.
//!
//! Ids grow with every event and go on growing over restarts, since they begin at the clock's time in
//! microseconds. The original sends no ids and the plainest consumers read exactly two lines per event,
//! so ids are sent only to those who ask: by `?ids=true` or by a `Last-Event-ID` header. Whoever resumes
//! from an id that is no longer in the ring gets one `event_stream_gap` first.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use marathon_api::event::{self, PlanFormat};
use marathon_api::json::Json;
use marathon_model::notice::{Notice, What};
use marathon_model::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// An empty line this often shows a client that we are there, and us that it is.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Events kept for readers that resume, at least.
const RING: usize = 8192;
/// Events sent in one go.
const BATCH: usize = 64;

pub struct EventHub {
    ring: Mutex<Ring>,
    readers: Mutex<Vec<Arc<Reader>>>,
    /// Kept beside the list so that publishing need not lock it.
    reading: AtomicUsize,
    news: Notify,
    closed: AtomicBool,
    /// More events than this waiting for a reader end it.
    outstanding_max: usize,
    capacity: usize,
    pub bytes_sent: AtomicU64,
}

struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The id of the event after the last one.
    next: u64,
}

struct Event {
    id: u64,
    notice: Notice,
    frame: OnceLock<Bytes>,
    /// The same for readers of light plans, if it differs.
    light: OnceLock<Bytes>,
}

impl Event {
    fn frame(&self, format: PlanFormat) -> &Bytes {
        if format == PlanFormat::Light && event::has_plan(&self.notice.what) {
            self.light.get_or_init(|| event::frame(&self.notice, PlanFormat::Light).into())
        } else {
            self.frame.get_or_init(|| event::frame(&self.notice, PlanFormat::Full).into())
        }
    }
}

/// One client of the stream, as the hub sees it.
struct Reader {
    remote: String,
    /// Empty: all.
    types: Vec<String>,
    /// The id it takes next.
    next: AtomicU64,
    /// Events before this were asked for by resuming and do not count as lagging behind.
    joined: AtomicU64,
    cut: AtomicBool,
    waker: AtomicWaker,
    /// Ends the connection, even while it waits for the client to read.
    hang_up: Arc<Notify>,
}

impl Reader {
    fn wants(&self, event: &Event) -> bool {
        self.types.is_empty() || self.types.iter().any(|it| it == event.notice.what.name())
    }
}

/// What a client asks of the stream.
#[derive(Debug, Default)]
pub struct Subscription {
    pub remote: String,
    pub types: Vec<String>,
    pub ids: bool,
    pub plans: PlanFormat,
    /// Resume after this id; anything that is no id of ours is a gap.
    pub last: Option<u64>,
}

impl EventHub {
    /// `begin`: the first id; grows from one start of the server to the next.
    pub fn new(outstanding_max: usize, begin: u64) -> EventHub {
        EventHub {
            ring: Mutex::new(Ring { events: VecDeque::new(), next: begin.max(1) }),
            readers: Mutex::default(),
            reading: AtomicUsize::new(0),
            news: Notify::new(),
            closed: AtomicBool::new(false),
            outstanding_max,
            capacity: RING.max(outstanding_max.saturating_mul(2)).min(1 << 20),
            bytes_sent: AtomicU64::new(0),
        }
    }

    /// Never waits for a reader.
    pub fn publish(&self, notice: Notice) {
        {
            let mut ring = self.ring();
            let id = ring.next;
            ring.next += 1;
            if ring.events.len() >= self.capacity {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(Event {
                id,
                notice,
                frame: OnceLock::new(),
                light: OnceLock::new(),
            }));
        }
        if self.reading.load(Ordering::SeqCst) > 0 {
            self.news.notify_one();
        }
    }

    /// Wakes readers and ends slow ones, for as long as the server runs.
    pub async fn pump(&self) {
        while !self.closed.load(Ordering::SeqCst) {
            self.news.notified().await;
            let head = self.ring().next;
            let readers: Vec<Arc<Reader>> = self.readers().clone();
            for reader in readers {
                let from = reader.next.load(Ordering::SeqCst).max(reader.joined.load(Ordering::SeqCst));
                let lag = head.saturating_sub(from);
                if lag > self.outstanding_max as u64 && self.waiting_for(&reader, from) > self.outstanding_max
                {
                    self.cut(&reader);
                } else {
                    reader.waker.wake();
                }
            }
        }
    }

    /// How many events a reader still has to take, by its filter.
    fn waiting_for(&self, reader: &Reader, from: u64) -> usize {
        let ring = self.ring();
        let oldest = ring.events.front().map_or(ring.next, |it| it.id);
        if from < oldest {
            return usize::MAX;
        }
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        ring.events.iter().skip(skip).filter(|it| reader.wants(it)).count()
    }

    fn cut(&self, reader: &Reader) {
        if !reader.cut.swap(true, Ordering::SeqCst) {
            tracing::warn!(
                client = %reader.remote,
                "closing an event stream: more than {} events wait for its reader \
                 (--event_stream_max_outstanding_messages)",
                self.outstanding_max
            );
        }
        reader.waker.wake();
        reader.hang_up.notify_one();
    }

    pub fn subscribe(self: &Arc<Self>, ask: Subscription, hang_up: Arc<Notify>) -> Stream {
        let (oldest, head) = {
            let ring = self.ring();
            (ring.events.front().map_or(ring.next, |it| it.id), ring.next)
        };
        let resumed = ask.last.map(|it| it.saturating_add(1));
        let (next, gap) = match resumed {
            Some(next) if (oldest..=head).contains(&next) => (next, None),
            Some(next) => (oldest, Some((next, oldest))),
            None => (head, None),
        };
        let reader = Arc::new(Reader {
            remote: ask.remote,
            types: ask.types,
            next: AtomicU64::new(next),
            joined: AtomicU64::new(head),
            cut: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            hang_up,
        });
        self.readers().push(reader.clone());
        self.reading.fetch_add(1, Ordering::SeqCst);
        self.publish(notice(What::StreamAttached { remote: reader.remote.clone() }));
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Stream {
            hub: self.clone(),
            reader,
            ids: ask.ids || ask.last.is_some(),
            plans: ask.plans,
            gap: gap.map(|(asked, oldest)| gap_frame(asked, oldest)),
            heartbeat,
        }
    }

    pub fn readers_now(&self) -> usize {
        self.reading.load(Ordering::SeqCst)
    }

    /// Ends all streams; new ones end at once.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for reader in self.readers().iter() {
            reader.waker.wake();
        }
        self.news.notify_one();
    }

    // Both locks guard values that are whole after every statement, so a panic elsewhere spoils nothing.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn notice(what: What) -> Notice {
    Notice { at: crate::now(), what }
}

fn gap_frame(asked: u64, oldest: u64) -> Bytes {
    let at: Timestamp = crate::now();
    let data = Json::text(|json| {
        json.object(|json| {
            json.key("firstMissed").int(asked);
            json.key("resumedAt").int(oldest);
            json.key("eventType").string("event_stream_gap");
            json.key("timestamp").time(at);
        });
    });
    [b"event: event_stream_gap\r\ndata: ".as_slice(), &data, b"\r\n\r\n"].concat().into()
}

/// The body of one stream.
pub struct Stream {
    hub: Arc<EventHub>,
    reader: Arc<Reader>,
    ids: bool,
    plans: PlanFormat,
    gap: Option<Bytes>,
    heartbeat: Interval,
}

/// The client was too slow.
#[derive(Debug)]
pub struct CutOff;

impl Stream {
    /// The next bytes; `None` at the end.
    pub fn poll_bytes(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        let this = self.get_mut();
        // Registered before looking, so news that arrive in between wake us again.
        this.reader.waker.register(cx.waker());
        if this.reader.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Some(Err(CutOff)));
        }
        if this.hub.closed.load(Ordering::SeqCst) {
            return Poll::Ready(None);
        }
        if let Some(gap) = this.gap.take() {
            return this.ready(gap);
        }
        match this.take() {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                let bytes = this.render(&events);
                return this.ready(bytes);
            }
            Err(CutOff) => {
                this.hub.cut(&this.reader);
                return Poll::Ready(Some(Err(CutOff)));
            }
        }
        if this.heartbeat.poll_tick(cx).is_ready() {
            return this.ready(Bytes::from_static(b"\r\n"));
        }
        Poll::Pending
    }

    fn ready(&self, bytes: Bytes) -> Poll<Option<Result<Bytes, CutOff>>> {
        self.hub.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(bytes)))
    }

    /// Some of the events that are new and wanted.
    fn take(&self) -> Result<Vec<Arc<Event>>, CutOff> {
        let ring = self.hub.ring();
        let next = self.reader.next.load(Ordering::SeqCst);
        let oldest = ring.events.front().map_or(ring.next, |it| it.id);
        if next < oldest {
            return Err(CutOff);
        }
        let mut events = Vec::new();
        let mut last = next;
        for event in ring.events.iter().skip(usize::try_from(next - oldest).unwrap_or(usize::MAX)) {
            last = event.id + 1;
            if self.reader.wants(event) {
                events.push(event.clone());
                if events.len() >= BATCH {
                    break;
                }
            }
        }
        self.reader.next.store(last, Ordering::SeqCst);
        Ok(events)
    }

    fn render(&self, events: &[Arc<Event>]) -> Bytes {
        if let ([event], false) = (events, self.ids) {
            return event.frame(self.plans).clone();
        }
        let mut out = BytesMut::with_capacity(events.iter().map(|it| it.frame(self.plans).len() + 24).sum());
        for event in events {
            if self.ids {
                out.put_slice(format!("id: {}\r\n", event.id).as_bytes());
            }
            out.put_slice(event.frame(self.plans));
        }
        out.freeze()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.readers().retain(|it| !Arc::ptr_eq(it, &self.reader));
        self.hub.reading.fetch_sub(1, Ordering::SeqCst);
        if !self.hub.closed.load(Ordering::SeqCst) {
            self.hub.publish(notice(What::StreamDetached { remote: self.reader.remote.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use marathon_model::deployment::Deployment;
    use marathon_model::id::DeploymentId;

    fn event(n: i64) -> Notice {
        Notice { at: Timestamp(n), what: What::SchedulerDisconnected }
    }

    /// What the stream has to give right now, line ends shown as `|`.
    fn poll(stream: &mut Stream) -> String {
        match Pin::new(stream).poll_bytes(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Pending => "-".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Ready(Some(Err(CutOff))) => "cut".to_owned(),
            Poll::Ready(Some(Ok(bytes))) => String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "|"),
        }
    }

    fn subscribe(hub: &Arc<EventHub>, ask: Subscription) -> Stream {
        hub.subscribe(ask, Arc::new(Notify::new()))
    }

    const GONE: &str =
        r#"{"eventType":"scheduler_disconnected_event","timestamp":"1970-01-01T00:00:00.005Z"}"#;

    #[tokio::test]
    async fn frames() {
        let hub = Arc::new(EventHub::new(10, 100));
        hub.publish(event(1));
        let mut stream =
            subscribe(&hub, Subscription { remote: "1.2.3.4".into(), ..Subscription::default() });
        let first = poll(&mut stream);
        assert!(
            first.starts_with(r#"event: event_stream_attached|data: {"remoteAddress":"1.2.3.4","#),
            "{first}"
        );
        assert!(first.ends_with("}||"));
        assert_eq!(poll(&mut stream), "-");
        hub.publish(event(5));
        assert_eq!(poll(&mut stream), format!("event: scheduler_disconnected_event|data: {GONE}||"));
        hub.close();
        assert_eq!(poll(&mut stream), "end");
    }

    #[tokio::test]
    async fn plans_come_in_the_format_asked_for() {
        let hub = Arc::new(EventHub::new(10, 1));
        let mut streams = [PlanFormat::Full, PlanFormat::Light].map(|plans| {
            let types = vec!["deployment_success".to_owned()];
            subscribe(&hub, Subscription { types, plans, ..Subscription::default() })
        });
        let id = DeploymentId("7d0c1f0e-3a55-4a0e-9a45-1b1b2c6f0001".parse().unwrap());
        let plan = Arc::new(Deployment::new(id, Timestamp(5), Vec::new()));
        hub.publish(Notice { at: Timestamp(5), what: What::DeploymentSucceeded { plan } });
        let [full, light] = &mut streams;
        assert!(poll(full).contains(r#""original":{},"target":{},"steps":"#));
        let light = poll(light);
        assert!(light.contains(r#""plan":{"id":"#) && !light.contains("original"), "{light}");
    }

    #[tokio::test]
    async fn filters() {
        let hub = Arc::new(EventHub::new(10, 1));
        let types = vec!["event_stream_detached".to_owned(), "scheduler_disconnected_event".to_owned()];
        let mut stream = subscribe(&hub, Subscription { types, ..Subscription::default() });
        let other = subscribe(&hub, Subscription::default());
        assert_eq!(poll(&mut stream), "-");
        drop(other);
        assert!(poll(&mut stream).starts_with("event: event_stream_detached|"));
        assert_eq!(hub.readers_now(), 1);
    }

    #[tokio::test]
    async fn resuming() {
        let hub = Arc::new(EventHub::new(10, 100));
        (0..5).for_each(|_| hub.publish(event(5)));
        for (last, want) in [
            (102, "id: 103|event: scheduler_disconnected_event|"),
            (99, "id: 100|event: scheduler_disconnected_event|"),
            (98, "event: event_stream_gap|data: {\"firstMissed\":99,\"resumedAt\":100,"),
            (u64::MAX, "event: event_stream_gap|"),
            (0, "event: event_stream_gap|"),
        ] {
            let mut stream = subscribe(&hub, Subscription { last: Some(last), ..Subscription::default() });
            let first = poll(&mut stream);
            assert!(first.starts_with(want), "{last}: {first}");
        }
    }

    #[tokio::test]
    async fn resuming_may_lag_further_than_reading() {
        let hub = Arc::new(EventHub::new(3, 1));
        (0..500).for_each(|_| hub.publish(event(5)));
        let mut stream = subscribe(&hub, Subscription { last: Some(0), ..Subscription::default() });
        let mut seen = 0;
        loop {
            match poll(&mut stream) {
                text if text == "-" => break,
                text => seen += text.matches("event: scheduler").count(),
            }
        }
        assert_eq!(seen, 500);
    }

    #[tokio::test]
    async fn the_slow_are_cut_off_and_nobody_else() {
        let hub = Arc::new(EventHub::new(3, 1));
        let mut slow = subscribe(&hub, Subscription::default());
        let mut picky = subscribe(
            &hub,
            Subscription { types: vec!["deployment_success".to_owned()], ..Subscription::default() },
        );
        let pump = tokio::spawn({
            let hub = hub.clone();
            async move { hub.pump().await }
        });
        (0..20).for_each(|_| hub.publish(event(5)));
        tokio::time::timeout(Duration::from_secs(10), slow.reader.hang_up.notified()).await.unwrap();
        assert_eq!(poll(&mut slow), "cut");
        assert_eq!(poll(&mut picky), "-");
        hub.close();
        tokio::time::timeout(Duration::from_secs(10), pump).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_ring_is_bounded() {
        let hub = Arc::new(EventHub::new(1, 1));
        let mut stream = subscribe(&hub, Subscription::default());
        (0..RING + 10).for_each(|_| hub.publish(event(5)));
        assert_eq!(hub.ring().events.len(), RING);
        assert_eq!(poll(&mut stream), "cut");
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats() {
        let hub = Arc::new(EventHub::new(10, 1));
        let mut stream = subscribe(&hub, Subscription::default());
        poll(&mut stream);
        assert_eq!(poll(&mut stream), "-");
        tokio::time::advance(HEARTBEAT).await;
        assert_eq!(poll(&mut stream), "|");
        assert_eq!(poll(&mut stream), "-");
    }
}
