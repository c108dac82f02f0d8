//! What Mesos forgives in JSON, what it does not, and how an error says where it is.

use marathon_mesos_v1::{Call, CallType, Codec, Event, Message, TaskStatus, json};

fn call(text: &str) -> Result<Call, String> {
    Codec::Json.decode(text.as_bytes()).map_err(|it| it.to_string())
}

#[test]
fn what_the_master_forgives_is_forgiven() {
    let lenient = call(
        r#"{"type":"DECLINE","framework_id":{"value":"f","other":[1]},"frameworkId":7,"suppress":null,
           "decline":{"offer_ids":{"value":"o"},"filters":{"refuse_seconds":"2.5"}}}"#,
    );
    let call = lenient.expect("read");
    assert_eq!(call.r#type, Some(CallType::DECLINE as i32));
    let decline = call.decline.expect("present");
    assert_eq!(decline.offer_ids[0].value, "o", "one value stands for a list of one");
    assert_eq!(decline.filters.expect("present").refuse_seconds, Some(2.5), "a number may be a string");
}

#[test]
fn an_error_names_the_field() {
    let check = |text: &str, said: &str| assert_eq!(call(text).expect_err(said), said);
    check(r#"{"type":3}"#, "type: expected a name, found a number");
    check(
        r#"{"decline":{"offer_ids":[{"value":"a"},{}]}}"#,
        "decline.offer_ids[1].value: Missing required fields",
    );
    check(r#"{"decline":{"offer_ids":[7]}}"#, "decline.offer_ids[0]: expected an object, found a number");
    check(r#"{"framework_id":{"value":[]}}"#, "framework_id.value: expected a string, found a list");
    check("[]", "expected an object, found a list");
    check("{", "not JSON");
}

#[test]
fn a_name_of_a_newer_master_is_no_error() {
    let event: Event = Codec::Json.decode(br#"{"type":"PANIC"}"#).expect("read");
    assert_eq!(event.r#type, None, "an optional name that is unknown counts as none");
    let text = br#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},"state":"TASK_PAUSED"}}}"#;
    let event: Event = Codec::Json.decode(text).expect("read");
    assert_eq!(event.update.expect("present").status.state, json::UNRECOGNISED);
}

#[test]
fn a_message_may_hold_any_bytes() {
    let mut status = TaskStatus { message: Some(b"tail \xff\xfe".to_vec()), ..TaskStatus::default() };
    status.task_id.value = "t".to_owned();
    let again = TaskStatus::decode(status.encode_to_vec().as_slice()).expect("any bytes will do");
    assert_eq!(again, status);
    let json = String::from_utf8(Codec::Json.encode(&status)).expect("always UTF-8");
    assert!(json.contains("tail \u{fffd}\u{fffd}"), "{json}");

    let raw = b"{\"type\":\"ERROR\",\"error\":{\"message\":\"a\xffb\"}}";
    let event: Event = Codec::Json.decode(raw).expect("read with a replacement character");
    assert_eq!(String::from_utf8_lossy(&event.error.expect("present").message), "a\u{fffd}b");
}

#[test]
fn limits_may_be_infinite() {
    let text = r#"{"name":"n","task_id":{"value":"t"},"agent_id":{"value":"a"},
        "limits":{"cpus":{"value":"Infinity"},"mem":{"value":4096}}}"#;
    let task: marathon_mesos_v1::TaskInfo = serde_json::from_str(text).expect("read");
    assert_eq!(task.limits["cpus"].value, f64::INFINITY);
    let again = serde_json::to_value(&task).expect("written");
    assert_eq!(again["limits"], serde_json::json!({"cpus": {"value": "Infinity"}, "mem": {"value": 4096.0}}));
}

#[test]
fn an_unknown_protobuf_field_is_passed_over() {
    let mut bytes = Call { r#type: Some(CallType::REVIVE as i32), ..Call::default() }.encode_to_vec();
    bytes.extend([0xba, 0x3e, 0x03, b'n', b'e', b'w']); // field 999, three bytes
    let call = Call::decode(bytes.as_slice()).expect("tolerated");
    assert_eq!(call.r#type, Some(CallType::REVIVE as i32));
}
