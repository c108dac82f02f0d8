//! Who goes first when an app has more instances than it should.
//!
//! ```text
//! chosen by the user ─► GROUP_BY balance ─► unreachable, waiting, staging, starting, unhealthy, serving
//!                                            └─ outdated first, then by age (killSelection) ─┘
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::app::{AppSpec, KillSelection, Operator};
use marathon_model::id::InstanceId;
use marathon_model::instance::{Condition, Goal, Instance};

use crate::constraint;

/// The `count` instances that go, of those that are wanted.
pub fn choose(spec: &AppSpec, all: &[Arc<Instance>], chosen: &[InstanceId], count: usize) -> Vec<InstanceId> {
    let mut pool: Vec<&Arc<Instance>> = all
        .iter()
        .filter(|it| it.goal == Goal::Running && it.condition != Condition::UnreachableInactive)
        .collect();
    let mut victims: Vec<InstanceId> = Vec::new();
    pool.retain(|it| {
        let picked = victims.len() < count && chosen.contains(&it.id);
        if picked {
            victims.push(it.id.clone());
        }
        !picked
    });
    pool.sort_by_key(|it| {
        (weight(it.condition), it.is_serving(), it.config == spec.config, age(spec, it), it.id.clone())
    });
    // Without a place there is nothing to balance: those that only wait go before any that run.
    while victims.len() < count && pool.first().is_some_and(|it| it.condition == Condition::Scheduled) {
        victims.push(pool.remove(0).id.clone());
    }
    balance(spec, &mut pool, &mut victims, count);
    let missing = count.saturating_sub(victims.len());
    victims.extend(pool.into_iter().take(missing).map(|it| it.id.clone()));
    victims
}

/// Least worth keeping first.
fn weight(condition: Condition) -> u8 {
    match condition {
        Condition::Unreachable | Condition::UnreachableInactive => 1,
        Condition::Scheduled => 0,
        it if it.is_terminal() => 0,
        Condition::Provisioned | Condition::Staging => 2,
        Condition::Starting => 3,
        _ => 4,
    }
}

fn age(spec: &AppSpec, it: &Instance) -> Reverse<i64> {
    let task = it.task.as_ref();
    let began = task.and_then(|task| task.started_at).or(task.map(|task| task.staged_at)).unwrap_or(it.since);
    match spec.kill_selection {
        KillSelection::YoungestFirst => Reverse(began.0),
        KillSelection::OldestFirst => Reverse(-began.0),
    }
}

/// Takes victims from the largest groups of each GROUP_BY constraint while that evens them out.
fn balance(spec: &AppSpec, pool: &mut Vec<&Arc<Instance>>, victims: &mut Vec<InstanceId>, count: usize) {
    let fields: Vec<&str> = spec
        .constraints
        .iter()
        .filter(|it| it.operator == Operator::GroupBy)
        .map(|it| it.field.as_str())
        .collect();
    if fields.is_empty() || victims.len() >= count {
        return;
    }
    let value = |it: &Instance, field: &str| {
        it.agent.as_ref().and_then(|agent| constraint::agent_value(agent, field))
    };
    let mut groups: Vec<BTreeMap<String, usize>> = vec![BTreeMap::new(); fields.len()];
    for instance in pool.iter() {
        for (field, sizes) in fields.iter().zip(&mut groups) {
            if let Some(value) = value(instance, field) {
                *sizes.entry(value).or_default() += 1;
            }
        }
    }
    while victims.len() < count {
        let excess = |it: &Instance| -> Option<usize> {
            let sizes = fields.iter().zip(&groups).map(|(field, sizes)| {
                let mine = sizes.get(&value(it, field)?).copied()?;
                let least = sizes.values().min().copied().unwrap_or(0);
                Some(mine - least)
            });
            sizes.collect::<Option<Vec<_>>>().map(|it| it.into_iter().min().unwrap_or(0))
        };
        // The first of the pool with the greatest excess in all distributions keeps the order of age.
        let best = pool.iter().enumerate().filter_map(|(at, it)| Some((excess(it)?, Reverse(at)))).max();
        let Some((greatest, Reverse(at))) = best else { return };
        if greatest == 0
            && groups.iter().any(|sizes| sizes.len() > 1 && sizes.values().max() != sizes.values().min())
        {
            return;
        }
        let gone = pool.remove(at);
        for (field, sizes) in fields.iter().zip(&mut groups) {
            if let Some(size) = value(gone, field).and_then(|it| sizes.get_mut(&it)) {
                *size -= 1;
            }
        }
        victims.push(gone.id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::PathId;
    use marathon_model::instance::Health;
    use marathon_model::time::Timestamp;

    /// Found by the simulator: an instance that served had to go for one that came back and did not.
    #[test]
    fn what_does_not_serve_goes_first() {
        let spec = AppSpec::new(PathId::parse("/web").unwrap());
        let instance = |number: u128, failures: u32| {
            let health = Health {
                last_success: Some(Timestamp(1)),
                consecutive_failures: failures,
                ..Health::default()
            };
            Arc::new(Instance {
                id: InstanceId { spec: spec.id.clone(), uuid: uuid::Uuid::from_u128(number) },
                goal: Goal::Running,
                condition: Condition::Running,
                since: Timestamp(number as i64),
                version: spec.version,
                config: spec.config,
                role: spec.role.clone(),
                incarnation: 1,
                agent: None,
                task: None,
                health: vec![health],
                ready: true,
            })
        };
        let all = [instance(1, 0), instance(2, 1), instance(3, 0)];
        assert_eq!(choose(&spec, &all, &[], 1), [all[1].id.clone()]);
        assert_eq!(choose(&spec, &all, &[], 2), [all[1].id.clone(), all[2].id.clone()]);
    }
}
