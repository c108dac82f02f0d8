//! Checks against real listeners.

// clippy.toml allows it in tests, and takes only `#[test]` functions for such.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use marathon_model::act::{Probe, ProbeKind};
use marathon_model::event::{ProbeCheck, ProbeKey, ProbeOutcome, ProbeResult};
use marathon_model::id::TaskId;
use marathon_probe::{ProbeConfig, Prober, check_http, check_tcp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Answers one request with these bytes and closes, or keeps the connection open.
async fn serve(answer: &[u8], close: bool) -> u16 {
    let (listener, address) = listener().await;
    let answer = answer.to_vec();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let _ = stream.write_all(&answer).await;
        if !close {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    address.port()
}

fn answered(status: u16, content_type: &str, body: &str) -> ProbeOutcome {
    ProbeOutcome::Answered { status, content_type: content_type.to_owned(), body: body.into() }
}

fn is_failure(outcome: &ProbeOutcome, part: &str) -> bool {
    matches!(outcome, ProbeOutcome::Failed { cause } if cause.contains(part))
}

async fn check(answer: &str, close: bool, keep: usize, wanted: ProbeOutcome) {
    let port = serve(answer.as_bytes(), close).await;
    assert_eq!(check_http(false, "127.0.0.1", port, "/", keep, LONG).await, wanted, "{answer:?}");
}

async fn check_failure(answer: &str, close: bool, keep: usize, timeout: Duration, part: &str) {
    let port = serve(answer.as_bytes(), close).await;
    let outcome = check_http(false, "127.0.0.1", port, "/", keep, timeout).await;
    assert!(is_failure(&outcome, part), "{:?}: {outcome:?}", answer.get(..80));
}

#[tokio::test]
async fn answers() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    check(ok, true, 100, answered(200, "text/plain", "hello")).await;
    check(ok, false, 100, answered(200, "text/plain", "hello")).await;
    check(ok, false, 2, answered(200, "text/plain", "he")).await;
    check(ok, false, 0, answered(200, "text/plain", "")).await;
    let open_end = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    check(open_end, true, 100, answered(200, "", "until the end")).await;
    let chunked = "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    check(chunked, false, 4, answered(503, "", "abcd")).await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    check(moved, false, 10, answered(302, "", "")).await;
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    check(hints, false, 10, answered(204, "", "")).await;
    check("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, 1, answered(200, "", "")).await;
    check("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", false, 1, answered(999, "", "")).await;
    // With nothing wanted of the page, a page that never comes is no failure.
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 0, answered(200, "", "")).await;
}

#[tokio::test]
async fn no_answers() {
    check_failure("", true, 0, LONG, "no HTTP answer").await;
    check_failure("", false, 0, SHORT, "no answer within 200 ms").await;
    check_failure("SSH-2.0-OpenSSH\r\n", true, 0, LONG, "no HTTP answer").await;
    check_failure("HTTP/1.1 200 OK\r\nContent-", true, 0, LONG, "no HTTP answer").await;
    check_failure("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", true, 5, LONG, "no HTTP answer").await;
    check_failure("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", false, 5, SHORT, "no answer within")
        .await;
    check_failure(
        &format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(5_000_000)),
        true,
        0,
        LONG,
        "no HTTP answer",
    )
    .await;
    check_failure(&"x".repeat(200_000), false, 0, LONG, "no HTTP answer").await;
}

#[tokio::test]
async fn a_request_says_what_it_has_to() {
    let (listener, address) = listener().await;
    let check = check_http(false, "localhost", address.port(), "health?a=b c", 0, LONG);
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        head
    };
    let (outcome, head) = tokio::join!(check, serve);
    assert_eq!(outcome, answered(200, "", ""));
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("get /health?a=b%20c http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: localhost:{}\r\n", address.port())), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
}

#[tokio::test]
async fn an_endless_page_is_left() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let chunk = [b'x'; 65536];
        // Ends when the client hangs up.
        while stream.write_all(&chunk).await.is_ok() {}
    });
    let outcome = check_http(false, "127.0.0.1", address.port(), "/", 10, LONG).await;
    assert_eq!(outcome, answered(200, "", "xxxxxxxxxx"));
    server.await.unwrap();
}

#[tokio::test]
async fn connections() {
    let (listener, address) = listener().await;
    assert_eq!(check_tcp("127.0.0.1", address.port(), LONG).await, ProbeOutcome::Connected);
    assert_eq!(check_tcp("localhost", address.port(), LONG).await, ProbeOutcome::Connected);
    drop(listener);
    let refused = check_tcp("127.0.0.1", address.port(), LONG).await;
    assert!(is_failure(&refused, "refused"), "{refused:?}");
    let refused = check_http(true, "127.0.0.1", address.port(), "/", 0, LONG).await;
    assert!(is_failure(&refused, "refused"), "{refused:?}");
    for host in ["no-such-host.invalid", "", "a b", "a\0b"] {
        let unknown = check_tcp(host, 80, LONG).await;
        assert!(is_failure(&unknown, "cannot be resolved"), "{host:?} {unknown:?}");
    }
}

#[tokio::test]
async fn ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    for host in ["::1", "[::1]"] {
        assert_eq!(check_tcp(host, port, LONG).await, ProbeOutcome::Connected, "{host}");
    }
}

/// A TLS server with a certificate that nobody has signed.
async fn serve_tls(versions: &[&'static rustls::SupportedProtocolVersion]) -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(vec!["somebody.else.example".to_owned()]).unwrap();
    certificate.not_before = rcgen::date_time_ymd(2001, 1, 1);
    certificate.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let certificate = certificate.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answer_ok(&mut stream).await;
            }
        }
    });
    address.port()
}

