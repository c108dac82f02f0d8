//! Bytes that are no text, in every text of every kind of event: what is left is read, and nothing else changes.

use std::collections::BTreeSet;

use marathon_mesos_v1::transcript::{self, What};
use marathon_mesos_v1::{Codec, Event};
use serde_json::Value;

/// What the recordings have no example of.
const MORE: &[&str] = &[
    r#"{"type":"MESSAGE","message":{"agent_id":{"value":"a"},"executor_id":{"value":"e"},"data":"AAAA"}}"#,
    r#"{"type":"OFFERS","offers":{"offers":[{"id":{"value":"o"},"framework_id":{"value":"f"},"agent_id":{"value":"a"},
        "hostname":"h","url":{"scheme":"http","address":{"hostname":"h","ip":"i","port":1},"path":"p","fragment":"x",
        "query":[{"key":"k","value":"v"}]},"executor_ids":[{"value":"e"}],
        "domain":{"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}},
        "attributes":[{"name":"n","type":"TEXT","text":{"value":"v"}},{"name":"s","type":"SET","set":{"item":["a","b"]}}],
        "resources":[{"name":"disk","type":"SCALAR","scalar":{"value":1},"role":"r","allocation_info":{"role":"r"},
            "provider_id":{"value":"p"},
            "reservation":{"principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}},
            "reservations":[{"type":"DYNAMIC","role":"r","principal":"p"}],
            "disk":{"persistence":{"id":"i","principal":"p"},"volume":{"mode":"RW","container_path":"c","host_path":"h"},
                "source":{"type":"PATH","path":{"root":"/"},"id":"i","vendor":"v","profile":"p",
                    "metadata":{"labels":[{"key":"k","value":"v"}]}}}}]}]}}"#,
    r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},"state":"TASK_FAILED","executor_id":{"value":"e"},
        "labels":{"labels":[{"key":"k","value":"v"}]},
        "container_status":{"container_id":{"value":"c","parent":{"value":"p","parent":{"value":"q"}}},
            "network_infos":[{"name":"n","groups":["g"],"ip_addresses":[{"ip_address":"1.2.3.4"}],
                "labels":{"labels":[{"key":"k","value":"v"}]}}]},
        "limitation":{"resources":[{"name":"mem","type":"SCALAR","scalar":{"value":1}}]}}}}"#,
];

/// A word that no recording has, of a length that nothing else in a message depends on.
const MARK: &str = "q~Z~q";

/// One kind of each: where two events differ only in values, one is enough.
fn events() -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Value> =
        MORE.iter().map(|it| serde_json::from_str(it).expect("an event of this test")).collect();
    for entry in std::fs::read_dir(transcript::FOLDER).expect("the recordings") {
        let path = entry.expect("a folder that can be read").path();
        if path.extension().is_some_and(|it| it == "jsonl") {
            let text = std::fs::read_to_string(&path).expect("a recording is UTF-8");
            for line in transcript::parse(&text).expect("a recording") {
                if let What::Frame { data, .. } = &line.what
                    && let Ok(event) = Codec::Json.decode::<Event>(data)
                    && event.r#type.is_some()
                {
                    let value = serde_json::to_value(&event).expect("plain data");
                    if seen.insert(shape(&value)) {
                        all.push(value);
                    }
                }
            }
        }
    }
    all
}

fn shape(of: &Value) -> String {
    match of {
        Value::Object(fields) => {
            let parts: Vec<String> = fields.iter().map(|(key, it)| format!("{key}:{}", shape(it))).collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(all) => {
            let parts: BTreeSet<String> = all.iter().map(shape).collect();
            format!("{parts:?}")
        }
        _ => String::new(),
    }
}

/// The places of all texts.
fn texts(of: &Value, at: &str, all: &mut Vec<String>) {
    match of {
        Value::String(_) => all.push(at.to_owned()),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, it)| texts(it, &format!("{at}/{n}"), all))
        }
        Value::Object(fields) => fields.iter().for_each(|(key, it)| texts(it, &format!("{at}/{key}"), all)),
        _ => {}
    }
}

fn replaced(bytes: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.windows(MARK.len()).position(|it| it == MARK.as_bytes())?;
    Some([&bytes[..at], by, &bytes[at + MARK.len()..]].concat())
}

