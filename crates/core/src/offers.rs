//! Offer matching: what the waiting instances make of a batch of offers.
//!
//! ```text
//! offers ─► held, cleared up ─► pass: each offer, each app in turn ─► accept or decline each
//!                                 ▲                            │
//!                                 └── GROUP_BY may allow more ─┘
//! ```
//! One pass puts at most as many instances of an app that is spread by GROUP_BY on an offer as the other values
//! then allow; once they have theirs, the same offers can take more. Without further passes, such an app would
//! grow by one instance per agent in each allocation cycle of the master.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::id::{AgentId, OfferId, SpecId};
use marathon_model::instance::Agent;
use marathon_model::offer::{Call, Launch, Offer, Operation};
use marathon_model::time::Timestamp;
use marathon_model::view::Mismatch;

use crate::Core;
use crate::place::Candidate;
use crate::pool::Pool;
use crate::resident::{Held, Turn};

/// Further passes over a batch look at no more offers than this, or once more at each: a step is to end before the
/// next cycle, and what is left then waits for that.
const LOOKS_MIN: usize = 5_000;

/// By app and configuration: amid a rollout that was broken off, an app has instances of several.
type Candidates = BTreeMap<(SpecId, Timestamp), Candidate>;

/// An offer that is not answered yet.
struct Open {
    offer: Arc<Offer>,
    agent: Arc<Agent>,
    /// What is left of it.
    pool: Pool,
    held: Held,
    operations: Vec<Operation>,
    launches: Vec<Launch>,
    reservations: usize,
    /// The apps that it has started or reserved something for.
    used: BTreeSet<SpecId>,
}

impl Open {
    fn is_full(&self, limit: usize) -> bool {
        self.launches.len() + self.reservations >= limit
    }

    /// What the master is told.
    fn into_operations(self) -> (Arc<Offer>, Pool, Vec<Operation>) {
        let mut operations = self.operations;
        if !self.launches.is_empty() {
            operations.push(Operation::Launch(self.launches));
        }
        (self.offer, self.pool, operations)
    }
}

impl Core {
    pub(crate) fn on_offers(&mut self, offers: Vec<Offer>) {
        self.world.view.counters.offers_incoming += offers.len() as u64;
        let mut candidates = Candidates::new();
        let mut all = Vec::with_capacity(offers.len());
        for offer in offers {
            let mut open = self.open(offer);
            let mut waiting: Vec<SpecId> = self.launchable_after(self.last_served.as_ref());
            // Those that find their volumes here can be placed nowhere else.
            waiting.sort_by_key(|it| !open.held.has(it));
            self.place_waiting(waiting, &mut open, &mut candidates, true);
            all.push(open);
        }
        self.place_more(&mut all, &mut candidates);
        self.answer_offers(all);
    }

    /// Removes what was given up.
    fn open(&mut self, offer: Offer) -> Open {
        let offer = Arc::new(offer);
        let mut pool = Pool::new(&offer);
        let mut held = self.held(&pool);
        let operations = self.clear_up(&offer, &mut held, &mut pool);
        let agent = Arc::new(Agent {
            id: offer.agent.clone(),
            host: offer.hostname.clone(),
            region: offer.region.clone(),
            zone: offer.zone.clone(),
            attributes: offer.attributes.clone(),
        });
        let (launches, used) = Default::default();
        Open { offer, agent, pool, held, operations, launches, reservations: 0, used }
    }

    /// Passes over the offers again while that places more of the apps that are spread over values.
    fn place_more(&mut self, all: &mut [Open], candidates: &mut Candidates) {
        let served = all.iter().flat_map(|it| &it.used);
        let spread: BTreeSet<&SpecId> =
            candidates.iter().filter(|(_, it)| it.rules.balance()).map(|(it, _)| &it.0).collect();
        let mut more: BTreeSet<SpecId> = served.filter(|it| spread.contains(it)).cloned().collect();
        let mut looks = LOOKS_MIN.max(all.len());
        while !more.is_empty() && all.len() > 1 {
            let mut placed = BTreeSet::new();
            for open in all.iter_mut() {
                let waiting: Vec<SpecId> = more.intersection(&self.world.launchable).cloned().collect();
                let Some(left) = looks.checked_sub(waiting.len()).filter(|_| !waiting.is_empty()) else {
                    return;
                };
                looks = left;
                placed.extend(self.place_waiting(waiting, open, candidates, false));
            }
            more = placed;
        }
    }

