//! Apps as users write them, down to the ACCEPT that a master gets: golden files in `accept/`.
//!
//! `BLESS=1 cargo test -p marathon-mesos --test accept` writes them anew.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use marathon_core::{Core, Policy};
use marathon_mesos::{About, Masters, Mesos};
use marathon_mesos_v1::{self as v1, Codec, Event, record};
use marathon_model::act::Act;
use marathon_model::command::{Command, PodEdit};
use marathon_model::event::Event as CoreEvent;
use marathon_model::id::RequestId;
use marathon_model::offer::EngineEvent;
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::update::AppEdit;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::playback::PATIENCE;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/accept"))
}

pub fn policy() -> Policy {
    let mut policy =
        Policy { offers_by_role: true, principal: Some("marathon".to_owned()), ..Policy::default() };
    policy.rules.mesos_role = "prod".into();
    policy.rules.features.external_volumes = true;
    policy.rules.features.secrets = true;
    policy.rules.features.gpu_resources = true;
    policy.min_revive_offers_interval = Duration::ZERO;
    policy.gpu_restricted = false;
    policy.rules.executor = Some("//cmd".to_owned());
    policy
}

/// An offer of a machine with some of everything, allocated to the role `prod`.
pub fn offer() -> Value {
    let of = |role: &str, name: &str, value: f64| {
        json!({"name": name, "type": "SCALAR", "role": role, "scalar": {"value": value},
            "allocation_info": {"role": "prod"}})
    };
    json!({
        "id": {"value": "O1"}, "framework_id": {"value": "F1"}, "agent_id": {"value": "S1"}, "hostname": "agent1.example",
        "allocation_info": {"role": "prod"},
        "attributes": [{"name": "rack", "type": "TEXT", "text": {"value": "r1"}}],
        "resources": [
            of("*", "cpus", 0.75), of("prod", "cpus", 8.0), of("*", "mem", 8192.0), of("*", "disk", 10_000.0),
            of("*", "gpus", 2.0),
            {"name": "ports", "type": "RANGES", "role": "*", "allocation_info": {"role": "prod"},
                "ranges": {"range": [{"begin": 31000, "end": 31000}]}},
            {"name": "ports", "type": "RANGES", "role": "prod", "allocation_info": {"role": "prod"},
                "ranges": {"range": [{"begin": 31010, "end": 31010}, {"begin": 31020, "end": 31020}]}},
        ],
    })
}

pub fn event(value: Value) -> Vec<u8> {
    let event: Event = serde_json::from_value(value).expect("an event");
    record::encode(&Codec::Json.encode(&event)).to_vec()
}

/// Starts what the body defines on the offer and gives back the ACCEPT.
async fn accept(name: &str, body: &[u8]) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (calls, mut requests) = mpsc::unbounded_channel::<v1::Call>();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let calls = calls.clone();
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while let Some(it) = crate::playback::request(&mut io, &mut buffer).await {
                    let call: v1::Call = Codec::Json.decode(&it.body).expect("a call");
                    if call.subscribe.is_some() {
                        let head =
                            "HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nContent-Type: application/json\r\n\r\n";
                        let _ = io.write_all(head.as_bytes()).await;
                        let subscribed =
                            json!({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "F1"}}});
                        let _ = io.write_all(&event(subscribed)).await;
                        let offers = json!({"type": "OFFERS", "offers": {"offers": [offer()]}});
                        let _ = io.write_all(&event(offers)).await;
                    } else {
                        let _ = calls.send(call);
                        let _ = io.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
                    }
                }
            });
        }
    });

    let now = || Now { wall: Timestamp(1_614_849_011_120), tick: Tick::default() };
    let (mut core, _) = Core::restore(Vec::new(), policy(), 7, now());
    let command = match marathon_request::pod(body) {
        Ok(update) if serde_json::from_slice::<Value>(body).is_ok_and(|it| it["containers"].is_array()) => {
            let id = update.id.clone();
            Command::EditPod { id, edit: PodEdit::Create(Box::new(update)), force: false, origin: None }
        }
        _ => {
            let update = marathon_request::app(body, marathon_request::Mode::Create).expect("an app");
            let id = update.id.clone().expect("an app has an id");
            Command::EditApps { edits: vec![(id, AppEdit::Create(update))], force: false, origin: None }
        }
    };
    let batch = core.step(CoreEvent::Asked { from: RequestId(1), command }, now());
    let refused = format!("{:?}", batch.acts.iter().find(|it| matches!(it, Act::Reply(..))));
    assert!(!refused.contains("Refused"), "{name}: {refused}");

    let (sender, mut told) = mpsc::channel::<EngineEvent>(100);
    let mut config = crate::playback::config(address, Codec::Json);
    config.masters = Masters::parse(&address.to_string()).expect("an address");
    config.roles = vec!["prod".into()];
    config.framework.principal = Some("marathon".to_owned());
    config.about = About { bridge_name: "mesos-bridge".to_owned(), ..About::default() };
    let mesos = Mesos::connect(config, sender).expect("a client");
    mesos.begin();
    let found = async {
        loop {
            tokio::select! {
                Some(event) = told.recv() => {
                    for act in core.step(CoreEvent::Engine(event), now()).acts {
                        if let Act::Engine(call) = act {
                            mesos.call(call);
                        }
                    }
                }
                Some(call) = requests.recv() => if let Some(accept) = call.accept {
                    return accept;
                },
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{name}: no ACCEPT"));
    mesos.stop().await;
    serde_json::to_value(&found).expect("plain data")
}

async fn check(name: &str) {
    let body = fs::read(folder().join(format!("{name}.json"))).expect("a definition");
    let got = format!("{}\n", serde_json::to_string_pretty(&accept(name, &body).await).expect("plain data"));
    let golden = folder().join(format!("{name}.accept.json"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &got).expect("written");
    }
    let want = fs::read_to_string(&golden).unwrap_or_default();
    assert!(got == want, "{name}: not as {}; got\n{got}", golden.display());
}

#[tokio::test]
async fn definitions_become_tasks() {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder()).expect("the folder is part of the checkout") {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".json").filter(|it| !it.ends_with(".accept")).map(str::to_owned));
    }
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        check(&name).await;
    }
}
