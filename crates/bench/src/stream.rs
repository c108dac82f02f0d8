//! A reader of `/v2/events` that notes when each task was said to run.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::web::{Chunks, Client, read_head};

/// A `status_update_event`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub at: Instant,
    pub task: String,
    pub state: String,
}

pub struct Stream {
    news: Receiver<Status>,
}

impl Stream {
    /// Events published from now on arrive.
    pub fn open(port: u16) -> Outcome<Stream> {
        let mut client = Client::connect(port)?;
        client.begin(
            b"GET /v2/events?event_type=status_update_event HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
        )?;
        let mut reader = client.into_reader();
        let (status, _) = read_head(&mut reader)?;
        if status != 200 {
            return Err(format!("/v2/events answered {status}").into());
        }
        let (sender, news) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(Chunks::new(reader));
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(n) if n > 0) {
                if let Some(status) = parse(&line, Instant::now())
                    && sender.send(status).is_err()
                {
                    return;
                }
                line.clear();
            }
        });
        Ok(Stream { news })
    }

    /// The next update of this state, if it comes in time.
    pub fn next(&self, state: &str, limit: Duration) -> Outcome<Status> {
        let end = Instant::now() + limit;
        loop {
            match self.news.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(status) if status.state == state => return Ok(status),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(format!("no {state} within {limit:?}").into()),
                Err(RecvTimeoutError::Disconnected) => return Err("the event stream ended".into()),
            }
        }
    }
}

fn parse(line: &str, at: Instant) -> Option<Status> {
    let event: Value = serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()?;
    let text = |name: &str| event.get(name)?.as_str().map(str::to_owned);
    Some(Status { at, task: text("taskId")?, state: text("taskStatus")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let at = Instant::now();
        let running = Status { at, task: "t".into(), state: "TASK_RUNNING".into() };
        for (line, want) in [
            ("data: {\"taskId\":\"t\",\"taskStatus\":\"TASK_RUNNING\"}\n", Some(running)),
            ("data: {\"eventType\":\"event_stream_attached\"}\r\n", None),
            ("event: status_update_event\r\n", None),
            ("\r\n", None),
        ] {
            assert_eq!(parse(line, at), want, "{line}");
        }
    }
}
