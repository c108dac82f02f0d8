//! Who goes first when an app has more instances than it should.
//!
//! ```text
//! chosen by the user ─► waiting ─► where constraints do not want it ─► GROUP_BY balance ─► unreachable, waiting, staging, starting, unhealthy, serving
//!                                            └─ outdated first, then by age (killSelection) ─┘
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use marathon_model::app::{AppSpec, KillSelection, Operator};
use marathon_model::id::InstanceId;
use marathon_model::instance::{Condition, Goal, Instance};
use uuid::Uuid;

use crate::constraint;

/// The `count` instances that go, of those that are wanted.
pub fn choose<'a>(
    spec: &AppSpec,
    all: impl Iterator<Item = &'a Arc<Instance>>,
    chosen: &BTreeSet<Uuid>,
    count: usize,
) -> Vec<InstanceId> {
    let wanted = all.filter(|it| it.goal == Goal::Running && it.condition != Condition::UnreachableInactive);
    let (mut victims, mut pool): (Vec<_>, Vec<_>) = wanted.partition(|it| chosen.contains(&it.id.uuid));
    victims.truncate(count);
    let missing = count - victims.len();
    let order = |it: &&Arc<Instance>| {
        (weight(it.condition), it.is_serving(), it.config == spec.config, age(spec, it), it.id.uuid)
    };
    let fields: Vec<&str> = spec
        .constraints
        .iter()
        .filter(|it| it.operator == Operator::GroupBy)
        .map(|it| it.field.as_str())
        .collect();
    let rules = constraint::Rules::new(spec);
    // Few of very many go as a rule; without constraints there is no need to sort the rest.
    if rules.is_empty() && missing < pool.len() {
        pool.select_nth_unstable_by_key(missing, order);
        pool.truncate(missing);
    }
    pool.sort_by_cached_key(order);
    // Without a place there is nothing to balance: those that only wait go before any that run.
    let homeless = pool.iter().take_while(|it| it.is_over()).count().min(missing);
    victims.extend(pool.drain(..homeless));
    if !rules.is_empty() && victims.len() < count {
        let agents: Vec<_> = pool.iter().map(|it| it.agent.as_deref()).collect();
        let mut misplaced = rules.misplaced(&agents).into_iter();
        pool.retain(|it| {
            let goes = misplaced.next() == Some(true) && victims.len() < count;
            if goes {
                victims.push(it);
            }
            !goes
        });
    }
    balance(&fields, &mut pool, &mut victims, count);
    let missing = count - victims.len();
    victims.extend(pool.into_iter().take(missing));
    victims.into_iter().map(|it| it.id.clone()).collect()
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
fn balance<'a>(
    fields: &[&str],
    pool: &mut Vec<&'a Arc<Instance>>,
    victims: &mut Vec<&'a Arc<Instance>>,
    count: usize,
) {
    if fields.is_empty() || count <= victims.len() {
        return;
    }
    let mut groups = Groups::of(fields, pool);
    let mut gone = BTreeSet::new();
    while victims.len() < count
        && let Some(at) = groups.take_next()
    {
        victims.push(pool[at]);
        gone.insert(at);
    }
    let mut at = 0..;
    pool.retain(|_| at.next().is_none_or(|at| !gone.contains(&at)));
}

/// A pool of instances, sorted into the groups of several GROUP_BY constraints at once.
struct Groups {
    /// How many instances are in each group of each field.
    sizes: Vec<Vec<usize>>,
    /// The pool by place (one group of each field), in the order of the pool.
    places: BTreeMap<Vec<usize>, VecDeque<usize>>,
}

impl Groups {
    fn of(fields: &[&str], pool: &[&Arc<Instance>]) -> Groups {
        let mut names: Vec<BTreeMap<String, usize>> = vec![BTreeMap::new(); fields.len()];
        let mut sizes: Vec<Vec<usize>> = vec![Vec::new(); fields.len()];
        let mut places: BTreeMap<Vec<usize>, VecDeque<usize>> = BTreeMap::new();
        for (at, it) in pool.iter().enumerate() {
            let mut place = Vec::with_capacity(fields.len());
            for ((field, names), sizes) in fields.iter().zip(&mut names).zip(&mut sizes) {
                let value = it.agent.as_ref().and_then(|agent| constraint::agent_value(agent, field));
                let Some(value) = value else { continue };
                let next = names.len();
                let group = *names.entry(value).or_insert(next);
                sizes.resize(names.len(), 0);
                sizes[group] += 1;
                place.push(group);
            }
            // Without a value in one of the fields it is in nobody's way.
            if place.len() == fields.len() {
                places.entry(place).or_default().push_back(at);
            }
        }
        Groups { sizes, places }
    }

