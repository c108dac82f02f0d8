//! Compares what the simulation says with what a real master said, up to the names of things.
//!
//! Ids, uuids and moments differ from run to run. The first time a recorded id stands where ours stands, the two
//! are bound together; from then on they must go together.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::Value;

/// Numbers that tell a moment or a process: any will do.
const ANY_NUMBER: [&str; 12] = [
    "timestamp",
    "registered_time",
    "reregistered_time",
    "unregistered_time",
    "start_time",
    "elected_time",
    "executor_pid",
    "mtime",
    "size",
    "cpus_user_time_secs",
    "mem_rss_bytes",
    "nanoseconds",
];
/// Below these keys a number of nanoseconds is what somebody asked for.
const ASKED: [&str; 3] = ["unavailability", "grace_period", "config"];

#[derive(Debug, Clone, Default)]
pub struct Bindings {
    /// Whether a nested container's address is known yet is a race inside the agent.
    nested: bool,
    instead: &'static [(&'static str, &'static str)],
    ours: BTreeMap<String, String>,
    theirs: BTreeMap<String, String>,
}

impl Bindings {
    pub fn new(nested: bool, instead: &'static [(&'static str, &'static str)]) -> Bindings {
        Bindings { nested, instead, ..Bindings::default() }
    }

    pub fn bind(&mut self, theirs: &str, ours: &str) -> Result<(), String> {
        match (self.ours.get(theirs), self.theirs.get(ours)) {
            (None, None) => {
                self.ours.insert(theirs.to_owned(), ours.to_owned());
                self.theirs.insert(ours.to_owned(), theirs.to_owned());
                Ok(())
            }
            (Some(it), _) if it == ours => Ok(()),
            (Some(it), _) => Err(format!("`{theirs}` was `{it}`, now it is `{ours}`")),
            (None, Some(it)) => Err(format!("`{ours}` was `{it}`, now it is `{theirs}`")),
        }
    }

    /// A recorded text in our terms: longer names first, as some begin with others.
    pub fn ours_in(&self, text: &str) -> String {
        let mut pairs: Vec<(&String, &String)> = self.ours.iter().collect();
        pairs.sort_by_key(|(theirs, _)| std::cmp::Reverse(theirs.len()));
        let mut out = text.to_owned();
        for (at, (theirs, _)) in pairs.iter().enumerate() {
            out = out.replace(theirs.as_str(), &format!("\u{1}{at}\u{2}"));
        }
        for (at, (_, ours)) in pairs.iter().enumerate() {
            out = out.replace(&format!("\u{1}{at}\u{2}"), ours);
        }
        out
    }

    pub fn unify(&mut self, theirs: &Value, ours: &Value) -> Result<(), String> {
        self.value(theirs, ours, &mut Vec::new())
    }

    fn value(&mut self, theirs: &Value, ours: &Value, path: &mut Vec<String>) -> Result<(), String> {
        let at = |path: &[String]| path.join(".");
        match (theirs, ours) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, value) in a {
                    let Some(mine) = b.get(key) else {
                        if may_be_missing(path, key) || self.races(path, key) {
                            continue;
                        }
                        return Err(format!("{}: `{key}` is missing: {value}", at(path)));
                    };
                    path.push(key.clone());
                    self.value(value, mine, path)?;
                    path.pop();
                }
                match b
                    .keys()
                    .find(|key| !a.contains_key(*key) && !may_be_more(path, key) && !self.races(path, key))
                {
                    Some(key) => Err(format!("{}: `{key}` is too much: {}", at(path), b[key])),
                    None => Ok(()),
                }
            }
            (Value::Array(a), Value::Array(b)) => self.array(a, b, path),
            (Value::Number(a), Value::Number(b)) => {
                let key = path
                    .iter()
                    .rev()
                    .find(|it| it.parse::<usize>().is_err())
                    .map(String::as_str)
                    .unwrap_or_default();
                let any = ANY_NUMBER.contains(&key) && !path.iter().any(|it| ASKED.contains(&it.as_str()));
                let same = a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() < 1e-9);
                if any || same { Ok(()) } else { Err(format!("{}: expected {a}, got {b}", at(path))) }
            }
            (Value::String(a), Value::String(b)) => {
                self.text(a, b).map_err(|why| format!("{}: {why}", at(path)))
            }
            (a, b) if a == b => Ok(()),
            (a, b) => Err(format!("{}: expected {a}, got {b}", at(path))),
        }
    }

    fn races(&self, path: &[String], key: &str) -> bool {
        self.nested
            && path.iter().any(|it| it == "container_status")
            && matches!(key, "network_infos" | "executor_pid")
    }

    /// In order if that fits, otherwise in any order: the order of hash tables is nobody's promise.
    fn array(&mut self, theirs: &[Value], ours: &[Value], path: &mut Vec<String>) -> Result<(), String> {
        if theirs.len() != ours.len() {
            return Err(format!(
                "{}: expected {} entries, got {}: {} / {}",
                path.join("."),
                theirs.len(),
                ours.len(),
                Value::Array(theirs.to_vec()),
                Value::Array(ours.to_vec())
            ));
        }
        let depth = path.len();
        let mut ordered = self.clone();
        let mut first = None;
        for (at, (a, b)) in theirs.iter().zip(ours).enumerate() {
            path.truncate(depth);
            path.push(at.to_string());
            if let Err(why) = ordered.value(a, b, path) {
                first = Some(why);
                break;
            }
        }
        path.truncate(depth);
        let Some(first) = first else {
            *self = ordered;
            return Ok(());
        };
        let mut left: Vec<&Value> = ours.iter().collect();
        for a in theirs {
            let fits = left.iter().position(|b| {
                let mut trial = self.clone();
                let fits = trial.value(a, b, &mut path.clone()).is_ok();
                if fits {
                    *self = trial;
                }
                fits
            });
            match fits {
                Some(at) => {
                    left.remove(at);
                }
                None => return Err(first),
            }
        }
        Ok(())
    }

    pub fn text(&mut self, theirs: &str, ours: &str) -> Result<(), String> {
        let ours = &without_directories(ours);
        if theirs == ours && shape(theirs).is_some() {
            return self.bind(theirs, ours);
        }
        if theirs == ours || self.ours_in(theirs) == *ours || self.instead.contains(&(theirs, ours)) {
            return Ok(());
        }
        if shape(theirs).is_some() && shape(theirs) == shape(ours) {
            return self.bind(theirs, ours);
        }
        if resource_words(&self.ours_in(theirs)) == resource_words(ours) {
            return Ok(());
        }
        // A text with ids in it that were not seen before.
        let (mut a, mut b) = (words(theirs), words(ours));
        if a.len() == b.len() {
            for (a, b) in a.drain(..).zip(b.drain(..)) {
                if a == b || self.ours_in(&a) == b {
                    continue;
                }
                if shape(&a).is_none() || shape(&a) != shape(&b) {
                    return Err(format!("expected `{theirs}`, got `{ours}`"));
                }
                self.bind(&a, &b)?;
            }
            return Ok(());
        }
        Err(format!("expected `{theirs}`, got `{ours}`"))
    }
}

