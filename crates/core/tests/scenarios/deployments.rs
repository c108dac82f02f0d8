//! Changes of apps, from the request to the last step.

use crate::rig::*;

#[test]
fn an_app_is_started_scaled_and_removed() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (3, 0));
    let first = rig.task_of("/web");
    deployed(rig.put("/web", AppEdit::Merge(AppUpdate { instances: Some(5), ..AppUpdate::default() })));
    rig.run();
    assert_eq!((rig.count("/web"), rig.tasks.contains_key(&first)), (5, true), "scaling restarts nothing");
    deployed(rig.put("/web", AppEdit::Merge(AppUpdate { instances: Some(1), ..AppUpdate::default() })));
    rig.run();
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (1, 0));
    rig.events.clear();
    deployed(rig.put("/web", AppEdit::Delete));
    rig.run();
    assert_eq!(
        (rig.count("/web"), rig.view().app(&id("/web")).is_none(), rig.view().deployments.len()),
        (0, true, 0)
    );
    assert!(rig.events.contains(&"app_terminated_event".to_owned()), "{:?}", rig.events);
    assert_eq!(rig.events.last().unwrap(), "deployment_success");
}

#[test]
fn a_second_deployment_of_an_app_is_refused_unless_forced() {
    let mut rig = Rig::new();
    rig.mute = true;
    let first = deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    let more = || AppEdit::Merge(AppUpdate { instances: Some(2), ..AppUpdate::default() });
    assert_eq!(rig.put("/web", more()), Reply::Refused(Refusal::Locked { holders: vec![first] }));
    // Another app is not concerned.
    deployed(rig.put("/other", AppEdit::Create(sleep(1))));
    rig.events.clear();
    let edits = vec![(id("/web"), more())];
    let second = deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
    assert!(rig.view().deployments.contains_key(&second) && !rig.view().deployments.contains_key(&first));
    assert!(rig.events.contains(&"deployment_failed".to_owned()));
}

#[test]
fn a_rolling_upgrade_replaces_all_and_ends() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(4))));
    rig.run();
    let old: Vec<TaskId> = rig.tasks.keys().cloned().collect();
    deployed(rig.put(
        "/web",
        AppEdit::Merge(AppUpdate { cmd: Some("sleep 2000".to_owned()), ..AppUpdate::default() }),
    ));
    rig.run();
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (4, 0));
    assert!(old.iter().all(|it| !rig.tasks.contains_key(it)));
}

#[test]
fn a_rollback_keeps_the_instances_it_returns_to() {
    let mut rig = Rig::new();
    let mut app = sleep(4);
    app.upgrade =
        Some(UpgradeUpdate { minimum_health_capacity: Some(0.5), maximum_over_capacity: Some(0.0) });
    deployed(rig.put("/web", AppEdit::Create(app)));
    rig.run();
    rig.mute = true;
    let update = AppUpdate { cmd: Some("broken".to_owned()), ..AppUpdate::default() };
    let bad = deployed(rig.put("/web", AppEdit::Merge(update)));
    rig.run();
    let kept: Vec<TaskId> = rig
        .tasks
        .iter()
        .filter(|(_, it)| it.command == marathon_model::offer::Command::Shell("sleep 1000".into()))
        .map(|it| it.0.clone())
        .collect();
    assert_eq!(kept.len(), 2, "half of the old ones are still there");
    rig.mute = false;
    deployed(rig.ask(Command::CancelDeployment { id: bad, force: false }));
    rig.run();
    assert!(kept.iter().all(|it| rig.tasks.contains_key(it)), "the old ones survive the way back");
    assert!(
        rig.tasks.values().all(|it| it.command == marathon_model::offer::Command::Shell("sleep 1000".into()))
    );
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (4, 0));
}

