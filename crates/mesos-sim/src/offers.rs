//! Who is offered what: allocation cycles, filters, declines, rescinds.
//!
//! As in Mesos, an offer is all that is free on one agent for one role. Roles and frameworks take turns by
//! their dominant share: the largest part of one scalar that they hold already.

use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1::{
    Address, AgentId, AttributeConstraint, AttributeConstraintSelectorPseudoattributeType as Pseudo,
    CallDecline, Event, EventOffers, EventRescind, EventType, ExecutorId, Filters, FrameworkId, Offer,
    OfferId, ResourceAllocationInfo, Url,
};

use crate::convert::write;
use crate::resources::Resources;
use crate::sim::Sim;
use crate::state::{Agent, Filter, Framework, Offer as Held, Shares};
use crate::time::Timer;

pub(crate) const DEFAULT_REFUSAL: f64 = 5.0;
pub(crate) const LONGEST_REFUSAL: f64 = 365.0 * 86400.0;

impl Sim {
    /// One allocation run, over one agent or all.
    pub fn allocate(&mut self, only: Option<usize>) {
        if self.leader.is_none() {
            return;
        }
        self.counters.allocation_runs += 1;
        let candidates = self.candidates();
        let mut made: Vec<(usize, Vec<Offer>)> = Vec::new();
        if !candidates.is_empty() {
            match only {
                Some(agent) => self.allocate_agent(agent, &candidates, &mut made),
                None => {
                    let count = self.agents.len();
                    self.next_start = if count == 0 { 0 } else { (self.next_start + 1) % count };
                    for at in 0..count {
                        self.allocate_agent((at + self.next_start) % count, &candidates, &mut made);
                    }
                }
            }
        }
        for (framework, offers) in made {
            let event = Event {
                r#type: Some(EventType::OFFERS as i32),
                offers: Some(EventOffers { offers }),
                ..Event::default()
            };
            self.tell(framework, &event);
        }
        self.invert(only);
    }

    /// Frameworks that want offers, by role.
    fn candidates(&self) -> Vec<(Arc<str>, usize)> {
        let mut out = Vec::new();
        for &framework in self.streams.values() {
            let it = &self.frameworks[framework];
            if it.is_connected() {
                let wanting = it.roles.iter().filter(|role| !it.suppressed.contains(*role));
                out.extend(wanting.map(|role| (role.clone(), framework)));
            }
        }
        out
    }

    fn allocate_agent(
        &mut self,
        agent: usize,
        candidates: &[(Arc<str>, usize)],
        made: &mut Vec<(usize, Vec<Offer>)>,
    ) {
        let it = &self.agents[agent];
        if it.free.is_empty() || !it.is_active() {
            return;
        }
        let mut order: Vec<&(Arc<str>, usize)> = candidates.iter().collect();
        if order.len() > 1 {
            order
                .sort_by(|a, b| self.turn(a).partial_cmp(&self.turn(b)).unwrap_or(std::cmp::Ordering::Equal));
        }
        for (role, framework) in order {
            let resources = self.offerable(agent, *framework, role);
            if !resources.is_empty() {
                let offer = self.make_offer(agent, *framework, role, resources);
                match made.iter_mut().find(|(it, _)| it == framework) {
                    Some((_, offers)) => offers.push(offer),
                    None => made.push((*framework, vec![offer])),
                }
            }
        }
    }