    /// The first of the pool among those that stand out most in all fields; none where that helps no more.
    fn take_next(&mut self) -> Option<usize> {
        let least: Vec<usize> =
            self.sizes.iter().map(|sizes| sizes.iter().copied().min().unwrap_or(0)).collect();
        let even = self.sizes.iter().zip(&least).all(|(sizes, least)| sizes.iter().all(|it| it == least));
        let excess = |place: &[usize]| {
            let fields = place.iter().zip(&self.sizes).zip(&least);
            fields.map(|((group, sizes), least)| sizes[*group] - least).min().unwrap_or(0)
        };
        let fronts = self.places.iter().filter_map(|(place, queue)| {
            let first = *queue.front()?;
            Some((excess(place), Reverse(first), place))
        });
        let (greatest, _, place) = fronts.max()?;
        if greatest == 0 && !even {
            return None;
        }
        let place = place.clone();
        for (group, sizes) in place.iter().zip(&mut self.sizes) {
            sizes[*group] -= 1;
        }
        self.places.get_mut(&place)?.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::app::Constraint;
    use marathon_model::id::{AgentId, PathId};
    use marathon_model::instance::{Agent, Health};
    use marathon_model::offer::Attribute;
    use marathon_model::time::Timestamp;

    fn instance(spec: &AppSpec, number: u128, host: &str) -> Arc<Instance> {
        let agent = Agent {
            id: AgentId::new(host),
            host: host.into(),
            region: None,
            zone: None,
            attributes: Arc::new(BTreeMap::from([(
                "rack".to_owned(),
                Attribute::Text(host.chars().take(1).collect()),
            )])),
        };
        Arc::new(Instance {
            id: InstanceId { spec: spec.id.clone(), uuid: Uuid::from_u128(number) },
            goal: Goal::Running,
            condition: Condition::Running,
            since: Timestamp(number as i64),
            version: spec.version,
            config: spec.config,
            role: spec.role.clone(),
            incarnation: 1,
            agent: Some(Arc::new(agent)),
            task: None,
            health: Vec::new(),
            ready: true,
            reservation: None,
        })
    }

    fn choose_of(spec: &AppSpec, all: &[Arc<Instance>], count: usize) -> Vec<InstanceId> {
        choose(spec, all.iter(), &BTreeSet::new(), count)
    }

    /// Found by the simulator: an instance that served had to go for one that came back and did not.
    #[test]
    fn what_does_not_serve_goes_first() {
        let spec = AppSpec::new(PathId::parse("/web").unwrap());
        let mut all = [1, 2, 3].map(|number| instance(&spec, number, "h"));
        let failed =
            Health { last_success: Some(Timestamp(1)), consecutive_failures: 1, ..Health::default() };
        Arc::make_mut(&mut all[1]).health = vec![failed];
        assert_eq!(choose_of(&spec, &all, 1), [all[1].id.clone()]);
        assert_eq!(choose_of(&spec, &all, 2), [all[1].id.clone(), all[2].id.clone()]);
    }

    #[test]
    fn what_the_user_chose_goes_before_what_only_waits() {
        let spec = AppSpec::new(PathId::parse("/web").unwrap());
        let mut all = [1, 2, 3].map(|number| instance(&spec, number, "h"));
        Arc::make_mut(&mut all[2]).condition = Condition::Failed;
        let chosen = BTreeSet::from([all[0].id.uuid]);
        let victims = |count| choose(&spec, all.iter(), &chosen, count);
        assert_eq!(victims(1), [all[0].id.clone()]);
        assert_eq!(victims(2), [all[0].id.clone(), all[2].id.clone()]);
    }

    /// `before`: hosts of the instances, oldest first; `left`: how many remain on each.
    fn check(fields: &[&str], before: &str, count: usize, left: &[(&str, usize)]) {
        let mut spec = AppSpec::new(PathId::parse("/web").unwrap());
        let group_by = |field: &&str| Constraint {
            field: (*field).to_owned(),
            operator: Operator::GroupBy,
            value: None,
        };
        spec.constraints = fields.iter().map(group_by).collect();
        let hosts = before.split_whitespace().enumerate();
        let all: Vec<_> = hosts.map(|(at, host)| instance(&spec, at as u128 + 1, host)).collect();
        let victims: BTreeSet<InstanceId> = choose_of(&spec, &all, count).into_iter().collect();
        assert_eq!(victims.len(), count);
        let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
        for it in all.iter().filter(|it| !victims.contains(&it.id)) {
            *hosts.entry(&it.agent.as_ref().unwrap().host).or_default() += 1;
        }
        assert_eq!(hosts, left.iter().copied().collect(), "{fields:?} over {before} less {count}");
    }

    #[test]
    fn groups_are_evened_out() {
        let skewed = format!("{}{}", "h1 ".repeat(20), "h2 ".repeat(10));
        check(&["hostname"], &skewed, 10, &[("h1", 10), ("h2", 10)]);
        check(&["hostname"], &skewed, 20, &[("h1", 5), ("h2", 5)]);
        check(&[], &skewed, 10, &[("h1", 20)]);
        check(&["hostname"], "a a b c", 1, &[("a", 1), ("b", 1), ("c", 1)]);
        check(&["hostname"], "a b c", 1, &[("a", 1), ("b", 1)]);
        check(&["rack", "hostname"], "a1 a1 a2 b1 b1", 1, &[("a1", 1), ("a2", 1), ("b1", 2)]);
        check(&["rack", "hostname"], "a1 a1 a2 b1 b1", 2, &[("a1", 1), ("a2", 1), ("b1", 1)]);
    }

    /// `before`: hosts of the instances, oldest first; `gone`: those of the victims, in any order.
    fn check_rule(field: &str, operator: Operator, value: Option<&str>, before: &str, gone: &str) {
        let mut spec = AppSpec::new(PathId::parse("/web").unwrap());
        let value = value.map(str::to_owned);
        spec.constraints = vec![Constraint { field: field.to_owned(), operator, value }];
        let hosts: Vec<&str> = before.split_whitespace().collect();
        let all: Vec<_> =
            hosts.iter().enumerate().map(|(at, host)| instance(&spec, at as u128 + 1, host)).collect();
        let victims = choose_of(&spec, &all, gone.split_whitespace().count());
        let mut got: Vec<&str> = victims
            .iter()
            .map(|id| &*all.iter().find(|it| it.id == *id).unwrap().agent.as_ref().unwrap().host)
            .collect();
        let mut want: Vec<&str> = gone.split_whitespace().collect();
        got.sort_unstable();
        want.sort_unstable();
        assert_eq!(got, want, "{field} {operator:?} over {before}");
    }

    #[test]
    fn what_breaks_a_constraint_goes_first() {
        check_rule("hostname", Operator::Unique, None, "a b b c", "b");
        check_rule("hostname", Operator::MaxPer, Some("2"), "a a a b b", "a");
        check_rule("hostname", Operator::Cluster, None, "b a a a", "b");
        check_rule("hostname", Operator::Cluster, Some("b"), "b a", "a");
        check_rule("hostname", Operator::Is, Some("b"), "a b", "a");
        check_rule("hostname", Operator::Like, Some("b.*"), "a1 b1 b2", "a1");
        check_rule("hostname", Operator::Unlike, Some("a.*"), "a1 b1 b2", "a1");
        check_rule("rack", Operator::Unique, None, "a1 a2 b1", "a2");
        // Nothing is wrong, so the youngest goes.
        check_rule("hostname", Operator::MaxPer, Some("2"), "a a b", "b");
    }

    /// Would take minutes if every victim cost a look at all that is left.
    #[test]
    fn great_numbers_are_no_matter() {
        let mut spec = AppSpec::new(PathId::parse("/web").unwrap());
        let hosts: Vec<String> = (0..100).map(|it| format!("h{it}")).collect();
        let all: Vec<_> = (0..20_000).map(|at| instance(&spec, at + 1, &hosts[at as usize % 100])).collect();
        let chosen: BTreeSet<Uuid> = all[..5_000].iter().map(|it| it.id.uuid).collect();
        assert_eq!(choose(&spec, all.iter(), &chosen, 10_000).len(), 10_000);
        let (field, operator) = ("hostname".to_owned(), Operator::GroupBy);
        spec.constraints = vec![Constraint { field, operator, value: None }];
        assert_eq!(choose_of(&spec, &all, 10_000).len(), 10_000);
    }
}
