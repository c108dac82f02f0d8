//! A recording of bytes, read as the requests, answers and frames that they are.
//!
//! A call that went over the connection of the event stream becomes a request of its own: the simulation answers
//! requests, and who may answer when on one connection is up to the HTTP server in front of it.

use marathon_mesos_v1::record;
use marathon_mesos_v1::transcript::{Headers, Line, What};

const SCHEDULER_PORT: u16 = 15050;

pub fn cooked(lines: Vec<Line>) -> Result<Vec<Line>, String> {
    let mut all = Vec::new();
    let mut calls = 0;
    for line in lines {
        let What::Other(value) = &line.what else {
            all.push(line);
            continue;
        };
        let data = value["data"].as_str().unwrap_or_default();
        let call = format!("{}, call {calls}", line.connection);
        let put = |connection: &str, what| Line { at: line.at, connection: connection.to_owned(), what };
        match value["dir"].as_str() {
            Some("raw_out") => {
                calls += 1;
                let (first, headers, body) = head(data)?;
                // The first one opens the stream.
                let name = if calls == 1 {
                    line.connection.clone()
                } else {
                    format!("{}, call {calls}", line.connection)
                };
                let body = body.as_bytes().to_vec();
                let what = What::Request { port: SCHEDULER_PORT, line: first.to_owned(), headers, body };
                all.push(put(&name, what));
            }
            Some("raw_in") if data.starts_with("HTTP/1.1 ") => {
                let (first, headers, body) = head(data)?;
                let status = first.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or("no status")?;
                let streamed = headers.get("Transfer-Encoding").is_some();
                let body = body.as_bytes().to_vec();
                let name = if streamed { &line.connection } else { &call };
                all.push(put(name, What::Response { status, headers, body, streamed }));
            }
            Some("raw_in") => {
                let mut rest = data;
                while !rest.is_empty() {
                    let (size, after) = rest.split_once("\r\n").ok_or("a chunk without a size")?;
                    let size = usize::from_str_radix(size, 16).map_err(|_| format!("`{size}` is no size"))?;
                    let chunk = after.get(..size).ok_or("a chunk that is cut off")?;
                    rest = after[size..].strip_prefix("\r\n").ok_or("a chunk without an end")?;
                    if size == 0 {
                        let (by, why) = ("server".to_owned(), "terminating chunk".to_owned());
                        all.push(put(&line.connection, What::Closed { by, why }));
                        continue;
                    }
                    let mut decoder = record::Decoder::default();
                    decoder.feed(chunk.as_bytes());
                    while let Some(data) = decoder.next_record().map_err(|it| it.to_string())? {
                        let what = What::Frame {
                            length_line: String::new(),
                            data: data.to_vec(),
                            chunks: vec![size],
                        };
                        all.push(put(&line.connection, what));
                    }
                }
            }
            _ => all.push(line),
        }
    }
    Ok(all)
}

fn head(data: &str) -> Result<(&str, Headers, &str), String> {
    let (head, body) = data.split_once("\r\n\r\n").ok_or("a head without an end")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let header = |it: &str| it.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok((first, Headers(lines.filter_map(header).collect()), body))
}
