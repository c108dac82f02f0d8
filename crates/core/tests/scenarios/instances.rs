//! What happens to instances between deployments: failures, kills, lost agents, health.

use marathon_model::instance::Goal;

use crate::rig::*;

#[test]
fn a_crash_loop_waits_longer_each_time_and_shows_its_failure() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    let mut waits = Vec::new();
    for _ in 0..3 {
        let task = rig.task_of("/web");
        rig.end(&task, TaskState::Failed);
        assert_eq!(rig.count("/web"), 0);
        waits.push(rig.view().app(&id("/web")).unwrap().delay.unwrap().current.as_millis());
        rig.pass(Duration::from_secs(2));
        assert_eq!(rig.task_of("/web").instance, task.instance, "the same instance, started again");
        assert_eq!(rig.task_of("/web").incarnation, task.incarnation + 1);
    }
    assert_eq!(waits, [1000, 1150, 1322]);
    assert_eq!(&*rig.view().app(&id("/web")).unwrap().failure.clone().unwrap().message, "Failed");
    rig.pass(Duration::from_secs(400));
    assert!(rig.view().app(&id("/web")).unwrap().delay.is_none(), "forgotten after a long run");
}

#[test]
fn a_launch_says_from_which_role_it_takes() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    let launch = &rig.tasks[&rig.task_of("/web")];
    assert_eq!(launch.shares, BTreeMap::from([(ANY_ROLE.into(), launch.resources)]));
}

#[test]
fn killing_with_scale_takes_exactly_the_chosen() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    let task = rig.task_of("/web");
    let victims = || Victims::Tasks(vec![task.clone()]);
    deployed(rig.ask(Command::Kill { victims: victims(), scale: true, wipe: false, force: false }));
    rig.run();
    assert_eq!((rig.count("/web"), rig.tasks.contains_key(&task)), (2, false));
    assert_eq!(rig.view().app(&id("/web")).unwrap().spec.as_ref().unwrap().instances, 2);
    let task = rig.task_of("/web");
    let one = Victims::One { app: id("/web"), task: task.clone() };
    assert!(
        matches!(rig.ask(Command::Kill { victims: one, scale: false, wipe: false, force: false }), Reply::Killed(it) if it.len() == 1)
    );
    rig.run();
    assert_eq!(
        (rig.count("/web"), rig.task_of("/web").incarnation.max(2)),
        (2, 2),
        "a plain kill is made up for at once"
    );
}

#[test]
fn an_unreachable_instance_is_replaced_and_killed_when_it_returns() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    let lost = rig.task_of("/web");
    rig.say(&lost, TaskState::Unreachable);
    rig.run();
    assert_eq!(rig.count("/web"), 2, "the lost one may still run somewhere");
    rig.say(&lost, TaskState::Running);
    rig.run();
    assert_eq!((rig.count("/web"), rig.tasks.contains_key(&lost)), (1, false));
}

#[test]
fn health_decides_over_upgrades_and_lives() {
    let mut rig = Rig::new();
    let check = HealthCheck {
        kind: HealthKind::Http {
            https: false,
            by_engine: false,
            path: None,
            port: CheckPort::Index(0),
            ignore_1xx: false,
        },
        grace: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        delay: Duration::ZERO,
        max_failures: 2,
        ipv6: false,
    };
    let checks = vec![HealthCheckUpdate { check, port_and_index: false }];
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { health_checks: Some(checks), ..sleep(1) })));
    rig.run();
    assert_eq!(rig.view().deployments.len(), 1, "running is not healthy");
    let answer = |rig: &mut Rig, status: u16| {
        rig.pass(Duration::from_secs(10));
        for probe in std::mem::take(&mut rig.probes) {
            let outcome = ProbeOutcome::Answered { status, content_type: String::new(), body: "".into() };
            rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome }));
        }
        rig.run();
    };
    answer(&mut rig, 500);
    assert!(!rig.events.contains(&"failed_health_check_event".to_owned()), "within the grace period");
    answer(&mut rig, 200);
    assert_eq!(rig.view().deployments.len(), 0);
    let task = rig.task_of("/web");
    for _ in 0..2 {
        answer(&mut rig, 500);
        assert!(rig.tasks.contains_key(&task));
    }
    answer(&mut rig, 500);
    assert!(!rig.tasks.contains_key(&task), "the third failure in a row is one too many");
    assert_eq!(rig.count("/web"), 1);
    assert!(rig.events.contains(&"unhealthy_instance_kill_event".to_owned()));
}

