//! Followers: two real servers one behind the other, and leaders that misbehave byte by byte.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod lines;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use marathon_http::hub::notice;
use marathon_http::proxy::Limits;
use marathon_http::{Asker, EventHub, Http, Lead, Logging, Refused, Settings, serve};
use marathon_model::command::{Command, Reply};
use marathon_model::notice::What;
use marathon_model::view::View;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

const PATIENCE: Duration = Duration::from_secs(20);
const QUIET: Limits = Limits { connect: Duration::from_secs(5), read: Duration::from_secs(10), at_once: 64 };

struct NoLevels;

impl Logging for NoLevels {
    fn levels(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn set(&self, _: &str, _: &str, _: Option<Duration>) -> Result<(), String> {
        Ok(())
    }
}

struct Server {
    address: SocketAddr,
    http: Arc<Http>,
    commands: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(lead: impl FnOnce(SocketAddr) -> Lead, limits: Limits, password: Option<&str>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let commands: Arc<Mutex<Vec<String>>> = Arc::default();
    let asker = Asker::new({
        let commands = commands.clone();
        move |command: Command, reply: oneshot::Sender<Reply>| {
            commands.lock().unwrap().push(format!("{command:?}"));
            reply.send(Reply::Done).map_err(|_| Refused::Stopping)
        }
    });
    let settings = Settings {
        advertised: address.to_string(),
        credentials: password.map(|it| ("ann".to_owned(), it.to_owned())),
        realm: "Marathon".into(),
        proxy: limits,
        ..common::settings()
    };
    let views = Arc::new(ArcSwap::from_pointee(View::default()));
    let hub = Arc::new(EventHub::new(100, 1));
    let http = Arc::new(Http::new(views, asker, hub, settings, Box::new(NoLevels), Box::new(|| ())));
    http.leadership.set(lead(address));
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, http.clone(), async {
        let _ = stopped.await;
    }));
    Server { address, http, commands, stop: Some(stop), task }
}

async fn leader() -> Server {
    start(|_| Lead::Us { since: Instant::now() }, QUIET, None).await
}

async fn follower(leader: SocketAddr) -> Server {
    start(|_| Lead::Other(leader.to_string().into()), QUIET, None).await
}

struct Answer {
    status: u16,
    /// Lower case, one line each.
    headers: String,
    body: Result<String, String>,
}

/// One request by an ordinary client. Headers are separated by `|`.
async fn ask(address: SocketAddr, line: &str, headers: &str, body: &str) -> Answer {
    try_ask(address, line, headers, body).await.unwrap()
}

/// An error is a connection that ended without an answer.
async fn try_ask(
    address: SocketAddr,
    line: &str,
    headers: &str,
    body: &str,
) -> Result<Answer, reqwest::Error> {
    let (method, path) = line.split_once(' ').unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::none();
    let client = reqwest::Client::builder().no_proxy().redirect(redirects).build().unwrap();
    let mut request = client.request(method.parse().unwrap(), format!("http://{address}{path}"));
    for (name, value) in headers.split('|').filter_map(|it| it.split_once(": ")) {
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.body(body.to_owned());
    }
    let response = tokio::time::timeout(PATIENCE, request.send()).await.expect("an end")?;
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap().to_lowercase()))
        .collect();
    let body = response.text().await.map_err(|error| error.to_string());
    Ok(Answer { status, headers, body })
}

