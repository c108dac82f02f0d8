//! What waiting instances make of a batch of offers.

use std::collections::BTreeMap;

use marathon_model::app::{Constraint, Operator};

use crate::rig::*;

/// So many instances wait; one batch holds an offer of each of these hosts. How many start on each.
fn check(operator: Operator, value: Option<&str>, instances: u32, hosts: &str, want: &str) {
    let mut rig = Rig::new();
    let constraint = Constraint { field: "hostname".to_owned(), operator, value: value.map(str::to_owned) };
    let update = AppUpdate { constraints: Some(vec![constraint]), ..sleep(instances) };
    deployed(rig.put("/web", AppEdit::Create(update)));
    rig.calls.clear();
    let offer = |(at, host): (usize, &str)| {
        let any = |amount| Resource::new(ANY_ROLE, amount);
        Offer {
            id: OfferId::new(format!("batch-{at}")),
            agent: AgentId::new(host),
            hostname: host.into(),
            role: ANY_ROLE.into(),
            resources: vec![
                any(Amount::Cpus(Milli(100_000))),
                any(Amount::Mem(Milli::from_whole(100_000))),
                any(Amount::Disk(Milli::from_whole(100_000))),
                any(Amount::Ports(vec![PortRange { first: 31000, last: 39000 }])),
            ],
            attributes: Default::default(),
            region: None,
            zone: None,
            unavailability: None,
        }
    };
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
