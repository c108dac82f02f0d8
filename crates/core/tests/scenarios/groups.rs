//! Changes of whole groups.

use crate::rig::*;

#[test]
fn a_group_is_changed_as_a_whole_and_rolled_back_by_version() {
    let mut rig = Rig::new();
    let app = |name: &str, n: u32| AppUpdate { id: Some(id(name)), ..sleep(n) };
    let group =
        |apps: Vec<AppUpdate>| GroupUpdate { id: Some(id("/g")), apps: Some(apps), ..GroupUpdate::default() };
    let edit = |rig: &mut Rig, update: GroupUpdate, create: bool| {
        let reply = rig.ask(Command::EditGroup {
            group: id("/g"),
            update: Box::new(update),
            create,
            force: false,
            dry_run: false,
        });
        rig.run();
        match reply {
            Reply::Deployed { version, .. } => version,
            other => panic!("{other:?}"),
        }
    };
    let first = edit(&mut rig, group(vec![app("/g/a", 1), app("/g/b", 2)]), true);
    rig.pass(Duration::from_secs(1));
    edit(&mut rig, group(vec![app("/g/a", 3)]), false);
    assert_eq!((rig.count("/g/a"), rig.count("/g/b")), (3, 0));
    let back = GroupUpdate { id: Some(id("/g")), version: Some(first), ..GroupUpdate::default() };
    edit(&mut rig, back, false);
    assert_eq!((rig.count("/g/a"), rig.count("/g/b")), (1, 2));
    let twice = GroupUpdate { id: Some(id("/g")), scale_by: Some(1.5), ..GroupUpdate::default() };
    edit(&mut rig, twice, false);
    assert_eq!((rig.count("/g/a"), rig.count("/g/b")), (2, 3));
    deployed(rig.ask(Command::DeleteGroup { group: id("/g"), force: false }));
    rig.run();
    assert!(rig.tasks.is_empty() && !rig.view().groups.contains_key(&id("/g")));
}

/// Clients read the number back as an integer of 32 bits, and could not write a larger one.
#[test]
fn scaling_ends_at_what_a_definition_may_ask_for() {
    let mut rig = Rig::new();
    deployed(rig.ask(group("/g", &[("/g/a", 1)])));
    rig.run();
    let update = GroupUpdate { scale_by: Some(1e10), ..GroupUpdate::default() };
    deployed(rig.ask(change("/g", update)));
    let spec = rig.view().apps[&id("/g/a")].spec.clone().unwrap();
    assert_eq!(spec.instances, i32::MAX as u32);
}

fn group(path: &str, apps: &[(&str, u32)]) -> Command {
    let apps = apps.iter().map(|(app, n)| AppUpdate { id: Some(id(app)), ..sleep(*n) }).collect();
    let update = GroupUpdate { id: Some(id(path)), apps: Some(apps), ..GroupUpdate::default() };
    change(path, update)
}

fn change(path: &str, update: GroupUpdate) -> Command {
    Command::EditGroup {
        group: id(path),
        update: Box::new(update),
        create: false,
        force: false,
        dry_run: false,
    }
}

/// It would have been emptied.
#[test]
fn a_group_does_not_go_back_to_a_time_before_it_was() {
    let mut rig = Rig::new();
    deployed(rig.put("/other", AppEdit::Create(sleep(0))));
    let before = rig.view().root_version;
    rig.pass(Duration::from_secs(1));
    deployed(rig.ask(group("/g", &[("/g/a", 1)])));
    rig.run();
    let back = GroupUpdate { version: Some(before), ..GroupUpdate::default() };
    let reply = rig.ask(change("/g", back));
    assert!(matches!(reply, Reply::Refused(Refusal::Illegal(_))), "{reply:?}");
    assert_eq!(rig.count("/g/a"), 1);
}

#[test]
fn removed_groups_are_forgotten_with_the_last_tree_that_knew_them() {
    let mut rig = Rig::with(Policy { max_versions: 3, ..policy() });
    for number in 0..5 {
        let path = format!("/g{number}");
        deployed(rig.ask(group(&path, &[])));
        deployed(rig.ask(Command::DeleteGroup { group: id(&path), force: false }));
    }
    for app in ["/a", "/b", "/c", "/d"] {
        deployed(rig.put(app, AppEdit::Create(sleep(0))));
    }
    let about_groups = |it: &&Write| {
        matches!(it, Write::Group(it) if !it.id.is_root()) || matches!(it, Write::GroupRemoved { .. })
    };
    assert_eq!(live(&rig.store).iter().filter(about_groups).count(), 0);
    assert_eq!(rig.view().group_history.len(), 1, "the root");
}

#[test]
fn nested_groups_that_are_not_named_go_with_all_that_is_in_them() {
    let mut rig = Rig::new();
    let nested = |name: &str, app: &str| GroupUpdate {
        id: Some(id(name)),
        apps: Some(vec![AppUpdate { id: Some(id(app)), ..sleep(1) }]),
        ..GroupUpdate::default()
    };
    let both = vec![nested("/g/x", "/g/x/a"), nested("/g/y", "/g/y/a")];
    let update = GroupUpdate { groups: Some(both), dependencies: Some(vec![]), ..GroupUpdate::default() };
    deployed(rig.ask(change("/g", update)));
    rig.run();
    let one = vec![GroupUpdate { id: Some(id("/g/y")), ..GroupUpdate::default() }];
    deployed(rig.ask(change("/g", GroupUpdate { groups: Some(one), ..GroupUpdate::default() })));
    rig.run();
    assert_eq!((rig.count("/g/x/a"), rig.count("/g/y/a")), (0, 1));
    assert!(!rig.view().groups.contains_key(&id("/g/x")) && rig.view().groups.contains_key(&id("/g/y")));
}

