//! Everything that can happen to a leader. Closed on purpose: a new cause is a new variant.

use std::sync::Arc;

use crate::command::Command;
use crate::id::{RequestId, TaskId};
use crate::offer::EngineEvent;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Asked {
        from: RequestId,
        command: Command,
    },
    Engine(EngineEvent),
    Probed(ProbeResult),
    /// The moment named by `Core::next_wakeup` has come.
    Woke,
}

/// Which check of which task a probe belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeKey {
    pub task: TaskId,
    pub check: ProbeCheck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeCheck {
    /// Index into the app's health checks.
    Health(u32),
    Readiness,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProbeResult {
    pub key: ProbeKey,
    pub outcome: ProbeOutcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ProbeOutcome {
    /// A TCP connection was made.
    Connected,
    /// An HTTP answer arrived; what it means is for the core to say.
    Answered { status: u16, content_type: String, body: Arc<str> },
    /// No answer, with the reason.
    Failed { cause: Arc<str> },
}
