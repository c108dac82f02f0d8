//! Placing instances that own volumes: the reservation first, then every start on what was reserved.

use std::borrow::Cow;
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::instance::{Agent, Instance};
use marathon_model::offer::{Launch, Offer, Operation};
use marathon_model::reservation::{LocalVolume, Reservation, ReservationState, VolumeWish};
use marathon_model::resources::{
    ANY_ROLE, Amount, Amounts, Disk, Milli, PortRange, Reserved, Resource, Role,
};
use marathon_model::view::Mismatch;

use crate::Core;
use crate::constraint::{self, Places};
use crate::disks::Space;
use crate::place::{Candidate, in_maintenance, refusals, some_refused};
use crate::pool::{Pool, port_wishes};
use crate::world::World;

impl Core {
    /// Reserves what an instance needs; it is started when an offer shows that.
    pub(crate) fn place_fresh(
        &mut self,
        instance: &Instance,
        candidate: &Candidate,
        offer: &Offer,
        agent: &Arc<Agent>,
        pool: &mut Pool,
    ) -> Result<Vec<Operation>, Vec<Mismatch>> {
        let places = self.places_of_all(&candidate.spec);
        let mut refused = refusals(&self.policy, self.world.now.wall, candidate, &places, offer, pool);
        // Reservations are made of what is nobody's, in the role the offer was made to.
        let suits = offer.role == instance.role && candidate.roles.iter().any(|it| **it == *ANY_ROLE);
        if !suits && refused.first() != Some(&Mismatch::UnfulfilledRole) {
            refused.insert(0, Mismatch::UnfulfilledRole);
        }
        some_refused(refused)?;
        self.reserve(instance, candidate, agent, pool).map_err(|why| vec![why])
    }

    /// Starts an instance on what was reserved for it.
    pub(crate) fn place_back(
        &mut self,
        instance: &Instance,
        candidate: &Candidate,
        offer: &Offer,
        agent: &Arc<Agent>,
        found: &[Resource],
    ) -> Result<Launch, Vec<Mismatch>> {
        let spec = &candidate.spec;
        let roles = [instance.role.clone()];
        let mut own = own_pool(found);
        let mut refused = Vec::new();
        // Its volumes may be all that it needs.
        if offer.role != instance.role || !found.iter().any(|it| it.role == instance.role) {
            refused.push(Mismatch::UnfulfilledRole);
        }
        // The place among the others was judged when it was reserved, and has been kept for it since. What counts is
        // whether instances of this definition may be on such an agent at all.
        if !candidate.rules.allow(offer, &Places::new()) {
            refused.push(Mismatch::UnfulfilledConstraint);
        }
        if self.policy.maintenance_mode && in_maintenance(offer, self.world.now.wall, self.policy.draining) {
            refused.push(Mismatch::AgentMaintenance);
        }
        refused.extend(own.lacks(&candidate.need, &roles));
        some_refused(refused)?;
        let ports = own.take_ports(&port_wishes(spec), &roles, &mut self.ids);
        let ports = ports.ok_or_else(|| vec![Mismatch::InsufficientPorts])?;
        let launch = self.provision(instance, candidate, agent, ports);
        Ok(Launch { reserved: found.to_vec(), ..launch })
    }

