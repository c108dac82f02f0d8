//! Whole histories against a small, obedient cluster: what a user sees happen.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use marathon_core::{Core, Policy};
use marathon_model::act::{Act, Batch};
use marathon_model::app::*;
use marathon_model::command::{Command, Refusal, Reply, Victims};
use marathon_model::event::{Event, ProbeOutcome, ProbeResult};
use marathon_model::id::*;
use marathon_model::instance::Condition;
use marathon_model::offer::*;
use marathon_model::resources::*;
use marathon_model::time::*;
use marathon_model::update::*;
use marathon_model::view::View;
use marathon_model::write::Write;

/// One agent with plenty of everything; it does what it is told, when `run` is called.
struct Rig {
    core: Core,
    now: Now,
    store: Vec<Write>,
    /// Tasks that live, with the host ports they hold.
    tasks: BTreeMap<TaskId, Launch>,
    calls: Vec<Call>,
    replies: Vec<Reply>,
    events: Vec<String>,
    probes: Vec<marathon_model::act::Probe>,
    /// Tasks are started but nothing is said about it.
    mute: bool,
    offers: u32,
    cpus: u64,
}

fn id(text: &str) -> SpecId {
    PathId::parse(text).unwrap()
}

fn policy() -> Policy {
    Policy { min_revive_offers_interval: Duration::ZERO, max_instances_per_offer: None, ..Policy::default() }
}

fn sleep(instances: u32) -> AppUpdate {
    AppUpdate {
        cmd: Some("sleep 1000".to_owned()),
        instances: Some(instances),
        cpus: Some(Milli(100)),
        ..AppUpdate::default()
    }
}

impl Rig {
    fn new() -> Rig {
        Rig::with(policy())
    }

    fn with(policy: Policy) -> Rig {
        let now = Now { wall: Timestamp(1_700_000_000_000), tick: Tick(0) };
        let (core, batch) = Core::restore(Vec::new(), policy, 1, now);
        let mut rig = Rig {
            core,
            now,
            store: Vec::new(),
            tasks: BTreeMap::new(),
            calls: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            probes: Vec::new(),
            mute: false,
            offers: 0,
            cpus: 1000,
        };
        rig.take(batch);
        rig.subscribe(false);
        rig
    }

    fn subscribe(&mut self, again: bool) {
        let framework = FrameworkId::new("f");
        self.feed(Event::Engine(EngineEvent::Subscribed { framework, master: "m".to_owned(), again }));
        self.run();
    }

    fn feed(&mut self, event: Event) {
        let batch = self.core.step(event, self.now);
        self.take(batch);
        assert_eq!(self.core.audit(), Vec::<String>::new());
    }

    fn take(&mut self, batch: Batch) {
        self.store.extend(batch.writes);
        for act in batch.acts {
            match act {
                Act::Engine(call) => self.calls.push(call),
                Act::Reply(_, reply) => self.replies.push(reply),
                Act::Publish(notice) => self.events.push(notice.what.name().to_owned()),
                Act::Probe(probe) => self.probes.push(probe),
            }
        }
    }

    fn ask(&mut self, command: Command) -> Reply {
        self.feed(Event::Asked { from: RequestId(1), command });
        self.replies.pop().expect("every command is answered in its step")
    }

    fn put(&mut self, app: &str, edit: AppEdit) -> Reply {
        self.ask(Command::EditApps { edits: vec![(id(app), edit)], force: false, origin: None })
    }

    fn view(&self) -> std::sync::Arc<View> {
        self.core.view()
    }

    /// Carries out calls until nothing more happens.
    fn run(&mut self) {
        while !self.calls.is_empty() {
            for call in std::mem::take(&mut self.calls) {
                match call {
                    Call::Accept { launches, .. } => {
                        for launch in launches {
                            let task = launch.task.clone();
                            assert!(
                                self.tasks.insert(task.clone(), launch).is_none(),
                                "{task} launched twice"
                            );
                            if !self.mute {
                                self.say(&task, TaskState::Running);
                            }
                        }
                        self.offer();
                    }
                    Call::Kill { task, .. } => {
                        if self.tasks.remove(&task).is_some() {
                            self.say(&task, TaskState::Killed);
                        }
                    }
                    Call::Revive => self.offer(),
                    Call::Reconcile(tasks) => {
                        for (task, _) in tasks {
                            let state = if self.tasks.contains_key(&task) {
                                TaskState::Running
                            } else {
                                TaskState::Unknown
                            };
                            self.say(&task, state);
                        }
                    }
                    Call::Decline { .. } | Call::Suppress | Call::Acknowledge { .. } => {}
                }
            }
        }
    }

