//! Arithmetic of resources: what an agent has, what an offer holds, what a task takes.
//!
//! Amounts are fixed point with three decimals, as in Mesos, so that ten times 0.1 is 1. What distinguishes two
//! amounts of one name (reservations, a volume, a provider) is a [`Kind`]; amounts of different kinds never
//! merge. The role that an offer is allocated to is kept beside the resources, not in them.

use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Reservation {
    pub dynamic: bool,
    pub role: String,
    pub principal: Option<String>,
    pub labels: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Detail {
    pub reservations: Vec<Reservation>,
    /// Of a persistent volume: its id, who made it, where the task sees it.
    pub volume: Option<Volume>,
    pub provider: Option<String>,
    /// The disk's source, as its encoded message: compared, never looked into.
    pub source: Option<Vec<u8>>,
    pub shared: bool,
    pub revocable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Volume {
    pub id: String,
    pub principal: Option<String>,
    pub container_path: String,
    pub read_only: bool,
}

/// A name together with all that makes it not mergeable with others of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    pub name: Arc<str>,
    /// Absent for plain unreserved resources, which are nearly all.
    pub detail: Option<Arc<Detail>>,
}

impl Kind {
    pub fn reservations(&self) -> &[Reservation] {
        self.detail.as_deref().map_or(&[], |it| &it.reservations)
    }

    pub fn volume(&self) -> Option<&Volume> {
        self.detail.as_deref().and_then(|it| it.volume.as_ref())
    }

    /// The role that may use it; `None` is everybody.
    pub fn reserved_for(&self) -> Option<&str> {
        self.reservations().last().map(|it| it.role.as_str())
    }

    pub fn with(&self, change: impl FnOnce(&mut Detail)) -> Kind {
        let mut detail = self.detail.as_deref().cloned().unwrap_or_default();
        change(&mut detail);
        Kind { name: self.name.clone(), detail: (detail != Detail::default()).then(|| Arc::new(detail)) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// Thousandths.
    Scalar(i64),
    /// Sorted, disjoint, both ends included.
    Ranges(Vec<(u64, u64)>),
    Set(Vec<String>),
}

impl Amount {
    pub fn is_empty(&self) -> bool {
        match self {
            Amount::Scalar(milli) => *milli == 0,
            Amount::Ranges(ranges) => ranges.is_empty(),
            Amount::Set(items) => items.is_empty(),
        }
    }

    fn add(&mut self, other: &Amount) {
        match (self, other) {
            (Amount::Scalar(mine), Amount::Scalar(more)) => *mine += more,
            (Amount::Ranges(mine), Amount::Ranges(more)) => {
                mine.extend(more);
                *mine = coalesced(std::mem::take(mine));
            }
            (Amount::Set(mine), Amount::Set(more)) => {
                mine.extend(more.iter().cloned());
                mine.sort();
                mine.dedup();
            }
            _ => {}
        }
    }

    fn subtract(&mut self, other: &Amount) {
        match (self, other) {
            (Amount::Scalar(mine), Amount::Scalar(less)) => *mine -= less,
            (Amount::Ranges(mine), Amount::Ranges(less)) => {
                for &(from, to) in less {
                    *mine = without(mine, from, to);
                }
            }
            (Amount::Set(mine), Amount::Set(less)) => mine.retain(|it| !less.contains(it)),
            _ => {}
        }
    }

    fn contains(&self, other: &Amount) -> bool {
        match (self, other) {
            (Amount::Scalar(mine), Amount::Scalar(less)) => less <= mine,
            (Amount::Ranges(mine), Amount::Ranges(less)) => {
                less.iter().all(|&(from, to)| mine.iter().any(|&(low, high)| low <= from && to <= high))
            }
            (Amount::Set(mine), Amount::Set(less)) => less.iter().all(|it| mine.contains(it)),
            _ => false,
        }
    }
}

pub fn coalesced(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|(from, to)| from <= to);
    ranges.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match out.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

fn without(ranges: &[(u64, u64)], from: u64, to: u64) -> Vec<(u64, u64)> {
    let mut out = Vec::with_capacity(ranges.len() + 1);
    for &(low, high) in ranges {
        if high < from || to < low {
            out.push((low, high));
            continue;
        }
        if low < from {
            out.push((low, from - 1));
        }
        if to < high {
            out.push((to + 1, high));
        }
    }
    out
}

/// A bag of amounts, one entry per kind, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources(pub Vec<(Kind, Amount)>);

impl Resources {
    pub fn add(&mut self, other: &Resources) {
        for (kind, amount) in &other.0 {
            self.add_one(kind, amount);
        }
    }

    pub fn add_one(&mut self, kind: &Kind, amount: &Amount) {
        if amount.is_empty() {
            return;
        }
        match self.0.iter_mut().find(|(mine, _)| mine == kind) {
            Some((_, mine)) => mine.add(amount),
            None => self.0.push((kind.clone(), amount.clone())),
        }
    }

    /// Takes away what is there; what is not there is ignored (ask [`Resources::contains`] first).
    pub fn subtract(&mut self, other: &Resources) {
        for (kind, amount) in &other.0 {
            if let Some((_, mine)) = self.0.iter_mut().find(|(mine, _)| mine == kind) {
                mine.subtract(amount);
            }
        }
        self.0.retain(|(_, amount)| {
            !amount.is_empty() && !matches!(amount, Amount::Scalar(milli) if *milli < 0)
        });
    }

    pub fn contains(&self, other: &Resources) -> bool {
        other.0.iter().all(|(kind, amount)| {
            amount.is_empty() || self.0.iter().any(|(mine, have)| mine == kind && have.contains(amount))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn filtered(&self, keep: impl Fn(&Kind) -> bool) -> Resources {
        Resources(self.0.iter().filter(|(kind, _)| keep(kind)).cloned().collect())
    }

    /// Thousandths of a scalar over all kinds.
    pub fn scalar(&self, name: &str) -> i64 {
        self.0
            .iter()
            .filter(|(kind, _)| &*kind.name == name)
            .map(|(_, amount)| if let Amount::Scalar(milli) = amount { *milli } else { 0 })
            .sum()
    }

    pub fn ranges(&self, name: &str) -> Vec<(u64, u64)> {
        let all =
            self.0.iter().filter(|(kind, _)| &*kind.name == name).flat_map(|(_, amount)| match amount {
                Amount::Ranges(ranges) => ranges.clone(),
                _ => Vec::new(),
            });
        coalesced(all.collect())
    }

    /// The order in which Mesos lists an offer: ranges, then reserved, then plain scalars.
    pub fn in_offer_order(&self) -> Vec<&(Kind, Amount)> {
        let rank = |(kind, amount): &(Kind, Amount)| match amount {
            Amount::Ranges(_) if kind.detail.is_none() => 0,
            _ if kind.detail.is_some() => 1,
            _ => 2,
        };
        let mut all: Vec<&(Kind, Amount)> = self.0.iter().collect();
        all.sort_by_key(|it| rank(it));
        all
    }

    /// As Mesos writes them in messages: `cpus(allocated: r):0.1; ports(allocated: r):[31000-31001]`.
    pub fn text(&self, role: Option<&str>) -> String {
        let parts: Vec<String> =
            self.in_offer_order().iter().map(|(kind, amount)| one_text(kind, amount, role)).collect();
        parts.join("; ")
    }
}

pub fn one_text(kind: &Kind, amount: &Amount, role: Option<&str>) -> String {
    let mut out = kind.name.to_string();
    if let Some(role) = role {
        let _ = write!(out, "(allocated: {role})");
    }
    if !kind.reservations().is_empty() {
        let stack: Vec<String> = kind.reservations().iter().map(reservation_text).collect();
        let _ = write!(out, "(reservations: [{}])", stack.join(","));
    }
    if let Some(volume) = kind.volume() {
        let _ = write!(out, "[{}:{}]", volume.id, volume.container_path);
    }
    let _ = write!(out, ":{}", amount_text(amount));
    out
}

fn reservation_text(it: &Reservation) -> String {
    let mut out = format!("({},{}", if it.dynamic { "DYNAMIC" } else { "STATIC" }, it.role);
    if let Some(principal) = &it.principal {
        let _ = write!(out, ",{principal}");
    }
    if !it.labels.is_empty() {
        let labels: Vec<String> = it
            .labels
            .iter()
            .map(|(k, v)| v.as_ref().map_or_else(|| k.clone(), |v| format!("{k}: {v}")))
            .collect();
        let _ = write!(out, ",{{{}}}", labels.join(", "));
    }
    out.push(')');
    out
}

pub fn amount_text(amount: &Amount) -> String {
    match amount {
        Amount::Scalar(milli) => decimal(*milli),
        Amount::Ranges(ranges) => ranges_text(ranges),
        Amount::Set(items) => format!("{{{}}}", items.join(", ")),
    }
}

pub fn ranges_text(ranges: &[(u64, u64)]) -> String {
    let parts: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
    format!("[{}]", parts.join(", "))
}

fn decimal(milli: i64) -> String {
    format!("{}", milli as f64 / 1000.0)
}

pub fn milli(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

/// Reads `cpus:8;mem:15360;disk:100000;ports:[31000-32000];cpus(role):2`, the agent flag's form.
pub fn parse(text: &str) -> Result<Resources, String> {
    let mut all = Resources::default();
    for part in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
        let (name, value) = part.split_once(':').ok_or_else(|| format!("`{part}` has no `:`"))?;
        let (name, role) = match name.split_once('(') {
            Some((name, role)) => (name, Some(role.trim_end_matches(')').trim()).filter(|it| *it != "*")),
            None => (name, None),
        };
        let plain = Kind { name: Arc::from(name.trim()), detail: None };
        let kind = match role {
            Some(role) => plain.with(|it| {
                it.reservations.push(Reservation { role: role.to_owned(), ..Reservation::default() })
            }),
            None => plain,
        };
        all.add_one(
            &kind,
            &amount(value.trim()).ok_or_else(|| format!("`{value}` is no amount of `{name}`"))?,
        );
    }
    Ok(all)
}

fn amount(text: &str) -> Option<Amount> {
    if let Some(inner) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        let ranges: Option<Vec<(u64, u64)>> = inner
            .split(',')
            .map(|it| {
                let (from, to) = it.trim().split_once('-')?;
                Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
            })
            .collect();
        return Some(Amount::Ranges(coalesced(ranges?)));
    }
    let value: f64 = text.parse().ok()?;
    (value.is_finite() && 0.0 <= value).then(|| Amount::Scalar(milli(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, take: &str, left: Option<&str>) {
        let mut have = parse(from).unwrap();
        let less = parse(take).unwrap();
        assert_eq!(have.contains(&less), left.is_some(), "{from} - {take}");
        if let Some(left) = left {
            have.subtract(&less);
            assert_eq!(have.text(None), left);
        }
    }

    #[test]
    fn taking_leaves_the_rest() {
        check(
            "cpus:4;mem:2048;ports:[31000-31099]",
            "cpus:0.1;ports:[31001-31002]",
            Some("ports:[31000-31000, 31003-31099]; cpus:3.9; mem:2048"),
        );
        check("cpus:1", "cpus:1", Some(""));
        check("cpus:1", "cpus:1.001", None);
        check("ports:[1-5]", "ports:[5-6]", None);
        check("cpus(a):1", "cpus:1", None);
        check("cpus:1;cpus(a):1", "cpus(a):1", Some("cpus:1"));
    }

    #[test]
    fn ten_tenths_are_one() {
        let mut sum = Resources::default();
        for _ in 0..10 {
            sum.add(&parse("cpus:0.1").unwrap());
        }
        assert_eq!(sum, parse("cpus:1").unwrap());
    }

    #[test]
    fn ranges_merge() {
        let mut sum = parse("ports:[5-6,1-2]").unwrap();
        sum.add(&parse("ports:[3-4,9-9]").unwrap());
        assert_eq!(sum.text(None), "ports:[1-6, 9-9]");
    }
}
