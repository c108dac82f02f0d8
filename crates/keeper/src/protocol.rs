//! What the server and the keeper say to each other: one JSON object per line over a Unix socket.
//!
//! The keeper may be older than the server that talks to it (tasks outlive an upgrade), so fields are
//! only ever added, with defaults, and `PROTOCOL` grows when a meaning changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Version of this protocol.
pub const PROTOCOL: u32 = 1;

/// Server to keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// First on every connection; answered by `Welcome`. A keeper built from another binary first
    /// replaces itself by `executable` (same pid, same children) and then answers.
    Hello {
        protocol: u32,
        build: String,
        executable: PathBuf,
        lifetime: Lifetime,
    },
    Launch {
        task: String,
        process: Box<Process>,
    },
    /// SIGTERM to the whole process tree, SIGKILL after the grace period. Repeating it is harmless.
    Kill {
        task: String,
        grace_ms: u64,
    },
    /// The end of this task is stored elsewhere: drop its record, its cgroups and its pipes.
    Forget {
        task: String,
    },
    /// Ends the keeper; with `kill` all tasks first.
    Shutdown {
        kill: bool,
    },
}

/// How long tasks live on without a server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lifetime {
    /// `false` (`--disable_checkpoint`): tasks end as soon as the server's connection does.
    pub checkpoint: bool,
    /// Seconds without a server after which all tasks are ended (`--failover_timeout`).
    pub failover_secs: f64,
}

/// Everything needed to start one process; nothing in here needs the server again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Program (looked up in the `PATH` of `env` when it has no slash) and arguments.
    pub argv: Vec<String>,
    /// The complete environment.
    pub env: Vec<(String, String)>,
    /// The sandbox: working directory, owned by the task's user.
    pub cwd: PathBuf,
    pub identity: Option<Identity>,
    /// Log files; rotated to `<name>.1`, `<name>.2`, … at `log_bytes`, at most `log_files` old ones.
    pub stdout: PathBuf,
    pub stderr: PathBuf,
    pub log_bytes: u64,
    pub log_files: u32,
    /// Limits for the cgroup of the task; absent where none are wanted.
    pub limits: Option<Limits>,
    /// Opens a pipe whose write end is file descriptor 3 of the process; each line it writes there
    /// comes back as `Said`. The process counts as started when it says so, not when it is executed.
    #[serde(default)]
    pub reports: bool,
    /// The network namespace to live in, as `/proc/<pid>/ns/net`; a pod's containers share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<PathBuf>,
    /// Opaque text of the server, handed back in `TaskReport`.
    #[serde(default)]
    pub tag: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Relative weight in thousandths of a cpu.
    pub cpu_shares_milli: u64,
    /// Hard limit in thousandths of a cpu.
    pub cpu_quota_milli: Option<u64>,
    pub memory_bytes: Option<u64>,
}

/// Keeper to server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// All tasks the keeper knows, running or ended and not yet forgotten.
    Welcome {
        protocol: u32,
        build: String,
        pid: u32,
        cgroups: Cgroups,
        tasks: Vec<TaskReport>,
    },
    Started {
        task: String,
        pid: u32,
    },
    /// A line the process wrote to its report pipe.
    Said {
        task: String,
        line: String,
    },
    Ended {
        task: String,
        end: End,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    pub task: String,
    pub tag: String,
    pub pid: Option<u32>,
    /// The last line said, if any.
    pub said: Option<String>,
    pub end: Option<End>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub how: How,
    /// The kernel killed it for using more memory than its limit.
    #[serde(default)]
    pub out_of_memory: bool,
    /// A `Kill` had been asked for.
    #[serde(default)]
    pub asked: bool,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Exited {
        code: i32,
    },
    Signaled {
        signal: i32,
    },
    NotStarted {
        error: String,
    },
    /// It is gone and nobody saw how: the keeper itself had died, or the machine was rebooted.
    Vanished {
        why: String,
    },
}

/// What the keeper can enforce on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cgroups {
    V1,
    V2,
    /// Limits are not enforced, with the reason.
    None {
        why: String,
    },
}

/// The answer to a `Hello` that cannot be accepted; the connection ends with it. Apart from `Event`,
/// because it is no news of a task and `Client::connect` turns it into an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Refused { why: String },
}
