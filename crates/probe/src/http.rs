//! A GET, as small as it can be.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use marathon_model::event::ProbeOutcome;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::check::{Cause, connect};
use crate::tls;

/// The head of an answer must fit in about this much; hyper looks at it once per read.
const HEAD_MAX: usize = 64 << 10;
/// At most so much of a page is read, whatever was asked for.
const BODY_MAX: usize = 1 << 20;

/// Talks to `address` as if it were `host`.
pub(crate) async fn get(
    https: bool,
    host: &str,
    address: &str,
    port: u16,
    path: &str,
    keep_body: usize,
) -> Result<ProbeOutcome, Cause> {
    let request = request(https, host, port, path)?;
    let stream = connect(address, port).await?;
    let keep_body = keep_body.min(BODY_MAX);
    if https {
        exchange(tls::handshake(host, stream).await?, request, keep_body).await
    } else {
        exchange(stream, request, keep_body).await
    }
}

fn request(https: bool, host: &str, port: u16, path: &str) -> Result<Request<Empty<Bytes>>, Cause> {
    let bare = host.trim_matches(['[', ']']);
    let name = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
    let usual_port = if https { 443 } else { 80 };
    let name = if port == usual_port { name } else { format!("{name}:{port}") };
    Request::get(&*target(path))
        .header(HOST, name)
        .header(USER_AGENT, "marathon")
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|it| format!("the path `{path}` cannot be asked for: {it}"))
}

/// The path as it goes over the wire: absolute, and free of what would break the request.
fn target(path: &str) -> Cow<'_, str> {
    let path = path.split('#').next().unwrap_or_default();
    let is_plain = |c: u8| c.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&c);
    if path.starts_with('/') && path.bytes().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let mut target = String::with_capacity(path.len() + 16);
    if !path.starts_with('/') {
        target.push('/');
    }
    for byte in path.bytes() {
        if is_plain(byte) {
            target.push(char::from(byte));
        } else {
            let _ = write!(target, "%{byte:02X}");
        }
    }
    Cow::Owned(target)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
    keep_body: usize,
) -> Result<ProbeOutcome, Cause> {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(HEAD_MAX)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    let connected = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(|it| broken(&it))?;

    // Both halves are driven from here rather than by a task of its own: cheaper, and whatever ends the
    // check also ends the connection.
    let mut connection = pin!(connection);
    let mut connected = true;
    let mut answer = pin!(async {
        let answer = sender.send_request(request).await.map_err(|it| broken(&it))?;
        read(answer, keep_body).await
    });
    std::future::poll_fn(|context| {
        if connected && connection.as_mut().poll(context).is_ready() {
            connected = false;
        }
        match answer.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            // What was just asked for has to be sent off.
            Poll::Pending if connected => {
                connected = connection.as_mut().poll(context).is_pending();
                if connected { Poll::Pending } else { answer.as_mut().poll(context) }
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn read(answer: Response<Incoming>, keep_body: usize) -> Result<ProbeOutcome, Cause> {
    let status = answer.status().as_u16();
    let content_type = answer.headers().get(CONTENT_TYPE).map(|it| it.as_bytes()).unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type).into_owned();
    let mut kept = Vec::new();
    let mut body = answer.into_body();
    while kept.len() < keep_body {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|it| broken(&it))?;
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(keep_body - kept.len())]);
        }
    }
    Ok(ProbeOutcome::Answered { status, content_type, body: Arc::from(String::from_utf8_lossy(&kept)) })
}

/// hyper's own text says only in which of its parts it went wrong; the reason is behind it.
fn broken(error: &hyper::Error) -> Cause {
    let mut text = format!("no HTTP answer: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let check = |path: &str, wanted: &str| assert_eq!(target(path), wanted, "{path}");
        check("/", "/");
        check("", "/");
        check("health", "/health");
        check("/a?b=c&d=%20", "/a?b=c&d=%20");
        check("/a b", "/a%20b");
        check("/é", "/%C3%A9");
        check("/a\r\nX: y", "/a%0D%0AX:%20y");
        check("/a#b", "/a");
        check("http://else.where/", "/http://else.where/");
    }

    #[test]
    fn hosts() {
        let check = |https, host: &str, port, wanted: &str| {
            let request = request(https, host, port, "/").unwrap();
            assert_eq!(request.headers()[HOST], wanted);
        };
        check(false, "a.example", 80, "a.example");
        check(true, "a.example", 80, "a.example:80");
        check(false, "a.example", 31000, "a.example:31000");
        check(true, "::1", 443, "[::1]");
        check(false, "[::1]", 8080, "[::1]:8080");
        assert!(request(false, "a\r\nb", 80, "/").is_err());
    }
}
