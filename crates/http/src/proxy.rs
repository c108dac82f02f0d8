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
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::answer::Peer;
use crate::body::{Body, Cut, Upload};
use crate::callback::chain;
use crate::lead::Leadership;
use crate::pool::{Fault, Line, Pool, Sent, take_frame};
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

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To reach the leader.
    pub connect: Duration,
    /// The longest silence of the leader, event streams excepted.
    pub read: Duration,
    /// Requests passed on at a time, event streams excepted.
    pub at_once: usize,
}

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
    pool: Arc<Pool>,
    limits: Limits,
    places: Arc<Semaphore>,
    /// `1.1 host:port`
    via: String,
    via_value: Option<HeaderValue>,
}

impl Proxy {
    pub fn new(own: &str, limits: Limits) -> Proxy {
        let pool = Arc::new(Pool::new(limits));
        let places = Arc::new(Semaphore::new(limits.at_once.min(Semaphore::MAX_PERMITS)));
        let via = format!("1.1 {own}");
        let via_value = HeaderValue::from_str(&via).ok();
        Proxy { pool, limits, places, via, via_value }
    }

    /// The leader's answer, or why there is none.
    pub async fn pass(
        &self,
        parts: &Parts,
        body: Upload,
        peer: &Peer,
        leader: &Arc<str>,
        leadership: &Leadership,
    ) -> Came {
        if let Err(out) = self.refuse_circle(&parts.headers) {
            return Came::Failed(out);
        }
        let streams = parts.headers.get(ACCEPT).is_some_and(contains_events);
        let place = match streams {
            true => None,
            false => match self.place().await {
                Ok(place) => Some(place),
                Err(out) => return Came::Failed(out),
            },
        };
        let method = &parts.method;
        // What changes nothing may be asked for twice.
        let copy = if method.is_safe() { body.again() } else { None };
        let request = match self.request(parts, body, peer, leader) {
            Ok(request) => request,
            Err(out) => return Came::Failed(out),
        };
        let again = || copy.and_then(|copy| self.request(parts, copy, peer, leader).ok());
        let (response, line) = match self.pool.send(leader, request, again).await {
            Ok(answer) => answer,
            Err(fault) => return self.failed(&fault, method, leader),
        };
        let (mut head, incoming) = response.into_parts();
        strip(&mut head.headers);
        if let Some(via) = &self.via_value {
            head.headers.append(VIA, via.clone());
        }
        if streams {
            // As the leader has it: the end of the stream is the end of the connection.
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        head.version = Version::HTTP_11;
        let led = !head.headers.contains_key(NOT_LEADING);
        let body = if line.is_idle() {
            let Some(bytes) = all_there(incoming) else {
                return self.failed(&Fault::Lost("its body broke off".into()), method, leader);
            };
            self.pool.keep(line);
            Body::Whole(bytes)
        } else {
            let stopped = streams.then(|| leadership.stopping());
            let passed = Passed::new(incoming, (line, self.pool.clone()), place, stopped);
            Body::Passed(Box::new(passed))
        };
        let response = Response::from_parts(head, body);
        if led { Came::Answer(response) } else { Came::NotLed(response) }
    }

    /// Ends connections that nobody needs.
    pub fn sweep(&self) {
        self.pool.sweep();
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

    fn failed(&self, fault: &Fault, method: &Method, leader: &str) -> Came {
        let (status, text) = match fault {
            Fault::Unreached(error) => {
                tracing::warn!(leader, "the leader was not reached: {error}");
                let (status, text) = match error.kind() {
                    ErrorKind::TimedOut => {
                        (StatusCode::GATEWAY_TIMEOUT, format!("Connection to leader timed out. ({leader}"))
                    }
                    ErrorKind::ConnectionRefused => {
                        (StatusCode::BAD_GATEWAY, format!("Connection to leader refused. ({leader}"))
                    }
                    _ => {
                        let text = "Failed to successfully establish a connection to the leader.";
                        (StatusCode::BAD_GATEWAY, format!("{text} ({leader}: {error}"))
                    }
                };
                return Came::Unreached(Out::message(status, format!("{text}; nothing was changed)")));
            }
            Fault::Lost(error) => {
                tracing::warn!(leader, "a request could not be passed on: {}", chain(&**error));
                (StatusCode::BAD_GATEWAY, format!("The leader {leader} went away before it answered"))
            }
            Fault::Silent => {
                let seconds = self.limits.read.as_secs_f64();
                tracing::warn!(leader, "no answer to a request that was passed on");
                let text = format!("The leader {leader} did not answer within {seconds} s");
                (StatusCode::GATEWAY_TIMEOUT, text)
            }
        };
        Came::Failed(Out::message(status, text + doubt(method)))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, Out> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
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
        let Ok(host) = HeaderValue::from_str(leader) else {
            let text = format!("The leader's address '{leader}' is no host:port");
            return Err(Out::message(StatusCode::BAD_GATEWAY, text));
        };
        let mut headers = parts.headers.clone();
        strip(&mut headers);
        headers.insert(HOST, host);
        if let Some(via) = &self.via_value {
            append(&mut headers, VIA, via);
        }
        append(&mut headers, FORWARDED_FOR, &peer.shown);
        let body = match body {
            Upload::Whole(bytes) => Either::Left(Full::new(bytes)),
            Upload::Coming(incoming) => Either::Right(incoming),
        };
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = path(&parts.uri);
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Behind what is there, in one line, as the original writes it.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, value.clone());
        return;
    }
    let all: Vec<&str> =
        headers.get_all(&name).iter().chain([value]).filter_map(|it| it.to_str().ok()).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(name, value);
    }
}

