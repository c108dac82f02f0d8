//! What is left of an offer while instances are placed on it, one after the other.

use std::collections::BTreeMap;

use marathon_model::app::{AppSpec, Networking};
use marathon_model::id::InstanceId;
use marathon_model::offer::{Offer, port_count};
use marathon_model::reservation::VolumeWish;
use marathon_model::resources::{Amount, Amounts, Milli, PortRange, Resource, Role};
use marathon_model::view::Mismatch;

use crate::disks::Space;
use crate::ids::Ids;

/// Resources still free. Every kind is taken only from roles the app accepts, in the order of the offer.
#[derive(Debug, Clone)]
pub struct Pool {
    /// What any task may take, if the role fits.
    resources: Vec<Resource>,
    /// What was reserved for one instance, of ours or of others, and their volumes.
    aside: Vec<Resource>,
}

impl Pool {
    pub fn new(offer: &Offer) -> Pool {
        Pool::of(&offer.resources)
    }

    pub fn of(resources: &[Resource]) -> Pool {
        let (resources, aside) = resources.iter().cloned().partition(Resource::is_common);
        Pool { resources, aside }
    }

    pub fn set_aside(&self) -> &[Resource] {
        &self.aside
    }

    /// What was just reserved comes back with the next offer.
    pub fn put_aside(&mut self, more: impl Iterator<Item = Resource>) {
        self.aside.extend(more);
    }

    /// What was reserved for this instance is not there any more.
    pub fn drop_reserved(&mut self, id: &InstanceId) {
        let id = id.to_string();
        let is_its =
            |it: &Resource| it.reserved.as_ref().and_then(|it| it.owner()).is_some_and(|(_, of)| of == id);
        self.aside.retain(|it| !is_its(it));
    }

