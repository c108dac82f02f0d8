//! `--mesos_offer_constraints`: what a master is told of apps that wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use marathon_core::{Core, Policy};
use marathon_mesos::{Filtering, Mesos};
use marathon_mesos_v1::{self as v1, Codec};
use marathon_model::act::Act;
use marathon_model::command::Command;
use marathon_model::event::Event as CoreEvent;
use marathon_model::id::RequestId;
use marathon_model::offer::EngineEvent;
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::update::AppEdit;
use marathon_model::view::View;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::accept::{event, offer, policy};
use crate::playback::PATIENCE;

/// A master of this version that answers UPDATE_FRAMEWORK so, and offers one agent if asked to.
struct Master {
    version: &'static str,
    answer: &'static str,
    offers: bool,
}

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nwhy";

/// Lets apps wait, and hands out the calls until `enough` of them came.
async fn calls(master: Master, apps: &[Value], enough: impl Fn(&[v1::Call]) -> bool) -> Vec<v1::Call> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, mut requests) = mpsc::unbounded_channel::<v1::Call>();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while let Some(it) = crate::playback::request(&mut io, &mut buffer).await {
                    let call: v1::Call = Codec::Json.decode(&it.body).expect("a call");
                    let answer = match v1::CallType::try_from(call.r#type.unwrap_or_default()) {
                        Ok(v1::CallType::SUBSCRIBE) => {
                            let head = "HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nContent-Type: application/json\r\n\r\n";
                            let _ = io.write_all(head.as_bytes()).await;
                            let info = json!({"id": "m", "ip": 1, "port": 1, "version": master.version});
                            let subscribed = json!({"framework_id": {"value": "F1"}, "master_info": info});
                            let _ = io
                                .write_all(&event(json!({"type": "SUBSCRIBED", "subscribed": subscribed})))
                                .await;
                            if master.offers {
                                let _ = io
                                    .write_all(&event(
                                        json!({"type": "OFFERS", "offers": {"offers": [offer()]}}),
                                    ))
                                    .await;
                            }
                            ""
                        }
                        Ok(v1::CallType::UPDATE_FRAMEWORK) => master.answer,
                        _ => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
                    };
                    let _ = sender.send(call);
                    let _ = io.write_all(answer.as_bytes()).await;
                }
            });
        }
    });

    let now = || Now { wall: Timestamp(1_614_849_011_120), tick: Tick::default() };
    let (mut core, _) =
        Core::restore(Vec::new(), Policy { max_running_deployments: 200, ..policy() }, 7, now());
    for body in apps {
        let update = marathon_request::app(body.to_string().as_bytes(), marathon_request::Mode::Create)
            .expect("an app");
        let id = update.id.clone().expect("an app has an id");
        let edits = vec![(id, AppEdit::Create(update))];
        let command = Command::EditApps { edits, force: false, origin: None };
        let batch = core.step(CoreEvent::Asked { from: RequestId(1), command }, now());
        let refused = format!("{:?}", batch.acts.iter().find(|it| matches!(it, Act::Reply(..))));
        assert!(!refused.contains("Refused"), "{refused}");
    }
    let view: Arc<Mutex<Arc<View>>> = Arc::new(Mutex::new(core.view()));
    let (sender, mut told) = mpsc::channel::<EngineEvent>(100);
    let mut config = crate::playback::config(address, Codec::Json);
    config.roles = vec!["prod".into()];
    let read = view.clone();
    let view_of = Arc::new(move || read.lock().expect("no panic").clone());
    config.filtering = Some(Filtering { interval: Duration::from_millis(10), view: view_of });
    let mesos = Mesos::connect(config, sender).expect("a client");
    mesos.begin();
    let mut all = Vec::new();
    let whole = async {
        while !enough(&all) {
            tokio::select! {
                Some(event) = told.recv() => {
                    let batch = core.step(CoreEvent::Engine(event), now());
                    *view.lock().expect("no panic") = core.view();
                    for act in batch.acts {
                        if let Act::Engine(call) = act {
                            mesos.call(call);
                        }
                    }
                }
                Some(call) = requests.recv() => all.push(call),
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, whole).await;
    assert!(done.is_ok(), "only these came: {all:?}");
    mesos.stop().await;
    all
}

fn app(id: &str, constraints: Value) -> Value {
    json!({"id": id, "cmd": "x", "cpus": 0.1, "mem": 32, "constraints": constraints, "instances": 3})
}

fn filters(call: &v1::Call) -> Option<Value> {
    let update = call.update_framework.as_ref()?;
    Some(
        update
            .offer_constraints
            .as_ref()
            .map_or(Value::Null, |it| serde_json::to_value(it).expect("plain data")),
    )
}

/// In short: `a=x & b?` for each group; `-` if nothing is filtered.
fn short(of: &Value) -> String {
    let groups = of["role_constraints"]["prod"]["groups"].as_array().cloned().unwrap_or_default();
    let one = |it: &Value| {
        let selector = &it["selector"];
        let name =
            selector["attribute_name"].as_str().or(selector["pseudoattribute_type"].as_str()).unwrap_or("?");
        let predicate = it["predicate"].as_object().and_then(|it| it.iter().next()).expect("one predicate");
        let text = predicate.1["value"].as_str().or(predicate.1["regex"].as_str()).unwrap_or_default();
        let sign = match predicate.0.as_str() {
            "exists" => "?",
            "text_equals" => "=",
            "text_not_equals" => "!=",
            "text_matches" => "~",
            "text_not_matches" => "!~",
            other => panic!("{other}"),
        };
        format!("{name}{sign}{text}")
    };
    let group = |it: &Value| {
        let all = it["attribute_constraints"].as_array().expect("conditions");
        all.iter().map(one).collect::<Vec<_>>().join(" & ")
    };
    let mut groups: Vec<String> = groups.iter().map(group).collect();
    groups.sort();
    if groups.is_empty() { "-".to_owned() } else { groups.join(" | ") }
}

const NEW: Master = Master { version: "1.11.0", answer: TAKEN, offers: false };

async fn check(apps: &[Value], offers: bool, want: &str) {
    let told = |all: &[v1::Call]| all.iter().filter_map(filters).any(|it| short(&it) == want);
    let all = calls(Master { offers, ..NEW }, apps, told).await;
    let subscribe = all.iter().find_map(|it| it.subscribe.as_ref()).expect("it subscribed");
    assert!(
        subscribe.offer_constraints.is_none(),
        "a condition that is refused must not cost the subscription"
    );
    let last = all.iter().filter_map(filters).next_back().map(|it| short(&it));
    assert_eq!(last.as_deref(), Some(want));
}

#[tokio::test]
async fn what_waits_decides_what_is_offered() {
    let long = "a|".repeat(60) + "b";
    for (constraints, want) in [
        (json!([["rack", "LIKE", "r[12]"]]), "rack?"),
        (json!([["rack", "LIKE", "(r|s)1.*"]]), "rack~(r|s)1.*"),
        (json!([["rack", "LIKE", long]]), "rack?"),
        (json!([["rack", "UNLIKE", "r9"], ["hostname", "UNIQUE"]]), "rack!~r9 & HOSTNAME?"),
        (json!([["rack", "CLUSTER", "r2"]]), "rack=r2"),
        (json!([["rack", "IS", "1.50"]]), "rack?"),
        (json!([["@zone", "IS", "eu-a"], ["@region", "GROUP_BY"]]), "ZONE=eu-a & REGION?"),
        (json!([["@hostname", "MAX_PER", "2"]]), "HOSTNAME?"),
    ] {
        check(&[app("/a", constraints)], false, want).await;
    }
    let like = |id: &str, value: &str| app(id, json!([["rack", "LIKE", value]]));
    check(&[like("/a", "x"), like("/b", "y"), like("/c", "x")], false, "rack~x | rack~y").await;
}

#[tokio::test]
async fn agents_that_are_taken_are_not_offered_again() {
    check(&[app("/a", json!([["hostname", "UNIQUE"]]))], true, "HOSTNAME? & HOSTNAME!=agent1.example").await;
    check(
        &[app("/a", json!([["rack", "CLUSTER"], ["hostname", "UNIQUE"]]))],
        true,
        "rack=r1 & HOSTNAME? & HOSTNAME!=agent1.example",
    )
    .await;
}

/// An app that may go anywhere, or a condition that no master can keep, leaves the role open.
#[tokio::test]
async fn some_roles_are_not_filtered() {
    let revived = |all: &[v1::Call]| all.iter().any(|it| it.revive.is_some());
    for apps in [
        vec![app("/a", json!([])), app("/b", json!([["rack", "LIKE", "x"]]))],
        vec![app("/a", json!([["rack", "UNLIKE", "[x]"]]))],
        (0..101).map(|at| app(&format!("/a{at}"), json!([["rack", "LIKE", format!("r{at}")]]))).collect(),
    ] {
        let all = calls(NEW, &apps, revived).await;
        assert!(all.iter().filter_map(filters).all(|it| short(&it) == "-"));
    }
    let apps = [app("/a", json!([["rack", "LIKE", "x"]]))];
    let all = calls(Master { version: "1.10.0", ..NEW }, &apps, revived).await;
    assert_eq!(all.iter().filter_map(filters).count(), 0, "a master that knows no conditions is told none");
}

#[tokio::test]
async fn a_master_that_refuses_is_asked_without() {
    let twice = |all: &[v1::Call]| {
        let subscribed: Vec<usize> =
            all.iter().enumerate().filter(|(_, it)| it.subscribe.is_some()).map(|(at, _)| at).collect();
        subscribed.get(1).is_some_and(|at| all[*at..].iter().any(|it| it.revive.is_some()))
    };
    let all =
        calls(Master { answer: REFUSED, ..NEW }, &[app("/a", json!([["rack", "LIKE", "x"]]))], twice).await;
    assert_eq!(all.iter().filter_map(filters).count(), 1, "once was enough");
}
