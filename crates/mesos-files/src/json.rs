//! What masters and agents answer, as far as it matters here.

use std::fmt;

use bytes::Bytes;
use marathon_files::{Entry, PIECE_BYTES_MAX, Refused};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// A character may take six as an escape.
pub const PIECE_ANSWER_BYTES_MAX: usize = PIECE_BYTES_MAX as usize * 6 + 1024;
pub const LISTING_BYTES_MAX: usize = 8 << 20;
pub const AGENTS_BYTES_MAX: usize = 64 << 20;
pub const TASKS_BYTES_MAX: usize = 16 << 20;
pub const STATE_BYTES_MAX: usize = 64 << 20;

pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        Refused::Unavailable(format!("Mesos answers with something else than expected: {error}"))
    })
}

#[derive(Debug, Deserialize)]
pub struct PieceAnswer {
    #[serde(deserialize_with = "bytes_of_string")]
    pub data: Bytes,
    pub offset: u64,
}

/// Agents write the bytes of a file into the string as they are, UTF-8 or not.
fn bytes_of_string<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    struct Raw;
    impl<'de> Visitor<'de> for Raw {
        type Value = Bytes;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
        fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(text.as_bytes()))
        }
    }
    from.deserialize_bytes(Raw)
}

pub fn piece(body: &[u8]) -> Result<PieceAnswer, Refused> {
    parse(body)
}

#[derive(Debug, Deserialize)]
pub struct Listed {
    path: String,
    #[serde(default)]
    nlink: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    mtime: f64,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    gid: String,
}

impl Listed {
    /// `folder` is what was listed; what an agent says of other folders does not belong here.
    pub fn entry(self, folder: &str) -> Option<Entry> {
        // An agent may name the folder by its real path instead.
        let name = match self.path.strip_prefix(folder) {
            Some(rest) => rest.trim_start_matches('/'),
            None => self.path.rsplit('/').next()?,
        };
        if name.is_empty() || name.contains('/') {
            return None;
        }
        Some(Entry {
            name: name.to_owned(),
            directory: self.mode.starts_with('d'),
            size: self.size,
            mtime: self.mtime as i64,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            link: None,
        })
    }
}

pub fn listing(body: &[u8]) -> Result<Vec<Listed>, Refused> {
    // Names may be no UTF-8.
    parse(String::from_utf8_lossy(body).as_bytes())
}

#[derive(Debug, Deserialize)]
pub struct Agents {
    #[serde(default)]
    pub slaves: Vec<AgentAt>,
}

#[derive(Debug, Deserialize)]
pub struct AgentAt {
    pub id: String,
    #[serde(default)]
    pub hostname: String,
    /// `slave(1)@10.0.0.7:5051`.
    #[serde(default)]
    pub pid: String,
}

#[derive(Debug, Deserialize)]
pub struct Tasks {
    #[serde(default)]
    pub tasks: Vec<TaskAt>,
}

#[derive(Debug, Deserialize)]
pub struct TaskAt {
    pub id: String,
    #[serde(default)]
    pub framework_id: String,
    #[serde(default)]
    pub slave_id: String,
}

/// An agent's state.
#[derive(Debug, Deserialize)]
pub struct State {
    #[serde(default)]
    frameworks: Vec<FrameworkAt>,
    #[serde(default)]
    completed_frameworks: Vec<FrameworkAt>,
}

#[derive(Debug, Deserialize)]
struct FrameworkAt {
    id: String,
    #[serde(default)]
    executors: Vec<ExecutorAt>,
    #[serde(default)]
    completed_executors: Vec<ExecutorAt>,
}

#[derive(Debug, Deserialize)]
struct ExecutorAt {
    id: String,
    #[serde(default)]
    directory: String,
}

impl State {
    /// The folders of all runs of these executors.
    pub fn folders(&self, framework: &str, executors: &[String]) -> Vec<String> {
        let frameworks =
            self.frameworks.iter().chain(&self.completed_frameworks).filter(|it| it.id == framework);
        let all = frameworks.flat_map(|it| it.executors.iter().chain(&it.completed_executors));
        let ours = all.filter(|it| executors.contains(&it.id) && it.directory.starts_with('/'));
        ours.map(|it| it.directory.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_as_they_are() {
        for (body, data) in [
            (&br#"{"data":"to-stdout\n","offset":0}"#[..], &b"to-stdout\n"[..]),
            (b"{\"data\":\"a\xFF\\u0000\\\"\xC3\",\"offset\":0}", b"a\xFF\0\"\xC3"),
            (br#"{"offset":7,"data":""}"#, b""),
        ] {
            assert_eq!(piece(body).unwrap().data, data);
        }
        piece(b"<html>").unwrap_err();
    }

    #[test]
    fn entries_have_the_name_below_their_folder() {
        let entry = |path: &str| {
            let body = format!(
                r#"[{{"path":"{path}","mode":"drwxr-xr-x","mtime":7.5,"nlink":1,"size":9,"uid":"a","gid":"b"}}]"#
            );
            let found = listing(body.as_bytes()).unwrap().remove(0).entry("/v/latest");
            found.map(|it| format!("{} {} {}", it.name, it.directory, it.mtime))
        };
        assert_eq!(entry("/v/latest/stdout").as_deref(), Some("stdout true 7"));
        assert_eq!(entry("/real/path/stdout").as_deref(), Some("stdout true 7"));
        assert_eq!(entry("/v/latest/a/b"), None);
        assert_eq!(entry("/v/latest"), None);
    }
}
