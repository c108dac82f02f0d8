//! Pods: several containers that start, run and end together.

use marathon_model::deployment::GuardUpdate;

use crate::rig::*;

fn exec(text: &str) -> Option<Exec> {
    Some(Exec { command: CheckCommand::Shell(text.to_owned()), override_entrypoint: None })
}

fn container(name: &str) -> PodContainer {
    PodContainer {
        name: name.into(),
        exec: exec("sleep 1000"),
        resources: Amounts { cpus: Milli(100), mem: Milli::from_whole(32), ..Amounts::default() },
        resource_limits: None,
        endpoints: Vec::new(),
        image: None,
        env: BTreeMap::new(),
        user: None,
        labels: Labels::new(),
        artifacts: Vec::new(),
        tty: None,
        health: None,
        check: None,
        mounts: Vec::new(),
        kill_grace: None,
        linux: None,
    }
}

fn pod(instances: u32, containers: Vec<PodContainer>) -> Box<PodUpdate> {
    Box::new(PodUpdate {
        id: id("/pod"),
        user: None,
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        labels: Labels::new(),
        networks: None,
        instances: Some(instances),
        backoff_initial: None,
        backoff_factor: None,
        backoff_max: None,
        upgrade: None,
        constraints: Vec::new(),
        accepted_resource_roles: None,
        kill_selection: None,
        unreachable: None,
        executor_resources: None,
        role: None,
        pod: Pod { containers, volumes: Vec::new(), linux: None, legacy_shared_cgroups: None },
    })
}

/// Two containers, `web` with a port.
fn two(instances: u32) -> Box<PodUpdate> {
    let port = Endpoint {
        name: "http".into(),
        container_port: None,
        host_port: Some(0),
        protocols: vec![Protocol::Tcp],
        labels: Labels::new(),
        network_names: Vec::new(),
    };
    pod(instances, vec![PodContainer { endpoints: vec![port], ..container("web") }, container("side")])
}

fn edit(rig: &mut Rig, name: &str, edit: PodEdit) -> Reply {
    let origin = Some(Origin { client_ip: "10.0.0.1".to_owned(), uri: "/v2/pods".to_owned() });
    rig.ask(Command::EditPod { id: id(name), edit, force: false, origin })
}

fn started(update: Box<PodUpdate>) -> Rig {
    let mut rig = Rig::new();
    deployed(edit(&mut rig, "/pod", PodEdit::Create(update)));
    rig.run();
    rig
}

/// The live container of this name.
fn of(rig: &Rig, name: &str) -> TaskId {
    let named = |it: &&TaskId| it.container.as_deref() == Some(name);
    rig.tasks.keys().find(named).expect("a live container of this name").clone()
}

fn only(rig: &Rig) -> Instance {
    let view = rig.view();
    let all = &view.apps[&id("/pod")].instances;
    assert_eq!(all.len(), 1);
    Instance::clone(all.values().next().unwrap())
}

fn count(rig: &Rig, event: &str) -> usize {
    rig.events.iter().filter(|it| *it == event).count()
}

