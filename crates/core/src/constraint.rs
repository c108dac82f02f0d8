//! Placement constraints: may one more instance of an app go to this agent?

use std::collections::BTreeMap;

use marathon_model::app::{AppSpec, Constraint, Operator};
use marathon_model::instance::Agent;
use marathon_model::offer::{Attribute, Offer};
use marathon_spec::Pattern;

/// The constraints of one app made ready for many offers: expressions compiled, placed instances counted.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    constraint: Constraint,
    /// Full match, as in the original.
    pattern: Option<Pattern>,
    /// Placed instances by the value of the field.
    placed: BTreeMap<String, u32>,
    /// The value CLUSTER without a value holds on to.
    first: Option<String>,
}

impl Rules {
    /// `placed`: the agents of all instances of this configuration that hold a place.
    pub fn new<'b>(spec: &AppSpec, placed: impl Iterator<Item = &'b Agent>) -> Rules {
        let mut rules: Vec<Rule> = spec
            .constraints
            .iter()
            .map(|constraint| Rule {
                constraint: constraint.clone(),
                pattern: match constraint.operator {
                    Operator::Like | Operator::Unlike => {
                        constraint.value.as_deref().and_then(|it| Pattern::new(it).ok())
                    }
                    _ => None,
                },
                placed: BTreeMap::new(),
                first: None,
            })
            .collect();
        if !rules.is_empty() {
            for agent in placed {
                rules.iter_mut().for_each(|it| it.place(agent));
            }
        }
        Rules { rules }
    }

    pub fn allow(&self, offer: &Offer) -> bool {
        self.rules.iter().all(|it| it.allows(offer_value(offer, &it.constraint.field).as_deref()))
    }

    /// Counts one more instance, placed just now.
    pub fn place(&mut self, agent: &Agent) {
        self.rules.iter_mut().for_each(|it| it.place(agent));
    }
}

impl Rule {
    fn place(&mut self, agent: &Agent) {
        if let Some(value) = agent_value(agent, &self.constraint.field) {
            self.first.get_or_insert_with(|| value.clone());
            *self.placed.entry(value).or_default() += 1;
        }
    }

    fn allows(&self, offered: Option<&str>) -> bool {
        let wanted = self.constraint.value.as_deref();
        let Some(x) = offered else { return self.constraint.operator == Operator::Unlike };
        let count = self.placed.get(x).copied().unwrap_or(0);
        match self.constraint.operator {
            Operator::Unique => count == 0,
            Operator::Cluster => match wanted {
                Some(value) if !value.is_empty() => x == value,
                _ => self.first.as_deref().is_none_or(|first| first == x),
            },
            Operator::Like => !x.is_empty() && self.pattern.as_ref().is_some_and(|it| it.is_match(x)),
            Operator::Unlike => !x.is_empty() && self.pattern.as_ref().is_some_and(|it| !it.is_match(x)),
            Operator::MaxPer => wanted.and_then(|it| it.parse::<u32>().ok()).is_some_and(|max| count < max),
            Operator::Is => wanted.is_some_and(|it| x == normal_scalar(it)),
            Operator::GroupBy => {
                let groups = match wanted {
                    Some("inf") => usize::MAX,
                    other => other.and_then(|it| it.parse().ok()).unwrap_or(0),
                };
                let least = self.placed.values().min().copied().unwrap_or(0);
                count == 0 || (self.placed.len() >= groups && count == least)
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
        let rules = Rules::new(&spec, agents.iter());
        let allowed = |rack: &&str| {
            let it = agent(rack);
            rules.allow(&Offer {
                id: OfferId::new("o"),
                agent: it.id,
                hostname: it.host,
                role: "*".into(),
                resources: Vec::new(),
                attributes: if *rack == "-" { Arc::default() } else { it.attributes },
                region: None,
                zone: None,
                unavailability: None,
            })
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
}
