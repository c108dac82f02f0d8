//! Mesos's text forms: `cpus:4;mem:8192;ports:[31000-32000]` and `rack:r1;level:3`.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::offer::Attribute;
use marathon_model::resources::{ANY_ROLE, Amount, Milli, PortRange, Resource};

/// Why a text describes no resources or attributes; names the part that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}`: {why}")]
pub struct TextError {
    pub part: String,
    pub why: String,
}

enum Value {
    Scalar(f64),
    Ranges(Vec<(u64, u64)>),
    Set(Vec<String>),
    Text(String),
}

/// Reads resources as the `--resources` flag of a Mesos agent takes them. A role stands in
/// parentheses after the name: `cpus(prod):2`. The same kind may be given for several roles.
pub fn parse_resources(text: &str) -> Result<Vec<Resource>, TextError> {
    let mut all: Vec<Resource> = Vec::new();
    for part in parts(text) {
        let wrong = |why: &str| TextError { part: part.to_owned(), why: why.to_owned() };
        let (name, value) = name_and_value(part)?;
        let (name, role) = match name.split_once('(') {
            None => (name, ANY_ROLE),
            Some((name, rest)) => {
                let role =
                    rest.strip_suffix(')').ok_or_else(|| wrong("the role needs a closing parenthesis"))?;
                (name.trim(), role.trim())
            }
        };
        if name.is_empty() {
            return Err(wrong("a name is missing before the colon"));
        }
        check_role(role).map_err(wrong)?;
        let amount = match (name, value) {
            ("ports", Value::Ranges(ranges)) => {
                Amount::Ports(port_ranges(&ranges).map_err(|why| wrong(&why))?)
            }
            ("ports", _) => return Err(wrong("ports are given as ranges, such as [31000-32000]")),
            (_, Value::Scalar(number)) if number < 0.0 => return Err(wrong("an amount cannot be negative")),
            ("cpus", Value::Scalar(number)) => Amount::Cpus(Milli::from_f64(number)),
            ("mem", Value::Scalar(number)) => Amount::Mem(Milli::from_f64(number)),
            ("disk", Value::Scalar(number)) => Amount::Disk(Milli::from_f64(number)),
            ("gpus", Value::Scalar(number)) if number.fract() != 0.0 => {
                return Err(wrong("gpus come in whole numbers"));
            }
            ("gpus", Value::Scalar(number)) => Amount::Gpus(Milli::from_f64(number)),
            (_, Value::Scalar(number)) => Amount::Other(Arc::from(name), Milli::from_f64(number)),
            ("cpus" | "mem" | "disk" | "gpus", _) => return Err(wrong("a number was expected")),
            _ => return Err(wrong("only numbers are supported for resources of this name")),
        };
        match all.iter_mut().find(|it| &*it.role == role && same_kind(&it.amount, &amount)) {
            Some(known) => add(&mut known.amount, amount),
            None => all.push(Resource { role: Arc::from(role), amount }),
        }
    }
    Ok(all)
}

/// Reads attributes as the `--attributes` flag of a Mesos agent takes them. A number becomes a
/// scalar, `[1-5]` ranges, `{a,b}` a set, everything else is text.
pub fn parse_attributes(text: &str) -> Result<BTreeMap<String, Attribute>, TextError> {
    let mut all = BTreeMap::new();
    for part in parts(text) {
        let (name, value) = name_and_value(part)?;
        let attribute = match value {
            Value::Scalar(number) => Attribute::Scalar(number),
            Value::Ranges(ranges) => Attribute::Ranges(ranges),
            Value::Set(items) => Attribute::Set(items),
            Value::Text(text) => Attribute::Text(text),
        };
        if all.insert(name.to_owned(), attribute).is_some() {
            return Err(TextError { part: part.to_owned(), why: "this attribute is given twice".to_owned() });
        }
    }
    Ok(all)
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', '\n']).map(str::trim).filter(|it| !it.is_empty())
}

fn name_and_value(part: &str) -> Result<(&str, Value), TextError> {
    let wrong = |why: &str| TextError { part: part.to_owned(), why: why.to_owned() };
    let (name, value) = part.split_once(':').ok_or_else(|| wrong("expected the form name:value"))?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        return Err(wrong("a name is missing before the colon"));
    }
    if value.is_empty() {
        return Err(wrong("a value is missing after the colon"));
    }
    Ok((name, read_value(value).map_err(|why| wrong(&why))?))
}

fn read_value(text: &str) -> Result<Value, String> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or("a range list needs a closing bracket")?;
        return inner.split(',').map(read_range).collect::<Result<_, _>>().map(Value::Ranges);
    }
    if let Some(inner) = text.strip_prefix('{') {
        let inner = inner.strip_suffix('}').ok_or("a set needs a closing brace")?;
        let items = inner.split(',').map(str::trim).filter(|it| !it.is_empty());
        return Ok(Value::Set(items.map(str::to_owned).collect()));
    }
    // `inf` and `nan` parse as floats, but mean a text to whoever wrote them.
    Ok(match text.parse::<f64>() {
        Ok(number) if number.is_finite() && text.bytes().any(|it| it.is_ascii_digit()) => {
            Value::Scalar(number)
        }
        _ => Value::Text(text.to_owned()),
    })
}

fn read_range(text: &str) -> Result<(u64, u64), String> {
    let text = text.trim();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number =
        |it: &str| it.trim().parse::<u64>().map_err(|_| format!("`{text}` is no range of whole numbers"));
    let (first, last) = (number(first)?, number(last)?);
    if last < first { Err(format!("`{text}` ends before it begins")) } else { Ok((first, last)) }
}

