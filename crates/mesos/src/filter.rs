//! What the master may keep to itself: offers that no waiting instance could use (`--mesos_offer_constraints`).
//!
//! ```text
//! view ─► apps that wait, by role ─► a group of conditions for each ─► UPDATE_FRAMEWORK, if it is another than before
//! ```
//! A master knows less than the core, so every condition here is weaker than the rule it stands for: what the core
//! could use is never held back for good. A role of which something waits that no condition can describe is not
//! filtered at all. Conditions are never part of SUBSCRIBE, where one that a master does not understand would cost
//! the subscription; a master that refuses them is asked without them from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use marathon_mesos_v1 as v1;
use marathon_model::app::{AppSpec, Constraint, Operator};
use marathon_model::instance::{Agent, Goal, Instance};
use marathon_model::offer::Attribute;
use marathon_model::view::{App, View};
use v1::AttributeConstraintSelectorPseudoattributeType as Pseudo;

/// So many different groups of one role; beyond, the role is not filtered.
const GROUPS_MAX: usize = 100;
/// So many values that are taken already are named for one constraint. Others are declined here.
const VALUES_MAX: usize = 100;
/// A master takes expressions of 100 steps unless it is told otherwise.
const STEPS_MAX: usize = 80;
/// Steps of something that stands for any character, in UTF-8.
const ANY_STEPS: usize = 16;

/// Where the state is read, and how often it is looked at.
#[derive(Clone)]
pub struct Filtering {
    pub interval: Duration,
    pub view: Arc<dyn Fn() -> Arc<View> + Send + Sync>,
}

impl std::fmt::Debug for Filtering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filtering({:?})", self.interval)
    }
}

/// What the master was told of it.
#[derive(Default)]
pub struct Filter {
    /// The conditions that hold, empty ones included.
    sent: v1::OfferConstraints,
    revision: Option<u64>,
    /// When to look again; `None`: this master does not do it.
    next: Option<Instant>,
    refused: bool,
}

impl Filter {
    /// A subscription begins, without conditions. `able`: the master knows them.
    pub fn begin(&mut self, able: bool) {
        let next = (able && !self.refused).then(Instant::now);
        *self = Filter { next, refused: self.refused, ..Filter::default() };
    }

    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What has to go into every call that tells the master who we are. A role may have been left out since.
    pub fn sent(&self, is_known: impl Fn(&str) -> bool) -> Option<v1::OfferConstraints> {
        let mut sent = self.sent.clone();
        sent.role_constraints.retain(|role, _| is_known(role));
        Some(sent).filter(|it| !it.role_constraints.is_empty())
    }

    /// Looks at the state; whether the master has to be told something new. Roles that it does not know of us are left
    /// out, for they would spoil the call.
    pub fn look(&mut self, of: &Filtering, now: Instant, is_known: impl Fn(&str) -> bool) -> bool {
        self.next = Some(now + of.interval);
        let view = (of.view)();
        if self.revision == Some(view.revision) {
            return false;
        }
        self.revision = Some(view.revision);
        let mut conditions = conditions(&view);
        conditions.role_constraints.retain(|role, _| is_known(role));
        let is_new = conditions != self.sent;
        self.sent = conditions;
        is_new
    }

    /// The master does not take them. Whether there were any.
    pub fn give_up(&mut self) -> bool {
        let some = !self.sent.role_constraints.is_empty();
        self.refused |= some;
        some
    }
}

