//! Apps that own volumes: reserve, launch, come back, scale, upgrade, wipe, remove.

use marathon_model::command::Violation;
use marathon_model::explain::Why;
use marathon_model::instance::Goal;
use marathon_model::preview::Outcome;
use marathon_model::reservation::ReservationState;
use marathon_model::view::Mismatch;

use crate::rig::*;

pub fn with_volumes() -> Policy {
    let mut policy = policy();
    policy.rules.any_role_reserves = true;
    policy
}

fn rig() -> Rig {
    Rig::with(with_volumes())
}

fn volume(name: &str, size: u64) -> Volume {
    let source = VolumeSource::Persistent {
        kind: DiskKind::Root,
        size,
        max_size: None,
        profile: None,
        constraints: Vec::new(),
    };
    Volume { container_path: name.to_owned(), read_only: false, source }
}

pub fn resident(instances: u32) -> AppUpdate {
    let container = ContainerUpdate {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes: vec![volume("data", 100)],
        linux: None,
        port_mappings: None,
    };
    AppUpdate { container: Some(container), ..sleep(instances) }
}

fn create(rig: &mut Rig, instances: u32) {
    deployed(rig.put("/db", AppEdit::Create(resident(instances))));
    rig.run();
}

/// The volumes each living task of the app uses.
pub fn used(rig: &Rig) -> BTreeMap<InstanceId, Vec<String>> {
    let volumes = |it: &Launch| it.reserved.iter().filter_map(|it| it.volume()).map(str::to_owned).collect();
    rig.tasks.values().map(|it| (it.task.instance.clone(), volumes(it))).collect()
}

fn goals(rig: &Rig) -> Vec<(Goal, Condition)> {
    let view = rig.view();
    let app = view.apps.get(&id("/db"));
    app.iter().flat_map(|it| it.instances.values()).map(|it| (it.goal, it.condition)).collect()
}

#[test]
fn it_is_reserved_first_and_started_on_what_was_reserved() {
    let mut rig = rig();
    create(&mut rig, 1);
    assert_eq!(rig.deeds, ["reserve 4", "create 1"]);
    let task = rig.task_of("/db");
    let launch = &rig.tasks[&task];
    let it = rig.view().instance(&task.instance).unwrap().clone();
    let reservation = it.reservation.clone().unwrap();
    assert_eq!(reservation.state, ReservationState::Launched);
    let id = reservation.volumes[0].persistence_id(it.spec());
    assert!(id.starts_with("db#data#"), "{id}");
    assert_eq!(rig.volumes(), std::slice::from_ref(&id));
    assert!(launch.shares.is_empty() && launch.reserved.iter().any(|it| it.volume() == Some(&id)));
    // A host port is part of what is reserved.
    let ports = launch.reserved.iter().find_map(|it| match &it.amount {
        Amount::Ports(ranges) => Some(ranges.clone()),
        _ => None,
    });
    assert_eq!(ports.unwrap()[0].first, launch.host_ports[0]);
    let labels = &launch.reserved[0].reserved.as_ref().unwrap().labels;
    assert_eq!(labels["marathon_framework_id"], "f");
    assert_eq!(labels["marathon_task_id"], task.instance.to_string());
}

#[test]
fn it_comes_back_to_its_volume_after_every_end() {
    let mut rig = rig();
    create(&mut rig, 2);
    let before = used(&rig);
    assert_eq!(before.len(), 2);
    for state in
        [TaskState::Failed, TaskState::Finished, TaskState::Killed, TaskState::Gone, TaskState::Dropped]
    {
        let task = rig.task_of("/db");
        rig.end(&task, state);
        rig.pass(Duration::from_secs(60));
        assert_eq!(used(&rig), before, "after {state:?}");
    }
    rig.restart_with(with_volumes());
    rig.run();
    assert_eq!((used(&rig), rig.volumes().len()), (before, 2));
    assert_eq!(rig.deeds.iter().filter(|it| it.starts_with("destroy")).count(), 0);
}