/// Fields that a real master shows and the simulation does not; each is listed in the README beside this file.
fn may_be_missing(path: &[String], key: &str) -> bool {
    let inside = |name: &str| path.iter().any(|it| it == name);
    inside("flags")
        || matches!(
            key,
            "git_sha" | "reserved_resources_allocated" | "unreserved_resources_allocated" | "master_hostname"
        )
        || (inside("completed_frameworks") && key == "offer_constraints")
        || (path.is_empty() && key == "unregistered_frameworks")
}

/// Fields that the simulation shows and a master may leave out.
fn may_be_more(path: &[String], key: &str) -> bool {
    path.is_empty() && key == "unregistered_frameworks"
}

/// What kind of id a text is.
fn shape(text: &str) -> Option<&'static str> {
    let uuid = |it: &str| it.len() == 36 && uuid::Uuid::parse_str(it).is_ok();
    if uuid(text) {
        return Some("uuid");
    }
    let head = text.get(..36).filter(|it| uuid(it));
    if let (Some(_), Some(rest)) = (head, text.get(36..)) {
        let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        return match rest.strip_prefix('-') {
            Some(it) if it.strip_prefix('S').is_some_and(digits) => Some("agent"),
            Some(it) if it.strip_prefix('O').is_some_and(digits) => Some("offer"),
            Some(it) if digits(it) => Some("framework"),
            _ => None,
        };
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
    (decoded.is_some_and(|it| it.len() == 16) && text.len() == 24).then_some("bytes")
}

fn words(text: &str) -> Vec<String> {
    text.split([' ', '\'', ',', ')', '(']).map(str::to_owned).collect()
}

/// A list of resources in a message, in any order.
fn resource_words(text: &str) -> Vec<String> {
    let spaced = text
        .replace(" required by ", "; \u{1}required ")
        .replace(" available ", " available; ")
        .replace("Total resources ", "Total; ")
        .replace(" does not contain ", "; \u{1}lacks; ");
    let mut parts: Vec<String> = spaced.split("; ").map(str::to_owned).collect();
    parts.sort();
    parts
}

/// Directories were replaced in the recordings.
fn without_directories(text: &str) -> String {
    let Some(from) = text.find("<WORK>") else { return text.to_owned() };
    let rest = &text[from..];
    let length = rest.find("/runs/").map_or(rest.len(), |it| it + 6 + 36).min(rest.len());
    format!("{}<SANDBOX>{}", &text[..from], &rest[length..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "9cf8d3e5-186a-435e-8ce0-fabda8b25750";
    const B: &str = "1a2b3c4d-186a-435e-8ce0-fabda8b25751";

    fn check(pairs: &[(Value, Value)], fits: bool) {
        let mut bindings = Bindings::default();
        let result = pairs.iter().try_for_each(|(theirs, ours)| bindings.unify(theirs, ours));
        assert_eq!(result.is_ok(), fits, "{pairs:?}: {result:?}");
    }

    #[test]
    fn names_are_bound_once() {
        let id = |it: &str| json!({ "value": it });
        check(&[(id(A), id(B)), (id(A), id(B))], true);
        check(&[(id(A), id(B)), (id(A), id(A))], false);
        check(&[(id(A), id(A)), (id(B), id(A))], false);
        check(&[(id(&format!("{A}-S0")), id(&format!("{B}-O0")))], false);
    }

    #[test]
    fn what_is_not_an_id_must_be_the_same() {
        check(&[(json!({ "a": 1 }), json!({ "a": 1.0 }))], true);
        check(&[(json!({ "a": 1 }), json!({ "a": 2 }))], false);
        check(&[(json!({ "a": 1 }), json!({}))], false);
        check(&[(json!({}), json!({ "a": 1 }))], false);
        check(&[(json!([1, 2]), json!([2, 1]))], true);
        check(&[(json!({ "timestamp": 1.5 }), json!({ "timestamp": 2.5 }))], true);
        check(&[(json!("Task has duplicate ID: x"), json!("Task has duplicate ID: y"))], false);
    }
}
