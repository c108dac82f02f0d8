//! Instances that keep what they have between starts: volumes, and the resources they were placed with.
//!
//! ```text
//!             offer with room         offer with its volumes
//! Scheduled ──────────────────► New ──────────────────────────► Launched ──► ended: Suspended, and again
//!     ▲        reserve, create   │ unseen for too long                        stopped: kept, started again first
//!     └──────────────────────────┘                                            given up: destroy, unreserve
//! ```
//! An instance with a reservation belongs to its agent. It waits for it as long as it takes; only a user who wipes
//! it (or removes its app), or an operator who declares the agent gone, ends that. So whatever is destroyed here
//! was given up by somebody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::id::{InstanceId, SpecId};
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::offer::{Offer, Operation};
use marathon_model::reservation::{Reservation, ReservationState};
use marathon_model::resources::Resource;

use crate::Core;
use crate::disks;
use crate::pool::Pool;
use crate::timers::Timer;

/// What an offer holds that was reserved for instances of ours.
#[derive(Debug, Default)]
pub struct Held {
    by_instance: BTreeMap<InstanceId, Vec<Resource>>,
    /// Apps one of whose instances found its volumes here and could not be started all the same. They make no
    /// new reservation on this agent.
    barred: BTreeSet<SpecId>,
}

/// Who of an app is to be placed.
pub enum Turn {
    /// An instance that takes what is free.
    Free(Arc<Instance>),
    /// One whose resources are to be reserved first.
    Fresh(Arc<Instance>),
    /// One that finds what was reserved for it.
    Back(Arc<Instance>, Vec<Resource>),
    /// All that wait belong to other agents.
    Elsewhere,
}

impl Held {
    /// Whether an app has something here.
    pub fn has(&self, app: &SpecId) -> bool {
        self.of_app(app).next().is_some()
    }

    fn of_app<'a>(&'a self, app: &'a SpecId) -> impl Iterator<Item = (&'a InstanceId, &'a Vec<Resource>)> {
        let first = InstanceId { spec: app.clone(), uuid: uuid::Uuid::nil() };
        self.by_instance.range(first..).take_while(move |(id, _)| id.spec == *app)
    }

    pub fn refuse(&mut self, id: &InstanceId) {
        self.by_instance.remove(id);
        self.barred.insert(id.spec.clone());
    }

    pub fn use_up(&mut self, id: &InstanceId) {
        self.by_instance.remove(id);
    }
}

impl Core {
    /// Finds what belongs to our instances. What belongs to others, and what nobody can be found for, stays out.
    pub(crate) fn held(&self, pool: &Pool) -> Held {
        let mut held = Held::default();
        let Some(framework) = &self.world.view.framework else { return held };
        for resource in pool.set_aside() {
            let owner = resource.reserved.as_ref().and_then(|it| it.owner());
            let Some((_, instance)) = owner.filter(|(of, _)| *of == framework.as_str()) else { continue };
            let Ok(id) = InstanceId::parse(instance) else { continue };
            held.by_instance.entry(id).or_default().push(resource.clone());
        }
        held
    }

    /// Removes what belongs to instances that were given up.
    pub(crate) fn clear_up(&mut self, offer: &Offer, held: &mut Held, pool: &mut Pool) -> Vec<Operation> {
        let (mut volumes, mut resources) = (Vec::new(), Vec::new());
        let all = std::mem::take(&mut held.by_instance);
        for (id, found) in all {
            if !self.is_given_up(&id, &found, offer) {
                held.by_instance.insert(id, found);
                continue;
            }
            pool.drop_reserved(&id);
            volumes.extend(found.iter().filter(|it| it.volume().is_some()).cloned());
            resources.extend(found.into_iter().map(without_volume));
            if self.world.instance(&id).is_some_and(|it| it.is_condemned()) {
                self.world.drop_instance(&id);
            }
        }
        let some = |list: Vec<Resource>, operation: fn(Vec<Resource>) -> Operation| {
            (!list.is_empty()).then(|| operation(list))
        };
        some(volumes, Operation::Destroy).into_iter().chain(some(resources, Operation::Unreserve)).collect()
    }

    fn is_given_up(&self, id: &InstanceId, found: &[Resource], offer: &Offer) -> bool {
        match self.world.instance(id) {
            // Its record goes when it is wiped or was never seen; but a state older than this one, of which
            // nothing is left here, may have known it.
            None => crate::ids::made_at(id.uuid).is_some_and(|it| it >= self.world.view.began),
            Some(it) if it.is_condemned() => true,
            // It was given up with an agent that an operator declared gone.
            Some(it) if it.reservation.is_none() => it.is_over(),
            // It has found another agent since. But an agent that was registered anew has another id and the same
            // volumes, and those are never destroyed for that.
            Some(it) => {
                it.agent.as_ref().is_none_or(|agent| agent.id != offer.agent) && !has_a_volume(it, found)
            }
        }
    }

