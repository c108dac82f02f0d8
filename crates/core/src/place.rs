//! Whether a waiting instance may start on an offer, and what is written down when it does.
//!
//! ```text
//! offer ─► role ─► constraints ─► maintenance ─► cpus, mem, disk, gpus ─► ports ─► launch
//!            └─────────┴──────────────┴── the first refusal is the one that counts ──┘
//! ```
//! The order is part of the API: `/v2/queue` sums up offers by their first refusal.

use std::ops::Bound;
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::id::{SpecId, TaskId};
use marathon_model::instance::{Agent, Condition, Instance, Task};
use marathon_model::notice::What;
use marathon_model::offer::{Launch, Offer, TaskState};
use marathon_model::reservation::ReservationState;
use marathon_model::resources::{Amounts, Milli, Role};
use marathon_model::time::Timestamp;
use marathon_model::view::{Mismatch, View};

use crate::Core;
use crate::constraint::{Places, Rules};
use crate::parts;
use crate::policy::Policy;
use crate::pool::{Pool, port_wishes};
use crate::resident::in_state;
use crate::timers::Timer;

/// What is prepared once for all offers of a batch: the definition, and its constraints compiled.
pub(crate) struct Candidate {
    pub spec: Arc<AppSpec>,
    /// What an instance takes, its executor included.
    pub need: Amounts,
    /// What of that is for a custom executor.
    pub executor: Amounts,
    pub roles: Vec<Role>,
    pub enforce_role: bool,
    pub rules: Arc<Rules>,
}

impl Core {
    /// Starts an instance on what is free.
    pub(crate) fn place_free(
        &mut self,
        instance: &Instance,
        candidate: &Candidate,
        offer: &Offer,
        agent: &Arc<Agent>,
        pool: &mut Pool,
    ) -> Result<Launch, Vec<Mismatch>> {
        let Candidate { spec, roles, .. } = candidate;
        let places = self.world.places(&spec.id, spec.config);
        some_refused(refusals(&self.policy, self.world.now.wall, candidate, &places, offer, pool))?;
        let ports = pool.take_ports(&port_wishes(spec), roles, &mut self.ids);
        let ports = ports.ok_or_else(|| vec![Mismatch::InsufficientPorts])?;
        let shares = pool.take(&candidate.need, roles);
        let mut launch = self.provision(instance, candidate, agent, ports);
        crate::agents::took(&mut self.world, &launch.task, &shares);
        launch.shares = shares;
        Ok(launch)
    }

    /// The rules of one version are always the same. Those last asked for are kept: compiling an expression takes
    /// as long as looking at dozens of offers.
    pub(crate) fn candidate(&mut self, id: &SpecId, instance: &Instance) -> Option<Candidate> {
        let spec = Candidate::definition(&self.world.view, id, instance)?;
        let known = self.world.rules.get(id).filter(|(version, _)| *version == spec.version);
        let rules = match known {
            Some((_, rules)) => rules.clone(),
            None => {
                let rules = Arc::new(Rules::new(&spec));
                if !rules.is_empty() {
                    self.world.rules.insert(id.clone(), (spec.version, rules.clone()));
                }
                rules
            }
        };
        Some(Candidate::of(&self.world.view, &self.policy, spec, rules))
    }

    /// Apps that may launch now, beginning behind the one served last, so that none starves.
    pub(crate) fn launchable_after(&self, last: Option<&SpecId>) -> Vec<SpecId> {
        let all = &self.world.launchable;
        let Some(last) = last else { return all.iter().cloned().collect() };
        let after = all.range::<SpecId, _>((Bound::Excluded(last), Bound::Unbounded));
        after.chain(all.range(..=last)).cloned().collect()
    }

    pub(crate) fn next_waiting(&self, id: &SpecId) -> Option<Arc<Instance>> {
        let uuid = self.world.index.get(id)?.waiting.first()?;
        self.world.app(id)?.instances.get(uuid).cloned()
    }

    /// Writes down that the instance is about to be started, and builds the launch.
    pub(crate) fn provision(
        &mut self,
        instance: &Instance,
        candidate: &Candidate,
        agent: &Arc<Agent>,
        ports: Vec<Option<u16>>,
    ) -> Launch {
        let spec = &candidate.spec;
        let incarnation = instance.incarnation + 1;
        let task = TaskId { instance: instance.id.clone(), container: None, incarnation };
        let prefix = &self.policy.env_vars_prefix;
        let enforce_role = candidate.enforce_role;
        let mut launch = match &spec.pod {
            None => {
                crate::launch::build(spec, task.clone(), agent, &ports, prefix, enforce_role, &mut self.ids)
            }
            Some(pod) => {
                crate::launch_pod::build(spec, pod, task.clone(), agent, &ports, prefix, enforce_role)
            }
        };
        launch.role = instance.role.clone();
        launch.mesos.executor_resources = Some(candidate.executor).filter(|it| *it != Amounts::default());
        let now = self.world.now;
        let next = Instance {
            condition: Condition::Provisioned,
            since: now.wall,
            version: spec.version,
            config: spec.config,
            incarnation,
            agent: Some(agent.clone()),
            task: Some(Task {
                id: task,
                state: None,
                staged_at: now.wall,
                started_at: None,
                resources: candidate.need,
                ports: ports.iter().flatten().copied().collect(),
                addresses: Vec::new(),
                check: None,
                unreachable_since: None,
                parts: spec.pod.iter().flat_map(|it| parts::fresh(it, now.wall)).collect(),
            }),
            health: vec![Default::default(); spec.check_count()],
            ready: false,
            ..in_state(instance, ReservationState::Launched)
        };
        self.world.timers.clear(&Timer::Reservation(instance.id.clone()));
        self.world
            .timers
            .set(Timer::Launch(instance.id.clone()), now.tick + self.policy.task_launch_confirm_timeout);
        for task in next.task.as_ref().map(parts::task_ids).unwrap_or_default() {
            let ports = match (&task.container, &next.task) {
                (Some(name), Some(whole)) => parts::ports(Some(spec), whole, name),
                _ => launch.host_ports.clone(),
            };
            self.world.publish(What::StatusUpdate {
                task,
                agent: agent.id.to_string(),
                host: agent.host.to_string(),
                state: TaskState::Staging,
                message: "".into(),
                ports,
                addresses: Vec::new(),
                version: spec.version,
            });
        }
        self.world.put_instance(next);
        self.progress(spec);
        launch
    }
}

