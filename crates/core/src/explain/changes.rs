//! The smallest change that would place one more instance. A change is named only after the changed definition
//! (or the agent that would be added) was tried against what the agents have left.

use std::sync::Arc;

use marathon_model::app::{AppSpec, Constraint, DiskKind, Networking, Operator};
use marathon_model::explain::{Change, Suggestion};
use marathon_model::id::{AgentId, OfferId};
use marathon_model::offer::{Attribute, Offer};
use marathon_model::resources::{ANY_ROLE, Amount, Milli, PortRange, Resource};
use marathon_model::view::{AgentSeen, Mismatch};

use super::agents::{Seen, Wish, amount_text, constraint_text, count};
use super::{Case, long};
use crate::pool::{Pool, PortWish};

/// The host name of an agent that does not exist.
const NEW: &str = "a-new-agent";
const GPU_LABEL: &str = "GPU_SCHEDULING_BEHAVIOR";

/// Called when nothing fits. `refusals`: of each agent, all there are.
pub(super) fn suggest(case: &Case, wish: &Wish, all: &[Seen], refusals: &[Vec<Mismatch>]) -> Vec<Suggestion> {
    let spec = &*wish.candidate.spec;
    let tries = Tries { case, wish, all, refusals };
    let mut found = Vec::new();
    // What is reserved for volumes cannot be changed afterwards.
    if !spec.is_resident() {
        found.extend(less(&tries, spec, refusals));
        found.extend(other_ports(&tries, spec, refusals));
    }
    found.extend(more_roles(&tries, spec));
    for at in 0..spec.constraints.len() {
        found.extend(looser(&tries, spec, at));
    }
    found.extend(gpus_allowed(&tries, spec));
    found.extend(wait(case, all, refusals));
    found.extend(one_more_agent(&tries, spec));
    found
}

struct Tries<'a> {
    case: &'a Case<'a>,
    wish: &'a Wish,
    all: &'a [Seen],
    /// Of each agent, all that is wrong with it now.
    refusals: &'a [Vec<Mismatch>],
}

impl Tries<'_> {
    /// How many agents another definition would fit; `None` where there are none. `changes`: which refusals
    /// such a definition can do something about; agents with others need not be tried.
    fn fitting(&self, spec: AppSpec, changes: impl Fn(Mismatch) -> bool) -> Option<u32> {
        let wish = self.wish.changed(self.case, spec);
        let all = self.all.iter().zip(self.refusals);
        let hopeful = all.filter(|(_, refusals)| refusals.iter().all(|it| changes(*it)));
        let fitting = hopeful.filter(|(it, _)| wish.fits(self.case, it)).count();
        (fitting > 0).then(|| count(fitting))
    }
}

fn is_amount(it: Mismatch) -> bool {
    use Mismatch::*;
    matches!(it, InsufficientCpus | InsufficientMemory | InsufficientDisk | InsufficientGpus)
}

fn is_constraint(it: Mismatch) -> bool {
    it == Mismatch::UnfulfilledConstraint
}

