//! Answers before and after they get their headers.

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CACHE_CONTROL, CONNECTION,
    CONTENT_ENCODING, CONTENT_TYPE, EXPIRES, HeaderName, HeaderValue, LOCATION, ORIGIN, PRAGMA, RETRY_AFTER,
    VARY,
};
use hyper::{HeaderMap, Response, StatusCode};
use marathon_api::error;
use marathon_model::command::Refusal;
use marathon_request::BadRequest;

use crate::body::Body;
use crate::proxy::NOT_LEADING;
use crate::{Http, gzip};

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
pub const HTML: HeaderValue = HeaderValue::from_static("text/html;charset=UTF-8");
pub const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream;charset=UTF-8");

/// What a handler answers.
pub struct Out {
    pub status: StatusCode,
    pub kind: Option<HeaderValue>,
    pub body: Body,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Out {
    pub fn json(body: impl Into<Bytes>) -> Out {
        Out::new(StatusCode::OK, Some(JSON), body)
    }

    pub fn text(body: impl Into<Bytes>) -> Out {
        Out::new(StatusCode::OK, Some(TEXT), body)
    }

    pub fn empty(status: StatusCode) -> Out {
        Out { status, kind: None, body: Body::Whole(None), headers: Vec::new() }
    }

    pub fn new(status: StatusCode, kind: Option<HeaderValue>, body: impl Into<Bytes>) -> Out {
        Out { status, kind, body: Body::Whole(Some(body.into())), headers: Vec::new() }
    }

    pub fn message(status: StatusCode, text: impl std::fmt::Display) -> Out {
        error::message(status.as_u16(), text).into()
    }

    pub fn status(mut self, status: StatusCode) -> Out {
        self.status = status;
        self
    }

    pub fn with(mut self, name: HeaderName, value: &str) -> Out {
        // What does not fit into a header is left out; nothing of ours does that.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// 503: whoever passed it on may try again with whoever leads next.
    pub fn not_leading(text: String) -> Out {
        Out::from(error::message(503, text)).with(NOT_LEADING, "true")
    }

    pub fn redirect(to: &str) -> Out {
        Out::empty(StatusCode::FOUND).with(LOCATION, to)
    }

    pub fn allow(self, methods: &str) -> Out {
        self.with(ALLOW, methods)
    }

    pub fn closing(self) -> Out {
        self.with(CONNECTION, "close")
    }

    fn len(&self) -> usize {
        match &self.body {
            Body::Whole(Some(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

impl From<error::Answer> for Out {
    fn from((status, body): error::Answer) -> Out {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let out = Out::new(status, Some(JSON), body);
        if status == StatusCode::SERVICE_UNAVAILABLE { out.with(RETRY_AFTER, "1") } else { out }
    }
}

impl From<Refusal> for Out {
    fn from(refusal: Refusal) -> Out {
        match refusal {
            Refusal::Unavailable(text) if text == crate::OUTCOME_UNKNOWN => error::message(504, text).into(),
            Refusal::Unavailable(text) if text == crate::STOPPING => Out::not_leading(text),
            refusal => error::answer(&refusal).into(),
        }
    }
}

impl From<BadRequest> for Out {
    fn from(bad: BadRequest) -> Out {
        match bad {
            BadRequest::Syntax { details } => error::syntax(&details),
            BadRequest::Empty { details } => error::empty(&details),
            BadRequest::Shape(violations) => error::shape(&violations),
            BadRequest::Invalid(violations) => error::invalid(&violations),
            BadRequest::Illegal(text) => error::message(422, text),
            BadRequest::Bad(text) => error::message(400, text),
        }
        .into()
    }
}

/// Refused or answered, both are answers.
pub fn settle<B: Into<Bytes>, E: Into<Out>>(result: Result<B, E>) -> Out {
    match result {
        Ok(body) => Out::json(body),
        Err(error) => error.into(),
    }
}

/// Whether the body goes out compressed is decided last, since it depends on the answer.
pub struct Finished {
    pub response: Response<Body>,
    pub bytes: u64,
    pub gzipped: bool,
}

impl Http {
    /// Adds the headers that every answer has.
    pub(crate) async fn finish(&self, mut out: Out, asked: &HeaderMap, is_head: bool) -> Finished {
        let has = |name: HeaderName| out.headers.iter().any(|(it, _)| *it == name);
        let (packed, keeps) = (has(CONTENT_ENCODING), has(CACHE_CONTROL));
        let compressible = self.settings.compression && !packed && out.len() >= gzip::LEAST;
        let mut gzipped = false;
        if compressible
            && !is_head
            && crate::accept::gzip(asked)
            && let Body::Whole(Some(plain)) = &out.body
            && let Some(packed) = self.gzip.pack(plain.clone()).await
        {
            out.body = Body::Whole(Some(packed));
            gzipped = true;
        }
        let bytes = out.len() as u64;
        let mut response = Response::new(out.body);
        *response.status_mut() = out.status;
        let headers = response.headers_mut();
        headers.reserve(10 + out.headers.len());
        // What never changes says itself how long it keeps.
        if !keeps {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
            headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
            headers.insert(EXPIRES, HeaderValue::from_static("0"));
        }
        headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
        headers.insert("x-xss-protection", HeaderValue::from_static("1; mode=block"));
        if let Some(leader) = self.leadership.header() {
            headers.insert("x-marathon-leader", leader);
        }
        if let Some(kind) = out.kind {
            headers.insert(CONTENT_TYPE, kind);
        }
        if compressible {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if gzipped {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in out.headers {
            headers.insert(name, value);
        }
        self.cors(asked, headers);
        Finished { response, bytes, gzipped }
    }

    /// The original names the last configured origin whoever asks, which makes a list of several useless;
    /// here the asking origin is named if it is in the list.
    fn cors(&self, asked: &HeaderMap, headers: &mut HeaderMap) {
        let Some(origins) = &self.settings.origins else { return };
        let origin = asked.get(ORIGIN);
        let allowed = if origins.iter().any(|it| it == "*") {
            Some(HeaderValue::from_static("*"))
        } else {
            headers.append(VARY, HeaderValue::from_static("Origin"));
            origin.filter(|it| origins.iter().any(|listed| it.as_bytes() == listed.as_bytes())).cloned()
        };
        let Some(allowed) = allowed else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        let wanted: Vec<&str> = asked
            .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
            .iter()
            .filter_map(|it| it.to_str().ok())
            .flat_map(|it| it.split(','))
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        if let Ok(value) = HeaderValue::from_str(&wanted.join(", ")) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, value);
        }
    }
}
