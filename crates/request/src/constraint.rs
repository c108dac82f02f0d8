//! Placement constraints: lists of two or three texts.

use marathon_model::app::{Constraint, Operator};
use serde_json::Value;

use crate::reader::Reader;

const OPERATORS: [(&str, Operator); 7] = [
    ("UNIQUE", Operator::Unique),
    ("CLUSTER", Operator::Cluster),
    ("GROUP_BY", Operator::GroupBy),
    ("LIKE", Operator::Like),
    ("UNLIKE", Operator::Unlike),
    ("MAX_PER", Operator::MaxPer),
    ("IS", Operator::Is),
];

fn operator(text: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, operator)| *operator)
}

pub fn list(r: &mut Reader, value: &Value) -> Option<Vec<Constraint>> {
    r.list(value, |r, it| {
        let parts = r.list(it, Reader::text)?;
        let (field, name, value) = match parts.as_slice() {
            [field, name] => (field, name, None),
            [field, name, value] => (field, name, Some(value.clone())),
            _ => {
                r.broken("Each constraint must have either 2 or 3 fields");
                return None;
            }
        };
        let Some(operator) = operator(name) else {
            r.broken("operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS");
            return None;
        };
        // Forms send an empty third field where none is meant.
        let needs_none = matches!(operator, Operator::Unique | Operator::Cluster | Operator::GroupBy);
        let value = value.filter(|it| !(needs_none && it.is_empty()));
        Some(Constraint { field: field.clone(), operator, value })
    })
}

/// Those of a persistent volume, which have texts of their own.
pub fn list_of_volume(r: &mut Reader, value: &Value) -> Option<Vec<Constraint>> {
    r.list(value, |r, it| {
        let parts = r.list(it, Reader::text)?;
        match parts.as_slice() {
            [] => r.broken("Missing field and operator"),
            [field, name, value] if field == "path" => match operator(name) {
                Some(operator) => {
                    return Some(Constraint { field: field.clone(), operator, value: Some(value.clone()) });
                }
                None => r.broken(format!("unknown constraint operator {name}")),
            },
            parts => r.broken(format!("Unsupported constraint {}", parts.join(","))),
        }
        None
    })
}