fn port_ranges(ranges: &[(u64, u64)]) -> Result<Vec<PortRange>, String> {
    let mut all = Vec::with_capacity(ranges.len());
    for &(first, last) in ranges {
        let port = |it: u64| u16::try_from(it).ok().filter(|it| *it > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) => all.push(PortRange { first, last }),
            _ => return Err(format!("`{first}-{last}` goes beyond the ports 1 to 65535")),
        }
    }
    Ok(merge(all))
}

/// Sorts ranges and joins those that touch.
pub(crate) fn merge(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(before) if range.first <= before.last.saturating_add(1) => {
                before.last = before.last.max(range.last)
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn same_kind(a: &Amount, b: &Amount) -> bool {
    match (a, b) {
        (Amount::Other(a, _), Amount::Other(b, _)) => a == b,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn add(to: &mut Amount, more: Amount) {
    match (to, more) {
        (Amount::Cpus(a), Amount::Cpus(b))
        | (Amount::Mem(a), Amount::Mem(b))
        | (Amount::Disk(a), Amount::Disk(b))
        | (Amount::Gpus(a), Amount::Gpus(b))
        | (Amount::Other(_, a), Amount::Other(_, b)) => *a = *a + b,
        (Amount::Ports(a), Amount::Ports(b)) => {
            a.extend(b);
            *a = merge(std::mem::take(a));
        }
        _ => {}
    }
}

/// The rules of Mesos for role names.
fn check_role(role: &str) -> Result<(), &'static str> {
    if role == ANY_ROLE {
        return Ok(());
    }
    if role.is_empty() {
        return Err("the role is empty");
    }
    if role.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()) {
        return Err("a role cannot hold blanks");
    }
    let bad = |it: &str| matches!(it, "" | "." | ".." | "*") || it.starts_with('-');
    if role.split('/').any(bad) { Err("this is no legal name of a role") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(resources: &[Resource]) -> String {
        let one = |it: &Resource| match &it.amount {
            Amount::Cpus(n) => format!("cpus({}):{n}", it.role),
            Amount::Mem(n) => format!("mem({}):{n}", it.role),
            Amount::Disk(n) => format!("disk({}):{n}", it.role),
            Amount::Gpus(n) => format!("gpus({}):{n}", it.role),
            Amount::Other(name, n) => format!("{name}({}):{n}", it.role),
            Amount::Ports(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(|it| format!("{}-{}", it.first, it.last)).collect();
                format!("ports({}):[{}]", it.role, ranges.join(","))
            }
        };
        resources.iter().map(one).collect::<Vec<_>>().join(";")
    }

    fn check(text: &str, want: &str) {
        let got = match parse_resources(text) {
            Ok(resources) => show(&resources),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn resources_read() {
        check("", "");
        check("cpus:4;mem:8192;ports:[31000-32000]", "cpus(*):4;mem(*):8192;ports(*):[31000-32000]");
        check(" cpus : 0.25 ; cpus(prod):2;", "cpus(*):0.25;cpus(prod):2");
        check("cpus:1;cpus:2", "cpus(*):3");
        check("ports:[5-9, 1-2,3-4, 20]", "ports(*):[1-9,20-20]");
        check("gpus:2;bugs(a/b):1.5", "gpus(*):2;bugs(a/b):1.5");
    }

    #[test]
    fn bad_resources_say_which_part_and_why() {
        check("cpus", "`cpus`: expected the form name:value");
        check("mem:1;cpus:", "`cpus:`: a value is missing after the colon");
        check("cpus:four", "`cpus:four`: a number was expected");
        check("cpus:-1", "`cpus:-1`: an amount cannot be negative");
        check("cpus:NaN", "`cpus:NaN`: a number was expected");
        check("gpus:0.5", "`gpus:0.5`: gpus come in whole numbers");
        check("ports:31000", "`ports:31000`: ports are given as ranges, such as [31000-32000]");
        check("ports:[1-70000]", "`ports:[1-70000]`: `1-70000` goes beyond the ports 1 to 65535");
        check("ports:[9-8]", "`ports:[9-8]`: `9-8` ends before it begins");
        check("ports:[9-8", "`ports:[9-8`: a range list needs a closing bracket");
        check("cpus(prod:1", "`cpus(prod:1`: the role needs a closing parenthesis");
        check("cpus():1", "`cpus():1`: the role is empty");
        check("cpus(-x):1", "`cpus(-x):1`: this is no legal name of a role");
        check("names:{a,b}", "`names:{a,b}`: only numbers are supported for resources of this name");
    }

    #[test]
    fn attributes_read() {
        let read = parse_attributes("rack:r1;level:3;span:[1-5,7-9];tags:{a, b};url:http://x:1").unwrap();
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [
                ("level".to_owned(), Attribute::Scalar(3.0)),
                ("rack".to_owned(), Attribute::Text("r1".to_owned())),
                ("span".to_owned(), Attribute::Ranges(vec![(1, 5), (7, 9)])),
                ("tags".to_owned(), Attribute::Set(vec!["a".to_owned(), "b".to_owned()])),
                ("url".to_owned(), Attribute::Text("http://x:1".to_owned())),
            ]
        );
        assert_eq!(
            parse_attributes("a:1;a:2").unwrap_err().to_string(),
            "`a:2`: this attribute is given twice"
        );
        assert_eq!(parse_attributes("rack").unwrap_err().to_string(), "`rack`: expected the form name:value");
    }
}
