//! What is promised of deployments, each promise in one scenario.

use crate::rig::*;

fn edits(all: &[(&str, AppEdit)]) -> Command {
    let edits = all.iter().map(|(app, edit)| (id(app), edit.clone())).collect();
    Command::EditApps { edits, force: false, origin: None }
}

fn running(rig: &Rig) -> usize {
    rig.view().deployments.len()
}

fn on(dependency: &str, n: u32) -> AppEdit {
    AppEdit::Create(AppUpdate { dependencies: Some(vec![dependency.to_owned()]), ..sleep(n) })
}

#[test]
fn cancelling_touches_nothing_outside_the_deployment() {
    let mut rig = Rig::new();
    deployed(rig.ask(edits(&[("/g/a", AppEdit::Create(sleep(1))), ("/g/b", AppEdit::Create(sleep(1)))])));
    rig.run();
    rig.pass(Duration::from_secs(1));
    rig.mute = true;
    let bad = deployed(rig.put("/g/a", cmd("bad")));
    rig.run();
    rig.mute = false;
    // Others change the same group in between: an app, a new app, a dependency of the group.
    rig.pass(Duration::from_secs(1));
    deployed(rig.put("/g/b", cmd("newer")));
    deployed(rig.put("/g/c", AppEdit::Create(sleep(2))));
    rig.run();
    let update = GroupUpdate { dependencies: Some(vec![id("/db")]), ..GroupUpdate::default() };
    let (group, update) = (id("/g"), Box::new(update));
    deployed(rig.ask(Command::EditGroup { group, update, create: false, force: false, dry_run: false }));
    rig.run();
    let spec = |rig: &Rig, app: &str| rig.view().app(&id(app)).unwrap().spec.clone().unwrap();
    let before = (spec(&rig, "/g/b"), spec(&rig, "/g/c"), rig.tasks_of("/g/b"), rig.tasks_of("/g/c"));
    rig.notices.clear();
    deployed(rig.ask(Command::CancelDeployment { id: bad, force: false }));
    rig.run();
    let after = (spec(&rig, "/g/b"), spec(&rig, "/g/c"), rig.tasks_of("/g/b"), rig.tasks_of("/g/c"));
    assert_eq!(after, before);
    assert_eq!(rig.view().groups[&id("/g")].dependencies, [id("/db")]);
    assert_eq!(rig.steps_begun(), [("/g/a".to_owned(), ActionKind::RestartApplication)]);
    assert_eq!((spec(&rig, "/g/a").cmd.as_deref(), running(&rig)), (Some("sleep 1000"), 0));
}

/// The group came with the deployment and is still needed by somebody else.
#[test]
fn cancelling_keeps_a_group_that_others_moved_into() {
    let mut rig = Rig::new();
    rig.mute = true;
    let first = deployed(rig.put("/new/a", AppEdit::Create(sleep(1))));
    deployed(rig.put("/new/b", AppEdit::Create(sleep(0))));
    deployed(rig.ask(Command::CancelDeployment { id: first, force: false }));
    rig.run();
    assert!(rig.view().app(&id("/new/a")).is_none());
    assert!(rig.view().app(&id("/new/b")).is_some() && rig.view().groups.contains_key(&id("/new")));
}

