//! Load on a server from one thread: many connections, one request at a time on each.
//!
//! Written for the purpose, because a general client spends more processor time on a small answer than
//! the server under test does, and would then measure itself.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::Outcome;
use crate::web::local;

const HEAD_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub struct Measured {
    pub answers: u64,
    pub seconds: f64,
    /// Answers that were not 2xx.
    pub refused: u64,
    pub bytes: u64,
    /// Milliseconds from request to the last byte.
    pub latencies: Vec<f64>,
}

impl Measured {
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

pub struct Load<'a> {
    pub port: u16,
    pub connections: usize,
    pub warm_up: Duration,
    pub time: Duration,
    /// Writes the n-th request of a connection.
    pub request: &'a dyn Fn(usize, u64, &mut Vec<u8>),
}

struct Connection {
    stream: TcpStream,
    reading: Reading,
    status_ok: bool,
    sent: u64,
    since: Instant,
}

enum Reading {
    Head(Vec<u8>),
    Body { length: usize, left: usize },
}

impl Load<'_> {
    pub fn run(&self) -> Outcome<Measured> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..self.connections {
            let stream = TcpStream::connect(local(self.port))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
            let since = Instant::now();
            let reading = Reading::Head(Vec::new());
            connections.push(Connection { stream, reading, status_ok: true, sent: 0, since });
        }
        let mut bytes = Vec::new();
        for (number, connection) in connections.iter_mut().enumerate() {
            (self.request)(number, 0, &mut bytes);
            connection.send(&bytes)?;
            bytes.clear();
        }
        self.measure(&epoll, &mut connections)
    }

    fn measure(&self, epoll: &Epoll, connections: &mut [Connection]) -> Outcome<Measured> {
        let mut buffer = vec![0; 1 << 20];
        let mut next = Vec::new();
        let mut events = [EpollEvent::empty(); 64];
        let mut measured = Measured::default();
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.time;
        let mut now = Instant::now();
        while now < end {
            let ready = epoll.wait(&mut events, EpollTimeout::from(1000u16))?;
            if ready == 0 {
                return Err("the server gave no answer for a second".into());
            }
            for event in &events[..ready] {
                let number = event.data() as usize;
                let connection = &mut connections[number];
                let Some(bytes) = connection.receive(&mut buffer)? else { continue };
                now = Instant::now();
                if begin <= now && now < end {
                    measured.answers += 1;
                    measured.refused += u64::from(!connection.status_ok);
                    measured.bytes += bytes as u64;
                    measured.latencies.push((now - connection.since).as_secs_f64() * 1e3);
                }
                next.clear();
                (self.request)(number, connection.sent, &mut next);
                connection.send(&next)?;
            }
            now = Instant::now();
        }
        measured.seconds = self.time.as_secs_f64();
        Ok(measured)
    }
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.since = Instant::now();
        self.sent += 1;
        // Small, and the last answer is complete, so the socket's buffer is empty.
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// No server here may do that, so what it was doing is told. Servers close behind some refusals, which are counted
    /// only at the end.
    fn closed(&self) -> Box<dyn std::error::Error> {
        let waited = self.since.elapsed().as_secs_f64() * 1e3;
        let got = match &self.reading {
            Reading::Head(head) if head.is_empty() => "nothing".to_owned(),
            Reading::Head(head) => format!("a part of the head, {:?}", String::from_utf8_lossy(head)),
            Reading::Body { length, left } => format!("{} bytes of {length}", length - left),
        };
        let before = if self.status_ok { "" } else { "; the answer before was no success" };
        let sent = self.sent;
        format!(
            "the server closed a connection {waited:.3} ms after request {sent} on it, of whose answer came {got}{before}"
        )
        .into()
    }

    /// Takes in what is there. Once the answer is complete: the length of its body.
    fn receive(&mut self, buffer: &mut [u8]) -> Outcome<Option<usize>> {
        let n = match self.stream.read(buffer) {
            Ok(0) => return Err(self.closed()),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (length, left) = match &mut self.reading {
            Reading::Body { length, left } => (*length, left.checked_sub(n)),
            Reading::Head(head) => {
                head.extend_from_slice(&buffer[..n]);
                let Some(end) = head.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4) else {
                    return if head.len() < HEAD_MAX { Ok(None) } else { Err("the head never ends".into()) };
                };
                self.status_ok = head.starts_with(b"HTTP/1.1 2");
                let length = content_length(&head[..end]).ok_or("the answer has no Content-Length")?;
                let left = length.checked_sub(head.len() - end);
                head.clear();
                (length, left)
            }
        };
        match left.ok_or("the answer is longer than it says")? {
            0 => {
                if matches!(self.reading, Reading::Body { .. }) {
                    self.reading = Reading::Head(Vec::new());
                }
                Ok(Some(length))
            }
            left => {
                self.reading = Reading::Body { length, left };
                Ok(None)
            }
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let at = head.windows(NAME.len()).position(|it| it.eq_ignore_ascii_case(NAME))? + NAME.len();
    let rest = &head[at..];
    let line = &rest[..rest.iter().position(|it| *it == b'\r')?];
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;

    /// Answers in pieces, to see that they are put together.
    fn answer_in_pieces(listener: TcpListener) {
        let Ok((stream, _)) = listener.accept() else { return };
        let mut reader = std::io::BufReader::new(stream);
        let mut line = String::new();
        while matches!(reader.read_line(&mut line), Ok(n) if n > 0) {
            if line == "\r\n" {
                let (head, body) = (&b"HTTP/1.1 200 OK\r\ncontent-Length: 6\r\n\r\nab"[..], &b"cdef"[..]);
                let stream = reader.get_mut();
                if stream.write_all(head).and_then(|()| stream.write_all(body)).is_err() {
                    return;
                }
            }
            line.clear();
        }
    }

    #[test]
    fn a_closed_connection_is_an_error_that_says_when() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab").unwrap();
        });
        let request =
            |_: usize, _: u64, into: &mut Vec<u8>| into.extend(crate::web::request("GET", "/", None));
        let time = Duration::from_secs(20);
        let load = Load { port, connections: 1, warm_up: Duration::ZERO, time, request: &request };
        let error = load.run().unwrap_err().to_string();
        server.join().unwrap();
        assert!(error.contains("after request 1 on it, of whose answer came 2 bytes of 6"), "{error}");
    }

    #[test]
    fn answers_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(|| answer_in_pieces(listener));
        let request =
            |_: usize, _: u64, into: &mut Vec<u8>| into.extend(crate::web::request("GET", "/", None));
        let time = Duration::from_millis(50);
        let load = Load { port, connections: 1, warm_up: Duration::ZERO, time, request: &request };
        let measured = load.run().unwrap();
        server.join().unwrap();
        assert!(measured.answers > 0 && measured.refused == 0, "{measured:?}");
        assert_eq!(measured.bytes, measured.answers * 6);
    }
}