#[test]
fn what_does_not_fit_says_why() {
    let mut rig = Rig::new();
    deployed(rig.put("/big", AppEdit::Create(AppUpdate { cpus: Some(Milli::from_whole(2000)), ..sleep(1) })));
    rig.run();
    let app = rig.view().app(&id("/big")).unwrap().clone();
    let waiting = app.waiting.as_ref().expect("it waits");
    assert_eq!((waiting.processed_offers, waiting.unused_offers), (1, 1));
    assert_eq!(waiting.last_unused[0].reasons, [marathon_model::view::Mismatch::InsufficientCpus]);
    let instance = app.instances.values().next().unwrap();
    assert_eq!(instance.condition, Condition::Scheduled);
}

/// Found by the simulator: reconciliation tells the latest state at once, an agent one update after the other.
#[test]
fn a_late_update_does_not_set_a_task_back() {
    let mut rig = Rig::new();
    rig.mute = true;
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    let task = rig.task_of("/web");
    let condition = |rig: &Rig| rig.view().task(&task).unwrap().condition;
    rig.say(&task, TaskState::Running);
    for late in [TaskState::Starting, TaskState::Staging] {
        rig.say(&task, late);
        assert_eq!(condition(&rig), Condition::Running, "{late:?}");
    }
    rig.say(&task, TaskState::Killing);
    rig.say(&task, TaskState::Running);
    assert_eq!(condition(&rig), Condition::Killing);
}

/// Found by the simulator: nobody watched the launch of a task that was out of reach while it started.
#[test]
fn a_launch_is_watched_again_after_its_agent_was_out_of_reach() {
    let mut rig = Rig::new();
    rig.mute = true;
    let strategy = UnreachableStrategy::Disabled;
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { unreachable: Some(strategy), ..sleep(1) })));
    rig.run();
    let task = rig.task_of("/web");
    for state in [TaskState::Staging, TaskState::Unreachable, TaskState::Starting] {
        rig.say(&task, state);
    }
    rig.pass(Duration::from_secs(301));
    assert!(rig.view().task(&task).is_none(), "it took too long and was killed");
}