    /// What decides whose turn it is: the role's share, how often it was served, its name; then the same of the
    /// framework.
    fn turn<'a>(&self, (role, framework): &'a (Arc<str>, usize)) -> (f64, u64, &'a str, f64, usize) {
        let totals = self.roles.get(role);
        let mine = self.frameworks[*framework].shares.get(role).copied().unwrap_or_default();
        (
            self.dominant(totals.map(|it| it.allocated).unwrap_or_default()),
            totals.map(|it| it.allocations).unwrap_or_default(),
            role,
            self.dominant(mine),
            *framework,
        )
    }

    fn dominant(&self, shares: Shares) -> f64 {
        shares
            .iter()
            .zip(self.totals)
            .filter(|(_, total)| *total > 0)
            .map(|(it, total)| *it as f64 / total as f64)
            .fold(0.0, f64::max)
    }

    /// What this framework may be offered of the agent in this role; empty if nothing.
    fn offerable(&self, agent: usize, framework: usize, role: &str) -> Resources {
        let none = Resources::default();
        let it = &self.agents[agent];
        let wanting = &self.frameworks[framework];
        let gpus = self.config.filter_gpu_resources && it.total.scalar("gpus") > 0;
        if gpus && !wanting.abilities.gpus {
            return none;
        }
        let home = self
            .config
            .domain
            .as_ref()
            .and_then(|it| it.fault_domain.as_ref())
            .map(|it| it.region.name.as_str());
        if !wanting.abilities.region_aware && home.is_some() && it.region().is_some() && it.region() != home {
            return none;
        }
        if !passes_constraints(wanting, role, it) {
            return none;
        }
        let simple = it.free.0.iter().all(|(kind, _)| kind.detail.is_none());
        let resources = if simple {
            it.free.clone()
        } else {
            it.free.filtered(|kind| {
                let detail = kind.detail.as_deref();
                let refined = kind.reservations().len() > 1;
                (kind.reserved_for().is_none_or(|it| it == role || role.starts_with(&format!("{it}/"))))
                    && (!refined || wanting.abilities.refinement)
                    && detail.is_none_or(|it| {
                        (!it.shared || wanting.abilities.shared)
                            && (!it.revocable || wanting.abilities.revocable)
                    })
            })
        };
        if !is_allocatable(wanting, role, &resources) {
            return none;
        }
        let refused = it.filters.iter().any(|filter| {
            filter.framework == framework
                && &*filter.role == role
                && self.now < filter.until
                && filter.resources.contains(&resources)
        });
        if refused { none } else { resources }
    }

    fn make_offer(&mut self, agent: usize, framework: usize, role: &Arc<str>, resources: Resources) -> Offer {
        let number = self.next_offer;
        self.next_offer += 1;
        self.counters.offers += 1;
        self.charge(framework, role, &resources, 1);
        if let Some(totals) = self.roles.get_mut(role) {
            totals.allocations += 1;
        }
        let now = self.now;
        let it = &mut self.agents[agent];
        it.free.subtract(&resources);
        it.offers.push(number);
        it.filters.retain(|it| now < it.until);
        if let Some(timeout) = self.config.offer_timeout {
            self.timers.add(now.plus(timeout), Timer::OfferTimeout { offer: number });
        }
        self.offers.insert(number, Held { framework, agent, role: role.clone(), resources, made: now });
        self.offer_message(number)
    }

    pub(crate) fn offer_id(&self, number: u64) -> OfferId {
        OfferId { value: format!("{}-O{number}", self.master_id()) }
    }

    pub(crate) fn offer_number(&self, id: &OfferId) -> Option<u64> {
        let rest = id.value.strip_prefix(self.master_id())?.strip_prefix("-O")?;
        rest.parse().ok()
    }

    pub(crate) fn offer_message(&self, number: u64) -> Offer {
        let held = &self.offers[&number];
        let it = &self.agents[held.agent];
        let to = &self.frameworks[held.framework];
        let form = to.form();
        let executors = it.executors.iter().filter_map(|at| self.executors.get(*at));
        Offer {
            id: self.offer_id(number),
            framework_id: FrameworkId { value: to.id.to_string() },
            agent_id: AgentId { value: it.id.to_string() },
            hostname: it.hostname.clone(),
            url: Some(agent_url(it)),
            domain: it.domain.clone(),
            resources: write(&held.resources, Some(&held.role), form),
            attributes: (*it.attributes).clone(),
            executor_ids: executors
                .filter(|it| it.framework == held.framework)
                .map(|it| ExecutorId { value: it.id.to_string() })
                .collect(),
            unavailability: it.unavailability.clone(),
            allocation_info: form
                .multi_role
                .then(|| ResourceAllocationInfo { role: Some(held.role.to_string()) }),
        }
    }

    /// Takes an offer back without a word: it was used, declined, or nobody is there to hear.
    pub(crate) fn drop_offer(&mut self, number: u64) -> Option<Held> {
        let held = self.offers.remove(&number)?;
        self.agents[held.agent].offers.retain(|it| *it != number);
        self.charge(held.framework, &held.role, &held.resources, -1);
        Some(held)
    }

    /// Returns what an offer held to its agent.
    pub(crate) fn recover(&mut self, agent: usize, resources: &Resources) {
        self.agents[agent].free.add(resources);
    }

    pub(crate) fn rescind(&mut self, number: u64) {
        let Some(held) = self.drop_offer(number) else { return };
        self.recover(held.agent, &held.resources);
        self.counters.rescinds += 1;
        let event = Event {
            r#type: Some(EventType::RESCIND as i32),
            rescind: Some(EventRescind { offer_id: self.offer_id(number) }),
            ..Event::default()
        };
        self.tell(held.framework, &event);
    }

    pub(crate) fn rescind_agent(&mut self, agent: usize) {
        for number in self.agents[agent].offers.clone() {
            self.rescind(number);
        }
    }

    pub(crate) fn decline(&mut self, framework: usize, decline: &CallDecline) {
        for id in &decline.offer_ids {
            let Some(number) = self.offer_number(id) else { continue };
            if self.offers.get(&number).is_none_or(|it| it.framework != framework) {
                continue;
            }
            if let Some(held) = self.drop_offer(number) {
                self.recover(held.agent, &held.resources);
                self.refuse(&held, held.resources.clone(), decline.filters.as_ref());
            }
        }
    }

    /// Keeps what was not wanted away from that framework for a while.
    pub(crate) fn refuse(&mut self, held: &Held, resources: Resources, filters: Option<&Filters>) {
        let asked = filters.and_then(|it| it.refuse_seconds).unwrap_or(DEFAULT_REFUSAL);
        let seconds =
            if asked.is_finite() && 0.0 <= asked { asked.min(LONGEST_REFUSAL) } else { DEFAULT_REFUSAL };
        if seconds == 0.0 || resources.is_empty() {
            return;
        }
        let hold = Duration::from_secs_f64(seconds).max(self.config.allocation_interval);
        let filter = Filter {
            framework: held.framework,
            role: held.role.clone(),
            until: self.now.plus(hold),
            resources,
        };
        let now = self.now;
        let it = &mut self.agents[held.agent];
        it.filters.retain(|it| now < it.until);
        // A new refusal of at least as much, for at least as long, makes the older one redundant.
        it.filters.retain(|it| {
            it.framework != filter.framework
                || it.role != filter.role
                || filter.until < it.until
                || !filter.resources.contains(&it.resources)
        });
        it.filters.push(filter);
    }

    pub(crate) fn clear_filters(&mut self, framework: usize, role: Option<&str>) {
        for it in &mut self.agents {
            it.filters.retain(|it| it.framework != framework || role.is_some_and(|role| &*it.role != role));
        }
    }

    pub(crate) fn suppress(&mut self, framework: usize, roles: &[String]) {
        let it = &mut self.frameworks[framework];
        let roles = if roles.is_empty() {
            it.roles.clone()
        } else {
            roles.iter().map(|it| Arc::from(it.as_str())).collect()
        };
        if roles.iter().all(|role| it.roles.contains(role)) {
            it.suppressed.extend(roles);
        }
    }

    pub(crate) fn revive(&mut self, framework: usize, roles: &[String]) {
        let it = &mut self.frameworks[framework];
        let named: Vec<Arc<str>> = if roles.is_empty() {
            it.roles.clone()
        } else {
            roles.iter().map(|it| Arc::from(it.as_str())).collect()
        };
        if !named.iter().all(|role| it.roles.contains(role)) {
            return;
        }
        for role in &named {
            self.frameworks[framework].suppressed.remove(role);
            self.clear_filters(framework, Some(role));
        }
        self.allocate(None);
    }
}

