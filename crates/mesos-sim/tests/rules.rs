//! Rules that no recording shows: who gets what among several frameworks, and that a seed is a history.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use marathon_mesos_sim::config::{AgentShape, Config};
use marathon_mesos_sim::front::{Answer, Request};
use marathon_mesos_sim::sim::{Output, Sim};
use marathon_mesos_sim::time::Time;
use marathon_mesos_v1::record::Decoder;
use serde_json::{Value, json};

const START: Time = Time(1_700_000_000_000_000_000);
const ALL: [&str; 4] = ["MULTI_ROLE", "RESERVATION_REFINEMENT", "PARTITION_AWARE", "GPU_RESOURCES"];

struct World {
    sim: Sim,
    /// Framework id and stream id by connection.
    frameworks: BTreeMap<u64, (String, String)>,
    decoders: BTreeMap<u64, Decoder>,
    events: Vec<(u64, Value)>,
    next: u64,
}

impl World {
    fn new(agents: &[&str], change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::default();
        change(&mut config);
        let mut sim = Sim::new(config, START);
        sim.add_seat("master", [127, 0, 0, 1], 5050);
        for (at, resources) in agents.iter().enumerate() {
            sim.add_agent(AgentShape {
                hostname: format!("agent-{at}"),
                resources: marathon_mesos_sim::resources::parse(resources).unwrap(),
                attributes: marathon_mesos_sim::convert::attributes(&format!("n:x{at}")).unwrap().into(),
                ..AgentShape::default()
            });
        }
        World { sim, frameworks: BTreeMap::new(), decoders: BTreeMap::new(), events: Vec::new(), next: 1 }
    }

    fn post(&mut self, stream: Option<&str>, body: &Value) -> (u64, Answer) {
        let conn = self.next;
        self.next += 1;
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        headers.extend(stream.map(|it| ("Mesos-Stream-Id".to_owned(), it.to_owned())));
        let request = Request {
            seat: 0,
            method: "POST".to_owned(),
            target: "/api/v1/scheduler".to_owned(),
            headers,
            body: Bytes::from(body.to_string()),
            conn,
        };
        let answer = self.sim.handle(&request);
        (conn, answer)
    }

    fn subscribe(&mut self, role: &str, capabilities: &[&str]) -> u64 {
        let capabilities: Vec<Value> = capabilities.iter().map(|it| json!({ "type": it })).collect();
        let info = json!({ "user": "root", "name": role, "roles": [role], "capabilities": capabilities, "failover_timeout": 60.0, "checkpoint": true });
        let (conn, answer) =
            self.post(None, &json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } }));
        assert!(answer.streamed, "{answer:?}");
        let stream = answer.headers.iter().find(|it| it.0 == "Mesos-Stream-Id").unwrap().1.clone();
        self.collect();
        let subscribed = self.of(conn, "SUBSCRIBED").remove(0);
        let id = subscribed["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
        self.frameworks.insert(conn, (id, stream));
        conn
    }

    fn call(&mut self, conn: u64, mut call: Value) {
        let (id, stream) = self.frameworks[&conn].clone();
        call["framework_id"] = json!({ "value": id });
        let (_, answer) = self.post(Some(&stream), &call);
        assert_eq!(answer.status, 202, "{call}: {answer:?}");
        self.collect();
    }

    fn pass(&mut self, millis: u64) {
        let until = self.sim.now.plus(Duration::from_millis(millis));
        self.sim.run_until(until);
        self.collect();
    }

    fn collect(&mut self) {
        for output in self.sim.take_outputs() {
            if let Output::Frame { conn, bytes } = output {
                let decoder = self.decoders.entry(conn).or_insert_with(|| Decoder::new(1 << 24));
                decoder.feed(&bytes);
                while let Some(record) = decoder.next_record().unwrap() {
                    self.events.push((conn, serde_json::from_slice(&record).unwrap()));
                }
            }
        }
    }

    /// Takes the events of one kind that came on a connection.
    fn of(&mut self, conn: u64, kind: &str) -> Vec<Value> {
        let (taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|(at, it)| *at == conn && it["type"] == kind);
        self.events = left;
        taken.into_iter().map(|(_, it)| it).collect()
    }

    /// Host names of offers that came, and their ids.
    fn offers(&mut self, conn: u64) -> Vec<(String, String)> {
        let events = self.of(conn, "OFFERS");
        let all = events.iter().flat_map(|it| it["offers"]["offers"].as_array().unwrap());
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        let mut found: Vec<_> = all.map(|it| (text(&it["hostname"]), text(&it["id"]["value"]))).collect();
        found.sort();
        found
    }

    fn decline(&mut self, conn: u64, offers: &[(String, String)], seconds: f64) {
        let ids: Vec<Value> = offers.iter().map(|(_, id)| json!({ "value": id })).collect();
        self.call(conn, json!({ "type": "DECLINE", "decline": { "offer_ids": ids, "filters": { "refuse_seconds": seconds } } }));
    }
}

