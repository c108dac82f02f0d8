//! The client against what a real master sent: a small server plays the master's side of a recording, byte for byte
//! and with its chunk borders, and the client must tell the core what it means.
//!
//! A recording holds several scripts (schedulers that come and go); each event stream of it is played by itself.

use marathon_mesos_v1::{Codec, Event, EventType, TaskState, transcript};
use marathon_model::offer::{EngineEvent, TaskState as State};

use crate::playback::{Stream, play, streams};

/// What the core should be told for an event, in short.
fn expected(event: &Event) -> Option<String> {
    let kind = EventType::try_from(event.r#type?).ok()?;
    Some(match kind {
        EventType::SUBSCRIBED => "subscribed".to_owned(),
        EventType::OFFERS => format!("{} offers", event.offers.as_ref()?.offers.len()),
        EventType::RESCIND => "rescinded".to_owned(),
        EventType::UPDATE => {
            let status = &event.update.as_ref()?.status;
            // Names of tasks in the recordings are not of Marathon; `playback` gives them names that are.
            let acknowledged = if status.uuid.is_some() { " to acknowledge" } else { "" };
            format!("{}{acknowledged}", TaskState::try_from(status.state).ok()?.as_str())
        }
        EventType::FAILURE => {
            let failure = event.failure.as_ref()?;
            (failure.agent_id.is_some() && failure.executor_id.is_none()).then(|| "agent lost".to_owned())?
        }
        _ => return None,
    })
}

fn told(event: &EngineEvent) -> String {
    match event {
        EngineEvent::Subscribed { .. } => "subscribed".to_owned(),
        EngineEvent::Disconnected => "disconnected".to_owned(),
        EngineEvent::Offers(all) => format!("{} offers", all.len()),
        EngineEvent::Rescinded(_) => "rescinded".to_owned(),
        EngineEvent::AgentLost(_) => "agent lost".to_owned(),
        EngineEvent::Status(it) => {
            let acknowledged = if it.update.is_some() { " to acknowledge" } else { "" };
            format!("{}{acknowledged}", name(it.state))
        }
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Staging => "TASK_STAGING",
        State::Starting => "TASK_STARTING",
        State::Running => "TASK_RUNNING",
        State::Killing => "TASK_KILLING",
        State::Finished => "TASK_FINISHED",
        State::Failed => "TASK_FAILED",
        State::Killed => "TASK_KILLED",
        State::Error => "TASK_ERROR",
        State::Lost => "TASK_LOST",
        State::Dropped => "TASK_DROPPED",
        State::Unreachable => "TASK_UNREACHABLE",
        State::Gone => "TASK_GONE",
        State::GoneByOperator => "TASK_GONE_BY_OPERATOR",
        State::Unknown => "TASK_UNKNOWN",
    }
}

#[tokio::test]
async fn every_recorded_stream_is_understood() {
    let mut played = 0;
    for (name, text) in crate::playback::recordings() {
        let lines = transcript::parse(&text).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        for (at, stream) in streams(&lines).into_iter().enumerate() {
            let what = format!("{name}, stream {at}");
            let events = stream.events();
            if events.first().and_then(|it| it.r#type) != Some(EventType::SUBSCRIBED as i32) {
                continue;
            }
            let wanted: Vec<String> = events.iter().filter_map(expected).collect();
            let heard = play(&stream, wanted.len()).await;
            let got: Vec<String> = heard.events.iter().map(told).collect();
            assert_eq!(got, wanted, "{what}");
            check_calls(&stream, &heard, &what);
            played += 1;
        }
    }
    assert!(played >= 60, "only {played} streams were played");
}

/// What was sent on the way is legal: the form of the recorder's own calls, which the master took.
fn check_calls(stream: &Stream, heard: &crate::playback::Heard, what: &str) {
    let subscribe = &heard.subscribe;
    assert_eq!(subscribe.line, "POST /api/v1/scheduler HTTP/1.1", "{what}");
    assert_eq!(subscribe.header("content-type"), Some(stream.codec.media_type()), "{what}");
    assert_eq!(subscribe.header("accept"), Some(stream.codec.media_type()), "{what}");
    assert_eq!(subscribe.header("mesos-stream-id"), None, "{what}: a new stream has no id yet");
    let framework = stream.framework();
    if stream.events().iter().any(|it| it.error.is_some()) {
        // After an ERROR nothing is sent any more.
        return;
    }
    let updates =
        heard.events.iter().filter(|it| matches!(it, EngineEvent::Status(it) if it.update.is_some()));
    let acknowledged = heard.calls.iter().filter(|it| stream.call(&it.body).acknowledge.is_some());
    assert_eq!(acknowledged.count(), updates.count(), "{what}: exactly what has a uuid is acknowledged");
    for call in &heard.calls {
        assert_eq!(call.header("mesos-stream-id"), Some(stream.id.as_str()), "{what}");
        let call = stream.call(&call.body);
        assert_eq!(call.framework_id.as_ref().map(|it| it.value.clone()), framework, "{what}");
    }
}

#[tokio::test]
async fn a_refused_subscription_is_final() {
    for (recording, want) in [
        (
            "06c-failover-timeout-expired",
            "Mesos has removed the framework removed-0000, and its tasks with it",
        ),
        ("12a-http-errors", "the Mesos master refuses this framework"),
    ] {
        let text = crate::playback::recording(recording);
        let lines = transcript::parse(&text).expect("a recording");
        let refused = streams(&lines)
            .into_iter()
            .find(|it| it.events().first().and_then(|it| it.r#type) == Some(EventType::ERROR as i32));
        let refused = refused.unwrap_or_else(|| panic!("{recording} has a stream that begins with ERROR"));
        let fatal = crate::playback::fate(&refused).await;
        assert!(fatal.starts_with(want), "{fatal}");
    }
}

#[tokio::test]
async fn whoever_is_taken_over_gives_up() {
    let text = crate::playback::recording("06b-second-subscriber");
    let lines = transcript::parse(&text).expect("a recording");
    let taken = streams(&lines).into_iter().find(|it| {
        it.events().last().and_then(|it| it.r#type) == Some(EventType::ERROR as i32) && it.events().len() > 1
    });
    let fatal = crate::playback::fate(&taken.expect("a stream that ends with ERROR")).await;
    assert_eq!(fatal, "another process has subscribed with the id of this framework and taken it over");
}

#[test]
fn both_encodings_were_recorded() {
    let codecs: Vec<Codec> = crate::playback::recordings()
        .iter()
        .flat_map(|(_, text)| streams(&transcript::parse(text).expect("a recording")))
        .map(|it| it.codec)
        .collect();
    assert!(codecs.contains(&Codec::Protobuf) && codecs.contains(&Codec::Json));
}
