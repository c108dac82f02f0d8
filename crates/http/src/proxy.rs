//! Requests to a follower, passed on to the leader.
//!
//! ```text
//! client ─► follower: seen it before? ─► leader      headers and bodies pass through as they come;
//!        ◄─ + X-Marathon-Via          ◄─┘            only short bodies of requests are kept until the answer
//! ```
//! What became of a request is told honestly: 502 where the leader never got it, and words that say "may or
//! may not" where it may have. A request is sent again only when it certainly was not carried out, because the
//! leader was not reached or said that it leads no longer: so a change of leader costs waiting and no errors.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::answer::Peer;
use crate::body::{Body, Cut, Upload};
use crate::callback::chain;
use crate::lead::Leadership;
use crate::reply::Out;

pub(crate) const VIA: HeaderName = HeaderName::from_static("x-marathon-via");
/// Asks a follower for 503 instead: a load balancer without checks of its own then looks for the leader.
pub const NO_FORWARD: HeaderName = HeaderName::from_static("x-marathon-no-forward");
/// On an answer with 503: this instance leads no longer, or not yet, and has not touched the request.
pub(crate) const NOT_LEADING: HeaderName = HeaderName::from_static("x-marathon-not-leading");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Concern one connection only, as RFC 9110 has it.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HOST,
    TE,
    TRAILER,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// Whoever was passed on this often goes round in a circle of instances that restart.
const HOPS_MAX: usize = 8;
/// A leader whose machine is gone is noticed by this on streams, where silence is no sign.
const KEEPALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To reach the leader.
    pub connect: Duration,
    /// The longest silence of the leader, event streams excepted.
    pub read: Duration,
    /// Requests passed on at a time, event streams excepted.
    pub at_once: usize,
}

type Sent = Either<Full<Bytes>, Incoming>;

/// What came of one attempt.
pub enum Came {
    Answer(Response<Body>),
    /// There is none, and the leader may have carried it out.
    Failed(Out),
    /// The leader was not reached.
    Unreached(Out),
    /// It said that it does not lead.
    NotLed(Response<Body>),
}

pub struct Proxy {
    client: Client<HttpConnector, Sent>,
    limits: Limits,
    places: Arc<Semaphore>,
    /// `1.1 host:port`
    via: String,
}

impl Proxy {
    pub fn new(own: &str, limits: Limits) -> Proxy {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.connect));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEPALIVE));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(limits.at_once)
            .pool_idle_timeout(Duration::from_secs(20))
            .build(connector);
        let places = Arc::new(Semaphore::new(limits.at_once.min(Semaphore::MAX_PERMITS)));
        Proxy { client, limits, places, via: format!("1.1 {own}") }
    }

    /// The leader's answer, or why there is none.
    pub async fn pass(
        &self,
        parts: &Parts,
        body: Upload,
        peer: &Peer,
        leader: &str,
        leadership: &Leadership,
    ) -> Came {
        if let Err(out) = self.refuse_circle(&parts.headers) {
            return Came::Failed(out);
        }
        let streams = parts.headers.get(ACCEPT).is_some_and(|it| contains(it, "text/event-stream"));
        let place = match streams {
            true => None,
            false => match self.place().await {
                Ok(place) => Some(place),
                Err(out) => return Came::Failed(out),
            },
        };
        let method = &parts.method;
        let request = match self.request(parts, body, peer, leader) {
            Ok(request) => request,
            Err(out) => return Came::Failed(out),
        };
        let answer = tokio::time::timeout(self.limits.read, self.client.request(request));
        let response = match answer.await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failed(&error, method, leader),
            Err(_) => {
                let seconds = self.limits.read.as_secs_f64();
                let text = format!("The leader {leader} did not answer within {seconds} s{}", doubt(method));
                return Came::Failed(Out::message(StatusCode::GATEWAY_TIMEOUT, text));
            }
        };
        let (mut head, incoming) = response.into_parts();
        strip(&mut head.headers);
        if let Ok(via) = HeaderValue::from_str(&self.via) {
            head.headers.append(VIA, via);
        }
        if streams {
            // As the leader has it: the end of the stream is the end of the connection.
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        head.version = Version::HTTP_11;
        let limit = (!streams).then_some(self.limits.read);
        let led = !head.headers.contains_key(NOT_LEADING);
        let response = Response::from_parts(
            head,
            Body::Passed(Box::new(Passed::new(incoming, limit, place, leadership))),
        );
        if led { Came::Answer(response) } else { Came::NotLed(response) }
    }

    /// 502 if we, or too many others, have passed it on before.
    fn refuse_circle(&self, headers: &HeaderMap) -> Result<(), Out> {
        let hops = headers.get_all(VIA).iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
        for (before, hop) in hops.enumerate() {
            if hop.trim() == self.via || before + 1 >= HOPS_MAX {
                return Err(Out::message(StatusCode::BAD_GATEWAY, "Detected proxying loop."));
            }
        }
        Ok(())
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Out> {
        let place = self.places.clone().acquire_owned();
        match tokio::time::timeout(self.limits.connect, place).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                let text = format!(
                    "{} requests are being passed on to the leader already (--leader_proxy_max_open_connections)",
                    self.limits.at_once
                );
                Err(Out::message(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }

    fn request(&self, parts: &Parts, body: Upload, peer: &Peer, leader: &str) -> Result<Request<Sent>, Out> {
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Authority::try_from(leader).ok().and_then(|authority| {
            Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build().ok()
        });
        let Some(uri) = uri else {
            let text = format!("The leader's address '{leader}' is no host:port");
            return Err(Out::message(StatusCode::BAD_GATEWAY, text));
        };
        let mut headers = parts.headers.clone();
        strip(&mut headers);
        append(&mut headers, VIA, &self.via);
        append(&mut headers, FORWARDED_FOR, &peer.address.to_string());
        let body = match body {
            Upload::Whole(bytes) => Either::Left(Full::new(bytes)),
            Upload::Coming(incoming) => Either::Right(incoming),
        };
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Behind what is there, in one line, as the original writes it.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let mut all: Vec<&str> = headers.get_all(&name).iter().filter_map(|it| it.to_str().ok()).collect();
    all.push(value);
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(name, value);
    }
}

fn contains(value: &HeaderValue, what: &str) -> bool {
    value.to_str().is_ok_and(|it| it.to_ascii_lowercase().contains(what))
}

/// Takes out what was meant for us alone.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(hyper::header::TRANSFER_ENCODING);
}

fn doubt(method: &Method) -> &'static str {
    match method.is_safe() {
        true => "",
        false => "; the change may or may not have been made",
    }
}

