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
        let operator = operator(name).unwrap_or(Operator::Unknown);
        Some(Constraint { field: field.clone(), operator, value: meant(operator, value) })
    })
}

/// The form of pods: an object with the three parts under their names.
pub fn of_pod(r: &mut Reader, value: &Value) -> Option<Constraint> {
    let object = r.object(value)?;
    let field = r.required(object, "fieldName", Reader::text);
    let operator = r.required(object, "operator", |r, it| r.word(it, &OPERATORS));
    let value = r.optional(object, "value", Reader::text);
    let operator = operator?;
    Some(Constraint { field: field?, operator, value: meant(operator, value) })
}

/// Forms send an empty value where none is meant.
fn meant(operator: Operator, value: Option<String>) -> Option<String> {
    let needs_none = matches!(operator, Operator::Unique | Operator::Cluster | Operator::GroupBy);
    value.filter(|it| !(needs_none && it.is_empty()))
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
