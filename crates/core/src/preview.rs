//! What a change would do: the same step, taken by a copy of the core in front of a cluster that means well.
//!
//! ```text
//! view ─► copy of the core ─► step(command) ─┬─► launches: placed where there is room, they run at once
//!                                  ▲         └─► kills: ended at once, and their room is free again
//!                                  └── until nothing moves: done, or stuck, and why ──┘
//! ```
//! Whatever else may go wrong (tasks that fail, health that is bad, agents that vanish) is left out: what gets
//! stuck here gets stuck in the real cluster too, as far as what is known of its agents is true. Nothing is
//! stored, since the copy has no store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::act::{Act, Batch};
use marathon_model::command::{Command, Refusal, Reply};
use marathon_model::deployment::{Action, AppChange, Deployment, GroupChange};
use marathon_model::event::Event;
use marathon_model::id::{AgentId, DeploymentId, InstanceId, OfferId, RequestId, SpecId, TaskId};
use marathon_model::instance::{Condition, Goal, Health, Instance};
use marathon_model::notice::What;
use marathon_model::offer::{Call, EngineEvent, Offer, Operation, TaskState, TaskStatus};
use marathon_model::preview::{AppPreview, Obstacle, Outcome, Peak, Preview, Stuck, StuckApp};
use marathon_model::resources::{ANY_ROLE, Amounts, Milli};
use marathon_model::time::Now;
use marathon_model::view::{AgentSeen, Mismatch, View};

use crate::Core;
use crate::guard::Itinerary;
use crate::place::{Candidate, refusals};
use crate::policy::Policy;
use crate::pool::{Pool, port_wishes};
use crate::timers::Timer;
use crate::world::World;

/// Ids of a copy are never seen, but they must not be those of instances that exist.
const SEED: u64 = 0x7072_6576_6965_7773;
/// Offers made together.
const OFFERS: usize = 100;
/// What may be tried in one preview: an instance with an offer, a start, an end. About two seconds of it.
const EFFORT_MAX: usize = 2_000_000;
/// So many apps that are stuck are told of, and so many obstacles of each.
const STUCK_MAX: usize = 20;
const OBSTACLES_MAX: usize = 5;

/// Carries out a command on a copy of the state; refused exactly as the command itself would be.
pub fn preview(view: &View, policy: &Policy, command: Command, now: Now) -> Result<Preview, Refusal> {
    let policy = &policy.at(view);
    let mut play = Play::new(view, policy, now);
    let under_way = play.under_way();
    let batch = play.core.step(Event::Asked { from: RequestId(0), command }, now);
    let (reply, plan) = read(&batch);
    if let Some(Reply::Refused(refusal)) = reply {
        return Err(refusal);
    }
    let own = plan.as_ref().map(|it| it.id);
    let after = play.core.view();
    let agents = after.agents.len();
    let ends = view.deployments.keys().copied().filter(|it| !after.deployments.contains_key(it)).collect();
    let mut groups: Vec<GroupChange> = plan.iter().flat_map(|it| it.group_changes.clone()).collect();
    if plan.is_none() {
        groups = changed_groups(view, &after);
    }
    play.arrive(under_way);
    play.watched = plan.iter().flat_map(|it| it.affected().into_iter().cloned()).collect();
    if let Some(Reply::Killed(instances)) = &reply {
        play.watched.extend(instances.iter().map(|it| it.spec().clone()));
    }
    play.take(batch);
    let outcome = play.run(own);
    let changes = plan.iter().flat_map(|it| it.changes.iter().cloned());
    let apps = play.apps(changes.collect());
    let steps = plan.map(|it| it.steps.to_vec()).unwrap_or_default();
    Ok(Preview { steps, apps, groups, ends, peak: play.peak, agents, outcome })
}