    fn answer_offers(&mut self, all: Vec<Open>) {
        let mut declined: Vec<OfferId> = Vec::new();
        let mut seen: BTreeSet<AgentId> = BTreeSet::new();
        for open in all {
            self.note_seen(&open.held);
            let (offer, pool, operations) = open.into_operations();
            let again = !seen.insert(offer.agent.clone());
            crate::agents::note(&mut self.world, &offer, pool.into_left(), again);
            if operations.is_empty() {
                declined.push(offer.id.clone());
                continue;
            }
            self.world.view.counters.offers_used += 1;
            self.world.view.counters.tasks_launched += Operation::launches(&operations).count() as u64;
            self.world.call(Call::Accept { offer: offer.id.clone(), operations });
        }
        if !declined.is_empty() {
            self.world.view.counters.offers_declined += declined.len() as u64;
            let hold = self.policy.decline_offer_duration;
            self.world.call(Call::Decline { offers: declined, hold });
        }
    }

    /// Places as many waiting instances as fit, taking turns between apps. Tells which apps got something.
    ///
    /// `first`: nobody has looked at this offer before. What became of an offer is taken down once.
    fn place_waiting(
        &mut self,
        mut waiting: Vec<SpecId>,
        open: &mut Open,
        candidates: &mut Candidates,
        first: bool,
    ) -> BTreeSet<SpecId> {
        let limit = self.policy.max_instances_per_offer.unwrap_or(usize::MAX);
        let mut served = BTreeSet::new();
        while !waiting.is_empty() && !open.is_full(limit) {
            let mut still = Vec::with_capacity(waiting.len());
            for id in waiting {
                if open.is_full(limit) {
                    break;
                }
                let Some(turn) = self.turn(&id, &open.held) else { continue };
                // An offer that already started one of the app was not refused by it.
                let is_news = first && !open.used.contains(&id);
                let instance = match &turn {
                    Turn::Free(it) | Turn::Fresh(it) | Turn::Back(it, _) => it.clone(),
                    Turn::Elsewhere => {
                        if is_news {
                            let reasons = vec![Mismatch::NoCorrespondingReservationFound];
                            crate::queue::note_offer(&mut self.world, &id, &open.offer, reasons);
                        }
                        continue;
                    }
                };
                let key = (id.clone(), instance.config);
                if !candidates.contains_key(&key) {
                    match self.candidate(&id, &instance) {
                        Some(candidate) => drop(candidates.insert(key.clone(), candidate)),
                        None => continue,
                    }
                }
                let candidate = &candidates[&key];
                let Open { offer, agent, pool, held, .. } = open;
                let placed = match &turn {
                    Turn::Back(_, found) => self
                        .place_back(&instance, candidate, offer, agent, found)
                        .map(|launch| open.launches.push(launch)),
                    Turn::Fresh(_) => {
                        self.place_fresh(&instance, candidate, offer, agent, pool).map(|more| {
                            open.reservations += 1;
                            open.operations.extend(more);
                        })
                    }
                    Turn::Free(_) | Turn::Elsewhere => self
                        .place_free(&instance, candidate, offer, agent, pool)
                        .map(|launch| open.launches.push(launch)),
                };
                if let Err(reasons) = placed {
                    if is_news {
                        crate::queue::note_offer(&mut self.world, &id, offer, reasons);
                    }
                    if let Turn::Back(..) = turn {
                        held.refuse(&instance.id);
                        still.push(id);
                    }
                    continue;
                }
                if let Turn::Back(..) = turn {
                    held.use_up(&instance.id);
                    pool.drop_reserved(&instance.id);
                }
                if open.used.insert(id.clone()) && first {
                    crate::queue::note_offer(&mut self.world, &id, offer, Vec::new());
                }
                served.insert(id.clone());
                self.last_served = Some(id.clone());
                still.push(id);
            }
            waiting = still;
        }
        served
    }
}
