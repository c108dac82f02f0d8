//! Offer matching: which waiting instances, if any, an offer can start.
//!
//! ```text
//! offer ─► role ─► constraints ─► maintenance ─► cpus, mem, disk, gpus ─► ports ─► launch
//!            └─────────┴──────────────┴── the first refusal is the one that counts ──┘
//! ```
//! The order is part of the API: `/v2/queue` sums up offers by their first refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::id::{AgentId, OfferId, SpecId, TaskId};
use marathon_model::instance::{Agent, Condition, Instance, Task};
use marathon_model::notice::What;
use marathon_model::offer::{Call, Launch, Offer, Operation, TaskState};
use marathon_model::reservation::ReservationState;
use marathon_model::resources::{Milli, Role};
use marathon_model::time::Timestamp;
use marathon_model::view::{Mismatch, View};

use crate::Core;
use crate::constraint::{Places, Rules};
use crate::parts;
use crate::policy::Policy;
use crate::pool::{Pool, port_wishes};
use crate::resident::{Held, Turn, in_state};
use crate::timers::Timer;

/// What is prepared once for all offers of a batch: the definition, and its constraints compiled.
pub(crate) struct Candidate {
    pub spec: Arc<AppSpec>,
    pub roles: Vec<Role>,
    pub enforce_role: bool,
    pub rules: Arc<Rules>,
}

/// By app and configuration: amid a rollout that was broken off, an app has instances of several.
type Candidates = BTreeMap<(SpecId, Timestamp), Candidate>;

impl Core {
    pub(crate) fn on_offers(&mut self, offers: Vec<Offer>) {
        self.world.view.counters.offers_incoming += offers.len() as u64;
        let mut declined: Vec<OfferId> = Vec::new();
        let mut candidates = Candidates::new();
        let mut seen: BTreeSet<AgentId> = BTreeSet::new();
        for offer in offers {
            let offer = Arc::new(offer);
            let mut pool = Pool::new(&offer);
            let operations = self.match_offer(&offer, &mut pool, &mut candidates);
            let again = !seen.insert(offer.agent.clone());
            crate::agents::note(&mut self.world, &offer, pool.into_left(), again);
            if operations.is_empty() {
                declined.push(offer.id.clone());
                continue;
            }
            self.world.view.counters.offers_used += 1;
            self.world.view.counters.tasks_launched += Operation::launches(&operations).count() as u64;
            self.world.call(Call::Accept { offer: offer.id.clone(), operations });
        }
        if !declined.is_empty() {
            self.world.view.counters.offers_declined += declined.len() as u64;
            let hold = self.policy.decline_offer_duration;
            self.world.call(Call::Decline { offers: declined, hold });
        }
    }

    /// Removes what was given up, then places as many waiting instances as fit, taking turns between apps.
    fn match_offer(
        &mut self,
        offer: &Arc<Offer>,
        pool: &mut Pool,
        candidates: &mut Candidates,
    ) -> Vec<Operation> {
        let mut held = self.held(pool);
        let mut operations = self.clear_up(offer, &mut held, pool);
        let mut waiting: Vec<SpecId> = self.launchable_after(self.last_served.as_ref());
        if !waiting.is_empty() {
            // Those that find their volumes here can be placed nowhere else.
            waiting.sort_by_key(|it| !held.has(it));
            let launches = self.place_waiting(waiting, offer, pool, candidates, &mut held, &mut operations);
            if !launches.is_empty() {
                operations.push(Operation::Launch(launches));
            }
        }
        self.note_seen(&held);
        operations
    }

