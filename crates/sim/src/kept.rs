//! Apps and pods that own volumes: what the agents keep for them, and what must hold for that.
//!
//! An agent keeps what was reserved through everything that befalls it. A cluster has reservations of other
//! frameworks, too, which are nobody's business here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::app::*;
use marathon_model::command::Command;
use marathon_model::id::{InstanceId, SpecId};
use marathon_model::instance::{Goal, Instance};
use marathon_model::offer::{Launch, Offer, Operation, TaskState};
use marathon_model::pod::{Mount, PodVolume, PodVolumeSource};
use marathon_model::resources::{ANY_ROLE, Amount, Amounts, Disk, Milli, PortRange, Reserved, Resource};
use marathon_model::update::*;

use crate::check::{Cause, Found, ensure};
use crate::cluster::{Cluster, OpenOffer};
use crate::placement;
use crate::store::Store;

pub const DESTROYED: &str = "a volume is destroyed only when asked for";
pub const OWN: &str = "an instance comes back on its own volume";
pub const TWICE: &str = "no volume is used twice";
pub const OTHERS: &str = "reservations of others are left alone";

/// Apps that own volumes, and a pod, in half of all histories. Outside `/shop`, whose role users change.
const RESIDENTS: [&str; 2] = ["/b", "/x/z"];
const RESIDENT_POD: &str = "/p";
const FRAMEWORK: &str = "framework-1";

pub fn is_resident(id: &SpecId) -> bool {
    RESIDENTS.contains(&id.as_str())
}

pub fn is_resident_pod(id: &SpecId) -> bool {
    id.as_str() == RESIDENT_POD
}

/// Makes a definition one that owns volumes. What was reserved cannot be changed, so it is always the same.
pub fn own_volumes(update: &mut AppUpdate, id: &SpecId) {
    let volume = |name: &str, size| Volume {
        container_path: name.to_owned(),
        read_only: false,
        source: VolumeSource::Persistent {
            kind: DiskKind::Root,
            size,
            max_size: None,
            profile: None,
            constraints: Vec::new(),
        },
    };
    let mut volumes = vec![volume("data", 50)];
    if id.as_str() == RESIDENTS[1] {
        volumes.push(volume("log", 10));
    }
    update.container = Some(ContainerUpdate {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes,
        linux: None,
        port_mappings: None,
    });
    (update.cpus, update.mem) = (Some(Milli(100)), Some(Milli::from_whole(32)));
    update.require_ports = Some(false);
    update.port_definitions = Some(vec![PortDefinition {
        port: 0,
        protocol: Protocol::Tcp,
        name: Some("p0".to_owned()),
        labels: Labels::new(),
    }]);
    if let Some(upgrade) = &mut update.upgrade {
        upgrade.maximum_over_capacity = Some(0.0);
    }
    update.unreachable = None;
    if let Some(constraints) = &mut update.constraints {
        constraints.retain(is_relative);
    }
}

/// Makes a definition one of a pod that owns a volume, which its first container sees.
pub fn own_pod_volumes(update: &mut PodUpdate) {
    let source = PodVolumeSource::Persistent {
        kind: DiskKind::Root,
        size: 50,
        max_size: None,
        profile: None,
        constraints: Vec::new(),
    };
    update.pod.volumes = vec![PodVolume { name: "data".into(), source }];
    for it in &mut update.pod.containers {
        it.resources = Amounts { cpus: Milli(100), mem: Milli::from_whole(32), ..Amounts::default() };
        it.endpoints = Vec::new();
    }
    if let Some(first) = update.pod.containers.first_mut() {
        first.endpoints = vec![crate::pod::endpoint(&first.name)];
        first.mounts = vec![Mount { volume: "data".into(), path: "data".to_owned(), read_only: None }];
    }
    if let Some(upgrade) = &mut update.upgrade {
        upgrade.maximum_over_capacity = Some(0.0);
    }
    update.unreachable = None;
    update.constraints.retain(is_relative);
}