/// The answer to the command, and the plan of the deployment it began.
fn read(batch: &Batch) -> (Option<Reply>, Option<Arc<Deployment>>) {
    let reply =
        batch.acts.iter().find_map(|it| if let Act::Reply(_, it) = it { Some(it.clone()) } else { None });
    let Some(Reply::Deployed { deployment, .. }) = &reply else { return (reply, None) };
    let plans = batch.acts.iter().filter_map(|it| match it {
        Act::Publish(notice) => match &notice.what {
            What::DeploymentStep { plan, .. } | What::DeploymentSucceeded { plan } => Some(plan.clone()),
            _ => None,
        },
        _ => None,
    });
    let plan = plans.into_iter().find(|it| it.id == *deployment);
    (reply, plan)
}

fn changed_groups(before: &View, after: &View) -> Vec<GroupChange> {
    let all: BTreeSet<_> = before.groups.keys().chain(after.groups.keys()).collect();
    let changes = all.into_iter().map(|id| GroupChange {
        id: id.clone(),
        before: before.groups.get(id).cloned(),
        after: after.groups.get(id).cloned(),
    });
    changes.filter(|it| it.before != it.after).collect()
}

/// The copy, and the cluster it believes to have.
struct Play {
    core: Core,
    now: Now,
    /// Launches and kills that were asked for.
    to_start: Vec<InstanceId>,
    to_end: Vec<TaskId>,
    /// Apps whose tasks are counted.
    watched: BTreeSet<SpecId>,
    starts: BTreeMap<SpecId, u32>,
    stops: BTreeMap<SpecId, u32>,
    /// What lives beyond what lived at first; may be less.
    extra: Extra,
    peak: Peak,
    offers: usize,
    /// Reservations made: the next offer starts something on them.
    reserved: usize,
    effort: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Extra {
    instances: i64,
    cpus: i64,
    mem: i64,
    disk: i64,
    gpus: i64,
}

impl Extra {
    fn add(&mut self, amounts: &Amounts, sign: i64) {
        let milli = |it: Milli| i64::try_from(it.0).unwrap_or(i64::MAX);
        let book = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more.saturating_mul(sign));
        book(&mut self.instances, 1);
        book(&mut self.cpus, milli(amounts.cpus));
        book(&mut self.mem, milli(amounts.mem));
        book(&mut self.disk, milli(amounts.disk));
        book(&mut self.gpus, amounts.gpus.into());
    }

    fn raise(&self, peak: &mut Peak) {
        let milli = |it: i64| Milli(u64::try_from(it).unwrap_or(0));
        let count = |it: i64| u32::try_from(it.max(0)).unwrap_or(u32::MAX);
        peak.instances = peak.instances.max(count(self.instances));
        let Amounts { cpus, mem, disk, gpus } = &mut peak.amounts;
        *cpus = milli(self.cpus).max(*cpus);
        *mem = milli(self.mem).max(*mem);
        *disk = milli(self.disk).max(*disk);
        *gpus = count(self.gpus).max(*gpus);
    }
}

impl Play {
    fn new(view: &View, policy: &Policy, now: Now) -> Play {
        let mut core = Core::empty(policy.clone(), SEED, now);
        adopt(&mut core.world, view);
        Play {
            core,
            now,
            to_start: Vec::new(),
            to_end: Vec::new(),
            watched: BTreeSet::new(),
            starts: BTreeMap::new(),
            stops: BTreeMap::new(),
            extra: Extra::default(),
            peak: Peak::default(),
            offers: 0,
            reserved: 0,
            effort: 0,
        }
    }

    /// Instances that are about to start or to end.
    fn under_way(&self) -> (Vec<InstanceId>, Vec<TaskId>) {
        let all = || self.core.world.view.apps.values().flat_map(|app| app.instances.values());
        let ending = all().filter(|it| it.goal != Goal::Running && it.condition.is_active());
        let starting = all().filter(|it| it.goal == Goal::Running && is_starting(it.condition));
        let ending = ending.filter_map(|it| Some(it.task.as_ref()?.id.clone()));
        (starting.map(|it| it.id.clone()).collect(), ending.collect())
    }