impl Answer {
    #[track_caller]
    fn expect(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{:?}", self.body);
        assert!(self.body.as_ref().unwrap().contains(text), "{:?}", self.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_answers_as_its_leader() {
    let leader = leader().await;
    let follower = follower(leader.address).await;
    for (line, headers, body) in [
        ("GET /ping", "", ""),
        ("GET /v2/apps?embed=apps.tasks", "", ""),
        ("GET /v2/apps/nope", "", ""),
        ("GET /v2/leader", "", ""),
        ("GET /v2/info", "Accept-Encoding: gzip", ""),
        ("GET /help", "", ""),
        ("HEAD /v2/info", "", ""),
        ("OPTIONS /v2/apps", "", ""),
        ("GET /", "", ""),
        ("POST /v2/apps", "Content-Type: application/json", "{"),
        ("POST /v2/apps", "Content-Type: text/plain", "{}"),
        ("DELETE /v2/queue/app/delay", "", ""),
        ("PUT /v2/apps/a?dryRun=yes", "Content-Type: application/json", "{}"),
        ("PATCH /metrics", "", ""),
        ("GET /nowhere", "", ""),
    ] {
        let direct = ask(leader.address, line, headers, body).await;
        let passed = ask(follower.address, line, headers, body).await;
        assert_eq!(passed.status, direct.status, "{line}");
        assert_eq!(passed.body, direct.body, "{line}");
        let via = format!("x-marathon-via: 1.1 {}\n", follower.address);
        let told = format!("x-marathon-leader: http://{}\n", leader.address);
        assert!(
            passed.headers.contains(&via) && passed.headers.contains(&told),
            "{line}: {}",
            passed.headers
        );
        assert!(!direct.headers.contains("x-marathon-via") && direct.headers.contains(&told), "{line}");
        let plain = |it: &str| {
            let mut lines: Vec<String> = it
                .lines()
                .filter(|it| !it.starts_with("x-marathon-via") && !it.starts_with("date: "))
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(plain(&passed.headers), plain(&direct.headers), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_form_arrive() {
    let leader = leader().await;
    let follower = follower(leader.address).await;
    let json = "Content-Type: application/json";
    let body = r#"{"id":"/a","cmd":"x"}"#;
    ask(follower.address, "PUT /v2/apps/a?force=true", json, body).await.expect(200, "");
    let mut chunked = TcpStream::connect(follower.address).await.unwrap();
    let head = "PUT /v2/apps/b HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n\r\n";
    chunked
        .write_all(format!("{head}8\r\n{{\"cmd\": \r\n4\r\n\"y\"}}\r\n0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, chunked.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let commands = leader.commands.lock().unwrap().clone();
    assert!(commands[0].contains("force: true") && commands[0].contains("\"x\""), "{commands:?}");
    assert!(commands[1].contains("/b") && commands[1].contains("\"y\""), "{commands:?}");
}

/// What a leader gets to see, from a listener that writes it down.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_is_told() {
    let (address, seen) = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    let follower = follower(address).await;
    let headers = "X-Marathon-Via: 1.1 other:1|X-Forwarded-For: 9.9.9.9|Authorization: Basic eDp5|X-Own: a";
    ask(follower.address, "GET /v2/apps?a=b%20c", headers, "").await.expect(200, "ok");
    let seen = seen.await.unwrap().to_lowercase();
    let via = format!("x-marathon-via: 1.1 other:1, 1.1 {}\r\n", follower.address);
    for part in [
        "get /v2/apps?a=b%20c http/1.1\r\n",
        &format!("host: {address}\r\n"),
        &via,
        "x-forwarded-for: 9.9.9.9, 127.0.0.1\r\n",
        "authorization: basic edp5\r\n",
        "x-own: a\r\n",
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
}

/// A leader that reads one request, writes these bytes and hangs up. Gives what it read.
async fn raw(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = vec![0; 4096];
        let count = stream.read(&mut seen).await.unwrap();
        stream.write_all(answer).await.unwrap();
        // An empty answer is a leader that says nothing until it is asked no more.
        if answer == SILENT {
            let _ = stream.read(&mut [0]).await;
        }
        String::from_utf8_lossy(&seen[..count]).into_owned()
    });
    (address, task)
}

/// A port on which nobody listens, and nobody else can as long as the socket is held.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Interim, so not yet an answer.
const SILENT: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn honest_about_a_leader_that_fails() {
    let (_taken, gone) = nobody();
    let refused = follower(gone).await;
    let both =
        ["GET /ping", "DELETE /v2/apps/a"].map(|line| tokio::spawn(ask(refused.address, line, "", "")));
    for answer in both {
        let answer = answer.await.unwrap();
        answer.expect(502, "Connection to leader refused.");
        answer.expect(502, "nothing was changed");
        assert!(answer.headers.contains(&format!("x-marathon-leader: http://{gone}")), "{}", answer.headers);
    }
    let doubt = "; the change may or may not have been made";
    for (line, has_doubt) in [("GET /v2/apps", false), ("DELETE /v2/apps/a", true)] {
        let (address, _) = raw(b"").await;
        let answer = ask(follower(address).await.address, line, "", "").await;
        answer.expect(502, "went away before it answered");
        assert_eq!(answer.body.unwrap().contains(doubt), has_doubt, "{line}");

        let (address, _) = raw(SILENT).await;
        let limits = Limits { read: Duration::from_millis(50), ..QUIET };
        let hurried = start(|_| Lead::Other(address.to_string().into()), limits, None).await;
        let answer = ask(hurried.address, line, "", "").await;
        answer.expect(504, "did not answer within 0.05 s");
        assert_eq!(answer.body.unwrap().contains(doubt), has_doubt, "{line}");
    }
}

/// Half an answer must not look like a whole one. When all of it and the end come at once, hyper ends the
/// client's connection before it has written the head, which is as plain to the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_answer_stays_broken() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let (address, _) = raw(answer).await;
        match try_ask(follower(address).await.address, "GET /v2/apps", "", "").await {
            Ok(passed) => assert!(passed.status == 200 && passed.body.is_err(), "{:?}", passed.body),
            Err(error) => assert!(error.is_request() && !error.is_connect(), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loops_and_elections() {
    let leader = leader().await;
    let follower = follower(leader.address).await;
    let own = format!("X-Marathon-Via: 1.1 a:1, 1.1 {}", follower.address);
    ask(follower.address, "GET /ping", &own, "").await.expect(502, "Detected proxying loop.");
    let answer = ask(follower.address, "GET /ping", "X-Marathon-No-Forward: 1", "").await;
    answer.expect(503, &format!("Another instance leads: {}", leader.address));
    ask(leader.address, "GET /ping", "X-Marathon-No-Forward: 1", "").await.expect(200, "pong");
    // Two instances that each believe in the other.
    let other = start(|_| Lead::Other(follower.address.to_string().into()), QUIET, None).await;
    follower.http.leadership.set(Lead::Other(other.address.to_string().into()));
    ask(follower.address, "GET /ping", "", "").await.expect(502, "Detected proxying loop.");
    // Nobody leads, then somebody does while the request waits.
    follower.http.leadership.set(Lead::Nobody("no quorum".into()));
    let waiting = tokio::spawn(ask(follower.address, "GET /ping", "", ""));
    tokio::time::timeout(PATIENCE, async {
        while follower.http.leadership.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    follower.http.leadership.set(Lead::Other(leader.address.to_string().into()));
    waiting.await.unwrap().expect(200, "pong");
    follower.http.leadership.set(Lead::Nobody("no quorum".into()));
    let answer = ask(follower.address, "GET /ping", "", "").await;
    answer.expect(503, "Could not determine the current leader: no quorum");
    assert!(!answer.headers.contains("x-marathon-leader"), "{}", answer.headers);
}

/// Whoever was asked did nothing, so whoever passed it on asks the next leader, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_a_change_of_leader() {
    let (_taken, gone) = nobody();
    let steps_down = start(|_| Lead::Nobody("handed over".into()), QUIET, None).await;
    let answer = ask(steps_down.address, "GET /ping", "X-Marathon-Via: 1.1 a:1", "").await;
    answer.expect(503, "handed over");
    assert!(answer.headers.contains("x-marathon-not-leading: true"), "{}", answer.headers);

    let leader = leader().await;
    let us = || Lead::Us { since: Instant::now() };
    let other = || Lead::Other(leader.address.to_string().into());
    for (before, next) in
        [(steps_down.address, other()), (gone, other()), (steps_down.address, us()), (gone, us())]
    {
        let follower = follower(before).await;
        let body = r#"{"cmd":"x"}"#;
        let json = "Content-Type: application/json";
        let answer = tokio::spawn(ask(follower.address, "PUT /v2/apps/a?force=true", json, body));
        tokio::time::timeout(PATIENCE, async {
            while follower.http.leadership.waiting() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        let here = matches!(next, Lead::Us { .. });
        follower.http.leadership.set(next);
        answer.await.unwrap().expect(200, "");
        let asked = std::mem::take(&mut *if here { &follower } else { &leader }.commands.lock().unwrap());
        assert_eq!(asked.len(), 1, "{before}: {asked:?}");
    }
    assert!(steps_down.commands.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_never_passed_on_and_open_to_all() {
    let server = start(|_| Lead::Loading, QUIET, Some("secret")).await;
    for (lead, status, body) in [
        (Lead::Loading, 503, r#"{"leader":false,"address":"OWN","message":"The state is being loaded"}"#),
        (Lead::Us { since: Instant::now() }, 200, r#"{"leader":true,"address":"OWN"}"#),
        (
            Lead::Other("them:1".into()),
            503,
            r#"{"leader":false,"address":"them:1","message":"Another instance leads"}"#,
        ),
        (
            Lead::Nobody("no quorum".into()),
            503,
            r#"{"leader":false,"address":null,"message":"Nobody leads: no quorum"}"#,
        ),
    ] {
        server.http.leadership.set(lead);
        let body = body.replace("OWN", &server.address.to_string());
        for method in ["GET", "OPTIONS"] {
            let answer = ask(server.address, &format!("{method} /v2/leader/health"), "", "").await;
            assert_eq!((answer.status, answer.body), (status, Ok(body.clone())));
        }
    }
    ask(server.address, "GET /v2/leader", "", "").await.expect(401, "Unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_through_as_they_come() {
    let leader = leader().await;
    let mut follower = follower(leader.address).await;
    let mut stream = TcpStream::connect(follower.address).await.unwrap();
    stream
        .write_all(b"GET /v2/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    let mut piece = [0; 4096];
    for n in 0..3 {
        let name = format!("client-{n}");
        while !seen.contains("event_stream_attached") {
            seen += &read(&mut stream, &mut piece).await;
        }
        leader.http.hub.publish(notice(What::StreamAttached { remote: name.clone() }));
        while !seen.contains(&name) {
            seen += &read(&mut stream, &mut piece).await;
        }
    }
    // A follower that stops does not wait for the stream, and one whose leader steps down passes its end on.
    let second = self::follower(leader.address).await;
    let mut other = TcpStream::connect(second.address).await.unwrap();
    other
        .write_all(b"GET /v2/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    read(&mut other, &mut piece).await;
    follower.stop.take().unwrap().send(()).unwrap();
    end(&mut stream).await;
    tokio::time::timeout(PATIENCE, follower.task).await.expect("the follower ends").unwrap();
    leader.http.step_down(Lead::Nobody("the test says so".into()));
    end(&mut other).await;
}

async fn read(stream: &mut TcpStream, piece: &mut [u8]) -> String {
    let count = tokio::time::timeout(PATIENCE, stream.read(piece)).await.expect("more").unwrap();
    assert!(count > 0, "the stream ended");
    String::from_utf8_lossy(&piece[..count]).into_owned()
}

async fn end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("its end").unwrap();
}