#[test]
fn killing_what_is_out_of_reach_gives_it_up() {
    let mut rig = Rig::new();
    let spec = AppUpdate { unreachable: Some(UnreachableStrategy::Disabled), ..sleep(1) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    let lost = rig.task_of("/web");
    rig.say(&lost, TaskState::Unreachable);
    rig.calls.clear();
    assert!(matches!(rig.ask(kill(&lost, false, false)), Reply::Killed(_)));
    // The agent cannot hear of the kill.
    rig.calls.retain(|it| !matches!(it, Call::Kill { .. }));
    rig.run();
    assert_eq!(rig.count("/web"), 2, "it may still run, beside what takes its place");
    rig.say(&lost, TaskState::Running);
    rig.run();
    assert_eq!((rig.count("/web"), rig.tasks.contains_key(&lost)), (1, false));
}

#[test]
fn wiping_what_is_out_of_reach_forgets_it() {
    let mut rig = Rig::new();
    let spec = AppUpdate { unreachable: Some(UnreachableStrategy::Disabled), ..sleep(1) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    let lost = rig.task_of("/web");
    rig.say(&lost, TaskState::Unreachable);
    assert!(matches!(rig.ask(kill(&lost, false, true)), Reply::Killed(_)));
    assert_eq!(rig.condition(&lost), None);
    rig.run();
    rig.say(&lost, TaskState::Running);
    rig.run();
    assert_eq!((rig.count("/web"), rig.tasks.contains_key(&lost)), (1, false));
}

#[test]
fn what_is_ending_already_is_not_scaled_away_twice() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    let task = rig.task_of("/web");
    let again =
        Command::Kill { victims: Victims::Tasks(vec![task.clone()]), scale: true, wipe: false, force: true };
    deployed(rig.ask(kill(&task, true, false)));
    deployed(rig.ask(again));
    rig.run();
    assert_eq!(rig.count("/web"), 2);
}

/// The master said it knew nothing of it, or that it was gone, and was wrong.
#[test]
fn a_task_that_turns_up_after_it_was_declared_dead_is_killed() {
    for verdict in [TaskState::Unknown, TaskState::Gone, TaskState::Dropped] {
        let mut rig = Rig::new();
        deployed(rig.put("/web", AppEdit::Create(sleep(1))));
        rig.run();
        let task = rig.task_of("/web");
        rig.cpus = 0;
        rig.say(&task, verdict);
        rig.calls.clear();
        rig.say(&task, TaskState::Running);
        assert!(
            rig.calls.iter().any(|it| matches!(it, Call::Kill { task: of, .. } if *of == task)),
            "{verdict:?}"
        );
    }
}

#[test]
fn an_instance_that_is_expunged_is_said_to_be_killed() {
    let never = Duration::from_secs(365 * 24 * 3600);
    let mut rig = Rig::with(Policy { reconciliation_interval: never, ..policy() });
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { unreachable: Some(patient()), ..sleep(1) })));
    rig.run();
    let lost = rig.task_of("/web");
    rig.say(&lost, TaskState::Unreachable);
    rig.pass(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(rig.condition(&lost), None);
    let said = rig.notices.iter().filter_map(|it| match it {
        What::InstanceChanged { instance } if instance.id == lost.instance => Some(instance.condition),
        _ => None,
    });
    let last: Vec<Condition> = said.collect();
    assert_eq!(
        last[last.len() - 3..],
        [Condition::Unreachable, Condition::UnreachableInactive, Condition::Killed]
    );
}

#[test]
fn pauses_of_zero_do_not_stop_the_clock() {
    let zero =
        Policy { kill_retry_timeout: Duration::ZERO, reconciliation_interval: Duration::ZERO, ..policy() };
    let mut rig = Rig::with(zero);
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    rig.ask(kill(&rig.task_of("/web"), false, false));
    rig.calls.clear();
    rig.feed(Event::Woke);
}

#[test]
fn offers_that_come_too_late_start_nothing() {
    let mut rig = Rig::new();
    rig.cpus = 0;
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    rig.feed(Event::Engine(EngineEvent::Disconnected));
    rig.cpus = 9;
    rig.offer();
    let waits = rig.view().app(&id("/web")).unwrap().tally.sum().waiting;
    assert_eq!((waits, rig.calls.len()), (1, 0), "its launch could not be sent");
}

fn checked(kind: HealthKind) -> HealthCheckUpdate {
    let check = HealthCheck {
        kind,
        grace: Duration::ZERO,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        delay: Duration::ZERO,
        max_failures: 1,
        ipv6: false,
    };
    HealthCheckUpdate { check, port_and_index: false }
}