fn failed(error: &Error, method: &Method, leader: &str) -> Came {
    tracing::warn!(leader, "a request could not be passed on: {}", chain(error));
    if error.is_connect() {
        let (status, text) = match io_cause(error) {
            Some(io) if io.kind() == ErrorKind::TimedOut => {
                (StatusCode::GATEWAY_TIMEOUT, format!("Connection to leader timed out. ({leader}"))
            }
            Some(io) if io.kind() == ErrorKind::ConnectionRefused => {
                (StatusCode::BAD_GATEWAY, format!("Connection to leader refused. ({leader}"))
            }
            cause => {
                let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
                let text = "Failed to successfully establish a connection to the leader.";
                (StatusCode::BAD_GATEWAY, format!("{text} ({leader}: {why}"))
            }
        };
        return Came::Unreached(Out::message(status, format!("{text}; nothing was changed)")));
    }
    let text = format!("The leader {leader} went away before it answered{}", doubt(method));
    Came::Failed(Out::message(StatusCode::BAD_GATEWAY, text))
}

fn io_cause(error: &Error) -> Option<&std::io::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}

/// The leader's body on its way to the client.
pub struct Passed {
    incoming: Incoming,
    /// Silence ends it; absent for streams of events.
    limit: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Streams of events end with us.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Given back at the end.
    _place: Option<OwnedSemaphorePermit>,
}

impl Passed {
    fn new(
        incoming: Incoming,
        limit: Option<Duration>,
        place: Option<OwnedSemaphorePermit>,
        leadership: &Leadership,
    ) -> Passed {
        let mut stopping = leadership.stopping();
        let streams = limit.is_none();
        let stopped = async move {
            match streams {
                // An error means that nobody is left who could stop, which is a stop as well.
                true => drop(stopping.wait_for(|it| *it).await),
                false => std::future::pending().await,
            }
        };
        Passed {
            incoming,
            limit: limit.map(|it| (it, Box::pin(tokio::time::sleep(it)))),
            stopped: Box::pin(stopped),
            _place: place,
        }
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let mut frame = self.incoming.frame();
        if let Poll::Ready(frame) = Pin::new(&mut frame).poll(cx) {
            if let Some((limit, sleep)) = &mut self.limit {
                sleep.as_mut().reset(Instant::now() + *limit);
            }
            // Half an answer must not look like a whole one: an error ends the client's connection.
            return Poll::Ready(frame.map(|it| it.map_err(|_| Cut)));
        }
        if let Some((_, sleep)) = &mut self.limit {
            ready!(sleep.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Cut)));
        }
        Poll::Pending
    }

    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub fn size_hint(&self) -> hyper::body::SizeHint {
        self.incoming.size_hint()
    }
}