    fn place_waiting(
        &mut self,
        mut waiting: Vec<SpecId>,
        offer: &Arc<Offer>,
        pool: &mut Pool,
        candidates: &mut Candidates,
        held: &mut Held,
        operations: &mut Vec<Operation>,
    ) -> Vec<Launch> {
        let mut launches = Vec::new();
        let mut reserved = 0;
        let limit = self.policy.max_instances_per_offer.unwrap_or(usize::MAX);
        let agent = Arc::new(Agent {
            id: offer.agent.clone(),
            host: offer.hostname.clone(),
            region: offer.region.clone(),
            zone: offer.zone.clone(),
            attributes: offer.attributes.clone(),
        });
        let mut used: BTreeSet<SpecId> = BTreeSet::new();
        while !waiting.is_empty() && launches.len() + reserved < limit {
            let mut still = Vec::with_capacity(waiting.len());
            for id in waiting {
                if launches.len() + reserved >= limit {
                    break;
                }
                let Some(turn) = self.turn(&id, held) else { continue };
                let instance = match &turn {
                    Turn::Free(it) | Turn::Fresh(it) | Turn::Back(it, _) => it.clone(),
                    Turn::Elsewhere if used.contains(&id) => continue,
                    Turn::Elsewhere => {
                        let reasons = vec![Mismatch::NoCorrespondingReservationFound];
                        crate::queue::note_offer(&mut self.world, &id, offer, reasons);
                        continue;
                    }
                };
                let key = (id.clone(), instance.config);
                if !candidates.contains_key(&key) {
                    match self.candidate(&id, &instance) {
                        Some(candidate) => drop(candidates.insert(key.clone(), candidate)),
                        None => continue,
                    }
                }
                let candidate = &candidates[&key];
                let placed = match &turn {
                    Turn::Back(_, found) => self
                        .place_back(&instance, candidate, offer, &agent, found)
                        .map(|launch| launches.push(launch)),
                    Turn::Fresh(_) => {
                        self.place_fresh(&instance, candidate, offer, &agent, pool).map(|more| {
                            reserved += 1;
                            operations.extend(more);
                        })
                    }
                    Turn::Free(_) | Turn::Elsewhere => self
                        .place_free(&instance, candidate, offer, &agent, pool)
                        .map(|launch| launches.push(launch)),
                };
                if let Err(reasons) = placed {
                    // An offer that already started one of the app was not refused by it.
                    if !used.contains(&id) {
                        crate::queue::note_offer(&mut self.world, &id, offer, reasons);
                    }
                    if let Turn::Back(..) = turn {
                        held.refuse(&instance.id);
                        still.push(id);
                    }
                    continue;
                }
                if let Turn::Back(..) = turn {
                    held.use_up(&instance.id);
                    pool.drop_reserved(&instance.id);
                }
                if used.insert(id.clone()) {
                    crate::queue::note_offer(&mut self.world, &id, offer, Vec::new());
                }
                self.last_served = Some(id.clone());
                still.push(id);
            }
            waiting = still;
        }
        launches
    }

    /// Starts an instance on what is free.
    fn place_free(
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
        let shares = pool.take(&spec.resources, roles);
        let mut launch = self.provision(instance, candidate, agent, ports);
        crate::agents::took(&mut self.world, &launch.task, &shares);
        launch.shares = shares;
        Ok(launch)
    }

    /// The rules of one version are always the same. Those last asked for are kept: compiling an expression takes
    /// as long as looking at dozens of offers.
    fn candidate(&mut self, id: &SpecId, instance: &Instance) -> Option<Candidate> {
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
    fn launchable_after(&self, last: Option<&SpecId>) -> Vec<SpecId> {
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
                resources: spec.resources,
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

    fn of(view: &View, policy: &Policy, spec: Arc<AppSpec>, rules: Arc<Rules>) -> Candidate {
        let top = spec.id.top();
        let enforce_role = top.and_then(|it| view.groups.get(&it)).is_some_and(|it| it.enforce_role);
        let roles = marathon_spec::accepted_roles(&spec, &policy.rules);
        Candidate { spec, roles, enforce_role, rules }
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
    refusals.extend(pool.lacks(&spec.resources, roles));
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
