//! What is known of the agents: the newest offer, our launches and what has ended since.

use crate::rig::*;

/// The free cpus, memory and number of ports of an agent.
fn free(rig: &Rig, agent: &str) -> Option<(f64, f64, usize)> {
    let view = rig.view();
    let seen = view.agents.get(&AgentId::new(agent))?;
    let (mut cpus, mut mem, mut ports) = (0.0, 0.0, 0);
    for it in &seen.free {
        match &it.amount {
            Amount::Cpus(amount) => cpus += amount.as_f64(),
            Amount::Mem(amount) => mem += amount.as_f64(),
            Amount::Ports(ranges) => ports += port_count(ranges),
            _ => {}
        }
    }
    Some((cpus, mem, ports))
}

fn offer(id: &str, agent: &str, role: &str, resources: &[(&str, u64)]) -> Offer {
    Offer {
        id: OfferId::new(id),
        agent: AgentId::new(agent),
        hostname: agent.into(),
        role: role.into(),
        resources: resources
            .iter()
            .map(|&(role, cpus)| Resource::new(role, Amount::Cpus(Milli::from_whole(cpus))))
            .collect(),
        attributes: Default::default(),
        region: None,
        zone: None,
        unavailability: None,
    }
}

fn engine(rig: &mut Rig, event: EngineEvent) {
    rig.feed(Event::Engine(event));
}

#[test]
fn launches_and_ends_are_booked_between_offers() {
    let mut rig = Rig::new();
    rig.offer();
    assert_eq!(free(&rig, "agent"), Some((1000.0, 1_000_000.0, 8001)));
    let port = PortDefinition { port: 0, protocol: Protocol::Tcp, name: None, labels: Labels::new() };
    let ports = Some(vec![port.clone(), port]);
    rig.put(
        "/web",
        AppEdit::Create(AppUpdate { port_definitions: ports, mem: Some(Milli::from_whole(500)), ..sleep(3) }),
    );
    // From here on nobody carries out what the core asks for, so no new offer comes.
    rig.offer();
    assert_eq!(free(&rig, "agent"), Some((999.7, 1_000_000.0 - 1500.0, 8001 - 6)));
    let instances: Vec<_> = rig.view().apps[&id("/web")].instances.values().cloned().collect();
    let task = instances[0].task.as_ref().unwrap().id.clone();
    rig.say(&task, TaskState::Running);
    rig.say(&task, TaskState::Failed);
    assert_eq!(free(&rig, "agent"), Some((999.8, 1_000_000.0 - 1000.0, 8001 - 4)));
    // Said twice, counted once.
    rig.say(&task, TaskState::Failed);
    assert_eq!(free(&rig, "agent"), Some((999.8, 1_000_000.0 - 1000.0, 8001 - 4)));
    // The agent is no more, so neither is what it had.
    let task = instances[1].task.as_ref().unwrap().id.clone();
    rig.say(&task, TaskState::Gone);
    assert_eq!(free(&rig, "agent"), Some((999.8, 1_000_000.0 - 1000.0, 8001 - 4)));
}

#[test]
fn offers_of_one_agent_add_up_and_newer_ones_replace() {
    let mut rig = Rig::new();
    let two = vec![
        offer("1", "a", "*", &[("*", 4)]),
        offer("2", "a", "dev", &[("dev", 2)]),
        offer("3", "b", "*", &[("*", 8)]),
    ];
    engine(&mut rig, EngineEvent::Offers(two));
    assert_eq!(free(&rig, "a"), Some((6.0, 0.0, 0)));
    // What is set aside for `dev` is not part of an offer to `*`, and still there.
    engine(&mut rig, EngineEvent::Offers(vec![offer("4", "a", "*", &[("*", 3)])]));
    assert_eq!(free(&rig, "a"), Some((5.0, 0.0, 0)));
    engine(&mut rig, EngineEvent::Offers(vec![offer("5", "a", "dev", &[("*", 3), ("dev", 1)])]));
    assert_eq!(free(&rig, "a"), Some((4.0, 0.0, 0)));
    // An offer that is not the newest says nothing any more.
    engine(&mut rig, EngineEvent::Rescinded(OfferId::new("4")));
    assert_eq!(free(&rig, "a"), Some((4.0, 0.0, 0)));
    engine(&mut rig, EngineEvent::Rescinded(OfferId::new("5")));
    assert_eq!(free(&rig, "a"), None);
    engine(&mut rig, EngineEvent::AgentLost(AgentId::new("b")));
    assert_eq!(free(&rig, "b"), None);
}

#[test]
fn what_was_known_before_a_new_subscription_is_forgotten() {
    let mut rig = Rig::new();
    engine(&mut rig, EngineEvent::Offers(vec![offer("1", "a", "*", &[("*", 4)])]));
    engine(&mut rig, EngineEvent::Disconnected);
    assert_eq!(free(&rig, "a"), Some((4.0, 0.0, 0)));
    rig.subscribe(true);
    assert_eq!(free(&rig, "a"), None);
}

/// The engine has given out again what ended tasks had, and its word of their ends comes only then.
#[test]
fn what_an_offer_holds_already_is_not_counted_twice() {
    let mut rig = Rig::new();
    rig.put("/web", AppEdit::Create(AppUpdate { cpus: Some(Milli::from_whole(2)), ..sleep(3) }));
    rig.run();
    rig.mute = true;
    engine(&mut rig, EngineEvent::Offers(vec![offer("a", "agent", "*", &[("*", 0)])]));
    let tasks = rig.tasks_of("/web");
    let ended = rig.now.wall;
    rig.pass(Duration::from_secs(1));
    engine(&mut rig, EngineEvent::Offers(vec![offer("b", "agent", "*", &[("*", 6)])]));
    let end = |task: &TaskId, at: Timestamp| TaskStatus {
        task: task.clone(),
        state: TaskState::Failed,
        agent: Some(AgentId::new("agent")),
        update: None,
        at,
        message: String::new(),
        reason: None,
        healthy: None,
        check: None,
        addresses: Vec::new(),
        unreachable_since: None,
    };
    for task in &tasks[..2] {
        engine(&mut rig, EngineEvent::Status(end(task, ended)));
    }
    assert_eq!(free(&rig, "agent").unwrap().0, 6.0);
    // What ends later comes on top.
    let now = rig.now.wall;
    engine(&mut rig, EngineEvent::Status(end(&tasks[2], now)));
    assert_eq!(free(&rig, "agent").unwrap().0, 8.0);
}
