//! Mesos's text form of resources and attributes: `cpus(prod):2;mem:8192;ports:[31000-32000]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::offer::Attribute;
use marathon_model::resources::{ANY_ROLE, Amount, Milli, PortRange, Resource};

/// Reads resources; the error is the reason.
pub fn parse_resources(text: &str) -> Result<Vec<Resource>, String> {
    let mut all: Vec<Resource> = Vec::new();
    for entry in items(text) {
        let (name, value) = entry.split_once(':').ok_or_else(|| format!("'{entry}' has no colon"))?;
        let (name, role) = match name.trim().split_once('(') {
            Some((name, role)) => {
                let role =
                    role.strip_suffix(')').ok_or_else(|| format!("'{entry}' has an open parenthesis"))?;
                (name.trim(), role.trim())
            }
            None => (name.trim(), ANY_ROLE),
        };
        if name.is_empty() || role.is_empty() {
            return Err(format!("'{entry}' lacks a name or a role"));
        }
        let value = value.trim();
        let scalar = || scalar(value).map_err(|why| format!("'{entry}' {why}"));
        let amount = match name {
            "cpus" => Amount::Cpus(scalar()?),
            "mem" => Amount::Mem(scalar()?),
            "disk" => Amount::Disk(scalar()?),
            "gpus" => match scalar()? {
                whole if whole.0 % 1000 == 0 => Amount::Gpus(whole),
                _ => return Err(format!("'{entry}' must be a whole number")),
            },
            "ports" => Amount::Ports(ports(value).map_err(|why| format!("'{entry}' {why}"))?),
            other => Amount::Other(other.into(), scalar()?),
        };
        let resource = Resource::new(role, amount);
        if all.iter().any(|it| it.role == resource.role && kind(&it.amount) == kind(&resource.amount)) {
            return Err(format!("'{name}' is given twice for the role '{role}'"));
        }
        all.push(resource);
    }
    Ok(all)
}

fn kind(amount: &Amount) -> &str {
    match amount {
        Amount::Cpus(_) => "cpus",
        Amount::Mem(_) => "mem",
        Amount::Disk(_) => "disk",
        Amount::Gpus(_) => "gpus",
        Amount::Ports(_) => "ports",
        Amount::Other(name, _) => name,
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|it| !it.is_empty())
}

fn scalar(text: &str) -> Result<Milli, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && (0.0..=1e12).contains(&number) => Ok(Milli::from_f64(number)),
        _ => Err("must be a number that is not negative".to_owned()),
    }
}

fn ports(text: &str) -> Result<Vec<PortRange>, String> {
    let mut ranges = Vec::new();
    for (first, last) in spans(text).ok_or("must be of the form [31000-32000,…]")? {
        match (u16::try_from(first), u16::try_from(last)) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => ranges.push(PortRange { first, last }),
            _ => return Err("holds a range that is no range of ports".to_owned()),
        }
    }
    ranges.sort();
    if ranges.windows(2).any(|it| it[1].first <= it[0].last) {
        return Err("holds ranges that overlap".to_owned());
    }
    Ok(ranges)
}

/// `[a-b,c-d]`
fn spans(text: &str) -> Option<Vec<(u64, u64)>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let pair = |it: &str| {
        let (first, last) = it.trim().split_once('-')?;
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    inner.split(',').filter(|it| !it.trim().is_empty()).map(pair).collect()
}

/// Reads attributes: `rack:r1;level:3;ports:[1-5];set:{a,b}`.
pub fn parse_attributes(text: &str) -> Result<BTreeMap<String, Attribute>, String> {
    let mut all = BTreeMap::new();
    for entry in items(text) {
        let (name, value) = entry.split_once(':').ok_or_else(|| format!("'{entry}' has no colon"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(format!("'{entry}' lacks a name or a value"));
        }
        let attribute = if let Some(inner) = value.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Attribute::Set(crate::check::entries(inner).map(str::to_owned).collect())
        } else if value.starts_with('[') {
            Attribute::Ranges(spans(value).ok_or_else(|| format!("'{entry}' must be of the form [1-5,…]"))?)
        } else {
            match value.parse::<f64>() {
                Ok(number) if number.is_finite() => Attribute::Scalar(number),
                _ => Attribute::Text(value.to_owned()),
            }
        };
        if all.insert(name.to_owned(), attribute).is_some() {
            return Err(format!("'{name}' is given twice"));
        }
    }
    Ok(all)
}

/// The text form of a role list, for messages.
pub fn roles(roles: &[Arc<str>]) -> String {
    roles.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ")
}
