//! What a master of another release, or another configuration, may say: values, fields and roles that are not known
//! here, or there.

use std::time::Duration;

use marathon_mesos_v1::{CallType, Codec, Event};
use marathon_model::offer::{Attribute, Call as CoreCall, EngineEvent};
use serde_json::json;

use crate::script::{Answer, Client, Master, TAKEN, subscribed, usual};

/// Adds a field that no release has: number 900, a text.
fn with_more(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(b"\xa2\x38\x03new");
    bytes
}

#[test]
fn unknown_fields_and_values_are_tolerated() {
    let event =
        json!({"type": "UPDATE", "update": {"status": {"task_id": {"value": "t"}, "state": "TASK_RUNNING"}}});
    let mut event: Event = serde_json::from_value(event).expect("an event");
    if let Some(update) = &mut event.update {
        update.status.state = 99;
        update.status.reason = Some(4711);
        update.status.source = Some(7);
    }
    let read = Codec::Protobuf
        .decode::<Event>(&with_more(Codec::Protobuf.encode(&event).to_vec()))
        .expect("still an event");
    assert_eq!(read, event);
    let text = br#"{"type": "LATER", "later": {"x": [1]}, "update": {"status": {"task_id": {"value": "t"},
        "state": "TASK_LATER", "reason": "REASON_LATER", "more": 1}}}"#;
    let read: Event = Codec::Json.decode(text).expect("still an event");
    assert_eq!((read.r#type, read.update.map(|it| it.status.reason)), (None, Some(None)));
}

/// Attributes and resources of all kinds, and of kinds that come later.
#[tokio::test]
async fn offers_of_all_kinds_are_read() {
    let of = |name: &str, more: serde_json::Value| {
        let mut all = json!({"name": name, "allocation_info": {"role": "test"}});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        all
    };
    let offer = json!({
        "id": {"value": "O1"}, "framework_id": {"value": "F1"}, "agent_id": {"value": "S1"}, "hostname": "a",
        "allocation_info": {"role": "test"}, "later": {"x": 1},
        "attributes": [
            {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
            {"name": "rack", "type": "TEXT", "text": {"value": "r2"}},
            {"name": "level", "type": "SCALAR", "scalar": {"value": 1.5}},
            {"name": "units", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 4}]}},
            {"name": "tags", "type": "SET", "set": {"item": ["x", "y"]}},
            {"name": "odd", "type": "LATER"},
        ],
        "resources": [
            of("cpus", json!({"type": "SCALAR", "role": "*", "scalar": {"value": 4.0}})),
            of("ports", json!({"type": "RANGES", "role": "*", "ranges": {"range": [{"begin": 1, "end": 18446744073709551615_u64}]}})),
            of("zones", json!({"type": "SET", "role": "*", "set": {"item": ["a", "b"]}})),
            of("odd", json!({"type": "LATER", "role": "*"})),
            of("disk", json!({"type": "SCALAR", "role": "*", "scalar": {"value": 9.0}, "disk": {"source": {"type": "LATER"}}})),
            of("mem", json!({"type": "SCALAR", "role": "*", "scalar": {"value": 1.0}, "revocable": {}})),
        ],
    });
    let master = Master::start(move |_, call| match call.subscribe {
        Some(_) => Answer::Stream(vec![
            subscribed(),
            json!({"type": "LATER"}),
            json!({"type": "OFFERS", "offers": {"offers": [offer.clone()]}}),
        ]),
        None => TAKEN,
    })
    .await;
    let mut client = Client::start(master.port, |_| {});
    client.subscribed().await;
    let EngineEvent::Offers(offers) = client.next().await else { panic!("no offers") };
    let offer = &offers[0];
    let attributes: Vec<(&str, &Attribute)> =
        offer.attributes.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let want = [
        ("level", Attribute::Scalar(1.5)),
        ("rack", Attribute::Text("r1".to_owned())),
        ("tags", Attribute::Set(vec!["x".to_owned(), "y".to_owned()])),
        ("units", Attribute::Ranges(vec![(1, 4)])),
    ];
    assert_eq!(attributes, want.iter().map(|(name, value)| (*name, value)).collect::<Vec<_>>());
    // Neither the disk of a later kind nor what may be taken back.
    assert_eq!(offer.resources.len(), 4, "{:?}", offer.resources);
    client.mesos.call(CoreCall::Decline { offers: vec![offer.id.clone()], hold: Duration::from_secs(5) });
}

