//! The state of the core: the view that readers see, and indexes over it that only the core needs.
//!
//! Instances change in one place, `put_instance`. It keeps tallies and indexes in step, records the write
//! and announces the change, so no caller can forget one of these.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::act::{Act, Batch};
use marathon_model::app::AppSpec;
use marathon_model::deployment::{Deployment, Progress};
use marathon_model::group::Group;
use marathon_model::id::{DeploymentId, GroupId, InstanceId, PathId, SpecId};
use marathon_model::instance::{Condition, Instance};
use marathon_model::notice::{Notice, What};
use marathon_model::offer::Call;
use marathon_model::time::{Now, Timestamp};
use marathon_model::view::{App, Tally, View};
use marathon_model::write::Write;
use uuid::Uuid;

use crate::agents::Agents;
use crate::constraint::{Places, Rules};
use crate::guard::Itinerary;
use crate::index::{Index, add, subtract, tally};
use crate::queue::{Note, Slots};
use crate::timers::{Timer, Timers};

#[derive(Debug, Default)]
pub struct World {
    pub view: View,
    pub index: BTreeMap<SpecId, Index>,
    /// By app, the constraints of the version that was last to be placed.
    pub rules: BTreeMap<SpecId, (Timestamp, Arc<Rules>)>,
    /// Apps with instances to place, delayed or not.
    pub queue: BTreeSet<SpecId>,
    /// Those of them that may launch now: `queue` without `held`.
    pub launchable: BTreeSet<SpecId>,
    /// Apps to look at before the step ends.
    pub dirty: BTreeSet<SpecId>,
    /// How many live apps hold each service port.
    pub service_ports: BTreeMap<u16, u32>,
    /// Removed apps, by the time of their removal, until no kept version of the tree knows them.
    pub graveyard: BTreeSet<(Timestamp, SpecId)>,
    /// The same of removed groups.
    pub group_graveyard: BTreeSet<(Timestamp, GroupId)>,
    pub timers: Timers,
    pub agents: Agents,
    pub unused: BTreeMap<SpecId, Slots>,
    /// What became of offers, not written to their apps yet.
    pub notes: Vec<Note>,
    /// Apps whose backoff delay is running.
    pub held: BTreeSet<SpecId>,
    /// Instances that are dying of their health, by app: how many at a time is limited.
    pub health_kills: BTreeMap<SpecId, BTreeSet<Uuid>>,
    /// Where the running deployments do something with each app.
    pub itineraries: BTreeMap<DeploymentId, Itinerary>,
    /// Deployments whose guard is broken, with the reason; they end with the step that is being taken.
    pub broken: Vec<(DeploymentId, String)>,
    /// Apps with something on an agent that is to be removed.
    pub condemned: BTreeSet<SpecId>,
    /// Removed apps of which no more than that is left.
    pub terminated: BTreeSet<SpecId>,
    /// For each deployment, an action of its present step (by number) that was not done when last looked at.
    /// A hint of where to look first; nothing depends on it.
    pub holdups: BTreeMap<DeploymentId, usize>,
    /// More instances want to be placed than when the engine was last told.
    pub demand_grew: bool,
    /// Something that readers see has changed in this step.
    pub changed: bool,
    pub connected: bool,
    pub now: Now,
    pub out: Batch,
}

impl World {
    pub fn write(&mut self, write: Write) {
        self.out.writes.push(write);
    }

    pub fn publish(&mut self, what: What) {
        self.out.acts.push(Act::Publish(Notice { at: self.now.wall, what }));
    }

    /// Calls to an engine that is not there would be lost; subscribing starts over with a reconciliation.
    pub fn call(&mut self, call: Call) {
        if self.connected {
            self.out.acts.push(Act::Engine(call));
        }
    }

    pub fn app(&self, id: &SpecId) -> Option<&Arc<App>> {
        self.view.apps.get(id)
    }

