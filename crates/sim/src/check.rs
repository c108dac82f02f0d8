//! What must hold after every step. INVARIANTS.md lists the names with one line each.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use marathon_model::act::{Act, Batch};
use marathon_model::app::AppSpec;
use marathon_model::command::{Command, Reply};
use marathon_model::deployment::ActionKind;
use marathon_model::event::Event;
use marathon_model::id::{OfferId, SpecId, TaskId};
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::notice::What;
use marathon_model::offer::{Call, EngineEvent, Launch, Operation, TaskState};
use marathon_model::time::Timestamp;
use marathon_model::write::Write;

use crate::client::Wanted;
use crate::cluster::{self, Cluster};
use crate::kept;
use crate::placement;
use crate::pod;
use crate::promise::{self, Promises};
use crate::room;
use crate::store::Store;

/// A broken invariant: its name and what was seen.
pub type Found = Result<(), (&'static str, String)>;

/// What an event was, as far as the checks of its batch need it.
#[derive(Debug, Clone)]
pub enum Cause {
    Status { task: TaskId, state: TaskState },
    Asked(Box<Command>),
    Other,
}

impl Cause {
    pub fn of(event: &Event) -> Cause {
        match event {
            Event::Engine(EngineEvent::Status(it)) => {
                Cause::Status { task: it.task.clone(), state: it.state }
            }
            Event::Asked { command: Command::Guarded { command, .. }, .. } => Cause::Asked(command.clone()),
            Event::Asked { command, .. } => Cause::Asked(Box::new(command.clone())),
            _ => Cause::Other,
        }
    }
}

#[derive(Debug, Default)]
pub struct Checks {
    answered: HashSet<OfferId>,
    launched: HashSet<TaskId>,
    newest_root: Timestamp,
    /// The newest version ever committed of each app, and whether it was its removal.
    newest_app: BTreeMap<SpecId, (Timestamp, bool)>,
    /// By app, the newest acknowledged change and what it wanted.
    pub asked: BTreeMap<SpecId, (Timestamp, Wanted)>,
    promises: Promises,
    /// The region of the master, where regions matter.
    home: Option<String>,
    pub launches: u64,
    pub kills: u64,
}

macro_rules! ensure {
    ($holds:expr, $name:expr, $($text:tt)*) => {
        if !$holds {
            return Err(($name, format!($($text)*)));
        }
    };
}
pub(crate) use ensure;

impl Checks {
    pub fn new(home: Option<String>) -> Checks {
        Checks { home, ..Checks::default() }
    }

    /// Commits the writes of one step, looking at each, and at what the step wants done because of them.
    pub fn commit(&mut self, store: &mut Store, batch: &Batch, cause: &Cause) -> Found {
        let Batch { writes, acts } = batch;
        let mut retired: BTreeMap<SpecId, Vec<Timestamp>> = BTreeMap::new();
        let mut grown: BTreeSet<SpecId> = BTreeSet::new();
        let taken_up = promise::before(store, batch, cause)?;
        let (mut given_up, mut reserved) = (kept::GivenUp::default(), Vec::new());
        for write in writes {
            match write {
                Write::Root { version } => {
                    ensure!(
                        self.newest_root < *version,
                        "versions grow",
                        "root {version} after {}",
                        self.newest_root
                    );
                    self.newest_root = *version;
                }
                Write::App(spec) => self.app_version(&spec.id, spec.version, false)?,
                Write::AppRemoved { id, at } => self.app_version(id, *at, true)?,
                Write::Instance(next) => {
                    let before = store.instance(&next.id);
                    if before.is_none() {
                        grown.insert(next.id.spec.clone());
                    }
                    given_up.note(before.map(|it| &**it), Some(next))?;
                    if next.reservation.is_some() && before.is_none_or(|it| it.reservation.is_none()) {
                        reserved.push(next.id.clone());
                    }
                    instance_changes(before.map(|it| &**it), next)?;
                    pod::live_together(before.map(|it| &**it), next)?;
                    let retires = before.is_some_and(|it| it.goal == Goal::Running && it.is_serving());
                    if retires && next.goal != Goal::Running {
                        retired.entry(next.id.spec.clone()).or_default().push(next.config);
                    }
                }
                Write::InstanceGone(id) => {
                    given_up.note(store.instance(id).map(|it| &**it), None)?;
                    if let Some(before) = store.instance(id) {
                        let told = matches!(cause, Cause::Status { task, state }
                            if task.instance == *id && is_final(*state)
                                && (*state == TaskState::Unreachable || pod::was_last(before, task)));
                        let over = before.is_over() || before.condition.is_unreachable() || told;
                        ensure!(over, "nothing alive is forgotten", "{id} was {:?}", before.condition);
                    }
                }
                _ => {}
            }
            store.apply(write);
        }
        grown.iter().try_for_each(|it| left_alone(store, it))?;
        given_up.judge(store, cause)?;
        kept::places_fit(store, &reserved)?;
        self.promises.after(store, batch, taken_up)?;
        // Users may take tasks away by hand; no floor holds against that.
        if !matches!(cause, Cause::Asked(it) if matches!(**it, Command::Kill { .. })) {
            for (id, configs) in retired {
                floor_is_kept(store, &id, configs.len())?;
                self.promises.keeps(store, &id, &configs)?;
            }
        }
        self.promises.forget(store);
        let calls =
            || acts.iter().filter_map(|it| if let Act::Engine(call) = it { Some(call) } else { None });
        let mut launches: Vec<&Launch> = calls()
            .filter_map(|it| {
                if let Call::Accept { operations, .. } = it {
                    Some(Operation::launches(operations))
                } else {
                    None
                }
            })
            .flatten()
            .collect();
        for launch in &launches {
            let stored = store.task(&launch.task);
            let known = stored.is_some_and(|it| it.condition == Condition::Provisioned);
            ensure!(known, "a launch is stored before it is sent", "{}: {stored:?}", launch.task);
            let wanted = stored.is_some_and(|it| it.goal == Goal::Running);
            ensure!(wanted, "only what is wanted is launched", "{}", launch.task);
            kept::comes_back(store, launch)?;
        }
        for spec in launches.iter().map(|it| &it.spec).collect::<BTreeSet<_>>() {
            ceiling_is_kept(store, spec)?;
        }
        // Offers of a batch take turns, so calls are not in the order in which places were taken; writes are.
        let mut taken: BTreeMap<&TaskId, usize> = BTreeMap::new();
        for (at, write) in writes.iter().enumerate() {
            if let Write::Instance(it) = write
                && let Some(task) = &it.task
            {
                taken.entry(&task.id).or_insert(at);
            }
        }
        launches.sort_by_key(|it| taken.get(&it.task));
        placement::constraints_hold(store, self.home.as_deref(), &launches)?;
        promise::acknowledged_is_stored(store, acts)?;
        for call in calls() {
            if let Call::Acknowledge { task, .. } = call {
                acknowledges_stored(store, task, cause)?;
            }
        }
        Ok(())
    }

    fn app_version(&mut self, id: &SpecId, version: Timestamp, removed: bool) -> Found {
        let before = self.newest_app.insert(id.clone(), (version, removed)).unwrap_or_default().0;
        ensure!(before < version, "versions grow", "{id} at {version} after {before}");
        Ok(())
    }

    /// The server died.
    pub fn crashed(&mut self, store: &Store) {
        self.promises.crashed(store);
    }

    /// A call is about to leave.
    pub fn call(&mut self, store: &Store, cluster: &Cluster, call: &Call) -> Found {
        match call {
            Call::Accept { offer, operations } => {
                let launches: Vec<&Launch> = Operation::launches(operations).collect();
                self.answers(offer)?;
                ensure!(!operations.is_empty(), "an accepted offer starts something", "{offer}");
                // A rescinded offer has nothing to compare with, and starts nothing.
                let open = cluster::number(offer).and_then(|it| cluster.offers.get(&it));
                kept::operations_fit(store, cluster, open, operations)?;
                let mut left = open.map(|it| it.resources.clone());
                for launch in launches {
                    self.launch(cluster, launch)?;
                    let own = !launch.reserved.is_empty();
                    let fits = own || left.as_mut().is_none_or(|left| room::take(left, launch).is_some());
                    ensure!(fits, "launches fit their offer", "{offer}: {}", launch.task);
                }
                Ok(())
            }
            Call::Decline { offers, .. } => offers.iter().try_for_each(|it| self.answers(it)),
            Call::Kill { .. } => {
                self.kills += 1;
                Ok(())
            }
            Call::Acknowledge { .. } | Call::Revive(_) | Call::Suppress(_) | Call::Reconcile(_) => Ok(()),
        }
    }

    fn answers(&mut self, offer: &OfferId) -> Found {
        ensure!(self.answered.insert(offer.clone()), "an offer is answered once", "{offer}");
        Ok(())
    }

    fn launch(&mut self, cluster: &Cluster, launch: &Launch) -> Found {
        let task = &launch.task;
        self.launches += 1;
        ensure!(self.launched.insert(task.clone()), "a task id is launched once", "{task}");
        for id in launch.containers.iter().map(|it| &it.task) {
            ensure!(self.launched.insert(id.clone()), "no container of a pod is started twice", "{id}");
        }
        let twin = pod::of_instance(cluster, &task.instance).find(|(_, it)| !it.ended);
        let name = match launch.containers.is_empty() {
            true => "no instance runs twice",
            false => "no container of a pod is started twice",
        };
        ensure!(twin.is_none(), name, "{task} beside {:?}", twin.map(|it| it.0));
        Ok(())
    }

    /// A reply is about to leave.
    pub fn reply(&mut self, store: &Store, reply: &Reply, wanted: BTreeMap<SpecId, Wanted>) -> Found {
        let Reply::Deployed { version, .. } = reply else { return Ok(()) };
        for (id, wanted) in wanted {
            self.asked.insert(id, (*version, wanted));
        }
        self.nothing_acknowledged_is_lost(store)
    }

    /// The newest acknowledged change of each app is there, or a newer one.
    pub fn nothing_acknowledged_is_lost(&self, store: &Store) -> Found {
        for (id, (version, removed)) in &self.newest_app {
            let newest = store.apps.get(id).and_then(|it| it.keys().next_back());
            let kept = newest == Some(version) || *removed && newest.is_none();
            ensure!(kept, "nothing acknowledged is lost", "{id} at {version}: the newest is {newest:?}");
        }
        for (id, (version, wanted)) in &self.asked {
            if self.newest_app.get(id).is_some_and(|(newest, _)| newest > version) {
                continue;
            }
            let spec = store.spec(id);
            let kept = match (wanted, spec) {
                (Wanted::Removed, spec) => spec.is_none(),
                (Wanted::Defined { instances, cmd }, Some(spec)) => {
                    instances.is_none_or(|it| it == spec.instances) && (cmd.is_none() || *cmd == spec.cmd)
                }
                (Wanted::Defined { .. }, None) => false,
            };
            ensure!(kept, "nothing acknowledged is lost", "{id} at {version}: {wanted:?}, but {spec:?}");
        }
        Ok(())
    }

    /// An event is about to be published.
    pub fn notice(&self, store: &Store, what: &What) -> Found {
        let What::DeploymentSucceeded { plan } = what else { return Ok(()) };
        let last = plan.steps.last().map(|it| it.actions.as_slice()).unwrap_or_default();
        for action in last {
            // Only what this very deployment asked for; others may have come since.
            let Some(spec) = store.spec(&action.app).filter(|it| it.version == plan.version) else {
                continue;
            };
            let wanted: Vec<_> = store.of_app(&spec.id).filter(|it| counts_as_wanted(it)).collect();
            let as_many = wanted.len() == spec.instances as usize;
            let new = action.kind != ActionKind::RestartApplication
                || wanted.iter().all(|it| it.config == spec.config);
            let counted =
                matches!(action.kind, ActionKind::RestartApplication | ActionKind::ScaleApplication);
            ensure!(
                !counted || as_many && new,
                "a deployment that succeeded did what it says",
                "{}: {:?} with {} of {}",
                spec.id,
                action.kind,
                wanted.len(),
                spec.instances
            );
        }
        Ok(())
    }
}

fn counts_as_wanted(it: &Instance) -> bool {
    it.goal == Goal::Running && it.condition != Condition::UnreachableInactive
}

pub fn is_final(state: TaskState) -> bool {
    !matches!(state, TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing)
}

/// Rules for the change of one record.
fn instance_changes(before: Option<&Instance>, next: &Instance) -> Found {
    let Some(before) = before else {
        let fresh = next.condition == Condition::Scheduled && next.incarnation == 0;
        ensure!(fresh, "instances begin at the beginning", "{}: {:?}", next.id, next.condition);
        return Ok(());
    };
    let id = &next.id;
    let back = before.goal != Goal::Running && next.goal == Goal::Running;
    ensure!(!back || before.is_parked(), "what was given up stays given up", "{id}");
    let started = next.incarnation == before.incarnation + 1 && next.condition == Condition::Provisioned;
    let same = next.incarnation == before.incarnation;
    ensure!(
        started || same,
        "incarnations count starts",
        "{id}: {} after {}",
        next.incarnation,
        before.incarnation
    );
    let restarted_alive = started && !before.is_over();
    ensure!(!restarted_alive, "no instance runs twice", "{id} was {:?}", before.condition);
    // Who owns volumes (or did, until its agent was declared gone) waits again as it did at first.
    let waits = before.reservation.is_some() && next.condition == Condition::Scheduled && next.task.is_none();
    let revived = same && before.condition.is_terminal() && next.condition != before.condition && !waits;
    ensure!(
        !revived,
        "what has ended stays ended",
        "{id}: {:?} after {:?}",
        next.condition,
        before.condition
    );
    Ok(())
}

/// Our own kills leave as many serving instances as the upgrade strategy asks for.
fn floor_is_kept(store: &Store, id: &SpecId, retired: usize) -> Found {
    let Some(spec) = store.spec(id).filter(|_| action_of(store, id) == Some(ActionKind::RestartApplication))
    else {
        return Ok(());
    };
    let serving = store.of_app(id).filter(|it| it.goal == Goal::Running && it.is_serving()).count() as u32;
    let (floor, _) = bounds(spec);
    ensure!(
        serving >= floor,
        "the floor is kept",
        "{id}: {retired} serving instances retired, {serving} left, {floor} must be"
    );
    Ok(())
}

/// No launch takes an app above what its upgrade strategy allows.
fn ceiling_is_kept(store: &Store, id: &SpecId) -> Found {
    let Some(spec) = store.spec(id) else {
        return Err(("only what is wanted is launched", format!("{id} is removed")));
    };
    let live = store
        .of_app(id)
        .filter(|it| it.goal == Goal::Running && it.condition.is_active() && !it.condition.is_unreachable());
    let live = live.count() as u32;
    let action = action_of(store, id);
    // Until its step comes, an app stays as it was, perhaps amid an earlier rollout; see `left_alone`.
    if action.is_none() && comes_later(store, id) {
        return Ok(());
    }
    let ceiling =
        if action == Some(ActionKind::RestartApplication) { bounds(spec).1 } else { spec.instances };
    ensure!(live <= ceiling, "the ceiling is kept", "{id}: {live} instances, {ceiling} allowed, {action:?}");
    Ok(())
}

/// An app whose step has not come gets no new instances.
fn left_alone(store: &Store, id: &SpecId) -> Found {
    let left_alone = action_of(store, id).is_some() || !comes_later(store, id);
    ensure!(left_alone, "an app waits for its step", "{id} has new instances");
    Ok(())
}

fn comes_later(store: &Store, id: &SpecId) -> bool {
    let steps = store.deployments.values().flat_map(|it| it.steps.iter().skip(it.current + 1));
    steps.flat_map(|it| &it.actions).any(|it| it.app == *id)
}

/// What a deployment does with an app right now.
pub fn action_of(store: &Store, id: &SpecId) -> Option<ActionKind> {
    let actions = store.deployments.values().filter_map(|it| it.step()).flat_map(|it| &it.actions);
    actions.into_iter().find(|it| it.app == *id).map(|it| it.kind)
}

/// Written from the original's documentation, not from our planner.
fn bounds(spec: &AppSpec) -> (u32, u32) {
    let n = f64::from(spec.instances);
    let floor = (n * spec.upgrade.minimum_health_capacity).ceil() as u32;
    let ceiling = (n * (1.0 + spec.upgrade.maximum_over_capacity)).trunc() as u32;
    match floor == ceiling {
        false => (floor, ceiling),
        // One more than there may be would need a volume of its own.
        true if spec.is_resident() => (floor.saturating_sub(1), ceiling),
        true => (floor, ceiling + 1),
    }
}

/// What an acknowledgement says is known must be in the store.
fn acknowledges_stored(store: &Store, task: &TaskId, cause: &Cause) -> Found {
    let Some(it) = store.task(&pod::whole(task)) else { return Ok(()) };
    let stored = it.task.as_ref().and_then(|it| pod::state_of(it, task));
    // What an agent says late may be older than what is known by other ways.
    let told = matches!(cause, Cause::Status { task: of, state }
        if of == task && (Some(*state) == stored || rank(*state) < stored.map_or(0, rank)));
    let over = it.condition.is_terminal() || task.container.is_some() && stored.is_some_and(pod::is_end);
    ensure!(told || over, "an update is acknowledged once stored", "{task}: {stored:?} is stored");
    Ok(())
}

/// How far a task has come; 0 for states that are not on the way.
fn rank(state: TaskState) -> u32 {
    match state {
        TaskState::Staging => 1,
        TaskState::Starting => 2,
        TaskState::Running => 3,
        TaskState::Killing => 4,
        _ => 0,
    }
}
