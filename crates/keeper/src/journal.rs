//! The keeper's memory: what it must know again after its own death.
//!
//! One append-only file of JSON lines. There is no fsync: the file has to survive the keeper, not the
//! machine, whose end is the end of all tasks anyway. A start is written down before it happens, so
//! whatever runs is always found again. When the file has grown well past what is alive, it is written
//! anew beside itself and renamed over.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::protocol::{End, Lifetime};

/// Number of a task in this data folder, never used twice; names its pipes and its cgroup, so that no
/// text from outside becomes part of a path.
pub type Slot = u64;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Which boot the pids below belong to, and the least slot never used.
    Boot {
        id: String,
        next: Slot,
    },
    Lifetime(Lifetime),
    /// Written before the start.
    Intent {
        slot: Slot,
        task: String,
        kept: Box<Kept>,
    },
    Running {
        slot: Slot,
        pid: i32,
        started: u64,
    },
    Asked {
        slot: Slot,
        asked: Asked,
    },
    Said {
        slot: Slot,
        line: String,
    },
    Ended {
        slot: Slot,
        end: End,
    },
    Forgotten {
        slot: Slot,
    },
}

/// What is needed of a task once it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(default)]
    pub tag: String,
    pub stdout: PathBuf,
    pub stderr: PathBuf,
    pub log_bytes: u64,
    pub log_files: u32,
    /// Owner of the log files.
    pub owner: Option<(u32, u32)>,
    pub reports: bool,
    pub group: Option<Group>,
    /// Folder of its named pipes.
    pub pipes: PathBuf,
}

/// A kill under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When SIGKILL is due, in milliseconds since boot.
    pub kill_at: u64,
    /// A `Kill` of the server, rather than the end of the server.
    pub by_server: bool,
}

/// One task as the journal tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    pub task: String,
    pub kept: Kept,
    pub process: Option<(i32, u64)>,
    pub asked: Option<Asked>,
    pub said: Option<String>,
    pub end: Option<End>,
}

/// The whole journal.
#[derive(Debug, Default, PartialEq)]
pub struct Story {
    pub boot: String,
    pub next: Slot,
    pub lifetime: Option<Lifetime>,
    pub tasks: BTreeMap<Slot, Saved>,
    /// Lines that could not be read: the torn last one, or ones of a newer version.
    pub unread: usize,
}

impl Story {
    pub fn read(bytes: &[u8]) -> Story {
        let mut story = Story::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|it| !it.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(record) => story.apply(record),
                Err(_) => story.unread += 1,
            }
        }
        story
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Boot { id, next } => (self.boot, self.next) = (id, self.next.max(next)),
            Record::Lifetime(lifetime) => self.lifetime = Some(lifetime),
            Record::Intent { slot, task, kept } => {
                self.next = self.next.max(slot + 1);
                let saved = Saved { task, kept: *kept, process: None, asked: None, said: None, end: None };
                self.tasks.insert(slot, saved);
            }
            Record::Running { slot, pid, started } => {
                self.change(slot, |it| it.process = Some((pid, started)))
            }
            Record::Asked { slot, asked } => self.change(slot, |it| it.asked = Some(asked)),
            Record::Said { slot, line } => self.change(slot, |it| it.said = Some(line)),
            Record::Ended { slot, end } => self.change(slot, |it| it.end = Some(end)),
            Record::Forgotten { slot } => drop(self.tasks.remove(&slot)),
        }
    }

    fn change(&mut self, slot: Slot, by: impl FnOnce(&mut Saved)) {
        self.tasks.get_mut(&slot).map(by);
    }
}

/// The file, open for appending. Records gather until `flush`.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    waiting: Vec<u8>,
    size: u64,
    compacted_size: u64,
}

/// Below this a journal is never worth rewriting.
const SMALL: u64 = 1 << 20;