/// `web:Running` and so on, of every status told to the world since the last look.
fn statuses(rig: &mut Rig) -> Vec<String> {
    let told = std::mem::take(&mut rig.notices).into_iter().filter_map(|it| match it {
        What::StatusUpdate { task, state, .. } => Some(format!("{}:{state:?}", task.container?)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_pod_starts_and_is_told_of_container_by_container() {
    let mut rig = Rig::new();
    rig.mute = true;
    deployed(edit(&mut rig, "/pod", PodEdit::Create(two(1))));
    rig.run();
    let steps = rig.view().deployments.values().flat_map(|it| it.steps.to_vec()).collect::<Vec<_>>();
    assert!(steps.iter().flat_map(|it| &it.actions).all(|it| it.pod), "{steps:?}");
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    assert_eq!(rig.tasks[&web].host_ports.len(), 1);
    assert_eq!((web.incarnation, only(&rig).condition), (1, Condition::Provisioned));
    rig.say(&web, TaskState::Running);
    assert_eq!((only(&rig).condition, rig.view().deployments.len()), (Condition::Starting, 1));
    rig.say(&side, TaskState::Running);
    assert_eq!((only(&rig).condition, rig.view().deployments.len()), (Condition::Running, 0));
    let parts: Vec<String> = only(&rig).task.unwrap().parts.iter().map(|it| it.name.to_string()).collect();
    assert_eq!(parts, ["web", "side"]);
    assert_eq!(count(&rig, "pod_created_event"), 1);
    let ports = rig.notices.iter().filter_map(|it| match it {
        What::StatusUpdate { task, ports, .. } => Some((task.container.clone()?.to_string(), ports.len())),
        _ => None,
    });
    let ports: std::collections::BTreeSet<_> = ports.collect();
    assert_eq!(ports, [("web".to_owned(), 1), ("side".to_owned(), 0)].into(), "each tells its own ports");
    assert_eq!(statuses(&mut rig), ["web:Staging", "side:Staging", "web:Running", "side:Running"]);
}

#[test]
fn one_dead_container_takes_the_others_along_and_counts_once() {
    let mut rig = started(two(1));
    rig.notices.clear();
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    rig.tasks.remove(&web);
    rig.say(&web, TaskState::Failed);
    assert_eq!(only(&rig).condition, Condition::Killing, "the other one still lives");
    assert!(matches!(rig.calls.as_slice(), [Call::Kill { task, .. }] if task.container.is_none()));
    rig.run();
    assert!(rig.tasks.is_empty());
    assert_eq!(only(&rig).condition, Condition::Failed);
    assert_eq!(statuses(&mut rig), ["web:Failed", "side:Killed"]);
    let app = rig.view().apps[&id("/pod")].clone();
    assert_eq!(app.delay.unwrap().current, Duration::from_secs(1), "one failure, not two");
    assert_eq!(app.failure.as_ref().unwrap().task, web);
    rig.pass(Duration::from_secs(1));
    let again = (of(&rig, "web"), of(&rig, "side"));
    assert_eq!((again.0.incarnation, again.1.incarnation), (2, 2));
    assert_eq!(again.0.instance, web.instance, "the same instance, started again as a whole");
    // What the dead one says late is of no interest, and what lives on is ended.
    rig.say(&side, TaskState::Killed);
    rig.say(&side, TaskState::Running);
    assert!(matches!(rig.calls.as_slice(), [Call::Kill { task, .. }] if task.incarnation == 1));
    rig.run();
    assert_eq!((rig.count("/pod"), only(&rig).condition), (2, Condition::Running));
}

#[test]
fn a_container_that_is_done_ends_the_pod_too() {
    let mut rig = started(two(1));
    let side = of(&rig, "side");
    rig.end(&side, TaskState::Finished);
    assert_eq!(only(&rig).condition, Condition::Finished);
    assert!(rig.view().apps[&id("/pod")].failure.is_none());
    rig.pass(Duration::from_secs(1));
    assert_eq!(of(&rig, "side").incarnation, 2);
}

#[test]
fn a_container_that_never_comes_up_is_given_up_with_the_whole() {
    let mut rig = Rig::new();
    rig.mute = true;
    deployed(edit(&mut rig, "/pod", PodEdit::Create(two(1))));
    rig.run();
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    rig.say(&web, TaskState::Running);
    rig.say(&side, TaskState::Staging);
    rig.mute = false;
    rig.pass(Duration::from_secs(301));
    assert!(!rig.tasks.contains_key(&web) && !rig.tasks.contains_key(&side));
    rig.pass(Duration::from_secs(2));
    assert_eq!((of(&rig, "web").incarnation, only(&rig).condition), (2, Condition::Running));
}

#[test]
fn instances_are_killed_and_wiped_by_name() {
    let mut rig = started(two(2));
    let web = of(&rig, "web");
    let kill = |instances: Vec<InstanceId>, wipe| Command::Kill {
        victims: Victims::Instances { pod: id("/pod"), instances },
        scale: false,
        wipe,
        force: false,
    };
    let killed = rig.ask(kill(vec![web.instance.clone()], false));
    assert!(matches!(killed, Reply::Killed(it) if it.len() == 1 && it[0].id == web.instance));
    rig.run();
    assert_eq!(rig.count("/pod"), 4);
    let again = TaskId { incarnation: 2, ..web.clone() };
    assert!(rig.tasks.contains_key(&again), "the same instance again");
    rig.ask(kill(vec![web.instance.clone()], true));
    rig.run();
    assert_eq!(rig.count("/pod"), 4);
    assert!(rig.tasks.keys().all(|it| it.instance != web.instance), "another in its place");
    let gone = rig.ask(kill(vec![web.instance.clone()], false));
    assert_eq!(gone, Reply::Refused(Refusal::NoSuchTask(web.instance.to_string())));
    let several = rig.ask(kill(vec![web.instance.clone(), of(&rig, "web").instance], false));
    assert!(matches!(several, Reply::Killed(it) if it.len() == 1));
}

#[test]
fn a_new_version_rolls_over_whole_instances() {
    let mut rig = started(two(3));
    let before: Vec<TaskId> = rig.tasks.keys().cloned().collect();
    let mut next = two(3);
    next.pod.containers[1].exec = exec("sleep 2000");
    let reply = edit(&mut rig, "/pod", PodEdit::Replace(next));
    assert!(matches!(&reply, Reply::Deployed { created: false, app: Some(it), .. } if it.is_pod()));
    rig.run();
    assert_eq!((rig.count("/pod"), rig.view().deployments.len()), (6, 0));
    assert!(before.iter().all(|it| !rig.tasks.contains_key(it)));
    assert_eq!(count(&rig, "pod_updated_event"), 1);
    let kinds: Vec<ActionKind> = rig.steps_begun().into_iter().map(|it| it.1).collect();
    assert_eq!(kinds.last(), Some(&ActionKind::RestartApplication));
    // The same again changes nothing, and neither does another number restart anything.
    let after: Vec<TaskId> = rig.tasks.keys().cloned().collect();
    let mut fewer = two(2);
    fewer.pod.containers[1].exec = exec("sleep 2000");
    deployed(edit(&mut rig, "/pod", PodEdit::Replace(fewer)));
    rig.run();
    assert_eq!(rig.count("/pod"), 4);
    assert!(rig.tasks.keys().all(|it| after.contains(it)));
}

#[test]
fn health_of_a_container_is_that_of_the_instance() {
    let mut update = two(1);
    update.pod.containers[1].health = Some(HealthCheck {
        kind: HealthKind::Command { shell: "true".to_owned() },
        grace: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        delay: Duration::ZERO,
        max_failures: 2,
        ipv6: false,
    });
    let mut rig = started(update);
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    assert_eq!((only(&rig).healthy(), rig.view().deployments.len()), (None, 1), "running is not healthy");
    rig.say_healthy(&web, true);
    assert_eq!(only(&rig).healthy(), None, "it has no check");
    rig.say_healthy(&side, true);
    assert_eq!((only(&rig).healthy(), rig.view().deployments.len()), (Some(true), 0));
    rig.say_healthy(&side, false);
    assert_eq!(only(&rig).healthy(), Some(false));
    let told = rig.notices.iter().filter_map(|it| match it {
        What::HealthChanged { task, alive, .. } => Some((task.clone(), *alive)),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(side.clone(), true), (side.clone(), false)]);
    assert_eq!(count(&rig, "instance_health_changed_event"), 2);
    // The engine ends what stays ill, and with it goes the rest.
    rig.end(&side, TaskState::Failed);
    assert!(rig.tasks.is_empty());
    assert_eq!(rig.view().apps[&id("/pod")].failure.as_ref().unwrap().task, side);
    rig.pass(Duration::from_secs(1));
    assert_eq!((of(&rig, "side").incarnation, only(&rig).healthy()), (2, None));
}

#[test]
fn out_of_reach_and_back() {
    let mut update = two(1);
    update.unreachable = Some(patient());
    let mut rig = started(update);
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    for task in [&web, &side] {
        rig.say(task, TaskState::Unreachable);
        assert_eq!(only(&rig).condition, Condition::Unreachable);
    }
    rig.say(&web, TaskState::Running);
    assert_eq!(only(&rig).condition, Condition::Unreachable, "half of it is not enough");
    rig.say(&side, TaskState::Running);
    assert_eq!(only(&rig).condition, Condition::Running);
    // Away for long, it is replaced, and goes when it is back.
    for task in [&web, &side] {
        rig.say(task, TaskState::Unreachable);
    }
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.count("/pod"), 4);
    for task in [&web, &side] {
        rig.say(task, TaskState::Running);
        rig.run();
    }
    assert_eq!(rig.count("/pod"), 2);
    // Of those that came back broken, nothing is kept.
    let web = of(&rig, "web");
    let side = TaskId { container: Some("side".into()), ..web.clone() };
    for task in [&web, &side] {
        rig.say(task, TaskState::Unreachable);
    }
    rig.tasks.remove(&web);
    rig.say(&web, TaskState::Failed);
    assert_eq!(only(&rig).condition, Condition::Unreachable);
    rig.say(&side, TaskState::Running);
    rig.run();
    assert!(!rig.tasks.contains_key(&side));
    rig.pass(Duration::from_secs(2));
    assert_eq!((rig.count("/pod"), only(&rig).condition), (2, Condition::Running));
}

#[test]
fn lost_for_good_it_is_forgotten_at_once_by_default() {
    let mut rig = started(two(1));
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    rig.say(&web, TaskState::Unreachable);
    rig.say(&side, TaskState::Unreachable);
    rig.run();
    assert_eq!(rig.count("/pod"), 4, "the lost ones may still run somewhere");
    rig.say(&side, TaskState::Running);
    rig.run();
    assert_eq!(rig.count("/pod"), 2, "one that turns up is ended with its like");
    assert!(!rig.tasks.contains_key(&web) && !rig.tasks.contains_key(&side));
}

#[test]
fn a_restart_of_the_server_in_the_midst_changes_nothing() {
    let mut rig = Rig::new();
    rig.mute = true;
    deployed(edit(&mut rig, "/pod", PodEdit::Create(two(1))));
    rig.run();
    let (web, side) = (of(&rig, "web"), of(&rig, "side"));
    rig.say(&web, TaskState::Running);
    rig.restart();
    rig.run();
    assert_eq!(only(&rig).condition, Condition::Running, "reconciliation told of each container");
    rig.mute = false;
    // A container dies, and the server with it, before the kill of the other was heard.
    rig.tasks.remove(&web);
    rig.say(&web, TaskState::Failed);
    rig.calls.clear();
    rig.restart();
    rig.run();
    assert!(rig.tasks.contains_key(&side));
    rig.pass(Duration::from_secs(31));
    assert!(!rig.tasks.contains_key(&side), "the kill is repeated");
    rig.pass(Duration::from_secs(2));
    assert_eq!((of(&rig, "web").incarnation, only(&rig).condition), (2, Condition::Running));
    assert_eq!(rig.view().apps[&id("/pod")].failure.as_ref().unwrap().task, web);
}

#[test]
fn a_deleted_pod_leaves_nothing() {
    let mut rig = started(two(2));
    deployed(edit(&mut rig, "/pod", PodEdit::Delete));
    rig.run();
    assert!(rig.tasks.is_empty() && rig.view().app(&id("/pod")).is_none());
    assert_eq!((count(&rig, "pod_deleted_event"), count(&rig, "app_terminated_event")), (1, 1));
    assert_eq!(edit(&mut rig, "/pod", PodEdit::Delete), Reply::Refused(Refusal::NoSuchPod(id("/pod"))));
    assert!(edit(&mut rig, "/pod", PodEdit::Replace(two(1))) != Reply::Done);
    rig.run();
    assert_eq!(rig.count("/pod"), 2, "a PUT creates what is not there");
}

#[track_caller]
fn refused(reply: Reply) -> Refusal {
    match reply {
        Reply::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn invalid(reply: Reply) -> Vec<String> {
    match refused(reply) {
        Refusal::Invalid(all) => all.into_iter().map(|it| format!("{}: {}", it.path, it.message)).collect(),
        other => panic!("not invalid: {other:?}"),
    }
}

#[test]
fn apps_and_pods_do_not_see_each_other() {
    let mut rig = started(two(1));
    deployed(rig.put("/app", AppEdit::Create(sleep(1))));
    rig.run();
    let same = ["/: Applications and Pods may not share the same id"];
    for edit in [AppEdit::Create(sleep(1)), AppEdit::Merge(sleep(1)), AppEdit::Replace(sleep(1))] {
        assert_eq!(invalid(rig.put("/pod", edit)), same);
    }
    for edit in [AppEdit::Patch(sleep(1)), AppEdit::Delete, AppEdit::Restart] {
        assert!(matches!(refused(rig.put("/pod", edit)), Refusal::NoSuchApp { .. }));
    }
    for it in [PodEdit::Create(two(1)), PodEdit::Replace(two(1))] {
        assert_eq!(invalid(edit(&mut rig, "/app", it)), same);
    }
    assert_eq!(refused(edit(&mut rig, "/app", PodEdit::Delete)), Refusal::NoSuchPod(id("/app")));
    assert_eq!(refused(edit(&mut rig, "/pod", PodEdit::Create(two(1)))), Refusal::PodExists(id("/pod")));
    let kill = |victims| Command::Kill { victims, scale: false, wipe: false, force: false };
    let whole = TaskId { container: None, ..of(&rig, "web") };
    let app = Victims::OfApp { app: id("/pod"), host: None };
    assert!(matches!(refused(rig.ask(kill(app))), Refusal::NoSuchApp { .. }));
    let one = Victims::One { app: id("/pod"), task: whole.clone() };
    assert!(matches!(refused(rig.ask(kill(one))), Refusal::NoSuchApp { .. }));
    assert_eq!(
        rig.ask(kill(Victims::Tasks(vec![whole.clone(), of(&rig, "web")]))),
        Reply::Killed(Vec::new())
    );
    let instances = vec![whole.instance.clone()];
    let pod = Victims::Instances { pod: id("/app"), instances };
    assert_eq!(refused(rig.ask(kill(pod))), Refusal::NoSuchPod(id("/app")));
    // What lies above or below a pod is in its way.
    let message = "/: Groups and Pods may not have the same identifier.";
    assert_eq!(invalid(rig.put("/pod/below", AppEdit::Create(sleep(1)))), [message]);
    deployed(rig.put("/group/app", AppEdit::Create(sleep(1))));
    assert_eq!(invalid(edit(&mut rig, "/group", PodEdit::Create(two(1)))), [message]);
}

#[test]
fn groups_keep_their_pods_scale_none_and_take_them_along() {
    let mut rig = Rig::new();
    deployed(edit(&mut rig, "/shop/pod", PodEdit::Create(two(2))));
    deployed(rig.put("/shop/app", AppEdit::Create(sleep(2))));
    rig.run();
    let version = rig.view().root_version;
    let group = |update| Command::EditGroup {
        group: id("/shop"),
        update: Box::new(update),
        create: false,
        force: false,
        dry_run: false,
    };
    rig.pass(Duration::from_secs(1));
    deployed(rig.ask(group(GroupUpdate { scale_by: Some(2.0), ..GroupUpdate::default() })));
    rig.run();
    assert_eq!((rig.count("/shop/pod"), rig.count("/shop/app")), (4, 4));
    deployed(rig.ask(group(GroupUpdate { apps: Some(Vec::new()), ..GroupUpdate::default() })));
    rig.run();
    assert_eq!((rig.count("/shop/pod"), rig.count("/shop/app")), (4, 0), "pods stay");
    let app = AppUpdate { id: Some(id("/shop/pod")), ..sleep(1) };
    let taken = rig.ask(group(GroupUpdate { apps: Some(vec![app]), ..GroupUpdate::default() }));
    assert_eq!(invalid(taken), ["/apps(0)/id: Applications and Pods may not share the same id"]);
    deployed(rig.ask(Command::DeleteGroup { group: id("/shop"), force: false }));
    rig.run();
    assert_eq!((rig.count("/shop/pod"), rig.view().live_apps().count()), (0, 0));
    let back = GroupUpdate { version: Some(version), ..GroupUpdate::default() };
    deployed(rig.ask(group(back)));
    rig.run();
    assert_eq!((rig.count("/shop/pod"), rig.count("/shop/app")), (4, 2), "all as it was");
    assert_eq!(rig.view().deployments.len(), 0);
}

#[test]
fn a_locked_pod_is_changed_by_force_only() {
    let mut rig = Rig::new();
    rig.mute = true;
    let first = deployed(edit(&mut rig, "/pod", PodEdit::Create(two(1))));
    rig.run();
    let locked = refused(edit(&mut rig, "/pod", PodEdit::Replace(two(2))));
    assert_eq!(locked, Refusal::Locked { holders: vec![first] });
    let replace = PodEdit::Replace(two(2));
    deployed(rig.ask(Command::EditPod { id: id("/pod"), edit: replace, force: true, origin: None }));
    rig.run();
    assert_eq!(rig.count("/pod"), 4);
}

#[test]
fn a_delay_of_a_pod_can_be_ended() {
    let mut rig = started(two(1));
    let web = of(&rig, "web");
    rig.end(&web, TaskState::Failed);
    assert_eq!(rig.count("/pod"), 0);
    assert_eq!(rig.ask(Command::ResetDelay { app: id("/pod") }), Reply::Done);
    rig.run();
    assert_eq!(rig.count("/pod"), 2);
}

#[test]
fn what_the_engine_says_of_the_whole_holds_for_each_part() {
    let mut rig = started(two(1));
    let (web, whole) = (of(&rig, "web"), TaskId { container: None, ..of(&rig, "web") });
    let stranger = TaskId { container: Some("stranger".into()), ..web.clone() };
    rig.say(&stranger, TaskState::Running);
    assert!(matches!(rig.calls.as_slice(), [Call::Kill { task, .. }] if *task == stranger), "it alone");
    rig.run();
    assert_eq!(only(&rig).condition, Condition::Running);
    rig.tasks.clear();
    rig.notices.clear();
    rig.say(&whole, TaskState::Gone);
    rig.run();
    assert_eq!(statuses(&mut rig)[..2], ["web:Gone", "side:Gone"]);
    rig.pass(Duration::from_secs(1));
    assert_eq!((of(&rig, "web").incarnation, only(&rig).condition), (2, Condition::Running));
}

#[test]
fn what_a_pod_reserved_cannot_change() {
    let resident = || {
        let mut update = two(1);
        let (kind, size, constraints) = (DiskKind::Root, 10, Vec::new());
        let source = PodVolumeSource::Persistent { kind, size, max_size: None, profile: None, constraints };
        update.pod.volumes = vec![PodVolume { name: "v".into(), source }];
        update.pod.containers[0].mounts =
            vec![Mount { volume: "v".into(), path: "data".to_owned(), read_only: None }];
        update.unreachable = Some(UnreachableStrategy::Disabled);
        update.role = Some("prod".into());
        update
    };
    let mut policy = policy();
    policy.rules.mesos_role = "prod".into();
    let mut rig = Rig::with(policy);
    deployed(edit(&mut rig, "/pod", PodEdit::Create(resident())));
    let mut check = |change: fn(&mut PodUpdate), want: &str| {
        let mut update = resident();
        change(&mut update);
        let edit = PodEdit::Replace(update);
        let reply = rig.ask(Command::EditPod { id: id("/pod"), edit, force: true, origin: None });
        assert_eq!(invalid(reply), [format!("/pod(0): {want}")]);
    };
    let of_volumes = "cannot be updated if a pod has persistent volumes";
    check(|it| it.pod.containers[0].resources.cpus = Milli(200), &format!("cpus {of_volumes}"));
    check(|it| it.pod.containers[1].resources.mem = Milli::from_whole(64), &format!("mem {of_volumes}"));
    check(|it| it.pod.containers[0].endpoints[0].host_port = Some(80), &format!("host ports {of_volumes}"));
    check(
        |it| {
            it.pod.volumes.clear();
            it.pod.containers[0].mounts.clear();
        },
        "persistent volumes cannot be updated",
    );
}

#[test]
fn no_version_of_a_group_makes_an_app_of_a_pod() {
    let mut rig = Rig::new();
    deployed(rig.put("/shop/x", AppEdit::Create(sleep(1))));
    rig.run();
    let version = rig.view().root_version;
    rig.pass(Duration::from_secs(1));
    deployed(rig.put("/shop/x", AppEdit::Delete));
    rig.run();
    deployed(edit(&mut rig, "/shop/x", PodEdit::Create(two(1))));
    rig.run();
    let update = GroupUpdate { version: Some(version), ..GroupUpdate::default() };
    let group = id("/shop");
    let update = Box::new(update);
    let reply = rig.ask(Command::EditGroup { group, update, create: false, force: false, dry_run: false });
    assert_eq!(invalid(reply), ["/: Applications and Pods may not share the same id"]);
    assert_eq!((rig.count("/shop/x"), rig.view().deployments.len()), (2, 0));
}

#[test]
fn a_container_that_is_ended_for_its_health_counts_as_a_failure() {
    let mut rig = Rig::new();
    rig.mute = true;
    let guard = GuardUpdate { max_failures: Some(0), ..GuardUpdate::default() };
    let create = PodEdit::Create(two(1));
    let command = Box::new(Command::EditPod { id: id("/pod"), edit: create, force: false, origin: None });
    deployed(rig.ask(Command::Guarded { guard, command }));
    rig.run();
    let side = of(&rig, "side");
    rig.tasks.remove(&side);
    rig.feed(Event::Engine(EngineEvent::Status(TaskStatus {
        task: side,
        state: TaskState::Killed,
        agent: Some(AgentId::new("agent")),
        update: None,
        at: rig.now.wall,
        message: "unhealthy".to_owned(),
        reason: Some(Reason::HealthCheckUnhealthy),
        healthy: Some(false),
        check: None,
        addresses: Vec::new(),
        unreachable_since: None,
    })));
    rig.run();
    let failed = rig.view().failed.clone();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].reason.ends_with("Killed: unhealthy"), "{}", failed[0].reason);
}
