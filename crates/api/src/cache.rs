//! The list of all apps, which pollers of large clusters ask for all day.
//!
//! ```text
//! same view, same query   ─► the body as it was             (a reference count)
//! newer view              ─► unchanged apps copied in runs from the last whole list, the rest rendered
//! ```
//! A fragment depends on nothing but its `App` and the embeds, so it stays right as long as the view
//! holds the very same `App`. Sameness is that of the allocation, held by weak references: they keep
//! the address from being used again, but not the contents, and unlike a revision number they cannot
//! be mistaken when a new term of leadership counts from the start again.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use marathon_model::app::AppSpec;
use marathon_model::id::SpecId;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};

use crate::embed::Embed;
use crate::info_app::write_app_info;
use crate::json::Json;

/// How many distinct queries are remembered for one view.
const BODIES: usize = 8;
/// About the size of an app with one task.
const APP_BYTES: usize = 1024;
/// For how many sets of embeds the parts of the list are remembered.
const WHOLES: usize = 2;

/// Which apps the list holds: the raw text of the filters (`cmd`, `id`, `label`) tells queries apart,
/// the predicate does the work.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    pub text: &'a str,
    pub keep: &'a dyn Fn(&AppSpec) -> bool,
}

/// Bodies of `GET /v2/apps`. Readers share it freely: the lock is held for a look or a note, never
/// while rendering, and readers who miss the same body wait for the one who renders it.
pub struct AppsCache {
    state: Mutex<State>,
    /// Bodies past this many bytes in all are not kept.
    limit: usize,
}

#[derive(Default)]
struct State {
    /// Of one view only; oldest first.
    bodies: VecDeque<Kept>,
    /// Last rendered last.
    wholes: VecDeque<(Embed, Arc<Whole>)>,
}

struct Kept {
    view: Weak<View>,
    embed: Embed,
    filter: Option<Box<str>>,
    body: Arc<OnceLock<Bytes>>,
}

/// An unfiltered list and where each app lies in it, in the order of their paths.
struct Whole {
    body: Bytes,
    parts: Vec<Part>,
}

struct Part {
    id: SpecId,
    app: Weak<App>,
    range: Range<usize>,
}

impl Default for AppsCache {
    /// 128 MiB: about two lists of 100,000 tasks.
    fn default() -> AppsCache {
        AppsCache::new(128 << 20)
    }
}

impl AppsCache {
    pub fn new(limit_bytes: usize) -> AppsCache {
        AppsCache { state: Mutex::default(), limit: limit_bytes }
    }

    /// `GET /v2/apps`: `{"apps":[…]}`. What the list is always shown with is added to `embed`.
    pub fn list(&self, view: &Arc<View>, embed: Embed, filter: Option<Filter<'_>>, now: Timestamp) -> Bytes {
        let embed = embed | Embed::LIST;
        if embed.has(Embed::TASK_STATS) {
            // It tells ages, so no two answers are the same.
            return render(view, embed, filter, now, None).0.into();
        }
        let slot = self.slot(view, embed, filter.map(|it| it.text));
        if let Some(body) = slot.get() {
            return body.clone();
        }
        let body = slot.get_or_init(|| self.render(view, embed, filter, now)).clone();
        self.trim();
        body
    }

    /// Where the body of this query is or will be.
    fn slot(&self, view: &Arc<View>, embed: Embed, filter: Option<&str>) -> Arc<OnceLock<Bytes>> {
        let mut state = self.lock();
        let of_view = |it: &Kept| Weak::as_ptr(&it.view) == Arc::as_ptr(view);
        let found =
            state.bodies.iter().find(|it| of_view(it) && it.embed == embed && it.filter.as_deref() == filter);
        if let Some(kept) = found {
            return kept.body.clone();
        }
        state.bodies.retain(of_view);
        if state.bodies.len() >= BODIES {
            state.bodies.pop_front();
        }
        let body = Arc::new(OnceLock::new());
        let filter = filter.map(Box::from);
        state.bodies.push_back(Kept { view: Arc::downgrade(view), embed, filter, body: body.clone() });
        body
    }

    fn render(&self, view: &View, embed: Embed, filter: Option<Filter<'_>>, now: Timestamp) -> Bytes {
        let known = self.lock().wholes.iter().find(|it| it.0 == embed).map(|it| it.1.clone());
        let (mut body, parts) = render(view, embed, filter, now, known.as_deref());
        if body.capacity() - body.len() > body.len() / 4 {
            body.shrink_to_fit();
        }
        let body = Bytes::from(body);
        if filter.is_none() && body.len() <= self.limit {
            let mut state = self.lock();
            state.wholes.retain(|it| it.0 != embed);
            if state.wholes.len() >= WHOLES {
                state.wholes.pop_front();
            }
            state.wholes.push_back((embed, Arc::new(Whole { body: body.clone(), parts })));
        }
        body
    }

    /// Forgets the oldest bodies until the rest fits.
    fn trim(&self) {
        let mut state = self.lock();
        let size = |it: &Kept| it.body.get().map_or(0, Bytes::len);
        let mut total: usize = state.bodies.iter().map(size).sum();
        while total > self.limit
            && let Some(oldest) = state.bodies.pop_front()
        {
            total -= size(&oldest);
        }
    }

    /// What lies behind the lock is whole after every statement, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list, and where each app lies in it. Both `known` and the view are in the order of paths, so one
/// walk over the two finds what can be copied.
fn render(
    view: &View,
    embed: Embed,
    filter: Option<Filter<'_>>,
    now: Timestamp,
    known: Option<&Whole>,
) -> (Vec<u8>, Vec<Part>) {
    let size = match (filter, known) {
        (None, Some(known)) => known.body.len() + known.body.len() / 16,
        (None, None) => view.apps.len() * APP_BYTES,
        _ => 4096,
    };
    let mut json = Json::with_capacity(size);
    let mut parts = Vec::with_capacity(if filter.is_none() { view.apps.len() } else { 0 });
    let mut old = known.map_or(&[][..], |it| &it.parts).iter().peekable();
    // Neighbours that are copied together, commas between them included.
    let mut run: Option<(&Whole, Range<usize>)> = None;

    json.object(|json| {
        json.key("apps").open(b'[');
        // Where the next app begins, behind its comma if it needs one.
        let mut at = json.len();
        for (app, spec) in crate::live_apps(view) {
            if filter.is_some_and(|it| !(it.keep)(spec)) {
                continue;
            }
            while old.next_if(|it| it.id < app.id).is_some() {}
            let same =
                old.next_if(|it| it.id == app.id).filter(|it| Weak::as_ptr(&it.app) == Arc::as_ptr(app));
            let end = match (same, known) {
                (Some(part), Some(known)) => {
                    match &mut run {
                        Some((_, run)) if run.end + 1 == part.range.start => run.end = part.range.end,
                        other => {
                            flush(json, other.take());
                            run = Some((known, part.range.clone()));
                        }
                    }
                    at + part.range.len()
                }
                _ => {
                    flush(json, run.take());
                    write_app_info(json, app, spec, embed, now);
                    json.len()
                }
            };
            if filter.is_none() {
                parts.push(Part { id: app.id.clone(), app: Arc::downgrade(app), range: at..end });
            }
            at = end + 1;
        }
        flush(json, run.take());
        json.close(b']');
    });
    (json.into_bytes(), parts)
}

fn flush(json: &mut Json, run: Option<(&Whole, Range<usize>)>) {
    if let Some((whole, range)) = run {
        json.raw(&whole.body[range]);
    }
}