    fn say(&mut self, task: &TaskId, state: TaskState) {
        self.feed(Event::Engine(EngineEvent::Status(TaskStatus {
            task: task.clone(),
            state,
            agent: Some(AgentId::new("agent")),
            update: None,
            at: self.now.wall,
            message: format!("{state:?}"),
            reason: None,
            healthy: None,
            check: None,
            addresses: Vec::new(),
            unreachable_since: None,
        })));
    }

    fn offer(&mut self) {
        self.offers += 1;
        let used: u64 = self.tasks.values().map(|it| it.resources.cpus.0).sum();
        let any = |amount| Resource { role: ANY_ROLE.into(), amount };
        let offer = Offer {
            id: OfferId::new(self.offers.to_string()),
            agent: AgentId::new("agent"),
            hostname: "host".into(),
            role: ANY_ROLE.into(),
            resources: vec![
                any(Amount::Cpus(Milli(self.cpus * 1000 - used))),
                any(Amount::Mem(Milli::from_whole(1_000_000))),
                any(Amount::Ports(vec![PortRange { first: 31000, last: 39000 }])),
            ],
            attributes: Default::default(),
            region: None,
            zone: None,
            unavailability: None,
        };
        self.feed(Event::Engine(EngineEvent::Offers(vec![offer])));
    }

    fn end(&mut self, task: &TaskId, state: TaskState) {
        assert!(self.tasks.remove(task).is_some());
        self.say(task, state);
        self.run();
    }

    /// Lets time pass, waking the core when it asks for it.
    fn pass(&mut self, time: Duration) {
        let until = Tick(self.now.tick.0) + time;
        while let Some((at, _)) = self.core.next_wakeup().filter(|(at, _)| *at <= until) {
            self.set_clock(at);
            self.feed(Event::Woke);
            self.run();
        }
        self.set_clock(until);
    }

    fn set_clock(&mut self, tick: Tick) {
        let step = tick - self.now.tick;
        self.now = Now { wall: self.now.wall + step, tick: tick.max(self.now.tick) };
    }

    fn task_of(&self, app: &str) -> TaskId {
        self.tasks.keys().find(|it| it.instance.spec == id(app)).expect("a task of the app").clone()
    }

    fn count(&self, app: &str) -> usize {
        self.tasks.keys().filter(|it| it.instance.spec == id(app)).count()
    }

    fn restart(&mut self) {
        let saved = live(&self.store);
        let (core, batch) = Core::restore(saved, policy(), 99, self.now);
        self.core = core;
        self.calls.clear();
        self.take(batch);
        self.subscribe(false);
    }
}

/// The writes of which something is left, as a store would give them back.
fn live(store: &[Write]) -> Vec<Write> {
    let mut kept: BTreeMap<String, Write> = BTreeMap::new();
    for write in store {
        let (key, gone) = match write {
            Write::App(it) => (format!("app {} {:?}", it.id, it.version), false),
            Write::AppRemoved { id, at } => (format!("app {id} {at:?}"), false),
            Write::AppVersionForgotten { id, version } => (format!("app {id} {version:?}"), true),
            Write::Group(it) => (format!("group {} {:?}", it.id, it.version), false),
            Write::GroupRemoved { id, at } => (format!("group {id} {at:?}"), false),
            Write::GroupVersionForgotten { id, version } => (format!("group {id} {version:?}"), true),
            Write::Root { version } => (format!("root {version:?}"), false),
            Write::RootForgotten { version } => (format!("root {version:?}"), true),
            Write::Instance(it) => (format!("instance {}", it.id), false),
            Write::InstanceGone(id) => (format!("instance {id}"), true),
            Write::Deployment(it) => (format!("deployment {}", it.id), false),
            Write::DeploymentGone(id) => (format!("deployment {id}"), true),
            Write::Failure(it) => (format!("failure {}", it.spec), false),
            Write::FailureGone(id) => (format!("failure {id}"), true),
            Write::Delay { app, .. } => (format!("delay {app}"), false),
            Write::DelayGone(id) => (format!("delay {id}"), true),
            Write::Framework(_) => ("framework".to_owned(), false),
        };
        if gone {
            kept.remove(&key);
        } else {
            kept.insert(key, write.clone());
        }
    }
    kept.into_values().collect()
}

#[track_caller]
fn deployed(reply: Reply) -> DeploymentId {
    match reply {
        Reply::Deployed { deployment, .. } => deployment,
        other => panic!("not deployed: {other:?}"),
    }
}

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
    assert!(matches!(calls[..], [Call::Revive]), "{calls:?}");
    rig.offer();
    rig.calls.clear();
    rig.restart();
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.count("/web"), 1);
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
