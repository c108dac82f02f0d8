//! What one step wants done.

use std::time::Duration;

use crate::command::Reply;
use crate::event::ProbeKey;
use crate::id::RequestId;
use crate::notice::Notice;
use crate::offer::Call;
use crate::write::Write;

/// Invariant: every write of a batch is durable before any of its acts leaves the process.
#[derive(Debug, Default, PartialEq)]
#[must_use = "an unexecuted batch is lost work"]
pub struct Batch {
    pub writes: Vec<Write>,
    pub acts: Vec<Act>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Engine(Call),
    Probe(Probe),
    Reply(RequestId, Reply),
    Publish(Notice),
}

/// One check to carry out over the network, once, now.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub key: ProbeKey,
    pub kind: ProbeKind,
    /// Name or address.
    pub host: String,
    pub port: u16,
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProbeKind {
    /// `keep_body`: how many bytes of the answer are wanted.
    Http {
        https: bool,
        path: String,
        keep_body: usize,
    },
    Tcp,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.acts.is_empty()
    }

    /// Appends what a later step wants; order is kept.
    pub fn append(&mut self, mut later: Batch) {
        self.writes.append(&mut later.writes);
        self.acts.append(&mut later.acts);
    }
}
