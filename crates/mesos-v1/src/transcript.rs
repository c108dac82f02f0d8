//! Reads a recorded conversation: one JSON object a line, in the order in which the recorder saw things.
//!
//! The README beside the recordings says what the fields mean.

use serde_json::Value;

/// Where the recordings are in a checkout; tests read them from there.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");

/// One line of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Seconds since the recording began.
    pub at: f64,
    /// The TCP connection, by the recorder's name for it; empty for notes.
    pub connection: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A remark of the recorder.
    Note(String),
    Request {
        port: u16,
        line: String,
        headers: Headers,
        body: Vec<u8>,
    },
    /// With `streamed`, the body follows as frames.
    Response {
        status: u16,
        headers: Headers,
        body: Vec<u8>,
        streamed: bool,
    },
    /// One record of a streamed answer, and the sizes of the chunks that it came in.
    Frame {
        length_line: String,
        data: Vec<u8>,
        chunks: Vec<usize>,
    },
    Closed {
        by: String,
        why: String,
    },
    /// Raw bytes, a node of ZooKeeper, or what else a recording holds.
    Other(Value),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads a whole recording; an error names the line.
pub fn parse(text: &str) -> Result<Vec<Line>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| read(line).map_err(|cause| format!("line {}: {cause}", at + 1))).collect()
}

fn read(line: &str) -> Result<Line, String> {
    let value: Value = serde_json::from_str(line).map_err(|it| it.to_string())?;
    let what = match text(&value, "dir").as_str() {
        "note" => What::Note(text(&value, "text")),
        "request" => What::Request {
            port: value["port"].as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or_default(),
            line: text(&value, "request_line"),
            headers: headers(&value),
            body: bytes(&value, "body")?,
        },
        "response" => What::Response {
            status: status(&text(&value, "status_line"))?,
            headers: headers(&value),
            body: bytes(&value, "body")?,
            streamed: value["streamed"].as_bool().unwrap_or(false),
        },
        "frame" => What::Frame {
            length_line: text(&value, "length_line"),
            data: bytes(&value, "data")?,
            chunks: numbers(&value["chunks"]),
        },
        "closed" => What::Closed { by: text(&value, "by"), why: text(&value, "why") },
        _ => What::Other(value.clone()),
    };
    Ok(Line { at: value["t"].as_f64().unwrap_or_default(), connection: text(&value, "conn"), what })
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn numbers(value: &Value) -> Vec<usize> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|it| usize::try_from(it.as_u64()?).ok()).collect()
}

fn headers(value: &Value) -> Headers {
    let pairs = value["headers"].as_array().into_iter().flatten();
    let pair = |it: &Value| Some((it[0].as_str()?.to_owned(), it[1].as_str()?.to_owned()));
    Headers(pairs.filter_map(pair).collect())
}

fn status(line: &str) -> Result<u16, String> {
    let code = line.split(' ').nth(1).and_then(|it| it.parse().ok());
    code.ok_or_else(|| format!("no status in `{line}`"))
}

/// A body is text under its name, or hexadecimal under the name with `_hex`.
fn bytes(value: &Value, name: &str) -> Result<Vec<u8>, String> {
    if let Some(text) = value[name].as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let digits = value[format!("{name}_hex")].as_str().unwrap_or_default();
    unhex(digits).ok_or_else(|| format!("`{name}_hex` is not hexadecimal"))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |it: u8| char::from(it).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|it| u8::try_from(digit(*it.first()?)? * 16 + digit(*it.get(1)?)?).ok()).collect()
}
