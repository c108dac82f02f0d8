//! An update in which a text is none is told and can be acknowledged; else it would come for ever.

use marathon_mesos_v1::{CallType, Codec, Event, record};
use marathon_model::offer::{Call as CoreCall, EngineEvent, TaskState};
use serde_json::json;

use crate::script::{Answer, Client, Master, subscribed, usual};

const TASK: &str = "web.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002._app.1";

/// The stream of a master whose update has bytes that are no text in a label and in the name of a network.
fn stream(codec: Codec) -> Vec<u8> {
    let update = json!({"type": "UPDATE", "update": {"status": {
        "task_id": {"value": TASK}, "agent_id": {"value": "S1"}, "state": "TASK_RUNNING", "timestamp": 1.0,
        "uuid": "AAECAwQFBgcICQoLDA0ODw==", "labels": {"labels": [{"key": "k", "value": "MARK"}]},
        "container_status": {"network_infos": [{"name": "MARK", "ip_addresses": [{"ip_address": "10.0.0.7"}]}]}}}});
    let media_type = codec.media_type();
    let mut out =
        format!("HTTP/1.1 200 OK\r\nMesos-Stream-Id: s1\r\nContent-Type: {media_type}\r\n\r\n").into_bytes();
    for it in [subscribed(), update] {
        let event: Event = serde_json::from_value(it).expect("an event");
        let mut bytes = codec.encode(&event);
        while let Some(at) = bytes.windows(4).position(|it| it == b"MARK") {
            bytes.splice(at..at + 4, *b"\xff\xfe(\xc3");
        }
        out.extend(record::encode(&bytes));
    }
    out
}

#[tokio::test]
async fn an_update_with_bytes_that_are_no_text_is_acknowledged() {
    for codec in [Codec::Json, Codec::Protobuf] {
        let mut master = Master::start(move |_, call| match call.subscribe {
            Some(_) => Answer::Bytes(stream(codec)),
            None => usual(call),
        })
        .await;
        let mut client = Client::start(master.port, |_| {});
        client.subscribed().await;
        let EngineEvent::Status(status) = client.next().await else { panic!("a status is told: {codec:?}") };
        assert_eq!((status.task.to_string().as_str(), status.state), (TASK, TaskState::Running));
        assert_eq!(&*status.addresses[0].address, "10.0.0.7");
        let (agent, update) = (status.agent.expect("an agent"), status.update.expect("an id"));
        client.mesos.call(CoreCall::Acknowledge { task: status.task, agent, update });
        let (_, call) = master.next(CallType::ACKNOWLEDGE).await;
        let sent = call.acknowledge.expect("present");
        assert_eq!((sent.task_id.value.as_str(), sent.agent_id.value.as_str()), (TASK, "S1"));
        assert_eq!(sent.uuid, (0..16).collect::<Vec<u8>>());
    }
}
