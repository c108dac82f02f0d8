//! Placement constraints: may one more instance of an app go to this agent?
//!
//! What is compiled once (`Rules`) stays apart from what is counted (`Places`, kept up to date in the index
//! wherever instances change), so that an offer costs the same whether ten instances are placed or a million.

use std::collections::BTreeMap;

use marathon_model::app::{AppSpec, Constraint, Operator};
use marathon_model::instance::{Agent, Instance};
use marathon_model::offer::{Attribute, Offer};
use marathon_spec::Pattern;

/// The constraints of one definition, their expressions compiled.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    constraint: Constraint,
    /// Full match, as in the original.
    pattern: Option<Pattern>,
}

/// The instances of one configuration that hold a place, for each field its constraints ask about.
pub type Places = BTreeMap<String, Spread>;

/// How many instances hold a place at each value of one field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    by_value: BTreeMap<String, u32>,
    /// How many values have how many instances: what GROUP_BY and CLUSTER ask for, without a look at all.
    sizes: BTreeMap<u32, u32>,
}

impl Spread {
    pub fn add(&mut self, value: String) {
        let count = self.by_value.entry(value).or_default();
        *count += 1;
        let count = *count;
        self.resize(count - 1, count);
    }

    pub fn remove(&mut self, value: &str) {
        let Some(count) = self.by_value.get_mut(value) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            self.by_value.remove(value);
        }
        self.resize(count + 1, count);
    }

    fn resize(&mut self, before: u32, now: u32) {
        if let Some(number) = self.sizes.get_mut(&before) {
            *number -= 1;
            if *number == 0 {
                self.sizes.remove(&before);
            }
        }
        if now > 0 {
            *self.sizes.entry(now).or_default() += 1;
        }
    }

    pub fn count(&self, value: &str) -> u32 {
        self.by_value.get(value).copied().unwrap_or(0)
    }

    /// The value of a largest group.
    pub fn largest(&self) -> Option<&str> {
        let most = self.most();
        self.by_value.iter().find(|(_, count)| **count == most).map(|(value, _)| value.as_str())
    }

    pub fn groups(&self) -> usize {
        self.by_value.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_value.is_empty()
    }

    /// The size of a smallest group.
    pub fn least(&self) -> u32 {
        self.sizes.first_key_value().map_or(0, |(size, _)| *size)
    }

    /// The size of a largest group.
    pub fn most(&self) -> u32 {
        self.sizes.last_key_value().map_or(0, |(size, _)| *size)
    }
}

/// Whether an instance counts for constraints: everything that is somewhere, or may turn up there again.
pub fn holds_place(it: &Instance) -> bool {
    // What owns volumes comes back to them.
    !it.is_over() || it.reservation.is_some() && !it.is_condemned()
}

/// Counts one instance under each field that constraints ask about.
pub fn place(places: &mut Places, agent: &Agent, fields: &[&str]) {
    for field in fields {
        if let Some(value) = agent_value(agent, field) {
            match places.get_mut(*field) {
                Some(spread) => spread.add(value),
                None => places.entry((*field).to_owned()).or_default().add(value),
            }
        }
    }
}

/// Takes one instance out of all counts.
pub fn displace(places: &mut Places, agent: &Agent) {
    places.retain(|field, spread| {
        if let Some(value) = agent_value(agent, field) {
            spread.remove(&value);
        }
        !spread.is_empty()
    });
}