/// Lowers what is short on the agent that is nearest to fitting.
fn less(tries: &Tries, spec: &AppSpec, refusals: &[Vec<Mismatch>]) -> Option<Suggestion> {
    let short = |it: &Vec<Mismatch>| it.iter().all(|it| is_amount(*it));
    let need = &spec.resources;
    let executor = tries.wish.candidate.executor;
    let beside = [executor.cpus, executor.mem, executor.disk, Milli::from_whole(executor.gpus.into())];
    let needs = [need.cpus, need.mem, need.disk, Milli::from_whole(need.gpus.into())];
    let candidates = tries.all.iter().zip(refusals).filter(|(_, it)| !it.is_empty() && short(it));
    // By how much, in thousandths of what is asked for, over all kinds that are short.
    let cost = |free: &[Milli; 4]| -> u64 {
        let each = needs.iter().zip(free).filter(|(need, free)| free < need);
        each.map(|(need, free)| (need.0 - free.0).saturating_mul(1000) / need.0).sum()
    };
    let nearest = candidates
        .map(|(agent, _)| agent.pool.amounts(&tries.wish.candidate.roles))
        .map(|free| std::array::from_fn(|at| free[at].saturating_sub(beside[at])))
        // An app with nothing of what it needs is no app.
        .filter(|free| needs.iter().zip(free).take(2).all(|(need, free)| need.0 == 0 || free.0 > 0))
        .min_by_key(|free| (cost(free), *free))?;
    let lower = |at: usize| (nearest[at] < needs[at]).then_some(nearest[at]);
    let (cpus, mem, disk) = (lower(0), lower(1), lower(2));
    let gpus = lower(3).map(|it| u32::try_from(it.0 / 1000).unwrap_or(u32::MAX));
    let mut changed = spec.clone();
    let mut parts = Vec::new();
    let mut part = |name: &str, to: Option<Milli>, unit: &str| {
        parts.extend(to.map(|it| format!("{name} to {}", amount_text(it, unit))));
    };
    part("cpus", cpus, "cpus");
    part("mem", mem, "MiB");
    part("disk", disk, "MiB");
    part("gpus", lower(3), "gpus");
    changed.resources.cpus = cpus.unwrap_or(need.cpus);
    changed.resources.mem = mem.unwrap_or(need.mem);
    changed.resources.disk = disk.unwrap_or(need.disk);
    changed.resources.gpus = gpus.unwrap_or(need.gpus);
    let agents = tries.fitting(changed, is_amount)?;
    let of = if spec.is_pod() { ", in sum over its containers" } else { "" };
    let text = format!("lower {}{of}", parts.join(" and "));
    Some(Suggestion { text, change: Change::Resources { cpus, mem, disk, gpus }, agents })
}

/// Any ports instead of those by number, or those by number freed on the agent that lacks fewest.
fn other_ports(tries: &Tries, spec: &AppSpec, refusals: &[Vec<Mismatch>]) -> Vec<Suggestion> {
    let mut found = Vec::new();
    let fixed = tries.wish.ports.iter().any(|it| matches!(it, PortWish::Exactly(_)));
    let only_ports =
        tries.all.iter().zip(refusals).filter(|(_, it)| it.as_slice() == [Mismatch::InsufficientPorts]);
    let lacks = only_ports.filter_map(|(agent, _)| {
        let lack = agent.pool.lacks_ports(&tries.wish.ports, &tries.wish.candidate.roles)?;
        (!lack.missing.is_empty() && lack.left >= lack.wanted).then_some((agent, lack.missing))
    });
    if let Some((agent, missing)) = lacks.min_by_key(|(_, missing)| missing.len()) {
        let numbers: Vec<String> = missing.iter().map(u16::to_string).collect();
        let noun = if missing.len() == 1 { "port" } else { "ports" };
        let offer = &agent.seen.offer;
        let holder = holder(tries.case, &offer.agent, missing[0]);
        let holder = holder.map(|it| format!(", which {it} has")).unwrap_or_default();
        found.push(Suggestion {
            text: format!("free {noun} {} on {}{holder}", numbers.join(", "), offer.hostname),
            change: Change::FreePorts { agent: offer.agent.clone(), ports: missing },
            agents: 1,
        });
    }
    if fixed && !spec.is_pod() {
        let mut changed = spec.clone();
        match &mut changed.networking {
            Networking::Host { require_ports, .. } => *require_ports = false,
            Networking::Bridge { mappings, .. } | Networking::Container { mappings, .. } => {
                mappings.iter_mut().filter(|it| it.host_port.is_some()).for_each(|it| it.host_port = Some(0));
            }
        }
        let text = match &spec.networking {
            Networking::Host { .. } => "take any ports (requirePorts false)",
            _ => "take any host ports (hostPort 0)",
        };
        let ports = |it| it == Mismatch::InsufficientPorts;
        found.extend(tries.fitting(changed, ports).map(|agents| Suggestion {
            text: text.to_owned(),
            change: Change::AnyPorts,
            agents,
        }));
    }
    found
}

