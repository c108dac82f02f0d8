//! A bare hyper server that gives one answer to everything: the limit for answers of these bytes.
//!
//! It runs as a process of its own (`marathon-bench raw-hyper FILE`), so that it can be bound to the same
//! processor as the server it is compared with.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::web::Answer;
use crate::{Outcome, procs};

pub const COMMAND: &str = "raw-hyper";

struct Canned {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// `args`: the file with the answer. Prints the port it listens on.
pub fn main(args: &[String]) -> Outcome<()> {
    let file = args.first().ok_or("usage: raw-hyper FILE")?;
    let canned = Arc::new(read(Path::new(file))?);
    // One thread, as the processor it is bound to has no more to give.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let canned = canned.clone();
            let service = service_fn(move |_| {
                let canned = canned.clone();
                async move { Ok::<_, Infallible>(canned.answer()) }
            });
            // The client ends connections as it likes.
            tokio::spawn(async move {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

impl Canned {
    fn answer(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// The headers hyper adds by itself.
const ADDED: [&str; 3] = ["date", "content-length", "connection"];

fn read(path: &Path) -> Outcome<Canned> {
    let mut reader = BufReader::new(std::fs::File::open(path)?);
    let (status, lines) = crate::web::read_head(&mut reader)?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().filter(|it| !ADDED.contains(&it.0.to_ascii_lowercase().as_str())) {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    let mut body = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut body)?;
    Ok(Canned { status: StatusCode::from_u16(status)?, headers, body: body.into() })
}

/// A running one.
pub struct Raw {
    child: Child,
    pub pid: i32,
    pub port: u16,
}

impl Raw {
    /// Gives what `answer` holds; `dir` is for the file that holds it.
    pub fn start(answer: &Answer, dir: &Path) -> Outcome<Raw> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        writeln!(file, "HTTP/1.1 {}\r", answer.status)?;
        for (name, value) in &answer.headers {
            writeln!(file, "{name}: {value}\r")?;
        }
        file.write_all(b"\r\n")?;
        file.write_all(&answer.body)?;
        file.flush()?;
        let (child, port) = start_self(&[COMMAND, &file.path().to_string_lossy()])?;
        let pid = i32::try_from(child.id())?;
        Ok(Raw { child, pid, port })
    }

    pub fn stop(self) -> Outcome<()> {
        stop(self.child)
    }
}

/// Starts this binary with other arguments and reads the port it prints.
pub fn start_self(args: &[&str]) -> Outcome<(Child, u16)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    procs::started(child.id());
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.trim().parse().map_err(|_| format!("{} did not start", args.join(" ")))?;
    Ok((child, port))
}

pub fn stop(mut child: Child) -> Outcome<()> {
    child.kill()?;
    child.wait()?;
    procs::reaped(i32::try_from(child.id())?);
    Ok(())
}