    /// They arrive. That comes after the command, which meets the world as it is, and before anything is counted.
    fn arrive(&mut self, (starting, ending): (Vec<InstanceId>, Vec<TaskId>)) {
        (self.to_start, self.to_end) = (starting, ending);
        self.start_all();
        self.end_all();
    }

    /// Plays until the deployment is through, or nothing moves any more.
    fn run(&mut self, own: Option<DeploymentId>) -> Outcome {
        loop {
            let mut moved = self.offer();
            self.extra.raise(&mut self.peak);
            moved |= self.start_all();
            moved |= self.end_all();
            if self.is_over(own) {
                return Outcome::Completes;
            }
            if self.effort > EFFORT_MAX {
                return Outcome::Unknown("the change is too large to be played to its end".into());
            }
            if !moved {
                return self.stuck(own);
            }
        }
    }

    fn is_over(&self, own: Option<DeploymentId>) -> bool {
        let world = &self.core.world;
        own.is_none_or(|it| !world.view.deployments.contains_key(&it))
            && self.to_start.is_empty()
            && self.to_end.is_empty()
            && !self.watched.iter().any(|it| world.queue.contains(it))
    }

    /// Offers every agent once, as long as something waits. `true`: something was started, or reserved to be.
    fn offer(&mut self) -> bool {
        let (started, reserved) = (self.to_start.len(), self.reserved);
        let agents: Vec<AgentId> = self.core.world.view.agents.keys().cloned().collect();
        for some in agents.chunks(OFFERS) {
            let waiting = self.core.world.launchable.len();
            if waiting == 0 || self.effort > EFFORT_MAX {
                break;
            }
            self.effort += some.len() * waiting;
            let seen: Vec<Arc<AgentSeen>> =
                some.iter().filter_map(|it| self.core.world.view.agents.get(it)).cloned().collect();
            let offers = seen.iter().map(|it| self.next_offer(it)).collect();
            let batch = self.core.step(Event::Engine(EngineEvent::Offers(offers)), self.now);
            self.take(batch);
        }
        started < self.to_start.len() || reserved < self.reserved
    }

    fn next_offer(&mut self, seen: &AgentSeen) -> Offer {
        self.offers += 1;
        // As the account of the core has it: what is set aside for other roles comes in other offers.
        let own = seen.free.iter().filter(|it| *it.role == *ANY_ROLE || it.role == seen.offer.role);
        Offer {
            id: OfferId::new(format!("preview-{}", self.offers)),
            resources: own.cloned().collect(),
            ..Offer::clone(&seen.offer)
        }
    }

    fn take(&mut self, batch: Batch) {
        for act in batch.acts {
            match act {
                Act::Engine(Call::Accept { operations, .. }) => {
                    self.reserved +=
                        operations.iter().filter(|it| matches!(it, Operation::Reserve(_))).count();
                    for launch in Operation::launches(&operations) {
                        self.to_start.push(launch.task.instance.clone());
                        if self.watched.contains(&launch.spec) {
                            *self.starts.entry(launch.spec.clone()).or_default() += 1;
                            self.extra.add(&launch.resources, 1);
                        }
                    }
                }
                Act::Engine(Call::Kill { task, .. }) => self.to_end.push(task),
                _ => {}
            }
        }
    }

    fn start_all(&mut self) -> bool {
        let all = std::mem::take(&mut self.to_start);
        let mut moved = false;
        for id in all {
            self.effort += 1;
            moved |= self.start(&id);
        }
        if moved {
            let batch = self.core.finish();
            self.take(batch);
        }
        moved
    }

