//! The body of an answer: whole, or a stream of events that goes on.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::front::Answer;
use crate::shell::Shell;
use crate::state::Conn;

pub(crate) enum Piece {
    Bytes(Bytes),
    /// The last chunk.
    End,
    /// The connection breaks, without a last chunk.
    Break,
}

/// How often a slowed stream gives its share.
const TICKS_PER_SECOND: u64 = 20;

pub(crate) struct Pieces {
    shell: Rc<Shell>,
    conn: Conn,
    receiver: mpsc::UnboundedReceiver<Piece>,
    pending: Rc<Cell<usize>>,
    /// Bytes a second.
    slow: Option<u64>,
    rest: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl Pieces {
    pub(crate) fn new(
        shell: Rc<Shell>,
        conn: Conn,
        receiver: mpsc::UnboundedReceiver<Piece>,
        pending: Rc<Cell<usize>>,
        slow: Option<u64>,
    ) -> Pieces {
        Pieces { shell, conn, receiver, pending, slow, rest: Bytes::new(), pause: None, over: false }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        if self.rest.is_empty() {
            match self.receiver.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Piece::Bytes(bytes))) => self.rest = bytes,
                Poll::Ready(Some(Piece::End)) => {
                    self.over = true;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Piece::Break) | None) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(std::io::Error::other("cut off"))));
                }
            }
        }
        let mut piece = std::mem::take(&mut self.rest);
        if let Some(rate) = self.slow {
            let share = usize::try_from((rate / TICKS_PER_SECOND).max(1)).unwrap_or(usize::MAX);
            self.rest = piece.split_off(share.min(piece.len()));
            self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(1000 / TICKS_PER_SECOND))));
        }
        self.pending.set(self.pending.get().saturating_sub(piece.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if !self.over {
            self.shell.left(self.conn);
        }
    }
}

pub(crate) enum Reply {
    Whole(Full<Bytes>),
    Streamed(Pieces),
}

impl Reply {
    pub(crate) fn response(answer: Answer, pieces: Option<Pieces>) -> hyper::Response<Reply> {
        let mut out = hyper::Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            out = out.header(name, value);
        }
        let body = match pieces {
            Some(pieces) => Reply::Streamed(pieces),
            None => Reply::Whole(Full::new(answer.body)),
        };
        // Names and values are ours or were accepted by the same rules when they came in.
        out.body(body).unwrap_or_else(|_| hyper::Response::new(Reply::Whole(Full::default())))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Reply::Whole(it) => Pin::new(it).poll_frame(context).map_err(|never| match never {}),
            Reply::Streamed(it) => it.next(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(it) => it.size_hint(),
            Reply::Streamed(_) => SizeHint::new(),
        }
    }
}