    /// Takes disk for volumes; some may be gone also where there is not enough.
    pub fn take_space(&mut self, wishes: &[VolumeWish<'_>]) -> Option<Vec<Space>> {
        crate::disks::take(&mut self.resources, wishes)
    }

    /// What is still there.
    pub fn into_left(self) -> Vec<Resource> {
        let Pool { mut resources, aside } = self;
        resources.extend(aside);
        resources
    }

    /// All kinds that are short, in funnel order.
    pub fn lacks(&self, need: &Amounts, roles: &[Role]) -> Vec<Mismatch> {
        let mut short = Vec::new();
        let mut check = |have: Milli, need: Milli, what| {
            if have < need {
                short.push(what);
            }
        };
        check(self.sum(roles, cpus), need.cpus, Mismatch::InsufficientCpus);
        check(self.sum(roles, mem), need.mem, Mismatch::InsufficientMemory);
        check(self.sum(roles, disk), need.disk, Mismatch::InsufficientDisk);
        check(self.sum(roles, gpus), Milli::from_whole(need.gpus.into()), Mismatch::InsufficientGpus);
        short
    }

    /// How much there is of what an offer is short of; `None` where that is no amount.
    pub fn amount(&self, short: Mismatch, roles: &[Role]) -> Option<Milli> {
        let kind = match short {
            Mismatch::InsufficientCpus => cpus,
            Mismatch::InsufficientMemory => mem,
            Mismatch::InsufficientDisk => disk,
            Mismatch::InsufficientGpus => gpus,
            _ => return None,
        };
        Some(self.sum(roles, kind))
    }

    pub fn has_role(&self, roles: &[Role]) -> bool {
        self.resources.iter().any(|it| roles.contains(&it.role))
    }

    pub fn gpus(&self) -> Milli {
        self.resources.iter().filter_map(gpus).sum()
    }

    fn sum(&self, roles: &[Role], kind: fn(&Resource) -> Option<Milli>) -> Milli {
        self.resources.iter().filter(|it| roles.contains(&it.role)).filter_map(kind).sum()
    }

    /// What there is of these roles.
    pub fn amounts(&self, roles: &[Role]) -> [Milli; 4] {
        [cpus, mem, disk, gpus].map(|kind| self.sum(roles, kind))
    }

    /// The roles of all there is, each once.
    pub fn roles(&self) -> Vec<&Role> {
        let mut all: Vec<&Role> = self.resources.iter().map(|it| &it.role).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What `take_ports` would find missing.
    pub fn lacks_ports(&self, wanted: &[PortWish], roles: &[Role]) -> Option<PortsMissing> {
        let mut free = self.ports(roles);
        let mut missing = Vec::new();
        let mut dynamic = 0;
        for wish in wanted {
            match wish {
                PortWish::None => {}
                PortWish::Any => dynamic += 1,
                PortWish::Exactly(port) if remove(&mut free, *port) => {}
                PortWish::Exactly(port) => missing.push(*port),
            }
        }
        let left = port_count(&free);
        (!missing.is_empty() || left < dynamic).then_some(PortsMissing { missing, wanted: dynamic, left })
    }

    fn ports(&self, roles: &[Role]) -> Vec<PortRange> {
        let mut free: Vec<PortRange> = Vec::new();
        for resource in self.resources.iter().filter(|it| roles.contains(&it.role)) {
            if let Amount::Ports(ranges) = &resource.amount {
                free.extend(ranges);
            }
        }
        free
    }

    /// Takes what `lacks` found to be there, and tells from which roles.
    pub fn take(&mut self, need: &Amounts, roles: &[Role]) -> BTreeMap<Role, Amounts> {
        let mut shares: BTreeMap<Role, Amounts> = BTreeMap::new();
        let mut left = *need;
        let ours = self.resources.iter_mut().filter(|it| roles.contains(&it.role));
        for Resource { role, amount, disk, .. } in ours {
            let mut share = Amounts::default();
            match amount {
                Amount::Cpus(have) => share.cpus = move_over(have, &mut left.cpus),
                Amount::Mem(have) => share.mem = move_over(have, &mut left.mem),
                Amount::Disk(have) if disk.is_none() => share.disk = move_over(have, &mut left.disk),
                Amount::Gpus(have) => {
                    let mut gpus = Milli::from_whole(left.gpus.into());
                    share.gpus = whole(move_over(have, &mut gpus));
                    left.gpus = whole(gpus);
                }
                Amount::Disk(_) | Amount::Ports(_) | Amount::Other(..) => {}
            }
            if share != Amounts::default() {
                let sum = shares.entry(role.clone()).or_default();
                (sum.cpus, sum.mem, sum.disk) =
                    (sum.cpus + share.cpus, sum.mem + share.mem, sum.disk + share.disk);
                sum.gpus += share.gpus;
            }
        }
        shares
    }

    /// The host ports for an app, in the order of its declaration, taken from the pool; `None` when there
    /// are not enough, and then nothing is taken.
    pub fn take_ports(
        &mut self,
        wanted: &[PortWish],
        roles: &[Role],
        ids: &mut Ids,
    ) -> Option<Vec<Option<u16>>> {
        let mut free = self.ports(roles);
        let mut taken: Vec<Option<u16>> = vec![None; wanted.len()];
        for (at, wish) in wanted.iter().enumerate() {
            if let PortWish::Exactly(port) = wish {
                remove(&mut free, *port).then_some(())?;
                taken[at] = Some(*port);
            }
        }
        let dynamic = wanted.iter().filter(|it| **it == PortWish::Any).count();
        if dynamic > 0 {
            let total: usize = free.iter().map(|it| usize::from(it.last - it.first) + 1).sum();
            if total < dynamic {
                return None;
            }
            // From a random place on: a port that was just given back is seldom the next one given out.
            let mut at = ids.below(total);
            for slot in
                taken.iter_mut().zip(wanted).filter(|(_, wish)| **wish == PortWish::Any).map(|(slot, _)| slot)
            {
                *slot = nth(&free, at);
                at = (at + 1) % total;
            }
        }
        for port in taken.iter().flatten() {
            self.remove_port(*port, roles);
        }
        Some(taken)
    }

    fn remove_port(&mut self, port: u16, roles: &[Role]) {
        for resource in self.resources.iter_mut().filter(|it| roles.contains(&it.role)) {
            if let Amount::Ports(ranges) = &mut resource.amount
                && remove(ranges, port)
            {
                return;
            }
        }
    }
}

/// Why the ports of an agent do not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortsMissing {
    /// Of those asked for by number.
    pub missing: Vec<u16>,
    /// How many any ports are wanted beside them, and how many are there.
    pub wanted: usize,
    pub left: usize,
}

/// What one port declaration asks of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortWish {
    None,
    Any,
    Exactly(u16),
}

/// What the networking of an app asks for, in the order of its declaration.
pub fn port_wishes(spec: &AppSpec) -> Vec<PortWish> {
    let exactly = |port: u16| if port == 0 { PortWish::Any } else { PortWish::Exactly(port) };
    if let Some(pod) = &spec.pod {
        return pod.endpoints().map(|(_, it)| it.host_port.map_or(PortWish::None, exactly)).collect();
    }
    match &spec.networking {
        Networking::Host { ports, require_ports: true } => ports.iter().map(|it| exactly(it.port)).collect(),
        Networking::Host { ports, require_ports: false } => vec![PortWish::Any; ports.len()],
        Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => {
            mappings.iter().map(|it| it.host_port.map_or(PortWish::None, exactly)).collect()
        }
    }
}

fn cpus(it: &Resource) -> Option<Milli> {
    if let Amount::Cpus(amount) = it.amount { Some(amount) } else { None }
}
fn mem(it: &Resource) -> Option<Milli> {
    if let Amount::Mem(amount) = it.amount { Some(amount) } else { None }
}
/// Only of the agent's root: other disks are for volumes.
fn disk(it: &Resource) -> Option<Milli> {
    if let (Amount::Disk(amount), None) = (&it.amount, &it.disk) { Some(*amount) } else { None }
}
fn gpus(it: &Resource) -> Option<Milli> {
    if let Amount::Gpus(amount) = it.amount { Some(amount) } else { None }
}