fn contains_events(accept: &HeaderValue) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    accept.as_bytes().windows(EVENTS.len()).any(|it| it.eq_ignore_ascii_case(EVENTS))
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

/// As the leader is asked for it.
fn path(uri: &Uri) -> Uri {
    match (uri.authority(), uri.path_and_query()) {
        (None, Some(_)) => uri.clone(),
        (Some(_), Some(path)) => path.clone().into(),
        (_, None) => PathAndQuery::from_static("/").into(),
    }
}

/// The body of an answer which has come to its end: one piece, as a line does not read the next one before.
/// Nothing if that were not so, which must not look like a whole answer.
fn all_there(mut incoming: Incoming) -> Option<Option<Bytes>> {
    if incoming.is_end_stream() {
        return Some(None);
    }
    let bytes = match take_frame(&mut incoming) {
        Poll::Ready(None) => return Some(None),
        // Trailers cannot be passed on behind a length.
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        _ => return None,
    };
    match take_frame(&mut incoming) {
        Poll::Ready(None) => Some(bytes),
        Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => Some(bytes),
        _ => None,
    }
}

/// The leader's body on its way to the client.
pub struct Passed {
    incoming: Incoming,
    /// Where it comes from, and where that goes at its end; then it is gone.
    line: Option<(Box<Line>, Arc<Pool>)>,
    /// Streams of events end with us, and may be silent for as long as they like.
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Given back at the end.
    place: Option<OwnedSemaphorePermit>,
}

impl Passed {
    fn new(
        incoming: Incoming,
        line: (Box<Line>, Arc<Pool>),
        place: Option<OwnedSemaphorePermit>,
        stopping: Option<watch::Receiver<bool>>,
    ) -> Passed {
        let stopped = stopping.map(|mut stopping| {
            // An error means that nobody is left who could stop, which is a stop as well.
            let stopped = async move { drop(stopping.wait_for(|it| *it).await) };
            Box::pin(stopped) as Pin<Box<dyn Future<Output = ()> + Send>>
        });
        Passed { incoming, line: Some(line), stopped, place }
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(stopped) = &mut self.stopped
            && stopped.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        // Once the line is gone, so is all that could come.
        let Some((line, _)) = &mut self.line else { return Poll::Ready(None) };
        match line.poll_frame(&mut self.incoming, cx) {
            Poll::Ready(frame) => {
                line.silence.ends();
                let whole = self.incoming.is_end_stream() || frame.is_none();
                if whole || matches!(frame, Some(Err(_))) {
                    self.end(whole);
                }
                // Half an answer must not look like a whole one: an error ends the client's connection.
                Poll::Ready(frame.map(|it| it.map_err(|_| Cut)))
            }
            Poll::Pending if self.stopped.is_some() => Poll::Pending,
            Poll::Pending => {
                ready!(line.silence.poll(cx));
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }

    /// The line is kept if all of this came and all of the request went.
    fn end(&mut self, whole: bool) {
        self.place = None;
        if let Some((line, pool)) = self.line.take()
            && whole
        {
            pool.keep(line);
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub fn size_hint(&self) -> hyper::body::SizeHint {
        self.incoming.size_hint()
    }
}
