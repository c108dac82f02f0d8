//! One more instance against every agent that is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::app::{AppSpec, Constraint};
use marathon_model::explain::{AgentRow, Lack, Placement, Refusals};
use marathon_model::id::InstanceId;
use marathon_model::instance::Instance;
use marathon_model::offer::Offer;
use marathon_model::resources::Milli;
use marathon_model::view::{AgentSeen, Mismatch};

use super::{Case, long};
use crate::constraint::{self, Places};
use crate::place::{self, Candidate};
use crate::pool::{Pool, PortWish, port_wishes};

/// What one definition asks for, and what of it is placed already.
pub(super) struct Wish {
    pub candidate: Candidate,
    pub places: Places,
    /// One of the instances at each value of each constrained field, to be named.
    holders: BTreeMap<(String, String), InstanceId>,
    pub ports: Vec<PortWish>,
}

impl Wish {
    pub fn of(case: &Case, it: &Instance) -> Option<Wish> {
        let candidate = Candidate::new(case.view, case.policy, &case.app.id, it)?;
        let places = constraint::places(&candidate.spec, case.app.instances.values().map(|it| &**it));
        let mut holders = BTreeMap::new();
        let fields = constraint::fields(&candidate.spec);
        if !fields.is_empty() {
            let placed = case.app.instances.values().filter(|it| it.config == candidate.spec.config);
            for it in placed.filter(|it| constraint::holds_place(it)) {
                for field in &fields {
                    let value = it.agent.as_ref().and_then(|agent| constraint::agent_value(agent, field));
                    if let Some(value) = value {
                        holders.entry(((*field).to_owned(), value)).or_insert_with(|| it.id.clone());
                    }
                }
            }
        }
        let ports = port_wishes(&candidate.spec);
        Some(Wish { candidate, places, holders, ports })
    }

    /// The same instances placed, and another definition for the next.
    pub fn changed(&self, case: &Case, spec: AppSpec) -> Wish {
        let rules = constraint::Rules::new(&spec).into();
        let candidate = Candidate::with(case.policy, spec.into(), rules, self.candidate.enforce_role);
        let ports = port_wishes(&candidate.spec);
        Wish { candidate, places: self.places.clone(), holders: BTreeMap::new(), ports }
    }

    /// Everything that is wrong with an agent, the first that counts first.
    pub fn refusals(&self, case: &Case, agent: &Seen) -> Vec<Mismatch> {
        let offer = &agent.seen.offer;
        let mut all = place::unfit(case.policy, case.now, &self.candidate, &self.places, offer, &agent.pool);
        all.sort_unstable();
        if all.is_empty() && !self.has_space(agent) {
            all.push(Mismatch::InsufficientDisk);
        }
        if all.is_empty() && agent.pool.lacks_ports(&self.ports, &self.candidate.roles).is_some() {
            all.push(Mismatch::InsufficientPorts);
        }
        all
    }

    /// Whether there is disk for its volumes beside what else it needs.
    fn has_space(&self, agent: &Seen) -> bool {
        let wishes = self.candidate.spec.persistent_volumes();
        if wishes.is_empty() {
            return true;
        }
        let mut pool = agent.pool.clone();
        pool.take(&self.candidate.need, &self.candidate.roles);
        pool.take_space(&wishes).is_some()
    }

    pub fn fits(&self, case: &Case, agent: &Seen) -> bool {
        self.refusals(case, agent).is_empty()
    }
}

/// An agent, and what it has left.
pub(super) struct Seen {
    pub seen: Arc<AgentSeen>,
    pub pool: Pool,
}

/// Where one more instance like this could go. Those that wait are alike, so one stands for all.
pub(super) fn placement(case: &Case, it: &Instance, rows: usize) -> Option<Placement> {
    let wish = Wish::of(case, it)?;
    let all: Vec<Seen> =
        case.view.agents.values().map(|it| Seen { seen: it.clone(), pool: Pool::of(&it.free) }).collect();
    let refusals: Vec<Vec<Mismatch>> = all.iter().map(|it| wish.refusals(case, it)).collect();
    let fitting = refusals.iter().filter(|it| it.is_empty()).count();
    let mut sums: BTreeMap<(Mismatch, Option<Constraint>), Sum> = BTreeMap::new();
    let mut shown = Vec::new();
    for (agent, refusals) in all.iter().zip(&refusals) {
        let first = refusals.first().copied();
        if let Some(reason) = first {
            let broken = broken(&wish, reason, &agent.seen.offer).cloned();
            let sum = sums.entry((reason, broken)).or_default();
            sum.agents += 1;
            if let Some(free) = amount(&wish, reason, agent).map(|(_, free)| free) {
                sum.best = sum.best.max(Some(free));
            }
            sum.example.get_or_insert_with(|| lack(case, &wish, reason, agent).text);
        }
        if shown.len() < rows {
            shown.push(AgentRow {
                agent: agent.seen.offer.agent.clone(),
                host: agent.seen.offer.hostname.clone(),
                at: agent.seen.at,
                refusal: first.map(|reason| lack(case, &wish, reason, agent)),
            });
        }
    }
    let suggestions = match fitting {
        0 => super::changes::suggest(case, &wish, &all, &refusals),
        _ => Vec::new(),
    };
    let refusals = sums.into_iter().map(|((reason, broken), sum)| Refusals {
        reason,
        agents: sum.agents,
        text: sum.text(&wish, reason, broken.as_ref()),
    });
    Some(Placement {
        agents: count(all.len()),
        fitting: count(fitting),
        refusals: refusals.collect(),
        rows: shown,
        suggestions,
    })
}

