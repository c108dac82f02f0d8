//! Every call and event of the recordings of a real master decodes, and survives both encodings unchanged.

use std::collections::BTreeMap;
use std::fs;

use marathon_mesos_v1::transcript::{self, Headers, What};
use marathon_mesos_v1::{Call, CallType, Codec, Event, EventType, Message, TaskState};
use serde_json::Value;

struct Recording {
    name: String,
    lines: Vec<transcript::Line>,
}

fn recordings() -> Vec<Recording> {
    let entries = fs::read_dir(transcript::FOLDER).expect("the folder of recordings is part of the checkout");
    let mut all: Vec<Recording> = Vec::new();
    for path in entries.map(|it| it.expect("a folder that can be read").path()) {
        if path.extension().is_some_and(|it| it == "jsonl") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a recording is UTF-8");
            let lines = transcript::parse(&text).unwrap_or_else(|cause| panic!("{name}: {cause}"));
            all.push(Recording { name, lines });
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn is_scheduler_call(line: &str) -> bool {
    line.starts_with("POST /api/v1/scheduler ") || line.starts_with("POST /master/api/v1/scheduler ")
}

fn codec(headers: &Headers) -> Option<Codec> {
    headers.get("content-type").and_then(Codec::from_media_type)
}

/// One call as it was sent, and the master's answer to it.
struct Sent {
    what: String,
    codec: Codec,
    body: Vec<u8>,
    status: u16,
    why: String,
}

struct Told {
    what: String,
    codec: Codec,
    data: Vec<u8>,
    /// Its length line counts bytes that the recorder replaced by a placeholder.
    shortened: bool,
    length_line: String,
}

/// Pairs requests and answers by connection; frames belong to the stream of their connection.
fn conversation(recording: &Recording) -> (Vec<Sent>, Vec<Told>) {
    let mut sent: Vec<Sent> = Vec::new();
    let mut told = Vec::new();
    let mut open: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    let mut streams: BTreeMap<&str, Codec> = BTreeMap::new();
    for (at, line) in recording.lines.iter().enumerate() {
        let what = format!("{}:{}", recording.name, at + 1);
        let connection = line.connection.as_str();
        match &line.what {
            What::Request { line, headers, body, .. } => {
                let readable = is_scheduler_call(line) && headers.get("content-encoding").is_none();
                let call = codec(headers).filter(|_| readable).map(|codec| {
                    sent.push(Sent { what, codec, body: body.clone(), status: 0, why: String::new() });
                    sent.len() - 1
                });
                open.insert(connection, call);
            }
            What::Response { status, headers, streamed, body } => {
                if let Some(Some(call)) = open.get(connection).copied() {
                    sent[call].status = *status;
                    sent[call].why = String::from_utf8_lossy(body).into_owned();
                    if let Some(codec) = codec(headers).filter(|_| *streamed) {
                        streams.insert(connection, codec);
                    }
                }
            }
            What::Frame { length_line, data, .. } => {
                if let Some(codec) = streams.get(connection).copied() {
                    let shortened = String::from_utf8_lossy(data).contains("<SANDBOX>")
                        || String::from_utf8_lossy(data).contains("<WORK_DIR>")
                        || String::from_utf8_lossy(data).contains("<LIBEXEC_DIR>")
                        || String::from_utf8_lossy(data).contains("<BUILD>");
                    let length_line = length_line.clone();
                    told.push(Told { what, codec, data: data.clone(), shortened, length_line });
                }
            }
            _ => {}
        }
    }
    (sent, told)
}

/// `1` and `1.0` are one number in JSON, and a field without value is none.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(it) => Value::from(it.as_f64().expect("a number of a recording")),
        Value::Array(all) => all.iter().map(normal).collect(),
        Value::Object(fields) => {
            let mut sorted: Vec<(String, Value)> = fields
                .iter()
                .filter(|(_, it)| !it.is_null() && it.as_array().is_none_or(|all| !all.is_empty()))
                .map(|(key, it)| (key.clone(), normal(it)))
                .collect();
            sorted.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(sorted.into_iter().collect())
        }
        other => other.clone(),
    }
}

fn survives<M>(message: &M, what: &str)
where
    M: Message
        + marathon_mesos_v1::json::Json
        + marathon_mesos_v1::lenient::Fields
        + Default
        + PartialEq
        + std::fmt::Debug,
{
    let of_protobuf =
        M::decode(message.encode_to_vec().as_slice()).unwrap_or_else(|it| panic!("{what}: {it}"));
    assert_eq!(&of_protobuf, message, "{what}: through protobuf");
    let of_json: M =
        Codec::Json.decode(&Codec::Json.encode(message)).unwrap_or_else(|it| panic!("{what}: {it}"));
    assert_eq!(&of_json, message, "{what}: through JSON");
}

/// Calls that say something no message can hold, so that they cannot come out as they went in.
const NOT_FAITHFUL: &[&str] = &["06b-second-subscriber", "12a-http-errors", "12b-call-errors"];