#[test]
fn dependencies_come_up_first() {
    let mut rig = Rig::new();
    rig.mute = true;
    let edits = vec![
        (id("/db"), AppEdit::Create(sleep(1))),
        (id("/web"), AppEdit::Create(AppUpdate { dependencies: Some(vec!["/db".to_owned()]), ..sleep(1) })),
    ];
    deployed(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    rig.run();
    assert_eq!((rig.count("/db"), rig.count("/web")), (1, 0));
    rig.mute = false;
    let db = rig.task_of("/db");
    rig.say(&db, TaskState::Running);
    rig.run();
    assert_eq!((rig.count("/db"), rig.count("/web")), (1, 1));
}

#[test]
fn a_circle_of_dependencies_is_refused() {
    let mut rig = Rig::new();
    deployed(
        rig.put("/a", AppEdit::Create(AppUpdate { dependencies: Some(vec!["/b".to_owned()]), ..sleep(1) })),
    );
    let reply =
        rig.put("/b", AppEdit::Create(AppUpdate { dependencies: Some(vec!["/a".to_owned()]), ..sleep(1) }));
    let Reply::Refused(Refusal::Invalid(violations)) = reply else { panic!("{reply:?}") };
    assert_eq!(violations[0].message, "Dependency graph has cyclic dependencies.");
    assert!(rig.view().app(&id("/b")).is_none());
}

#[test]
fn service_ports_are_given_out_once_and_kept() {
    let mut rig = Rig::new();
    let port =
        |rig: &Rig, app: &str| rig.view().app(&id(app)).unwrap().spec.as_ref().unwrap().service_ports();
    deployed(rig.put("/a", AppEdit::Create(sleep(0))));
    deployed(rig.put("/b", AppEdit::Create(sleep(0))));
    assert_eq!((port(&rig, "/a"), port(&rig, "/b")), (vec![10000], vec![10001]));
    deployed(rig.put("/a", AppEdit::Replace(AppUpdate { cmd: Some("other".to_owned()), ..sleep(0) })));
    assert_eq!(port(&rig, "/a"), [10000]);
    deployed(rig.put("/a", AppEdit::Delete));
    deployed(rig.put("/c", AppEdit::Create(sleep(0))));
    assert_eq!(port(&rig, "/c"), [10000]);
}

/// Found by the simulator: the name was free again once no kept version of the tree knew it.
#[test]
fn a_removed_app_stays_locked_by_the_deployment_that_removed_it() {
    let mut rig = Rig::with(Policy { max_versions: 1, ..policy() });
    rig.mute = true;
    deployed(rig.put("/old", AppEdit::Create(sleep(0))));
    let edits = vec![(id("/old"), AppEdit::Delete), (id("/new"), AppEdit::Create(sleep(1)))];
    let busy = deployed(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    for other in ["/a", "/b", "/c"] {
        deployed(rig.put(other, AppEdit::Create(sleep(0))));
    }
    assert_eq!(
        rig.put("/old", AppEdit::Create(sleep(1))),
        Reply::Refused(Refusal::Locked { holders: vec![busy] })
    );
}

/// Found by the simulator: old instances given up as lost came back while the new ones waited for room.
#[test]
fn new_instances_make_way_for_lost_ones_that_return() {
    let mut rig = Rig::new();
    rig.cpus = 3;
    let lost = UnreachableStrategy::After { inactive: Duration::ZERO, expunge: Duration::from_secs(3600) };
    let upgrade = UpgradeUpdate { minimum_health_capacity: Some(1.0), maximum_over_capacity: Some(0.3) };
    let spec =
        AppUpdate { cpus: Some(Milli(1000)), unreachable: Some(lost), upgrade: Some(upgrade), ..sleep(3) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    let away: Vec<TaskId> = rig.tasks.keys().take(2).cloned().collect();
    for task in &away {
        rig.say(task, TaskState::Unreachable);
    }
    let next = AppUpdate { cmd: Some("sleep 2000".to_owned()), ..AppUpdate::default() };
    deployed(rig.put("/web", AppEdit::Merge(next)));
    let waiting = |rig: &Rig| rig.view().app(&id("/web")).unwrap().tally.sum().waiting;
    assert_eq!(waiting(&rig), 3, "one old and three new are four, as many as may be");
    for task in &away {
        rig.say(task, TaskState::Running);
    }
    assert_eq!(waiting(&rig), 1, "three old leave room for one");
    rig.cpus = 9;
    rig.offer();
    rig.run();
    rig.pass(Duration::from_secs(600));
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (3, 0));
    assert!(away.iter().all(|it| !rig.tasks.contains_key(it)));
}

#[test]
fn an_app_without_instances_is_only_scaled() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(0))));
    rig.notices.clear();
    deployed(rig.put("/web", cmd("other")));
    assert_eq!(rig.steps_begun(), [("/web".to_owned(), ActionKind::ScaleApplication)]);
    assert_eq!(rig.view().deployments.len(), 0);
}