/// A rack that must not be is asked for by mistake only: who is bound to it could never run again.
fn is_relative(it: &Constraint) -> bool {
    [Operator::Unique, Operator::GroupBy, Operator::MaxPer].contains(&it.operator)
}

/// What another framework keeps on an agent.
pub fn strangers() -> Vec<Resource> {
    let labels = BTreeMap::from([
        ("marathon_framework_id".to_owned(), "framework-2".to_owned()),
        ("marathon_task_id".to_owned(), "b.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002".to_owned()),
    ]);
    let reserved = Some(Arc::new(Reserved { principal: None, labels }));
    let volume = Some(("b#data#0c1e6f10-7ccb-11eb-9a1c-0242ac110002".to_owned(), "data".to_owned()));
    let disk = Some(Arc::new(Disk { kind: DiskKind::Root, root: None, profile: None, volume }));
    let cpus = Resource { reserved, ..Resource::new(ANY_ROLE, Amount::Cpus(Milli(500))) };
    let volume = Resource { amount: Amount::Disk(Milli::from_whole(50)), disk, ..cpus.clone() };
    vec![cpus, volume]
}

impl Cluster {
    /// What an agent keeps, less what its tasks use and what is on offer.
    pub fn idle(&self, agent: usize) -> Vec<Resource> {
        if self.agents[agent].kept.is_empty() {
            return Vec::new();
        }
        let used =
            self.tasks.values().filter(|it| it.agent == agent && !it.ended).flat_map(|it| &it.reserved);
        let offered = self.offers.values().filter(|it| it.agent == agent).flat_map(|it| &it.kept);
        let gone: Vec<&Resource> = used.chain(offered).collect();
        self.agents[agent].kept.iter().filter(|it| !gone.contains(it)).cloned().collect()
    }

    /// Carries out what is not a launch. What does not fit is left undone, as a master would.
    pub fn keep(&mut self, offer: &mut OpenOffer, operation: &Operation) {
        let plain = |it: &Resource| Resource { disk: None, ..it.clone() };
        let there: Vec<Resource> = match operation {
            Operation::Unreserve(list) => list.iter().filter(|it| offer.kept.contains(it)).cloned().collect(),
            _ => Vec::new(),
        };
        let kept = &mut self.agents[offer.agent].kept;
        let mut exchange = |old: &Resource, new: Option<Resource>| {
            for list in [&mut *kept, &mut offer.kept] {
                if let Some(at) = list.iter().position(|it| it == old) {
                    list.remove(at);
                    list.extend(new.clone());
                }
            }
        };
        match operation {
            Operation::Launch(_) => {}
            Operation::Reserve(list) => {
                let mut left = offer.resources.clone();
                if list.iter().all(|it| set_aside(&mut left, it)) {
                    offer.resources = left;
                    kept.extend(list.iter().cloned());
                    offer.kept.extend(list.iter().cloned());
                }
            }
            Operation::Create(list) => list.iter().for_each(|it| exchange(&plain(it), Some(it.clone()))),
            Operation::Destroy(list) => list.iter().for_each(|it| exchange(it, Some(plain(it)))),
            Operation::Unreserve(_) => {
                there.iter().for_each(|it| exchange(it, None));
                there.iter().for_each(|it| give_back_one(&mut offer.resources, it));
            }
        }
    }

    /// Whether an agent keeps something for an app of ours.
    pub fn keeps_ours(&self, agent: usize) -> bool {
        self.agents[agent].kept.iter().any(is_ours)
    }
}

fn is_ours(it: &Resource) -> bool {
    it.reserved.as_ref().and_then(|it| it.owner()).is_some_and(|(framework, _)| framework == FRAMEWORK)
}

