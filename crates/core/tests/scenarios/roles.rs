//! A cluster that makes its offers to roles: each is asked for by itself, and used by its own instances only.

use super::rig::*;

fn rig() -> Rig {
    Rig::with(Policy { offers_by_role: true, ..policy() })
}

fn offered(rig: &mut Rig, role: &str) -> Vec<String> {
    rig.calls.clear();
    let amount = |amount| Resource::new(ANY_ROLE, amount);
    let offer = Offer {
        id: OfferId::new(format!("to-{role}")),
        agent: AgentId::new("a"),
        hostname: "a".into(),
        role: role.into(),
        resources: vec![
            amount(Amount::Cpus(Milli::from_whole(10))),
            amount(Amount::Mem(Milli::from_whole(10_000))),
            amount(Amount::Ports(vec![PortRange { first: 31_000, last: 31_100 }])),
        ],
        attributes: Default::default(),
        region: None,
        zone: None,
        unavailability: None,
    };
    rig.feed(Event::Engine(EngineEvent::Offers(vec![offer])));
    said(rig)
}

/// The calls about offers, in short.
fn said(rig: &mut Rig) -> Vec<String> {
    let calls = std::mem::take(&mut rig.calls);
    let short = |it: Call| match it {
        Call::Accept { operations, .. } => {
            let apps: Vec<String> = Operation::launches(&operations).map(|it| it.spec.to_string()).collect();
            Some(format!("start {}", apps.join(" ")))
        }
        Call::Decline { .. } => Some("decline".to_owned()),
        Call::Revive(roles) => Some(format!("revive {}", roles.join(" "))),
        Call::Suppress(roles) => Some(format!("suppress {}", roles.join(" "))),
        _ => None,
    };
    calls.into_iter().filter_map(short).collect()
}

#[test]
fn each_role_is_asked_for_and_suppressed_by_itself() {
    let mut rig = rig();
    rig.calls.clear();
    rig.put("/web", AppEdit::Create(sleep(1)));
    assert_eq!(said(&mut rig), ["revive *"]);
    rig.put("/dev/web", AppEdit::Create(AppUpdate { role: Some("dev".into()), ..sleep(2) }));
    assert_eq!(said(&mut rig), ["revive * dev"]);
    // What is unreserved would do for both; but what is offered to a role counts as that role's.
    assert_eq!(offered(&mut rig, "*"), ["start /web", "suppress *"]);
    assert_eq!(offered(&mut rig, "*"), ["decline"]);
    assert_eq!(offered(&mut rig, "dev"), ["start /dev/web /dev/web", "suppress dev"]);
    // After a new subscription nothing is asked for that nobody waits for.
    rig.feed(Event::Engine(EngineEvent::Disconnected));
    rig.calls.clear();
    let (framework, master) = (FrameworkId::new("f"), "m".to_owned());
    rig.feed(Event::Engine(EngineEvent::Subscribed {
        framework,
        master,
        ui: None,
        region: None,
        again: true,
    }));
    assert_eq!(said(&mut rig), [""; 0]);
}

#[test]
fn the_region_of_the_master_is_learned_from_the_engine() {
    let mut rig = rig();
    let (framework, master) = (FrameworkId::new("f"), "m".to_owned());
    let region = Some("home".into());
    rig.feed(Event::Engine(EngineEvent::Subscribed { framework, master, ui: None, region, again: true }));
    assert_eq!(rig.view().master_region.as_deref(), Some("home"));
}
