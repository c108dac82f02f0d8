//! `explain`: how long it takes to say why 1,000 instances wait, against 5,000 agents.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marathon_core::{Core, Policy, explain};
use marathon_model::act::Batch;
use marathon_model::app::{Constraint, Operator};
use marathon_model::command::Command;
use marathon_model::event::Event;
use marathon_model::id::{AgentId, FrameworkId, OfferId, PathId, RequestId};
use marathon_model::offer::{Attribute, EngineEvent, Offer};
use marathon_model::resources::{ANY_ROLE, Amount, Milli, PortRange, Resource};
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::update::{AppEdit, AppUpdate};
use marathon_model::view::View;

use crate::report::{Bound, Report, number};
use crate::stats::{median, quantile};
use crate::{Outcome, Place};

const INSTANCES: u32 = 1000;
const AGENTS: u32 = 5000;
const ROUNDS: usize = 50;
/// As many as are listed unless asked otherwise.
const ROWS: usize = 20;
const NOW: Now = Now { wall: Timestamp(1_704_067_200_000), tick: Tick(0) };

pub fn run(_: &Place) -> Outcome<Report> {
    let id = PathId::parse("/waits")?;
    let view = cluster(&id)?;
    let policy = Policy::default();
    let (mut times, mut limits) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        black_box(look(&view));
        limits.push(ms(begin.elapsed()));
        let begin = Instant::now();
        let found = explain(&view, &policy, &id, ROWS, NOW.wall).ok_or("the app is not there")?;
        let body = marathon_api::explain::one(&found);
        times.push(ms(begin.elapsed()));
        bytes = body.len();
        let placement = found.placement.ok_or("no agent was looked at")?;
        if placement.agents != AGENTS || placement.fitting != 0 || placement.suggestions.len() < 2 {
            return Err(format!("not what was set up: {}", found.headline).into());
        }
    }
    let (middle, limit) = (median(&times), median(&limits));
    Ok(Report::new(middle, "ms", "one look at all that is free", middle / limit)
        .row(format!("{INSTANCES} waiting instances, {AGENTS} agents: p50"), format!("{} ms", number(middle)))
        .row("slowest", format!("{} ms", number(quantile(&times, 1.0))))
        .row("one look at all that is free", format!("{} ms", number(limit)))
        .row("body", format!("{} bytes", number(bytes as f64)))
        .key("slowest", quantile(&times, 1.0))
        .target("p50, ms", middle, Bound::AtMost(100.0)))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The least anybody has to do: read what every agent has left.
fn look(view: &View) -> BTreeMap<usize, u64> {
    let mut sums = BTreeMap::new();
    for (at, it) in view.agents.values().flat_map(|it| it.free.iter().enumerate()) {
        if let Amount::Cpus(amount) | Amount::Mem(amount) | Amount::Disk(amount) = it.amount {
            *sums.entry(at).or_default() += amount.0;
        }
    }
    sums
}

/// One app that fits nowhere, for a different reason on each agent.
fn cluster(id: &PathId) -> Outcome<View> {
    let (mut core, _) = Core::restore(Vec::new(), Policy::default(), 1, NOW);
    let (framework, master) = (FrameworkId::new("f"), "m".to_owned());
    let mut feed = |event: Event| -> Batch { core.step(event, NOW) };
    let subscribed = EngineEvent::Subscribed { framework, master, ui: None, region: None, again: false };
    drop(feed(Event::Engine(subscribed)));
    let update = AppUpdate {
        cmd: Some("sleep 1000".to_owned()),
        instances: Some(INSTANCES),
        cpus: Some(Milli::from_whole(2)),
        mem: Some(Milli::from_whole(4096)),
        constraints: Some(vec![
            Constraint {
                field: "rack".to_owned(),
                operator: Operator::Unlike,
                value: Some("r[0-4]".to_owned()),
            },
            Constraint { field: "hostname".to_owned(), operator: Operator::Unique, value: None },
        ]),
        ..AppUpdate::default()
    };
    let edits = vec![(id.clone(), AppEdit::Create(update))];
    let command = Command::EditApps { edits, force: false, origin: None };
    drop(feed(Event::Asked { from: RequestId(1), command }));
    drop(feed(Event::Engine(EngineEvent::Offers((0..AGENTS).map(offer).collect()))));
    Ok(View::clone(&core.view()))
}

fn offer(number: u32) -> Offer {
    let short = u64::from(number % 3);
    let any = |amount| Resource::new(ANY_ROLE, amount);
    let ports = match short {
        2 => Vec::new(),
        _ => vec![PortRange { first: 31_000, last: 32_000 }],
    };
    let rack = Attribute::Text(format!("r{}", number % 10));
    Offer {
        id: OfferId::new(number.to_string()),
        agent: AgentId::new(format!("3f2b6f0e-8f3b-4c57-9a57-5f0b6c9d1e2a-S{number}")),
        hostname: format!("node-{number:04}.cluster.example").into(),
        role: ANY_ROLE.into(),
        resources: vec![
            any(Amount::Cpus(Milli(if short == 0 { 1500 } else { 8000 }))),
            any(Amount::Mem(Milli::from_whole(if short == 1 {
                1024 + u64::from(number) % 1000
            } else {
                16_384
            }))),
            any(Amount::Disk(Milli::from_whole(100_000))),
            any(Amount::Ports(ports)),
        ],
        attributes: Arc::new(BTreeMap::from([("rack".to_owned(), rack)])),
        region: None,
        zone: None,
        unavailability: None,
    }
}
