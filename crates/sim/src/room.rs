//! Resources on their way: taken out of an offer for a launch, and given back.

use marathon_model::offer::Launch;
use marathon_model::resources::{Amount, Amounts, Milli, PortRange, Resource, Role};

/// Takes what a launch needs out of an offer; `None` if it is not there.
pub fn take(from: &mut [Resource], launch: &Launch) -> Option<Vec<Resource>> {
    let mut taken: Vec<Resource> =
        from.iter().map(|it| Resource { amount: nothing(&it.amount), ..it.clone() }).collect();
    let mut scalar = |role: &Role, mut need: Milli, kind: fn(&mut Amount) -> Option<&mut Milli>| {
        for (have, mine) in from.iter_mut().zip(&mut taken).filter(|(have, _)| have.role == *role) {
            if let (Some(have), Some(mine)) = (kind(&mut have.amount), kind(&mut mine.amount)) {
                let part = need.min(*have);
                *have = have.saturating_sub(part);
                *mine = *mine + part;
                need = need.saturating_sub(part);
            }
        }
        (need == Milli::ZERO).then_some(())
    };
    let sum = |kind: fn(&Amounts) -> Milli| launch.shares.values().map(kind).sum::<Milli>();
    let all = (sum(|it| it.cpus), sum(|it| it.mem), sum(|it| it.disk));
    let need = launch.resources + launch.mesos.executor_resources.unwrap_or_default();
    if all != (need.cpus, need.mem, need.disk) {
        return None;
    }
    for (role, share) in &launch.shares {
        scalar(role, share.cpus, |it| if let Amount::Cpus(it) = it { Some(it) } else { None })?;
        scalar(role, share.mem, |it| if let Amount::Mem(it) = it { Some(it) } else { None })?;
        scalar(role, share.disk, |it| if let Amount::Disk(it) = it { Some(it) } else { None })?;
    }
    for port in &launch.host_ports {
        from.iter_mut().zip(&mut taken).find_map(|(have, mine)| {
            match (&mut have.amount, &mut mine.amount) {
                (Amount::Ports(have), Amount::Ports(mine)) => {
                    let at = have.iter().position(|it| it.first <= *port && *port <= it.last)?;
                    let PortRange { first, last } = have.remove(at);
                    have.extend((first < *port).then(|| PortRange { first, last: port - 1 }));
                    have.extend((*port < last).then(|| PortRange { first: port + 1, last }));
                    mine.push(PortRange { first: *port, last: *port });
                    Some(())
                }
                _ => None,
            }
        })?;
    }
    Some(taken)
}

/// Puts resources back where they came from; the lists go in step.
pub fn give_back(to: &mut [Resource], back: &[Resource]) {
    for (to, back) in to.iter_mut().zip(back) {
        match (&mut to.amount, &back.amount) {
            (Amount::Cpus(to), Amount::Cpus(back))
            | (Amount::Mem(to), Amount::Mem(back))
            | (Amount::Disk(to), Amount::Disk(back)) => *to = *to + *back,
            (Amount::Ports(to), Amount::Ports(back)) => {
                to.extend(back);
                to.sort_unstable();
                let mut joined: Vec<PortRange> = Vec::with_capacity(to.len());
                for range in to.iter() {
                    match joined.last_mut() {
                        Some(last) if last.last + 1 == range.first => last.last = range.last,
                        _ => joined.push(*range),
                    }
                }
                *to = joined;
            }
            _ => {}
        }
    }
}

fn nothing(amount: &Amount) -> Amount {
    match amount {
        Amount::Cpus(_) => Amount::Cpus(Milli::ZERO),
        Amount::Mem(_) => Amount::Mem(Milli::ZERO),
        Amount::Disk(_) => Amount::Disk(Milli::ZERO),
        Amount::Gpus(_) => Amount::Gpus(Milli::ZERO),
        Amount::Ports(_) => Amount::Ports(Vec::new()),
        Amount::Other(name, _) => Amount::Other(name.clone(), Milli::ZERO),
    }
}

pub fn emptied(resources: &[Resource]) -> Vec<Resource> {
    resources.iter().map(|it| Resource { amount: nothing(&it.amount), ..it.clone() }).collect()
}

pub fn is_nothing(amount: &Amount) -> bool {
    match amount {
        Amount::Cpus(it) | Amount::Mem(it) | Amount::Disk(it) | Amount::Gpus(it) | Amount::Other(_, it) => {
            *it == Milli::ZERO
        }
        Amount::Ports(it) => it.is_empty(),
    }
}

/// Without cpus and memory there is nothing worth an offer.
pub fn is_empty(resources: &[Resource]) -> bool {
    let some =
        |kind: fn(&Amount) -> bool| resources.iter().any(|it| kind(&it.amount) && !is_nothing(&it.amount));
    !(some(|it| matches!(it, Amount::Cpus(_))) && some(|it| matches!(it, Amount::Mem(_))))
}

/// Whether `free` offers nothing that `refused` did not.
pub fn is_no_more(free: &[Resource], refused: &[Resource]) -> bool {
    free.iter().zip(refused).all(|(free, refused)| match (&free.amount, &refused.amount) {
        (Amount::Cpus(a), Amount::Cpus(b))
        | (Amount::Mem(a), Amount::Mem(b))
        | (Amount::Disk(a), Amount::Disk(b)) => a <= b,
        (Amount::Ports(a), Amount::Ports(b)) => {
            marathon_model::offer::port_count(a) <= marathon_model::offer::port_count(b)
        }
        _ => true,
    })
}
