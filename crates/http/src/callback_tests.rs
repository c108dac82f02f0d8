//! Deliveries to real listeners.

use super::*;
use marathon_model::notice::{Notice, What};
use marathon_model::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(30);

fn publish(hub: &EventHub, text: &str) {
    let what = What::SchedulerReregistered { master: text.to_owned() };
    hub.publish(Notice { at: Timestamp(5), what });
}

struct Office {
    hub: Arc<EventHub>,
    callbacks: Arc<Callbacks>,
}

fn office() -> Office {
    let hub = Arc::new(EventHub::new(10, 1));
    tokio::spawn({
        let hub = hub.clone();
        async move { hub.pump().await }
    });
    let limits = Limits { request: Duration::from_secs(2), slow: Duration::from_secs(2) };
    let callbacks = Callbacks::new(hub.clone(), limits, Handle::current()).unwrap();
    Office { hub, callbacks: Arc::new(callbacks) }
}

impl Office {
    async fn until(&self, want: [u64; 3]) {
        let now = || {
            let Totals { delivered, failed, dropped } = &self.callbacks.totals;
            [delivered, failed, dropped].map(|it| it.load(Relaxed))
        };
        let end = Instant::now() + PATIENCE;
        while now() != want {
            assert!(Instant::now() < end, "{:?} instead of {want:?}", now());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Takes events and answers them with these statuses in turn, the last one for ever.
async fn subscriber(statuses: &'static [u16]) -> (CallbackUrl, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = CallbackUrl::parse(&format!("http://{}/in?x=y", listener.local_addr().unwrap())).unwrap();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(request) = request(&mut stream).await {
                let status = statuses[count.min(statuses.len() - 1)];
                count += 1;
                let _ = sender.send(request);
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    (url, received)
}

/// Head and body.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.ok().filter(|it| *it > 0)?;
        text.extend_from_slice(&piece[..n]);
        let all = String::from_utf8_lossy(&text).to_lowercase();
        let Some((head, body)) = all.split_once("\r\n\r\n") else { continue };
        let length = head.split("content-length: ").nth(1)?.lines().next()?.parse::<usize>().ok()?;
        if body.len() == length {
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

async fn next(received: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, received.recv()).await.expect("an event").unwrap()
}

#[tokio::test]
async fn a_subscriber_gets_every_event_in_order_from_then_on() {
    let office = office();
    let (url, mut received) = subscriber(&[200]).await;
    publish(&office.hub, "before");
    office.callbacks.follow([&url].into_iter());
    (0..50).for_each(|n| publish(&office.hub, &format!("m{n}")));
    for n in 0..50 {
        let request = next(&mut received).await;
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            body,
            format!(
                r#"{{"master":"m{n}","eventType":"scheduler_reregistered_event","timestamp":"1970-01-01T00:00:00.005Z"}}"#
            )
        );
        let head = head.to_lowercase();
        for want in
            ["post /in?x=y http/1.1\r\n", "content-type: application/json", "accept: application/json"]
        {
            assert!(head.contains(want), "{head}");
        }
    }
    office.until([50, 0, 0]).await;

    // Unchanged subscribers go on; those that are gone get nothing more.
    let (other, mut others) = subscriber(&[200]).await;
    office.callbacks.follow([&url, &other].into_iter());
    publish(&office.hub, "both");
    assert!(next(&mut received).await.contains("both") && next(&mut others).await.contains("both"));
    office.callbacks.follow([&other].into_iter());
    publish(&office.hub, "one");
    assert!(next(&mut others).await.contains("one"));
    assert!(received.try_recv().is_err());
    assert_eq!(office.callbacks.active(), 1);
}

#[tokio::test]
async fn failures() {
    for (statuses, want, order) in [
        // A fault of the subscriber: the same event again.
        (&[503, 302, 200][..], [2, 2, 0], "a a a b"),
        (&[429, 204], [2, 1, 0], "a a b"),
        // It does not want this one: on to the next.
        (&[400, 200], [1, 1, 1], "a b"),
    ] {
        let office = office();
        let (url, mut received) = subscriber(statuses).await;
        office.callbacks.follow([&url].into_iter());
        publish(&office.hub, "it-is-a");
        publish(&office.hub, "it-is-b");
        office.until(want).await;
        let mut seen = Vec::new();
        while let Ok(request) = received.try_recv() {
            seen.push(if request.contains("it-is-a") { "a" } else { "b" });
        }
        assert_eq!(seen.join(" "), order, "{statuses:?}");
    }
}

#[tokio::test]
async fn the_dead_hold_up_nobody_and_lose_the_oldest() {
    let office = office();
    // Nobody listens there any more.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let dead = CallbackUrl::parse(&format!("http://{dead}")).unwrap();
    let (url, mut received) = subscriber(&[200]).await;
    office.callbacks.follow([&dead, &url].into_iter());
    publish(&office.hub, "first");
    assert!(next(&mut received).await.contains("first"));
    office.until([1, 1, 0]).await;
    let many = crate::hub::RING as u64 + 10;
    let reading = async {
        for n in 0..many {
            let text = format!("m{n}");
            publish(&office.hub, &text);
            assert!(next(&mut received).await.contains(&text));
        }
    };
    tokio::time::timeout(4 * PATIENCE, reading).await.unwrap();
    // The one it was trying, and those that left the ring meanwhile.
    let end = Instant::now() + PATIENCE;
    while office.callbacks.totals.dropped.load(Relaxed) < 10 {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(office.callbacks.totals.delivered.load(Relaxed), many + 1);
}

#[test]
fn pauses_grow_to_a_ceiling() {
    let pauses: Vec<u64> = (1..9).map(|failures| Streak { failures, lost: 0 }.pause().as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(Streak { failures: u32::MAX, lost: 0 }.pause(), PAUSE_CEILING);
}
