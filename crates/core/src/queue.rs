//! The launch queue as operators see it: since when an app waits, and what became of offers meanwhile.
//! Which instances wait is not kept here; that follows from the instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::id::{AgentId, SpecId};
use marathon_model::offer::Offer;
use marathon_model::view::{Mismatch, UnusedOffer, Waiting};

use crate::world::World;

/// Unused offers remembered for one app, one for each agent.
const LAST_UNUSED_MAX: usize = 100;

/// Where in the list of unused offers each agent's is: with thousands of offers and of waiting apps a search
/// would be most of the work.
#[derive(Debug, Default)]
pub struct Slots {
    of: BTreeMap<AgentId, usize>,
    /// The slot that goes to the next agent once all are taken: those that came first are forgotten first.
    next: usize,
}

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
    world.unused.remove(id);
}

/// Takes down that an offer was looked at for an app, and why it did not fit (empty: it did).
pub fn note_offer(world: &mut World, id: &SpecId, offer: &Arc<Offer>, reasons: Vec<Mismatch>) {
    let at = world.now.wall;
    world.app_mut(id);
    let Some(app) = world.view.apps.get_mut(id) else { return };
    let Some(waiting) = &mut Arc::make_mut(app).waiting else { return };
    let waiting = Arc::make_mut(waiting);
    waiting.processed_offers += 1;
    let Some(first) = reasons.first() else {
        waiting.last_used_at = Some(at);
        return;
    };
    waiting.unused_offers += 1;
    waiting.last_unused_at = Some(at);
    waiting.refusals[*first as usize] += 1;
    let unused = Arc::new(UnusedOffer { offer: offer.clone(), reasons, at });
    let slots = world.unused.entry(id.clone()).or_default();
    match slots.of.get(&offer.agent) {
        Some(slot) => drop(waiting.last_unused.set(*slot, unused)),
        None if waiting.last_unused.len() < LAST_UNUSED_MAX => {
            slots.of.insert(offer.agent.clone(), waiting.last_unused.len());
            waiting.last_unused.push_back(unused);
        }
        None => {
            let forgotten = waiting.last_unused.set(slots.next, unused);
            slots.of.remove(&forgotten.offer.agent);
            slots.of.insert(offer.agent.clone(), slots.next);
            slots.next = (slots.next + 1) % LAST_UNUSED_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::{OfferId, PathId};

    #[test]
    fn the_newest_offer_of_each_agent_up_to_a_limit() {
        let id = PathId::parse("/a").unwrap();
        let mut world = World::default();
        enter(&mut world, &id);
        let note = |world: &mut World, offer: usize, agent: usize| {
            let offer = Offer {
                id: OfferId::new(offer.to_string()),
                agent: AgentId::new(format!("a{agent}")),
                hostname: "h".into(),
                role: "*".into(),
                resources: Vec::new(),
                attributes: Default::default(),
                region: None,
                zone: None,
                unavailability: None,
            };
            note_offer(world, &id, &Arc::new(offer), vec![Mismatch::InsufficientCpus]);
            let unused = &world.view.apps[&id].waiting.as_ref().unwrap().last_unused;
            assert_eq!(unused.len(), world.unused[&id].of.len());
            for (at, it) in unused.iter().enumerate() {
                assert_eq!(world.unused[&id].of[&it.offer.agent], at);
            }
            unused.iter().map(|it| format!("{}:{}", it.offer.agent, it.offer.id)).collect::<Vec<_>>()
        };
        note(&mut world, 1, 1);
        note(&mut world, 2, 2);
        assert_eq!(note(&mut world, 3, 1), ["a1:3", "a2:2"]);
        for agent in 3..=LAST_UNUSED_MAX {
            note(&mut world, 9, agent);
        }
        let all = note(&mut world, 10, 500);
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str()), (LAST_UNUSED_MAX, "a500:10", "a2:2"));
        let all = note(&mut world, 11, 501);
        assert_eq!((all[0].as_str(), all[1].as_str()), ("a500:10", "a501:11"));
        leave(&mut world, &id);
        assert!(world.unused.is_empty());
    }
}