/// `--roles` of the master, or its access lists.
#[tokio::test]
async fn a_role_that_the_master_refuses_costs_its_apps_only() {
    let mut master = Master::start(|_, call| {
        let info = call.subscribe.as_ref().map(|it| &it.framework_info);
        let info = info.or(call.update_framework.as_ref().map(|it| &it.framework_info));
        match info.is_some_and(|it| it.roles.iter().any(|it| it == "bad")) {
            true if call.subscribe.is_some() => Answer::Stream(vec![
                json!({"type": "ERROR", "error": {"message": "Roles { bad } are not present in the master's --roles"}}),
            ]),
            true => Answer::Plain("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nwhy"),
            false => usual(call),
        }
    })
    .await;
    let mut client =
        Client::start(master.port, |config| config.roles = vec!["test".into(), "bad".into(), "good".into()]);
    let roles = |call: marathon_mesos_v1::Call| call.subscribe.expect("a subscription").framework_info.roles;
    assert_eq!(roles(master.next(CallType::SUBSCRIBE).await.1), ["bad", "good", "test"]);
    client.subscribed().await;
    assert_eq!(roles(master.next(CallType::SUBSCRIBE).await.1), ["good", "test"]);
    // Asked for again, it spoils nothing.
    client.mesos.call(CoreCall::Revive(vec!["bad".into(), "good".into()]));
    assert_eq!(master.next(CallType::REVIVE).await.1.revive.expect("a revive").roles, ["good"]);
    client.mesos.call(CoreCall::Suppress(vec!["bad".into()]));
    client.mesos.call(CoreCall::Suppress(vec!["bad".into(), "good".into()]));
    assert_eq!(master.next(CallType::SUPPRESS).await.1.suppress.expect("a suppress").roles, ["good"]);
}

#[tokio::test]
async fn a_role_of_its_own_that_is_refused_is_the_end() {
    let master = Master::start(|_, call| match call.subscribe {
        Some(_) => {
            let message = "Roles { test } are not present in the master's --roles";
            Answer::Stream(vec![json!({"type": "ERROR", "error": {"message": message}})])
        }
        None => TAKEN,
    })
    .await;
    let client = Client::start(master.port, |config| config.roles = vec!["test".into(), "other".into()]);
    assert_eq!(
        client.fate().await,
        "the Mesos master refuses this framework: Roles { test } are not present in the master's --roles"
    );
}

/// Later a role is added that a master of before 1.9 does not take: the subscription comes back without it.
#[tokio::test]
async fn a_new_role_that_is_refused_does_not_end_the_engine() {
    let mut master = Master::start(|_, call| {
        let bad = |roles: &[String]| roles.iter().any(|it| it == "bad");
        match (&call.subscribe, &call.update_framework) {
            (Some(it), _) if bad(&it.framework_info.roles) => {
                Answer::Stream(vec![json!({"type": "ERROR", "error": {"message": "Not authorized"}})])
            }
            (_, Some(it)) if bad(&it.framework_info.roles) => {
                Answer::Plain("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            }
            _ => usual(call),
        }
    })
    .await;
    let mut client = Client::start(master.port, |_| {});
    client.subscribed().await;
    client.mesos.call(CoreCall::Revive(vec!["bad".into()]));
    assert!(matches!(client.next().await, EngineEvent::Disconnected));
    client.subscribed().await;
    for roles in [&["test"][..], &["bad", "test"], &["test"]] {
        let call = master.next(CallType::SUBSCRIBE).await.1;
        assert_eq!(call.subscribe.expect("a subscription").framework_info.roles, roles);
    }
}