#[test]
fn another_agent_is_no_substitute() {
    let mut rig = rig();
    create(&mut rig, 1);
    let (task, before) = (rig.task_of("/db"), used(&rig));
    rig.agent = 1;
    rig.end(&task, TaskState::Failed);
    rig.pass(Duration::from_secs(10));
    assert_eq!((rig.count("/db"), rig.deeds.len()), (0, 2), "nothing is reserved elsewhere");
    let waiting = rig.view().app(&id("/db")).unwrap().waiting.clone().unwrap();
    assert!(waiting.refusals[Mismatch::NoCorrespondingReservationFound as usize] > 0);
    let told = marathon_core::explain(&rig.view(), &with_volumes(), &id("/db"), 9, rig.now.wall).unwrap();
    assert_eq!((told.reasons[0].why, told.placement), (Why::OwnVolume, None));
    assert_eq!(told.reasons[0].text, "waits for an offer of host, where its volumes are");
    rig.agent = 0;
    rig.offer();
    rig.run();
    assert_eq!(used(&rig), before);
}

#[test]
fn an_agent_that_comes_back_under_another_id_has_its_volumes_still() {
    let mut rig = rig();
    create(&mut rig, 2);
    deployed(rig.put("/db", instances(1)));
    rig.run();
    let (task, before) = (rig.task_of("/db"), used(&rig));
    rig.renamed = true;
    rig.end(&task, TaskState::Failed);
    rig.pass(Duration::from_secs(10));
    assert_eq!((used(&rig), rig.volumes().len()), (before, 2), "{:?}", rig.deeds);
    let agent = rig.view().instance(&task.instance).unwrap().agent.clone().unwrap();
    assert_eq!(agent.id, rig.agent_id());
    // The one that was stopped finds its own there too.
    deployed(rig.put("/db", instances(2)));
    rig.run();
    rig.pass(Duration::from_secs(10));
    assert_eq!((rig.count("/db"), rig.volumes().len(), rig.view().deployments.len()), (2, 2, 0));
    assert!(!rig.deeds.iter().any(|it| it.starts_with("destroy")), "{:?}", rig.deeds);
}

#[test]
fn a_volume_that_fits_nowhere_is_told_of() {
    let mut rig = rig();
    let volumes = vec![volume("data", 2_000_000)];
    let container = ContainerUpdate { volumes, ..resident(1).container.unwrap() };
    deployed(rig.put("/db", AppEdit::Create(AppUpdate { container: Some(container), ..resident(1) })));
    rig.run();
    assert_eq!(rig.deeds.len(), 0);
    let told = marathon_core::explain(&rig.view(), &with_volumes(), &id("/db"), 9, rig.now.wall).unwrap();
    let want = "1 of 1 agent: no disk for its volumes: data (2000000 MiB, root); 1000000 MiB free on the agent's \
                own disk";
    assert_eq!((told.reasons[0].why, told.reasons[0].text.as_str()), (Why::NoFittingAgent, want));
    let changes: Vec<String> = told.placement.unwrap().suggestions.into_iter().map(|it| it.text).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].ends_with("2000000 MiB of disk free"), "{changes:?}");
    let edits = vec![(id("/db"), cmd("sleep 3000"))];
    let command = Command::EditApps { edits, force: true, origin: None };
    let foreseen = marathon_core::preview(&rig.view(), &with_volumes(), command, rig.now).unwrap();
    let Outcome::Stuck(stuck) = foreseen.outcome else { panic!("{foreseen:?}") };
    assert_eq!(stuck.apps[0].obstacles[0].why, Mismatch::InsufficientDisk);
}

#[test]
fn an_app_that_needs_nothing_but_a_volume_starts() {
    let mut rig = rig();
    let app = AppUpdate {
        cpus: Some(Milli(0)),
        mem: Some(Milli(0)),
        port_definitions: Some(Vec::new()),
        ..resident(1)
    };
    deployed(rig.put("/db", AppEdit::Create(app)));
    rig.run();
    rig.pass(Duration::from_secs(60));
    assert_eq!(
        (rig.count("/db"), rig.deeds.len(), rig.view().deployments.len()),
        (1, 2, 0),
        "{:?}",
        rig.deeds
    );
}

