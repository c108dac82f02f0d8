//! The scheduler ends at any moment and comes back with what the store holds.

use crate::rig::*;

#[test]
fn a_delay_survives_a_restart() {
    let mut rig = Rig::new();
    deployed(rig.put(
        "/web",
        AppEdit::Create(AppUpdate { backoff_initial: Some(Duration::from_secs(60)), ..sleep(1) }),
    ));
    rig.run();
    let task = rig.task_of("/web");
    rig.end(&task, TaskState::Failed);
    rig.pass(Duration::from_secs(20));
    rig.restart();
    rig.pass(Duration::from_secs(39));
    assert_eq!(rig.count("/web"), 0);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.count("/web"), 1);
}

#[test]
fn a_restart_adopts_what_runs_and_resumes_what_was_under_way() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(3))));
    rig.run();
    let before: Vec<TaskId> = rig.tasks.keys().cloned().collect();
    rig.restart();
    assert_eq!(rig.tasks.keys().cloned().collect::<Vec<_>>(), before);
    // A deployment in the middle goes on.
    rig.mute = true;
    deployed(
        rig.put("/web", AppEdit::Merge(AppUpdate { cmd: Some("x".to_owned()), ..AppUpdate::default() })),
    );
    rig.run();
    rig.mute = false;
    rig.restart();
    rig.pass(Duration::from_secs(400));
    assert_eq!((rig.count("/web"), rig.view().deployments.len()), (3, 0));
    assert!(before.iter().all(|it| !rig.tasks.contains_key(it)));
}

#[test]
fn a_launch_that_never_arrived_is_made_up_for() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    // The core has offers accepted and is killed before the call leaves.
    let calls = std::mem::take(&mut rig.calls);
    assert!(matches!(calls[..], [Call::Revive(_)]), "{calls:?}");
    rig.offer();
    rig.calls.clear();
    rig.restart();
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.count("/web"), 1);
}

#[test]
fn the_store_alone_gives_the_state_back() {
    let mut rig = Rig::new();
    deployed(rig.put("/a/b", AppEdit::Create(sleep(2))));
    rig.run();
    rig.mute = true;
    deployed(rig.put("/a/b", AppEdit::Restart));
    rig.run();
    let before = rig.view();
    let (core, _) = Core::restore(live(&rig.store), policy(), 5, rig.now);
    let after = core.view();
    assert_eq!(before.groups, after.groups);
    assert_eq!(before.deployments, after.deployments);
    assert_eq!((before.root_version, &before.root_versions), (after.root_version, &after.root_versions));
    for (id, app) in &before.apps {
        let other = &after.apps[id];
        assert_eq!(
            (&app.spec, &app.history, &app.instances, app.tally),
            (&other.spec, &other.history, &other.instances, other.tally)
        );
    }
}

#[test]
fn a_kill_that_was_under_way_is_watched_again() {
    let mut rig = Rig::new();
    deployed(rig.put("/web", AppEdit::Create(sleep(1))));
    rig.run();
    let task = rig.task_of("/web");
    rig.say(&task, TaskState::Killing);
    rig.restart();
    // The engine goes on saying that it is dying, and nothing more comes of it.
    assert_eq!(rig.condition(&task), Some(Condition::Killing));
    rig.pass(Duration::from_secs(31));
    assert!(!rig.tasks.contains_key(&task), "killed once more");
}