async fn answer_ok(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    read_head(stream).await;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn any_certificate_will_do() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let port = serve_tls(&[version]).await;
        for host in ["127.0.0.1", "localhost"] {
            let outcome = check_http(true, host, port, "/", 10, LONG).await;
            assert_eq!(outcome, answered(200, "", "ok"), "{host} {version:?}");
        }
    }
}

#[tokio::test]
async fn plain_and_encrypted_do_not_mix() {
    let plain = serve(b"HTTP/1.1 400 Bad\r\n\r\n", true).await;
    let outcome = check_http(true, "127.0.0.1", plain, "/", 0, SHORT).await;
    assert!(matches!(outcome, ProbeOutcome::Failed { .. }), "{outcome:?}");
    let encrypted = serve_tls(&[&rustls::version::TLS13]).await;
    let outcome = check_http(false, "127.0.0.1", encrypted, "/", 0, LONG).await;
    assert!(is_failure(&outcome, "no HTTP answer"), "{outcome:?}");
}

fn probe(number: u32, host: &str, port: u16) -> Probe {
    let task = TaskId::parse("web.instance-0a1b2c3d-b2d0-11e5-9c11-0242ac110002._app.1").unwrap();
    let key = ProbeKey { task, check: ProbeCheck::Health(number) };
    let kind = ProbeKind::Http { https: false, path: "/".to_owned(), keep_body: 0 };
    Probe { key, kind, host: host.to_owned(), port, timeout: LONG }
}

fn number(result: &ProbeResult) -> u32 {
    match result.key.check {
        ProbeCheck::Health(number) => number,
        ProbeCheck::Readiness => u32::MAX,
    }
}

/// A server that answers only as often as it gets permits; counts who is connected and the most of them.
async fn gated() -> (u16, Arc<Semaphore>, Arc<[AtomicUsize; 2]>) {
    let (listener, address) = listener().await;
    let (gate, counts) = (Arc::new(Semaphore::new(0)), Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]));
    let (ours, our_counts) = (Arc::clone(&gate), Arc::clone(&counts));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (gate, counts) = (Arc::clone(&ours), Arc::clone(&our_counts));
            let now = counts[0].fetch_add(1, Ordering::SeqCst) + 1;
            counts[1].fetch_max(now, Ordering::SeqCst);
            tokio::spawn(async move {
                read_head(&mut stream).await;
                gate.acquire().await.unwrap().forget();
                counts[0].fetch_sub(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            });
        }
    });
    (address.port(), gate, counts)
}

#[tokio::test]
async fn only_so_many_at_once_and_only_so_many_wait() {
    let (port, gate, counts) = gated().await;
    let (send, mut results) = mpsc::channel(100);
    let config = ProbeConfig { max_concurrent: 3, max_waiting: 4, ..ProbeConfig::default() };
    let prober = Prober::new(config, send, Handle::current());
    (0..9).for_each(|it| prober.probe(probe(it, "127.0.0.1", port)));
    for wanted in [7, 8] {
        let result = results.recv().await.unwrap();
        assert!(is_failure(&result.outcome, "too many checks are waiting"), "{result:?}");
        assert_eq!(number(&result), wanted);
    }
    gate.add_permits(7);
    let mut done = Vec::new();
    for _ in 0..7 {
        let result = results.recv().await.unwrap();
        assert_eq!(result.outcome, answered(200, "", ""));
        done.push(number(&result));
    }
    done.sort_unstable();
    assert_eq!(done, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(counts[1].load(Ordering::SeqCst), 3);

    // All places are free again.
    gate.add_permits(1);
    prober.probe(probe(9, "127.0.0.1", port));
    assert_eq!(number(&results.recv().await.unwrap()), 9);
}

#[tokio::test]
async fn a_dropped_prober_forgets_who_waits() {
    let (port, gate, _) = gated().await;
    let (send, mut results) = mpsc::channel(100);
    let config = ProbeConfig { max_concurrent: 1, ..ProbeConfig::default() };
    let prober = Prober::new(config, send, Handle::current());
    (0..5).for_each(|it| prober.probe(probe(it, "127.0.0.1", port)));
    drop(prober);
    gate.add_permits(5);
    assert_eq!(results.recv().await.map(|it| number(&it)), Some(0));
    assert_eq!(results.recv().await, None);
}

#[tokio::test]
async fn without_listeners_checks_still_end() {
    let (port, gate, counts) = gated().await;
    let (send, results) = mpsc::channel(1);
    let config = ProbeConfig { max_concurrent: 1, max_waiting: 10, ..ProbeConfig::default() };
    let prober = Prober::new(config, send, Handle::current());
    drop(results);
    (0..30).for_each(|it| prober.probe(probe(it, "127.0.0.1", port)));
    gate.add_permits(11);
    let all_done = async {
        while gate.available_permits() != 0 || counts[0].load(Ordering::SeqCst) != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, all_done).await.unwrap();
}

#[tokio::test]
async fn overrides_change_the_address_and_not_the_name() {
    let (listener, address) = listener().await;
    let (send, mut results) = mpsc::channel(1);
    let overrides = [("me.invalid".to_owned(), "127.0.0.1".to_owned())].into();
    let prober = Prober::new(ProbeConfig { overrides, ..ProbeConfig::default() }, send, Handle::current());
    prober.probe(probe(0, "me.invalid", address.port()));
    let (mut stream, _) = listener.accept().await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.to_ascii_lowercase().contains("\r\nhost: me.invalid:"), "{head}");
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    assert_eq!(results.recv().await.unwrap().outcome, answered(200, "", ""));
}
