//! The whole binary on a simulated Mesos cluster: what an operator does, and what breaks meanwhile.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use common::Server;
use marathon_mesos_sim::launch::Cluster;
use marathon_mesos_sim::options::Options;
use marathon_testkit::zookeeper::ZooKeeper;
use serde_json::{Value, json};

/// A cluster whose tasks start at once, and that notices a lost agent soon.
fn cluster(agents: usize) -> Cluster {
    cluster_with(agents, |_| {})
}

fn cluster_with(agents: usize, change: impl FnOnce(&mut Options)) -> Cluster {
    let mut options = Options { ports: vec![0, 0], agents, ..Options::default() };
    options.config.allocation_interval = Duration::from_millis(200);
    options.config.unreachable_after = Duration::from_millis(500);
    options.config.session_timeout = Duration::from_millis(300);
    options.config.register_within = Duration::from_millis(500);
    options.config.start_delay = Duration::from_millis(5);
    change(&mut options);
    Cluster::start(options).unwrap()
}

fn server(cluster: &Cluster) -> Server {
    // Whoever leads: this master names it.
    Server::on(&cluster.addresses.masters[0].to_string(), &[])
}

/// An order to the simulation, or its audit. Tried at each master, as one of them may be down.
fn order(cluster: &Cluster, order: &Value) -> Value {
    let body = order.to_string();
    for address in &cluster.addresses.masters {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let request = format!(
            "POST /mesos-sim/admin HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        if stream.read_to_string(&mut answer).is_err() || answer.is_empty() {
            continue;
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        assert!(head.starts_with("HTTP/1.1 200"), "{order}: {answer}");
        return serde_json::from_str(body).unwrap();
    }
    panic!("no master is up");
}

fn audit(cluster: &Cluster) -> Value {
    order(cluster, &json!({ "do": "audit" }))
}

/// Task ids that really run on agents.
fn real_tasks(cluster: &Cluster) -> BTreeSet<String> {
    let report = audit(cluster);
    let all = report["running"].as_object().unwrap().values();
    all.flat_map(|it| it.as_array().unwrap()).map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Task ids of which the server says that they run.
fn told_tasks(server: &Server) -> BTreeSet<String> {
    let answer = server.get("/v2/tasks?status=running");
    answer["tasks"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn app(id: &str, instances: u32, version: &str) -> Value {
    json!({
        "id": id, "cmd": "./service", "cpus": 0.05, "mem": 16, "instances": instances, "env": { "V": version },
        "backoffSeconds": 0, "portDefinitions": [{ "port": 0, "name": "http" }],
        "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5 }
    })
}

/// In the end both sides know exactly the asked-for tasks, and nothing was ever launched twice.
#[track_caller]
fn settles(server: &Server, cluster: &Cluster, wanted: usize) {
    server.wait_idle();
    let mut unlike = String::new();
    server.wait_or("both sides know the same tasks", &mut unlike, |it, unlike| {
        let (real, told) = (real_tasks(cluster), told_tasks(it));
        let (more, less) = (real.difference(&told).take(5), told.difference(&real).take(5));
        *unlike =
            format!("{} run, {} are told; unknown: {more:?}; missing: {less:?}", real.len(), told.len());
        real.len() == wanted && real == told
    });
    let report = audit(cluster);
    assert_eq!(report["launched_twice"], json!([]));
    assert_eq!(report["instances_with_several_tasks"], json!({}));
}

#[test]
fn an_app_is_deployed_scaled_rolled_and_its_tasks_killed() {
    let cluster = cluster(5);
    let server = server(&cluster);
    server.change("POST", "/v2/apps", app("/web", 10, "one"));
    settles(&server, &cluster, 10);
    server.change("PUT", "/v2/apps//web", json!({ "instances": 20 }));
    settles(&server, &cluster, 20);
    let before = real_tasks(&cluster);
    server.change("PUT", "/v2/apps//web", app("/web", 20, "two"));
    settles(&server, &cluster, 20);
    assert!(before.is_disjoint(&real_tasks(&cluster)), "tasks of the old version run");
    let victim = real_tasks(&cluster).into_iter().next().unwrap();
    server.change("DELETE", &format!("/v2/apps//web/tasks/{victim}"), Value::Null);
    server.wait("the victim is gone", |_| !real_tasks(&cluster).contains(&victim));
    settles(&server, &cluster, 20);
    order(
        &cluster,
        &json!({ "do": "fail_task", "task": real_tasks(&cluster).first().unwrap(), "status": 3 }),
    );
    settles(&server, &cluster, 20);
    server.change("DELETE", "/v2/apps//web", Value::Null);
    settles(&server, &cluster, 0);
}

/// The offer constraints of our framework, as the master shows them.
fn constraints(cluster: &Cluster) -> String {
    let mut stream = TcpStream::connect(cluster.addresses.masters[0]).unwrap();
    stream.write_all(b"GET /state HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let from = answer.find('{').unwrap();
    let state: Value = serde_json::from_str(&answer[from..=answer.rfind('}').unwrap()]).unwrap();
    state["frameworks"][0]["offer_constraints"].to_string()
}

#[test]
fn the_master_filters_offers_for_what_waits() {
    let cluster = cluster_with(6, |it| it.attributes = "rack:r{2}".to_owned());
    let flags = ["--mesos_offer_constraints", "--min_mesos_offer_constraints_update_interval", "100"];
    let server = Server::on(&cluster.addresses.masters[0].to_string(), &flags);
    let mut picky = app("/picky", 5, "one");
    picky["constraints"] = json!([["rack", "LIKE", "r1"], ["hostname", "UNIQUE"]]);
    server.change("POST", "/v2/apps", picky);
    // Three agents are of that rack; then the master is told that they are taken.
    server.wait("the master is told", |_| constraints(&cluster).matches("text_not_equals").count() == 3);
    assert_eq!(real_tasks(&cluster).len(), 3);
    assert!(constraints(&cluster).contains(r#""text_matches":{"regex":"r1"}"#), "{}", constraints(&cluster));
    // What may run anywhere opens the role again.
    server.change("POST", "/v2/apps", app("/any", 6, "one"));
    server.wait("both run", |_| real_tasks(&cluster).len() == 9);
    server.wait("the filter is back", |_| constraints(&cluster).matches("text_not_equals").count() == 3);
    let picky = json!({ "constraints": [], "instances": 5 });
    server.change("PUT", "/v2/apps//picky?force=true", picky);
    server.wait("all run", |_| real_tasks(&cluster).len() == 11);
    server.wait("no filter is left", |_| constraints(&cluster) == "{}");
}

#[test]
fn a_deployment_of_a_thousand_survives_the_death_of_everybody() {
    let cluster = cluster(40);
    let mut server = server(&cluster);
    server.change("POST", "/v2/apps", app("/big", 1000, "one"));
    let reached = |cluster: &Cluster, count: u64| audit(cluster)["running_count"].as_u64().unwrap() >= count;

    server.wait("a fifth runs", |_| reached(&cluster, 200));
    server.kill();
    server.start_again();

    server.wait("more run", |_| reached(&cluster, 400));
    order(&cluster, &json!({ "do": "kill_master", "master": 0 }));
    // It comes back as a follower: first it names its dead self, then the new leader.
    order(&cluster, &json!({ "do": "start_master", "master": 0 }));

    server.wait("more than half run", |_| reached(&cluster, 600));
    order(&cluster, &json!({ "do": "kill_agent", "agents": [1, 2] }));
    order(&cluster, &json!({ "do": "partition_agent", "agent": 3 }));

    settles_but_for_lost(&server, &cluster);
    order(&cluster, &json!({ "do": "return_agent", "agents": [1, 2, 3] }));
    settles(&server, &cluster, 1000);
}

#[test]
fn a_failover_of_masters_in_zookeeper_touches_no_task() {
    let zookeeper = ZooKeeper::start();
    let cluster = cluster_with(10, |it| it.zk = Some(zookeeper.url("/mesos")));
    let server = Server::on(&zookeeper.url("/mesos"), &[]);
    server.change("POST", "/v2/apps", app("/web", 50, "one"));
    settles(&server, &cluster, 50);
    let (before, launches) = (real_tasks(&cluster), audit(&cluster)["launches"].clone());
    order(&cluster, &json!({ "do": "kill_master" }));
    // Only what is told by the new master can change anything.
    server.change("PUT", "/v2/apps//web", json!({ "instances": 51 }));
    settles(&server, &cluster, 51);
    assert!(before.is_subset(&real_tasks(&cluster)), "tasks were replaced");
    assert_eq!(audit(&cluster)["launches"].as_u64(), launches.as_u64().map(|it| it + 1));
}

/// The replacements of what was on lost agents run; the lost ones may, too.
#[track_caller]
fn settles_but_for_lost(server: &Server, cluster: &Cluster) {
    server.wait_idle();
    server.wait("a thousand run", |it| told_tasks(it).len() == 1000);
    assert_eq!(audit(cluster)["launched_twice"], json!([]));
}