#[test]
fn a_lost_agent_is_waited_for_and_finds_its_volume_when_it_returns() {
    let mut rig = rig();
    create(&mut rig, 1);
    let (task, before) = (rig.task_of("/db"), used(&rig));
    rig.agent = 1;
    rig.lose(&task);
    rig.pass(Duration::from_secs(30 * 24 * 3600));
    assert_eq!(goals(&rig), [(Goal::Running, Condition::Unreachable)]);
    assert_eq!(rig.deeds.len(), 2, "nothing new is reserved");
    // Killing what cannot be reached does not give it up.
    rig.ask(kill(&task, false, false));
    assert_eq!(goals(&rig), [(Goal::Running, Condition::Unreachable)]);
    rig.agent = 0;
    rig.find(&task);
    assert_eq!((used(&rig), rig.condition(&task)), (before, Some(Condition::Running)));
}

#[test]
fn an_agent_declared_gone_sets_it_free() {
    let mut rig = rig();
    create(&mut rig, 1);
    let task = rig.task_of("/db");
    rig.say(&task, TaskState::Unreachable);
    let lost = std::mem::take(&mut rig.kept);
    rig.end(&task, TaskState::GoneByOperator);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.task_of("/db").instance, task.instance);
    assert_ne!(rig.volumes(), lost.iter().filter_map(|it| it.volume()).collect::<Vec<_>>());
    assert_eq!(rig.volumes().len(), 1);
}

#[test]
fn scaling_down_keeps_volumes_and_scaling_up_uses_them_first() {
    let mut rig = rig();
    create(&mut rig, 3);
    let before = used(&rig);
    deployed(rig.put("/db", instances(1)));
    rig.run();
    assert_eq!((rig.count("/db"), rig.volumes().len(), rig.view().deployments.len()), (1, 3, 0));
    assert_eq!(goals(&rig).iter().filter(|(goal, _)| *goal == Goal::Stopped).count(), 2);
    deployed(rig.put("/db", instances(0)));
    rig.run();
    rig.restart_with(with_volumes());
    rig.run();
    assert_eq!((rig.count("/db"), rig.volumes().len()), (0, 3));
    deployed(rig.put("/db", instances(4)));
    rig.run();
    rig.pass(Duration::from_secs(5));
    let after = used(&rig);
    assert_eq!((after.len(), rig.volumes().len(), rig.view().deployments.len()), (4, 4, 0));
    assert!(before.iter().all(|(id, volumes)| after.get(id) == Some(volumes)), "{before:?} then {after:?}");
}

#[test]
fn an_upgrade_stays_on_the_same_volumes() {
    let mut rig = rig();
    create(&mut rig, 3);
    let before = used(&rig);
    deployed(rig.put("/db", cmd("sleep 2000")));
    // Half may go at a time: with three that is one.
    let kills = rig.calls.iter().filter(|it| matches!(it, Call::Kill { .. })).count();
    assert_eq!(kills, 1);
    rig.run();
    rig.pass(Duration::from_secs(5));
    assert_eq!((used(&rig), rig.volumes().len(), rig.view().deployments.len()), (before, 3, 0));
    assert!(
        rig.tasks
            .values()
            .all(|it| it.command == marathon_model::offer::Command::Shell("sleep 2000".to_owned()))
    );
    assert!(!rig.deeds.iter().any(|it| it.starts_with("destroy")));
}

#[test]
fn an_upgrade_waits_for_an_agent_that_is_lost() {
    let mut rig = rig();
    create(&mut rig, 1);
    let (task, before) = (rig.task_of("/db"), used(&rig));
    rig.lose(&task);
    deployed(rig.put("/db", cmd("sleep 2000")));
    rig.run();
    rig.pass(Duration::from_secs(3600));
    assert_eq!((rig.view().deployments.len(), rig.deeds.len()), (1, 2));
    rig.find(&task);
    rig.pass(Duration::from_secs(5));
    assert_eq!((rig.view().deployments.len(), used(&rig)), (0, before));
}