#[test]
fn a_rollback_is_a_minimal_diff() {
    let mut rig = Rig::new();
    deployed(rig.ask(edits(&[("/a", AppEdit::Create(sleep(2))), ("/b", AppEdit::Create(sleep(2)))])));
    rig.run();
    rig.pass(Duration::from_secs(1));
    // `/a` gets as far as one new instance, `/b` waits for it and is not touched at all.
    rig.mute = true;
    let half = UpgradeUpdate { minimum_health_capacity: Some(0.5), maximum_over_capacity: Some(0.0) };
    let a = AppUpdate { cmd: Some("bad".to_owned()), upgrade: Some(half), ..AppUpdate::default() };
    let b = AppUpdate { dependencies: Some(vec!["/a".to_owned()]), ..AppUpdate::default() };
    let bad = deployed(rig.ask(edits(&[("/a", AppEdit::Merge(a)), ("/b", AppEdit::Merge(b))])));
    rig.run();
    let kept: Vec<TaskId> = rig.tasks_of("/b");
    let old_a: Vec<TaskId> =
        rig.tasks_of("/a").into_iter().filter(|it| rig.condition(it) == Some(Condition::Running)).collect();
    assert_eq!((kept.len(), old_a.len()), (2, 1));
    rig.mute = false;
    let launched = |rig: &Rig| rig.view().counters.tasks_launched;
    let before = launched(&rig);
    deployed(rig.ask(Command::CancelDeployment { id: bad, force: false }));
    rig.run();
    assert_eq!((rig.tasks_of("/b"), launched(&rig) - before), (kept, 1), "only the one that was missing");
    assert!(rig.tasks.contains_key(&old_a[0]));
    assert_eq!((rig.count("/a"), running(&rig)), (2, 0));
}

/// Back, forth and back again, amid each other: what runs the wanted configuration is never killed.
#[test]
fn a_rollback_of_a_rollback_kills_no_instance_it_returns_to() {
    let mut rig = Rig::new();
    let half = UpgradeUpdate { minimum_health_capacity: Some(0.5), maximum_over_capacity: Some(0.0) };
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { upgrade: Some(half), ..sleep(4) })));
    rig.run();
    rig.pass(Duration::from_secs(1));
    rig.mute = true;
    let mut last = deployed(rig.put("/web", cmd("new")));
    rig.run();
    let of = |rig: &Rig, text: &str| -> Vec<TaskId> {
        let command = marathon_model::offer::Command::Shell(text.into());
        rig.tasks.iter().filter(|it| it.1.command == command).map(|it| it.0.clone()).collect()
    };
    for goal in ["sleep 1000", "new", "sleep 1000"] {
        let kept = of(&rig, goal);
        last = deployed(rig.ask(Command::CancelDeployment { id: last, force: false }));
        rig.run();
        assert!(kept.iter().all(|it| rig.tasks.contains_key(it)), "{goal}: {kept:?}");
        rig.pass(Duration::from_secs(1));
    }
    for _ in 0..8 {
        for task in rig.tasks.keys().cloned().collect::<Vec<_>>() {
            rig.say(&task, TaskState::Running);
        }
        rig.run();
    }
    assert_eq!((of(&rig, "sleep 1000").len(), rig.count("/web"), running(&rig)), (4, 4, 0));
}

/// Found by the simulator: an upgrade was broken off half-way, the app scaled up and that taken back. GROUP_BY chose
/// whom to take away, and took one of the version that was asked for while one of the old version stayed.
#[test]
fn taking_a_scale_up_back_keeps_what_is_asked_for() {
    let mut rig = Rig::new();
    let group_by = Constraint { field: "hostname".to_owned(), operator: Operator::GroupBy, value: None };
    let spread = AppUpdate { constraints: Some(vec![group_by]), ..sleep(1) };
    deployed(rig.put("/a", AppEdit::Create(spread)));
    rig.run();
    let old = rig.task_of("/a");
    // The new version does not find a place, and the upgrade is stopped.
    let upgrade = deployed(rig.put("/a", cmd("sleep 2")));
    rig.ask(Command::CancelDeployment { id: upgrade, force: true });
    // Scaled up on another agent, it stands alone on its own: GROUP_BY evens out what is left by taking others.
    rig.agent = 1;
    for count in [2, 4] {
        deployed(rig.put("/a", instances(count)));
        rig.offer();
        rig.run();
    }
    assert!(rig.tasks.contains_key(&old) && rig.count("/a") == 4, "the old one is still among them");
    deployed(rig.put("/a", instances(2)));
    rig.run();
    assert!(!rig.tasks.contains_key(&old) && rig.count("/a") == 2, "{:?}", rig.tasks.keys());
}

