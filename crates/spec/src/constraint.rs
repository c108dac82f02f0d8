//! The values that placement constraints may carry.

use marathon_model::app::{AppSpec, Constraint, Operator, VolumeSource};
use regex::bytes::{Regex, RegexBuilder};

use crate::report::Report;

/// Size limit of one compiled pattern. A few characters can ask for a machine of many megabytes.
const PATTERN_BYTES_MAX: usize = 1 << 18;
/// How many constraints one app may have, those of its volumes included. Every offer is held against
/// all of them, and checking an app compiles their patterns.
pub const CONSTRAINTS_MAX: usize = 256;

/// The pattern of LIKE and UNLIKE, which must cover the whole value.
///
/// As in Java, `\d`, `\w` and `(?i)` mean ASCII, unless the pattern itself is not. Look-around and
/// back-references are not known here; apps with such patterns are refused.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, regex::Error> {
        let build = |text: &str, limit: usize| {
            RegexBuilder::new(text).unicode(!text.is_ascii()).size_limit(limit).build()
        };
        // Compiled alone first, so that unbalanced brackets cannot escape the anchors.
        build(text, PATTERN_BYTES_MAX)?;
        // The line break ends a remark of `(?x)`, which would swallow the closing bracket.
        let room = 2 * PATTERN_BYTES_MAX;
        let anchored = build(&format!("^(?:{text})$"), room);
        anchored.or_else(|_| build(&format!("^(?:{text}\n)$"), room)).map(Pattern)
    }

    pub fn is_match(&self, value: &str) -> bool {
        self.0.is_match(value.as_bytes())
    }
}

pub fn judge(spec: &AppSpec, report: &mut Report) {
    let of_volumes = crate::volumes(spec).map(|it| match &it.source {
        VolumeSource::Persistent { constraints, .. } => constraints.len(),
        _ => 0,
    });
    if !judge_placement(&spec.constraints, of_volumes.sum(), "/constraints", report) {
        return;
    }
    let volumes = crate::volumes(spec).enumerate();
    for (at, volume) in volumes {
        if let VolumeSource::Persistent { constraints, .. } = &volume.source {
            let path = format!("/container/volumes({at})/persistent/constraints");
            judge_of_volume(constraints, &path, report);
        }
    }
}

/// `false`: so many, with those `elsewhere`, that none was looked at.
pub fn judge_placement(list: &[Constraint], elsewhere: usize, path: &str, report: &mut Report) -> bool {
    let count = list.len() + elsewhere;
    if count > CONSTRAINTS_MAX {
        report.add(path, format!("got {count}, expected {CONSTRAINTS_MAX} or less"));
        return false;
    }
    for (at, constraint) in list.iter().enumerate() {
        if let Err(message) = judge_one(constraint) {
            report.add(format!("{path}({at})"), message);
        }
    }
    true
}

fn judge_one(constraint: &Constraint) -> Result<(), &'static str> {
    if constraint.field.is_empty() {
        return Err("missing field for constraint declaration");
    }
    let value = constraint.value.as_deref();
    let is_integer = |it: &str| it.parse::<i32>().is_ok();
    match constraint.operator {
        Operator::Unknown => Err(
            "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
        ),
        Operator::Unique if value.is_some() => Err("UNIQUE does not accept a value"),
        Operator::Unique | Operator::Cluster => Ok(()),
        Operator::GroupBy if value.is_none_or(is_integer) => Ok(()),
        Operator::GroupBy => Err("GROUP BY must define an integer value or else no value at all"),
        Operator::MaxPer if value.is_some_and(is_integer) => Ok(()),
        Operator::MaxPer => Err("MAX_PER requires an integer value"),
        Operator::Like | Operator::Unlike => match value {
            None | Some("") => Err("LIKE and UNLIKE require a non-empty, regular expression value"),
            Some(pattern) if Pattern::new(pattern).is_ok() => Ok(()),
            Some(_) => Err("is not a valid regular expression"),
        },
        Operator::Is => match value {
            Some(text) if is_attribute_value(text) => Ok(()),
            _ => Err(
                "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
            ),
        },
    }
}

fn is_attribute_value(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_/.-".contains(&it))
}

/// Constraints of a persistent volume, at `path`.
pub fn judge_of_volume(constraints: &[Constraint], path: &str, report: &mut Report) {
    for (at, constraint) in constraints.iter().enumerate() {
        let Constraint { field, operator, value } = constraint;
        let path = format!("{path}({at})");
        match (field.as_str(), operator, value) {
            ("path", Operator::Like | Operator::Unlike, Some(pattern)) => {
                if Pattern::new(pattern).is_err() {
                    report.add(path, "Invalid regular expression");
                }
            }
            ("path", _, Some(_)) => report.add(path, "Operator must be one of LIKE, UNLIKE"),
            _ => {
                let value = value.as_ref().map(|it| format!(",{it}")).unwrap_or_default();
                report
                    .add(path, format!("Unsupported constraint {field},{}{value}", operator_name(*operator)));
            }
        }
    }
}

fn operator_name(operator: Operator) -> &'static str {
    match operator {
        Operator::Unique => "UNIQUE",
        Operator::Cluster => "CLUSTER",
        Operator::GroupBy => "GROUP_BY",
        Operator::Like => "LIKE",
        Operator::Unlike => "UNLIKE",
        Operator::MaxPer => "MAX_PER",
        Operator::Is => "IS",
        Operator::Unknown => "UNKNOWN",
    }
}
