//! Disk for persistent volumes: which disk of an offer each volume lies on.
//!
//! Volumes of `root` take part of the agent's own disk, those of `path` part of one other disk, and those of
//! `mount` a whole disk each. The largest are placed first, as in the original.

use std::cmp::Reverse;
use std::sync::Arc;

use marathon_model::app::{Constraint, DiskKind, Operator};
use marathon_model::reservation::VolumeWish;
use marathon_model::resources::{ANY_ROLE, Amount, Disk, Milli, Resource};
use marathon_spec::Pattern;

/// Disk taken for one volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    /// The disk it is on; `None`: the agent's root.
    pub disk: Option<Arc<Disk>>,
    /// May be more than was asked for, where a whole disk is taken.
    pub size: Milli,
}

/// Takes disk that nobody has reserved for each wish, in the order of the wishes. `None` when one finds no place;
/// some may have been taken then, so it is tried on a copy.
pub fn take(resources: &mut [Resource], wishes: &[VolumeWish<'_>]) -> Option<Vec<Space>> {
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by_key(|at| Reverse(wishes[*at].size));
    let mut spaces: Vec<Option<Space>> = vec![None; wishes.len()];
    for at in order {
        spaces[at] = Some(take_one(resources, &wishes[at])?);
    }
    spaces.into_iter().collect()
}

fn take_one(resources: &mut [Resource], wish: &VolumeWish<'_>) -> Option<Space> {
    let size = Milli::from_whole(wish.size);
    let mut fitting: Vec<usize> = (0..resources.len()).filter(|at| fits(&resources[*at], wish)).collect();
    if wish.kind == DiskKind::Path {
        // Parts of a disk may remain, so the one with most room is used first.
        fitting.sort_by_key(|at| Reverse(amount(&resources[*at])));
    }
    let found = &mut resources[*fitting.first()?];
    let disk = found.disk.clone();
    let Amount::Disk(have) = &mut found.amount else { return None };
    let taken = if wish.kind == DiskKind::Mount { *have } else { size };
    *have = have.saturating_sub(taken);
    Some(Space { disk, size: taken })
}

fn amount(resource: &Resource) -> Milli {
    if let Amount::Disk(amount) = resource.amount { amount } else { Milli::ZERO }
}

fn fits(resource: &Resource, wish: &VolumeWish<'_>) -> bool {
    let (have, size) = (amount(resource), Milli::from_whole(wish.size));
    let is_anybodys =
        *resource.role == *ANY_ROLE && resource.reserved.is_none() && resource.volume().is_none();
    if have < size || have == Milli::ZERO || !is_anybodys {
        return false;
    }
    let disk = resource.disk.as_deref();
    let profile = disk.and_then(|it| it.profile.as_deref());
    if disk.map_or(DiskKind::Root, |it| it.kind) != wish.kind || profile != wish.profile {
        return false;
    }
    let small_enough = wish.max_size.is_none_or(|most| have <= Milli::from_whole(most));
    (wish.kind != DiskKind::Mount || small_enough)
        && wish.constraints.iter().all(|it| holds(it, disk.and_then(|it| it.root.as_deref())))
}

/// Only `path` can be constrained, by LIKE and UNLIKE; anything else was refused with the definition.
fn holds(constraint: &Constraint, root: Option<&str>) -> bool {
    let pattern = constraint.value.as_deref().and_then(|it| Pattern::new(it).ok());
    let Some(pattern) = pattern else { return false };
    let matches = root.is_some_and(|it| pattern.is_match(it));
    match constraint.operator {
        Operator::Like => matches,
        Operator::Unlike => !matches,
        _ => false,
    }
}

/// The disk once the volume on it is destroyed; nothing is to be said about plain space on the root.
pub fn without_volume(disk: &Disk) -> Option<Disk> {
    let is_plain = disk.kind == DiskKind::Root && disk.root.is_none() && disk.profile.is_none();
    (!is_plain).then(|| Disk { volume: None, ..disk.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(kind: DiskKind, root: &str, profile: Option<&str>, size: u64) -> Resource {
        let root = (!root.is_empty()).then(|| root.to_owned());
        let profile = profile.map(str::to_owned);
        let disk = Disk { kind, root, profile, volume: None };
        let disk = (kind != DiskKind::Root).then(|| Arc::new(disk));
        Resource { disk, ..Resource::new(ANY_ROLE, Amount::Disk(Milli::from_whole(size))) }
    }

    fn wish(kind: DiskKind, size: u64) -> VolumeWish<'static> {
        VolumeWish { name: "data", kind, size, max_size: None, profile: None, constraints: &[] }
    }

    /// `want`: the root (or `-`) and the size of each.
    fn check(resources: &[Resource], wishes: &[VolumeWish<'_>], want: Option<&[(&str, u64)]>) {
        let spaces = take(&mut resources.to_vec(), wishes);
        let shown = spaces.as_ref().map(|all| {
            let root = |it: &Space| {
                it.disk.as_ref().map_or("-", |disk| disk.root.as_deref().unwrap_or("-")).to_owned()
            };
            all.iter().map(|it| (root(it), it.size.0 / 1000)).collect::<Vec<_>>()
        });
        let want =
            want.map(|all| all.iter().map(|(root, size)| ((*root).to_owned(), *size)).collect::<Vec<_>>());
        assert_eq!(shown, want, "{wishes:?} from {resources:?}");
    }

    #[test]
    fn each_kind_of_volume_finds_its_disk() {
        use DiskKind::{Mount, Path, Root};
        let all = [
            disk(Root, "", None, 100),
            disk(Path, "/a", None, 50),
            disk(Path, "/b", None, 80),
            disk(Mount, "/m1", None, 10),
            disk(Mount, "/m2", None, 40),
            disk(Mount, "/fast", Some("ssd"), 60),
        ];
        check(&all, &[wish(Root, 30), wish(Root, 70)], Some(&[("-", 30), ("-", 70)]));
        check(&all, &[wish(Root, 60), wish(Root, 60)], None);
        // Part of the disk with most room; one disk for each volume.
        check(&all, &[wish(Path, 45)], Some(&[("/b", 45)]));
        check(&all, &[wish(Path, 60), wish(Path, 40)], Some(&[("/b", 60), ("/a", 40)]));
        check(&all, &[wish(Path, 81)], None);
        // All of the first disk that is large enough; the largest wish chooses first.
        check(&all, &[wish(Mount, 5), wish(Mount, 20)], Some(&[("/m1", 10), ("/m2", 40)]));
        check(&all, &[wish(Mount, 20), wish(Mount, 30)], None);
        check(&all, &[VolumeWish { max_size: Some(30), ..wish(Mount, 20) }], None);
        check(&all, &[VolumeWish { profile: Some("ssd"), ..wish(Mount, 20) }], Some(&[("/fast", 60)]));
        let reserved = Resource { role: "prod".into(), ..disk(Root, "", None, 100) };
        check(&[reserved], &[wish(Root, 1)], None);
    }

    #[test]
    fn paths_can_be_chosen() {
        let all = [disk(DiskKind::Path, "/a/x", None, 90), disk(DiskKind::Path, "/b/x", None, 50)];
        let rule =
            |operator| [Constraint { field: "path".to_owned(), operator, value: Some("/a.*".to_owned()) }];
        let (like, unlike) = (rule(Operator::Like), rule(Operator::Unlike));
        check(&all, &[VolumeWish { constraints: &like, ..wish(DiskKind::Path, 10) }], Some(&[("/a/x", 10)]));
        check(
            &all,
            &[VolumeWish { constraints: &unlike, ..wish(DiskKind::Path, 10) }],
            Some(&[("/b/x", 10)]),
        );
    }
}
