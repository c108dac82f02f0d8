//! One event stream: what its client is sent next.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use marathon_api::event::PlanFormat;
use marathon_api::json::Json;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::hub::{Event, EventHub, Reader};

/// An empty line this often shows a client that we are there, and us that it is.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Events sent in one go.
const BATCH: usize = 64;
/// Guessed size of an event, for buffers.
const EVENT_BYTES: usize = 512;

/// The body of one stream.
pub struct Stream {
    hub: Arc<EventHub>,
    pub(crate) reader: Arc<Reader>,
    ids: bool,
    plans: PlanFormat,
    gap: Option<Bytes>,
    heartbeat: Interval,
    /// The client was told why it is cut off; all that is left is the end.
    over: bool,
}

/// The reader fell behind the ring.
struct Lost;

impl Stream {
    pub(crate) fn new(
        hub: Arc<EventHub>,
        reader: Arc<Reader>,
        ids: bool,
        plans: PlanFormat,
        gap: Option<(u64, u64)>,
    ) -> Stream {
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let gap = gap.map(|(asked, oldest)| gap_frame(asked, oldest));
        Stream { hub, reader, ids, plans, gap, heartbeat, over: false }
    }

    /// The next bytes; `None` at the end.
    pub fn poll_bytes(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        // Registered before looking, so news that arrive in between wake us again.
        this.reader.waker.register(cx.waker());
        if this.over {
            return Poll::Ready(None);
        }
        if this.reader.cut.load(Ordering::SeqCst) {
            return this.last_word();
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
            Err(Lost) => {
                this.hub.cut(&this.reader);
                return this.last_word();
            }
        }
        // Only now, so that a server that stops has told everything it published.
        if this.hub.is_closed() || this.reader.dismissed.load(Ordering::SeqCst) {
            return Poll::Ready(None);
        }
        if this.heartbeat.poll_tick(cx).is_ready() {
            return this.ready(Bytes::from_static(b"\r\n"));
        }
        Poll::Pending
    }

    /// A comment, which every client skips: some refuse types of events they do not know.
    fn last_word(&mut self) -> Poll<Option<Bytes>> {
        self.over = true;
        self.ready(format!(": closed: {}\r\n\r\n", self.hub.why_cut()).into())
    }

    fn ready(&self, bytes: Bytes) -> Poll<Option<Bytes>> {
        self.hub.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(bytes))
    }

    /// Some of the events that are new and wanted.
    fn take(&self) -> Result<Vec<Arc<Event>>, Lost> {
        let ring = self.hub.ring();
        let next = self.reader.next.load(Ordering::SeqCst);
        if next < ring.oldest() {
            return Err(Lost);
        }
        let mut events = Vec::new();
        let mut last = next;
        for event in ring.since(next) {
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
        if let ([event], true) = (events, self.ids) {
            return event.bytes(self.plans);
        }
        let mut out = BytesMut::with_capacity(events.len() * EVENT_BYTES);
        for event in events {
            event.write(self.plans, self.ids, &mut out);
        }
        out.freeze()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.forget(&self.reader);
    }
}

/// An id that was never given says nothing about what is missed: then that is `null`. The frame has no id, so a
/// client that loses its connection now asks for the same again.
fn gap_frame(asked: u64, oldest: u64) -> Bytes {
    let at = crate::now();
    let data = Json::text(|json| {
        json.object(|json| {
            match asked < oldest {
                true => json.key("firstMissed").int(asked),
                false => json.key("firstMissed").null(),
            }
            json.key("resumedAt").int(oldest);
            json.key("eventType").string("event_stream_gap");
            json.key("timestamp").time(at);
        });
    });
    [b"event: event_stream_gap\r\ndata: ".as_slice(), &data, b"\r\n\r\n"].concat().into()
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
