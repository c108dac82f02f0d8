//! What users may rely on when they change something, whatever else is going on: only what they named is
//! touched, a rollback keeps what it returns to, nothing lives on that nobody wants, and our own checks and
//! delays stay within their limits.
//!
//! Each rule answers a bug of the original; docs/simulation.md tells which.

use std::collections::{BTreeMap, BTreeSet};

use marathon_model::act::{Act, Batch};
use marathon_model::app::Change;
use marathon_model::command::{Command, Reply, Victims};
use marathon_model::deployment::ActionKind;
use marathon_model::id::{DeploymentId, PathId, SpecId, TaskId};
use marathon_model::instance::{Condition, Goal};
use marathon_model::notice::What;
use marathon_model::offer::{Call, TaskState};
use marathon_model::time::Timestamp;
use marathon_model::update::AppEdit;
use marathon_model::write::Write;

use crate::check::{self, Cause, Found, ensure};
use crate::store::Store;

/// Of an app at most this share, and at least one, may be dying of health checks: see docs/deployments.md.
const UNHEALTHY_KILLS_SHARE: f64 = 0.25;

/// The configuration that each app returns to.
type Returns = BTreeMap<SpecId, Timestamp>;

#[derive(Debug, Default)]
pub struct Promises {
    /// By app under a rollback: the deployment, and the configuration to be kept.
    rollbacks: BTreeMap<SpecId, (DeploymentId, Timestamp)>,
    /// Tasks killed for their health that have not ended.
    dying: BTreeMap<SpecId, BTreeSet<TaskId>>,
}

/// Looks at a step before its writes are applied: what it may touch, and what it must do.
pub fn before(store: &Store, batch: &Batch, cause: &Cause) -> Result<Returns, (&'static str, String)> {
    match cause {
        Cause::Asked(command) => {
            only_named(batch, &named(store, command))?;
            return Ok(returns(store, command));
        }
        Cause::Status { task, state } => {
            only_by_itself(store, batch)?;
            unwanted_is_killed(store, batch, task, *state)?;
        }
        Cause::Other => only_by_itself(store, batch)?,
    }
    Ok(Returns::new())
}

/// A deployment may give up by itself: then it ends here, and what it changed may change back.
fn only_by_itself(store: &Store, batch: &Batch) -> Found {
    let gone = |it: &Write| if let Write::DeploymentGone(id) = it { Some(*id) } else { None };
    let gone: Vec<DeploymentId> = batch.writes.iter().filter_map(gone).collect();
    let of = gone.iter().filter_map(|it| store.deployments.get(it));
    let changed: BTreeSet<&SpecId> = of.flat_map(|it| it.changes.iter().map(|it| &it.id)).collect();
    only_named(batch, &|id| changed.contains(id))
}

type Named<'a> = Box<dyn Fn(&SpecId) -> bool + 'a>;

/// Whether a command is about an app.
fn named<'a>(store: &'a Store, command: &'a Command) -> Named<'a> {
    let group = |group: &'a PathId| -> Named<'a> { Box::new(move |it| it.is_below(group) || it == group) };
    match command {
        Command::EditApps { edits, .. } => Box::new(|id| edits.iter().any(|it| it.0 == *id)),
        Command::EditPod { id, .. } => Box::new(move |it| it == id),
        Command::EditGroup { group: id, update, .. } => group(update.id.as_ref().unwrap_or(id)),
        Command::DeleteGroup { group: id, .. } => group(id),
        Command::EnforceRole { .. }
        | Command::ResetDelay { .. }
        | Command::Subscribe { .. }
        | Command::Unsubscribe { .. } => Box::new(|_| false),
        Command::Kill { victims, scale, .. } => match victims {
            _ if !scale => Box::new(|_| false),
            Victims::OfApp { app, .. } | Victims::One { app, .. } => Box::new(move |it| it == app),
            Victims::Tasks(tasks) => Box::new(|id| tasks.iter().any(|it| it.instance.spec == *id)),
            Victims::Instances { pod, .. } => Box::new(move |it| it == pod),
        },
        Command::CancelDeployment { id, .. } => {
            let changes = store.deployments.get(id).map(|it| &*it.changes).unwrap_or_default();
            Box::new(|id| changes.iter().any(|it| it.id == *id))
        }
        Command::Guarded { command, .. } => named(store, command),
    }
}

fn only_named(batch: &Batch, may: &dyn Fn(&SpecId) -> bool) -> Found {
    for write in &batch.writes {
        if let Write::App(spec) = write {
            ensure!(may(&spec.id), "only what was named is changed", "{} was not", spec.id);
        } else if let Write::AppRemoved { id, .. } = write {
            ensure!(may(id), "only what was named is changed", "{id} was not, and is removed");
        }
    }
    for act in &batch.acts {
        if let Act::Publish(notice) = act
            && let What::DeploymentFailed { plan, .. } = &notice.what
        {
            let concerned = plan.affected().into_iter().any(may) || plan.changes.iter().any(|it| may(&it.id));
            ensure!(concerned, "only what was named is changed", "deployment {} was not", plan.id);
        }
    }
    Ok(())
}

/// A task runs that is not known, or was given up: it must be told to end, then and there.
fn unwanted_is_killed(store: &Store, batch: &Batch, task: &TaskId, state: TaskState) -> Found {
    let alive = matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Running);
    if !alive || task.container.is_some() {
        return Ok(());
    }
    let unwanted = match store.task(task) {
        None => true,
        Some(it) => it.goal != Goal::Running && it.condition.is_unreachable(),
    };
    let kill = |it: &Act| matches!(it, Act::Engine(Call::Kill { task: of, .. }) if of == task);
    let killed = batch.acts.iter().any(kill);
    ensure!(!unwanted || killed, "what nobody wants is killed", "{task} is {state:?}");
    Ok(())
}

