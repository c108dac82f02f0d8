//! The server's side: finds the keeper of a data folder, or starts one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::protocol::{Event, Lifetime, PROTOCOL, Refusal, Request};
use crate::{socket, start};

/// Longest time a keeper may take to come up and to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// Longest event: a `Welcome` with tens of thousands of tasks.
const EVENT_MAX: u64 = 256 << 20;

/// How a keeper begins to say that it serves another one.
pub const IN_USE: &str = "another server uses";

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("cannot use the folder {} for a keeper", dir.display())]
    Folder { dir: PathBuf, source: io::Error },
    #[error("cannot start a keeper with {}", executable.display())]
    Start { executable: PathBuf, source: io::Error },
    #[error("no keeper came up in {}: {why}; {}/keeper.log may tell more", dir.display(), dir.display())]
    NotUp { dir: PathBuf, why: String },
    #[error("the keeper refuses: {why}")]
    Refused { why: String },
    #[error("the keeper answered with something else than a welcome: {text}")]
    Strange { text: String },
    #[error("the connection to the keeper is lost")]
    Lost { source: io::Error },
}

impl KeeperError {
    /// Another server has the keeper, and may let it go.
    pub fn is_in_use(&self) -> bool {
        matches!(self, KeeperError::Refused { why } if why.starts_with(IN_USE))
    }
}

/// The writing half. Dropping it ends the connection, for the reading half too.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

/// The reading half: an iterator that ends with the connection. The first event is `Welcome`.
#[derive(Debug)]
pub struct Events {
    first: Option<Event>,
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Client {
    /// Connects to the keeper of `dir`. When none runs, starts `executable keeper --dir <dir>`, detached
    /// from this process. A running one of another `build` becomes `executable` first. Blocks, for ten
    /// seconds at most.
    pub fn connect(
        dir: &Path,
        executable: &Path,
        build: &str,
        lifetime: Lifetime,
    ) -> Result<(Client, Events), KeeperError> {
        let folder = |source| KeeperError::Folder { dir: dir.to_owned(), source };
        let dir = start::prepare_dir(dir).map_err(folder)?;
        let executable = std::path::absolute(executable)
            .map_err(|source| KeeperError::Start { executable: executable.to_owned(), source })?;
        let hello = Request::Hello {
            protocol: PROTOCOL,
            build: build.to_owned(),
            executable: executable.clone(),
            lifetime,
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let trouble = match socket::connect(&dir) {
                Ok(stream) => match greet(stream, &hello) {
                    // It was just leaving.
                    Err(KeeperError::Lost { source }) => source.to_string(),
                    done => return done,
                },
                Err(error) if absent(&error) => {
                    start_keeper(&dir, &executable, build)?;
                    error.to_string()
                }
                Err(source) => return Err(KeeperError::Folder { dir, source }),
            };
            if Instant::now() >= until {
                return Err(KeeperError::NotUp { dir, why: trouble });
            }
            std::thread::sleep(PAUSE);
        }
    }

    pub fn send(&mut self, request: &Request) -> Result<(), KeeperError> {
        self.send_all(std::slice::from_ref(request))
    }

    /// All in one write; the keeper writes the starts among them down together.
    pub fn send_all(&mut self, requests: &[Request]) -> Result<(), KeeperError> {
        let mut text = Vec::new();
        for request in requests {
            serde_json::to_writer(&mut text, request)
                .map_err(|error| KeeperError::Lost { source: error.into() })?;
            text.push(b'\n');
        }
        self.stream.write_all(&text).map_err(|source| KeeperError::Lost { source })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Events {
    /// Waits for the next event. Ones that only a newer keeper knows are passed over.
    pub fn next_event(&mut self) -> Result<Event, KeeperError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            self.line.clear();
            read_line(&mut self.reader, &mut self.line)?;
            match serde_json::from_slice(&self.line) {
                Ok(event) => return Ok(event),
                Err(error) if error.is_data() => {}
                Err(error) => return Err(KeeperError::Lost { source: error.into() }),
            }
            // A welcome may have been large.
            self.line.shrink_to(64 * 1024);
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.next_event().ok()
    }
}

fn read_line(reader: &mut BufReader<UnixStream>, line: &mut Vec<u8>) -> Result<(), KeeperError> {
    let read = reader.by_ref().take(EVENT_MAX).read_until(b'\n', line);
    read.map_err(|source| KeeperError::Lost { source })?;
    match line.last() {
        Some(b'\n') => Ok(()),
        _ => Err(KeeperError::Lost { source: io::ErrorKind::UnexpectedEof.into() }),
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn greet(stream: UnixStream, hello: &Request) -> Result<(Client, Events), KeeperError> {
    let lost = |source| KeeperError::Lost { source };
    stream.set_read_timeout(Some(PATIENCE)).map_err(lost)?;
    let reader = BufReader::new(stream.try_clone().map_err(lost)?);
    let mut client = Client { stream };
    let mut events = Events { first: None, reader, line: Vec::new() };
    client.send(hello)?;
    read_line(&mut events.reader, &mut events.line)?;
    match serde_json::from_slice(&events.line) {
        Ok(welcome @ Event::Welcome { .. }) => events.first = Some(welcome),
        _ => {
            return Err(match serde_json::from_slice(&events.line) {
                Ok(Refusal::Refused { why }) => KeeperError::Refused { why },
                Err(_) => KeeperError::Strange {
                    text: String::from_utf8_lossy(&events.line).chars().take(200).collect(),
                },
            });
        }
    }
    client.stream.set_read_timeout(None).map_err(lost)?;
    Ok((client, events))
}

fn start_keeper(dir: &Path, executable: &Path, build: &str) -> Result<(), KeeperError> {
    let failed = |source| KeeperError::Start { executable: executable.to_owned(), source };
    let mut command = Command::new(executable);
    command.arg("keeper").arg("--dir").arg(dir).args(["--build", build, "--detach"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut answer = String::new();
    // Ends when the keeper has answered, or when all that could have answered are gone.
    let read = match child.stdout.take() {
        Some(stdout) => BufReader::new(stdout).take(100).read_line(&mut answer),
        None => Ok(0),
    };
    let output = child.wait_with_output().map_err(failed)?;
    read.map_err(failed)?;
    match answer.trim() {
        start::READY | start::TAKEN => Ok(()),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let why = if said.is_empty() { "it ended without an answer".to_owned() } else { said };
            Err(KeeperError::NotUp { dir: dir.to_owned(), why })
        }
    }
}