/// Takes one resource of what is nobody's.
fn set_aside(free: &mut [Resource], wanted: &Resource) -> bool {
    free.iter_mut().filter(|it| *it.role == *ANY_ROLE).any(|have| match (&mut have.amount, &wanted.amount) {
        (Amount::Cpus(have), Amount::Cpus(need))
        | (Amount::Mem(have), Amount::Mem(need))
        | (Amount::Disk(have), Amount::Disk(need))
            if need <= have =>
        {
            *have = have.saturating_sub(*need);
            true
        }
        (Amount::Ports(have), Amount::Ports(need)) => need.iter().all(|port| {
            let Some(at) = have.iter().position(|it| it.first <= port.first && port.last <= it.last) else {
                return false;
            };
            let PortRange { first, last } = have.remove(at);
            have.extend((first < port.first).then(|| PortRange { first, last: port.first - 1 }));
            have.extend((port.last < last).then(|| PortRange { first: port.last + 1, last }));
            true
        }),
        _ => false,
    })
}

fn give_back_one(free: &mut [Resource], back: &Resource) {
    let mut some = free.to_vec();
    let same = |it: &Resource| {
        *it.role == *ANY_ROLE && std::mem::discriminant(&it.amount) == std::mem::discriminant(&back.amount)
    };
    let Some(at) = some.iter().position(same) else { return };
    crate::room::give_back(&mut some[at..=at], std::slice::from_ref(back));
    free[at] = some.swap_remove(at);
}

/// What an accepted offer is used for beside launches.
pub fn operations_fit(
    store: &Store,
    cluster: &Cluster,
    open: Option<&OpenOffer>,
    operations: &[Operation],
) -> Found {
    for operation in operations {
        let (resources, taken_back) = match operation {
            Operation::Launch(launches) => {
                launches.iter().try_for_each(|it| launch_fits(cluster, open, it))?;
                continue;
            }
            Operation::Reserve(list) | Operation::Create(list) => (list, false),
            Operation::Destroy(list) | Operation::Unreserve(list) => (list, true),
        };
        for it in resources {
            ensure!(is_ours(it), OTHERS, "{operation:?}");
            let owner = it.reserved.as_ref().and_then(|it| it.owner()).map(|(_, id)| InstanceId::parse(id));
            let Some(Ok(owner)) = owner else { return Err((OTHERS, format!("{operation:?}"))) };
            let known = store.instance(&owner);
            let keeps = known.is_some_and(|it| it.goal != Goal::Decommissioned && it.reservation.is_some());
            ensure!(!taken_back || !keeps, DESTROYED, "{operation:?}: {known:?}");
        }
        if let (Operation::Reserve(list), Some(open)) = (operation, open) {
            let mut left = open.resources.clone();
            let fits = list.iter().all(|it| set_aside(&mut left, it));
            ensure!(fits, "launches fit their offer", "{list:?} of {:?}", open.resources);
        }
    }
    Ok(())
}

fn launch_fits(cluster: &Cluster, open: Option<&OpenOffer>, launch: &Launch) -> Found {
    for it in &launch.reserved {
        ensure!(is_ours(it), OTHERS, "{}: {it:?}", launch.task);
        let offered = open.is_none_or(|open| open.kept.contains(it));
        ensure!(offered, "launches fit their offer", "{}: {it:?}", launch.task);
    }
    let mine = volumes(&launch.reserved);
    if mine.is_empty() {
        return Ok(());
    }
    let live = cluster.tasks.iter().filter(|(_, it)| !it.ended && !it.reserved.is_empty());
    for (id, other) in live {
        let both: Vec<_> = volumes(&other.reserved).intersection(&mine).cloned().collect();
        ensure!(both.is_empty(), TWICE, "{both:?} by {} and {id}", launch.task);
    }
    Ok(())
}

fn volumes(resources: &[Resource]) -> BTreeSet<String> {
    resources.iter().filter_map(|it| it.volume()).map(str::to_owned).collect()
}

fn own(it: &Instance) -> BTreeSet<String> {
    let volumes = it.reservation.iter().flat_map(|it| &it.volumes);
    volumes.map(|volume| volume.persistence_id(it.spec())).collect()
}

