//! What a stream sends.

use super::*;
use crate::hub::{RING, Subscription};
use futures_util::task::noop_waker_ref;
use marathon_model::deployment::Deployment;
use marathon_model::id::DeploymentId;
use marathon_model::notice::{Notice, What};
use marathon_model::time::Timestamp;
use tokio::sync::Notify;

fn event(n: i64) -> Notice {
    Notice { at: Timestamp(n), what: What::SchedulerDisconnected }
}

/// What the stream has to give right now, line ends shown as `|`.
fn poll(stream: &mut Stream) -> String {
    match Pin::new(stream).poll_bytes(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Pending => "-".to_owned(),
        Poll::Ready(None) => "end".to_owned(),
        Poll::Ready(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "|"),
    }
}

fn subscribe(hub: &Arc<EventHub>, ask: Subscription) -> Stream {
    hub.subscribe(ask, Arc::new(Notify::new()))
}

const GONE: &str = r#"{"eventType":"scheduler_disconnected_event","timestamp":"1970-01-01T00:00:00.005Z"}"#;

#[tokio::test]
async fn frames() {
    let hub = Arc::new(EventHub::new(10, 100));
    hub.publish(event(1));
    let mut stream = subscribe(&hub, Subscription { remote: "1.2.3.4".into(), ..Subscription::default() });
    let first = poll(&mut stream);
    assert!(
        first.starts_with(r#"event: event_stream_attached|data: {"remoteAddress":"1.2.3.4","#),
        "{first}"
    );
    assert!(first.ends_with("}|id: 101||"), "{first}");
    assert_eq!(poll(&mut stream), "-");
    let mut bare = subscribe(&hub, Subscription { ids: false, ..Subscription::default() });
    poll(&mut stream);
    poll(&mut bare);
    hub.publish(event(5));
    let want = format!("event: scheduler_disconnected_event|data: {GONE}|");
    assert_eq!(poll(&mut stream), format!("{want}id: 103||"));
    assert_eq!(poll(&mut bare), format!("{want}|"));
    (0..2).for_each(|_| hub.publish(event(5)));
    assert_eq!(poll(&mut stream), format!("{want}id: 104||{want}id: 105||"));
    assert_eq!(poll(&mut bare), format!("{want}|{want}|"));
    assert_eq!(hub.at(103).unwrap().json, GONE);
    assert_eq!(hub.at(1).map(|it| (it.id, it.missed)), Some((100, 99)));
    assert!(hub.at(106).is_none());
    hub.publish(event(5));
    hub.close();
    assert_eq!(poll(&mut stream), format!("{want}id: 106||"), "what was published is told");
    assert_eq!(poll(&mut stream), "end");
}

#[tokio::test]
async fn plans_come_in_the_format_asked_for() {
    let hub = Arc::new(EventHub::new(10, 1));
    let mut streams = [PlanFormat::Full, PlanFormat::Light].map(|plans| {
        let types = vec!["deployment_success".to_owned()];
        subscribe(&hub, Subscription { types, plans, ..Subscription::default() })
    });
    let id = DeploymentId("7d0c1f0e-3a55-4a0e-9a45-1b1b2c6f0001".parse().unwrap());
    let plan = Arc::new(Deployment::new(id, Timestamp(5), Vec::new()));
    hub.publish(Notice { at: Timestamp(5), what: What::DeploymentSucceeded { plan } });
    let [full, light] = &mut streams;
    assert!(poll(full).contains(r#""original":{},"target":{},"steps":"#));
    let light = poll(light);
    assert!(light.contains(r#""plan":{"id":"#) && !light.contains("original"), "{light}");
}

#[tokio::test]
async fn filters() {
    let hub = Arc::new(EventHub::new(10, 1));
    let types = vec!["event_stream_detached".to_owned(), "scheduler_disconnected_event".to_owned()];
    let mut stream = subscribe(&hub, Subscription { types, ..Subscription::default() });
    let other = subscribe(&hub, Subscription::default());
    assert_eq!(poll(&mut stream), "-");
    drop(other);
    assert!(poll(&mut stream).starts_with("event: event_stream_detached|"));
    assert_eq!(hub.readers_now(), 1);
}

#[tokio::test]
async fn resuming() {
    let hub = Arc::new(EventHub::new(10, 100));
    (0..5).for_each(|_| hub.publish(event(5)));
    let event = |id: u64| format!("event: scheduler_disconnected_event|data: {GONE}|id: {id}||");
    let gap = |missed: &str, at: u64| {
        format!("event: event_stream_gap|data: {{\"firstMissed\":{missed},\"resumedAt\":{at},")
    };
    for (last, want) in [
        (102, event(103)),
        (99, event(100)),
        (98, gap("99", 100)),
        (u64::MAX, gap("null", 100)),
        (0, gap("1", 100)),
    ] {
        let mut stream = subscribe(&hub, Subscription { last: Some(last), ..Subscription::default() });
        let first = poll(&mut stream);
        assert!(first.starts_with(&want), "{last}: {first}");
    }
}

#[tokio::test]
async fn resuming_may_lag_further_than_reading() {
    let hub = Arc::new(EventHub::new(3, 1));
    (0..500).for_each(|_| hub.publish(event(5)));
    let mut stream = subscribe(&hub, Subscription { last: Some(0), ..Subscription::default() });
    let mut seen = 0;
    loop {
        match poll(&mut stream) {
            text if text == "-" => break,
            text => seen += text.matches("event: scheduler").count(),
        }
    }
    assert_eq!(seen, 500);
}

#[tokio::test(start_paused = true)]
async fn the_slow_are_cut_off_and_nobody_else() {
    let hub = Arc::new(EventHub::new(3, 1));
    let mut slow = subscribe(&hub, Subscription::default());
    let mut picky = subscribe(
        &hub,
        Subscription { types: vec!["deployment_success".to_owned()], ..Subscription::default() },
    );
    let pump = tokio::spawn({
        let hub = hub.clone();
        async move { hub.pump().await }
    });
    (0..20).for_each(|_| hub.publish(event(5)));
    tokio::time::timeout(Duration::from_secs(10), slow.reader.hang_up.notified()).await.unwrap();
    assert!(poll(&mut slow).starts_with(": closed: more than 3 events wait for its reader"));
    assert_eq!(poll(&mut slow), "end");
    assert_eq!(poll(&mut picky), "-");
    assert_eq!(hub.cut_off.load(Ordering::SeqCst), 1);
    hub.close();
    tokio::time::timeout(Duration::from_secs(10), pump).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_ring_is_bounded() {
    let hub = Arc::new(EventHub::new(1, 1));
    let mut stream = subscribe(&hub, Subscription::default());
    (0..RING + 10).for_each(|_| hub.publish(event(5)));
    assert_eq!(hub.ring().events.len(), RING);
    assert!(poll(&mut stream).starts_with(": closed: "));
    assert_eq!(poll(&mut stream), "end");
}

#[tokio::test(start_paused = true)]
async fn heartbeats() {
    let hub = Arc::new(EventHub::new(10, 1));
    let mut stream = subscribe(&hub, Subscription::default());
    poll(&mut stream);
    assert_eq!(poll(&mut stream), "-");
    tokio::time::advance(HEARTBEAT).await;
    assert_eq!(poll(&mut stream), "|");
    assert_eq!(poll(&mut stream), "-");
}
