//! What was reserved on this machine: kept until it is unreserved, whether tasks run on it or not.
//!
//! Resources of one owner and kind add up; a volume stays an entry of its own. What is free of it follows each time
//! from this list and the live tasks, as for everything else.

use marathon_model::resources::{Amount, Milli, PortRange, Resource};
use serde::{Deserialize, Serialize};

use crate::ledger::{cut_range, merge};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kept {
    resources: Vec<Resource>,
}

/// Why an operation is not carried out.
pub type Refused = &'static str;

impl Kept {
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    pub fn add(&mut self, resource: Resource) {
        if resource.volume().is_none()
            && let Some(same) = self.resources.iter_mut().find(|it| is_same(it, &resource))
        {
            sum(&mut same.amount, &resource.amount);
            return;
        }
        self.resources.push(resource);
    }

    /// Takes this out again; says whether it was there.
    pub fn remove(&mut self, resource: &Resource) -> bool {
        let fits = |it: &&mut Resource| is_same(it, resource) && holds(&it.amount, &resource.amount);
        let Some(found) = self.resources.iter_mut().find(fits) else { return false };
        subtract(&mut found.amount, &resource.amount);
        self.resources.retain(|it| !is_nothing(&it.amount));
        true
    }

    /// All or none of these.
    pub fn remove_all(&mut self, resources: &[Resource]) -> bool {
        let mut left = self.clone();
        let all = resources.iter().all(|it| left.remove(it));
        if all {
            *self = left;
        }
        all
    }

    /// Makes volumes of reserved disk.
    pub fn create(&mut self, volumes: &[Resource]) -> Result<(), Refused> {
        let mut next = self.clone();
        for volume in volumes {
            let id = volume.volume().ok_or("it is no volume")?;
            if next.resources.iter().any(|it| it.volume() == Some(id)) {
                return Err("there is a volume of this name");
            }
            if !next.remove(&plain(volume)) {
                return Err("its disk is not reserved");
            }
            next.add(volume.clone());
        }
        *self = next;
        Ok(())
    }

    /// Makes plain reserved disk of volumes.
    pub fn destroy(&mut self, volumes: &[Resource]) -> Result<(), Refused> {
        let mut next = self.clone();
        for volume in volumes {
            volume.volume().ok_or("it is no volume")?;
            if !next.remove(volume) {
                return Err("there is no such volume");
            }
            next.add(plain(volume));
        }
        *self = next;
        Ok(())
    }

    /// Gives resources back to all; a volume has to be destroyed first.
    pub fn unreserve(&mut self, resources: &[Resource]) -> Result<(), Refused> {
        if resources.iter().any(|it| it.volume().is_some()) {
            return Err("there is a volume on it");
        }
        if self.remove_all(resources) { Ok(()) } else { Err("it is not reserved") }
    }
}

/// The disk under a volume.
fn plain(volume: &Resource) -> Resource {
    let disk = volume.disk.as_deref().and_then(|disk| {
        let is_root =
            disk.kind == marathon_model::app::DiskKind::Root && disk.root.is_none() && disk.profile.is_none();
        (!is_root)
            .then(|| std::sync::Arc::new(marathon_model::resources::Disk { volume: None, ..disk.clone() }))
    });
    Resource { disk, ..volume.clone() }
}

fn is_same(a: &Resource, b: &Resource) -> bool {
    a.role == b.role
        && a.reserved == b.reserved
        && a.disk == b.disk
        && std::mem::discriminant(&a.amount) == std::mem::discriminant(&b.amount)
        && match (&a.amount, &b.amount) {
            (Amount::Other(a, _), Amount::Other(b, _)) => a == b,
            _ => true,
        }
}

/// A scalar; ports have none.
pub fn scalar(amount: &Amount) -> Option<Milli> {
    match amount {
        Amount::Cpus(n) | Amount::Mem(n) | Amount::Disk(n) | Amount::Gpus(n) | Amount::Other(_, n) => {
            Some(*n)
        }
        Amount::Ports(_) => None,
    }
}

fn scalar_mut(amount: &mut Amount) -> Option<&mut Milli> {
    match amount {
        Amount::Cpus(n) | Amount::Mem(n) | Amount::Disk(n) | Amount::Gpus(n) | Amount::Other(_, n) => Some(n),
        Amount::Ports(_) => None,
    }
}