/// Takes as much as there is of what is needed, and tells how much that was.
fn move_over(have: &mut Milli, need: &mut Milli) -> Milli {
    let amount = (*need).min(*have);
    *have = have.saturating_sub(amount);
    *need = need.saturating_sub(amount);
    amount
}

fn whole(amount: Milli) -> u32 {
    u32::try_from(amount.0 / 1000).unwrap_or(u32::MAX)
}

fn nth(ranges: &[PortRange], mut at: usize) -> Option<u16> {
    for range in ranges {
        let size = usize::from(range.last - range.first) + 1;
        if at < size {
            return Some(range.first + at as u16);
        }
        at -= size;
    }
    None
}

/// Removes one port; a range may split.
fn remove(ranges: &mut Vec<PortRange>, port: u16) -> bool {
    let Some(at) = ranges.iter().position(|it| it.first <= port && port <= it.last) else { return false };
    let PortRange { first, last } = ranges[at];
    let before = (first < port).then(|| PortRange { first, last: port - 1 });
    let after = (port < last).then(|| PortRange { first: port + 1, last });
    ranges.splice(at..=at, before.into_iter().chain(after));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::{AgentId, OfferId};
    use marathon_model::resources::ANY_ROLE;

    fn pool(resources: Vec<(&str, Amount)>) -> Pool {
        let resources =
            resources.into_iter().map(|(role, amount)| Resource::new(role, amount)).collect::<Vec<_>>();
        Pool::new(&Offer {
            id: OfferId::new("o"),
            agent: AgentId::new("a"),
            hostname: "h".into(),
            role: ANY_ROLE.into(),
            resources,
            attributes: Default::default(),
            region: None,
            zone: None,
            unavailability: None,
        })
    }

    fn need(cpus: f64, mem: u64) -> Amounts {
        Amounts { cpus: Milli::from_f64(cpus), mem: Milli::from_whole(mem), ..Amounts::default() }
    }

    #[test]
    fn every_kind_needs_an_accepted_role() {
        let pool = pool(vec![
            ("prod", Amount::Cpus(Milli::from_whole(20))),
            ("*", Amount::Mem(Milli::from_whole(2048))),
        ]);
        assert_eq!(pool.lacks(&need(1.0, 128), &["prod".into()]), [Mismatch::InsufficientMemory]);
        assert_eq!(pool.lacks(&need(1.0, 128), &["*".into(), "prod".into()]), []);
        assert!(!pool.has_role(&["dev".into()]));
    }

    #[test]
    fn what_is_taken_is_named_by_role() {
        let mut pool = pool(vec![
            ("prod", Amount::Cpus(Milli::from_f64(0.5))),
            ("prod", Amount::Mem(Milli::from_whole(100))),
            ("*", Amount::Cpus(Milli::from_whole(4))),
            ("*", Amount::Mem(Milli::from_whole(400))),
        ]);
        let mut check = |cpus, mem, roles: &[&str], want: &[(&str, f64, u64)]| {
            let roles: Vec<Role> = roles.iter().map(|it| Role::from(*it)).collect();
            let want = want.iter().map(|&(role, cpus, mem)| (Role::from(role), need(cpus, mem)));
            assert_eq!(pool.take(&need(cpus, mem), &roles), want.collect());
        };
        check(1.0, 10, &["*"], &[("*", 1.0, 10)]);
        check(1.0, 10, &["*", "prod"], &[("*", 0.5, 0), ("prod", 0.5, 10)]);
        check(0.0, 0, &["prod"], &[]);
    }

    #[test]
    fn a_launch_may_mix_roles_and_tenths_add_up() {
        let mut pool = pool(vec![
            ("*", Amount::Cpus(Milli::from_f64(0.5))),
            ("prod", Amount::Cpus(Milli::from_f64(0.5))),
        ]);
        let roles: [Role; 2] = ["*".into(), "prod".into()];
        for _ in 0..10 {
            assert_eq!(pool.lacks(&need(0.1, 0), &roles), []);
            pool.take(&need(0.1, 0), &roles);
        }
        assert_eq!(pool.lacks(&need(0.001, 0), &roles), [Mismatch::InsufficientCpus]);
    }

    #[test]
    fn ports_are_distinct_and_fixed_ones_honoured() {
        let ports = |first, last| ("*", Amount::Ports(vec![PortRange { first, last }]));
        let mut pool = pool(vec![ports(31000, 31003)]);
        let mut ids = Ids::new(1);
        let roles: [Role; 1] = ["*".into()];
        let got = pool
            .take_ports(
                &[PortWish::Any, PortWish::Exactly(31002), PortWish::None, PortWish::Any],
                &roles,
                &mut ids,
            )
            .unwrap();
        let mut all: Vec<u16> = got.iter().flatten().copied().collect();
        assert_eq!((got[1], got[2]), (Some(31002), None));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 3);
        assert_eq!(pool.take_ports(&[PortWish::Any, PortWish::Any], &roles, &mut ids), None);
        assert_eq!(pool.take_ports(&[PortWish::Exactly(31002)], &roles, &mut ids), None);
        assert!(pool.take_ports(&[PortWish::Any], &roles, &mut ids).is_some());
    }
}
