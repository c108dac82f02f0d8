//! HTTP with the daemon: one request per connection over its Unix socket.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// The newest version of the API whose answers were looked at. Daemons that speak only older or only
/// newer ones are met where they are.
const NEWEST: (u32, u32) = (1, 44);
/// No answer that is read as a whole is longer than this.
const ANSWER_MAX: usize = 16 << 20;
/// Time for calls that only look something up.
pub(crate) const QUICK: Duration = Duration::from_secs(30);
/// Time for calls that work on containers; a daemon that starts hundreds at once is slow.
pub(crate) const SLOW: Duration = Duration::from_secs(300);

/// Why the daemon did not do it. The texts are sentences for users of an app.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("{0}")]
    Unreachable(String),
    /// The daemon says no.
    #[error("{message}")]
    Refused { status: u16, message: String },
    #[error("the connection to the Docker daemon broke: {0}")]
    Lost(String),
    #[error("the Docker daemon did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the Docker daemon gave an answer that cannot be read: {0}")]
    Garbled(String),
    /// A command inside a container took longer than it may.
    #[error("the command took longer than {} ms", .0.as_millis())]
    TooSlow(Duration),
}

impl DockerError {
    pub(crate) fn is_status(&self, wanted: u16) -> bool {
        matches!(self, DockerError::Refused { status, .. } if *status == wanted)
    }

    /// Whether asking again may help: the daemon is away or restarting.
    pub(crate) fn is_absence(&self) -> bool {
        use DockerError::{Lost, Refused, Silent, Unreachable};
        matches!(self, Unreachable(_) | Lost(_) | Silent(_) | Refused { status: 503, .. })
    }
}

pub(crate) struct Wire {
    socket: PathBuf,
    /// The agreed version as `/v1.41`. Forgotten when the daemon goes away: another may come back.
    prefix: Mutex<Option<String>>,
}

/// One request.
pub(crate) struct Call {
    method: Method,
    target: String,
    body: Option<Value>,
    auth: Option<String>,
    limit: Duration,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Call {
        Call { method, target: path.into(), body: None, auth: None, limit: QUICK }
    }
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }
    pub(crate) fn post(path: impl Into<String>) -> Call {
        Call::new(Method::POST, path)
    }
    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call::new(Method::DELETE, path)
    }
    pub(crate) fn query(mut self, name: &str, value: &str) -> Call {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        let _ = write!(self.target, "{mark}{name}={}", encode(value, ""));
        self
    }
    pub(crate) fn body(mut self, body: Value) -> Call {
        self.body = Some(body);
        self
    }
    pub(crate) fn auth(mut self, auth: Option<String>) -> Call {
        self.auth = auth;
        self
    }
    pub(crate) fn limit(mut self, limit: Duration) -> Call {
        self.limit = limit;
        self
    }
}

