//! What is free, offered and taken on this machine.
//!
//! Nothing is counted along: the free amounts follow each time from the configured total, the live
//! tasks and the open offers. Reserved resources of a task's role are used before anybody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::offer::Launch;
use marathon_model::resources::{ANY_ROLE, Amount, Amounts, Milli, PortRange, Resource, Role};

/// Scalars by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scalars {
    pub cpus: Milli,
    pub mem: Milli,
    pub disk: Milli,
    pub gpus: Milli,
}

impl From<&Amounts> for Scalars {
    fn from(amounts: &Amounts) -> Scalars {
        let Amounts { cpus, mem, disk, gpus } = *amounts;
        Scalars { cpus, mem, disk, gpus: Milli::from_whole(u64::from(gpus)) }
    }
}

impl Scalars {
    fn each(self, other: Scalars, with: impl Fn(Milli, Milli) -> Milli) -> Scalars {
        Scalars {
            cpus: with(self.cpus, other.cpus),
            mem: with(self.mem, other.mem),
            disk: with(self.disk, other.disk),
            gpus: with(self.gpus, other.gpus),
        }
    }

    pub fn plus(self, other: Scalars) -> Scalars {
        self.each(other, |a, b| a + b)
    }

    pub fn minus(self, other: Scalars) -> Scalars {
        self.each(other, Milli::saturating_sub)
    }

    /// Whether any kind is above `other`.
    pub fn exceeds(self, other: Scalars) -> bool {
        self.cpus > other.cpus || self.mem > other.mem || self.disk > other.disk || self.gpus > other.gpus
    }
}

/// Resources of one role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    pub scalars: Scalars,
    pub ports: Vec<PortRange>,
    pub others: Vec<(Arc<str>, Milli)>,
}

impl Pool {
    fn of(amount: &Amount) -> Pool {
        let mut pool = Pool::default();
        pool.add(amount);
        pool
    }

    fn add(&mut self, amount: &Amount) {
        match amount {
            Amount::Cpus(n) => self.scalars.cpus = self.scalars.cpus + *n,
            Amount::Mem(n) => self.scalars.mem = self.scalars.mem + *n,
            Amount::Disk(n) => self.scalars.disk = self.scalars.disk + *n,
            Amount::Gpus(n) => self.scalars.gpus = self.scalars.gpus + *n,
            Amount::Ports(ranges) => {
                self.ports.extend(ranges);
                self.ports = merge(std::mem::take(&mut self.ports));
            }
            Amount::Other(name, n) => self.others.push((name.clone(), *n)),
        }
    }

    /// As an offer lists it; kinds of which nothing is left are not mentioned.
    pub fn resources(&self, role: &Role) -> Vec<Resource> {
        let Scalars { cpus, mem, disk, gpus } = self.scalars;
        let scalars = [
            (cpus, Amount::Cpus(cpus)),
            (mem, Amount::Mem(mem)),
            (disk, Amount::Disk(disk)),
            (gpus, Amount::Gpus(gpus)),
        ];
        let mut amounts: Vec<Amount> =
            scalars.into_iter().filter(|(n, _)| *n > Milli::ZERO).map(|(_, amount)| amount).collect();
        if !self.ports.is_empty() {
            amounts.push(Amount::Ports(self.ports.clone()));
        }
        amounts.extend(self.others.iter().map(|(name, n)| Amount::Other(name.clone(), *n)));
        amounts.into_iter().map(|amount| Resource::new(role.clone(), amount)).collect()
    }
}

/// Resources by role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pools(pub BTreeMap<Role, Pool>);

impl Pools {
    pub fn new(resources: &[Resource]) -> Pools {
        let mut pools = Pools::default();
        for Resource { role, amount, .. } in resources {
            pools.0.entry(role.clone()).or_default().add(amount);
        }
        pools
    }

