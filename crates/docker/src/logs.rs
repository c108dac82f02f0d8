//! The container's output on its way to our own stdout and stderr.
//!
//! Without a terminal both streams come interleaved over one connection, in frames:
//! one byte for the stream, three of zero, four for the length (big endian), then so many bytes.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Cuts the frames apart, however the bytes arrive.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; 8],
    /// How much of the head is there.
    filled: usize,
    /// How much of the frame is still to come, once its head is complete.
    left: usize,
}

impl Frames {
    /// Takes the next piece off `bytes`; `None` when all of them are taken.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<(Stream, &'a [u8])> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let take = (self.head.len() - self.filled).min(bytes.len());
                self.head[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
                self.filled += take;
                *bytes = &bytes[take..];
                if self.filled == self.head.len() {
                    let [_, _, _, _, length @ ..] = self.head;
                    self.left = u32::from_be_bytes(length) as usize;
                    self.filled = 0;
                }
                continue;
            }
            let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= piece.len();
            *bytes = rest;
            return Some((if self.head[0] == 2 { Stream::Err } else { Stream::Out }, piece));
        }
        None
    }
}

/// One of our own two streams.
enum Sink {
    /// Written without blocking, so that a slow reader does not keep us from hearing SIGTERM.
    Pipe(pipe::Sender),
    File(File),
    /// Nobody reads it any more. The container goes on.
    Closed,
}

impl Sink {
    fn of(stream: impl AsFd) -> Sink {
        let copy = || stream.as_fd().try_clone_to_owned().map(File::from);
        match (copy().and_then(pipe::Sender::from_file), copy()) {
            (Ok(pipe), _) => Sink::Pipe(pipe),
            (Err(_), Ok(file)) => Sink::File(file),
            (Err(_), Err(_)) => Sink::Closed,
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let result = match self {
            Sink::Pipe(pipe) => pipe.write_all(bytes).await,
            Sink::File(file) => file.write_all(bytes),
            Sink::Closed => Ok(()),
        };
        if result.is_err() {
            *self = Sink::Closed;
        }
    }
}

pub(crate) struct Output {
    out: Sink,
    err: Sink,
}

impl Output {
    /// To be called inside the runtime.
    pub(crate) fn open() -> Output {
        Output { out: Sink::of(std::io::stdout()), err: Sink::of(std::io::stderr()) }
    }

    /// Copies until the stream ends, for whatever reason, and gives the output back.
    pub(crate) async fn copy(mut self, mut body: Incoming, tty: bool) -> Output {
        let mut frames = Frames::default();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            let mut bytes = &data[..];
            if tty {
                self.out.write(bytes).await;
                continue;
            }
            while let Some((stream, piece)) = frames.next(&mut bytes) {
                match stream {
                    Stream::Out => self.out.write(piece).await,
                    Stream::Err => self.err.write(piece).await,
                }
            }
        }
        self
    }

    /// A line of our own for the one who looks into the sandbox.
    pub(crate) async fn complain(&mut self, message: &str) {
        self.err.write(format!("marathon: {message}\n").as_bytes()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(text.as_bytes());
        frame
    }

    #[test]
    fn frames_survive_any_cut() {
        let all = [frame(1, "one"), frame(2, ""), frame(2, "two two"), frame(1, "three")].concat();
        for size in 1..=all.len() {
            let (mut out, mut err, mut frames) = (Vec::new(), Vec::new(), Frames::default());
            for mut chunk in all.chunks(size) {
                while let Some((stream, piece)) = frames.next(&mut chunk) {
                    if stream == Stream::Out { out.extend(piece) } else { err.extend(piece) }
                }
            }
            assert_eq!((&out[..], &err[..]), (&b"onethree"[..], &b"two two"[..]), "cut into {size}");
        }
    }
}
