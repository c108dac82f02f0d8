//! Bodies of answers, and how bodies of requests are read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use marathon_files::Chunks;
use tokio::sync::OwnedSemaphorePermit;

use crate::proxy::Passed;
use crate::stream::Stream;

/// Larger requests are refused with 413.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Between two pieces of a body.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

pub enum Body {
    Whole(Option<Bytes>),
    Events(Box<Stream>),
    /// Of the leader, as it comes.
    Passed(Box<Passed>),
    /// As many bytes as `left` says; fewer break the connection, so that nobody takes them for all.
    File {
        chunks: Chunks,
        left: u64,
        _turn: OwnedSemaphorePermit,
    },
}

/// The answer breaks off, and the client must notice.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer broke off")
    }
}

impl std::error::Error for Cut {}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|it| Ok(Frame::data(it)))),
            Body::Events(stream) => {
                Pin::new(&mut **stream).poll_bytes(cx).map(|it| it.map(|it| Ok(Frame::data(it))))
            }
            Body::Passed(passed) => passed.poll_frame(cx),
            Body::File { left: 0, .. } => Poll::Ready(None),
            Body::File { chunks, left, .. } => chunks.as_mut().poll_next(cx).map(|it| match it {
                Some(Ok(chunk)) if chunk.len() as u64 <= *left => {
                    *left -= chunk.len() as u64;
                    Some(Ok(Frame::data(chunk)))
                }
                _ => Some(Err(Cut)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Events(_) => false,
            Body::Passed(passed) => passed.is_end_stream(),
            Body::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64)),
            Body::Events(_) => SizeHint::default(),
            Body::Passed(passed) => passed.size_hint(),
            Body::File { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    TooLarge,
    TooSlow,
    /// The client went away or broke the protocol.
    Broken,
}

/// Bodies up to this long are kept by whoever passes them on, so that they can be sent again.
const KEPT_BYTES_MAX: u64 = 1 << 20;

/// The body of a request.
pub enum Upload {
    Whole(Bytes),
    /// Nobody has read it yet.
    Coming(Incoming),
}

impl Upload {
    /// Reads a short one, so that `again` gives another.
    pub async fn keep(self) -> Result<Upload, BodyError> {
        match self {
            Upload::Coming(body) if body.size_hint().exact().is_some_and(|it| it <= KEPT_BYTES_MAX) => {
                read(body).await.map(Upload::Whole)
            }
            upload => Ok(upload),
        }
    }

    pub fn again(&self) -> Option<Upload> {
        match self {
            Upload::Whole(bytes) => Some(Upload::Whole(bytes.clone())),
            Upload::Coming(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Upload::Whole(bytes) => bytes.is_empty(),
            Upload::Coming(body) => body.is_end_stream(),
        }
    }

    pub async fn read(self) -> Result<Bytes, BodyError> {
        match self {
            Upload::Whole(bytes) => Ok(bytes),
            Upload::Coming(body) => read(body).await,
        }
    }
}

/// Reads a request's body, within bounds of size and time.
pub async fn read(mut body: Incoming) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > REQUEST_BYTES_MAX as u64 {
        return Err(BodyError::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let whole = async {
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        loop {
            let frame = match tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await {
                Err(_) => return Err(BodyError::TooSlow),
                Ok(None) => break,
                Ok(Some(Err(_))) => return Err(BodyError::Broken),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let so_far = rest.as_ref().map_or(first.len(), BytesMut::len);
            if so_far + data.len() > REQUEST_BYTES_MAX {
                return Err(BodyError::TooLarge);
            }
            match &mut rest {
                // Nearly all bodies come in one piece, which need not be copied.
                None if first.is_empty() => first = data,
                None => {
                    let mut all = BytesMut::from(&first[..]);
                    all.extend_from_slice(&data);
                    rest = Some(all);
                }
                Some(all) => all.extend_from_slice(&data),
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    };
    tokio::time::timeout(BODY_TIMEOUT, whole).await.unwrap_or(Err(BodyError::TooSlow))
}
