//! As much of HTTP/1.1 as two connections to a master need: requests written back to back, answers read in
//! their order, and one answer that never ends.
//!
//! Masters take requests of one connection in the order they come, so pipelining gives order and speed at once;
//! a general client gives one of the two.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::Address;

/// An answer's head is shorter.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// Error texts are shown; nobody needs more of them.
const BODY_MAX: usize = 1 << 20;
/// One read from the socket.
const PIECE: usize = 64 << 10;

/// Where distributions keep the certificates that everybody trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Trusts what `ca` holds, or else what the system trusts.
pub fn tls(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let files: Vec<&Path> = match ca {
        Some(path) => vec![path],
        None => SYSTEM_ROOTS.iter().map(Path::new).filter(|it| it.exists()).take(1).collect(),
    };
    for path in files {
        let fail = |error: &dyn std::fmt::Display| {
            format!("cannot read certificates from {}: {error}", path.display())
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| fail(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| fail(&error))?;
            let added = roots.add(certificate);
            // A system's bundle may hold oddities; what was named for us must be right.
            if ca.is_some() {
                added.map_err(|error| fail(&error))?;
            }
        }
        if ca.is_some() && roots.is_empty() {
            return Err(format!("{} holds no certificate in PEM form", path.display()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

pub async fn dial(address: &Address, tls: &TlsConnector, limit: Duration) -> io::Result<Box<dyn Io>> {
    let connect = async {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        if !address.https {
            return Ok(Box::new(stream) as Box<dyn Io>);
        }
        let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?) as Box<dyn Io>)
    };
    match tokio::time::timeout(limit, connect).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the connection took too long")),
    }
}

/// A request, ready to be written.
pub fn request(out: &mut BytesMut, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    out.extend_from_slice(format!("POST {path} HTTP/1.1\r\n").as_bytes());
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
}

/// The beginning of an answer.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
enum Length {
    Known(usize),
    /// Chunks: what is left of the present one, if one has begun.
    Chunked(Option<usize>),
    UntilClosed,
    Over,
}

/// Reads answers. Every waiting method may be given up and called again: nothing is lost between.
pub struct Answers<R> {
    from: R,
    buffer: BytesMut,
    head: Option<Head>,
    length: Length,
    body: BytesMut,
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed in the middle of an answer")
}

impl<R: AsyncRead + Unpin> Answers<R> {
    pub fn new(from: R) -> Answers<R> {
        Answers { from, buffer: BytesMut::new(), head: None, length: Length::Over, body: BytesMut::new() }
    }

    /// Reads more into the buffer; `false` at the end.
    async fn more(&mut self) -> io::Result<bool> {
        self.buffer.reserve(PIECE);
        Ok(self.from.read_buf(&mut self.buffer).await? > 0)
    }

    /// The head of the next answer; afterwards its body is read by `piece` or `body`.
    pub async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(head) = self.parse_head()? {
                // 1xx announce an answer.
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(bad("the head of an answer is too long"));
            }
            if !self.more().await? {
                return Err(match self.buffer.is_empty() {
                    true => io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"),
                    false => cut_off(),
                });
            }
        }
    }

    fn parse_head(&mut self) -> io::Result<Option<Head>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let length = match answer.parse(&self.buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(bad(format!("this is not HTTP: {error}"))),
        };
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        let head = Head {
            status: answer.code.unwrap_or_default(),
            headers: answer.headers.iter().map(|it| (it.name.to_owned(), text(it.value))).collect(),
        };
        self.buffer.advance(length);
        let chunked = head.get("transfer-encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked"));
        self.length = match head.get("content-length") {
            _ if head.status < 200 || matches!(head.status, 204 | 304) => Length::Over,
            _ if chunked => Length::Chunked(None),
            Some(length) => {
                Length::Known(length.trim().parse().map_err(|_| bad("a Content-Length is a number"))?)
            }
            None => Length::UntilClosed,
        };
        Ok(Some(head))
    }

    /// The next piece of the body; `None` at its proper end.
    pub async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match &mut self.length {
                Length::Over | Length::Known(0) => {
                    self.length = Length::Over;
                    return Ok(None);
                }
                Length::Known(left) | Length::Chunked(Some(left)) if *left > 0 && !self.buffer.is_empty() => {
                    let piece = self.buffer.split_to((*left).min(self.buffer.len())).freeze();
                    *left -= piece.len();
                    return Ok(Some(piece));
                }
                Length::Chunked(Some(0)) => {
                    if self.skip_line_end()? {
                        self.length = Length::Chunked(None);
                        continue;
                    }
                }
                Length::Chunked(None) => match self.chunk_size()? {
                    Some(0) => {
                        self.length = Length::Over;
                        return Ok(None);
                    }
                    Some(size) => {
                        self.length = Length::Chunked(Some(size));
                        continue;
                    }
                    None => {}
                },
                Length::UntilClosed if !self.buffer.is_empty() => {
                    return Ok(Some(self.buffer.split().freeze()));
                }
                Length::UntilClosed | Length::Known(_) | Length::Chunked(Some(_)) => {}
            }
            if !self.more().await? {
                return match self.length {
                    Length::UntilClosed => {
                        self.length = Length::Over;
                        Ok(None)
                    }
                    _ => Err(cut_off()),
                };
            }
        }
    }

    fn skip_line_end(&mut self) -> io::Result<bool> {
        if self.buffer.len() < 2 {
            return Ok(false);
        }
        if !self.buffer.starts_with(b"\r\n") {
            return Err(bad("a chunk does not end where it should"));
        }
        self.buffer.advance(2);
        Ok(true)
    }

    /// The size of the chunk that begins; the last one, of size 0, is taken with all that follows it.
    fn chunk_size(&mut self) -> io::Result<Option<usize>> {
        let (end, size) = match httparse::parse_chunk_size(&self.buffer) {
            Ok(httparse::Status::Complete(it)) => it,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(bad("the size of a chunk is no number")),
        };
        let size = usize::try_from(size).map_err(|_| bad("a chunk is too long"))?;
        if size == 0 {
            // No trailers are ever sent here, so an empty line is all that follows.
            if self.buffer.len() < end + 2 {
                return Ok(None);
            }
            self.buffer.advance(end + 2);
        } else {
            self.buffer.advance(end);
        }
        Ok(Some(size))
    }

    /// The rest of the body, as a text for people; what is too long is cut.
    pub async fn text(&mut self) -> io::Result<String> {
        while let Some(piece) = self.piece().await? {
            let room = BODY_MAX.saturating_sub(self.body.len());
            self.body.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let body = self.body.split();
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    }

    /// The next answer, whole.
    pub async fn answer(&mut self) -> io::Result<(Head, String)> {
        if self.head.is_none() {
            self.head = Some(self.head().await?);
        }
        let text = self.text().await?;
        Ok((self.head.take().unwrap_or_default(), text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: &[&[u8]]) -> Vec<String> {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|it| it.to_vec()).collect();
        let writing = tokio::spawn(async move {
            for piece in pieces {
                // Nobody reads on behind what cannot be read.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut theirs, &piece).await;
            }
        });
        let mut answers = Answers::new(ours);
        let mut all = Vec::new();
        loop {
            match answers.answer().await {
                Ok((head, text)) => all.push(format!("{} {text}", head.status)),
                Err(error) => {
                    all.push(error.to_string());
                    break;
                }
            }
        }
        drop(answers);
        writing.await.expect("written");
        all
    }

    #[tokio::test]
    async fn answers_are_read_in_their_order() {
        let stream = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nHTTP/1.1 400 Bad\r\ncontent-length: 3\r\n\r\nwhy\
            HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n\
            HTTP/1.1 503 Busy\r\n\r\nuntil the end";
        let want = ["202 ", "400 why", "200 abcde", "503 until the end", "the connection was closed"];
        assert_eq!(read(&[stream]).await, want);
        for cut in 1..stream.len() {
            assert_eq!(read(&[&stream[..cut], &stream[cut..]]).await, want, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_said_so() {
        for (stream, want) in [
            (&b"SSH-2.0-OpenSSH\r\n\r\n"[..], "this is not HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "a Content-Length is a number"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "the size of a chunk is no number",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
                "a chunk does not end where it should",
            ),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "the connection was closed in the middle"),
        ] {
            let got = read(&[stream]).await;
            assert!(got[0].starts_with(want), "{got:?} for {want}");
        }
    }
}