/// For each role of which something waits, what agents may be offered to it.
pub fn conditions(view: &View) -> v1::OfferConstraints {
    let mut by_role: BTreeMap<String, Option<BTreeMap<Vec<u8>, Group>>> = BTreeMap::new();
    for app in view.apps.values() {
        for (role, group) in waiting(app) {
            let groups = by_role.entry(role.to_owned()).or_insert_with(|| Some(BTreeMap::new()));
            let full = groups.as_ref().is_some_and(|it| it.len() >= GROUPS_MAX);
            match group.filter(|it| !full && !it.attribute_constraints.is_empty()) {
                Some(group) => {
                    if let Some(groups) = groups {
                        groups.insert(v1::Codec::Protobuf.encode(&group).to_vec(), group);
                    }
                }
                None => *groups = None,
            }
        }
    }
    let filtered = by_role.into_iter().filter_map(|(role, groups)| {
        let groups = groups?.into_values().collect();
        Some((role, v1::OfferConstraintsRoleConstraints { groups }))
    });
    v1::OfferConstraints { role_constraints: filtered.collect() }
}

type Group = v1::OfferConstraintsRoleConstraintsGroup;

/// The roles for which an app wants offers, each with its conditions; `None`: any offer may be of use.
fn waiting(app: &App) -> BTreeMap<&str, Option<Group>> {
    let mut all: BTreeMap<&str, Option<Group>> = BTreeMap::new();
    let mut of_now: Option<Group> = None;
    for it in app.instances.values() {
        if it.is_condemned() {
            all.insert(&it.role, None);
        } else if it.goal == Goal::Running && it.wants_launch() {
            let spec =
                app.spec.as_deref().filter(|spec| spec.config == it.config && it.reservation.is_none());
            let group = match (spec, &of_now) {
                (None, _) => None,
                (Some(_), Some(known)) => Some(known.clone()),
                (Some(spec), None) => Some(of_now.insert(group(spec, app)).clone()),
            };
            let known = all.entry(&it.role).or_insert_with(|| group.clone());
            if group.is_none() {
                *known = None;
            }
        }
    }
    all
}

fn group(spec: &AppSpec, app: &App) -> Group {
    let placed: Vec<&Agent> = match spec.constraints.iter().any(|it| counts(it.operator)) {
        true => {
            let ours = app.instances.values().filter(|it| it.config == spec.config && holds_place(it));
            ours.filter_map(|it| it.agent.as_deref()).collect()
        }
        false => Vec::new(),
    };
    let mut attribute_constraints: Vec<v1::AttributeConstraint> = Vec::new();
    for constraint in &spec.constraints {
        let selector = selector(&constraint.field);
        for predicate in predicates(constraint, &placed) {
            let it = v1::AttributeConstraint { selector: selector.clone(), predicate };
            if !attribute_constraints.contains(&it) {
                attribute_constraints.push(it);
            }
        }
    }
    Group { attribute_constraints }
}

/// Whether it matters where others are.
fn counts(operator: Operator) -> bool {
    matches!(operator, Operator::Unique | Operator::MaxPer | Operator::Cluster)
}

/// As the core counts.
fn holds_place(it: &Instance) -> bool {
    !it.is_over() || it.reservation.is_some() && !it.is_condemned()
}

fn selector(field: &str) -> v1::AttributeConstraintSelector {
    let pseudo = match field {
        "hostname" | "@hostname" => Pseudo::HOSTNAME,
        "@region" => Pseudo::REGION,
        "@zone" => Pseudo::ZONE,
        name => {
            return v1::AttributeConstraintSelector {
                attribute_name: Some(name.to_owned()),
                ..Default::default()
            };
        }
    };
    v1::AttributeConstraintSelector { pseudoattribute_type: Some(pseudo as i32), ..Default::default() }
}

/// The text at which an agent is placed. Of other kinds of attributes a master compares nothing.
fn value<'a>(agent: &'a Agent, field: &str) -> Option<&'a str> {
    match field {
        "hostname" | "@hostname" => Some(&agent.host),
        "@region" => agent.region.as_deref(),
        "@zone" => agent.zone.as_deref(),
        name => match agent.attributes.get(name)? {
            Attribute::Text(text) => Some(text),
            _ => None,
        },
    }
}

