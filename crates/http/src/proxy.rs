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
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, UPGRADE};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, PathAndQuery, Uri};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::answer::Peer;
use crate::body::{Body, Cut, Upload};
use crate::callback::chain;
use crate::lead::Leadership;
use crate::pool::{Fault, Line, Pool, Sent};
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
}

impl Proxy {
    pub fn new(own: &str, limits: Limits) -> Proxy {
        let pool = Arc::new(Pool::new(limits.connect, limits.at_once));
        let places = Arc::new(Semaphore::new(limits.at_once.min(Semaphore::MAX_PERMITS)));
        Proxy { pool, limits, places, via: format!("1.1 {own}") }
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
        let streams = parts.headers.get(ACCEPT).is_some_and(|it| contains(it, "text/event-stream"));
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
        let (response, line) = match self.pool.send(leader, request, again, self.limits.read).await {
            Ok(answer) => answer,
            Err(fault) => return self.failed(&fault, method, leader),
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
        let led = !head.headers.contains_key(NOT_LEADING);
        let body = if line.is_idle() {
            let Some(bytes) = all_there(incoming) else {
                return self.failed(&Fault::Lost("its body broke off".into()), method, leader);
            };
            self.pool.keep(line);
            Body::Whole(bytes)
        } else {
            let limit = (!streams).then_some(self.limits.read);
            let passed = Passed::new(incoming, (line, self.pool.clone()), limit, place, leadership);
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
        let host = Authority::try_from(leader).ok().and_then(|_| HeaderValue::from_str(leader).ok());
        let Some(host) = host else {
            let text = format!("The leader's address '{leader}' is no host:port");
            return Err(Out::message(StatusCode::BAD_GATEWAY, text));
        };
        let mut headers = parts.headers.clone();
        strip(&mut headers);
        headers.insert(HOST, host);
        append(&mut headers, VIA, &self.via);
        append(&mut headers, FORWARDED_FOR, &peer.address.to_string());
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
    let mut cx = Context::from_waker(Waker::noop());
    if incoming.is_end_stream() {
        return Some(None);
    }
    let bytes = match Pin::new(&mut incoming).poll_frame(&mut cx) {
        Poll::Ready(None) => return Some(None),
        // Trailers cannot be passed on behind a length.
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        _ => return None,
    };
    match Pin::new(&mut incoming).poll_frame(&mut cx) {
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
    /// Silence ends it; absent for streams of events.
    limit: Option<Duration>,
    /// Since something was heard; set once it was waited for.
    silence: Option<Pin<Box<Sleep>>>,
    heard: bool,
    /// Streams of events end with us.
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Given back at the end.
    place: Option<OwnedSemaphorePermit>,
}

impl Passed {
    fn new(
        incoming: Incoming,
        line: (Box<Line>, Arc<Pool>),
        limit: Option<Duration>,
        place: Option<OwnedSemaphorePermit>,
        leadership: &Leadership,
    ) -> Passed {
        let stopped = match limit {
            Some(_) => None,
            None => {
                let mut stopping = leadership.stopping();
                // An error means that nobody is left who could stop, which is a stop as well.
                let stopped = async move { drop(stopping.wait_for(|it| *it).await) };
                Some(Box::pin(stopped) as Pin<Box<dyn Future<Output = ()> + Send>>)
            }
        };
        Passed { incoming, line: Some(line), limit, silence: None, heard: true, stopped, place }
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(stopped) = &mut self.stopped
            && stopped.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        if let Some((line, _)) = &mut self.line {
            line.drive(cx);
        }
        // Only the line brings more, so there is nobody else to be woken by.
        match Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => {
                self.heard = true;
                let whole = self.incoming.is_end_stream() || frame.is_none();
                if whole || matches!(frame, Some(Err(_))) {
                    self.end(whole);
                }
                // Half an answer must not look like a whole one: an error ends the client's connection.
                Poll::Ready(frame.map(|it| it.map_err(|_| Cut)))
            }
            Poll::Pending => {
                if let Some(limit) = self.limit {
                    ready!(self.silence(limit).poll(cx));
                    return Poll::Ready(Some(Err(Cut)));
                }
                Poll::Pending
            }
        }
    }

    fn silence(&mut self, limit: Duration) -> Pin<&mut Sleep> {
        let heard = std::mem::take(&mut self.heard);
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if heard {
            silence.as_mut().reset(Instant::now() + limit);
        }
        silence.as_mut()
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
