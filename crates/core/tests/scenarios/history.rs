//! What hurt the users of the original, told as histories, and how they end here.
//!
//! Each has a switch that brings the bug back (crates/core/src/faults.rs), and the simulator finds it:
//! docs/simulation.md.

use crate::resident::{resident, used, with_volumes};
use crate::rig::*;

fn half_at_a_time() -> UpgradeUpdate {
    UpgradeUpdate { minimum_health_capacity: Some(0.5), maximum_over_capacity: Some(0.0) }
}

fn cancel(rig: &mut Rig, id: DeploymentId) -> Reply {
    rig.ask(Command::CancelDeployment { id, force: false })
}

/// `rollback-kills`: half of an upgrade is done, it goes wrong, and taking it back restarts the other half.
#[test]
fn a_rollback_kills_no_good_instance() {
    let mut rig = Rig::new();
    let good = AppUpdate { upgrade: Some(half_at_a_time()), ..sleep(4) };
    deployed(rig.put("/web", AppEdit::Create(good)));
    rig.run();
    let before = rig.tasks_of("/web");
    rig.mute = true;
    let bad = deployed(rig.put("/web", cmd("broken")));
    rig.run();
    let untouched: Vec<TaskId> = before.into_iter().filter(|it| rig.tasks.contains_key(it)).collect();
    assert_eq!(untouched.len(), 2, "half of them were replaced");
    rig.mute = false;
    deployed(cancel(&mut rig, bad));
    rig.run();
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (4, 0));
    assert!(untouched.iter().all(|it| rig.tasks.contains_key(it)), "the good ones ran on");
}

/// The same when a user goes back by hand: to a version, not by cancelling.
#[test]
fn going_back_to_a_version_kills_no_instance_of_it() {
    let mut rig = Rig::new();
    let good = AppUpdate { upgrade: Some(half_at_a_time()), ..sleep(4) };
    deployed(rig.put("/web", AppEdit::Create(good)));
    rig.run();
    let version = rig.view().app(&id("/web")).unwrap().spec.as_ref().unwrap().version;
    rig.mute = true;
    deployed(rig.put("/web", cmd("broken")));
    rig.run();
    let broken =
        |it: &&TaskId| rig.tasks[*it].command != marathon_model::offer::Command::Shell("broken".into());
    let good: Vec<TaskId> = rig.tasks.keys().filter(broken).cloned().collect();
    assert_eq!(good.len(), 2);
    rig.mute = false;
    let back = AppEdit::Merge(AppUpdate { version: Some(version), ..AppUpdate::default() });
    deployed(rig.ask(Command::EditApps { edits: vec![(id("/web"), back)], force: true, origin: None }));
    rig.run();
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (4, 0));
    assert!(good.iter().all(|it| rig.tasks.contains_key(it)));
}

/// `cancel-reverts-all`: between a deployment and its cancellation others deployed as well.
#[test]
fn a_cancelled_deployment_takes_back_nothing_of_others() {
    let mut rig = Rig::new();
    deployed(rig.put("/other/db", AppEdit::Create(sleep(1))));
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    rig.mute = true;
    let stuck = deployed(rig.put("/web", cmd("broken")));
    rig.run();
    rig.mute = false;
    deployed(rig.put("/other/db", cmd("improved")));
    deployed(rig.put("/other/new", AppEdit::Create(sleep(2))));
    rig.run();
    rig.mute = true;
    let busy = deployed(rig.put("/third", AppEdit::Create(sleep(1))));
    rig.run();
    let others = (rig.tasks_of("/other/db"), rig.tasks_of("/other/new"), rig.tasks_of("/third"));
    rig.mute = false;
    deployed(cancel(&mut rig, stuck));
    rig.run();
    let view = rig.view();
    let cmd_of = |app: &str| view.app(&id(app)).unwrap().spec.as_ref().unwrap().cmd.clone().unwrap();
    assert_eq!((cmd_of("/web"), cmd_of("/other/db")), ("sleep 1000".to_owned(), "improved".to_owned()));
    assert_eq!((rig.tasks_of("/other/db"), rig.tasks_of("/other/new"), rig.tasks_of("/third")), others);
    assert_eq!(view.deployments.keys().collect::<Vec<_>>(), [&busy], "it goes on as if nothing had happened");
}

/// `launches-too-many`: a forced update comes while the instances of the one before are still on their way.
#[test]
fn a_deployment_counts_what_its_predecessor_started() {
    let mut rig = Rig::new();
    rig.cpus = 0;
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    for wanted in [5, 4, 6] {
        let edits = vec![(id("/web"), instances(wanted))];
        deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
        assert_eq!(rig.view().app(&id("/web")).unwrap().instances.len(), wanted as usize, "none waits twice");
    }
    rig.cpus = 1000;
    rig.mute = true;
    rig.offer();
    rig.run();
    assert_eq!(rig.count("/web"), 6);
    // They have been launched, and nothing is known of them yet.
    let edits = vec![(id("/web"), instances(7))];
    deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
    rig.run();
    assert_eq!(rig.count("/web"), 7);
}

