//! Placement constraints, checked from their description rather than with the core's own code.

use std::collections::BTreeMap;

use marathon_model::act::{Act, Batch};
use marathon_model::app::{Constraint, Operator};
use marathon_model::instance::{Agent, Instance};
use marathon_model::offer::{Attribute, Call, Launch, Operation};
use marathon_model::time::Timestamp;

use crate::check::{Found, ensure};
use crate::cluster::{self, Cluster};
use crate::store::Store;

pub const NAME: &str = "constraints hold at each launch";

/// The launches of one step, judged one after the other beside what was placed before.
pub fn constraints_hold(store: &Store, home: Option<&str>, launches: &[&Launch]) -> Found {
    for (at, launch) in launches.iter().enumerate() {
        let Some(spec) = store.apps.get(&launch.spec).and_then(|it| it.get(&launch.version)?.as_ref()) else {
            return Err(("a launch is of a known version", format!("{} {}", launch.task, launch.version)));
        };
        let agent = store.task(&launch.task).and_then(|it| it.agent.clone());
        let elsewhere = spec.constraints.iter().any(|it| it.field == "@region" || it.field == "@zone");
        let region = agent.as_ref().and_then(|it| it.region.as_deref());
        ensure!(
            home.is_none() || elsewhere || region == home || !launch.reserved.is_empty(),
            "an app stays in the region of its master",
            "{} in {region:?}",
            launch.task
        );
        if spec.constraints.is_empty() {
            continue;
        }
        let later = |it: &Instance| launches[at..].iter().any(|launch| launch.task.instance == it.id);
        let placed: Vec<&Agent> = store
            .of_app(&spec.id)
            // Who comes back to its volumes was judged when they were made: `kept::places_fit`.
            .filter(|_| launch.reserved.is_empty())
            .filter(|it| it.config == spec.config && !it.is_over() && !later(it))
            .filter_map(|it| it.agent.as_deref())
            .collect();
        let Some(agent) = agent else { continue };
        for constraint in &spec.constraints {
            ensure!(
                holds(constraint, &agent, &placed),
                NAME,
                "{}: {constraint:?} on {}",
                launch.task,
                agent.host
            );
        }
    }
    Ok(())
}

/// An agent that is being worked on, or soon will be, gets nothing new.
pub fn nothing_starts_in_maintenance(cluster: &Cluster, batch: &Batch, now: Timestamp) -> Found {
    for act in &batch.acts {
        let Act::Engine(Call::Accept { offer, operations }) = act else { continue };
        let removes = |it: &Operation| matches!(it, Operation::Destroy(_) | Operation::Unreserve(_));
        if operations.iter().all(removes) {
            continue;
        }
        let open = cluster::number(offer).and_then(|it| cluster.offers.get(&it));
        let Some((start, length)) = open.and_then(|it| it.maintenance) else { continue };
        let under_way = start < now && now < start + length;
        ensure!(!under_way, "nothing starts in maintenance", "{offer} from {start} for {length:?}, at {now}");
    }
    Ok(())
}

pub fn holds(constraint: &Constraint, agent: &Agent, placed: &[&Agent]) -> bool {
    let value = constraint.value.as_deref();
    let Some(mine) = field(agent, &constraint.field) else { return constraint.operator == Operator::Unlike };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for other in placed {
        if let Some(value) = field(other, &constraint.field) {
            *counts.entry(value).or_default() += 1;
        }
    }
    let here = counts.get(&mine).copied().unwrap_or(0);
    match constraint.operator {
        Operator::Unique => here == 0,
        Operator::Cluster => match value {
            Some(value) => mine == value,
            None => counts.is_empty() || here > 0,
        },
        // The only patterns users of the simulation write.
        Operator::Like => value == Some("r[12]") && (mine == "r1" || mine == "r2"),
        Operator::Unlike => value.is_some_and(|it| it != mine),
        Operator::MaxPer => value.and_then(|it| it.parse().ok()).is_some_and(|most: usize| here < most),
        Operator::Is => value == Some(mine.as_str()),
        Operator::Unknown => false,
        Operator::GroupBy => {
            let groups: usize = value.and_then(|it| it.parse().ok()).unwrap_or(0);
            let least = counts.values().copied().min().unwrap_or(0);
            here == 0 || counts.len() >= groups && here == least
        }
    }
}

fn field(agent: &Agent, name: &str) -> Option<String> {
    match name {
        "hostname" => return Some(agent.host.to_string()),
        "@region" => return agent.region.as_deref().map(str::to_owned),
        "@zone" => return agent.zone.as_deref().map(str::to_owned),
        _ => {}
    }
    match agent.attributes.get(name)? {
        Attribute::Text(text) => Some(text.clone()),
        _ => None,
    }
}