/// A launch of an instance that owns volumes is on these.
pub fn comes_back(store: &Store, launch: &Launch) -> Found {
    let Some(it) = store.instance(&launch.task.instance) else { return Ok(()) };
    let (own, given) = (own(it), volumes(&launch.reserved));
    ensure!(own == given, OWN, "{}: {given:?} instead of {own:?}", launch.task);
    Ok(())
}

/// Instances that were given up in one step with volumes they had used.
#[derive(Debug, Default)]
pub struct GivenUp(Vec<InstanceId>);

impl GivenUp {
    pub fn note(&mut self, before: Option<&Instance>, next: Option<&Instance>) -> Found {
        let Some(before) = before else { return Ok(()) };
        let Some(held) = &before.reservation else { return Ok(()) };
        let stays = next.filter(|it| it.goal != Goal::Decommissioned && it.reservation.is_some());
        if let Some(next) = stays {
            let same = next.reservation.as_ref().is_some_and(|it| it.volumes == held.volumes);
            let there = next.agent.as_ref().map(|it| &it.id) == before.agent.as_ref().map(|it| &it.id);
            ensure!(same && there, OWN, "{before:?} became {next:?}");
        } else if before.goal != Goal::Decommissioned && before.incarnation > 0 {
            self.0.push(before.id.clone());
        }
        Ok(())
    }

    /// After everything of the step is stored.
    pub fn judge(&self, store: &Store, cause: &Cause) -> Found {
        for id in &self.0 {
            let asked = match cause {
                Cause::Asked(command) => matches!(**command, Command::Kill { wipe: true, .. }),
                Cause::Status { task, state } => task.instance == *id && *state == TaskState::GoneByOperator,
                Cause::Other => false,
            };
            let removed = store.spec(&id.spec).is_none();
            ensure!(asked || removed, DESTROYED, "{id} is given up by {cause:?}");
        }
        Ok(())
    }
}

/// Reservations made in one step, in their order, judged beside everything that holds a place.
pub fn places_fit(store: &Store, fresh: &[InstanceId]) -> Found {
    for (at, id) in fresh.iter().enumerate() {
        let Some(it) = store.instance(id) else { continue };
        let spec = store.apps.get(&id.spec).and_then(|all| all.get(&it.version)?.as_ref());
        let (Some(spec), Some(agent)) = (spec, &it.agent) else { continue };
        let holds = |it: &&Arc<Instance>| {
            !fresh[at..].contains(&it.id) && (!it.is_over() || it.reservation.is_some() && !it.is_condemned())
        };
        let placed: Vec<_> =
            store.of_app(&id.spec).filter(holds).filter_map(|it| it.agent.as_deref()).collect();
        for constraint in &spec.constraints {
            let fits = placement::holds(constraint, agent, &placed);
            ensure!(fits, placement::NAME, "{id}: {constraint:?} on {}", agent.host);
        }
    }
    Ok(())
}

/// In the end: what instances believe to own is there.
pub fn all_is_there(store: &Store, cluster: &Cluster) -> Found {
    for it in store.instances() {
        if it.reservation.as_ref().is_none_or(|it| it.is_new()) || it.is_condemned() {
            continue;
        }
        let agent = it.agent.as_ref().and_then(|agent| cluster.agents.iter().find(|it| it.id == agent.id));
        let there = agent.map(|it| volumes(&it.kept)).unwrap_or_default();
        let own = own(it);
        ensure!(own.is_subset(&there), OWN, "{} owns {own:?}, there is {there:?}", it.id);
    }
    let strangers = strangers();
    for agent in cluster.agents.iter().filter(|it| it.strangers) {
        let all = strangers.iter().all(|it| agent.kept.contains(it));
        ensure!(all, OTHERS, "{}: {:?}", agent.id, agent.kept);
    }
    Ok(())
}

/// Resources as an offer to a role lists them.
pub fn listed(offer: &Offer, kept: &[Resource]) -> Vec<Resource> {
    let of_role = |it: &&Resource| *it.role == *ANY_ROLE || it.role == offer.role;
    kept.iter().filter(of_role).cloned().collect()
}
