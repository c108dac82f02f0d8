//! Exact resources out of an offer.
//!
//! The core decides how much of which role is taken; a master wants the very resources back that it listed, with
//! every word of their reservation and disk. What is taken here is therefore a copy of what was offered with a
//! smaller amount.

use std::collections::BTreeMap;

use marathon_mesos_v1 as v1;
use marathon_model::resources::{ANY_ROLE, Amount, Amounts, Disk, Milli, PortRange, Resource, Role};

use crate::resource::{model, ports, role, scalar, with_amount, with_ports};

/// What is left of an offer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stock(Vec<v1::Resource>);

/// The offer does not hold what the core took from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the offer does not hold {0}")]
pub struct Short(String);

type Taken = Result<Vec<v1::Resource>, Short>;

/// Whether a task without a reservation of its own may take it.
fn is_common(it: &v1::Resource) -> bool {
    model(it).is_some_and(|it| it.is_common())
}

/// Plain space for files, rather than a disk for volumes.
fn is_plain(it: &v1::Resource) -> bool {
    it.disk.as_ref().is_none_or(|it| it.source.is_none() && it.persistence.is_none())
}

fn scalars(of: &Amounts) -> [(&'static str, Milli); 4] {
    [("cpus", of.cpus), ("mem", of.mem), ("disk", of.disk), ("gpus", Milli::from_whole(of.gpus.into()))]
}

impl Stock {
    pub fn new(resources: Vec<v1::Resource>) -> Stock {
        Stock(resources)
    }

    /// Takes so much from each role.
    pub fn take_shares(&mut self, shares: &BTreeMap<Role, Amounts>) -> Taken {
        let mut taken = Vec::new();
        for (of, amounts) in shares {
            for (name, amount) in scalars(amounts) {
                self.take_scalar(
                    name,
                    amount,
                    |it| role(it) == &**of && is_common(it) && is_plain(it),
                    &mut taken,
                )?;
            }
        }
        Ok(taken)
    }

    /// Takes so much from whatever is there, in its order.
    pub fn deal(&mut self, amounts: &Amounts) -> Taken {
        let mut taken = Vec::new();
        for (name, amount) in scalars(amounts) {
            self.take_scalar(name, amount, is_plain, &mut taken)?;
        }
        Ok(taken)
    }

    /// What was not taken; what there is none of is left out.
    pub fn into_left(self) -> Vec<v1::Resource> {
        self.0.into_iter().filter(|it| it.scalar.is_none() || scalar(it) > Milli::ZERO).collect()
    }

    fn take_scalar(
        &mut self,
        name: &str,
        amount: Milli,
        fits: impl Fn(&v1::Resource) -> bool,
        taken: &mut Vec<v1::Resource>,
    ) -> Result<(), Short> {
        let mut left = amount;
        for it in self.0.iter_mut().filter(|it| it.name == name) {
            if left == Milli::ZERO {
                break;
            }
            let part = scalar(it).min(left);
            if part == Milli::ZERO || !fits(it) {
                continue;
            }
            taken.push(with_amount(it, part));
            *it = with_amount(it, scalar(it).saturating_sub(part));
            left = left.saturating_sub(part);
        }
        match left {
            Milli::ZERO => Ok(()),
            _ => Err(Short(format!("{amount} of {name}, {left} are missing"))),
        }
    }

    /// Takes these ports, from whichever role they are offered under.
    pub fn take_ports(&mut self, wanted: &[u16]) -> Taken {
        self.ports_where(wanted, is_common)
    }

    fn ports_where(&mut self, wanted: &[u16], fits: impl Fn(&v1::Resource) -> bool) -> Taken {
        let mut left: Vec<u16> = wanted.to_vec();
        let mut taken = Vec::new();
        for it in self.0.iter_mut().filter(|it| it.name == "ports") {
            if left.is_empty() || !fits(it) {
                continue;
            }
            let mut free = ports(it);
            let (here, elsewhere): (Vec<u16>, Vec<u16>) =
                left.iter().partition(|port| cut(&mut free, **port));
            if !here.is_empty() {
                taken.push(with_ports(it, &here));
                it.ranges = Some(v1::ValueRanges {
                    range: free
                        .iter()
                        .map(|it| v1::ValueRange { begin: it.first.into(), end: it.last.into() })
                        .collect(),
                });
            }
            left = elsewhere;
        }
        match left.is_empty() {
            true => Ok(taken),
            false => Err(Short(format!("the ports {left:?}"))),
        }
    }

    /// Takes what the offer listed exactly so. `form`: how a resource of the offer is compared.
    fn take_listed(&mut self, wanted: &[Resource], form: impl Fn(Resource) -> Resource) -> Taken {
        let mut taken = Vec::with_capacity(wanted.len());
        for it in wanted {
            let found = self.0.iter().position(|have| model(have).is_some_and(|have| form(have) == *it));
            let found = found.ok_or_else(|| Short(format!("{it:?}")))?;
            taken.push(self.0.remove(found));
        }
        Ok(taken)
    }

    /// What was reserved for an instance, its volumes included.
    pub fn take_reserved(&mut self, wanted: &[Resource]) -> Taken {
        self.take_listed(wanted, |it| it)
    }

    /// Volumes to be destroyed: they stay here as reserved disk.
    pub fn destroy(&mut self, volumes: &[Resource]) -> Taken {
        let taken = self.take_listed(volumes, |it| it)?;
        self.0.extend(taken.iter().cloned().map(without_volume));
        Ok(taken)
    }

    /// Resources whose reservation ends. What was reserved before there was one on top is what remains.
    pub fn unreserve(&mut self, resources: &[Resource]) -> Taken {
        let taken = self.take_listed(resources, |it| it)?;
        self.0.extend(taken.iter().cloned().map(without_reservation));
        Ok(taken)
    }

    /// Takes what nobody has reserved, and makes it the core's own as `wanted` says.
    pub fn reserve(&mut self, wanted: &[Resource]) -> Taken {
        let mut all = Vec::new();
        for it in wanted {
            let free = self.take_free(it)?;
            all.extend(free.into_iter().map(|free| reserved_as(free, it)));
        }
        self.0.extend(all.iter().cloned());
        Ok(all)
    }

    fn take_free(&mut self, wanted: &Resource) -> Taken {
        let free = |it: &v1::Resource| role(it) == ANY_ROLE && is_common(it);
        let mut taken = Vec::new();
        let plain = |it: &v1::Resource| free(it) && is_plain(it);
        match &wanted.amount {
            Amount::Cpus(amount) => self.take_scalar("cpus", *amount, plain, &mut taken)?,
            Amount::Mem(amount) => self.take_scalar("mem", *amount, plain, &mut taken)?,
            Amount::Gpus(amount) => self.take_scalar("gpus", *amount, plain, &mut taken)?,
            Amount::Disk(amount) => {
                let source = wanted.disk.as_deref();
                let same = |it: &v1::Resource| free(it) && lies_on(it, source);
                self.take_scalar("disk", *amount, same, &mut taken)?;
            }
            Amount::Ports(ranges) => {
                let ports: Vec<u16> = ranges.iter().flat_map(|it| it.first..=it.last).collect();
                taken = self.ports_where(&ports, free)?;
            }
            Amount::Other(name, amount) => self.take_scalar(name, *amount, plain, &mut taken)?,
        }
        Ok(taken)
    }

    /// Volumes on disk that was just reserved.
    pub fn create(&mut self, volumes: &[Resource], principal: Option<&str>) -> Taken {
        let mut all = Vec::new();
        for it in volumes {
            let Amount::Disk(size) = it.amount else { return Err(Short(format!("a disk for {it:?}"))) };
            let Some((id, path)) = it.disk.as_ref().and_then(|it| it.volume.clone()) else {
                return Err(Short(format!("a volume in {it:?}")));
            };
            let mut found = Vec::new();
            let ours = |have: &v1::Resource| {
                model(have).is_some_and(|have| have.reserved == it.reserved && have.volume().is_none())
                    && lies_on(have, it.disk.as_deref())
            };
            self.take_scalar("disk", size, ours, &mut found)?;
            let mut disk = found.into_iter().next().ok_or_else(|| Short(format!("a disk for {it:?}")))?;
            let source = disk.disk.take().and_then(|it| it.source);
            disk = with_amount(&disk, size);
            disk.disk = Some(v1::ResourceDiskInfo {
                persistence: Some(v1::ResourceDiskInfoPersistence {
                    id,
                    principal: principal.map(str::to_owned),
                }),
                volume: Some(v1::Volume {
                    mode: v1::VolumeMode::RW as i32,
                    container_path: path,
                    ..v1::Volume::default()
                }),
                source,
            });
            all.push(disk);
        }
        self.0.extend(all.iter().cloned());
        Ok(all)
    }
}

/// Whether a disk of an offer is the one that was chosen; `None`, or of the root: the agent's own.
fn lies_on(it: &v1::Resource, chosen: Option<&Disk>) -> bool {
    let have = model(it).and_then(|it| it.disk);
    let key = |it: &Disk| (it.kind, it.root.clone(), it.profile.clone());
    let root = (marathon_model::app::DiskKind::Root, None, None);
    have.as_deref().map_or(root.clone(), key) == chosen.map_or(root, key)
}

fn reserved_as(free: v1::Resource, wanted: &Resource) -> v1::Resource {
    let Some(reserved) = &wanted.reserved else { return free };
    let labels =
        reserved.labels.iter().map(|(key, value)| v1::Label { key: key.clone(), value: Some(value.clone()) });
    v1::Resource {
        role: Some(wanted.role.to_string()),
        reservation: Some(v1::ResourceReservationInfo {
            principal: reserved.principal.clone(),
            labels: Some(v1::Labels { labels: labels.collect() }),
            ..v1::ResourceReservationInfo::default()
        }),
        ..free
    }
}

pub fn without_volume(mut it: v1::Resource) -> v1::Resource {
    let source = it.disk.take().and_then(|it| it.source);
    it.disk =
        source.map(|source| v1::ResourceDiskInfo { source: Some(source), ..v1::ResourceDiskInfo::default() });
    it
}

fn without_reservation(mut it: v1::Resource) -> v1::Resource {
    match it.reservations.pop() {
        Some(_) => {}
        None => {
            it.reservation = None;
            it.role = Some(ANY_ROLE.to_owned());
        }
    }
    it
}

/// Removes one port; a range may split.
fn cut(ranges: &mut Vec<PortRange>, port: u16) -> bool {
    let Some(at) = ranges.iter().position(|it| it.first <= port && port <= it.last) else { return false };
    let PortRange { first, last } = ranges[at];
    let before = (first < port).then(|| PortRange { first, last: port - 1 });
    let after = (port < last).then(|| PortRange { first: port + 1, last });
    ranges.splice(at..=at, before.into_iter().chain(after));
    true
}