#[test]
fn what_is_no_text_costs_no_event() {
    let mut spoilt = BTreeSet::new();
    for event in events() {
        let mut places = Vec::new();
        texts(&event, "", &mut places);
        for place in places {
            let mut marked = event.clone();
            *marked.pointer_mut(&place).expect("a text is there") = MARK.into();
            // The names of values and what is no text by its kind are another matter.
            let Ok(read) = serde_json::from_value::<Event>(marked.clone()) else { continue };
            // As many bytes; a start without its end, a byte that occurs nowhere, half of a pair, a piece of a longer one.
            for (bytes, text) in [
                (&b"a\xff\xfe\xc3("[..], "a\u{fffd}\u{fffd}\u{fffd}("),
                (b"\xed\xa0\x80\xf0\x9f", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ] {
                for codec in [Codec::Protobuf, Codec::Json] {
                    let Some(bytes) = replaced(&codec.encode(&read), bytes) else { continue };
                    let got: Event =
                        codec.decode(&bytes).unwrap_or_else(|it| panic!("{place} by {codec:?}: {it}"));
                    let mut want = marked.clone();
                    *want.pointer_mut(&place).expect("a text is there") = text.into();
                    let want: Event = serde_json::from_value(want).expect("it is text now");
                    let plain = |it: &Event| serde_json::to_value(it).expect("plain data");
                    assert_eq!(plain(&got), plain(&want), "{place} by {codec:?}");
                    let names: Vec<&str> = place.split('/').filter(|it| it.parse::<u32>().is_err()).collect();
                    spoilt.insert(names.join("/"));
                }
            }
        }
    }
    for some in [
        "/subscribed/framework_id/value",
        "/subscribed/master_info/hostname",
        "/offers/offers/hostname",
        "/offers/offers/attributes/set/item",
        "/offers/offers/resources/reservation/labels/labels/value",
        "/inverse_offers/inverse_offers/id/value",
        "/update/status/message",
        "/update/status/labels/labels/key",
        "/update/status/container_status/container_id/parent/parent/value",
        "/update_operation_status/status/operation_id/value",
        "/failure/executor_id/value",
        "/message/executor_id/value",
        "/error/message",
    ] {
        assert!(spoilt.iter().any(|it| it.ends_with(some)), "{some} was tried: {spoilt:#?}");
    }
}

#[test]
fn maps_are_read_too() {
    // In a map from text to messages a key, and a text within a value.
    let call = |key: &str, regex: &str| -> marathon_mesos_v1::Call {
        let condition = serde_json::json!({"selector": {"attribute_name": "n"},
            "predicate": {"text_matches": {"regex": regex}}});
        let groups = serde_json::json!({"groups": [{"attribute_constraints": [condition]}]});
        serde_json::from_value(serde_json::json!({"type": "UPDATE_FRAMEWORK", "update_framework": {
            "framework_info": {"user": "u", "name": "n"},
            "offer_constraints": {"role_constraints": {key: groups}}}}))
        .expect("a call of this test")
    };
    for (spoilt, whole) in
        [(call(MARK, "r"), call("\u{fffd}", "r")), (call("k", MARK), call("k", "\u{fffd}"))]
    {
        let bytes =
            replaced(&Codec::Protobuf.encode(&spoilt), b"\xf0\x9f\x90\x98\xff").expect("it is in there");
        let read: marathon_mesos_v1::Call = Codec::Protobuf.decode(&bytes).expect("read");
        let text = serde_json::to_string(&read).expect("plain data").replace('\u{1f418}', "");
        assert_eq!(text, serde_json::to_string(&whole).expect("plain data"));
    }
}

#[test]
fn what_is_no_message_stays_none() {
    let event = Codec::Protobuf.encode(&serde_json::from_str::<Event>(MORE[1]).expect("an event"));
    for cut in 1..event.len() {
        // Some cuts fall between two fields; none may panic.
        let _ = Codec::Protobuf.decode::<Event>(&event[..cut]);
        for byte in [0x00, 0x07, 0x0b, 0x7f, 0xff] {
            let mut bytes = event.clone();
            bytes[cut] = byte;
            let _ = Codec::Protobuf.decode::<Event>(&bytes);
        }
    }
    Codec::Protobuf
        .decode::<Event>(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f])
        .expect_err("a length beyond the end");
}