/// The fields a definition has constraints on, each once.
pub fn fields(spec: &AppSpec) -> Vec<&str> {
    let mut all: Vec<&str> = spec.constraints.iter().map(|it| it.field.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A fresh count over the instances of one configuration.
pub fn places<'a>(spec: &AppSpec, instances: impl Iterator<Item = &'a Instance>) -> Places {
    let fields = fields(spec);
    let mut places = Places::new();
    if !fields.is_empty() {
        for it in instances.filter(|it| it.config == spec.config && holds_place(it)) {
            if let Some(agent) = &it.agent {
                place(&mut places, agent, &fields);
            }
        }
    }
    places
}

impl Rules {
    pub fn new(spec: &AppSpec) -> Rules {
        let rules = spec.constraints.iter().map(|constraint| Rule {
            constraint: constraint.clone(),
            pattern: match constraint.operator {
                Operator::Like | Operator::Unlike => {
                    constraint.value.as_deref().and_then(|it| Pattern::new(it).ok())
                }
                _ => None,
            },
        });
        Rules { rules: rules.collect() }
    }

    pub fn allow(&self, offer: &Offer, places: &Places) -> bool {
        self.broken(offer, places).is_none()
    }

    /// The first constraint that forbids one more instance there.
    pub fn broken(&self, offer: &Offer, places: &Places) -> Option<&Constraint> {
        let nowhere = Spread::default();
        let broken = self.rules.iter().find(|it| {
            let field = &it.constraint.field;
            let spread = places.get(field).unwrap_or(&nowhere);
            !it.allows(offer_value(offer, field).as_deref(), spread)
        });
        broken.map(|it| &it.constraint)
    }
}

impl Rules {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a place that is refused now may be allowed once others are taken.
    pub fn balance(&self) -> bool {
        self.rules.iter().any(|it| it.constraint.operator == Operator::GroupBy)
    }

    /// Which of these instances are where they should not be. Where too many share a value, the first of them
    /// are; GROUP_BY is a matter of balance and says nothing here.
    pub fn misplaced(&self, agents: &[Option<&Agent>]) -> Vec<bool> {
        let mut misplaced = vec![false; agents.len()];
        for rule in &self.rules {
            let Constraint { field, operator, value } = &rule.constraint;
            let values: Vec<Option<String>> =
                agents.iter().map(|it| it.and_then(|it| agent_value(it, field))).collect();
            let mut placed = Spread::default();
            for (value, gone) in values.iter().zip(&misplaced) {
                placed_if(&mut placed, value.as_ref().filter(|_| !gone));
            }
            let held = placed.largest().map(str::to_owned);
            for (value_here, gone) in values.iter().zip(&mut misplaced).filter(|(_, gone)| !**gone) {
                let here = value_here.as_deref();
                let count = here.map_or(0, |it| placed.count(it));
                *gone = match (operator, value.as_deref()) {
                    (Operator::GroupBy, _) => false,
                    (Operator::Unique, _) => count > 1,
                    (Operator::MaxPer, max) => {
                        max.and_then(|it| it.parse().ok()).is_some_and(|max: u32| count > max)
                    }
                    (Operator::Cluster, None | Some("")) => here != held.as_deref(),
                    _ => !rule.allows(here, &Spread::default()),
                };
                if let (true, Some(value)) = (*gone, here) {
                    placed.remove(value);
                }
            }
        }
        misplaced
    }
}

fn placed_if(placed: &mut Spread, value: Option<&String>) {
    if let Some(value) = value {
        placed.add(value.clone());
    }
}

impl Rule {
    fn allows(&self, offered: Option<&str>, placed: &Spread) -> bool {
        let wanted = self.constraint.value.as_deref();
        let Some(x) = offered else { return self.constraint.operator == Operator::Unlike };
        let count = placed.count(x);
        match self.constraint.operator {
            Operator::Unique => count == 0,
            Operator::Cluster => match wanted {
                Some(value) if !value.is_empty() => x == value,
                // Where instances are, and most of them should they be scattered.
                _ => placed.is_empty() || count == placed.most(),
            },
            Operator::Like => !x.is_empty() && self.pattern.as_ref().is_some_and(|it| it.is_match(x)),
            Operator::Unlike => !x.is_empty() && self.pattern.as_ref().is_some_and(|it| !it.is_match(x)),
            Operator::MaxPer => wanted.and_then(|it| it.parse::<u32>().ok()).is_some_and(|max| count < max),
            Operator::Is => wanted.is_some_and(|it| x == normal_scalar(it)),
            Operator::Unknown => false,
            Operator::GroupBy => {
                let groups = match wanted {
                    Some("inf") => usize::MAX,
                    other => other.and_then(|it| it.parse().ok()).unwrap_or(0),
                };
                count == 0 || (placed.groups() >= groups && count == placed.least())
            }
        }
    }
}

pub fn offer_value(offer: &Offer, field: &str) -> Option<String> {
    match field {
        "hostname" | "@hostname" => Some(offer.hostname.to_string()),
        "@region" => offer.region.as_deref().map(str::to_owned),
        "@zone" => offer.zone.as_deref().map(str::to_owned),
        _ => offer.attributes.get(field).map(format),
    }
}

pub fn agent_value(agent: &Agent, field: &str) -> Option<String> {
    match field {
        "hostname" | "@hostname" => Some(agent.host.to_string()),
        "@region" => agent.region.as_deref().map(str::to_owned),
        "@zone" => agent.zone.as_deref().map(str::to_owned),
        _ => agent.attributes.get(field).map(format),
    }
}

/// An attribute as constraints compare it.
fn format(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Scalar(value) => scalar(*value),
        Attribute::Text(text) => text.clone(),
        Attribute::Ranges(ranges) => {
            let mut ranges = ranges.clone();
            ranges.sort_unstable();
            let parts: Vec<String> = ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
            format!("[{}]", parts.join(","))
        }
        Attribute::Set(items) => {
            let mut items = items.clone();
            items.sort_unstable();
            format!("{{{}}}", items.join(","))
        }
    }
}