pub(crate) fn some_refused(refusals: Vec<Mismatch>) -> Result<(), Vec<Mismatch>> {
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

impl Candidate {
    /// The definition an instance is started from is the present one, unless the instance still belongs to an
    /// earlier configuration (while its app waits for a deployment's later step).
    pub fn new(view: &View, policy: &Policy, id: &SpecId, instance: &Instance) -> Option<Candidate> {
        let spec = Candidate::definition(view, id, instance)?;
        let rules = Arc::new(Rules::new(&spec));
        Some(Candidate::of(view, policy, spec, rules))
    }

    fn definition(view: &View, id: &SpecId, instance: &Instance) -> Option<Arc<AppSpec>> {
        let app = view.apps.get(id)?;
        crate::index::definition(app, instance).or(app.spec.as_ref()).cloned()
    }

    pub fn with(policy: &Policy, spec: Arc<AppSpec>, rules: Arc<Rules>, enforce_role: bool) -> Candidate {
        let executor = policy.executor_needs(&spec);
        let need = spec.resources + executor;
        let roles = marathon_spec::accepted_roles(&spec, &policy.rules);
        Candidate { spec, need, executor, roles, enforce_role, rules }
    }

    fn of(view: &View, policy: &Policy, spec: Arc<AppSpec>, rules: Arc<Rules>) -> Candidate {
        let top = spec.id.top();
        let enforce_role = top.and_then(|it| view.groups.get(&it)).is_some_and(|it| it.enforce_role);
        Candidate::with(policy, spec, rules, enforce_role)
    }
}

/// Why nothing of this definition starts on this offer, but for its ports; empty: it may.
pub(crate) fn refusals(
    policy: &Policy,
    now: Timestamp,
    candidate: &Candidate,
    places: &Places,
    offer: &Offer,
    pool: &Pool,
) -> Vec<Mismatch> {
    let mut refusals = unfit(policy, now, candidate, places, offer, pool);
    let Candidate { spec, roles, .. } = candidate;
    let offered_to_us = offer.role == spec.role || !policy.offers_by_role && roles.contains(&offer.role);
    if !offered_to_us && refusals.first() != Some(&Mismatch::UnfulfilledRole) {
        refusals.insert(0, Mismatch::UnfulfilledRole);
    }
    refusals
}

/// The same of an agent, whatever role it was last offered to.
pub(crate) fn unfit(
    policy: &Policy,
    now: Timestamp,
    candidate: &Candidate,
    places: &Places,
    offer: &Offer,
    pool: &Pool,
) -> Vec<Mismatch> {
    let Candidate { spec, roles, .. } = candidate;
    let mut refusals = Vec::new();
    if !pool.has_role(roles) {
        refusals.push(Mismatch::UnfulfilledRole);
    }
    refusals.extend(agent_refusals(policy, now, candidate, places, offer));
    refusals.extend(pool.lacks(&candidate.need, roles));
    if refuses_gpus(policy, spec, pool) {
        refusals.push(Mismatch::DeclinedScarceResources);
    }
    refusals
}

/// Whether the agent itself is one for these instances, whatever it has.
fn agent_refusals(
    policy: &Policy,
    now: Timestamp,
    candidate: &Candidate,
    places: &Places,
    offer: &Offer,
) -> Vec<Mismatch> {
    let mut refusals = Vec::new();
    if !region_fits(policy, &candidate.spec, offer) || !candidate.rules.allow(offer, places) {
        refusals.push(Mismatch::UnfulfilledConstraint);
    }
    if policy.maintenance_mode && in_maintenance(offer, now, policy.draining) {
        refusals.push(Mismatch::AgentMaintenance);
    }
    refusals
}

/// Agents of other regions than the master's are for those who ask for a region or zone.
pub(crate) fn region_fits(policy: &Policy, spec: &AppSpec, offer: &Offer) -> bool {
    let placed_by_user = spec.constraints.iter().any(|it| it.field == "@region" || it.field == "@zone");
    match (&offer.region, &policy.master_region) {
        (Some(region), Some(home)) => placed_by_user || **region == **home,
        _ => true,
    }
}

/// Agents with gpus are kept for those who need them.
fn refuses_gpus(policy: &Policy, spec: &AppSpec, pool: &Pool) -> bool {
    let restricted = match spec.labels.get("GPU_SCHEDULING_BEHAVIOR").map(String::as_str) {
        Some("unrestricted") => false,
        Some("restricted") => true,
        _ => policy.gpu_restricted,
    };
    restricted && spec.resources.gpus == 0 && pool.gpus() > Milli::ZERO
}

pub(crate) fn in_maintenance(offer: &Offer, now: Timestamp, draining: std::time::Duration) -> bool {
    let Some((start, length)) = offer.unavailability else { return false };
    let begun = now + draining > start;
    begun && length.is_none_or(|it| now <= start + it)
}
