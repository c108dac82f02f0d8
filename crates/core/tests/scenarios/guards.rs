//! Deployments that give up by themselves.

use marathon_model::deployment::{Aftermath, Deployment, GuardUpdate, OnFailure};

use crate::rig::*;

fn within(seconds: u64) -> GuardUpdate {
    GuardUpdate { deadline: Some(Duration::from_secs(seconds)), ..GuardUpdate::default() }
}

fn failing(max_failures: u32) -> GuardUpdate {
    GuardUpdate { max_failures: Some(max_failures), ..GuardUpdate::default() }
}

fn guarded(rig: &mut Rig, guard: GuardUpdate, app: &str, edit: AppEdit) -> Reply {
    let command = Box::new(Command::EditApps { edits: vec![(id(app), edit)], force: false, origin: None });
    rig.ask(Command::Guarded { guard, command })
}

fn only(rig: &Rig) -> std::sync::Arc<Deployment> {
    let view = rig.view();
    assert_eq!(view.deployments.len(), 1);
    view.deployments.values().next().unwrap().clone()
}

/// Two instances of the first command, and two of the second for which there is no place beside them.
fn half_way(guard: GuardUpdate) -> (Rig, DeploymentId, Vec<TaskId>) {
    let mut rig = Rig::new();
    rig.cpus = 1;
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { cpus: Some(Milli(500)), ..sleep(2) })));
    rig.run();
    let old = rig.tasks_of("/web");
    rig.pass(Duration::from_secs(1));
    let plan = deployed(guarded(&mut rig, guard, "/web", cmd("sleep 2000")));
    rig.run();
    (rig, plan, old)
}

#[test]
fn a_deadline_undoes_what_was_not_done_in_time() {
    let (mut rig, plan, old) = half_way(within(60));
    rig.pass(Duration::from_secs(59));
    assert_eq!(only(&rig).id, plan);
    rig.events.clear();
    rig.pass(Duration::from_secs(2));
    assert!(rig.events.contains(&"deployment_failed".to_owned()), "{:?}", rig.events);
    rig.run();
    assert_eq!((rig.tasks_of("/web"), rig.view().deployments.len()), (old, 0), "the old ones were kept");
    let failed = &rig.view().failed;
    assert_eq!((failed.len(), failed[0].deployment), (1, plan));
    assert!(matches!(failed[0].then, Aftermath::RolledBack(_)));
    let want =
        "Not done after 60 seconds: step 1 of 1 waits for /web (2 of 2 instances serve, 2 find no place)";
    assert_eq!(&*failed[0].reason, want);
}

#[test]
fn the_deployment_that_puts_things_back_says_why() {
    let (mut rig, plan, _) = half_way(within(60));
    rig.mute = true;
    // The way back waits too: one of the old is killed and its successor is silent.
    let old = rig.task_of("/web");
    rig.end(&old, TaskState::Killed);
    rig.pass(Duration::from_secs(61));
    let back = only(&rig);
    let cause = back.cause.clone().unwrap();
    assert_eq!((cause.deployment, back.guard), (plan, None));
    assert!(cause.reason.starts_with("Not done after 60 seconds"));
    // It has no time to keep itself.
    rig.pass(Duration::from_secs(250));
    assert_eq!(only(&rig).id, back.id);
}

#[test]
fn stopping_leaves_everything_as_it_is() {
    let guard = GuardUpdate { on_failure: Some(OnFailure::Stop), ..within(60) };
    let (mut rig, plan, old) = half_way(guard);
    rig.pass(Duration::from_secs(61));
    assert_eq!(rig.view().deployments.len(), 0);
    let spec = rig.view().app(&id("/web")).unwrap().spec.clone().unwrap();
    assert_eq!(spec.cmd.as_deref(), Some("sleep 2000"));
    assert!(old.iter().all(|it| rig.tasks.contains_key(it)), "nobody is left without");
    let failed = rig.view().failed[0].clone();
    assert_eq!((failed.deployment, failed.then.clone()), (plan, Aftermath::Stopped));
}