#[test]
fn going_back_to_a_version_of_the_same_content_replaces_nothing() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(2))));
    rig.run();
    let first = rig.view().app(&id("/web")).unwrap().spec.as_ref().unwrap().version;
    rig.pass(Duration::from_secs(1));
    deployed(rig.put("/web", AppEdit::Restart));
    rig.run();
    rig.pass(Duration::from_secs(1));
    let restarted = rig.tasks_of("/web");
    rig.notices.clear();
    deployed(rig.put("/web", AppEdit::Merge(AppUpdate { version: Some(first), ..AppUpdate::default() })));
    rig.run();
    assert_eq!((rig.tasks_of("/web"), rig.steps_begun()), (restarted, vec![]));
}

/// It was given up and made up for, so nobody waits for it.
#[test]
fn a_new_instance_given_up_as_lost_does_not_hold_its_deployment() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { unreachable: Some(patient()), ..sleep(1) })));
    rig.run();
    rig.mute = true;
    let old = rig.task_of("/web");
    deployed(rig.put("/web", instances(2)));
    rig.run();
    let lost = rig.tasks_of("/web").into_iter().find(|it| *it != old).unwrap();
    rig.say(&lost, TaskState::Unreachable);
    rig.mute = false;
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.condition(&lost), Some(Condition::UnreachableInactive));
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (3, 0));
}

/// Were it still wanted, its return could push out a new one that is just starting.
#[test]
fn an_upgrade_gives_up_old_instances_that_are_lost() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { unreachable: Some(patient()), ..sleep(2) })));
    rig.run();
    let lost = rig.task_of("/web");
    rig.say(&lost, TaskState::Unreachable);
    rig.pass(Duration::from_secs(61));
    deployed(rig.put("/web", cmd("new")));
    rig.run();
    assert_eq!(rig.view().deployments.len(), 0);
    let starting = rig.tasks_of("/web").into_iter().find(|it| *it != lost).unwrap();
    rig.mute = true;
    rig.end(&starting, TaskState::Killed);
    rig.say(&lost, TaskState::Running);
    rig.run();
    assert!(!rig.tasks.contains_key(&lost));
    assert_eq!(rig.count("/web"), 2);
}