/// Percent-encodes everything that is not plainly harmless.
pub(crate) fn encode(text: &str, harmless: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || harmless.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

impl Wire {
    pub(crate) fn new(socket: &Path) -> Wire {
        Wire { socket: socket.to_owned(), prefix: Mutex::new(None) }
    }

    /// The answer to `GET /version`, which needs no agreed version; agrees on one by the way.
    pub(crate) async fn version(&self) -> Result<Value, DockerError> {
        let answer = self.exchange("", Call::get("/version")).await?;
        let version = read_json(answer, QUICK).await?;
        let number = |field: &str| version.get(field).and_then(Value::as_str).and_then(parse_version);
        let newest = number("ApiVersion").unwrap_or(NEWEST);
        let oldest = number("MinAPIVersion").unwrap_or(newest.min(NEWEST));
        let (major, minor) = NEWEST.min(newest).max(oldest);
        self.set_prefix(Some(format!("/v{major}.{minor}")));
        Ok(version)
    }

    /// Sends a request and gives the answer once its head is there and says success.
    pub(crate) async fn open(&self, call: Call) -> Result<Response<Incoming>, DockerError> {
        let known = self.prefix.lock().ok().and_then(|it| it.clone());
        if known.is_none() {
            self.version().await?;
        }
        let prefix = self.prefix.lock().ok().and_then(|it| it.clone()).unwrap_or_default();
        let result = self.exchange(&prefix, call).await;
        if let Err(error) = &result {
            let other_version = matches!(error, DockerError::Refused { status: 400, message }
                if message.contains("client version"));
            if error.is_absence() || other_version {
                self.set_prefix(None);
            }
        }
        result
    }

    /// A call whose answer is one JSON value; `Null` for none.
    pub(crate) async fn json(&self, call: Call) -> Result<Value, DockerError> {
        let limit = call.limit;
        read_json(self.open(call).await?, limit).await
    }

    /// A call of whose answer only the success matters.
    pub(crate) async fn done(&self, call: Call) -> Result<(), DockerError> {
        self.open(call).await.map(drop)
    }

    fn set_prefix(&self, prefix: Option<String>) {
        if let Ok(mut held) = self.prefix.lock() {
            *held = prefix;
        }
    }

    async fn exchange(&self, prefix: &str, call: Call) -> Result<Response<Incoming>, DockerError> {
        let limit = call.limit;
        let answer = tokio::time::timeout(limit, self.send(prefix, call));
        let answer = answer.await.map_err(|_| DockerError::Silent(limit))??;
        // 304: it is in that state already.
        if answer.status().is_success() || answer.status().as_u16() == 304 {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let message = match read_json(answer, QUICK).await {
            Ok(body) => body.get("message").and_then(Value::as_str).map(|it| it.trim().to_owned()),
            Err(_) => None,
        };
        let message = message.unwrap_or_else(|| format!("the Docker daemon answered with status {status}"));
        Err(DockerError::Refused { status, message })
    }

    async fn send(&self, prefix: &str, call: Call) -> Result<Response<Incoming>, DockerError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|it| self.unreachable(&it))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|it| DockerError::Lost(it.to_string()))?;
        // Ends with the answer's body, or when nobody wants the answer any more.
        tokio::spawn(connection);

        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{prefix}{}", call.target))
            .header(HOST, "docker");
        if let Some(auth) = call.auth {
            request = request.header("X-Registry-Auth", auth);
        }
        let body = match call.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(body)).map_err(|it| DockerError::Garbled(it.to_string()))?;
        sender.send_request(request).await.map_err(|it| DockerError::Lost(it.to_string()))
    }

    fn unreachable(&self, cause: &std::io::Error) -> DockerError {
        let socket = self.socket.display();
        DockerError::Unreachable(match cause.kind() {
            ErrorKind::NotFound => {
                format!("there is no Docker daemon on this machine: {socket} does not exist")
            }
            ErrorKind::ConnectionRefused => {
                format!("the Docker daemon is not running: nobody listens on {socket}")
            }
            ErrorKind::PermissionDenied => format!(
                "no permission to use the Docker daemon at {socket}; \
                 the user who runs Marathon must be in the group that owns it"
            ),
            _ => format!("cannot connect to the Docker daemon at {socket}: {cause}"),
        })
    }
}

async fn read_json(answer: Response<Incoming>, limit: Duration) -> Result<Value, DockerError> {
    let body = tokio::time::timeout(limit, Limited::new(answer.into_body(), ANSWER_MAX).collect()).await;
    let body = body.map_err(|_| DockerError::Silent(limit))?;
    let body = body.map_err(|it| DockerError::Lost(it.to_string()))?.to_bytes();
    if body.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body).map_err(|it| DockerError::Garbled(it.to_string()))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_inside_its_part_of_the_url() {
        assert_eq!(encode("a/b:c@d?x=1&y#z é", "/:@"), "a/b:c@d%3Fx%3D1%26y%23z%20%C3%A9");
        assert_eq!(Call::get("/x").query("a", "1&b").query("c", "=").target, "/x?a=1%26b&c=%3D");
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(parse_version("1.9") < parse_version("1.41"));
        assert_eq!(parse_version("one"), None);
    }
}