fn predicates(of: &Constraint, placed: &[&Agent]) -> Vec<v1::AttributeConstraintPredicate> {
    let wanted = of.value.as_deref().filter(|it| !it.is_empty());
    let counted = || {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for at in placed.iter().filter_map(|it| value(it, &of.field)) {
            *counts.entry(at).or_default() += 1;
        }
        counts
    };
    let not_where = |most: u32| {
        let counts = counted();
        let full: BTreeSet<&str> =
            counts.into_iter().filter(|(_, count)| *count >= most).map(|(value, _)| value).collect();
        let mut all = vec![exists()];
        all.extend(full.into_iter().take(VALUES_MAX).map(not_equal));
        all
    };
    match (of.operator, wanted) {
        (Operator::Unique, _) => not_where(1),
        (Operator::MaxPer, most) => match most.and_then(|it| it.parse().ok()) {
            Some(most) => not_where(most),
            None => Vec::new(),
        },
        // A number may be written in several ways.
        (Operator::Is, Some(text)) if text.parse::<f64>().is_err() => vec![equal(text)],
        (Operator::Cluster, Some(text)) => vec![equal(text)],
        (Operator::Cluster, None) => {
            let counts = counted();
            let mut values = counts.into_keys();
            match (values.next(), values.next()) {
                (Some(only), None) if placed.iter().all(|it| value(it, &of.field).is_some()) => {
                    vec![equal(only)]
                }
                _ => vec![exists()],
            }
        }
        (Operator::Like, Some(regex)) if is_simple(regex) => vec![matches(regex)],
        (Operator::Unlike, Some(regex)) if is_simple(regex) => vec![not_matches(regex)],
        (Operator::Like | Operator::GroupBy | Operator::Is, _) => vec![exists()],
        (Operator::Unlike | Operator::Unknown, _) => Vec::new(),
    }
}

/// Whether an expression means the same to a master, which has another engine, and is short enough for it.
fn is_simple(regex: &str) -> bool {
    let mut steps = 0;
    for it in regex.chars() {
        steps += match it {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | ' ' | ',' | ':' | '/' | '@' => 1,
            '|' | '(' | ')' | '*' | '+' => 2,
            '.' => ANY_STEPS,
            _ => return false,
        };
    }
    // `(?`, `*+` and the like are another matter.
    let odd = ["(?", "(*", "(+", "**", "*+", "+*", "++", "||", "(|", "|)", "()", "|*", "|+"];
    let depth = regex.chars().try_fold(0_u32, |depth, it| match it {
        '(' => Some(depth + 1),
        ')' => depth.checked_sub(1),
        _ => Some(depth),
    });
    steps <= STEPS_MAX
        && depth == Some(0)
        && !regex.starts_with(['*', '+', '|'])
        && !regex.ends_with('|')
        && !odd.iter().any(|it| regex.contains(it))
}

fn exists() -> v1::AttributeConstraintPredicate {
    v1::AttributeConstraintPredicate { exists: Some(Default::default()), ..Default::default() }
}

fn equal(value: &str) -> v1::AttributeConstraintPredicate {
    let text_equals = Some(v1::AttributeConstraintPredicateTextEquals { value: value.to_owned() });
    v1::AttributeConstraintPredicate { text_equals, ..Default::default() }
}

fn not_equal(value: &str) -> v1::AttributeConstraintPredicate {
    let text_not_equals = Some(v1::AttributeConstraintPredicateTextNotEquals { value: value.to_owned() });
    v1::AttributeConstraintPredicate { text_not_equals, ..Default::default() }
}

fn matches(regex: &str) -> v1::AttributeConstraintPredicate {
    let text_matches = Some(v1::AttributeConstraintPredicateTextMatches { regex: regex.to_owned() });
    v1::AttributeConstraintPredicate { text_matches, ..Default::default() }
}

fn not_matches(regex: &str) -> v1::AttributeConstraintPredicate {
    let text_not_matches = Some(v1::AttributeConstraintPredicateTextNotMatches { regex: regex.to_owned() });
    v1::AttributeConstraintPredicate { text_not_matches, ..Default::default() }
}
