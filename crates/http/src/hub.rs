//! Events on their way from the loop to the readers of `/v2/events` and to callbacks.
//!
//! ```text
//! loop ── publish ──► ring (bounded) ◄── each reader takes what is new, at its own pace
//!              └─► pump ── wakes readers; ends those that lag behind
//! ```
//! Publishing costs the loop one short lock, however many readers there are. An event is rendered by
//! the first reader that needs it, once for all. A reader holds nothing but its place in the ring, so a
//! slow one costs no memory; when more events wait for it than allowed, it is told why and its connection
//! is closed.
//!
//! Ids grow with every event and go on growing over restarts: the server stores where they begin. Whoever
//! resumes from an id that is no longer in the ring gets one `event_stream_gap` first. docs/events.md.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use marathon_api::event::{self, PlanFormat};
use marathon_model::notice::{Notice, What};
use tokio::sync::{Notify, watch};

pub use crate::stream::Stream;

/// Events kept for readers that resume, at least.
pub(crate) const RING: usize = 8192;
/// A reader that is cut off gets so long to hear why before its connection is closed under it.
const LAST_WORD: Duration = Duration::from_secs(5);

pub struct EventHub {
    ring: Mutex<Ring>,
    readers: Mutex<Vec<Arc<Reader>>>,
    /// Kept beside the list so that publishing need not lock it.
    reading: AtomicUsize,
    news: Notify,
    /// The id after the newest event, for those who do not stream.
    heads: watch::Sender<u64>,
    closed: AtomicBool,
    /// More events than this waiting for a reader end it.
    outstanding_max: usize,
    capacity: usize,
    pub bytes_sent: AtomicU64,
    pub cut_off: AtomicU64,
}

pub(crate) struct Ring {
    pub events: VecDeque<Arc<Event>>,
    /// The id of the event after the last one.
    pub next: u64,
}

impl Ring {
    pub fn oldest(&self) -> u64 {
        self.events.front().map_or(self.next, |it| it.id)
    }

    /// Events from this id on; those that are gone are missing.
    pub fn since(&self, id: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skip = usize::try_from(id.saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        self.events.iter().skip(skip)
    }
}

pub(crate) struct Event {
    pub id: u64,
    notice: Notice,
    full: OnceLock<Frame>,
    /// The same for readers of light plans, if it differs.
    light: OnceLock<Frame>,
}

/// An event as it is sent, its id behind it.
pub(crate) struct Frame {
    bytes: Bytes,
    /// Where its JSON begins.
    data: usize,
    /// Where its id line begins.
    id: usize,
}

impl Frame {
    fn new(event: &Event, format: PlanFormat) -> Frame {
        let mut bytes = event::frame(&event.notice, format);
        let id = bytes.len();
        let data = "event: \r\ndata: ".len() + event.notice.what.name().len();
        // Behind the data, since the plainest consumers take the line after `event:` for it.
        bytes.extend_from_slice(format!("id: {}\r\n\r\n", event.id).as_bytes());
        Frame { bytes: bytes.into(), data, id }
    }

    /// One line of JSON.
    fn json(&self) -> Bytes {
        self.bytes.slice(self.data..self.id - 2)
    }
}

impl Event {
    fn frame(&self, format: PlanFormat) -> &Frame {
        if format == PlanFormat::Light && event::has_plan(&self.notice.what) {
            self.light.get_or_init(|| Frame::new(self, PlanFormat::Light))
        } else {
            self.full.get_or_init(|| Frame::new(self, PlanFormat::Full))
        }
    }