#[test]
fn an_unchanged_app_is_never_restarted() {
    let mut rig = Rig::new();
    let group = |b: &str, factor: Option<f64>| {
        let app =
            |name: &str, cmd: &str| AppUpdate { id: Some(id(name)), cmd: Some(cmd.to_owned()), ..sleep(2) };
        let apps = vec![app("/g/a", "same"), app("/g/b", b)];
        let update = match factor {
            None => GroupUpdate { apps: Some(apps), ..GroupUpdate::default() },
            scale_by => GroupUpdate { scale_by, ..GroupUpdate::default() },
        };
        Command::EditGroup {
            group: id("/g"),
            update: Box::new(update),
            create: false,
            force: false,
            dry_run: false,
        }
    };
    deployed(rig.ask(group("one", None)));
    rig.run();
    let kept = rig.tasks_of("/g/a");
    for command in [group("two", None), group("two", None), group("", Some(1.0)), group("three", None)] {
        rig.pass(Duration::from_secs(1));
        rig.notices.clear();
        deployed(rig.ask(command));
        rig.run();
        assert!(rig.steps_begun().iter().all(|it| it.0 == "/g/b"), "{:?}", rig.steps_begun());
        assert_eq!(rig.tasks_of("/g/a"), kept);
    }
    // Nor when something it depends on changes, or when its group goes back to a version in which it was the same.
    deployed(rig.put("/g/a", AppEdit::Merge(AppUpdate { instances: Some(3), ..AppUpdate::default() })));
    rig.run();
    let kept = rig.tasks_of("/g/a");
    let versions = rig.view().root_versions.clone();
    let back = GroupUpdate { version: versions.get(versions.len() - 2).copied(), ..GroupUpdate::default() };
    let (group, update) = (id("/g"), Box::new(back));
    deployed(rig.ask(Command::EditGroup { group, update, create: false, force: false, dry_run: false }));
    rig.run();
    assert!(rig.tasks_of("/g/a").iter().all(|it| kept.contains(it)), "scaled down, and nothing else");
    assert_eq!(rig.count("/g/a"), 2);
}

#[test]
fn independent_deployments_never_lock_each_other() {
    let mut rig = Rig::new();
    rig.mute = true;
    deployed(rig.ask(edits(&[("/g/db", AppEdit::Create(sleep(1)))])));
    // In the same group, depending on it, above it: all are their own.
    deployed(rig.put("/g/web", on("/g/db", 1)));
    deployed(rig.put("/other", AppEdit::Create(sleep(1))));
    let scale = GroupUpdate { scale_by: Some(2.0), ..GroupUpdate::default() };
    let locked = Command::EditGroup {
        group: id("/g"),
        update: Box::new(scale),
        create: false,
        force: false,
        dry_run: false,
    };
    let Reply::Refused(Refusal::Locked { holders }) = rig.ask(locked) else { panic!("not locked") };
    assert_eq!(holders.len(), 2, "only those that touch what is to be scaled");
    assert_eq!(running(&rig), 3);
    // One that waits for ever does not keep the others.
    rig.run();
    let task = rig.task_of("/other");
    rig.say(&task, TaskState::Running);
    assert_eq!(running(&rig), 2);
}

#[test]
fn a_hundred_updates_at_a_time_neither_stall_nor_fail() {
    let mut rig = Rig::new();
    let all: Vec<String> = (0..100).map(|it| format!("/g{}/app{it}", it % 7)).collect();
    rig.mute = true;
    for app in &all {
        deployed(rig.put(app, AppEdit::Create(sleep(1))));
    }
    assert_eq!(running(&rig), 100);
    let more = rig.put("/more", AppEdit::Create(sleep(1)));
    assert_eq!(more, Reply::Refused(Refusal::TooManyDeployments { limit: 100 }));
    rig.mute = false;
    rig.run();
    for task in rig.tasks.keys().cloned().collect::<Vec<_>>() {
        rig.say(&task, TaskState::Running);
    }
    assert_eq!((rig.tasks.len(), running(&rig)), (100, 0));
    for app in &all {
        deployed(rig.put(app, cmd("next")));
    }
    rig.run();
    assert_eq!((rig.tasks.len(), running(&rig)), (100, 0));
    assert!(!rig.events.contains(&"deployment_failed".to_owned()));
}