/// The configurations a command returns to, where that differs from what there is.
fn returns(store: &Store, command: &Command) -> Returns {
    let back_to = |id: &SpecId, version: Timestamp| {
        let old = store.apps.get(id)?.range(..=version).next_back()?.1.as_ref()?;
        let differs = store.spec(id).is_some_and(|now| now.change_to(old) == Change::Replace);
        differs.then(|| (id.clone(), old.config))
    };
    match command {
        Command::CancelDeployment { id, force: false } => {
            let changes = store.deployments.get(id).map(|it| &*it.changes).unwrap_or_default();
            changes.iter().filter_map(|it| Some((it.id.clone(), it.before.as_ref()?.config))).collect()
        }
        Command::EditApps { edits, .. } => match edits.as_slice() {
            [(id, AppEdit::Merge(update) | AppEdit::Patch(update))] => {
                update.version.and_then(|version| back_to(id, version)).into_iter().collect()
            }
            _ => Returns::new(),
        },
        Command::EditGroup { group, update, .. } => {
            let group = update.id.as_ref().unwrap_or(group);
            let below = store.apps.keys().filter(|it| it.is_below(group));
            let version = update.version;
            below.filter_map(|id| back_to(id, version?)).collect()
        }
        Command::Guarded { command, .. } => returns(store, command),
        _ => Returns::new(),
    }
}

impl Promises {
    /// Takes note of what a step began and ended.
    pub fn after(&mut self, store: &Store, batch: &Batch, returns: Returns) -> Found {
        for write in &batch.writes {
            match write {
                Write::DeploymentGone(id) => self.rollbacks.retain(|_, it| it.0 != *id),
                Write::Deployment(it) if it.current == 0 => {
                    for change in it.changes.iter() {
                        if let Some(config) = returns.get(&change.id) {
                            self.rollbacks.insert(change.id.clone(), (it.id, *config));
                        }
                    }
                }
                Write::Instance(it) if !matches!(it.condition, Condition::Running | Condition::Killing) => {
                    if let (Some(dying), Some(task)) = (self.dying.get_mut(it.spec()), &it.task) {
                        dying.remove(&task.id);
                    }
                }
                Write::InstanceGone(id) => {
                    if let Some(dying) = self.dying.get_mut(&id.spec) {
                        dying.retain(|it| it.instance != *id);
                    }
                }
                Write::Delay { app, delay } => {
                    let limit =
                        store.spec(app).filter(|it| it.config == delay.config).map(|it| it.backoff.max);
                    let kept = limit.is_none_or(|it| delay.current <= it);
                    ensure!(kept, "a delay has its limit", "{app}: {:?} of {limit:?}", delay.current);
                }
                _ => {}
            }
        }
        for act in &batch.acts {
            if let Act::Publish(notice) = act
                && let What::UnhealthyKilled { instance, .. } = &notice.what
                && let Some(task) = &instance.task
            {
                self.dies(store, instance.spec(), &task.id)?;
            }
        }
        Ok(())
    }

    fn dies(&mut self, store: &Store, app: &SpecId, task: &TaskId) -> Found {
        let dying = self.dying.entry(app.clone()).or_default();
        dying.insert(task.clone());
        let instances = store.spec(app).map_or(0, |it| it.instances);
        let limit = ((f64::from(instances) * UNHEALTHY_KILLS_SHARE) as usize).max(1);
        ensure!(dying.len() <= limit, "few are killed for their health at a time", "{app}: {dying:?}");
        Ok(())
    }

    /// Instances of these configurations were given up while they served.
    pub fn keeps(&self, store: &Store, id: &SpecId, configs: &[Timestamp]) -> Found {
        let (Some((_, config)), Some(spec)) = (self.rollbacks.get(id), store.spec(id)) else { return Ok(()) };
        // Who goes when there are fewer of them is for constraints and the kill selection to say.
        let replaces = check::action_of(store, id) == Some(ActionKind::RestartApplication);
        if !configs.contains(config) || !replaces {
            return Ok(());
        }
        let left = store.of_app(id).filter(|it| {
            it.goal == Goal::Running && it.config == *config && it.condition != Condition::UnreachableInactive
        });
        let left = left.count();
        ensure!(
            left >= spec.instances as usize,
            "a rollback keeps what it returns to",
            "{id}: {left} of {} are left of {config}",
            spec.instances
        );
        Ok(())
    }

    pub fn forget(&mut self, store: &Store) {
        self.rollbacks.retain(|_, it| store.deployments.contains_key(&it.0));
    }

    /// A restored core knows of those kills alone that the engine confirmed.
    pub fn crashed(&mut self, store: &Store) {
        for dying in self.dying.values_mut() {
            dying.retain(|it| store.task(it).is_some_and(|it| it.condition == Condition::Killing));
        }
    }
}

/// A client is told of a change only with its version of the tree stored, and its deployment, unless that
/// has ended already.
pub fn acknowledged_is_stored(store: &Store, acts: &[Act]) -> Found {
    let ended = |id: DeploymentId| {
        acts.iter().any(|it| {
            matches!(it, Act::Publish(notice) if matches!(&notice.what,
                What::DeploymentSucceeded { plan } | What::DeploymentFailed { plan, .. } if plan.id == id))
        })
    };
    for act in acts {
        if let Act::Reply(_, Reply::Deployed { version, deployment, .. }) = act {
            let stored = store.roots.contains(version);
            ensure!(stored, "what is acknowledged is stored", "root {version} is not");
            let stored = store.deployments.contains_key(deployment) || ended(*deployment);
            ensure!(stored, "what is acknowledged is stored", "deployment {deployment} is not");
        }
    }
    Ok(())
}