#[test]
fn before_its_step_an_app_is_kept_as_it_is_each_instance_as_it_was() {
    let mut rig = Rig::new();
    let web = AppUpdate { dependencies: Some(vec!["/db".to_owned()]), ..sleep(2) };
    let edits = vec![(id("/db"), AppEdit::Create(sleep(1))), (id("/web"), AppEdit::Create(web))];
    deployed(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    rig.run();
    let half = UpgradeUpdate { minimum_health_capacity: Some(0.5), maximum_over_capacity: Some(0.0) };
    rig.mute = true;
    let next = AppUpdate { cmd: Some("b".to_owned()), upgrade: Some(half), ..AppUpdate::default() };
    let upgrade = deployed(rig.put("/web", AppEdit::Merge(next)));
    rig.run();
    let new = rig
        .tasks
        .iter()
        .find(|(_, it)| it.command == marathon_model::offer::Command::Shell("b".into()))
        .unwrap()
        .0
        .clone();
    rig.ask(Command::CancelDeployment { id: upgrade, force: true });
    rig.say(&new, TaskState::Running);
    let edits = vec![(id("/db"), cmd("c")), (id("/web"), cmd("c"))];
    deployed(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    rig.run();
    // Both end before an offer comes.
    for task in rig.tasks_of("/web") {
        rig.tasks.remove(&task);
        rig.say(&task, TaskState::Killed);
    }
    rig.run();
    let of_web = rig.tasks.iter().filter(|(task, _)| task.instance.spec == id("/web"));
    let mut commands: Vec<String> = of_web.map(|(_, it)| format!("{:?}", it.command)).collect();
    commands.sort();
    assert_eq!(commands, [r#"Shell("b")"#, r#"Shell("sleep 1000")"#]);
}

#[test]
fn a_vast_number_of_instances_is_scheduled_bit_by_bit() {
    let mut rig = Rig::new();
    deployed(rig.put("/db", AppEdit::Create(sleep(1))));
    rig.run();
    rig.cpus = 0;
    deployed(rig.put("/web", AppEdit::Create(sleep(i32::MAX as u32))));
    assert!(rig.view().app(&id("/web")).unwrap().instances.len() <= 100_000);
    deployed(rig.ask(Command::EditApps {
        edits: vec![(id("/web"), AppEdit::Delete)],
        force: true,
        origin: None,
    }));
    assert!(rig.view().deployments.is_empty());
}

#[test]
fn a_deployment_waits_until_its_instances_say_they_are_ready() {
    let mut rig = Rig::new();
    let check = ReadinessCheck {
        name: "warm".to_owned(),
        https: false,
        path: "/".to_owned(),
        port_name: "http".to_owned(),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        ready_codes: vec![200],
        preserve_last_response: true,
    };
    let port = PortDefinition {
        port: 0,
        protocol: Protocol::Tcp,
        name: Some("http".to_owned()),
        labels: Labels::new(),
    };
    let spec =
        AppUpdate { readiness_checks: Some(vec![check]), port_definitions: Some(vec![port]), ..sleep(1) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    let answer = |rig: &mut Rig, status: u16| {
        rig.pass(Duration::from_secs(30));
        for probe in std::mem::take(&mut rig.probes) {
            let outcome = ProbeOutcome::Answered { status, content_type: String::new(), body: "".into() };
            rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome }));
        }
    };
    for _ in 0..3 {
        answer(&mut rig, 503);
        let app = rig.view().app(&id("/web")).unwrap().clone();
        assert_eq!((app.readiness.len(), app.deployments.len()), (1, 1), "only the present task counts");
        let task = rig.task_of("/web");
        rig.end(&task, TaskState::Killed);
    }
    answer(&mut rig, 200);
    let app = rig.view().app(&id("/web")).unwrap().clone();
    assert_eq!((app.readiness.len(), app.deployments.len()), (0, 0));
}

#[test]
fn a_removed_app_does_not_wait_for_what_is_lost() {
    let mut rig = Rig::new();
    let spec = AppUpdate { unreachable: Some(UnreachableStrategy::Disabled), ..sleep(2) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    let tasks = rig.tasks_of("/web");
    rig.say(&tasks[0], TaskState::Unreachable);
    deployed(rig.put("/web", AppEdit::Delete));
    rig.calls.clear();
    assert!(!rig.events.contains(&"app_terminated_event".to_owned()));
    rig.say(&tasks[1], TaskState::Unreachable);
    assert!(rig.events.contains(&"app_terminated_event".to_owned()));
    assert_eq!(rig.view().deployments.len(), 0);
    // Back again they are nobody's.
    for task in &tasks {
        rig.say(task, TaskState::Running);
    }
    rig.run();
    assert!(rig.tasks.is_empty());
}

#[test]
fn a_task_that_is_named_twice_is_one_victim() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    let task = rig.task_of("/web");
    let victims = Victims::Tasks(vec![task.clone(), task.clone()]);
    deployed(rig.ask(Command::Kill { victims, scale: true, wipe: false, force: false }));
    rig.run();
    assert_eq!((rig.count("/web"), rig.tasks.contains_key(&task)), (2, false));
}
