//! The client against masters that misbehave in all the ways that real ones do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use marathon_mesos::{Login, Masters, Mesos, MesosConfig};
use marathon_mesos_v1::{Call, CallType, Codec, record};
use marathon_model::id::{FrameworkId, OfferId};
use marathon_model::offer::{Call as CoreCall, EngineEvent, Operation, TaskState};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::playback::{PATIENCE, Request, config, request};

/// What a master does with a request.
pub enum Answer {
    /// This, as it is.
    Plain(&'static str),
    /// The beginning of a stream, and what it says.
    Stream(Vec<serde_json::Value>),
    Owned(String),
    Bytes(Vec<u8>),
}

pub const TAKEN: Answer = Answer::Plain("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");

pub struct Master {
    pub port: u16,
    /// Every request with the call in it, in the order of their arrival.
    heard: mpsc::UnboundedReceiver<(Request, Call)>,
}

impl Master {
    /// `answer`: to the n-th SUBSCRIBE (from 0), and to every other call.
    pub async fn start(answer: impl Fn(usize, &Call) -> Answer + Send + Sync + 'static) -> Master {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (hear, heard) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let count = Arc::new(Mutex::new(0));
        tokio::spawn(async move {
            while let Ok((mut io, _)) = listener.accept().await {
                let (hear, answer, count) = (hear.clone(), answer.clone(), count.clone());
                tokio::spawn(async move {
                    let mut buffer = Vec::new();
                    while let Some(it) = request(&mut io, &mut buffer).await {
                        let call: Call = Codec::Json.decode(&it.body).expect("a call");
                        let mut number = 0;
                        if call.subscribe.is_some() {
                            let mut count = count.lock().expect("never poisoned");
                            number = *count;
                            *count += 1;
                        }
                        let text = written(answer(number, &call));
                        let _ = hear.send((it, call));
                        if io.write_all(&text).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Master { port, heard }
    }

    pub async fn next(&mut self, kind: CallType) -> (Request, Call) {
        let found = async {
            loop {
                let (request, call) = self.heard.recv().await.expect("the master lives");
                if call.r#type == Some(kind as i32) {
                    return (request, call);
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {kind:?} came"))
    }
}

fn written(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Plain(text) => text.as_bytes().to_vec(),
        Answer::Owned(text) => text.into_bytes(),
        Answer::Bytes(bytes) => bytes,
        Answer::Stream(events) => {
            let mut out =
                b"HTTP/1.1 200 OK\r\nMesos-Stream-Id: s1\r\nContent-Type: application/json\r\n\r\n".to_vec();
            for it in events {
                out.extend(record::encode(it.to_string().as_bytes()));
            }
            out
        }
    }
}

pub fn subscribed() -> serde_json::Value {
    json!({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "F1"}, "heartbeat_interval_seconds": 15.0}})
}

fn stands() -> Answer {
    Answer::Stream(vec![subscribed(), json!({"type": "HEARTBEAT"})])
}

pub fn usual(call: &Call) -> Answer {
    if call.subscribe.is_some() { stands() } else { TAKEN }
}

pub struct Client {
    pub mesos: Mesos,
    told: mpsc::Receiver<EngineEvent>,
}

impl Client {
    pub fn start(port: u16, change: impl FnOnce(&mut MesosConfig)) -> Client {
        let mut config = config(([127, 0, 0, 1], port).into(), Codec::Json);
        change(&mut config);
        let (sender, told) = mpsc::channel(100);
        let mesos = Mesos::connect(config, sender).expect("a client");
        mesos.begin();
        Client { mesos, told }
    }

    pub async fn next(&mut self) -> EngineEvent {
        tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("in time").expect("the engine lives")
    }

    pub async fn subscribed(&mut self) {
        let event = self.next().await;
        assert!(matches!(event, EngineEvent::Subscribed { .. }), "{event:?}");
    }

    pub async fn fate(self) -> String {
        let mut told = self.told;
        tokio::spawn(async move { while told.recv().await.is_some() {} });
        tokio::time::timeout(PATIENCE, self.mesos.failed()).await.expect("an end").to_string()
    }
}

#[tokio::test]
async fn a_master_that_does_not_lead_points_to_the_one_that_does() {
    let mut leader = Master::start(|_, call| usual(call)).await;
    let to = leader.port;
    let follower = Master::start(move |_, _| {
        Answer::Owned(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: //127.0.0.1:{to}/master/api/v1/scheduler\r\n\
             Content-Length: 0\r\n\r\n"
        ))
    })
    .await;
    let mut client = Client::start(follower.port, |_| {});
    client.subscribed().await;
    let (request, _) = leader.next(CallType::SUBSCRIBE).await;
    assert_eq!(request.line, "POST /api/v1/scheduler HTTP/1.1");
}

#[tokio::test]
async fn a_master_that_points_to_itself_is_not_asked_in_a_tight_loop() {
    let port = Arc::new(Mutex::new(0));
    let own = port.clone();
    let mut master = Master::start(move |_, _| {
        let port = own.lock().expect("never poisoned");
        Answer::Owned(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: //127.0.0.1:{port}/x\r\nContent-Length: 0\r\n\r\n"
        ))
    })
    .await;
    *port.lock().expect("never poisoned") = master.port;
    let client = Client::start(master.port, |_| {});
    // With pauses of at least 125, 250, 500 and 1000 ms five attempts take almost two seconds.
    let began = std::time::Instant::now();
    for _ in 0..5 {
        master.next(CallType::SUBSCRIBE).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(1800), "{:?}", began.elapsed());
    client.mesos.stop().await;
}

#[tokio::test]
async fn a_master_that_starts_is_waited_for() {
    let mut master = Master::start(|number, call| match number {
        0 if call.subscribe.is_some() => Answer::Plain("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        1 => Answer::Plain("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 17\r\n\r\nNo leader elected"),
        _ => usual(call),
    })
    .await;
    let mut client = Client::start(master.port, |_| {});
    client.subscribed().await;
    for _ in 0..3 {
        master.next(CallType::SUBSCRIBE).await;
    }
}

#[tokio::test]
async fn a_silent_master_is_asked_and_then_left() {
    let mut master = Master::start(|_, call| usual(call)).await;
    let mut client = Client::start(master.port, |config| {
        config.heartbeat = Duration::from_millis(50);
        config.heartbeats_missed = 3;
    });
    client.subscribed().await;
    assert_eq!(client.next().await, EngineEvent::Disconnected);
    let event = client.next().await;
    assert!(matches!(event, EngineEvent::Subscribed { again: true, .. }), "{event:?}");
    let (_, first) = master.next(CallType::SUBSCRIBE).await;
    assert_eq!(first.framework_id, None, "the first subscription has no id");
    let (_, asked) = master.next(CallType::RECONCILE).await;
    assert_eq!(asked.reconcile.expect("present").tasks.len(), 1, "a question for a sign of life");
    let (_, again) = master.next(CallType::SUBSCRIBE).await;
    let inner = again.subscribe.expect("present").framework_info.id;
    assert_eq!(again.framework_id.as_ref().map(|it| it.value.as_str()), Some("F1"));
    assert_eq!(inner, again.framework_id, "the id stands in both places");
}

#[tokio::test]
async fn nothing_is_sent_once_somebody_else_may_lead() {
    for (patience, want) in [(PATIENCE, 1), (Duration::ZERO, 0)] {
        let mut master = Master::start(|_, call| usual(call)).await;
        let mut client = Client::start(master.port, |_| {});
        client.subscribed().await;
        master.next(CallType::SUBSCRIBE).await;
        client.mesos.call(CoreCall::Reconcile(Vec::new()));
        client.mesos.finish(patience).await;
        client.mesos.call(CoreCall::Reconcile(Vec::new()));
        // Whoever leads next is heard after everything that came from the one before.
        Client::start(master.port, |_| {}).subscribed().await;
        let mut between = 0;
        while let Some((_, call)) = master.heard.recv().await {
            match call.subscribe {
                Some(_) => break,
                None => between += 1,
            }
        }
        assert_eq!(between, want, "within {patience:?}");
    }
}

#[tokio::test]
async fn the_secret_goes_with_every_request() {
    let mut master = Master::start(|_, call| usual(call)).await;
    let mut client = Client::start(master.port, |config| {
        config.login = Some(Login { principal: "p".to_owned(), secret: b"s".to_vec() });
    });
    client.subscribed().await;
    client.mesos.call(CoreCall::Reconcile(Vec::new()));
    for kind in [CallType::SUBSCRIBE, CallType::RECONCILE] {
        let (request, _) = master.next(kind).await;
        assert_eq!(request.header("authorization"), Some("Basic cDpz"), "{kind:?}");
    }
}

#[tokio::test]
async fn what_a_person_must_mend_is_not_tried_again() {
    for (answer, want) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "the Mesos master refuses this framework: 401",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            "the Mesos master refuses this framework: 403 no",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad",
            "the Mesos master refuses this framework: 400 bad",
        ),
    ] {
        let master = Master::start(move |_, _| Answer::Plain(answer)).await;
        assert_eq!(Client::start(master.port, |_| {}).fate().await.trim(), want);
    }
    let old = json!({"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "F1"},
        "master_info": {"id": "m", "ip": 1, "port": 5050, "version": "1.4.0"}}});
    let master = Master::start(move |_, _| Answer::Stream(vec![old.clone()])).await;
    let fate = Client::start(master.port, |_| {}).fate().await;
    assert_eq!(fate, "the Mesos master is of version 1.4.0; 1.5.0 is the oldest that will do");
}

#[tokio::test]
async fn a_new_role_is_subscribed_to_before_its_offers_are_asked_for() {
    let mut master = Master::start(|_, call| usual(call)).await;
    let mut client = Client::start(master.port, |_| {});
    client.subscribed().await;
    client.mesos.call(CoreCall::Revive(vec!["dev".into()]));
    client.mesos.call(CoreCall::Suppress(vec!["dev".into()]));
    let (_, subscribe) = master.next(CallType::SUBSCRIBE).await;
    assert_eq!(subscribe.subscribe.expect("present").suppressed_roles, ["test"], "nothing is wanted yet");
    let (_, update) = master.next(CallType::UPDATE_FRAMEWORK).await;
    let update = update.update_framework.expect("present");
    assert_eq!(update.framework_info.roles, ["dev", "test"]);
    assert_eq!(update.suppressed_roles, ["test"]);
    let (_, revive) = master.next(CallType::REVIVE).await;
    assert_eq!(revive.revive.expect("present").roles, ["dev"]);
    let (_, suppress) = master.next(CallType::SUPPRESS).await;
    assert_eq!(suppress.suppress.expect("present").roles, ["dev"]);
}

#[tokio::test]
async fn an_older_master_learns_a_role_by_a_new_subscription() {
    let mut master = Master::start(|_, call| match call.update_framework {
        Some(_) => Answer::Plain("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        None => usual(call),
    })
    .await;
    let mut client = Client::start(master.port, |_| {});
    client.subscribed().await;
    client.mesos.call(CoreCall::Revive(vec!["dev".into()]));
    assert_eq!(client.next().await, EngineEvent::Disconnected);
    client.subscribed().await;
    master.next(CallType::SUBSCRIBE).await;
    let (_, again) = master.next(CallType::SUBSCRIBE).await;
    assert_eq!(again.subscribe.expect("present").framework_info.roles, ["dev", "test"]);
}

#[tokio::test]
async fn a_launch_on_an_offer_that_is_gone_is_dropped() {
    let master = Master::start(|_, call| usual(call)).await;
    let mut client = Client::start(master.port, |_| {});
    client.subscribed().await;
    let launch = serde_json::from_value(json!({
        "task": {"instance": {"spec": "/web", "uuid": uuid::Uuid::nil()}, "incarnation": 1},
        "spec": "/web", "version": 0, "agent": "S1", "name": "web", "role": "*",
        "resources": {"cpus": 100, "mem": 32000, "disk": 0, "gpus": 0}, "cpu_limit": null, "mem_limit": null,
        "host_ports": [], "command": {"shell": "true"}, "env": {}, "secret_env": {}, "user": null, "fetch": [],
        "container": null, "network": "host", "mappings": [], "labels": {}, "kill_grace": null,
        "health_check": null, "check": null, "discovery": [], "tty": false,
    }));
    let operations = vec![Operation::Launch(vec![launch.expect("a launch")])];
    client.mesos.call(CoreCall::Accept { offer: OfferId::new("gone"), operations });
    let EngineEvent::Status(status) = client.next().await else { panic!("a status is told") };
    assert_eq!((status.state, status.update), (TaskState::Dropped, None));
}

#[tokio::test]
async fn masters_are_asked_in_turn() {
    let mut master = Master::start(|_, call| usual(call)).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
    let mut client = Client::start(master.port, |config| {
        config.masters = Masters::parse(&format!("{dead},127.0.0.1:{}", master.port)).expect("addresses");
        config.id = Some(FrameworkId::new("F1"));
    });
    client.subscribed().await;
    master.next(CallType::SUBSCRIBE).await;
}

#[tokio::test]
async fn a_master_with_a_certificate_of_its_own_is_trusted_by_the_file() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let text = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    std::fs::write(&ca, pem).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    let (tell, mut accepted) = mpsc::unbounded_channel();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            tokio::spawn(async move {
                let accepted = acceptor.accept(io).await;
                let _ = tell.send(accepted.is_ok());
                let Ok(mut io) = accepted else { return };
                let _ = io.write_all(&written(stands())).await;
                let _ = io.flush().await;
                tokio::time::sleep(PATIENCE).await;
            });
        }
    });
    let at = |config: &mut MesosConfig| {
        config.masters = Masters::parse(&format!("https://localhost:{port}")).expect("an address");
    };
    let mut client = Client::start(port, |config| {
        at(config);
        config.ca_file = Some(ca.clone());
    });
    client.subscribed().await;

    // Without the file nobody vouches for the master, and the handshake is broken off.
    let _stranger = Client::start(port, at);
    let broken_off = async { while accepted.recv().await == Some(true) {} };
    tokio::time::timeout(PATIENCE, broken_off).await.expect("the stranger hangs up");
}