    /// Up, ready and healthy, whatever checks it has.
    fn start(&mut self, id: &InstanceId) -> bool {
        let world = &mut self.core.world;
        let Some(it) = world.instance(id).filter(|it| is_starting(it.condition)).cloned() else {
            return false;
        };
        let at = Some(self.now.wall);
        let mut next = Instance {
            condition: Condition::Running,
            since: self.now.wall,
            ready: true,
            ..Instance::clone(&it)
        };
        for health in &mut next.health {
            *health = Health { first_success: at, last_success: at, ..Health::default() };
        }
        if let Some(task) = &mut next.task {
            (task.state, task.started_at) = (Some(TaskState::Running), at);
            for part in &mut task.parts {
                (part.state, part.started_at) = (Some(TaskState::Running), at);
            }
        }
        world.timers.clear(&Timer::Launch(id.clone()));
        world.put_instance(next);
        true
    }

    fn end_all(&mut self) -> bool {
        let all = std::mem::take(&mut self.to_end);
        let mut moved = false;
        for task in all {
            self.effort += 1;
            moved |= self.end(&task);
        }
        moved
    }

    fn end(&mut self, task: &TaskId) -> bool {
        let live = |core: &Core| core.world.view.task(task).filter(|it| !it.is_over()).cloned();
        let Some(it) = live(&self.core) else { return false };
        if self.watched.contains(it.spec()) {
            *self.stops.entry(it.spec().clone()).or_default() += 1;
            self.extra.add(&it.task.as_ref().map(|it| it.resources).unwrap_or_default(), -1);
        }
        let parts = it.task.iter().flat_map(|it| &it.parts).map(|it| Some(it.name.clone()));
        let mut names: Vec<Option<Arc<str>>> = parts.collect();
        if names.is_empty() {
            names.push(None);
        }
        for container in names {
            let status = TaskStatus {
                task: TaskId { container, ..task.clone() },
                state: TaskState::Killed,
                agent: it.agent.as_ref().map(|it| it.id.clone()),
                update: None,
                at: self.now.wall,
                message: String::new(),
                reason: None,
                healthy: None,
                check: None,
                addresses: Vec::new(),
                unreachable_since: None,
            };
            let batch = self.core.step(Event::Engine(EngineEvent::Status(status)), self.now);
            self.take(batch);
        }
        true
    }

    fn apps(&self, changes: Vec<AppChange>) -> Vec<AppPreview> {
        let mut all: BTreeMap<SpecId, AppChange> =
            changes.into_iter().map(|it| (it.id.clone(), it)).collect();
        for id in &self.watched {
            let spec = self.core.world.spec(id).cloned();
            let same = || AppChange { id: id.clone(), before: spec.clone(), after: spec };
            all.entry(id.clone()).or_insert_with(same);
        }
        let count = |of: &BTreeMap<SpecId, u32>, id: &SpecId| of.get(id).copied().unwrap_or(0);
        let one = |change: AppChange| AppPreview {
            starts: count(&self.starts, &change.id),
            stops: count(&self.stops, &change.id),
            change,
        };
        all.into_values().map(one).collect()
    }

    fn stuck(&self, own: Option<DeploymentId>) -> Outcome {
        let world = &self.core.world;
        if world.view.agents.is_empty() && self.watched.iter().any(|it| world.queue.contains(it)) {
            return Outcome::Unknown(
                "no agent has made an offer yet, so nothing is known of free places".into(),
            );
        }
        let plan = own.and_then(|it| world.view.deployments.get(&it));
        let actions = plan.and_then(|it| it.step()).map(|it| it.actions.as_slice()).unwrap_or_default();
        let open = actions.iter().filter(|it| !self.core.is_done(it));
        let mut apps: Vec<StuckApp> =
            open.take(STUCK_MAX).map(|it| self.stuck_app(&it.app, Some(it))).collect();
        if plan.is_none() {
            let waiting = self.watched.iter().filter(|it| world.queue.contains(it));
            apps = waiting.take(STUCK_MAX).map(|it| self.stuck_app(it, None)).collect();
        }
        Outcome::Stuck(Stuck { step: plan.map(|it| it.current), apps })
    }

