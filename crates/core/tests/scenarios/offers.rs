//! What waiting instances make of a batch of offers.

use std::collections::BTreeMap;

use marathon_model::app::{Constraint, Operator};

use crate::rig::*;

fn offer(at: usize, host: &str, cpus: Milli) -> Offer {
    let any = |amount| Resource::new(ANY_ROLE, amount);
    Offer {
        id: OfferId::new(format!("batch-{at}")),
        agent: AgentId::new(host),
        hostname: host.into(),
        role: ANY_ROLE.into(),
        resources: vec![
            any(Amount::Cpus(cpus)),
            any(Amount::Mem(Milli::from_whole(100_000))),
            any(Amount::Disk(Milli::from_whole(100_000))),
            any(Amount::Ports(vec![PortRange { first: 31000, last: 39000 }])),
        ],
        attributes: Default::default(),
        region: None,
        zone: None,
        unavailability: None,
    }
}

/// So many instances wait; one batch holds an offer of each of these hosts. How many start on each.
fn check(operator: Operator, value: Option<&str>, instances: u32, hosts: &str, want: &str) {
    let mut rig = Rig::new();
    let constraint = Constraint { field: "hostname".to_owned(), operator, value: value.map(str::to_owned) };
    let update = AppUpdate { constraints: Some(vec![constraint]), ..sleep(instances) };
    deployed(rig.put("/web", AppEdit::Create(update)));
    rig.calls.clear();
    let offer = |(at, host)| offer(at, host, Milli(100_000));
    let offers = hosts.split_whitespace().enumerate().map(offer).collect();
    rig.feed(Event::Engine(EngineEvent::Offers(offers)));
    let mut started: BTreeMap<String, usize> = BTreeMap::new();
    for call in &rig.calls {
        if let Call::Accept { operations, .. } = call {
            assert!(operations.len() == 1, "all that an offer starts is one operation");
            for launch in Operation::launches(operations) {
                let host = launch.env.get("HOST").expect("every task knows its host");
                *started.entry(host.clone()).or_default() += 1;
            }
        }
    }
    let got: Vec<String> = started.iter().map(|(host, count)| format!("{host}:{count}")).collect();
    assert_eq!(got.join(" "), want, "{operator:?} {value:?}");
    let view = rig.view();
    let waiting = view.app(&id("/web")).and_then(|it| it.waiting.clone());
    let looked_at = waiting.map_or(0, |it| it.processed_offers);
    let all_started = started.values().sum::<usize>() == instances as usize;
    // Further passes are no further offers.
    assert!(all_started || looked_at == hosts.split_whitespace().count() as u64, "{looked_at}");
}

#[test]
fn a_batch_of_offers_takes_as_many_as_group_by_allows() {
    let group_by = Operator::GroupBy;
    check(group_by, Some("3"), 9, "a b c", "a:3 b:3 c:3");
    // Whoever is last in a round begins the next one.
    check(group_by, Some("3"), 7, "a b c", "a:2 b:3 c:2");
    check(group_by, Some("4"), 9, "a b c", "a:1 b:1 c:1");
    // Two offers of one agent are two chances, no more.
    check(group_by, Some("2"), 6, "a a b", "a:3 b:3");
    check(Operator::Unique, None, 9, "a b c", "a:1 b:1 c:1");
    check(Operator::MaxPer, Some("2"), 9, "a b c", "a:2 b:2 c:2");
    check(Operator::Cluster, None, 9, "a b c", "a:9");
}

/// A cluster refuses a launch for which an offer does not have both the task and its executor.
#[test]
fn a_custom_executor_takes_its_share() {
    let check = |default: Option<&str>, named: &str, cpus: u64, want: &str| {
        let mut policy = policy();
        policy.rules.executor = default.map(str::to_owned);
        let mut rig = Rig::with(policy);
        let update = AppUpdate {
            executor: Some(named.to_owned()),
            executor_resources: Some(Amounts { cpus: Milli(50), ..Amounts::default() }),
            ..sleep(2)
        };
        deployed(rig.put("/web", AppEdit::Create(update)));
        rig.calls.clear();
        rig.feed(Event::Engine(EngineEvent::Offers(vec![offer(0, "a", Milli(cpus))])));
        let accepted = rig.calls.iter().filter_map(|it| match it {
            Call::Accept { operations, .. } => Some(operations),
            _ => None,
        });
        let launches = accepted.flat_map(|it| Operation::launches(it));
        let each = launches.map(|it| {
            let all: Milli = it.shares.values().map(|it| it.cpus).sum();
            let held =
                rig.view().instance(&it.task.instance).and_then(|it| Some(it.task.as_ref()?.resources.cpus));
            assert_eq!(held, Some(all), "what is held is what was taken");
            format!("{}/{}", it.resources.cpus.0, all.0)
        });
        assert_eq!(each.collect::<Vec<_>>().join(" "), want, "{default:?} {named} {cpus}");
    };
    check(Some("//cmd"), "/bin/runs-it", 200, "100/150");
    check(Some("//cmd"), "/bin/runs-it", 300, "100/150 100/150");
    check(Some("/bin/runs-all"), "", 299, "100/150");
    check(Some("/bin/runs-all"), "//cmd", 200, "100/100 100/100");
    check(Some("//cmd"), "", 200, "100/100 100/100");
    check(None, "/bin/runs-it", 200, "100/100 100/100");
}
