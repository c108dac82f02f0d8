//! Whatever is sent: an answer below 500, a server that lives on, and state that can be read again.
#![allow(clippy::unwrap_used)]

mod common;

use common::Server;
use marathon_testkit::nearly_right;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

const BODIES: u64 = 600;

/// Every call that takes a body, with ids that the bodies use as well.
const CALLS: [(&str, &str); 22] = [
    ("POST", "/v2/apps"),
    ("POST", "/v2/apps?dryRun=true"),
    ("PUT", "/v2/apps"),
    ("PUT", "/v2/apps?partialUpdate=false&force=true"),
    ("PATCH", "/v2/apps"),
    ("PUT", "/v2/apps/shop/cart?force=true"),
    ("PUT", "/v2/apps/shop/cart?partialUpdate=false&force=true"),
    ("PUT", "/v2/apps/shop?dryRun=true"),
    ("PATCH", "/v2/apps/shop/cart?force=true"),
    ("POST", "/v2/groups"),
    ("POST", "/v2/groups/shop"),
    ("PUT", "/v2/groups?force=true"),
    ("PUT", "/v2/groups/shop?force=true"),
    ("PUT", "/v2/groups/shop?dryRun=true"),
    ("PATCH", "/v2/groups/shop"),
    ("POST", "/v2/pods?force=true"),
    ("PUT", "/v2/pods/shop/pod?force=true"),
    ("DELETE", "/v2/pods/shop/pod::instances"),
    ("POST", "/v2/tasks/delete"),
    ("POST", "/v2/tasks/delete?scale=true&force=true"),
    ("DELETE", "/v2/apps/shop/cart/tasks?scale=true&force=true"),
    ("POST", "/logging"),
];

#[test]
fn no_body_breaks_the_server() {
    // Nothing can be placed, so nothing starts.
    let mut server = Server::with(&[
        "--local_resources=cpus:0.001;mem:0;disk:0",
        "--enable_features=secrets,external_volumes,gpu_resources",
        "--max_running_deployments=100000",
    ]);
    // Always the same bodies: a failure can be looked at again.
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut accepted = 0;
    for round in 0..BODIES {
        let value = nearly_right().new_tree(&mut runner).unwrap().current();
        let text = match round % 11 {
            // Cut off in the middle.
            0 => value.to_string().chars().take(round as usize % 97).collect(),
            1 => json!([value]).to_string(),
            2 => json!({"id": "/shop", "apps": [value]}).to_string(),
            3 => json!({"id": "/", "groups": [{"id": "shop", "apps": [value]}]}).to_string(),
            _ => tamed(value).to_string(),
        };
        let (method, path) = CALLS[(round % CALLS.len() as u64) as usize];
        for (method, path) in [(method, path), CALLS[((round * 7 + 3) % CALLS.len() as u64) as usize]] {
            let answer = server.request(method, path, &[], &text);
            assert!(answer.status < 500, "{method} {path} {text}: {} {}", answer.status, answer.text());
            accepted += u32::from(answer.status < 300);
        }
    }
    // Else the bodies never got past the first rule.
    assert!(accepted > 20, "{accepted}");
    let before = [server.get("/v2/apps")["apps"].clone(), server.get("/v2/groups")["version"].clone()];
    server.kill();
    server.start_again();
    let after = [server.get("/v2/apps")["apps"].clone(), server.get("/v2/groups")["version"].clone()];
    assert_eq!(ids(&before[0]), ids(&after[0]));
    assert_eq!(before[1], after[1]);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Vast numbers of instances are legal and take long to write out; they are tried elsewhere.
fn tamed(mut value: Value) -> Value {
    if let Some(instances) = value.get_mut("instances").filter(|it| it.as_u64().is_some_and(|it| it > 100)) {
        *instances = json!(100);
    }
    value
}

fn ids(apps: &Value) -> Vec<String> {
    apps.as_array().unwrap().iter().map(|it| it["id"].to_string()).collect()
}