#[test]
fn a_group_that_others_depend_on_comes_up_first() {
    let mut rig = Rig::new();
    rig.mute = true;
    deployed(rig.ask(group("/g/db", &[("/g/db/a", 1)])));
    let on_db = GroupUpdate {
        apps: Some(vec![AppUpdate { id: Some(id("/g/web/a")), ..sleep(1) }]),
        dependencies: Some(vec![id("/g/db")]),
        ..GroupUpdate::default()
    };
    deployed(rig.ask(change("/g/web", on_db)));
    rig.run();
    for task in rig.tasks_of("/g/db/a") {
        rig.say(&task, TaskState::Running);
    }
    for task in rig.tasks_of("/g/web/a") {
        rig.say(&task, TaskState::Running);
    }
    let edits = vec![(id("/g/db/a"), cmd("x")), (id("/g/web/a"), cmd("x"))];
    rig.notices.clear();
    deployed(rig.ask(Command::EditApps { edits, force: false, origin: None }));
    assert_eq!(rig.steps_begun(), [("/g/db/a".to_owned(), ActionKind::RestartApplication)]);
}

#[test]
fn a_group_changes_its_roles_apart_from_its_services() {
    let mut rig = Rig::new();
    deployed(rig.ask(group("/g", &[("/g/a", 0)])));
    let both = GroupUpdate { enforce_role: Some(true), apps: Some(vec![]), ..GroupUpdate::default() };
    let reply = rig.ask(change("/g", both));
    assert!(matches!(reply, Reply::Refused(Refusal::Invalid(_))), "{reply:?}");
    deployed(rig.ask(change("/g", GroupUpdate { enforce_role: Some(true), ..GroupUpdate::default() })));
    assert!(rig.view().groups[&id("/g")].enforce_role);
}

#[test]
fn what_is_undone_is_what_was_done_and_no_more() {
    let mut rig = Rig::new();
    deployed(rig.ask(group("/g", &[("/g/a", 0)])));
    rig.run();
    rig.mute = true;
    let both = vec![AppUpdate { id: Some(id("/g/a")), ..sleep(1) }];
    let update = GroupUpdate { apps: Some(both), dependencies: Some(vec![]), ..GroupUpdate::default() };
    let update = GroupUpdate { dependencies: Some(vec![id("/other")]), ..update };
    let plan = deployed(rig.ask(change("/g", update)));
    rig.run();
    assert_eq!(rig.ask(Command::EnforceRole { group: id("/g"), enforce: Some(true) }), Reply::Done);
    deployed(rig.ask(Command::CancelDeployment { id: plan, force: false }));
    rig.run();
    let group = rig.view().groups[&id("/g")].clone();
    assert_eq!((group.dependencies.len(), group.enforce_role), (0, true));
}

/// What lies elsewhere hides nothing else that is wrong.
#[test]
fn every_broken_rule_of_a_group_is_named() {
    let mut rig = Rig::new();
    let app = |name: &str, cpus: f64| AppUpdate {
        id: Some(id(name)),
        cpus: Some(Milli::from_f64(cpus)),
        ..sleep(1)
    };
    let bad = |name: &str| AppUpdate {
        upgrade: Some(UpgradeUpdate { minimum_health_capacity: Some(2.0), ..Default::default() }),
        ..app(name, 1.0)
    };
    let inner = GroupUpdate {
        id: Some(id("/g/inner")),
        apps: Some(vec![app("/g/stray", 1.0), bad("/g/inner/b")]),
        ..GroupUpdate::default()
    };
    let update = GroupUpdate {
        apps: Some(vec![app("/other/a", 1.0), bad("/g/b")]),
        groups: Some(vec![
            GroupUpdate { id: Some(id("/elsewhere")), ..GroupUpdate::default() },
            inner,
            GroupUpdate { id: Some(PathId::root()), ..GroupUpdate::default() },
        ]),
        ..GroupUpdate::default()
    };
    let Reply::Refused(Refusal::Invalid(found)) = rig.ask(change("/g", update)) else { panic!() };
    let told: Vec<String> = found.iter().map(|it| format!("{} {}", it.path, it.message)).collect();
    let capacity = "upgradeStrategy/minimumHealthCapacity got 2.0, expected between 0.0 and 1.0";
    assert_eq!(
        told,
        [
            "/apps(0)/id Identifier is not child of '/g'".to_owned(),
            format!("/apps(1)/{capacity}"),
            "/groups(0)/id Identifier is not child of '/g'".to_owned(),
            "/groups(1)/apps(0)/id Identifier is not child of '/g/inner'".to_owned(),
            format!("/groups(1)/apps(1)/{capacity}"),
            "/groups(2)/id Identifier is not child of '/g'".to_owned(),
        ]
    );
}
