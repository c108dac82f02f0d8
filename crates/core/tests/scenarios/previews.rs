//! What a change would do, compared with what it then does.

use marathon_model::preview::{Outcome, Preview};
use marathon_model::view::Mismatch;

use crate::rig::*;

fn look(rig: &Rig, command: Command) -> Result<Preview, Refusal> {
    marathon_core::preview(&rig.view(), &policy(), command, rig.now)
}

fn edit(app: &str, edit: AppEdit) -> Command {
    Command::EditApps { edits: vec![(id(app), edit)], force: false, origin: None }
}

/// Apps with the tasks that start and stop, in one line.
fn tasks(preview: &Preview) -> String {
    let apps = preview.apps.iter().map(|it| format!("{} +{} -{}", it.change.id, it.starts, it.stops));
    apps.collect::<Vec<_>>().join(", ")
}

/// The preview of a command, which is then carried out: both must agree.
fn check(rig: &mut Rig, command: Command, want: &str, peak: u32) {
    let before: Vec<TaskId> = rig.tasks.keys().cloned().collect();
    let (revision, writes) = (rig.core.revision(), rig.store.len());
    let preview = look(rig, command.clone()).unwrap();
    assert_eq!((tasks(&preview).as_str(), &preview.outcome), (want, &Outcome::Completes));
    assert_eq!(preview.peak.instances, peak, "{want}");
    assert_eq!((rig.core.revision(), rig.store.len()), (revision, writes), "nothing is stored");
    rig.notices.clear();
    let reply = rig.ask(command);
    assert!(!matches!(reply, Reply::Refused(_)), "{reply:?}");
    rig.run();
    let begun: Vec<_> =
        preview.steps.iter().flat_map(|it| &it.actions).map(|it| (it.app.to_string(), it.kind)).collect();
    assert_eq!(rig.steps_begun(), begun);
    let started = rig.tasks.keys().filter(|it| !before.contains(it)).count();
    let stopped = before.iter().filter(|it| !rig.tasks.contains_key(it)).count();
    let sum = |of: fn(&marathon_model::preview::AppPreview) -> u32| {
        preview.apps.iter().map(of).sum::<u32>() as usize
    };
    assert_eq!((sum(|it| it.starts), sum(|it| it.stops)), (started, stopped), "{want}");
}

#[test]
fn what_is_foreseen_comes_true() {
    let mut rig = Rig::new();
    rig.offer();
    check(&mut rig, edit("/web", AppEdit::Create(sleep(3))), "/web +3 -0", 3);
    check(&mut rig, edit("/web", instances(5)), "/web +2 -0", 2);
    check(&mut rig, edit("/web", cmd("other")), "/web +5 -5", 5);
    check(&mut rig, edit("/web", instances(1)), "/web +0 -4", 0);
    check(&mut rig, edit("/web", AppEdit::Restart), "/web +1 -1", 1);
    check(&mut rig, edit("/web", instances(1)), "", 0);
    let on_web = AppUpdate { dependencies: Some(vec!["/web".to_owned()]), ..sleep(2) };
    let edits = vec![(id("/top"), AppEdit::Create(on_web)), (id("/web"), instances(2))];
    let both = Command::EditApps { edits, force: false, origin: None };
    check(&mut rig, both, "/top +2 -0, /web +1 -0", 3);
    let task = rig.task_of("/web");
    check(&mut rig, kill(&task, true, false), "/web +0 -1", 0);
    let task = rig.task_of("/web");
    let version = rig.view().root_version;
    check(&mut rig, kill(&task, false, false), "/web +1 -1", 0);
    assert_eq!(rig.view().root_version, version);
    check(
        &mut rig,
        Command::DeleteGroup { group: GroupId::root(), force: false },
        "/top +0 -2, /web +0 -1",
        0,
    );
}

#[test]
fn a_narrow_strategy_needs_less_room() {
    let mut rig = Rig::new();
    let upgrade = UpgradeUpdate { minimum_health_capacity: Some(0.5), maximum_over_capacity: Some(0.0) };
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { upgrade: Some(upgrade), ..sleep(4) })));
    rig.run();
    check(&mut rig, edit("/web", cmd("other")), "/web +4 -4", 0);
}

#[test]
fn groups_that_come_and_change_are_told_of() {
    let mut rig = Rig::new();
    let update = GroupUpdate { dependencies: Some(vec![id("/db")]), ..GroupUpdate::default() };
    let group = |update: GroupUpdate| Command::EditGroup {
        group: id("/shop/web"),
        update: Box::new(update),
        create: false,
        force: false,
        dry_run: false,
    };
    let preview = look(&rig, group(update.clone())).unwrap();
    let names: Vec<String> = preview.groups.iter().map(|it| it.id.to_string()).collect();
    assert_eq!(names, ["/shop", "/shop/web"]);
    deployed(rig.ask(group(update.clone())));
    assert!(look(&rig, group(update)).unwrap().groups.is_empty());
    let preview = look(&rig, Command::EnforceRole { group: id("/shop"), enforce: Some(true) }).unwrap();
    assert!(preview.groups.len() == 1 && preview.groups[0].after.as_ref().unwrap().enforce_role);
}

