//! The store of a simulated server: what was committed, and nothing else, in the shape checks ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::callback::CallbackUrl;
use marathon_model::deployment::{Deployment, Failed};
use marathon_model::group::Group;
use marathon_model::id::{DeploymentId, FrameworkId, GroupId, InstanceId, SpecId, TaskId};
use marathon_model::instance::{Instance, TaskFailure};
use marathon_model::time::Timestamp;
use marathon_model::write::{Delay, Write};
use uuid::Uuid;

type Versions<T> = BTreeMap<Timestamp, Option<Arc<T>>>;

#[derive(Debug, Default)]
pub struct Store {
    pub apps: BTreeMap<SpecId, Versions<AppSpec>>,
    groups: BTreeMap<GroupId, Versions<Group>>,
    pub roots: BTreeSet<Timestamp>,
    pub instances: BTreeMap<SpecId, BTreeMap<Uuid, Arc<Instance>>>,
    pub deployments: BTreeMap<DeploymentId, Arc<Deployment>>,
    failed: BTreeMap<DeploymentId, Arc<Failed>>,
    failures: BTreeMap<SpecId, Arc<TaskFailure>>,
    delays: BTreeMap<SpecId, Delay>,
    pub framework: Option<FrameworkId>,
    began: Option<Timestamp>,
    callbacks: BTreeSet<CallbackUrl>,
    events_begin: Option<u64>,
}

impl Store {
    pub fn apply(&mut self, write: &Write) {
        match write.clone() {
            Write::App(spec) => {
                self.apps.entry(spec.id.clone()).or_default().insert(spec.version, Some(spec));
            }
            Write::AppRemoved { id, at } => drop(self.apps.entry(id).or_default().insert(at, None)),
            Write::AppVersionForgotten { id, version } => {
                if let Some(versions) = self.apps.get_mut(&id) {
                    versions.remove(&version);
                    if versions.is_empty() {
                        self.apps.remove(&id);
                    }
                }
            }
            Write::Group(group) => {
                self.groups.entry(group.id.clone()).or_default().insert(group.version, Some(group));
            }
            Write::GroupRemoved { id, at } => drop(self.groups.entry(id).or_default().insert(at, None)),
            Write::GroupVersionForgotten { id, version } => {
                if let Some(versions) = self.groups.get_mut(&id) {
                    versions.remove(&version);
                }
            }
            Write::Root { version } => drop(self.roots.insert(version)),
            Write::RootForgotten { version } => drop(self.roots.remove(&version)),
            Write::Instance(it) => {
                self.instances.entry(it.id.spec.clone()).or_default().insert(it.id.uuid, it);
            }
            Write::InstanceGone(id) => {
                if let Some(all) = self.instances.get_mut(&id.spec) {
                    all.remove(&id.uuid);
                }
            }
            Write::Deployment(it) => drop(self.deployments.insert(it.id, it)),
            Write::DeploymentGone(id) => drop(self.deployments.remove(&id)),
            Write::Progress(progress) => {
                if let Some(it) = self.deployments.get_mut(&progress.deployment) {
                    Arc::make_mut(it).resume(progress);
                }
            }
            Write::ProgressGone(_) => {}
            Write::Failed(it) => drop(self.failed.insert(it.deployment, it)),
            Write::FailedForgotten(id) => drop(self.failed.remove(&id)),
            Write::Failure(it) => drop(self.failures.insert(it.spec.clone(), it)),
            Write::FailureGone(id) => drop(self.failures.remove(&id)),
            Write::Delay { app, delay } => drop(self.delays.insert(app, delay)),
            Write::DelayGone(id) => drop(self.delays.remove(&id)),
            Write::Framework(id) => self.framework = Some(id),
            Write::Began(at) => self.began = Some(at),
            Write::Callback(url) => drop(self.callbacks.insert(url)),
            Write::CallbackGone(url) => drop(self.callbacks.remove(&url)),
            Write::EventsBegin(id) => self.events_begin = Some(id),
        }
    }

    /// Everything, in an order that has nothing to do with that of the commits.
    pub fn dump(&self) -> Vec<Write> {
        let mut all: Vec<Write> = self.instances().cloned().map(Write::Instance).collect();
        for (id, versions) in &self.apps {
            all.extend(versions.iter().rev().map(|(at, spec)| match spec {
                Some(spec) => Write::App(spec.clone()),
                None => Write::AppRemoved { id: id.clone(), at: *at },
            }));
        }
        for (id, versions) in &self.groups {
            all.extend(versions.iter().rev().map(|(at, group)| match group {
                Some(group) => Write::Group(group.clone()),
                None => Write::GroupRemoved { id: id.clone(), at: *at },
            }));
        }
        all.extend(self.roots.iter().rev().map(|version| Write::Root { version: *version }));
        // As a real store has it: the deployment as it began, and beside it how far it has come.
        all.extend(self.deployments.values().map(|it| Write::Progress(it.progress())));
        let begun = |it: &Arc<Deployment>| Deployment { current: 0, failures: 0, ..Deployment::clone(it) };
        all.extend(self.deployments.values().map(|it| Write::Deployment(Arc::new(begun(it)))));
        all.extend(self.failed.values().cloned().map(Write::Failed));
        all.extend(self.failures.values().cloned().map(Write::Failure));
        all.extend(self.delays.iter().map(|(app, delay)| Write::Delay { app: app.clone(), delay: *delay }));
        all.extend(self.framework.clone().map(Write::Framework));
        all.extend(self.began.map(Write::Began));
        all.extend(self.callbacks.iter().cloned().map(Write::Callback));
        all.extend(self.events_begin.map(Write::EventsBegin));
        all
    }

    pub fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values().flat_map(|it| it.values())
    }

    pub fn of_app(&self, id: &SpecId) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.get(id).into_iter().flat_map(|it| it.values())
    }

    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.instances.get(&id.spec)?.get(&id.uuid)
    }

    /// The instance whose present task this is.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Instance>> {
        self.instance(&id.instance).filter(|it| it.task.as_ref().is_some_and(|task| task.id == *id))
    }

    /// The present definition.
    pub fn spec(&self, id: &SpecId) -> Option<&Arc<AppSpec>> {
        self.apps.get(id)?.values().next_back()?.as_ref()
    }

    pub fn live_specs(&self) -> impl Iterator<Item = &Arc<AppSpec>> {
        self.apps.values().filter_map(|it| it.values().next_back()?.as_ref())
    }
}