/// A cluster that is busy with deployments is still steered: force is exempt from the limit.
#[test]
fn force_is_not_kept_out_by_the_limit() {
    let mut rig = Rig::with(Policy { max_running_deployments: 1, ..policy() });
    rig.mute = true;
    deployed(rig.put("/a", AppEdit::Create(sleep(1))));
    assert!(matches!(
        rig.put("/b", AppEdit::Create(sleep(1))),
        Reply::Refused(Refusal::TooManyDeployments { .. })
    ));
    let edits = vec![(id("/b"), AppEdit::Create(sleep(1)))];
    deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
}

#[test]
fn a_restart_in_any_step_goes_on_where_it_was() {
    let plan = || {
        edits(&[
            ("/gone", AppEdit::Delete),
            ("/a", AppEdit::Create(sleep(2))),
            ("/b", on("/a", 1)),
            (
                "/c",
                AppEdit::Merge(AppUpdate {
                    dependencies: Some(vec!["/b".to_owned()]),
                    ..AppUpdate::default()
                }),
            ),
        ])
    };
    for stop_at in 0..12 {
        let mut rig = Rig::new();
        deployed(rig.ask(edits(&[("/gone", AppEdit::Create(sleep(1))), ("/c", AppEdit::Create(sleep(1)))])));
        rig.run();
        rig.pass(Duration::from_secs(1));
        rig.mute = true;
        deployed(rig.ask(plan()));
        let mut done = 0;
        // One thing happens at a time, so that the restart can come between any two.
        loop {
            if done == stop_at {
                let before = rig.view();
                let (restored, _) = Core::restore(live(&rig.store), policy(), 5, rig.now);
                assert_eq!(restored.view().deployments, before.deployments, "stopped after {stop_at}");
                rig.restart();
            }
            done += 1;
            if let Some(call) = (!rig.calls.is_empty()).then(|| rig.calls.remove(0)) {
                let rest = std::mem::replace(&mut rig.calls, vec![call]);
                rig.run();
                rig.calls.extend(rest);
                continue;
            }
            let silent = rig.tasks.keys().find(|it| rig.condition(it) != Some(Condition::Running)).cloned();
            match silent {
                Some(task) => rig.say(&task, TaskState::Running),
                None if done > stop_at => break,
                None => {}
            }
        }
        rig.mute = false;
        rig.pass(Duration::from_secs(400));
        let counts = ["/gone", "/a", "/b", "/c"].map(|it| rig.count(it));
        assert_eq!((counts, running(&rig)), ([0, 2, 1, 1], 0), "stopped after {stop_at}");
    }
}

#[test]
fn steps_of_a_chain_are_stored_without_the_whole_deployment() {
    let mut rig = Rig::new();
    let apps: Vec<String> = (0..30).map(|it| format!("/app{it:02}")).collect();
    let chain = apps.iter().enumerate().map(|(at, app)| {
        let edit = if at == 0 { AppEdit::Create(sleep(0)) } else { on(&apps[at - 1], 0) };
        (id(app), edit)
    });
    deployed(rig.ask(Command::EditApps { edits: chain.collect(), force: false, origin: None }));
    rig.run();
    assert_eq!(running(&rig), 0);
    assert_eq!(rig.store.iter().filter(|it| matches!(it, Write::Deployment(_))).count(), 1);
    assert_eq!(rig.store.iter().filter(|it| matches!(it, Write::Progress(_))).count(), 30);
    let left = |it: &&Write| matches!(it, Write::Deployment(_) | Write::Progress(_));
    assert_eq!(live(&rig.store).iter().filter(left).count(), 0);
}