    /// Which instance of an app is next to be placed on an offer.
    pub(crate) fn turn(&self, id: &SpecId, held: &Held) -> Option<Turn> {
        let index = self.world.index.get(id)?;
        let waiting = &index.waiting;
        let app = self.world.app(id)?;
        let first = app.instances.get(waiting.first()?)?;
        if first.reservation.is_none() && !app.spec.as_ref()?.is_resident() {
            return Some(Turn::Free(first.clone()));
        }
        for (found, resources) in held.of_app(id).filter(|(it, _)| waiting.contains(&it.uuid)) {
            let instance = app.instances.get(&found.uuid)?;
            if has_all_volumes(instance, resources) {
                return Some(Turn::Back(instance.clone(), resources.clone()));
            }
        }
        if held.barred.contains(id) {
            return None;
        }
        let fresh = index.unbound.first().and_then(|it| app.instances.get(it));
        Some(fresh.map_or(Turn::Elsewhere, |it| Turn::Fresh(it.clone())))
    }

    pub(crate) fn watch_reservation(&mut self, id: &InstanceId) {
        let at = self.world.now.tick + self.policy.task_reservation_timeout;
        self.world.timers.set(Timer::Reservation(id.clone()), at);
    }

    /// Those whose reservation has been seen need not be watched any more.
    pub(crate) fn note_seen(&mut self, held: &Held) {
        for (id, resources) in &held.by_instance {
            let Some(it) = self.world.instance(id).cloned() else { continue };
            if it.reservation.as_ref().is_some_and(|it| it.is_new()) && has_all_volumes(&it, resources) {
                self.world.put_instance(in_state(&it, ReservationState::Suspended));
                self.world.timers.clear(&Timer::Reservation(id.clone()));
            }
        }
    }

    /// A reservation that no offer showed in time: it did not come about. Another instance tries again.
    pub(crate) fn on_reservation_timer(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        if it.reservation.as_ref().is_some_and(|it| it.is_new()) && it.is_over() {
            self.expunge(id);
        }
    }

    /// Gives an instance up with everything it owns. What an agent keeps for it is removed when it is offered.
    pub(crate) fn decommission(&mut self, id: &InstanceId) {
        let Some(it) = self.world.instance(id).cloned() else { return };
        if it.reservation.is_none() {
            return self.retire(id);
        }
        if it.goal != Goal::Decommissioned {
            self.world.put_instance(Instance { goal: Goal::Decommissioned, ..Instance::clone(&it) });
        }
        if !it.is_over() && !self.is_being_killed(&it) {
            self.send_kill(&it);
        }
    }

    /// Ends the task of an instance, which keeps what it owns.
    pub(crate) fn park(&mut self, it: &Arc<Instance>) {
        if it.goal == Goal::Running {
            self.world.put_instance(Instance { goal: Goal::Stopped, ..Instance::clone(it) });
        }
        if !it.is_over() && !self.is_being_killed(it) {
            self.send_kill(it);
        }
    }

    /// Lets stopped instances of an app run again, as this definition says. Returns how many.
    pub(crate) fn unpark(&mut self, spec: &AppSpec, count: u32) -> u32 {
        let Some(index) = self.world.index.get(&spec.id) else { return 0 };
        let Some(app) = self.world.app(&spec.id) else { return 0 };
        let parked = index.stopped.iter().filter_map(|it| app.instances.get(it)).filter(|it| it.is_parked());
        let parked: Vec<Arc<Instance>> = parked.take(count as usize).cloned().collect();
        for it in &parked {
            self.reschedule(it, spec);
        }
        u32::try_from(parked.len()).unwrap_or(count)
    }

    /// An instance that is over waits for its agent again, now to run as this definition says.
    pub(crate) fn reschedule(&mut self, it: &Instance, spec: &AppSpec) {
        self.world.put_instance(Instance {
            goal: Goal::Running,
            condition: Condition::Scheduled,
            since: self.world.now.wall,
            version: spec.version,
            config: spec.config,
            task: None,
            health: Vec::new(),
            ready: false,
            ..it.clone()
        });
    }

    /// Its agent will never be back: nothing binds the instance any more.
    pub(crate) fn unbind(&mut self, it: &Instance) {
        if it.goal != Goal::Running {
            return self.expunge(&it.id);
        }
        self.world.put_instance(Instance {
            condition: Condition::Scheduled,
            since: self.world.now.wall,
            agent: None,
            task: None,
            health: Vec::new(),
            ready: false,
            reservation: None,
            ..it.clone()
        });
    }
}

/// The instance with its reservation in another state, where it has one.
pub fn in_state(it: &Instance, state: ReservationState) -> Instance {
    let reservation =
        it.reservation.as_ref().map(|held| Arc::new(Reservation { state, ..Reservation::clone(held) }));
    Instance { reservation, ..it.clone() }
}

fn has_all_volumes(it: &Instance, resources: &[Resource]) -> bool {
    let Some(reservation) = &it.reservation else { return false };
    let found = volumes(resources);
    reservation.volumes.iter().all(|volume| found.contains(volume.persistence_id(it.spec()).as_str()))
}

fn has_a_volume(it: &Instance, resources: &[Resource]) -> bool {
    let Some(reservation) = &it.reservation else { return false };
    let found = volumes(resources);
    reservation.volumes.iter().any(|volume| found.contains(volume.persistence_id(it.spec()).as_str()))
}

fn volumes(resources: &[Resource]) -> BTreeSet<&str> {
    resources.iter().filter_map(|it| it.volume()).collect()
}

/// A resource as it is once the volume on it is destroyed.
fn without_volume(resource: Resource) -> Resource {
    let disk = resource.disk.as_deref().and_then(disks::without_volume);
    Resource { disk: disk.map(Arc::new), ..resource }
}