    /// What the live tasks leave of it.
    pub fn without<'a>(&self, tasks: impl Iterator<Item = &'a Launch>) -> Pools {
        let mut used: BTreeMap<&str, Scalars> = BTreeMap::new();
        let mut ports: Vec<u16> = Vec::new();
        // What a task has of a reservation was never free.
        for task in tasks.filter(|it| it.reserved.is_empty()) {
            let whole = task.shares.is_empty().then_some((&task.role, &task.resources));
            for (role, amounts) in task.shares.iter().chain(whole) {
                let sum = used.entry(role).or_default();
                *sum = sum.plus(Scalars::from(amounts));
            }
            ports.extend(&task.host_ports);
        }
        let mut left = self.clone();
        let mut from_any = Scalars::default();
        for (role, sum) in used {
            match left.0.get_mut(role).filter(|_| role != ANY_ROLE) {
                Some(pool) => {
                    from_any = from_any.plus(sum.minus(pool.scalars));
                    pool.scalars = pool.scalars.minus(sum);
                }
                None => from_any = from_any.plus(sum),
            }
        }
        if let Some(pool) = left.0.get_mut(ANY_ROLE) {
            pool.scalars = pool.scalars.minus(from_any);
        }
        left.remove_ports(ports);
        left
    }

    /// What reservations leave of it. They are made of what is nobody's.
    pub fn without_kept(&mut self, kept: &[Resource]) {
        let Some(pool) = self.0.get_mut(ANY_ROLE) else { return };
        for resource in kept {
            let taken = Pool::of(&resource.amount);
            pool.scalars = pool.scalars.minus(taken.scalars);
            for range in taken.ports {
                pool.ports = cut_range(&pool.ports, range);
            }
        }
    }

    /// Takes resources that are nobody's; none of them where some are missing.
    pub fn take_any(&mut self, resources: &[Resource]) -> bool {
        let Some(pool) = self.0.get_mut(ANY_ROLE) else { return false };
        let mut left = pool.clone();
        for resource in resources {
            let taken = Pool::of(&resource.amount);
            if taken.scalars.exceeds(left.scalars) || !taken.ports.iter().all(|it| covered(*it, &left.ports))
            {
                return false;
            }
            left.scalars = left.scalars.minus(taken.scalars);
            for range in taken.ports {
                left.ports = cut_range(&left.ports, range);
            }
        }
        *pool = left;
        true
    }

    pub fn remove_ports(&mut self, mut ports: Vec<u16>) {
        ports.sort_unstable();
        ports.dedup();
        for pool in self.0.values_mut() {
            pool.ports = cut(&pool.ports, &ports);
        }
    }

    /// What is left when somebody has been promised `other`.
    pub fn take_all_of(&mut self, other: &Pools) {
        for (role, gone) in &other.0 {
            let Some(pool) = self.0.get_mut(role) else { continue };
            pool.scalars = pool.scalars.minus(gone.scalars);
            for range in &gone.ports {
                pool.ports = cut_range(&pool.ports, *range);
            }
        }
    }

    pub fn scalars(&self) -> Scalars {
        self.0.values().fold(Scalars::default(), |sum, pool| sum.plus(pool.scalars))
    }

    pub fn has_port(&self, port: u16) -> bool {
        self.0.values().flat_map(|it| &it.ports).any(|it| (it.first..=it.last).contains(&port))
    }

    /// Whether anything is there that `other` has less of.
    pub fn exceeds(&self, other: &Pools) -> bool {
        self.0.iter().any(|(role, pool)| match other.0.get(role) {
            None => *pool != Pool::default(),
            Some(known) => {
                pool.scalars.exceeds(known.scalars)
                    || pool.ports.iter().any(|range| !covered(*range, &known.ports))
            }
        })
    }

    /// Mesos offers nothing below a hundredth of a cpu and 32 MiB.
    pub fn is_worth_an_offer(&self) -> bool {
        let Scalars { cpus, mem, .. } = self.scalars();
        cpus >= Milli(10) || mem >= Milli::from_whole(32)
    }

    pub fn resources(&self) -> Vec<Resource> {
        // Reserved resources first: `*` sorts before all names.
        self.0.iter().rev().flat_map(|(role, pool)| pool.resources(role)).collect()
    }
}

/// Whether merged ranges hold all of `range`.
fn covered(range: PortRange, by: &[PortRange]) -> bool {
    by.iter().any(|it| it.first <= range.first && range.last <= it.last)
}