#[test]
fn one_failure_more_than_allowed_ends_it() {
    let mut rig = Rig::new();
    let app = AppUpdate { backoff_initial: Some(Duration::ZERO), ..sleep(2) };
    deployed(rig.put("/web", AppEdit::Create(app)));
    rig.run();
    let old = rig.tasks_of("/web");
    rig.pass(Duration::from_secs(1));
    rig.mute = true;
    let plan = deployed(guarded(&mut rig, failing(2), "/web", cmd("crash")));
    rig.run();
    // An old one that fails says nothing about the new.
    rig.end(&old[0], TaskState::Failed);
    for failures in 0..3 {
        assert_eq!((only(&rig).id, only(&rig).failures), (plan, failures));
        let new = rig.tasks_of("/web").into_iter().find(|it| !old.contains(it)).unwrap();
        rig.end(&new, TaskState::Failed);
    }
    let back = only(&rig);
    let reason = back.cause.clone().unwrap().reason;
    assert!(reason.starts_with("3 failures of new tasks, 2 allowed; the last: web.instance-"), "{reason}");
    assert!(reason.ends_with("Failed: Failed"), "{reason}");
    rig.mute = false;
    rig.pass(Duration::from_secs(400));
    assert!(rig.tasks.contains_key(&old[1]));
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (2, 0));
}

#[test]
fn a_guard_survives_a_restart_with_what_it_has_counted() {
    let mut rig = Rig::new();
    let app = AppUpdate { backoff_initial: Some(Duration::ZERO), ..sleep(1) };
    rig.mute = true;
    deployed(guarded(
        &mut rig,
        GuardUpdate { max_failures: Some(1), ..within(100) },
        "/web",
        AppEdit::Create(app),
    ));
    rig.run();
    let task = rig.task_of("/web");
    rig.cpus = 0;
    rig.end(&task, TaskState::Failed);
    rig.restart();
    assert_eq!(only(&rig).failures, 1);
    rig.cpus = 1;
    rig.offer();
    rig.run();
    let task = rig.task_of("/web");
    rig.end(&task, TaskState::Failed);
    rig.pass(Duration::from_secs(1));
    assert!(rig.view().app(&id("/web")).is_none(), "what was new is gone again");
    let failed = rig.view().failed.clone();
    rig.restart();
    assert_eq!(rig.view().failed, failed);
}

#[test]
fn a_deadline_that_passed_meanwhile_has_passed() {
    let (mut rig, plan, _) = half_way(within(60));
    rig.set_clock(rig.now.tick + Duration::from_secs(90));
    rig.restart();
    rig.pass(Duration::ZERO);
    assert_eq!(rig.view().failed[0].deployment, plan);
}

#[test]
fn the_servers_defaults_hold_where_a_request_says_nothing() {
    let guard = GuardUpdate { on_failure: Some(OnFailure::Stop), ..within(60) };
    let mut rig = Rig::with(Policy { guard, ..policy() });
    rig.mute = true;
    deployed(rig.put("/a", AppEdit::Create(sleep(1))));
    deployed(guarded(&mut rig, within(500), "/b", AppEdit::Create(sleep(1))));
    let guard_of = |rig: &Rig, app: &str| {
        let view = rig.view();
        let plan = view.deployments[&view.app(&id(app)).unwrap().deployments[0]].clone();
        plan.guard.map(|it| (it.deadline.map(|it| it.as_secs()), it.on_failure))
    };
    assert_eq!(guard_of(&rig, "/a"), Some((Some(60), OnFailure::Stop)));
    assert_eq!(guard_of(&rig, "/b"), Some((Some(500), OnFailure::Stop)));
    // Who undoes by hand is not undone.
    let busy = rig.view().app(&id("/a")).unwrap().deployments[0];
    rig.run();
    deployed(rig.ask(Command::CancelDeployment { id: busy, force: false }));
    assert!(rig.view().deployments.values().all(|it| it.version <= rig.view().root_version));
    let back = rig.view().apps[&id("/a")].deployments.first().copied();
    assert!(back.is_none_or(|it| rig.view().deployments[&it].guard.is_none()));
}