/// An alive state begins as false: a first failure changes nothing about it.
#[test]
fn the_first_word_of_the_engine_about_health_is_news_only_if_it_is_good() {
    let mut rig = Rig::new();
    let checks = vec![checked(HealthKind::Command { shell: "true".to_owned() })];
    deployed(rig.put("/web", AppEdit::Create(AppUpdate { health_checks: Some(checks), ..sleep(1) })));
    rig.run();
    let task = rig.task_of("/web");
    let mut news = Vec::new();
    for healthy in [false, true, true, false] {
        rig.notices.clear();
        rig.say_healthy(&task, healthy);
        let alive = rig.notices.iter().find_map(|it| match it {
            What::HealthChanged { alive, .. } => Some(*alive),
            _ => None,
        });
        news.push(alive);
    }
    assert_eq!(news, [None, Some(true), None, Some(false)]);
}

/// Every check of the next ten seconds fails. The tasks that are killed for it, and do not die yet.
fn fail_all(rig: &mut Rig) -> Vec<TaskId> {
    rig.notices.clear();
    rig.pass(Duration::from_secs(10));
    for probe in std::mem::take(&mut rig.probes) {
        let outcome = ProbeOutcome::Failed { cause: "refused".into() };
        rig.feed(Event::Probed(ProbeResult { key: probe.key, outcome }));
    }
    rig.calls.clear();
    let killed = rig.notices.iter().filter_map(|it| match it {
        What::UnhealthyKilled { instance, .. } => instance.task.as_ref().map(|it| it.id.clone()),
        _ => None,
    });
    killed.collect()
}

#[test]
fn a_quarter_at_most_dies_of_its_health_at_a_time() {
    let mut rig = Rig::new();
    let kind = HealthKind::Tcp { by_engine: false, port: CheckPort::Index(0) };
    let spec = AppUpdate { health_checks: Some(vec![checked(kind)]), ..sleep(8) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    assert_eq!(fail_all(&mut rig).len(), 0);
    let first = fail_all(&mut rig);
    assert_eq!(first.len(), 2);
    assert_eq!(fail_all(&mut rig).len(), 0, "the first two are still dying");
    rig.tasks.remove(&first[0]);
    rig.say(&first[0], TaskState::Killed);
    let next = fail_all(&mut rig);
    assert!(next.len() == 1 && !first.contains(&next[0]), "{next:?}");
}

/// Found by seed 206988: those killed for their health before a restart were forgotten when a deployment had given
/// them up meanwhile, and what was to end anyway was killed once more for its health.
#[test]
fn a_restart_does_not_let_more_die_of_their_health() {
    let mut rig = Rig::new();
    let kind = HealthKind::Tcp { by_engine: false, port: CheckPort::Index(0) };
    let spec = AppUpdate { health_checks: Some(vec![checked(kind)]), ..sleep(4) };
    deployed(rig.put("/web", AppEdit::Create(spec)));
    rig.run();
    fail_all(&mut rig);
    let sick = fail_all(&mut rig);
    assert_eq!(sick.len(), 1);
    rig.say(&sick[0], TaskState::Killing);
    rig.keep = true;
    for instances in [0, 4] {
        let update = AppUpdate { instances: Some(instances), ..AppUpdate::default() };
        let edits = vec![(id("/web"), AppEdit::Merge(update))];
        deployed(rig.ask(Command::EditApps { edits, force: true, origin: None }));
    }
    rig.run();
    let of_goal = |rig: &Rig, goal: Goal| {
        let view = rig.view();
        let app = view.app(&id("/web")).expect("it is there");
        app.instances.values().filter(|it| it.goal == goal && it.condition.is_active()).count()
    };
    assert_eq!([Goal::Running, Goal::Decommissioned].map(|it| of_goal(&rig, it)), [4, 4]);
    rig.restore(policy());
    for _ in 0..3 {
        let killed = fail_all(&mut rig);
        assert_eq!(killed, [], "one is dying of it, and three are to end anyway");
    }
    rig.keep = false;
    rig.subscribe(false);
    assert_eq!([Goal::Running, Goal::Decommissioned].map(|it| of_goal(&rig, it)), [4, 0]);
    assert_eq!(fail_all(&mut rig).len(), 1, "now the next one may die");
}
