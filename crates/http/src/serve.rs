//! Connections: accepted, served, ended.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};

use crate::Http;
use crate::answer::Peer;
use crate::reply::Out;
use crate::stats::TICK;

/// For the head of a request, and between two requests of one connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that takes nothing for this long is gone.
const WRITE_TIMEOUT_MS: u32 = 120_000;
/// Larger heads are refused with 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// More clients than this wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;

/// Serves until `stop` is done, then lets requests in progress end, for as long as the settings allow.
pub async fn serve(listener: TcpListener, http: Arc<Http>, stop: impl Future<Output = ()>) {
    let pump = tokio::spawn({
        let hub = http.hub.clone();
        async move { hub.pump().await }
    });
    let ticker = tokio::spawn(tick(http.clone()));
    let (stopping, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = pin!(stop);
    loop {
        let place = tokio::select! {
            biased;
            () = &mut stop => break,
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (http, stopped) = (http.clone(), stopped.clone());
                tokio::spawn(async move {
                    connection(stream, from, http, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Most likely out of descriptors; trying again at once would only burn the processor.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    http.hub.close();
    http.leadership.stop();
    let _ = stopping.send(true);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    if tokio::time::timeout(http.settings.grace, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
    ticker.abort();
    pump.abort();
}

async fn tick(http: Arc<Http>) {
    let mut ticks = tokio::time::interval(TICK);
    for n in 0u64.. {
        ticks.tick().await;
        if n > 0 {
            http.stats.tick();
            http.proxy.sweep();
        }
        if n % 12 == 11 {
            http.stats.fade();
        }
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    http: Arc<Http>,
    mut stopped: watch::Receiver<bool>,
) {
    // Neither is vital.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &WRITE_TIMEOUT_MS);
    let hang_up = Arc::new(Notify::new());
    let address = from.ip().to_canonical();
    let shown = HeaderValue::from_str(&address.to_string()).expect("an address is digits and punctuation");
    let peer = Arc::new(Peer { address, shown, hang_up: hang_up.clone() });
    let service = service_fn(|request: Request<Incoming>| {
        let (http, peer) = (http.clone(), peer.clone());
        async move { Ok::<_, Infallible>(guarded(&http, request, &peer).await) }
    });
    // Not `pipeline_flush`: it lets bodies be buffered without bound, so that a client which does not read
    // an event stream would fill our memory. Held by the test of the reader that is cut off.
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let stop = async {
        // An error means that `serve` itself is gone, which is a stop as well.
        let _ = stopped.wait_for(|it| *it).await;
    };
    tokio::select! {
        // What went wrong concerns the client alone, and it knows.
        _ = serving.as_mut() => return,
        () = hang_up.notified() => return,
        () = stop => serving.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = serving => {}
        () = hang_up.notified() => {}
    }
}

/// A fault of ours costs one answer, not the server.
async fn guarded(http: &Http, request: Request<Incoming>, peer: &Peer) -> hyper::Response<crate::body::Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    match AssertUnwindSafe(http.answer(request, peer)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a fault while answering {method} {}", uri.path());
            let out = Out::message(StatusCode::INTERNAL_SERVER_ERROR, "A fault in the server; see its log");
            http.finish(out.closing(), &hyper::HeaderMap::new(), false).await.response
        }
    }
}
