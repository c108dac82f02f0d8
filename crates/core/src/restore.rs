//! From the store's content back to a core.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::act::Batch;
use marathon_model::app::AppSpec;
use marathon_model::callback::Subscriber;
use marathon_model::group::Group;
use marathon_model::id::{GroupId, SpecId};
use marathon_model::instance::{Condition, Instance};
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::write::Write;

use crate::Core;
use crate::policy::Policy;
use crate::timers::Timer;
use crate::world::World;

impl Core {
    /// `saved`: everything in the store, in any order. The batch holds what follows at once.
    pub fn restore(saved: Vec<Write>, policy: Policy, seed: u64, now: Now) -> (Core, Batch) {
        let mut core = Core::empty(policy, seed, now);
        load(&mut core.world, saved);
        core.subscribe_configured();
        if !core.world.view.groups.contains_key(&GroupId::root()) {
            let version = core.world.now.wall;
            core.world.put_group(Group {
                id: GroupId::root(),
                dependencies: Vec::new(),
                enforce_role: false,
                version,
            });
            core.put_root(version);
            core.world.view.began = version;
            core.world.write(Write::Began(version));
        }
        core.resume();
        let batch = core.finish();
        (core, batch)
    }

    /// Sets the timers that the store does not hold and looks at every app once.
    fn resume(&mut self) {
        self.watch_deadlines();
        let ids: Vec<SpecId> = self.world.view.apps.keys().cloned().collect();
        let now = self.world.now;
        let mut checks: Vec<(Timer, Tick)> = Vec::new();
        for id in ids {
            let Some(app) = self.world.app(&id).cloned() else { continue };
            if let Some(delay) = app.delay {
                // A wall clock that was set back must not make a delay longer than it is.
                let left = crate::backoff::ends(&delay) - now.wall;
                self.world.hold(&id);
                self.world.timers.set(Timer::Delay(id.clone()), now.tick + left.min(delay.current));
            }
            if app.spec.is_none()
                && !app.instances.is_empty()
                && app.instances.values().all(|it| it.is_condemned())
            {
                self.world.terminated.insert(id.clone());
            }
            for it in app.instances.values() {
                if it.reservation.as_ref().is_some_and(|it| it.is_new()) {
                    self.watch_reservation(&it.id);
                }
                match it.condition {
                    Condition::Provisioned => {
                        let at = now.tick + self.policy.task_launch_confirm_timeout;
                        self.world.timers.set(Timer::Launch(it.id.clone()), at);
                    }
                    Condition::Staging | Condition::Starting => {
                        let at = now.tick + self.policy.task_launch_timeout;
                        self.world.timers.set(Timer::Launch(it.id.clone()), at);
                    }
                    Condition::Unreachable | Condition::UnreachableInactive => self.set_unreachable_timer(it),
                    Condition::Running => checks.extend(self.resume_checks(it, &app)),
                    Condition::Killing => {
                        // Why it was killed is not stored. Too many that count only make the next one wait.
                        if it.healthy() == Some(false) {
                            self.world.begin_health_kill(&it.id);
                        }
                        let at = now.tick + self.policy.kill_retry_timeout;
                        self.world.timers.set(Timer::Kill(it.id.clone()), at);
                    }
                    _ => {}
                }
            }
            self.world.touch(&id);
        }
        self.world.timers.set_all(checks);
    }
}

type Versions<T> = BTreeMap<Timestamp, Option<Arc<T>>>;

fn load(world: &mut World, saved: Vec<Write>) {
    let mut apps: BTreeMap<SpecId, Versions<AppSpec>> = BTreeMap::new();
    let mut groups: BTreeMap<GroupId, Versions<Group>> = BTreeMap::new();
    let mut roots: Vec<Timestamp> = Vec::new();
    let mut rest = Vec::new();
    for write in saved {
        match write {
            Write::App(spec) => {
                drop(apps.entry(spec.id.clone()).or_default().insert(spec.version, Some(spec)))
            }
            Write::AppRemoved { id, at } => drop(apps.entry(id).or_default().insert(at, None)),
            Write::Group(group) => {
                groups.entry(group.id.clone()).or_default().insert(group.version, Some(group));
            }
            Write::GroupRemoved { id, at } => drop(groups.entry(id).or_default().insert(at, None)),
            Write::Root { version } => roots.push(version),
            other => rest.push(other),
        }
    }
    for (id, versions) in apps {
        let app = world.app_mut(&id);
        app.spec = versions.values().next_back().cloned().flatten();
        let buried = match &app.spec {
            None => versions.keys().next_back().copied(),
            Some(_) => None,
        };
        app.history = versions.into_iter().collect();
        if let Some(at) = buried {
            world.graveyard.insert((at, id.clone()));
        }
        world.count_ports(&id, true);
    }
    for (id, versions) in groups {
        match versions.last_key_value() {
            Some((_, Some(group))) => drop(world.view.groups.insert(id.clone(), group.clone())),
            Some((at, None)) => drop(world.group_graveyard.insert((*at, id.clone()))),
            None => {}
        }
        world.view.group_history.insert(id, versions.into_iter().collect());
    }
    roots.sort_unstable();
    world.view.root_version = roots.last().copied().unwrap_or_default();
    world.view.root_versions = roots.into_iter().collect();
    let (mut deployments, mut progress, mut failed) = (Vec::new(), BTreeMap::new(), Vec::new());
    // Those of one app mostly come one after the other, and the app is then looked up once.
    let mut together: Vec<Arc<Instance>> = Vec::new();
    for write in rest {
        match write {
            Write::Instance(instance) => {
                if together.last().is_some_and(|it| it.id.spec != instance.id.spec) {
                    load_instances(world, &mut together);
                }
                together.push(instance);
            }
            Write::Deployment(deployment) => deployments.push(deployment),
            Write::Progress(it) => drop(progress.insert(it.deployment, it)),
            Write::Failed(it) => failed.push(it),
            Write::Failure(failure) => world.app_mut(&failure.spec).failure = Some(failure.clone()),
            Write::Delay { app, delay } => world.app_mut(&app).delay = Some(delay),
            Write::Began(at) => world.view.began = at,
            Write::Framework(framework) => world.view.framework = Some(framework),
            Write::Callback(url) => drop(world.view.callbacks.insert(url, Subscriber::Asked)),
            Write::EventsBegin(id) => world.view.events_begin = id,
            // Removals leave nothing behind to load.
            _ => {}
        }
    }
    load_instances(world, &mut together);
    for mut deployment in deployments {
        if let Some(progress) = progress.remove(&deployment.id) {
            Arc::make_mut(&mut deployment).resume(progress);
        }
        world.take_up_deployment(deployment);
    }
    failed.sort_by_key(|it| (it.at, it.deployment));
    world.view.failed = failed.into_iter().collect();
    let ids: Vec<SpecId> = world
        .view
        .apps
        .iter()
        .filter(|(_, it)| it.spec.is_some() || !it.instances.is_empty())
        .map(|it| it.0.clone())
        .collect();
    for id in ids {
        world.reindex(&id);
    }
}

/// Of one app, all of them.
fn load_instances(world: &mut World, together: &mut Vec<Arc<Instance>>) {
    let Some(id) = together.first().map(|it| it.id.spec.clone()) else { return };
    world.app_mut(&id).instances.extend(together.drain(..).map(|it| (it.id.uuid, it)));
}