    fn stuck_app(&self, id: &SpecId, action: Option<&Action>) -> StuckApp {
        let app = self.core.world.app(id);
        let sum = app.map(|it| it.tally.sum()).unwrap_or_default();
        let spec = app.and_then(|it| it.spec.as_ref());
        StuckApp {
            id: id.clone(),
            action: action.map(|it| it.kind),
            pod: spec.is_some_and(|it| it.pod.is_some()),
            wanted: spec.map_or(0, |it| it.instances),
            unplaced: sum.waiting,
            unready: sum.wanted.saturating_sub(sum.serving + sum.waiting),
            ending: sum.ending,
            obstacles: if sum.waiting > 0 { self.obstacles(id) } else { Vec::new() },
        }
    }

    /// Why the agents cannot take the next instance, each by its first reason.
    fn obstacles(&self, id: &SpecId) -> Vec<Obstacle> {
        let Some(instance) = self.core.next_waiting(id) else { return Vec::new() };
        let (world, policy) = (&self.core.world, &self.core.policy);
        let Some(candidate) = Candidate::new(&world.view, policy, id, &instance) else { return Vec::new() };
        let places = world.places(id, candidate.spec.config);
        let need = &candidate.need;
        let volumes = candidate.spec.persistent_volumes();
        let mut ids = crate::ids::Ids::new(SEED);
        let mut found: BTreeMap<Mismatch, Obstacle> = BTreeMap::new();
        for seen in world.view.agents.values() {
            let offer = Offer { resources: seen.free.clone(), ..Offer::clone(&seen.offer) };
            let mut pool = Pool::new(&offer);
            let why = match refusals(policy, self.now.wall, &candidate, &places, &offer, &pool).first() {
                Some(why) => *why,
                None if pool.clone().take_space(&volumes).is_none() => Mismatch::InsufficientDisk,
                None if pool
                    .take_ports(&port_wishes(&candidate.spec), &candidate.roles, &mut ids)
                    .is_none() =>
                {
                    Mismatch::InsufficientPorts
                }
                None => continue,
            };
            let needed = match why {
                Mismatch::InsufficientCpus => need.cpus,
                Mismatch::InsufficientMemory => need.mem,
                Mismatch::InsufficientDisk => need.disk,
                _ => Milli::from_whole(need.gpus.into()),
            };
            // Volumes lie on one disk each, so that sums say nothing.
            let is_sum = why != Mismatch::InsufficientDisk || volumes.is_empty();
            let amounts = pool.amount(why, &candidate.roles).filter(|_| is_sum).map(|has| (needed, has));
            let obstacle = found.entry(why).or_insert(Obstacle { why, agents: 0, amounts });
            obstacle.agents += 1;
            obstacle.amounts = obstacle.amounts.max(amounts);
        }
        let mut all: Vec<Obstacle> = found.into_values().collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.agents));
        all.truncate(OBSTACLES_MAX);
        all
    }
}

fn is_starting(condition: Condition) -> bool {
    matches!(condition, Condition::Provisioned | Condition::Staging | Condition::Starting)
}

/// Makes a world of a view: what the core keeps beside it follows from it. Delays are over, since a cluster
/// that means well gives no cause for them.
fn adopt(world: &mut World, view: &View) {
    world.view = view.clone();
    world.connected = true;
    crate::agents::reindex(world);
    let deployments: Vec<Arc<Deployment>> = view.deployments.values().cloned().collect();
    for it in deployments {
        world.itineraries.insert(it.id, Itinerary::of(&it));
    }
    for (id, history) in &view.group_history {
        if let Some((at, None)) = history.last() {
            world.group_graveyard.insert((*at, id.clone()));
        }
    }
    for (id, app) in &view.apps {
        world.count_ports(id, true);
        if let Some((at, None)) = app.history.last() {
            world.graveyard.insert((*at, id.clone()));
        }
        if app.delay.is_some() {
            world.app_mut(id).delay = None;
        }
        if app.spec.is_some() || !app.instances.is_empty() {
            world.reindex(id);
        }
    }
}