pub(crate) fn agent_url(it: &Agent) -> Url {
    Url {
        scheme: "http".to_owned(),
        address: Address {
            hostname: Some(it.hostname.clone()),
            ip: Some(it.ip_text()),
            port: i32::from(it.port),
        },
        path: Some("/slave(1)".to_owned()),
        ..Url::default()
    }
}

/// At least 0.01 cpus or 32 MiB, unless the framework says what it takes for this role.
fn is_allocatable(framework: &Framework, role: &str, resources: &Resources) -> bool {
    let wanted = framework.info.offer_filters.get(role).and_then(|it| it.min_allocatable_resources.as_ref());
    match wanted {
        None => 10 <= resources.scalar("cpus") || 32_000 <= resources.scalar("mem"),
        Some(it) => {
            it.quantities.is_empty()
                || it.quantities.iter().any(|one| {
                    one.quantities
                        .iter()
                        .all(|(name, least)| crate::resources::milli(least.value) <= resources.scalar(name))
                })
        }
    }
}

fn passes_constraints(framework: &Framework, role: &str, agent: &Agent) -> bool {
    let Some(wanted) = framework.constraints.as_ref().and_then(|it| it.role_constraints.get(role)) else {
        return true;
    };
    wanted.groups.is_empty()
        || wanted.groups.iter().any(|it| it.attribute_constraints.iter().all(|it| passes(it, agent)))
}

