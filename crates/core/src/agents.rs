//! What each agent has left, by our account: for previews and for reasons, never for placing.
//!
//! An offer tells what is free on its agent at that moment; until the next one our own launches and ends are
//! booked on top of it. Everything here may be older than the truth (other frameworks start tasks too, and an
//! agent that is suppressed tells nothing), so nothing is launched by it. It lives in memory only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::id::{AgentId, OfferId, TaskId};
use marathon_model::instance::{Condition, Instance};
use marathon_model::offer::Offer;
use marathon_model::resources::{ANY_ROLE, Amount, Amounts, Milli, PortRange, Resource, Role};
use marathon_model::time::Timestamp;
use marathon_model::view::AgentSeen;

use crate::world::World;

/// So many agents are remembered. Beyond, the one heard of longest ago is forgotten.
const AGENTS_MAX: usize = 50_000;

/// What is needed beside `View::agents` to find and forget its entries.
#[derive(Debug, Default)]
pub struct Agents {
    by_offer: BTreeMap<OfferId, AgentId>,
    by_age: BTreeSet<(Timestamp, AgentId)>,
    /// The roles that tasks took their resources from, where that is not simply `*`.
    shares: BTreeMap<TaskId, BTreeMap<Role, Amounts>>,
}

/// Books an offer that was just answered. `left`: what our launches left of it. `again`: another offer of the
/// same agent came with it, so the two add up.
pub fn note(world: &mut World, offer: &Arc<Offer>, left: Vec<Resource>, again: bool) {
    let before = world.view.agents.get(&offer.agent).cloned();
    let mut free = left;
    if let Some(before) = &before {
        // An offer holds all that is free for its role. What is set aside for another role comes separately.
        let other = |it: &&Resource| again || *it.role != *ANY_ROLE && it.role != offer.role;
        free.extend(before.free.iter().filter(other).cloned());
        unlist(world, before);
    } else if world.view.agents.len() >= AGENTS_MAX
        && let Some((_, oldest)) = world.agents.by_age.first().cloned()
    {
        forget(world, &oldest);
    }
    let at = world.now.wall;
    world.agents.by_offer.insert(offer.id.clone(), offer.agent.clone());
    world.agents.by_age.insert((at, offer.agent.clone()));
    let seen = AgentSeen { offer: offer.clone(), free, at };
    world.view.agents.insert(offer.agent.clone(), Arc::new(seen));
    world.changed = true;
}

/// Remembers from which roles a task took what it has.
pub fn took(world: &mut World, task: &TaskId, shares: &BTreeMap<Role, Amounts>) {
    if shares.keys().any(|it| **it != *ANY_ROLE) {
        world.agents.shares.insert(task.clone(), shares.clone());
    }
}

/// Nothing more will be heard of this task.
pub fn forget_task(world: &mut World, task: &TaskId) {
    world.agents.shares.remove(task);
}

/// The task of this instance has ended at this time: what it had is free again.
pub fn give_back(world: &mut World, it: &Instance, end: Condition, at: Timestamp) {
    let Some(task) = &it.task else { return };
    let shares = world.agents.shares.remove(&task.id);
    // An agent that is gone, or that nobody knows, has nothing to give.
    if matches!(end, Condition::Gone | Condition::Unknown) {
        return;
    }
    // What was reserved for an instance stays its own, and is there for its next start.
    let kept = crate::reserve::kept_for(world, it);
    let Some(seen) = it.agent.as_ref().and_then(|agent| world.view.agents.get_mut(&agent.id)) else { return };
    // An offer that came after the end has it in it. Should that not be so, the next one will; counted twice it would
    // stay until then.
    if at < seen.at {
        return;
    }
    let free = &mut Arc::make_mut(seen).free;
    if it.reservation.is_some() {
        free.extend(kept);
        world.changed = true;
        return;
    }
    for (role, amounts) in shares.unwrap_or_else(|| BTreeMap::from([(ANY_ROLE.into(), task.resources)])) {
        let gpus = Milli::from_whole(amounts.gpus.into());
        for amount in [
            Amount::Cpus(amounts.cpus),
            Amount::Mem(amounts.mem),
            Amount::Disk(amounts.disk),
            Amount::Gpus(gpus),
        ] {
            add(free, &role, amount);
        }
    }
    give_back_ports(free, &task.ports);
    world.changed = true;
}

