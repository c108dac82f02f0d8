//! The launch queue as operators see it: since when an app waits, and what became of offers meanwhile.
//! Which instances wait is not kept here; that follows from the instances.

use std::sync::Arc;

use marathon_model::id::SpecId;
use marathon_model::offer::Offer;
use marathon_model::view::{Mismatch, UnusedOffer, Waiting};

use crate::world::World;

/// Unused offers remembered for one app, one for each agent.
const LAST_UNUSED_MAX: usize = 100;

pub fn enter(world: &mut World, id: &SpecId) {
    let since = world.now.wall;
    let app = world.app_mut(id);
    let role =
        app.spec.as_ref().map_or_else(|| marathon_model::resources::ANY_ROLE.into(), |it| it.role.clone());
    app.waiting = Some(Arc::new(Waiting {
        since,
        role,
        processed_offers: 0,
        unused_offers: 0,
        last_unused_at: None,
        last_used_at: None,
        refusals: [0; Mismatch::ALL.len()],
        last_unused: imbl::Vector::new(),
    }));
}

pub fn leave(world: &mut World, id: &SpecId) {
    world.app_mut(id).waiting = None;
}

/// Takes down that an offer was looked at for an app, and why it did not fit (empty: it did).
pub fn note_offer(world: &mut World, id: &SpecId, offer: &Arc<Offer>, reasons: Vec<Mismatch>) {
    let at = world.now.wall;
    let app = world.app_mut(id);
    let Some(waiting) = &mut app.waiting else { return };
    let waiting = Arc::make_mut(waiting);
    waiting.processed_offers += 1;
    let Some(first) = reasons.first() else {
        waiting.last_used_at = Some(at);
        return;
    };
    waiting.unused_offers += 1;
    waiting.last_unused_at = Some(at);
    waiting.refusals[*first as usize] += 1;
    if let Some(known) = waiting.last_unused.iter().position(|it| it.offer.agent == offer.agent) {
        waiting.last_unused.remove(known);
    } else if waiting.last_unused.len() >= LAST_UNUSED_MAX {
        waiting.last_unused.pop_front();
    }
    waiting.last_unused.push_back(Arc::new(UnusedOffer { offer: offer.clone(), reasons, at }));
}