/// The ranges without some ports, which are sorted and unique.
fn cut(ranges: &[PortRange], ports: &[u16]) -> Vec<PortRange> {
    let mut left = Vec::with_capacity(ranges.len());
    for range in ranges {
        let from = ports.partition_point(|port| *port < range.first);
        let mut first = u32::from(range.first);
        for &port in ports[from..].iter().take_while(|port| **port <= range.last) {
            push(&mut left, first, u32::from(port));
            first = u32::from(port) + 1;
        }
        push(&mut left, first, u32::from(range.last) + 1);
    }
    left
}

/// The ranges without another one.
pub fn cut_range(ranges: &[PortRange], gone: PortRange) -> Vec<PortRange> {
    let mut left = Vec::with_capacity(ranges.len() + 1);
    for range in ranges {
        let (first, end) = (u32::from(range.first), u32::from(range.last) + 1);
        push(&mut left, first, end.min(u32::from(gone.first)));
        push(&mut left, first.max(u32::from(gone.last) + 1), end);
    }
    left
}

/// Adds `first..end`, unless it is empty.
fn push(ranges: &mut Vec<PortRange>, first: u32, end: u32) {
    if first < end
        && let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(end - 1))
    {
        ranges.push(PortRange { first, last });
    }
}

/// Sorts ranges and joins those that touch.
pub fn merge(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(range.last)
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(u16, u16)]) -> Vec<PortRange> {
        of.iter().map(|&(first, last)| PortRange { first, last }).collect()
    }

    #[test]
    fn ports_are_cut_out_of_ranges() {
        let check = |from: &[(u16, u16)], ports: &[u16], want: &[(u16, u16)]| {
            assert_eq!(cut(&ranges(from), ports), ranges(want), "{from:?} without {ports:?}");
        };
        check(&[(10, 12)], &[], &[(10, 12)]);
        check(&[(10, 12)], &[11], &[(10, 10), (12, 12)]);
        check(&[(10, 12)], &[10, 12], &[(11, 11)]);
        check(&[(10, 12)], &[10, 11, 12], &[]);
        check(&[(1, 3), (65534, 65535)], &[2, 7, 65535], &[(1, 1), (3, 3), (65534, 65534)]);
    }

    #[test]
    fn a_launch_takes_from_the_roles_it_names() {
        let total = Pools::new(
            &marathon_flags::resources::parse_resources("cpus:4;mem:100;cpus(a):2;mem(a):100").unwrap(),
        );
        let mut task = crate::agent_tests::launch("t");
        task.role = Arc::from("a");
        let left = |task: &Launch| {
            let left = total.without(std::iter::once(task));
            [ANY_ROLE, "a"].map(|role| left.0[role].scalars.cpus.0)
        };
        // Where nothing is named, what is reserved goes first.
        assert_eq!(left(&task), [4000, 1000]);
        task.shares = BTreeMap::from([(Arc::from(ANY_ROLE), task.resources)]);
        assert_eq!(left(&task), [3000, 2000]);
        let half = Amounts { cpus: Milli(500), ..Amounts::default() };
        task.shares = BTreeMap::from([(Arc::from(ANY_ROLE), half), (Arc::from("a"), half)]);
        assert_eq!(left(&task), [3500, 1500]);
        // A role that is gone since the task was launched.
        task.shares = BTreeMap::from([(Arc::from("b"), task.resources)]);
        assert_eq!(left(&task), [3000, 2000]);
    }

    #[test]
    fn growth_is_seen_in_any_kind() {
        let pools = |text: &str| Pools::new(&marathon_flags::resources::parse_resources(text).unwrap());
        let before = pools("cpus:1;mem:10;ports:[5-8]");
        for (now, want) in [
            ("cpus:1;mem:10;ports:[5-8]", false),
            ("cpus:0.5;mem:10;ports:[6-7]", false),
            ("cpus:1.001;mem:1;ports:[6-7]", true),
            ("cpus:0.5;mem:10;ports:[5-9]", true),
            ("cpus:0.5;cpus(a):0.1", true),
        ] {
            assert_eq!(pools(now).exceeds(&before), want, "{now}");
        }
    }
}