/// Who of ours has a port on an agent.
fn holder(case: &Case, agent: &AgentId, port: u16) -> Option<String> {
    let all = case.view.apps.values().flat_map(|app| app.instances.values());
    let mut live = all.filter(|it| !it.is_over() && it.agent.as_ref().is_some_and(|it| it.id == *agent));
    let found = live.find(|it| it.task.as_ref().is_some_and(|task| task.ports.contains(&port)));
    found.map(|it| it.id.to_string())
}

/// The roles an app may accept are `*` and its own.
fn more_roles(tries: &Tries, spec: &AppSpec) -> Option<Suggestion> {
    let mut roles = vec![spec.role.clone()];
    if *spec.role != *ANY_ROLE {
        roles.push(ANY_ROLE.into());
    }
    let known = &tries.wish.candidate.roles;
    let added: Vec<&str> = roles.iter().filter(|it| !known.contains(it)).map(|it| &**it).collect();
    if added.is_empty() || spec.is_resident() {
        return None;
    }
    let by_role = |it| is_amount(it) || matches!(it, Mismatch::UnfulfilledRole | Mismatch::InsufficientPorts);
    let changed = AppSpec { accepted_resource_roles: Some(roles.clone()), ..spec.clone() };
    let agents = tries.fitting(changed, by_role)?;
    let noun = if added.len() == 1 { "role" } else { "roles" };
    let text = format!("accept resources of {noun} {} too", added.join(", "));
    Some(Suggestion { text, change: Change::AcceptedRoles(roles), agents })
}

/// One constraint less, or with a higher limit.
fn looser(tries: &Tries, spec: &AppSpec, at: usize) -> Option<Suggestion> {
    let constraint = spec.constraints.get(at)?;
    let number = constraint.value.as_deref().and_then(|it| it.parse::<u32>().ok());
    let raised = match (constraint.operator, number) {
        (Operator::MaxPer, Some(max)) => max.checked_add(1),
        _ => None,
    };
    let before = constraint_text(constraint);
    let raise = raised.and_then(|max| {
        let mut constraints = spec.constraints.clone();
        constraints[at].value = Some(max.to_string());
        let changed = AppSpec { constraints: constraints.clone(), ..spec.clone() };
        let agents = tries.fitting(changed, is_constraint)?;
        let text = format!("raise {before} to {max}");
        Some(Suggestion { text, change: Change::Constraints(constraints), agents })
    });
    raise.or_else(|| {
        let mut constraints = spec.constraints.clone();
        constraints.remove(at);
        let changed = AppSpec { constraints: constraints.clone(), ..spec.clone() };
        let agents = tries.fitting(changed, is_constraint)?;
        let text = format!("relax constraint {before}");
        Some(Suggestion { text, change: Change::Constraints(constraints), agents })
    })
}

fn gpus_allowed(tries: &Tries, spec: &AppSpec) -> Option<Suggestion> {
    if spec.labels.get(GPU_LABEL).is_some_and(|it| it == "unrestricted") {
        return None;
    }
    let mut labels = spec.labels.clone();
    labels.insert(GPU_LABEL.to_owned(), "unrestricted".to_owned());
    let changed = AppSpec { labels: labels.clone(), ..spec.clone() };
    let agents = tries.fitting(changed, |it| it == Mismatch::DeclinedScarceResources)?;
    let text = format!("let it use agents with gpus (label {GPU_LABEL}=unrestricted)");
    Some(Suggestion { text, change: Change::Labels(labels), agents })
}

/// Maintenance with an end is over by itself.
fn wait(case: &Case, all: &[Seen], refusals: &[Vec<Mismatch>]) -> Option<Suggestion> {
    let only = all.iter().zip(refusals).filter(|(_, it)| it.as_slice() == [Mismatch::AgentMaintenance]);
    let ends = only.filter_map(|(agent, _)| {
        let (start, length) = agent.seen.offer.unavailability?;
        Some((start + length?, &agent.seen.offer.hostname))
    });
    let (end, host) = ends.min()?;
    let left = end - case.now;
    let text = format!("wait {} for the end of the maintenance of {host}", long(left));
    Some(Suggestion { text, change: Change::Wait(left), agents: 1 })
}

