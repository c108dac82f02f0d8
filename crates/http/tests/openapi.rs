//! The description of the API and the list of compatibility against the router: neither can lag behind it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use marathon_http::help::DOCUMENT;
use marathon_http::route::ENDPOINTS;
use serde_json::Value;

const COMPATIBILITY: &str = include_str!("../../../docs/compatibility.md");

/// Other spellings of what is described already.
const ALIASES: [&str; 4] =
    ["/v2/apps/{group_id}/*", "/v2/apps/{group_id}/*/tasks", "/v2/pods/{pod_id}/explain", "/api-console"];

fn routed() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for it in ENDPOINTS {
        for path in it.paths.iter().filter(|it| !ALIASES.contains(it)) {
            all.extend(it.verbs.iter().map(|verb| format!("{} {path}", verb.name())));
        }
    }
    all
}

#[test]
fn the_description_has_exactly_what_is_routed() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert(format!("{} {path}", method.to_uppercase()));
            let answers = operation["responses"].as_object().unwrap();
            assert!(!answers.is_empty() && operation["summary"].is_string(), "{method} {path}");
        }
    }
    assert_eq!(described, routed());
}

/// Every `$ref` leads somewhere, and every name is used once.
#[test]
fn the_description_is_whole() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut open = vec![&document];
    let mut ids = BTreeSet::new();
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                }
                if let Some(id) = fields.get("operationId").and_then(Value::as_str) {
                    assert!(ids.insert(id), "{id} twice");
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
}

/// The table under `## Endpoints`: what is served stands there, and what is not is marked `gone`.
#[test]
fn the_list_of_compatibility_has_every_endpoint() {
    let section = COMPATIBILITY.split("\n## Endpoints\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut listed = BTreeSet::new();
    for row in section.lines().filter(|it| it.starts_with("| ") && it.contains('`')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(["same", "new", "gone"].contains(&cells[2]), "{row}");
        let (methods, path) = cells[1].split_once('`').unwrap();
        let path = path.trim_end_matches('`');
        for method in methods.split(',').map(str::trim) {
            let line = format!("{method} {path}");
            match cells[2] {
                "gone" => assert!(!routed().contains(&line), "{line} is served"),
                _ if ALIASES.contains(&path) => {}
                _ => assert!(listed.insert(line), "{row}"),
            }
        }
    }
    assert_eq!(listed, routed());
}