/// `returned-lives`: an agent is lost, its instance is replaced, and then the agent is back, task and all.
#[test]
fn what_returns_after_it_was_replaced_is_killed() {
    let day = UnreachableStrategy::After {
        inactive: Duration::from_secs(60),
        expunge: Duration::from_secs(86_400),
    };
    let at_once = UnreachableStrategy::After { inactive: Duration::ZERO, expunge: Duration::ZERO };
    for strategy in [day, at_once] {
        let mut rig = Rig::new();
        deployed(rig.put("/web", AppEdit::Create(AppUpdate { unreachable: Some(strategy), ..sleep(1) })));
        rig.run();
        let lost = rig.task_of("/web");
        rig.say(&lost, TaskState::Unreachable);
        rig.run();
        rig.pass(Duration::from_secs(120));
        assert_eq!(rig.count("/web"), 2, "{strategy:?}: the lost one may still run somewhere");
        let before = rig.tasks_of("/web");
        rig.say(&lost, TaskState::Running);
        rig.run();
        assert_eq!(rig.count("/web"), 1, "{strategy:?}: one of {before:?} had to go");
        rig.pass(Duration::from_secs(600));
        assert_eq!(rig.count("/web"), 1);
    }
}

/// It may come back more than once, in the middle of its end, or when the app is gone.
#[test]
fn what_returns_after_its_app_was_removed_is_killed() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { unreachable: Some(patient()), ..sleep(1) })));
    rig.run();
    let lost = rig.task_of("/web");
    rig.say(&lost, TaskState::Unreachable);
    deployed(rig.put("/web", AppEdit::Delete));
    rig.calls.clear();
    for state in [TaskState::Running, TaskState::Unreachable, TaskState::Running] {
        rig.say(&lost, state);
    }
    let kills = rig.calls.iter().filter(|it| matches!(it, Call::Kill { task, .. } if *task == lost)).count();
    assert_eq!(kills, 2, "each time it shows up");
}

/// `deployment-vanishes`: the client reads 201, the leader dies, and the next one knows nothing of it.
#[test]
fn a_deployment_is_there_after_a_crash_at_any_moment() {
    let mut rig = Rig::new();
    rig.cpus = 0;
    let deployment = deployed(rig.put("/web", AppEdit::Create(sleep(2))));
    let known = |rig: &Rig| rig.view().deployments.contains_key(&deployment);
    assert!(known(&rig), "asked at once, it is listed");
    rig.restart();
    assert!(known(&rig), "and so it is after a crash");
    rig.cpus = 1000;
    rig.offer();
    rig.run();
    assert_eq!((rig.count("/web"), known(&rig)), (2, false));
    assert!(rig.events.iter().any(|it| it == "deployment_success"));
}

/// `rollback-sticks`: a rollback has nothing to start, so whoever waits for starts waits for ever.
#[test]
fn a_rollback_of_what_had_hardly_begun_ends_at_once() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    let before = rig.tasks_of("/web");
    let large = AppUpdate { cpus: Some(Milli::from_whole(5_000)), ..AppUpdate::default() };
    let stuck = deployed(rig.put("/web", AppEdit::Merge(large)));
    rig.run();
    let back = deployed(cancel(&mut rig, stuck));
    rig.run();
    assert!(!rig.view().deployments.contains_key(&back) && rig.view().deployments.is_empty());
    assert_eq!(rig.tasks_of("/web"), before, "nothing was touched on the way there and back");
}

/// `zombie-app`: an app that cannot be placed is removed; with no task to kill nobody ever says it is dead.
#[test]
fn an_app_that_never_ran_can_be_deleted() {
    let mut rig = Rig::new();
    rig.cpus = 0;
    deployed(rig.put("/web", AppEdit::Create(sleep(2))));
    rig.run();
    assert!(matches!(rig.put("/web", AppEdit::Delete), Reply::Refused(Refusal::Locked { .. })));
    let edits = vec![(id("/web"), AppEdit::Delete)];
    deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
    assert!(rig.view().app(&id("/web")).is_none() && rig.view().deployments.is_empty());
    rig.restart();
    assert!(rig.view().app(&id("/web")).is_none());
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.cpus = 1000;
    rig.offer();
    rig.run();
    assert_eq!(rig.count("/web"), 1, "its name is free again");
}

/// Of an app that fails, some instances wait for their delay when it is removed.
#[test]
fn an_app_that_fails_can_be_deleted() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(2))));
    rig.run();
    let task = rig.task_of("/web");
    rig.end(&task, TaskState::Failed);
    deployed(rig.put("/web", AppEdit::Delete));
    rig.run();
    assert!(
        rig.view().app(&id("/web")).is_none() && rig.view().deployments.is_empty() && rig.tasks.is_empty()
    );
}