#[test]
fn without_a_limit_there_is_nothing_to_do_on_failure() {
    let mut rig = Rig::new();
    let guard = GuardUpdate { on_failure: Some(OnFailure::Stop), ..GuardUpdate::default() };
    let reply = guarded(&mut rig, guard, "/web", AppEdit::Create(sleep(1)));
    let Reply::Refused(Refusal::Invalid(violations)) = reply else { panic!("{reply:?}") };
    assert_eq!(violations[0].path, "/onFailure");
    assert_eq!(rig.view().deployments.len(), 0);
}

#[test]
fn a_deployment_that_ends_well_is_not_judged_later() {
    let mut rig = Rig::new();
    deployed(guarded(&mut rig, within(60), "/web", AppEdit::Create(sleep(1))));
    rig.run();
    rig.pass(Duration::from_secs(100));
    assert_eq!((rig.count("/web"), rig.view().failed.len()), (1, 0));
    assert_eq!(rig.core.next_wakeup().map(|it| it.1), Some("reconciliation"));
}

#[test]
fn only_the_latest_failures_are_remembered() {
    let mut rig = Rig::new();
    rig.cpus = 0;
    for number in 0..30 {
        deployed(guarded(&mut rig, within(1), &format!("/app{number}"), AppEdit::Create(sleep(1))));
        rig.pass(Duration::from_secs(2));
    }
    assert_eq!(rig.view().failed.len(), 25);
    assert_eq!(live(&rig.store).iter().filter(|it| matches!(it, Write::Failed(_))).count(), 25);
    let left = |it: &&Write| matches!(it, Write::Deployment(_) | Write::Progress(_));
    assert_eq!(live(&rig.store).iter().filter(left).count(), 0);
}

/// Found by the simulator (seed 68187). Putting one deployment back makes a version of the tree, with which removed
/// apps are forgotten. The last instance of one of them had been given up in that very step: its end was never told,
/// and its failure stayed in the store, so that it came back with the next start.
#[test]
fn a_removed_app_ends_before_it_is_forgotten() {
    let mut rig = Rig::with(Policy { max_versions: 1, ..policy() });
    let span = Duration::from_secs;
    let unreachable = UnreachableStrategy::After { inactive: span(60), expunge: span(600) };
    deployed(rig.put("/gone", AppEdit::Create(AppUpdate { unreachable: Some(unreachable), ..sleep(1) })));
    rig.run();
    let failed = rig.task_of("/gone");
    rig.end(&failed, TaskState::Failed);
    rig.pass(span(10));
    let task = rig.task_of("/gone");
    // Out of reach, replaced, and left alone when the app is removed.
    rig.lose(&task);
    deployed(rig.put("/gone", cmd("sleep 2000")));
    rig.pass(span(61));
    deployed(rig.put("/gone", AppEdit::Delete));
    rig.run();
    rig.mute = true;
    assert!(rig.view().deployments.is_empty() && rig.view().apps[&id("/gone")].instances.len() == 1);
    deployed(guarded(&mut rig, within(300), "/web", AppEdit::Create(sleep(1))));
    rig.events.clear();
    rig.set_clock(Tick(rig.now.tick.0) + span(700));
    rig.feed(Event::Woke);
    assert!(rig.events.contains(&"deployment_failed".to_owned()), "{:?}", rig.events);
    let ended = |it: &&What| matches!(it, What::AppTerminated { app } if *app == id("/gone"));
    assert_eq!(rig.notices.iter().filter(ended).count(), 1);
    assert!(!rig.view().apps.contains_key(&id("/gone")));
    let left: Vec<_> = live(&rig.store).into_iter().filter(|it| matches!(it, Write::Failure(_))).collect();
    assert_eq!(left, []);
}
