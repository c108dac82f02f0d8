//! Roles that the master does not allow: the others go on, without a new subscription where the master can do that.

use marathon_mesos_v1::CallType;
use marathon_model::offer::{Call as CoreCall, EngineEvent};
use serde_json::json;

use crate::script::{Answer, Client, Master, TAKEN, usual};

const NO: &str =
    r#"Supplied FrameworkInfo is not valid: Roles { "bad" } are not present in the master's --roles"#;

fn subscribed(version: &str) -> Answer {
    Answer::Stream(vec![json!({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "F1"},
        "master_info": {"id": "m", "ip": 1, "port": 5050, "version": version}}})])
}

fn refusal(status: &str, words: &str) -> Answer {
    Answer::Owned(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{words}", words.len()))
}

#[tokio::test]
async fn a_role_that_is_refused_costs_no_subscription() {
    for (status, words) in [
        ("400 Bad Request", NO),
        ("403 Forbidden", "Not authorized to register framework F1 with roles { bad, test }"),
    ] {
        let mut master = Master::start(move |_, call| match &call.update_framework {
            Some(it) if it.framework_info.roles.iter().any(|it| it == "bad") => refusal(status, words),
            Some(_) => TAKEN,
            None if call.subscribe.is_some() => subscribed("1.11.0"),
            None => usual(call),
        })
        .await;
        let mut client = Client::start(master.port, |_| {});
        client.subscribed().await;
        client.mesos.call(CoreCall::Revive(vec!["test".into(), "bad".into()]));
        let (_, first) = master.next(CallType::UPDATE_FRAMEWORK).await;
        assert_eq!(first.update_framework.expect("present").framework_info.roles, ["bad", "test"], "{words}");
        let (_, lost) = master.next(CallType::REVIVE).await;
        assert_eq!(lost.revive.expect("present").roles, ["test", "bad"], "it was on its way already");
        let (_, next) = master.next(CallType::UPDATE_FRAMEWORK).await;
        assert_eq!(next.update_framework.expect("present").framework_info.roles, ["test"], "{words}");
        let (_, revive) = master.next(CallType::REVIVE).await;
        assert_eq!(revive.revive.expect("present").roles, ["test"], "that call was dropped as a whole");
        // More demand for it changes nothing; other roles are taken.
        client.mesos.call(CoreCall::Revive(vec!["bad".into()]));
        client.mesos.call(CoreCall::Revive(vec!["good".into()]));
        let (_, more) = master.next(CallType::UPDATE_FRAMEWORK).await;
        assert_eq!(more.update_framework.expect("present").framework_info.roles, ["good", "test"], "{words}");
        client.mesos.stop().await;
    }
}

#[tokio::test]
async fn other_refusals_of_an_update_are_told_apart() {
    for (status, words) in [
        (
            "400 Bad Request",
            "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported",
        ),
        ("403 Forbidden", "Framework is not subscribed"),
        ("501 Not Implemented", ""),
    ] {
        let mut master = Master::start(move |_, call| match &call.update_framework {
            Some(_) => refusal(status, words),
            None if call.subscribe.is_some() => subscribed("1.11.0"),
            None => usual(call),
        })
        .await;
        let mut client = Client::start(master.port, |_| {});
        client.subscribed().await;
        client.mesos.call(CoreCall::Revive(vec!["good".into()]));
        assert_eq!(client.next().await, EngineEvent::Disconnected, "{words}");
        client.subscribed().await;
        master.next(CallType::SUBSCRIBE).await;
        let (_, again) = master.next(CallType::SUBSCRIBE).await;
        assert_eq!(again.subscribe.expect("present").framework_info.roles, ["good", "test"], "{words}");
        client.mesos.stop().await;
    }
}

#[tokio::test]
async fn an_authorizer_that_fails_is_waited_for() {
    let mut master = Master::start(|number, call| match number {
        0 if call.subscribe.is_some() => Answer::Stream(vec![json!({"type": "ERROR",
            "error": {"message": "Authorization failure: could not create ObjectApprovers for a framework"}})]),
        _ => usual(call),
    })
    .await;
    let mut client = Client::start(master.port, |config| config.roles = vec!["test".into(), "more".into()]);
    client.subscribed().await;
    master.next(CallType::SUBSCRIBE).await;
    let (_, again) = master.next(CallType::SUBSCRIBE).await;
    assert_eq!(
        again.subscribe.expect("present").framework_info.roles,
        ["more", "test"],
        "no role is to blame"
    );
}