/// An agent with exactly what is needed, and with attributes that please the constraints.
fn one_more_agent(tries: &Tries, spec: &AppSpec) -> Option<Suggestion> {
    let roles = &tries.wish.candidate.roles;
    let role = roles.iter().find(|it| ***it == *ANY_ROLE).or(roles.first())?;
    let need = &tries.wish.candidate.need;
    let volumes = spec.persistent_volumes().into_iter().filter(|it| it.kind == DiskKind::Root);
    let disk = need.disk + volumes.map(|it| Milli::from_whole(it.size)).sum::<Milli>();
    let mut resources: Vec<Resource> = [
        Amount::Cpus(need.cpus),
        Amount::Mem(need.mem),
        Amount::Disk(disk),
        Amount::Gpus(Milli::from_whole(need.gpus.into())),
    ]
    .into_iter()
    .map(|it| Resource::new(role.clone(), it))
    .collect();
    resources.push(Resource::new(role.clone(), Amount::Ports(vec![PortRange { first: 1, last: u16::MAX }])));
    let mut offer = Offer {
        id: OfferId::new(NEW),
        agent: AgentId::new(NEW),
        hostname: NEW.into(),
        role: role.clone(),
        resources,
        attributes: Default::default(),
        region: tries.case.policy.master_region.as_deref().map(Into::into),
        zone: None,
        unavailability: None,
    };
    let mut named = Vec::new();
    for constraint in &spec.constraints {
        let value = pleasing(tries.wish, constraint)?;
        if value != NEW {
            named.push(format!("{} {value}", constraint.field));
        } else if constraint.field != "hostname" && constraint.field != "@hostname" {
            named.push(format!("a new {}", constraint.field));
        }
        match constraint.field.as_str() {
            "hostname" | "@hostname" => offer.hostname = value.as_str().into(),
            "@region" => offer.region = Some(value.as_str().into()),
            "@zone" => offer.zone = Some(value.as_str().into()),
            field => {
                Arc::make_mut(&mut offer.attributes).insert(field.to_owned(), Attribute::Text(value));
            }
        }
    }
    let free = offer.resources.clone();
    let seen = AgentSeen { offer: Arc::new(offer), free, at: tries.case.now };
    let agent = Seen { pool: Pool::of(&seen.free), seen: Arc::new(seen) };
    if !tries.wish.fits(tries.case, &agent) {
        return None;
    }
    let mut parts = vec![amount_text(need.cpus, "cpus"), amount_text(need.mem, "MiB")];
    if disk > Milli::ZERO {
        parts.push(format!("{} of disk", amount_text(disk, "MiB")));
    }
    if need.gpus > 0 {
        parts.push(amount_text(Milli::from_whole(need.gpus.into()), "gpus"));
    }
    let last = parts.pop().unwrap_or_default();
    let mut text = format!("add 1 agent with {} and {last} free", parts.join(", "));
    if **role != *ANY_ROLE {
        text.push_str(&format!(" for role {role}"));
    }
    if !named.is_empty() {
        text.push_str(&format!(", and with {}", named.join(", ")));
    }
    Some(Suggestion { text, change: Change::AddAgent, agents: 1 })
}

/// A value of a field that a constraint allows, if one can be named.
fn pleasing(wish: &Wish, constraint: &Constraint) -> Option<String> {
    let value = constraint.value.clone();
    match constraint.operator {
        Operator::Is | Operator::Cluster if value.is_some() => value,
        Operator::Cluster => {
            let placed = wish.places.get(&constraint.field);
            Some(placed.and_then(|it| it.largest()).map_or_else(|| NEW.to_owned(), str::to_owned))
        }
        // An expression without special characters is a value itself; others are tried as they are.
        Operator::Like => value,
        _ => Some(NEW.to_owned()),
    }
}