fn hosts(offers: &[(String, String)]) -> Vec<&str> {
    offers.iter().map(|it| it.0.as_str()).collect()
}

#[test]
fn what_one_refuses_the_other_gets_and_what_is_free_is_shared() {
    let mut world = World::new(&["cpus:4;mem:1024"; 4], |_| {});
    let first = world.subscribe("a", &ALL);
    let all = world.offers(first);
    assert_eq!(all.len(), 4, "alone, one gets everything");
    let second = world.subscribe("b", &ALL);
    assert!(world.offers(second).is_empty(), "nothing is free");
    world.decline(first, &all, 0.0);
    world.pass(1000);
    let (mine, theirs) = (world.offers(first).len(), world.offers(second).len());
    assert_eq!((mine, theirs), (2, 2), "two with the same share take turns");
}

#[test]
fn a_refusal_holds_for_its_time_and_no_longer() {
    let mut world = World::new(&["cpus:4;mem:1024"], |_| {});
    let only = world.subscribe("a", &ALL);
    let all = world.offers(only);
    world.decline(only, &all, 3.0);
    world.pass(2900);
    assert!(world.offers(only).is_empty());
    world.pass(1200);
    assert_eq!(world.offers(only).len(), 1);
}

#[test]
fn agents_with_gpus_are_for_those_who_know_them() {
    let mut world = World::new(&["cpus:4;mem:1024;gpus:1", "cpus:4;mem:1024"], |_| {});
    let plain = world.subscribe("a", &ALL[..3]);
    let offers = world.offers(plain);
    assert_eq!(hosts(&offers), ["agent-1"]);
    let knowing = world.subscribe("b", &ALL);
    assert_eq!(hosts(&world.offers(knowing)), ["agent-0"]);
}

#[test]
fn what_is_reserved_for_a_role_goes_to_that_role() {
    let mut world = World::new(&["cpus(b):4;mem(b):1024"], |_| {});
    let other = world.subscribe("a", &ALL);
    assert!(world.offers(other).is_empty());
    let owner = world.subscribe("b", &ALL);
    assert_eq!(hosts(&world.offers(owner)), ["agent-0"]);
}

#[test]
fn a_disconnected_framework_frees_its_offers_for_others() {
    let mut world = World::new(&["cpus:4;mem:1024"], |_| {});
    let first = world.subscribe("a", &ALL);
    assert_eq!(world.offers(first).len(), 1);
    let second = world.subscribe("b", &ALL);
    world.sim.disconnected(first);
    world.pass(1000);
    assert_eq!(world.offers(second).len(), 1);
}

/// Everything that is said in two minutes of a cluster in which much breaks.
fn history(seed: u64) -> Vec<(u64, Value)> {
    let mut world =
        World::new(&["cpus:4;mem:4096;ports:[1-100]"; 20], |it| (it.seed, it.faults) = (seed, 0.5));
    let conn = world.subscribe("a", &ALL);
    let mut said = Vec::new();
    for round in 0..120 {
        world.pass(1000);
        let offers = world.offers(conn);
        if world.sim.frameworks[0].subscription.is_some() && round % 3 == 0 && !offers.is_empty() {
            world.decline(conn, &offers, 0.0);
        }
        said.append(&mut world.events);
        said.extend(offers.into_iter().map(|it| (conn, json!([it.0, it.1]))));
    }
    said
}

#[test]
fn a_seed_is_a_history() {
    let first = history(7);
    assert!(first.len() > 20, "little happened: {}", first.len());
    assert_eq!(first, history(7));
    assert_ne!(first, history(8));
}

#[test]
fn the_journal_tells_who_did_what_from_when_it_is_first_read() {
    let mut world = World::new(&["cpus:4;mem:1024"], |_| {});
    let read = |world: &mut World, from: u64| -> Vec<String> {
        let answer = world.sim.admin(&json!({ "do": "journal", "from": from }));
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        let entries = told["entries"].as_array().unwrap().clone();
        let what = |it: &Value| it["what"].as_str().unwrap().to_owned();
        entries
            .iter()
            .map(|it| format!("{} {} {}", it["n"], what(it), it["kind"].as_str().unwrap_or("-")))
            .collect()
    };
    let early = world.subscribe("a", &ALL);
    assert_eq!(read(&mut world, 0), Vec::<String>::new());
    let offers = world.offers(early);
    world.decline(early, &offers, 0.0);
    let (id, _) = world.frameworks[&early].clone();
    let refused = world.post(Some("another"), &json!({ "type": "REVIVE", "framework_id": { "value": id } }));
    assert_eq!(refused.1.status, 400);
    world.subscribe("b", &ALL);
    world.sim.admin(&json!({ "do": "kill_agent", "agent": 0 }));
    assert_eq!(read(&mut world, 0), ["0 call DECLINE", "1 call REVIVE", "2 subscribed -", "3 order -"]);
    assert_eq!(read(&mut world, 3), ["3 order -"]);
}
