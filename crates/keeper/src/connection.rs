//! One connected peer: bytes in, lines out of them; lines in, bytes out.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

/// Longest request: far above any environment the kernel would take.
const LINE_MAX: usize = 8 << 20;
/// With this much unsent, nothing more is read from the peer or from report pipes.
const UNSENT_MAX: usize = 1 << 20;

#[derive(Debug)]
pub struct Connection {
    pub stream: UnixStream,
    input: Vec<u8>,
    /// Start of the first line not yet taken.
    taken: usize,
    output: Vec<u8>,
    sent: usize,
    /// It said hello and was welcomed.
    pub greeted: bool,
    /// Ends once its output is sent.
    pub closing: bool,
    /// The kernel is asked to tell when more can be sent.
    pub waits_to_send: bool,
}

impl Connection {
    pub fn new(stream: UnixStream, input: Vec<u8>) -> Connection {
        Connection {
            stream,
            input,
            taken: 0,
            output: Vec::new(),
            sent: 0,
            greeted: false,
            closing: false,
            waits_to_send: false,
        }
    }

    /// Reads once. `Ok(false)` is the end of the connection.
    pub fn read(&mut self) -> io::Result<bool> {
        if self.congested() || self.has_line() {
            return Ok(true);
        }
        if self.input.len() - self.taken > LINE_MAX {
            return Err(io::Error::other("a request is too long"));
        }
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    pub fn has_line(&self) -> bool {
        self.input[self.taken..].contains(&b'\n')
    }

    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        let Some(length) = self.input[self.taken..].iter().position(|it| *it == b'\n') else {
            self.input.drain(..self.taken);
            self.taken = 0;
            // One huge request must not cost its memory for good.
            if self.input.is_empty() {
                self.input.shrink_to(64 * 1024);
            }
            return None;
        };
        let line = self.input[self.taken..self.taken + length].to_vec();
        self.taken += length + 1;
        Some(line)
    }

    /// What was read and not yet taken.
    pub fn rest(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    pub fn put(&mut self, message: &impl Serialize) {
        serde_json::to_writer(&mut self.output, message)
            .expect("messages are plain data, memory takes all writes");
        self.output.push(b'\n');
    }

    pub fn has_unsent(&self) -> bool {
        self.sent < self.output.len()
    }

    pub fn congested(&self) -> bool {
        self.output.len() - self.sent > UNSENT_MAX
    }

    /// Sends what the peer takes now. `Ok(true)` when all is sent.
    pub fn send(&mut self) -> io::Result<bool> {
        while self.has_unsent() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.output.shrink_to(64 * 1024);
        self.sent = 0;
        Ok(true)
    }

    /// Whether the peer is known to be gone, before its end of file was read.
    pub fn hung_up(&self) -> bool {
        let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut polled, PollTimeout::ZERO).is_ok()
            && polled[0].revents().is_some_and(|found| found.intersects(gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_cut() {
        let text = b"one\ntwo\n\nthree\nfo";
        for cut in 0..text.len() {
            let (mut peer, ours) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let mut connection = Connection::new(ours, Vec::new());
            let mut lines = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                peer.write_all(part).unwrap();
                assert!(connection.read().unwrap());
                lines.extend(std::iter::from_fn(|| connection.next_line()));
            }
            assert_eq!(lines, [&b"one"[..], b"two", b"", b"three"], "cut at {cut}");
            assert_eq!(connection.rest(), b"fo");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let (mut peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(ours, Vec::new());
        let part = [b'x'; 32 * 1024];
        let refused = (0..1000).any(|_| {
            peer.write_all(&part).unwrap();
            connection.read().is_err()
        });
        assert!(refused && connection.input.len() <= LINE_MAX + 64 * 1024);
    }

    #[test]
    fn a_slow_peer_gets_everything_in_the_end() {
        let (mut peer, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(ours, Vec::new());
        let message = "x".repeat(2 << 20);
        connection.put(&message);
        assert!(!connection.send().unwrap() && connection.congested() && !connection.hung_up());
        let mut got = Vec::new();
        while got.len() < message.len() + 3 {
            let mut buffer = vec![0; 100_000];
            let count = peer.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..count]);
            connection.send().unwrap();
        }
        assert!(!connection.congested());
        drop(peer);
        assert!(connection.hung_up());
    }
}
