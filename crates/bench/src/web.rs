//! A small blocking HTTP/1.1 client: one connection, one request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Outcome;

/// No answer of this program takes that long; without a limit a hung server would hang the bench.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A port nobody listens on right now.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In the order and spelling of the server.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1.as_str())
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
    match body {
        Some(body) => text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )),
        None => text.push_str("\r\n"),
    }
    text.into_bytes()
}

pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(local(port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Client { reader: BufReader::with_capacity(256 * 1024, stream) })
    }

    pub fn send(&mut self, method: &str, path: &str, body: Option<&str>) -> Outcome<Answer> {
        self.reader.get_mut().write_all(&request(method, path, body))?;
        let (status, headers) = read_head(&mut self.reader)?;
        let body = if find(&headers, "transfer-encoding").is_some() {
            let mut body = Vec::new();
            Chunks::new(&mut self.reader).read_to_end(&mut body)?;
            body
        } else {
            let length = find(&headers, "content-length").unwrap_or("0").parse()?;
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body)?;
            body
        };
        Ok(Answer { status, headers, body })
    }

    pub fn get(&mut self, path: &str) -> Outcome<Answer> {
        self.send("GET", path, None)
    }

    /// Sends and insists on success.
    pub fn want(&mut self, method: &str, path: &str, body: Option<&str>) -> Outcome<Answer> {
        let answer = self.send(method, path, body)?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!("{method} {path}: {} {text}", answer.status).into());
        }
        Ok(answer)
    }

    pub fn into_reader(self) -> BufReader<TcpStream> {
        self.reader
    }

    /// Sends without waiting for the answer.
    pub fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }
}

type Head = (u16, Vec<(String, String)>);

pub fn read_head(reader: &mut impl BufRead) -> Outcome<Head> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_ascii_whitespace().nth(1).ok_or("no answer")?.parse()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Ok((status, headers)),
        }
    }
}

/// The content of a chunked body.
pub struct Chunks<R> {
    inner: R,
    left: usize,
    ended: bool,
}

impl<R: BufRead> Chunks<R> {
    pub fn new(inner: R) -> Chunks<R> {
        Chunks { inner, left: 0, ended: false }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.inner.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        self.left = usize::from_str_radix(size, 16).map_err(|_| io::Error::other("no chunk size"))?;
        if self.left == 0 {
            self.ended = true;
            self.end_line()?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.inner.read_line(&mut String::new()).map(drop)
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended {
            return Ok(0);
        }
        let most = into.len().min(self.left);
        let n = self.inner.read(&mut into[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n;
        if self.left == 0 {
            self.end_line()?;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks() {
        let mut body = String::new();
        let bytes = &b"3\r\nabc\r\n5;x=y\r\ndefgh\r\n0\r\n\r\nrest"[..];
        let mut reader = bytes;
        Chunks::new(&mut reader).read_to_string(&mut body).unwrap();
        assert_eq!((body.as_str(), reader), ("abcdefgh", &b"rest"[..]));
        assert!(Chunks::new(&b"5\r\nab"[..]).read_to_string(&mut body).is_err());
    }

    #[test]
    fn heads() {
        let mut bytes = &b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX: a:b\r\n\r\n{}"[..];
        let (status, headers) = read_head(&mut bytes).unwrap();
        assert_eq!(
            (status, find(&headers, "content-length"), find(&headers, "x")),
            (201, Some("2"), Some("a:b"))
        );
        assert_eq!(bytes, b"{}");
    }
}