/// `backoff-of-months`: an app fails over a weekend, and on Monday its next start is in spring.
#[test]
fn a_delay_never_exceeds_its_maximum() {
    let mut rig = Rig::new();
    let app = AppUpdate {
        backoff_initial: Some(Duration::from_secs(1)),
        backoff_factor: Some(10.0),
        backoff_max: Some(Duration::from_secs(3600)),
        ..sleep(1)
    };
    deployed(rig.put("/web", AppEdit::Create(app)));
    rig.run();
    for round in 0..40 {
        let task = rig.task_of("/web");
        rig.end(&task, TaskState::Failed);
        let delay = rig.view().app(&id("/web")).unwrap().delay.unwrap();
        assert!(delay.current <= Duration::from_secs(3600), "round {round}: {delay:?}");
        // A leader that takes over goes by the same delay.
        if round % 10 == 0 {
            rig.restart();
        }
        rig.pass(Duration::from_secs(3600));
        assert_eq!(rig.count("/web"), 1, "round {round}");
    }
}

/// `mass-kill`: the leader's own network fails for a minute, and every instance seems to be ill.
#[test]
fn a_bad_moment_of_the_leader_kills_few() {
    let mut rig = Rig::new();
    let check = HealthCheck {
        kind: HealthKind::Tcp { by_engine: false, port: CheckPort::Index(0) },
        grace: Duration::from_secs(1),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        delay: Duration::ZERO,
        max_failures: 1,
        ipv6: false,
    };
    let checks = vec![HealthCheckUpdate { check, port_and_index: false }];
    let port = PortDefinition { port: 0, protocol: Protocol::Tcp, name: None, labels: Labels::new() };
    let app = AppUpdate { health_checks: Some(checks), port_definitions: Some(vec![port]), ..sleep(12) };
    deployed(rig.put("/web", AppEdit::Create(app)));
    rig.run();
    let round = |rig: &mut Rig, outcome: fn() -> ProbeOutcome| {
        let until = Tick(rig.now.tick.0) + Duration::from_secs(10);
        while let Some((at, _)) = rig.core.next_wakeup().filter(|(at, _)| *at <= until) {
            rig.set_clock(at);
            rig.feed(Event::Woke);
        }
        rig.set_clock(until);
        for probe in std::mem::take(&mut rig.probes) {
            rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome: outcome() }));
        }
    };
    let kills = |rig: &Rig| {
        let killed = |it: &&Call| matches!(it, Call::Kill { .. });
        rig.calls.iter().filter(killed).count()
    };
    round(&mut rig, || ProbeOutcome::Connected);
    assert_eq!(rig.view().deployments.len(), 0, "all are healthy");
    rig.calls.clear();
    let refused = || ProbeOutcome::Failed { cause: "network is unreachable".into() };
    round(&mut rig, refused);
    assert_eq!(kills(&rig), 0, "one failure is allowed");
    round(&mut rig, refused);
    assert_eq!(kills(&rig), 3, "a quarter of them, and no more while these are dying");
    // The network is back before they are dead: nobody else has to die.
    round(&mut rig, || ProbeOutcome::Connected);
    rig.run();
    assert_eq!(rig.notices.iter().filter(|it| matches!(it, What::UnhealthyKilled { .. })).count(), 3);
    assert_eq!(rig.count("/web"), 12, "those three were made up for");
}

/// `volumes-destroyed`: an agent with a database is off the network for longer than anybody waits. Given up like any
/// other, the instance would be nobody's when it returns, and so would its volume.
#[test]
fn volumes_of_a_lost_agent_are_kept_for_its_return() {
    let mut rig = Rig::with(with_volumes());
    let soon =
        UnreachableStrategy::After { inactive: Duration::from_secs(60), expunge: Duration::from_secs(120) };
    let update = AppUpdate { unreachable: Some(soon), ..resident(1) };
    // Such a strategy makes no sense for an app that owns volumes; whether it is refused or not, nothing is lost.
    if matches!(rig.put("/db", AppEdit::Create(update)), Reply::Refused(_)) {
        deployed(rig.put("/db", AppEdit::Create(resident(1))));
    }
    rig.run();
    let (task, before) = (rig.task_of("/db"), used(&rig));
    rig.agent = 1;
    rig.lose(&task);
    rig.pass(Duration::from_secs(24 * 3600));
    rig.restart_with(with_volumes());
    rig.pass(Duration::from_secs(24 * 3600));
    rig.agent = 0;
    rig.find(&task);
    rig.offer();
    rig.run();
    assert_eq!(used(&rig), before, "the same instance on the same volume");
    assert!(!rig.deeds.iter().any(|it| it.starts_with("destroy")), "{:?}", rig.deeds);
}