impl Journal {
    /// Reads what is there; nothing is appended before the first `rewrite`.
    pub fn open(dir: &Path) -> io::Result<(Journal, Story)> {
        let path = dir.join("keeper.journal");
        let story = match fs::read(&path) {
            Ok(bytes) => Story::read(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Story::default(),
            Err(error) => return Err(error),
        };
        Ok((Journal { path, file: None, waiting: Vec::new(), size: 0, compacted_size: 0 }, story))
    }

    pub fn put(&mut self, record: &Record) {
        write_line(&mut self.waiting, record);
    }

    /// Hands what has gathered to the kernel, which keeps it beyond the keeper's death. After an error
    /// (a full disk) the file may end in a torn line, so it is not used again until it is rewritten.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() && self.file.is_some() {
            return Ok(());
        }
        let Some(file) = &mut self.file else {
            self.waiting.clear();
            return Err(io::Error::other("the journal could not be written before"));
        };
        let done = file.write_all(&self.waiting);
        self.size += self.waiting.len() as u64;
        self.waiting.clear();
        if done.is_err() {
            self.file = None;
        }
        done
    }

    pub fn wants_rewrite(&self) -> bool {
        self.file.is_none() || self.size > SMALL.max(self.compacted_size.saturating_mul(4))
    }

    /// Replaces the file by `records`, whole or not at all.
    pub fn rewrite<'a>(&mut self, records: impl Iterator<Item = Record> + 'a) -> io::Result<()> {
        self.waiting.clear();
        let fresh = self.path.with_extension("journal.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        let mut text = Vec::new();
        let mut size = 0;
        for record in records {
            write_line(&mut text, &record);
            if text.len() > 64 * 1024 {
                file.write_all(&text)?;
                size += text.len() as u64;
                text.clear();
            }
        }
        file.write_all(&text)?;
        fs::rename(&fresh, &self.path)?;
        self.size = size + text.len() as u64;
        self.compacted_size = self.size;
        self.file = Some(file);
        Ok(())
    }
}

fn write_line(to: &mut Vec<u8>, record: &Record) {
    serde_json::to_writer(&mut *to, record).expect("records are plain data, and memory takes all writes");
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::How;

    fn kept() -> Kept {
        Kept {
            tag: "tag".to_owned(),
            stdout: "/box/stdout".into(),
            stderr: "/box/stderr".into(),
            log_bytes: 10,
            log_files: 2,
            owner: None,
            reports: false,
            group: None,
            pipes: "/pipes".into(),
        }
    }

    fn intent(slot: Slot) -> Record {
        Record::Intent { slot, task: format!("t{slot}"), kept: Box::new(kept()) }
    }

    fn end() -> End {
        End { how: How::Exited { code: 3 }, out_of_memory: false, asked: true, at_ms: 5 }
    }

    fn life() -> Vec<Record> {
        vec![
            Record::Boot { id: "b".to_owned(), next: 4 },
            intent(4),
            Record::Running { slot: 4, pid: 77, started: 99 },
            Record::Said { slot: 4, line: "ready".to_owned() },
            Record::Asked { slot: 4, asked: Asked { kill_at: 8, by_server: true } },
            Record::Ended { slot: 4, end: end() },
            intent(5),
            Record::Forgotten { slot: 5 },
        ]
    }

    fn expected() -> Story {
        let saved = Saved {
            task: "t4".to_owned(),
            kept: kept(),
            process: Some((77, 99)),
            asked: Some(Asked { kill_at: 8, by_server: true }),
            said: Some("ready".to_owned()),
            end: Some(end()),
        };
        Story { boot: "b".to_owned(), next: 6, lifetime: None, tasks: [(4, saved)].into(), unread: 0 }
    }

    #[test]
    fn a_story_is_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, story) = Journal::open(dir.path()).unwrap();
        assert_eq!(story, Story::default());
        journal.rewrite(life().into_iter().take(1)).unwrap();
        life().iter().skip(1).for_each(|it| journal.put(it));
        journal.flush().unwrap();
        assert_eq!(Journal::open(dir.path()).unwrap().1, expected());
    }

    /// Cut at every byte: what was whole is kept, nothing is misread, slots are not used again.
    #[test]
    fn a_torn_end_costs_only_itself() {
        let mut bytes = Vec::new();
        life().iter().for_each(|it| write_line(&mut bytes, it));
        for cut in 0..bytes.len() {
            let whole = bytes[..cut].iter().filter(|it| **it == b'\n').count();
            let story = Story::read(&bytes[..cut]);
            let mut known = Story::default();
            life().into_iter().take(whole + usize::from(bytes[cut] == b'\n')).for_each(|it| known.apply(it));
            assert_eq!(Story { unread: 0, ..story }, known, "cut at {cut}");
        }
    }

    #[test]
    fn unknown_lines_are_skipped() {
        let mut bytes = b"\xff\xfe\n{\"later\":{\"x\":1}}\n".to_vec();
        life().iter().for_each(|it| write_line(&mut bytes, it));
        assert_eq!(Story::read(&bytes), Story { unread: 2, ..expected() });
    }

    #[test]
    fn a_grown_journal_wants_rewriting() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        assert!(journal.wants_rewrite());
        journal.rewrite(std::iter::empty()).unwrap();
        assert!(!journal.wants_rewrite());
        let line = "x".repeat(1000);
        (0..1100).for_each(|_| journal.put(&Record::Said { slot: 1, line: line.clone() }));
        journal.flush().unwrap();
        assert!(journal.wants_rewrite());
    }
}