#[test]
fn wiping_waits_for_the_end_of_the_task() {
    let mut rig = rig();
    create(&mut rig, 1);
    let (task, volumes) = (rig.task_of("/db"), rig.volumes());
    assert!(matches!(rig.ask(kill(&task, false, true)), Reply::Killed(it) if it.len() == 1));
    // The kill is on its way; offers come meanwhile.
    let calls = std::mem::take(&mut rig.calls);
    rig.offer();
    rig.offer();
    assert!(rig.volumes().contains(&volumes[0]), "{:?}", rig.deeds);
    assert!(!rig.deeds.iter().any(|it| it.starts_with("destroy")));
    rig.calls.splice(0..0, calls);
    rig.run();
    rig.pass(Duration::from_secs(5));
    assert!(
        rig.deeds.contains(&"destroy 1".to_owned()) && rig.deeds.contains(&"unreserve 4".to_owned()),
        "{:?}",
        rig.deeds
    );
    assert!(!rig.volumes().contains(&volumes[0]));
    assert_eq!(
        (rig.count("/db"), rig.volumes().len()),
        (1, 1),
        "another took its place, on a volume of its own"
    );
    assert_ne!(rig.task_of("/db").instance, task.instance);
}

#[test]
fn removing_the_app_removes_its_volumes_and_waits_for_none_of_them() {
    let mut rig = rig();
    create(&mut rig, 3);
    deployed(rig.put("/db", instances(2)));
    rig.run();
    deployed(rig.put("/db", AppEdit::Delete));
    rig.run();
    assert_eq!((rig.count("/db"), rig.view().deployments.len()), (0, 0));
    assert_eq!((rig.kept.len(), goals(&rig).len()), (0, 0), "{:?}", rig.deeds);
    assert_eq!(rig.events.iter().filter(|it| *it == "app_terminated_event").count(), 1);
}

#[test]
fn a_removed_app_ends_also_where_its_agent_never_returns() {
    let mut rig = rig();
    create(&mut rig, 1);
    let task = rig.task_of("/db");
    // It has ended, and its agent offers nothing any more.
    rig.agent = 1;
    rig.end(&task, TaskState::Failed);
    deployed(rig.put("/db", AppEdit::Delete));
    rig.run();
    assert_eq!(rig.view().deployments.len(), 0);
    assert!(rig.events.contains(&"app_terminated_event".to_owned()));
    rig.restart_with(with_volumes());
    rig.run();
    let ends = |rig: &Rig| rig.events.iter().filter(|it| *it == "app_terminated_event").count();
    assert_eq!(ends(&rig), 1);
    // Another of the same name has nothing to do with it.
    create(&mut rig, 1);
    assert_eq!(rig.view().deployments.len(), 1);
    rig.agent = 0;
    rig.offer();
    rig.run();
    rig.pass(Duration::from_secs(30));
    assert_eq!((rig.count("/db"), rig.volumes().len()), (1, 1), "{:?}", rig.deeds);
    assert_ne!(rig.task_of("/db").instance, task.instance);
}