fn add(free: &mut Vec<Resource>, role: &Role, more: Amount) {
    let plain = free.iter_mut().filter(|it| it.role == *role && it.reserved.is_none() && it.disk.is_none());
    for it in plain {
        match (&mut it.amount, &more) {
            (Amount::Cpus(have), Amount::Cpus(more))
            | (Amount::Mem(have), Amount::Mem(more))
            | (Amount::Disk(have), Amount::Disk(more))
            | (Amount::Gpus(have), Amount::Gpus(more)) => {
                *have = *have + *more;
                return;
            }
            _ => {}
        }
    }
    let nothing = [Amount::Cpus, Amount::Mem, Amount::Disk, Amount::Gpus].map(|it| it(Milli::ZERO));
    if !nothing.contains(&more) {
        free.push(Resource::new(role.clone(), more));
    }
}

/// From which role a port was taken is not kept; most agents have them in one.
fn give_back_ports(free: &mut Vec<Resource>, ports: &[u16]) {
    if ports.is_empty() {
        return;
    }
    let at = free.iter().position(|it| matches!(it.amount, Amount::Ports(_))).unwrap_or_else(|| {
        free.push(Resource::new(ANY_ROLE, Amount::Ports(Vec::new())));
        free.len() - 1
    });
    let Amount::Ports(ranges) = &mut free[at].amount else { return };
    ranges.extend(ports.iter().map(|&port| PortRange { first: port, last: port }));
    // Joined, lest a busy agent's list grow piece by piece.
    ranges.sort_unstable();
    let mut joined: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for it in ranges.drain(..) {
        match joined.last_mut() {
            Some(last) if u32::from(it.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(it.last)
            }
            _ => joined.push(it),
        }
    }
    *ranges = joined;
}

/// The agent is lost: nothing is free there any more.
pub fn forget(world: &mut World, agent: &AgentId) {
    if let Some(before) = world.view.agents.remove(agent) {
        unlist(world, &before);
        world.changed = true;
    }
}

/// The newest offer of an agent is withdrawn: what is free there is not known until the next.
pub fn rescinded(world: &mut World, offer: &OfferId) {
    if let Some(agent) = world.agents.by_offer.get(offer).cloned() {
        forget(world, &agent);
    }
}

/// After a new subscription the engine offers everything anew, and what is gone it may not mention.
pub fn forget_all(world: &mut World) {
    world.view.agents.clear();
    world.agents.by_offer.clear();
    world.agents.by_age.clear();
    world.changed = true;
}

/// Of a view that came from elsewhere, for a copy of a core.
pub fn reindex(world: &mut World) {
    let seen: Vec<Arc<AgentSeen>> = world.view.agents.values().cloned().collect();
    for it in seen {
        world.agents.by_offer.insert(it.offer.id.clone(), it.offer.agent.clone());
        world.agents.by_age.insert((it.at, it.offer.agent.clone()));
    }
}

fn unlist(world: &mut World, seen: &AgentSeen) {
    world.agents.by_offer.remove(&seen.offer.id);
    world.agents.by_age.remove(&(seen.at, seen.offer.agent.clone()));
}

/// What must hold between the view and its index.
pub fn audit(world: &World) -> Option<String> {
    let seen = &world.view.agents;
    let fits = seen.len() == world.agents.by_offer.len()
        && seen.len() == world.agents.by_age.len()
        && seen.iter().all(|(id, it)| world.agents.by_offer.get(&it.offer.id) == Some(id))
        && seen.iter().all(|(id, it)| world.agents.by_age.contains(&(it.at, id.clone())));
    (!fits).then(|| "the agents seen are not indexed as they are".to_owned())
}