#[test]
fn dependencies_hold_across_nested_groups() {
    let mut rig = Rig::new();
    let app = |name: &str| AppUpdate { id: Some(id(name)), ..sleep(1) };
    let inner = |name: &str, app: AppUpdate, on: &[&str]| GroupUpdate {
        id: Some(id(name)),
        apps: Some(vec![app]),
        dependencies: Some(on.iter().map(|it| id(it)).collect()),
        ..GroupUpdate::default()
    };
    let groups = vec![
        inner("/p/db", app("/p/db/mysql"), &[]),
        inner("/p/app", app("/p/app/web"), &["/p/db"]),
        inner("/p/edge", app("/p/edge/lb"), &["/p/app"]),
    ];
    let update = Box::new(GroupUpdate { groups: Some(groups), ..GroupUpdate::default() });
    let command = Command::EditGroup { group: id("/p"), update, create: true, force: false, dry_run: false };
    rig.notices.clear();
    deployed(rig.ask(command));
    rig.run();
    let scaled = rig.steps_begun().into_iter().filter(|it| it.1 == ActionKind::ScaleApplication);
    let order: Vec<String> = scaled.map(|it| it.0).collect();
    assert_eq!(order, ["/p/db/mysql", "/p/app/web", "/p/edge/lb"]);
    // A group in a circle of groups is refused, and nothing of it stays.
    let circle = GroupUpdate { dependencies: Some(vec![id("/p/edge")]), ..GroupUpdate::default() };
    let (group, update) = (id("/p/db"), Box::new(circle));
    let reply = rig.ask(Command::EditGroup { group, update, create: false, force: false, dry_run: false });
    assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))), "{reply:?}");
    assert!(rig.view().groups[&id("/p/db")].dependencies.is_empty());
}

/// Else a group without a name would take the place of everything, where its sender asked for a new one.
#[test]
fn the_root_is_no_new_group() {
    let mut rig = Rig::new();
    let update = || Box::new(GroupUpdate { apps: Some(Vec::new()), ..GroupUpdate::default() });
    let edit = |create| Command::EditGroup {
        group: PathId::root(),
        update: update(),
        create,
        force: false,
        dry_run: false,
    };
    let reply = rig.ask(edit(true));
    assert!(matches!(&reply, Reply::Refused(Refusal::GroupExists(it)) if it.is_root()), "{reply:?}");
    deployed(rig.ask(edit(false)));
}

#[test]
fn the_original_dry_run_changes_nothing() {
    let mut rig = Rig::new();
    let app = AppUpdate { id: Some(id("/g/a")), ..sleep(1) };
    let update = Box::new(GroupUpdate { apps: Some(vec![app]), ..GroupUpdate::default() });
    let (view, writes) = (rig.view(), rig.store.len());
    let reply =
        rig.ask(Command::EditGroup { group: id("/g"), update, create: false, force: false, dry_run: true });
    let Reply::Plan(steps) = reply else { panic!("{reply:?}") };
    assert_eq!((steps.len(), rig.store.len()), (2, writes));
    assert_eq!((rig.view().groups.len(), rig.view().apps.len()), (view.groups.len(), view.apps.len()));
}

/// Named in the original's history: scaling, upgrading and cancelling again and again left more than wanted.
#[test]
fn no_more_than_wanted_is_left_after_forced_changes() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    for (at, edit) in
        [cmd("b"), instances(6), cmd("c"), AppEdit::Restart, instances(2), cmd("d")].into_iter().enumerate()
    {
        rig.pass(Duration::from_secs(1));
        rig.mute = at % 2 == 0;
        let edits = vec![(id("/web"), edit)];
        deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
        rig.run();
    }
    rig.mute = false;
    for task in rig.tasks.keys().cloned().collect::<Vec<_>>() {
        rig.say(&task, TaskState::Running);
        rig.run();
    }
    rig.pass(Duration::from_secs(400));
    assert_eq!((rig.count("/web"), running(&rig)), (2, 0));
}