#[test]
fn a_reservation_nobody_saw_is_tried_again() {
    let mut rig = rig();
    rig.forgetful = true;
    create(&mut rig, 1);
    let first = rig.view().app(&id("/db")).unwrap().instances.values().next().unwrap().id.clone();
    rig.pass(Duration::from_secs(19));
    assert!(rig.view().instance(&first).is_some());
    rig.forgetful = false;
    rig.pass(Duration::from_secs(2));
    rig.offer();
    rig.run();
    assert!(rig.view().instance(&first).is_none());
    assert_eq!((rig.count("/db"), rig.volumes().len()), (1, 1));
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    let mut rig = rig();
    create(&mut rig, 1);
    let one = rig.kept.iter().find(|it| it.volume().is_some()).unwrap().clone();
    let labelled = |framework: &str, instance: &str| {
        let labels = BTreeMap::from([
            ("marathon_framework_id".to_owned(), framework.to_owned()),
            ("marathon_task_id".to_owned(), instance.to_owned()),
        ]);
        Resource { reserved: Some(std::sync::Arc::new(Reserved { principal: None, labels })), ..one.clone() }
    };
    // Another framework's; one with a name nobody can read; one from before this state began; one without labels.
    let old = InstanceId { spec: id("/db"), uuid: uuid::Uuid::from_u128(7) };
    let strangers = [
        labelled("g", &rig.task_of("/db").instance.to_string()),
        labelled("f", "what is this"),
        labelled("f", &old.to_string()),
        Resource { reserved: None, ..one.clone() },
    ];
    rig.kept.extend(strangers.clone());
    // A new instance takes none of it either.
    deployed(rig.put("/db", instances(2)));
    rig.run();
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.count("/db"), 2);
    assert!(strangers.iter().all(|it| rig.kept.contains(it)));
    assert!(rig.tasks.values().all(|it| strangers.iter().all(|stranger| !it.reserved.contains(stranger))));
    // One of ours that nobody knows was given up, and goes.
    let given_up = Resource { disk: None, ..labelled("f", &rig.task_of("/db").instance.to_string()) };
    let mut unknown = rig.task_of("/db").instance;
    unknown.spec = id("/gone");
    let given_up = Resource { reserved: labelled("f", &unknown.to_string()).reserved, ..given_up };
    rig.kept.push(given_up.clone());
    rig.offer();
    rig.run();
    assert!(!rig.kept.contains(&given_up), "{:?}", rig.deeds);
}

#[test]
fn its_own_place_is_no_obstacle() {
    let mut rig = rig();
    let unique = Constraint { field: "hostname".to_owned(), operator: Operator::Unique, value: None };
    let app = AppUpdate { constraints: Some(vec![unique]), ..resident(2) };
    deployed(rig.put("/db", AppEdit::Create(app)));
    rig.run();
    assert_eq!((rig.count("/db"), rig.volumes().len()), (1, 1));
    let task = rig.task_of("/db");
    rig.end(&task, TaskState::Failed);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.task_of("/db").instance, task.instance);
    assert_eq!(rig.volumes().len(), 1, "a suspended instance holds its place");
}

#[test]
fn what_was_reserved_cannot_be_changed() {
    let mut rig = rig();
    create(&mut rig, 1);
    let merge = |update: AppUpdate| AppEdit::Merge(update);
    let refused = |reply: Reply| match reply {
        Reply::Refused(Refusal::Invalid(all)) => {
            all.into_iter().map(|Violation { path, message }| format!("{path} {message}")).collect::<Vec<_>>()
        }
        other => panic!("not refused: {other:?}"),
    };
    let resources = "/app(0) Services with persistent volumes configured may not change resource requirements. If \
                     you need to make this change, please create a new service.";
    let ports = "/app(0) Services with persistent volumes configured may not change host ports. If you need to \
                 make this change, please create a new service.";
    let larger = ContainerUpdate { volumes: vec![volume("data", 200)], ..resident(1).container.unwrap() };
    let none = ContainerUpdate { volumes: Vec::new(), ..larger.clone() };
    let volumes = "/app(0) Persistent volumes can not be changed!";
    for (update, want) in [
        (AppUpdate { cpus: Some(Milli(200)), ..AppUpdate::default() }, resources),
        (AppUpdate { mem: Some(Milli(1_000)), ..AppUpdate::default() }, resources),
        (AppUpdate { require_ports: Some(true), ..AppUpdate::default() }, resources),
        (AppUpdate { port_definitions: Some(Vec::new()), ..AppUpdate::default() }, ports),
        (AppUpdate { container: Some(larger), ..AppUpdate::default() }, volumes),
        (AppUpdate { container: Some(none), ..AppUpdate::default() }, volumes),
    ] {
        assert_eq!(refused(rig.put("/db", merge(update))), [want]);
    }
    deployed(rig.put("/db", merge(AppUpdate { instances: Some(2), ..AppUpdate::default() })));
}