    /// What the instances of an app hold, whatever they run: those that own volumes come back to them. The one that
    /// is to be placed holds nothing yet.
    fn places_of_all(&self, spec: &AppSpec) -> Cow<'_, Places> {
        let app = self.world.app(&spec.id);
        let present = app.and_then(|it| it.spec.as_ref());
        let is_present = present.is_some_and(|it| it.is_resident() && it.constraints == spec.constraints);
        if is_present && let Some(index) = self.world.index.get(&spec.id) {
            return Cow::Borrowed(&index.resident);
        }
        // Of an earlier definition, as after a rollout that was broken off.
        let fields = constraint::fields(spec);
        let mut places = Places::new();
        let all = app.into_iter().flat_map(|app| app.instances.values());
        for agent in all.filter(|it| constraint::holds_place(it)).filter_map(|it| it.agent.as_ref()) {
            constraint::place(&mut places, agent, &fields);
        }
        Cow::Owned(places)
    }

    /// Reserves what an instance needs, and makes its volumes.
    fn reserve(
        &mut self,
        instance: &Instance,
        candidate: &Candidate,
        agent: &Arc<Agent>,
        pool: &mut Pool,
    ) -> Result<Vec<Operation>, Mismatch> {
        let Candidate { spec, need, .. } = candidate;
        let framework = self.world.view.framework.clone().ok_or(Mismatch::UnfulfilledRole)?;
        let roles: [Role; 1] = [ANY_ROLE.into()];
        let mut trial = pool.clone();
        let wishes = spec.persistent_volumes();
        trial.take(need, &roles);
        let spaces = trial.take_space(&wishes).ok_or(Mismatch::InsufficientDisk)?;
        let port_wishes = port_wishes(spec);
        let ports =
            trial.take_ports(&port_wishes, &roles, &mut self.ids).ok_or(Mismatch::InsufficientPorts)?;
        *pool = trial;

        let now = self.world.now;
        let volumes: Vec<LocalVolume> = wishes
            .iter()
            .map(|it| LocalVolume { name: it.name.into(), uuid: self.ids.volume(now.wall) })
            .collect();
        let reserved = Arc::new(Reserved::of(&framework, &instance.id, self.policy.principal.clone()));
        let ours = |amount: Amount, disk: Option<Arc<Disk>>| Resource {
            role: instance.role.clone(),
            amount,
            reserved: Some(reserved.clone()),
            disk,
        };
        let ports: Vec<u16> = ports.into_iter().flatten().collect();
        let mut resources: Vec<Resource> =
            amounts(need, &ports).into_iter().map(|amount| ours(amount, None)).collect();
        resources.extend(spaces.iter().map(|it| ours(Amount::Disk(it.size), it.disk.clone())));
        let created = wishes.iter().zip(&volumes).zip(&spaces).map(|((wish, volume), space)| {
            let id = volume.persistence_id(&spec.id);
            ours(Amount::Disk(space.size), Some(Arc::new(disk_of(space, wish, id))))
        });
        let created: Vec<Resource> = created.collect();
        pool.put_aside(resources.iter().take(resources.len() - created.len()).chain(&created).cloned());
        let operations = vec![Operation::Reserve(resources), Operation::Create(created)];
        let state = ReservationState::New;
        self.world.put_instance(Instance {
            agent: Some(agent.clone()),
            reservation: Some(Arc::new(Reservation { state, since: now.wall, volumes })),
            ..instance.clone()
        });
        self.watch_reservation(&instance.id);
        self.world.view.counters.reservations += 1;
        Ok(operations)
    }
}

/// What was reserved for an instance, as a pool of its own.
fn own_pool(resources: &[Resource]) -> Pool {
    let plain = resources.iter().filter(|it| it.volume().is_none());
    Pool::of(&plain.map(|it| Resource { reserved: None, ..it.clone() }).collect::<Vec<_>>())
}

/// What an instance needs beside its volumes; kinds it needs nothing of are left out.
fn amounts(need: &Amounts, ports: &[u16]) -> Vec<Amount> {
    let Amounts { cpus, mem, disk, gpus } = *need;
    let gpus = Milli::from_whole(gpus.into());
    let kinds = [
        (cpus, Amount::Cpus(cpus)),
        (mem, Amount::Mem(mem)),
        (disk, Amount::Disk(disk)),
        (gpus, Amount::Gpus(gpus)),
    ];
    let mut all: Vec<Amount> =
        kinds.into_iter().filter(|(size, _)| *size > Milli::ZERO).map(|(_, it)| it).collect();
    if !ports.is_empty() {
        let mut ports = ports.to_vec();
        ports.sort_unstable();
        all.push(Amount::Ports(ports.into_iter().map(|it| PortRange { first: it, last: it }).collect()));
    }
    all
}

fn disk_of(space: &Space, wish: &VolumeWish<'_>, id: String) -> Disk {
    let source = space.disk.as_deref();
    Disk {
        kind: wish.kind,
        root: source.and_then(|it| it.root.clone()),
        profile: source.and_then(|it| it.profile.clone()),
        volume: Some((id, wish.name.to_owned())),
    }
}

/// What an agent keeps for an instance, by our own account: for previews, never for placing.
pub fn kept_for(world: &World, it: &Instance) -> Vec<Resource> {
    let app = world.app(it.spec());
    let spec = app.and_then(|app| app.version(it.version).or(app.spec.as_ref()));
    let (Some(spec), Some(framework), Some(reservation)) = (spec, &world.view.framework, &it.reservation)
    else {
        return Vec::new();
    };
    let reserved = Arc::new(Reserved::of(framework, &it.id, None));
    let ours = |amount: Amount, disk: Option<Arc<Disk>>| Resource {
        role: it.role.clone(),
        amount,
        reserved: Some(reserved.clone()),
        disk,
    };
    let ports = it.task.as_ref().map(|task| task.ports.as_slice()).unwrap_or_default();
    let need = it.task.as_ref().map_or(spec.resources, |task| task.resources);
    let mut kept: Vec<Resource> =
        amounts(&need, ports).into_iter().map(|amount| ours(amount, None)).collect();
    for (wish, volume) in spec.persistent_volumes().iter().zip(&reservation.volumes) {
        let size = Milli::from_whole(wish.size);
        let disk = disk_of(&Space { disk: None, size }, wish, volume.persistence_id(it.spec()));
        kept.push(ours(Amount::Disk(size), Some(Arc::new(disk))));
    }
    kept
}
