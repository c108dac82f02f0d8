//! Single apps, which load balancers and scripts ask for again and again. The body is kept for as long as
//! the view holds the very same `App` (see `cache`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use marathon_model::command::Refusal;
use marathon_model::id::SpecId;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};

use crate::embed::Embed;
use crate::{apps, live_app, no_such_app};

/// At most so many bodies are kept; when one more comes, all are forgotten.
const BODIES_MAX: usize = 1024;
/// Larger bodies are not kept.
const BYTES_MAX: usize = 64 * 1024;

/// By app and embeds: the app that was rendered, and the body.
type Bodies = HashMap<(SpecId, Embed), (Weak<App>, Bytes)>;

/// Bodies of `GET /v2/apps/{id}`.
#[derive(Default)]
pub struct SinglesCache {
    bodies: Mutex<Bodies>,
}

impl SinglesCache {
    /// The same as `apps::one`.
    pub fn one(&self, view: &View, id: &SpecId, embed: Embed, now: Timestamp) -> Result<Bytes, Refusal> {
        let (app, _) = live_app(view, id).ok_or_else(|| no_such_app(id))?;
        // Statistics tell ages, so no two answers are the same.
        if embed.has(Embed::TASK_STATS) {
            return Ok(apps::one(view, id, embed, now)?.into());
        }
        let key = (id.clone(), embed);
        let known =
            self.lock().get(&key).filter(|it| Weak::as_ptr(&it.0) == Arc::as_ptr(app)).map(|it| it.1.clone());
        if let Some(body) = known {
            return Ok(body);
        }
        let body = Bytes::from(apps::one(view, id, embed, now)?);
        if body.len() <= BYTES_MAX {
            let mut bodies = self.lock();
            if bodies.len() >= BODIES_MAX {
                bodies.clear();
            }
            bodies.insert(key, (Arc::downgrade(app), body.clone()));
        }
        Ok(body)
    }

    fn lock(&self) -> MutexGuard<'_, Bodies> {
        // A panic elsewhere leaves a cache, which is right or is missing something.
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_testkit::{app, path, view};

    #[test]
    fn a_body_is_kept_until_the_app_changes() {
        let now = Timestamp(0);
        let cache = SinglesCache::default();
        let first = view().app(app("/a").instances(1).running(1)).build();
        let second = view().app(app("/a").instances(2).running(2)).build();
        for view in [&first, &first, &second, &first] {
            let body = cache.one(view, &path("/a"), Embed::NONE, now).unwrap();
            assert_eq!(body, apps::one(view, &path("/a"), Embed::NONE, now).unwrap());
        }
        let read = |view: &View| cache.one(view, &path("/a"), Embed::NONE, now).unwrap().as_ptr();
        assert_eq!(read(&second), read(&second), "the same bytes, not a copy");
        assert!(cache.one(&first, &path("/b"), Embed::NONE, now).is_err());
    }
}