#[test]
fn it_says_where_it_would_get_stuck_and_why() {
    let mut rig = Rig::new();
    rig.cpus = 2;
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { cpus: Some(Milli(500)), ..sleep(2) })));
    rig.run();
    let stuck = |preview: Preview| match preview.outcome {
        Outcome::Stuck(stuck) => stuck,
        other => panic!("{other:?}"),
    };
    let db = AppUpdate { cpus: Some(Milli(400)), ..sleep(5) };
    let on_db = AppUpdate { dependencies: Some(vec!["/db".to_owned()]), ..sleep(1) };
    let edits = vec![(id("/db"), AppEdit::Create(db)), (id("/top"), AppEdit::Create(on_db))];
    let preview = look(&rig, Command::EditApps { edits, force: false, origin: None }).unwrap();
    assert_eq!(tasks(&preview), "/db +2 -0, /top +0 -0");
    let stuck_at = stuck(preview);
    assert_eq!((stuck_at.step, stuck_at.apps.len()), (Some(1), 1));
    let db = &stuck_at.apps[0];
    assert_eq!((db.id.to_string().as_str(), db.wanted, db.unplaced), ("/db", 5, 3));
    let obstacle = &db.obstacles[0];
    assert_eq!((obstacle.why, obstacle.agents), (Mismatch::InsufficientCpus, 1));
    assert_eq!(obstacle.amounts, Some((Milli(400), Milli(200))));
    // A change that frees room for itself fits; one that has to be beside the old does not.
    let upgrade = UpgradeUpdate { minimum_health_capacity: Some(0.0), maximum_over_capacity: Some(0.0) };
    let big = |upgrade: Option<UpgradeUpdate>| {
        edit("/web", AppEdit::Merge(AppUpdate { cpus: Some(Milli(1000)), upgrade, ..AppUpdate::default() }))
    };
    assert_eq!(look(&rig, big(Some(upgrade))).unwrap().outcome, Outcome::Completes);
    assert_eq!(stuck(look(&rig, big(None)).unwrap()).apps[0].unplaced, 1);
    assert_eq!(look(&rig, edit("/web", instances(9))).map(|it| stuck(it).apps[0].unplaced), Ok(5));
}

#[test]
fn it_is_refused_as_the_change_itself_would_be() {
    let mut rig = Rig::new();
    rig.mute = true;
    let busy = deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    let refused = |rig: &mut Rig, command: Command| {
        let foreseen = look(rig, command.clone()).map(drop);
        let Reply::Refused(refusal) = rig.ask(command) else { panic!("not refused") };
        assert_eq!(foreseen, Err(refusal.clone()));
        refusal
    };
    assert_eq!(refused(&mut rig, edit("/web", instances(2))), Refusal::Locked { holders: vec![busy] });
    refused(&mut rig, edit("/web", AppEdit::Create(sleep(1))));
    refused(&mut rig, edit("/no", AppEdit::Restart));
    refused(&mut rig, edit("/no", AppEdit::Create(AppUpdate { cmd: None, ..sleep(1) })));
    refused(&mut rig, Command::ResetDelay { app: id("/no") });
    let forced = Command::EditApps { edits: vec![(id("/web"), instances(2))], force: true, origin: None };
    assert_eq!(look(&rig, forced).unwrap().ends, [busy]);
    let cancel = |force| Command::CancelDeployment { id: busy, force };
    assert_eq!(look(&rig, cancel(true)).unwrap().ends, [busy]);
    rig.run();
    assert_eq!(tasks(&look(&rig, cancel(false)).unwrap()), "/web +0 -1");
}

#[test]
fn without_agents_nothing_is_known_of_places() {
    let mut rig = Rig::new();
    rig.restart();
    let view = View { agents: Default::default(), ..View::clone(&rig.view()) };
    let create = edit("/web", AppEdit::Create(sleep(1)));
    let preview = marathon_core::preview(&view, &policy(), create, rig.now).unwrap();
    assert!(matches!(preview.outcome, Outcome::Unknown(_)), "{preview:?}");
    let nothing = edit("/web", AppEdit::Create(sleep(0)));
    assert_eq!(
        marathon_core::preview(&view, &policy(), nothing, rig.now).unwrap().outcome,
        Outcome::Completes
    );
}

#[test]
fn checks_and_delays_are_no_obstacle_when_all_goes_well() {
    let mut rig = Rig::new();
    let check = HealthCheckUpdate {
        check: HealthCheck {
            kind: HealthKind::Command { shell: "true".to_owned() },
            grace: Duration::from_secs(300),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            delay: Duration::from_secs(15),
            max_failures: 3,
            ipv6: false,
        },
        port_and_index: false,
    };
    let app = AppUpdate { health_checks: Some(vec![check]), ..sleep(2) };
    deployed(rig.put("/web", AppEdit::Create(app)));
    rig.run();
    let task = rig.task_of("/web");
    rig.end(&task, TaskState::Failed);
    let forced = Command::EditApps { edits: vec![(id("/web"), instances(4))], force: true, origin: None };
    assert_eq!(look(&rig, forced).unwrap().outcome, Outcome::Completes);
}