/// The outer option: is there such an attribute; the inner: its text, if it is text.
fn selected<'a>(constraint: &AttributeConstraint, agent: &'a Agent) -> Option<Option<&'a str>> {
    let selector = &constraint.selector;
    if let Some(name) = &selector.attribute_name {
        let attribute = agent.attributes.iter().find(|it| it.name == *name)?;
        return Some(attribute.text.as_ref().map(|it| it.value.as_str()));
    }
    let pseudo = selector.pseudoattribute_type.unwrap_or_default();
    let fault = agent.domain.as_ref().and_then(|it| it.fault_domain.as_ref());
    if pseudo == Pseudo::HOSTNAME as i32 {
        Some(Some(&agent.hostname))
    } else if pseudo == Pseudo::REGION as i32 {
        fault.map(|it| Some(it.region.name.as_str()))
    } else if pseudo == Pseudo::ZONE as i32 {
        fault.map(|it| Some(it.zone.name.as_str()))
    } else {
        None
    }
}

fn passes(constraint: &AttributeConstraint, agent: &Agent) -> bool {
    let found = selected(constraint, agent);
    let predicate = &constraint.predicate;
    let matches = |regex: &str, text: &str| {
        regex::Regex::new(&format!("^(?:{regex})$")).is_ok_and(|it| it.is_match(text))
    };
    let text_test = |missing: bool, test: &dyn Fn(&str) -> bool| match found {
        None => missing,
        Some(None) => true,
        Some(Some(text)) => test(text),
    };
    if predicate.exists.is_some() {
        found.is_some()
    } else if predicate.not_exists.is_some() {
        found.is_none()
    } else if let Some(it) = &predicate.text_equals {
        text_test(false, &|text| text == it.value)
    } else if let Some(it) = &predicate.text_not_equals {
        text_test(true, &|text| text != it.value)
    } else if let Some(it) = &predicate.text_matches {
        text_test(false, &|text| matches(&it.regex, text))
    } else if let Some(it) = &predicate.text_not_matches {
        text_test(true, &|text| !matches(&it.regex, text))
    } else {
        true
    }
}