#[derive(Default)]
struct Sum {
    agents: u32,
    /// The most that is free of what is short.
    best: Option<Milli>,
    example: Option<String>,
}

impl Sum {
    fn text(self, wish: &Wish, reason: Mismatch, broken: Option<&Constraint>) -> String {
        if let (Some(best), Some((kind, unit, need))) = (self.best, kind(wish, reason)) {
            let most = if self.agents == 1 { "" } else { "at most " };
            let best = format!("{most}{}", amount_text(best, unit));
            return format!("not enough {kind} (needs {}, {best} free)", amount_text(need, unit));
        }
        match (broken, self.agents, self.example) {
            (_, 1, Some(example)) => example,
            (Some(constraint), ..) => format!("constraint {} forbids it", constraint_text(constraint)),
            (None, _, Some(example)) if reason != Mismatch::InsufficientPorts => example,
            (None, _, example) => example.unwrap_or_else(|| reason.name().to_owned()),
        }
    }
}

fn broken<'a>(wish: &'a Wish, reason: Mismatch, offer: &Offer) -> Option<&'a Constraint> {
    (reason == Mismatch::UnfulfilledConstraint).then(|| wish.candidate.rules.broken(offer, &wish.places))?
}

/// What is short, in which unit, and how much is needed.
fn kind(wish: &Wish, reason: Mismatch) -> Option<(&'static str, &'static str, Milli)> {
    let need = &wish.candidate.need;
    Some(match reason {
        Mismatch::InsufficientCpus => ("cpus", "cpus", need.cpus),
        Mismatch::InsufficientMemory => ("memory", "MiB", need.mem),
        // Volumes lie on one disk each, so that sums say nothing.
        Mismatch::InsufficientDisk if wish.candidate.spec.is_resident() => return None,
        Mismatch::InsufficientDisk => ("disk", "MiB", need.disk),
        Mismatch::InsufficientGpus => ("gpus", "gpus", Milli::from_whole(need.gpus.into())),
        _ => return None,
    })
}

/// What is needed of the resource that is short, and what is free.
fn amount(wish: &Wish, reason: Mismatch, agent: &Seen) -> Option<(Milli, Milli)> {
    let (_, _, need) = kind(wish, reason)?;
    let [cpus, mem, disk, gpus] = agent.pool.amounts(&wish.candidate.roles);
    let free = match reason {
        Mismatch::InsufficientCpus => cpus,
        Mismatch::InsufficientMemory => mem,
        Mismatch::InsufficientDisk => disk,
        _ => gpus,
    };
    Some((need, free))
}

pub(super) fn amount_text(amount: Milli, unit: &str) -> String {
    let unit = match (amount.0, unit) {
        (1000, "cpus") => "cpu",
        (1000, "gpus") => "gpu",
        (_, unit) => unit,
    };
    format!("{amount} {unit}")
}