#[test]
fn every_call_decodes_and_survives_both_encodings() {
    let mut kinds: BTreeMap<i32, usize> = BTreeMap::new();
    for recording in recordings() {
        for Sent { what, codec, body, status, why } in conversation(&recording).0 {
            let call: Call = match codec.decode(&body) {
                Ok(call) => call,
                Err(_) if status == 400 && (why.contains("parse") || why.contains("convert")) => continue,
                Err(cause) => panic!("{what}: {cause:?}; the master said {status} {why}"),
            };
            survives(&call, &what);
            *kinds.entry(call.r#type.unwrap_or_default()).or_default() += 1;
            if codec == Codec::Json && !NOT_FAITHFUL.contains(&recording.name.as_str()) {
                let original: Value = serde_json::from_slice(&body).expect("it was decoded");
                assert_eq!(
                    normal(&serde_json::to_value(&call).expect("plain data")),
                    normal(&original),
                    "{what}"
                );
            }
        }
    }
    let used = |it: CallType| kinds.get(&(it as i32)).copied().unwrap_or(0);
    assert!(used(CallType::ACCEPT) > 50 && used(CallType::ACKNOWLEDGE) > 100, "{kinds:?}");
    assert!(kinds.len() >= 14, "most kinds of call occur: {kinds:?}");
}

#[test]
fn every_event_decodes_and_survives_both_encodings() {
    let mut kinds: BTreeMap<i32, usize> = BTreeMap::new();
    for recording in recordings() {
        for Told { what, codec, data, shortened, length_line } in conversation(&recording).1 {
            let event: Event = codec.decode(&data).unwrap_or_else(|cause| panic!("{what}: {cause:?}"));
            survives(&event, &what);
            *kinds.entry(event.r#type.unwrap_or_default()).or_default() += 1;
            if codec == Codec::Json {
                let original: Value = serde_json::from_slice(&data).expect("it was decoded");
                assert_eq!(
                    normal(&serde_json::to_value(&event).expect("plain data")),
                    normal(&original),
                    "{what}"
                );
            }
            if codec == Codec::Protobuf {
                assert_eq!(event.encoded_len(), data.len(), "{what}: no field was lost");
            }
            if !shortened {
                let record = marathon_mesos_v1::record::encode(&data);
                assert!(record.starts_with(length_line.as_bytes()), "{what}");
            }
        }
    }
    let all = [
        EventType::SUBSCRIBED,
        EventType::OFFERS,
        EventType::INVERSE_OFFERS,
        EventType::RESCIND,
        EventType::UPDATE,
        EventType::UPDATE_OPERATION_STATUS,
        EventType::FAILURE,
        EventType::ERROR,
        EventType::HEARTBEAT,
    ];
    for kind in all {
        assert!(kinds.contains_key(&(kind as i32)), "{kind:?} occurs: {kinds:?}");
    }
}

/// The recorder's decoder printed each protobuf frame; names and texts in it must be in what we decode.
#[test]
fn protobuf_says_what_the_recorder_read() {
    let recording = recordings().into_iter().find(|it| it.name == "16-protobuf").expect("recording 16");
    let notes: Vec<&str> = recording
        .lines
        .iter()
        .filter_map(|it| match &it.what {
            What::Note(text) => text.strip_prefix("decoded: "),
            _ => None,
        })
        .collect();
    let (_, told) = conversation(&recording);
    assert!(notes.len() == 9 && told.len() >= notes.len(), "a note for each frame of the first stream");
    let mut states = Vec::new();
    use TaskState::{TASK_KILLED, TASK_KILLING, TASK_RUNNING, TASK_STARTING};
    let expected = [TASK_STARTING, TASK_RUNNING, TASK_KILLING, TASK_KILLED];
    for (told, note) in told.iter().zip(notes) {
        let event = Event::decode(told.data.as_slice()).expect("decodes");
        let kind = EventType::try_from(event.r#type.unwrap_or_default()).expect("a known type");
        assert!(note.starts_with(&format!("type: {}", kind.as_str())), "{kind:?} is not {note}");
        for text in texts(&serde_json::to_value(&event).expect("plain data")) {
            // The one name that this release's own decoder did not know.
            assert!(text == "QUOTA_V2" || note.contains(&text), "`{text}` is not in {note}");
        }
        if let Some(update) = event.update {
            states.push(TaskState::try_from(update.status.state).expect("a known state"));
            assert_eq!(update.status.uuid.map(|it| it.len()), Some(16));
        }
    }
    assert_eq!(states, expected);
}

/// All strings of a JSON value but `uuid`, which the recorder printed otherwise.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Object(fields) => {
            fields.iter().filter(|(key, _)| *key != "uuid").flat_map(|(_, it)| texts(it)).collect()
        }
        _ => Vec::new(),
    }
}