    pub fn write(&self, format: PlanFormat, ids: bool, out: &mut BytesMut) {
        let frame = self.frame(format);
        if ids {
            out.extend_from_slice(&frame.bytes);
        } else {
            out.extend_from_slice(&frame.bytes[..frame.id]);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The frame with its id, without a copy.
    pub fn bytes(&self, format: PlanFormat) -> Bytes {
        self.frame(format).bytes.clone()
    }
}

/// One client of the stream, as the hub sees it.
pub(crate) struct Reader {
    pub remote: String,
    /// Empty: all.
    types: Vec<String>,
    /// The id it takes next.
    pub next: AtomicU64,
    /// Events before this were asked for by resuming and do not count as lagging behind.
    joined: AtomicU64,
    pub cut: AtomicBool,
    /// No more events will come for it.
    pub dismissed: AtomicBool,
    pub waker: AtomicWaker,
    /// Ends the connection, even while it waits for the client to read.
    pub hang_up: Arc<Notify>,
}

impl Reader {
    pub fn wants(&self, event: &Event) -> bool {
        self.types.is_empty() || self.types.iter().any(|it| it == event.notice.what.name())
    }
}

/// What a client asks of the stream.
#[derive(Debug)]
pub struct Subscription {
    pub remote: String,
    pub types: Vec<String>,
    pub ids: bool,
    pub plans: PlanFormat,
    /// Resume after this id; anything that is no id of ours is a gap.
    pub last: Option<u64>,
}

impl Default for Subscription {
    fn default() -> Subscription {
        Subscription {
            remote: String::new(),
            types: Vec::new(),
            ids: true,
            plans: PlanFormat::Full,
            last: None,
        }
    }
}

/// The next event for somebody who takes them one by one.
pub(crate) struct Taken {
    pub id: u64,
    pub json: Bytes,
    /// Events before it that are not kept any more.
    pub missed: u64,
}

impl EventHub {
    /// `begin`: the first id.
    pub fn new(outstanding_max: usize, begin: u64) -> EventHub {
        EventHub {
            ring: Mutex::new(Ring { events: VecDeque::new(), next: begin.max(1) }),
            readers: Mutex::default(),
            reading: AtomicUsize::new(0),
            news: Notify::new(),
            heads: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            outstanding_max,
            capacity: RING.max(outstanding_max.saturating_mul(2)).min(1 << 20),
            bytes_sent: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
        }
    }

    /// The first id of a term, once the store has said what earlier leaders used. What an earlier term of ours
    /// published is forgotten: others may have published since.
    pub fn begin_at(&self, id: u64) {
        let mut ring = self.ring();
        if id > ring.next {
            ring.events.clear();
            ring.next = id;
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
            let (full, light) = (OnceLock::new(), OnceLock::new());
            ring.events.push_back(Arc::new(Event { id, notice, full, light }));
        }
        if self.reading.load(Ordering::SeqCst) > 0 || self.heads.receiver_count() > 0 {
            self.news.notify_one();
        }
    }

    /// Wakes readers and ends slow ones, for as long as the server runs.
    pub async fn pump(&self) {
        while !self.is_closed() {
            self.news.notified().await;
            let head = self.ring().next;
            self.heads.send_replace(head);
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
        if from < ring.oldest() {
            return usize::MAX;
        }
        ring.since(from).filter(|it| reader.wants(it)).count()
    }

    /// Tells a reader that it is too slow, and closes its connection a little later, whether it has heard it
    /// or not.
    pub(crate) fn cut(&self, reader: &Reader) {
        if reader.cut.swap(true, Ordering::SeqCst) {
            return;
        }
        self.cut_off.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(client = %reader.remote, "closing an event stream: {}", self.why_cut());
        reader.waker.wake();
        let hang_up = reader.hang_up.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORD).await;
            hang_up.notify_one();
        });
    }

    pub(crate) fn why_cut(&self) -> String {
        format!(
            "more than {} events wait for its reader (--event_stream_max_outstanding_messages)",
            self.outstanding_max
        )
    }

    pub fn subscribe(self: &Arc<Self>, ask: Subscription, hang_up: Arc<Notify>) -> Stream {
        let (oldest, head) = {
            let ring = self.ring();
            (ring.oldest(), ring.next)
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
            dismissed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            hang_up,
        });
        self.readers().push(reader.clone());
        self.reading.fetch_add(1, Ordering::SeqCst);
        self.publish(notice(What::StreamAttached { remote: reader.remote.clone() }));
        Stream::new(self.clone(), reader, ask.ids, ask.plans, gap)
    }

    pub(crate) fn forget(&self, reader: &Arc<Reader>) {
        self.readers().retain(|it| !Arc::ptr_eq(it, reader));
        self.reading.fetch_sub(1, Ordering::SeqCst);
        if !self.is_closed() {
            self.publish(notice(What::StreamDetached { remote: reader.remote.clone() }));
        }
    }

    pub fn readers_now(&self) -> usize {
        self.reading.load(Ordering::SeqCst)
    }

    /// The id of the next event.
    pub(crate) fn head(&self) -> u64 {
        self.ring().next
    }

    /// Tells of new heads. Whoever holds it is woken for every event.
    pub(crate) fn heads(&self) -> watch::Receiver<u64> {
        self.heads.subscribe()
    }

    /// The first event from this id on.
    pub(crate) fn at(&self, id: u64) -> Option<Taken> {
        let event = self.ring().since(id).next().cloned()?;
        let json = event.frame(PlanFormat::Full).json();
        Some(Taken { id: event.id, json, missed: event.id - id })
    }

    /// Ends the present streams, once they have told all that was published.
    pub fn dismiss(&self) {
        for reader in self.readers().iter() {
            reader.dismissed.store(true, Ordering::SeqCst);
            reader.waker.wake();
        }
    }

    /// Ends all streams; new ones end at once.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for reader in self.readers().iter() {
            reader.waker.wake();
        }
        self.news.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    // Both locks guard values that are whole after every statement, so a panic elsewhere spoils nothing.
    pub(crate) fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Arc<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn notice(what: What) -> Notice {
    Notice { at: crate::now(), what }
}
