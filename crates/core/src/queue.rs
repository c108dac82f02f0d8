//! The launch queue as operators see it: since when an app waits, and what became of offers meanwhile.
//! Which instances wait is not kept here; that follows from the instances.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marathon_model::id::{AgentId, SpecId};
use marathon_model::offer::Offer;
use marathon_model::time::Timestamp;
use marathon_model::view::{Mismatch, UnusedOffer, Waiting};

use crate::timers::Timer;
use crate::world::World;

/// Unused offers remembered for one app, one for each agent.
const LAST_UNUSED_MAX: usize = 100;
/// So many notes are written down in the step they were made in.
const NOTES_AT_ONCE: usize = 100;
/// When more are written down. Long enough for the offers that come with this one to be answered first, and to be
/// written down in one go with it; too short for whoever looks at the queue to notice.
const NOTES_AFTER: Duration = Duration::from_millis(100);
/// More are not kept for a later step.
const NOTES_MAX: usize = 10_000;

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

/// What became of an offer for one app.
#[derive(Debug)]
pub struct Note {
    app: SpecId,
    offer: Arc<Offer>,
    /// Why it did not fit; empty: it did.
    reasons: Vec<Mismatch>,
    at: Timestamp,
}

/// Notes that an offer was looked at for an app, and why it did not fit (empty: it did).
pub fn note_offer(world: &mut World, id: &SpecId, offer: &Arc<Offer>, reasons: Vec<Mismatch>) {
    world.notes.push(Note { app: id.clone(), offer: offer.clone(), reasons, at: world.now.wall });
    if world.notes.len() >= NOTES_MAX {
        take_down(world);
    }
}

/// At the end of a step. Writing to a thousand waiting apps takes longer than answering an offer, and nobody waits
/// for that: many notes have a step of their own, soon after the answer.
pub fn end_step(world: &mut World) {
    if world.timers.is_set(&Timer::Notes) {
        return;
    }
    if world.notes.len() > NOTES_AT_ONCE {
        world.timers.set(Timer::Notes, world.now.tick + NOTES_AFTER);
    } else {
        take_down(world);
    }
}

/// Writes the notes to where operators see them.
pub fn take_down(world: &mut World) {
    let mut notes = std::mem::take(&mut world.notes);
    // Stable: those of one app stay in order.
    notes.sort_by(|a, b| a.app.cmp(&b.app));
    let mut notes = notes.into_iter().peekable();
    while let Some(first) = notes.next() {
        let id = first.app.clone();
        let World { view, unused, .. } = world;
        // It may have been placed or removed since.
        let app = view.apps.get_mut(&id).filter(|it| it.waiting.is_some());
        let Some(waiting) = app.and_then(|it| Arc::make_mut(it).waiting.as_mut()) else {
            while notes.next_if(|it| it.app == id).is_some() {}
            continue;
        };
        let waiting = Arc::make_mut(waiting);
        let slots = unused.entry(id.clone()).or_default();
        let mut next = Some(first);
        while let Some(note) = next {
            if note.at >= waiting.since {
                add(waiting, slots, note);
            }
            next = notes.next_if(|it| it.app == id);
        }
        world.changed = true;
    }
}

fn add(waiting: &mut Waiting, slots: &mut Slots, note: Note) {
    let Note { offer, reasons, at, .. } = note;
    waiting.processed_offers += 1;
    let Some(first) = reasons.first() else {
        waiting.last_used_at = Some(at);
        return;
    };
    waiting.unused_offers += 1;
    waiting.last_unused_at = Some(at);
    waiting.refusals[*first as usize] += 1;
    let unused = Arc::new(UnusedOffer { offer: offer.clone(), reasons, at });
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
    use marathon_model::time::Tick;

    #[test]
    fn the_newest_offer_of_each_agent_up_to_a_limit() {
        let id = PathId::parse("/a").unwrap();
        let mut world = World::default();
        enter(&mut world, &id);
        let note = |world: &mut World, offer: usize, agent: usize| {
            let offer = Arc::new(Offer {
                id: OfferId::new(offer.to_string()),
                agent: AgentId::new(format!("a{agent}")),
                ..Offer::clone(&self::offer(0))
            });
            note_offer(world, &id, &offer, vec![Mismatch::InsufficientCpus]);
            end_step(world);
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

    fn offer(id: usize) -> Arc<Offer> {
        Arc::new(Offer {
            id: OfferId::new(id.to_string()),
            agent: AgentId::new("a"),
            hostname: "h".into(),
            role: "*".into(),
            resources: Vec::new(),
            attributes: Default::default(),
            region: None,
            zone: None,
            unavailability: None,
        })
    }

    #[test]
    fn many_notes_wait_for_a_step_of_their_own() {
        let ids: Vec<SpecId> =
            (0..=NOTES_AT_ONCE).map(|it| PathId::parse(&format!("/a{it:03}")).unwrap()).collect();
        let mut world = World::default();
        ids.iter().for_each(|it| enter(&mut world, it));
        let looked_at = |world: &World, id: &SpecId| {
            world.view.apps[id].waiting.as_ref().map(|it| (it.processed_offers, it.unused_offers))
        };
        for (used, id) in [(false, &ids[0]), (true, &ids[0]), (false, &ids[1])] {
            let reasons = if used { Vec::new() } else { vec![Mismatch::InsufficientCpus] };
            note_offer(&mut world, id, &offer(1), reasons);
        }
        end_step(&mut world);
        assert_eq!([0, 1].map(|it| looked_at(&world, &ids[it])), [Some((2, 1)), Some((1, 1))]);
        assert!(!world.timers.is_set(&Timer::Notes));

        ids.iter().for_each(|it| note_offer(&mut world, it, &offer(2), vec![Mismatch::InsufficientCpus]));
        end_step(&mut world);
        assert_eq!(looked_at(&world, &ids[0]), Some((2, 1)));
        let due = |world: &World| world.timers.next().map(|(at, _)| at);
        assert_eq!(due(&world), Some(world.now.tick + NOTES_AFTER));
        // More of them move nothing.
        world.now.tick = world.now.tick + Duration::from_millis(7);
        end_step(&mut world);
        assert_eq!(due(&world), Some(Tick(0) + NOTES_AFTER));
        // One is placed meanwhile, another waits anew: what was noted is about the time before.
        leave(&mut world, &ids[1]);
        world.now.wall = Timestamp(1);
        leave(&mut world, &ids[2]);
        enter(&mut world, &ids[2]);
        take_down(&mut world);
        let got = [0, 1, 2, 3].map(|it| looked_at(&world, &ids[it]));
        assert_eq!(got, [Some((3, 2)), None, Some((0, 0)), Some((1, 1))]);
    }

    #[test]
    fn notes_are_kept_up_to_a_limit() {
        let id = PathId::parse("/a").unwrap();
        let mut world = World::default();
        enter(&mut world, &id);
        for _ in 0..NOTES_MAX + 1 {
            note_offer(&mut world, &id, &offer(1), vec![Mismatch::InsufficientCpus]);
        }
        assert_eq!(world.notes.len(), 1);
    }
}