    pub fn spec(&self, id: &SpecId) -> Option<&Arc<AppSpec>> {
        self.view.apps.get(id)?.spec.as_ref()
    }

    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.view.instance(id)
    }

    /// What holds a place where, of the instances of one configuration.
    pub fn places(&self, id: &SpecId, config: Timestamp) -> Cow<'_, Places> {
        match self.index.get(id).and_then(|it| it.places.get(&config)) {
            Some(places) => Cow::Borrowed(places),
            None => Cow::Owned(Places::new()),
        }
    }

    pub fn touch(&mut self, id: &SpecId) {
        self.dirty.insert(id.clone());
    }

    /// Keeps an app from launching until `release`.
    pub fn hold(&mut self, id: &SpecId) {
        self.held.insert(id.clone());
        self.launchable.remove(id);
    }

    /// Lets a held app launch again; says whether it was held.
    pub fn release(&mut self, id: &SpecId) -> bool {
        let held = self.held.remove(id);
        if held && self.queue.contains(id) {
            self.launchable.insert(id.clone());
            self.demand_grew = true;
        }
        held
    }

    /// Changes an app in place; it is created empty if unknown.
    pub fn app_mut(&mut self, id: &SpecId) -> &mut App {
        if !self.view.apps.contains_key(id) {
            self.view.apps.insert(id.clone(), Arc::new(empty_app(id.clone())));
        }
        self.changed = true;
        let revision = self.view.revision + 1;
        let app = Arc::make_mut(self.view.apps.get_mut(id).expect("inserted above when it was missing"));
        app.revision = revision;
        app
    }

    /// Makes `spec` the present definition of its app, as a new version.
    pub fn put_spec(&mut self, spec: Arc<AppSpec>) {
        self.count_ports(&spec.id, false);
        let app = self.app_mut(&spec.id);
        if app.history.last().is_some_and(|(_, last)| last.is_none()) {
            let buried = app.history.last().map(|(at, _)| *at);
            self.graveyard.remove(&(buried.unwrap_or_default(), spec.id.clone()));
        }
        let app = self.app_mut(&spec.id);
        app.history.push_back((spec.version, Some(spec.clone())));
        app.spec = Some(spec.clone());
        self.terminated.remove(&spec.id);
        let app = self.app_mut(&spec.id);
        if app.delay.is_some_and(|it| it.config != spec.config) {
            app.delay = None;
            self.release(&spec.id);
            self.timers.clear(&Timer::Delay(spec.id.clone()));
            self.write(Write::DelayGone(spec.id.clone()));
        }
        self.write(Write::App(spec.clone()));
        self.count_ports(&spec.id, true);
        self.reindex(&spec.id);
        self.touch(&spec.id);
    }

    /// Removes an app; its versions stay for roll backs of the tree.
    pub fn remove_spec(&mut self, id: &SpecId, at: Timestamp) {
        self.count_ports(id, false);
        let app = self.app_mut(id);
        app.spec = None;
        app.history.push_back((at, None));
        self.graveyard.insert((at, id.clone()));
        self.write(Write::AppRemoved { id: id.clone(), at });
        self.reindex(id);
        self.touch(id);
    }

    pub fn count_ports(&mut self, id: &SpecId, add: bool) {
        let ports = self.spec(id).map(|it| it.service_ports()).unwrap_or_default();
        for port in ports.into_iter().filter(|&it| it != 0) {
            let count = self.service_ports.entry(port).or_default();
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.service_ports.remove(&port);
            }
        }
    }

    pub fn put_group(&mut self, group: Group) {
        let group = Arc::new(group);
        let history = self.view.group_history.entry(group.id.clone()).or_default();
        if let Some((at, None)) = history.last() {
            self.group_graveyard.remove(&(*at, group.id.clone()));
        }
        history.push_back((group.version, Some(group.clone())));
        self.view.groups.insert(group.id.clone(), group.clone());
        self.write(Write::Group(group));
    }

    pub fn remove_group(&mut self, id: &GroupId, at: Timestamp) {
        if self.view.groups.remove(id).is_some() {
            self.view.group_history.entry(id.clone()).or_default().push_back((at, None));
            self.group_graveyard.insert((at, id.clone()));
            self.write(Write::GroupRemoved { id: id.clone(), at });
        }
    }

    /// Stores an instance and everything that follows from it.
    pub fn put_instance(&mut self, instance: Instance) {
        self.change_instance(instance, true);
    }

    /// Changes an instance in memory only: counters and times between two changes of health.
    pub fn put_instance_volatile(&mut self, instance: Instance) {
        self.change_instance(instance, false);
    }

    fn change_instance(&mut self, instance: Instance, durable: bool) {
        let id = instance.id.clone();
        let instance = Arc::new(instance);
        let (config, version) =
            self.spec(&id.spec).map_or((None, None), |it| (Some(it.config), Some(it.version)));
        let app = self.app_mut(&id.spec);
        let before = app.instances.insert(id.uuid, instance.clone());
        if let Some(before) = &before {
            subtract(&mut app.tally, before, config);
        }
        add(&mut app.tally, &instance, config);
        if instance.is_over() {
            app.readiness.remove(&id.uuid);
        }
        if !matches!(instance.condition, Condition::Running | Condition::Killing) {
            self.end_health_kill(&id);
        }
        let announced =
            before.as_ref().is_none_or(|it| it.condition != instance.condition || it.goal != instance.goal);
        let index = self.index.entry(id.spec.clone()).or_default();
        let waited = index.waiting.len();
        index.update(&instance, config, version);
        if let Some(app) = self.view.apps.get(&id.spec) {
            index.replace(app, before.as_deref(), Some(&instance));
        }
        let waits = index.waiting.len();
        self.demand_grew |= waited < waits;
        let condemned = !index.condemned.is_empty();
        self.set_queued(&id.spec, waits > 0);
        self.set_condemned(&id.spec, condemned);
        if durable {
            self.write(Write::Instance(instance.clone()));
            if announced {
                self.publish(What::InstanceChanged { instance });
            }
        }
        self.touch(&id.spec);
    }

    /// Forgets an instance of which nothing is left (or nothing is known any more).
    pub fn drop_instance(&mut self, id: &InstanceId) {
        let config = self.spec(&id.spec).map(|it| it.config);
        let app = self.app_mut(&id.spec);
        let Some(before) = app.instances.remove(&id.uuid) else { return };
        subtract(&mut app.tally, &before, config);
        app.readiness.remove(&id.uuid);
        if let Some(index) = self.index.get_mut(&id.spec) {
            index.forget(&id.uuid);
            if let Some(app) = self.view.apps.get(&id.spec) {
                index.replace(app, Some(&before), None);
            }
            let (waits, condemned) = (!index.waiting.is_empty(), !index.condemned.is_empty());
            self.set_queued(&id.spec, waits);
            self.set_condemned(&id.spec, condemned);
        }
        self.end_health_kill(id);
        if let Some(task) = &before.task {
            crate::agents::forget_task(self, &task.id);
        }
        self.timers.forget(id, before.health.len());
        self.write(Write::InstanceGone(id.clone()));
        self.inter(&id.spec);
        self.touch(&id.spec);
    }

    /// A removed app of which nothing is left waits in the graveyard until no version of the tree knows it.
    fn inter(&mut self, id: &SpecId) {
        if let Some(app) = self.view.apps.get(id).filter(|it| is_dead(it))
            && let Some((at, None)) = app.history.last()
        {
            self.graveyard.insert((*at, id.clone()));
        }
    }

    /// How many instances of an app are dying of their health.
    pub fn dying_of_health(&self, id: &SpecId) -> usize {
        self.health_kills.get(id).map_or(0, BTreeSet::len)
    }

    pub fn begin_health_kill(&mut self, id: &InstanceId) {
        self.health_kills.entry(id.spec.clone()).or_default().insert(id.uuid);
    }

    /// It has died, or nothing can be said about it.
    fn end_health_kill(&mut self, id: &InstanceId) {
        if let Some(dying) = self.health_kills.get_mut(&id.spec)
            && dying.remove(&id.uuid)
            && dying.is_empty()
        {
            self.health_kills.remove(&id.spec);
        }
    }

    /// What is to be removed has to be offered first, so it makes demand for offers.
    fn set_condemned(&mut self, id: &SpecId, condemned: bool) {
        if !condemned {
            self.condemned.remove(id);
        } else if self.condemned.insert(id.clone()) {
            self.demand_grew = true;
        }
    }

    fn set_queued(&mut self, id: &SpecId, waits: bool) {
        if waits {
            if !self.queue.contains(id) {
                self.queue.insert(id.clone());
                if !self.held.contains(id) {
                    self.launchable.insert(id.clone());
                }
                crate::queue::enter(self, id);
            }
        } else if self.queue.remove(id) {
            self.launchable.remove(id);
            crate::queue::leave(self, id);
        }
    }

    /// Counts an app afresh, after its definition changed.
    pub fn reindex(&mut self, id: &SpecId) {
        let Some(app) = self.view.apps.get(id) else { return };
        let tally = tally(app.instances.values(), app.spec.as_ref().map(|it| it.config));
        let index = crate::index::index(app);
        let (waits, condemned) = (!index.waiting.is_empty(), !index.condemned.is_empty());
        self.index.insert(id.clone(), index);
        self.app_mut(id).tally = tally;
        self.set_queued(id, waits);
        self.set_condemned(id, condemned);
    }

    pub fn put_deployment(&mut self, deployment: Deployment) {
        let deployment = Arc::new(deployment);
        self.write(Write::Deployment(deployment.clone()));
        self.take_up_deployment(deployment);
    }

    /// Lets the apps of a deployment know of it.
    pub fn take_up_deployment(&mut self, deployment: Arc<Deployment>) {
        let itinerary = Itinerary::of(&deployment);
        for id in itinerary.apps() {
            self.app_mut(id).deployments.push(deployment.id);
            self.dirty.insert(id.clone());
        }
        self.itineraries.insert(deployment.id, itinerary);
        self.view.deployments.insert(deployment.id, deployment);
    }

    /// Stores how far a deployment has come, without the whole of it. Apps for which that means nothing new
    /// are left alone: a chain of ten thousand dependencies has as many steps.
    pub fn move_deployment(&mut self, next: Deployment) {
        let next = Arc::new(next);
        if let Some(step) = next.step() {
            self.dirty.extend(step.actions.iter().map(|it| it.app.clone()));
        }
        self.holdups.remove(&next.id);
        self.write(Write::Progress(next.progress()));
        self.view.deployments.insert(next.id, next);
        self.changed = true;
    }

    /// Counts failures of a deployment. Nothing is decided about its apps by that, so none is looked at: there may be
    /// ten thousand of them, and as many failures.
    pub fn note_failures(&mut self, next: Deployment) {
        self.write(Write::Progress(next.progress()));
        self.view.deployments.insert(next.id, Arc::new(next));
        self.changed = true;
    }

    pub fn drop_deployment(&mut self, id: DeploymentId) -> Option<Arc<Deployment>> {
        let deployment = self.view.deployments.remove(&id)?;
        self.holdups.remove(&id);
        self.timers.clear(&Timer::Deadline(id));
        for app in self.itineraries.remove(&id).unwrap_or_default().into_apps() {
            let entry = self.app_mut(&app);
            entry.deployments.retain(|it| *it != id);
            entry.readiness.clear();
            self.inter(&app);
            self.dirty.insert(app);
        }
        self.write(Write::DeploymentGone(id));
        if deployment.progress() != (Progress { deployment: id, current: 0, failures: 0 }) {
            self.write(Write::ProgressGone(id));
        }
        Some(deployment)
    }

    /// All live apps below a group, at any depth.
    pub fn apps_below<'a>(
        &'a self,
        group: &PathId,
    ) -> impl Iterator<Item = (&'a SpecId, &'a Arc<AppSpec>)> + use<'a> {
        below(&self.view.apps, group).filter_map(|(id, app)| Some((id, app.spec.as_ref()?)))
    }

    pub fn groups_below<'a>(&'a self, group: &PathId) -> impl Iterator<Item = &'a Arc<Group>> + use<'a> {
        below(&self.view.groups, group).map(|(_, it)| it)
    }
}

/// The entries of a map keyed by path that lie below a group. Siblings that sort between (`/a-b` lies
/// between `/a` and `/a/b`) are skipped.
fn below<'a, V: Clone>(
    map: &'a imbl::OrdMap<PathId, V>,
    group: &PathId,
) -> impl Iterator<Item = (&'a PathId, &'a V)> + use<'a, V> {
    let (first, group) = (group.clone(), group.clone());
    let within = group.clone();
    map.range(first..)
        .take_while(move |(id, _)| id.as_str().starts_with(within.as_str()))
        .filter(move |(id, _)| id.is_below(&group))
}

pub fn empty_app(id: SpecId) -> App {
    App {
        id,
        spec: None,
        history: imbl::Vector::new(),
        instances: imbl::OrdMap::new(),
        tally: Tally::default(),
        failure: None,
        delay: None,
        deployments: Vec::new(),
        waiting: None,
        readiness: imbl::OrdMap::new(),
        revision: 0,
    }
}

/// Removed, and nothing of it is left but its versions. A deployment that removed it may still be busy with other apps,
/// and holds the name until it ends.
pub fn is_dead(app: &App) -> bool {
    app.spec.is_none() && app.instances.is_empty() && app.deployments.is_empty()
}