#[test]
fn a_new_role_needs_force_and_old_instances_keep_theirs() {
    let mut rig = rig();
    create(&mut rig, 1);
    let before = used(&rig);
    let edit = || {
        let update = AppUpdate { role: Some("shop".into()), ..resident(1) };
        vec![(id("/shop/db"), AppEdit::Merge(update))]
    };
    let plain = AppUpdate { role: Some(ANY_ROLE.into()), ..resident(1) };
    deployed(rig.put("/shop/db", AppEdit::Create(plain)));
    rig.run();
    let reply = rig.ask(Command::EditApps { edits: edit(), force: false, origin: None });
    assert!(
        matches!(&reply, Reply::Refused(Refusal::Invalid(all)) if all[0].message.contains("?force=true")),
        "{reply:?}"
    );
    deployed(rig.ask(Command::EditApps { edits: edit(), force: true, origin: None }));
    rig.run();
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.view().deployments.len(), 0);
    assert_eq!(&*rig.view().instance(&rig.task_of("/shop/db").instance).unwrap().role, ANY_ROLE);
    assert!(before.iter().all(|(id, volumes)| used(&rig).get(id) == Some(volumes)));
}

#[test]
fn a_rollback_stays_on_the_volumes_too() {
    let mut rig = rig();
    create(&mut rig, 2);
    let before = used(&rig);
    rig.mute = true;
    let plan = deployed(rig.put("/db", cmd("sleep 2000")));
    rig.run();
    rig.mute = false;
    deployed(rig.ask(Command::CancelDeployment { id: plan, force: false }));
    rig.run();
    for task in rig.tasks.keys().cloned().collect::<Vec<_>>() {
        rig.say(&task, TaskState::Running);
    }
    rig.run();
    rig.pass(Duration::from_secs(60));
    assert_eq!((rig.view().deployments.len(), used(&rig)), (0, before));
    assert!(
        rig.tasks
            .values()
            .all(|it| it.command == marathon_model::offer::Command::Shell("sleep 1000".to_owned()))
    );
}

#[test]
fn an_external_volume_belongs_to_one_app_of_the_tree() {
    let mut policy = with_volumes();
    policy.rules.features.external_volumes = true;
    let mut rig = Rig::with(policy);
    let external = |name: &str, shared: bool| {
        let source = VolumeSource::External {
            name: name.to_owned(),
            provider: "dvdi".to_owned(),
            size: None,
            options: serde_json_text::JsonText(r#"{"dvdi/driver":"rexray"}"#.to_owned()),
            shared,
        };
        let volumes = vec![Volume { container_path: "/data".to_owned(), read_only: false, source }];
        let container = ContainerUpdate { volumes, ..resident(1).container.unwrap() };
        AppUpdate { container: Some(container), ..sleep(1) }
    };
    let refused = |reply: Reply| match reply {
        Reply::Refused(Refusal::Invalid(all)) => all.into_iter().map(|it| it.message).collect::<Vec<_>>(),
        other => panic!("not refused: {other:?}"),
    };
    deployed(rig.put("/a/db", AppEdit::Create(external("pg", false))));
    let why = refused(rig.put("/b/db", AppEdit::Create(external("pg", false))));
    assert_eq!(why, ["Volume name 'pg' in /b/db conflicts with volume(s) of same name in app(s): /a/db"]);
    deployed(rig.put("/b/db", AppEdit::Create(external("other", false))));
    deployed(rig.put("/c", AppEdit::Create(external("all", true))));
    deployed(rig.put("/d", AppEdit::Create(external("all", true))));
    // Two at once are in each other's way, too; and one that goes makes room for the other.
    let both = |name: &str| ["/x", "/y"].map(|it| (id(it), AppEdit::Create(external(name, false)))).into();
    let edits: Vec<_> = both("new");
    let why = refused(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    assert_eq!(why.len(), 2, "{why:?}");
    let edits = vec![(id("/a/db"), AppEdit::Delete), (id("/x"), AppEdit::Create(external("pg", false)))];
    deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
}