fn sum(to: &mut Amount, more: &Amount) {
    if let (Amount::Ports(to), Amount::Ports(more)) = (&mut *to, more) {
        to.extend(more);
        *to = merge(std::mem::take(to));
    } else if let (Some(to), Some(more)) = (scalar_mut(to), scalar(more)) {
        *to = *to + more;
    }
}

fn subtract(from: &mut Amount, less: &Amount) {
    if let (Amount::Ports(from), Amount::Ports(less)) = (&mut *from, less) {
        for range in less {
            *from = cut_range(from, *range);
        }
    } else if let (Some(from), Some(less)) = (scalar_mut(from), scalar(less)) {
        *from = from.saturating_sub(less);
    }
}

fn holds(have: &Amount, need: &Amount) -> bool {
    match (have, need) {
        (Amount::Ports(have), Amount::Ports(need)) => {
            let within =
                |port: &PortRange| have.iter().any(|it| it.first <= port.first && port.last <= it.last);
            need.iter().all(within)
        }
        _ => scalar(have).zip(scalar(need)).is_some_and(|(have, need)| need <= have),
    }
}

fn is_nothing(amount: &Amount) -> bool {
    match amount {
        Amount::Ports(ranges) => ranges.is_empty(),
        other => scalar(other) == Some(Milli::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::app::DiskKind;
    use marathon_model::resources::{ANY_ROLE, Disk, Reserved};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn of(owner: &str, amount: Amount) -> Resource {
        let labels = BTreeMap::from([("owner".to_owned(), owner.to_owned())]);
        let reserved = Some(Arc::new(Reserved { principal: None, labels }));
        Resource { reserved, ..Resource::new(ANY_ROLE, amount) }
    }

    fn disk(owner: &str, size: u64) -> Resource {
        of(owner, Amount::Disk(Milli::from_whole(size)))
    }

    fn volume(owner: &str, id: &str, size: u64) -> Resource {
        let volume = Some((id.to_owned(), "data".to_owned()));
        let disk_of = Disk { kind: DiskKind::Root, root: None, profile: None, volume };
        Resource { disk: Some(Arc::new(disk_of)), ..disk(owner, size) }
    }

    #[test]
    fn a_volume_is_made_of_reserved_disk_and_becomes_it_again() {
        let mut kept = Kept::default();
        kept.add(disk("a", 10));
        kept.add(disk("a", 5));
        assert_eq!(kept.create(&[volume("a", "v", 16)]), Err("its disk is not reserved"));
        assert_eq!(kept.create(&[volume("b", "v", 1)]), Err("its disk is not reserved"));
        assert_eq!(kept.create(&[volume("a", "v", 10)]), Ok(()));
        assert_eq!(kept.create(&[volume("a", "v", 1)]), Err("there is a volume of this name"));
        assert_eq!(kept.resources(), [disk("a", 5), volume("a", "v", 10)]);
        assert_eq!(kept.unreserve(&[disk("a", 6)]), Err("it is not reserved"));
        assert_eq!(kept.unreserve(&[volume("a", "v", 10)]), Err("there is a volume on it"));
        assert_eq!(kept.destroy(&[volume("b", "v", 10)]), Err("there is no such volume"));
        assert_eq!(kept.destroy(&[volume("a", "v", 10)]), Ok(()));
        assert_eq!(kept.unreserve(&[disk("a", 5), disk("a", 10)]), Ok(()));
        assert!(kept.is_empty());
    }

    #[test]
    fn all_or_nothing_is_taken() {
        let ports = |first, last| of("a", Amount::Ports(vec![PortRange { first, last }]));
        let mut kept = Kept::default();
        kept.add(ports(5, 5));
        kept.add(ports(6, 9));
        assert!(!kept.remove_all(&[ports(5, 6), ports(9, 10)]));
        assert_eq!(kept.resources(), [ports(5, 9)]);
        assert!(kept.remove_all(&[ports(5, 6), ports(9, 9)]));
        assert_eq!(kept.resources(), [ports(7, 8)]);
    }
}