/// At most three digits after the point, rounded half to even, no trailing zeros.
fn scalar(value: f64) -> String {
    let text = format!("{:.3}", (value * 1000.0).round_ties_even() / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value of `IS` that looks like a scalar is written the way scalars are.
fn normal_scalar(value: &str) -> String {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let is_scalar = match value.split_once('.') {
        None => digits(value),
        Some((whole, rest)) => digits(whole) && digits(rest),
    };
    match value.parse::<f64>() {
        Ok(number) if is_scalar => scalar(number),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::{AgentId, OfferId, PathId};
    use std::sync::Arc;

    fn agent(rack: &str) -> Agent {
        let attributes = Arc::new(BTreeMap::from([("rack".to_owned(), Attribute::Text(rack.to_owned()))]));
        Agent { id: AgentId::new(rack), host: rack.into(), region: None, zone: None, attributes }
    }

    /// `placed`: the racks of placed instances; `racks`: which of the offered racks may take one more.
    fn check(operator: Operator, value: Option<&str>, placed: &str, offered: &str, want: &str) {
        let mut spec = AppSpec::new(PathId::parse("/a").unwrap());
        let value = value.map(str::to_owned);
        spec.constraints = vec![Constraint { field: "rack".to_owned(), operator, value }];
        let agents: Vec<Agent> = placed.split_whitespace().map(agent).collect();
        let mut places = Places::new();
        agents.iter().for_each(|it| place(&mut places, it, &["rack"]));
        let rules = Rules::new(&spec);
        let allowed = |rack: &&str| {
            let it = agent(rack);
            let offer = Offer {
                id: OfferId::new("o"),
                agent: it.id,
                hostname: it.host,
                role: "*".into(),
                resources: Vec::new(),
                attributes: if *rack == "-" { Arc::default() } else { it.attributes },
                region: None,
                zone: None,
                unavailability: None,
            };
            rules.allow(&offer, &places)
        };
        let got: Vec<&str> = offered.split_whitespace().filter(allowed).collect();
        assert_eq!(got.join(" "), want, "{operator:?} {:?} over {placed}", spec.constraints[0].value);
    }

    #[test]
    fn operators() {
        check(Operator::Unique, None, "r1 r2", "r1 r2 r3 -", "r3");
        check(Operator::Cluster, None, "", "r1 r2", "r1 r2");
        check(Operator::Cluster, None, "r2", "r1 r2", "r2");
        check(Operator::Cluster, Some("r1"), "r2", "r1 r2", "r1");
        check(Operator::Like, Some("r[12]"), "", "r1 r2 r3 r11", "r1 r2");
        check(Operator::Unlike, Some("r[12]"), "", "r1 r2 r3 -", "r3 -");
        check(Operator::MaxPer, Some("2"), "r1 r1 r2", "r1 r2 r3", "r2 r3");
        check(Operator::Is, Some("r1"), "", "r1 r2", "r1");
        check(Operator::GroupBy, None, "r1 r1 r2", "r1 r2 r3", "r2 r3");
        check(Operator::GroupBy, Some("3"), "r1", "r1 r2", "r2");
        check(Operator::GroupBy, Some("inf"), "r1 r2", "r1 r2 r3", "r3");
        check(Operator::GroupBy, Some("3"), "r1 r2 r3", "r1 r2 r3", "r1 r2 r3");
        check(Operator::GroupBy, Some("3"), "r1 r1 r2 r3", "r1 r2 r3", "r2 r3");
    }

    #[test]
    fn scalars_are_compared_in_one_form() {
        assert_eq!([scalar(1.0), scalar(1.0005), scalar(1.00051)], ["1", "1", "1.001"]);
        assert_eq!([normal_scalar("1.0"), normal_scalar("01"), normal_scalar("v1")], ["1", "1", "v1"]);
    }

    #[test]
    fn counts_come_and_go() {
        let mut places = Places::new();
        for it in ["r1", "r1", "r2"] {
            place(&mut places, &agent(it), &["hostname", "rack", "none"]);
        }
        let rack = &places["rack"];
        assert_eq!((rack.count("r1"), rack.groups(), rack.least(), rack.most()), (2, 2, 1, 2));
        displace(&mut places, &agent("r2"));
        assert_eq!((places["rack"].groups(), places["rack"].least()), (1, 2));
        displace(&mut places, &agent("r1"));
        displace(&mut places, &agent("r1"));
        assert_eq!(places, Places::new());
    }
}
