//! Bodies that are right but for a few places, so that reading them goes deep before it fails.

use proptest::prelude::*;
use serde_json::Value;

const BODIES: &str = include_str!("bodies.json");

/// A whole body with up to two of its values replaced, removed or doubled.
pub fn nearly_right() -> impl Strategy<Value = Value> {
    let bodies: Vec<Value> = serde_json::from_str(BODIES).expect("the corpus is JSON");
    let change = (any::<prop::sample::Index>(), change());
    (prop::sample::select(bodies), prop::collection::vec(change, 0..3)).prop_map(|(mut body, changes)| {
        for (at, change) in changes {
            let count = size(&body);
            apply(&mut body, &mut at.index(count), &change);
        }
        body
    })
}

#[derive(Debug, Clone)]
enum Change {
    Put(Value),
    /// Drops the first entry of a list or an object.
    Cut,
    /// Doubles the last item of a list.
    Double,
}

fn change() -> impl Strategy<Value = Change> {
    const WORDS: [&str; 26] = [
        "",
        "a",
        "/",
        "/a/b",
        "..",
        "DOCKER",
        "MESOS",
        "HTTP",
        "MESOS_HTTP",
        "COMMAND",
        "BRIDGE",
        "USER",
        "HOST",
        "host",
        "container",
        "RO",
        "RW",
        "ä\0",
        "x.y",
        "tasks",
        "LIKE",
        "(",
        "9999999999",
        "disabled",
        "unlimited",
        "csi",
    ];
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-2i64..70_000).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        prop::sample::select(&WORDS[..]).prop_map(Into::into),
        ".{0,6}".prop_map(Into::into),
        Just(Value::Array(Vec::new())),
        Just(Value::Object(serde_json::Map::new())),
    ];
    prop_oneof![4 => value.prop_map(Change::Put), 1 => Just(Change::Cut), 1 => Just(Change::Double)]
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

/// Applies the change to the `at`-th value, counted depth first.
fn apply(value: &mut Value, at: &mut usize, change: &Change) -> bool {
    if *at == 0 {
        match (change, value) {
            (Change::Put(new), value) => *value = new.clone(),
            (Change::Cut, Value::Array(items)) if !items.is_empty() => drop(items.remove(0)),
            (Change::Cut, Value::Object(fields)) => {
                let first = fields.keys().next().cloned();
                first.map(|it| fields.shift_remove(&it));
            }
            (Change::Double, Value::Array(items)) => items.extend(items.last().cloned()),
            _ => {}
        }
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|it| apply(it, at, change)),
        Value::Object(fields) => fields.values_mut().any(|it| apply(it, at, change)),
        _ => false,
    }
}