pub(super) fn constraint_text(it: &Constraint) -> String {
    let operator = format!("{:?}", it.operator);
    let mut text = it.field.clone();
    text.push(' ');
    // `GroupBy` is written GROUP_BY.
    for (at, c) in operator.chars().enumerate() {
        if at > 0 && c.is_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    if let Some(value) = &it.value {
        text.push(' ');
        text.push_str(value);
    }
    text
}

/// The first thing that is wrong with an agent, in words and numbers.
fn lack(case: &Case, wish: &Wish, reason: Mismatch, agent: &Seen) -> Lack {
    let offer = &*agent.seen.offer;
    let numbers = amount(wish, reason, agent);
    let text = match reason {
        Mismatch::UnfulfilledRole => {
            let has: Vec<&str> = agent.pool.roles().into_iter().map(|it| &**it).collect();
            let wanted: Vec<&str> = wish.candidate.roles.iter().map(|it| &**it).collect();
            match has.is_empty() {
                true => "nothing is free".to_owned(),
                false => format!("role {} not offered, only {}", wanted.join(" or "), has.join(", ")),
            }
        }
        Mismatch::UnfulfilledConstraint => match wish.candidate.rules.broken(offer, &wish.places) {
            Some(constraint) => forbidden(wish, constraint, offer),
            None => {
                let here = offer.region.as_deref().unwrap_or("another region");
                let home = case.policy.master_region.as_deref().unwrap_or("the master's");
                format!(
                    "it is in region {here}, not in {home}, and no constraint on @region or @zone asks for it"
                )
            }
        },
        Mismatch::NoCorrespondingReservationFound => "what is reserved for it is not there".to_owned(),
        Mismatch::AgentMaintenance => maintenance(case, offer),
        Mismatch::InsufficientPorts => ports(wish, agent),
        Mismatch::InsufficientDisk if wish.candidate.spec.is_resident() => volumes(wish, agent),
        Mismatch::DeclinedScarceResources => {
            format!("it has {}, kept for those that need them", amount_text(agent.pool.gpus(), "gpus"))
        }
        _ => match (kind(wish, reason), numbers) {
            (Some((kind, unit, need)), Some((_, free))) => {
                let short = format!("needs {}, {} free", amount_text(need, unit), amount_text(free, unit));
                let elsewhere =
                    elsewhere(wish, reason, agent).map(|it| format!("; {it}")).unwrap_or_default();
                format!("not enough {kind}: {short}{elsewhere}")
            }
            _ => reason.name().to_owned(),
        },
    };
    let ports = (reason == Mismatch::InsufficientPorts)
        .then(|| agent.pool.lacks_ports(&wish.ports, &wish.candidate.roles))
        .flatten()
        .map(|it| (it.wanted, it.left));
    let whole = |it: usize| Milli::from_whole(it as u64);
    let numbers = numbers.or(ports.filter(|(wanted, left)| left < wanted).map(|(a, b)| (whole(a), whole(b))));
    Lack { reason, text, needed: numbers.map(|it| it.0), free: numbers.map(|it| it.1) }
}

/// Where there would be enough under roles that are not accepted.
fn elsewhere(wish: &Wish, reason: Mismatch, agent: &Seen) -> Option<String> {
    let all: Vec<_> = agent.pool.roles().into_iter().cloned().collect();
    let (need, free) = amount(wish, reason, agent)?;
    let [cpus, mem, disk, gpus] = agent.pool.amounts(&all);
    let total = match reason {
        Mismatch::InsufficientCpus => cpus,
        Mismatch::InsufficientMemory => mem,
        Mismatch::InsufficientDisk => disk,
        _ => gpus,
    };
    let others: Vec<&str> =
        all.iter().filter(|it| !wish.candidate.roles.contains(it)).map(|it| &**it).collect();
    (free < need && need <= total).then(|| format!("enough with what is reserved for {}", others.join(", ")))
}

fn forbidden(wish: &Wish, constraint: &Constraint, offer: &Offer) -> String {
    let rule = constraint_text(constraint);
    let Some(value) = constraint::offer_value(offer, &constraint.field) else {
        return format!("constraint {rule}: this agent has no {}", constraint.field);
    };
    let placed = wish.places.get(&constraint.field).map_or(0, |it| it.count(&value));
    if placed == 0 {
        return format!("constraint {rule}: here it is {value}");
    }
    let key = (constraint.field.clone(), value.clone());
    let named = wish.holders.get(&key).map_or_else(|| "one".to_owned(), |it| it.to_string());
    match placed {
        1 => format!("constraint {rule}: {value} already has instance {named}"),
        _ => format!("constraint {rule}: {value} already has {placed} instances, {named} among them"),
    }
}

fn maintenance(case: &Case, offer: &Offer) -> String {
    match offer.unavailability {
        Some((start, _)) if start > case.now => format!("maintenance begins in {}", long(start - case.now)),
        Some((start, Some(length))) => {
            format!("in maintenance for another {}", long((start + length) - case.now))
        }
        _ => "in maintenance without an end".to_owned(),
    }
}

fn volumes(wish: &Wish, agent: &Seen) -> String {
    let spec = &wish.candidate.spec;
    let each = spec.persistent_volumes().into_iter().map(|it| {
        let kind = format!("{:?}", it.kind).to_lowercase();
        format!("{} ({} MiB, {kind})", it.name, it.size)
    });
    let each: Vec<String> = each.collect();
    let [_, _, free, _] = agent.pool.amounts(&wish.candidate.roles);
    let free = amount_text(free, "MiB");
    format!("no disk for its volumes: {}; {free} free on the agent's own disk", each.join(", "))
}

fn ports(wish: &Wish, agent: &Seen) -> String {
    match agent.pool.lacks_ports(&wish.ports, &wish.candidate.roles) {
        Some(lack) if !lack.missing.is_empty() => {
            let numbers: Vec<String> = lack.missing.iter().map(u16::to_string).collect();
            let (noun, be) = if numbers.len() == 1 { ("port", "is") } else { ("ports", "are") };
            format!("{noun} {} {be} not free", numbers.join(", "))
        }
        Some(lack) => format!("needs {} host ports, {} free", lack.wanted, lack.left),
        None => "not enough ports".to_owned(),
    }
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
