//! What is to be run, and what is said about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use marathon_model::app::{PortMapping, Volume};
use marathon_model::offer::{Command, TaskNetwork};
use serde::{Deserialize, Serialize};

use crate::registry::Credentials;

/// Where the sandbox is inside the container.
pub const SANDBOX: &str = "/mnt/mesos/sandbox";
/// The label with the task's id, as users of the original know it.
pub const TASK_LABEL: &str = "MESOS_TASK_ID";
/// The label that tells which server's container it is: several servers may share one daemon.
pub const OWNER_LABEL: &str = "marathon.owner";

/// Exit codes of `docker-run` that are not the container's, as those of `docker run`.
pub mod exit {
    /// The container could not be made or watched.
    pub const FAILED: i32 = 125;
    /// Its command is not executable.
    pub const NOT_EXECUTABLE: i32 = 126;
    /// Its command does not exist.
    pub const NOT_FOUND: i32 = 127;
    /// Told to end before the container had started.
    pub const STOPPED_EARLY: i32 = 128 + 15;
}

/// Everything needed to run one container; complete, since the server may be gone by then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The Mesos task id.
    pub task: String,
    /// The container's name, see [`container_name`].
    pub container: String,
    /// Identity of the server (of its data directory), put on the container as [`OWNER_LABEL`].
    pub owner: String,
    pub image: String,
    #[serde(default)]
    pub force_pull: bool,
    #[serde(default)]
    pub privileged: bool,
    /// Options of the `docker run` command line, without leading dashes.
    #[serde(default)]
    pub parameters: Vec<(String, String)>,
    pub command: Command,
    #[serde(default)]
    pub env: Vec<(String, String)>,
    pub network: TaskNetwork,
    /// With their real host ports.
    #[serde(default)]
    pub mappings: Vec<PortMapping>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
    pub sandbox: PathBuf,
    #[serde(default)]
    pub limits: Limits,
    /// `None`: the image's own.
    #[serde(default)]
    pub user: Option<String>,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Used for the image's registry, whatever the files say.
    #[serde(default)]
    pub registry_auth: Option<Credentials>,
    /// A `config.json` of the Docker client to look for credentials in, after those of the sandbox and
    /// before that of the user who runs the server.
    #[serde(default)]
    pub docker_config: Option<PathBuf>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub tty: bool,
    /// A container of the same pod whose network this one joins; then `network` and `mappings` mean nothing.
    #[serde(default)]
    pub network_of: Option<String>,
    /// Replaces the entry point of the image; the command then has no say.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// `private`, `shareable`, `host` or `container:<name>`; `None`: as the daemon is set up.
    #[serde(default)]
    pub ipc: Option<String>,
    /// Of `/dev/shm`, in bytes.
    #[serde(default)]
    pub shm_bytes: Option<u64>,
    /// `unconfined`, or the text of a profile.
    #[serde(default)]
    pub seccomp: Option<String>,
    /// `None`: [`crate::default_socket`].
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// How long the daemon may be away while the container runs.
    #[serde(default = "patience")]
    pub patience: Duration,
}

fn patience() -> Duration {
    Duration::from_secs(120)
}

impl RunSpec {
    /// A spec of an image alone; the rest is for the caller to fill in.
    pub fn new(task: &str, image: &str, sandbox: PathBuf) -> RunSpec {
        RunSpec {
            task: task.to_owned(),
            container: container_name(task),
            owner: String::new(),
            image: image.to_owned(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
            command: Command::Image,
            env: Vec::new(),
            network: TaskNetwork::Bridge,
            mappings: Vec::new(),
            volumes: Vec::new(),
            sandbox,
            limits: Limits::default(),
            user: None,
            grace: Duration::from_secs(3),
            registry_auth: None,
            docker_config: None,
            labels: BTreeMap::new(),
            tty: false,
            network_of: None,
            entrypoint: Vec::new(),
            ipc: None,
            shm_bytes: None,
            seccomp: None,
            socket: None,
            patience: patience(),
        }
    }
}

/// Zero and `None` mean that nothing is asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Relative weight in thousandths of a cpu.
    pub cpu_shares_milli: u64,
    /// Hard limit in thousandths of a cpu.
    pub cpu_quota_milli: Option<u64>,
    /// Hard limit. Raised to 32 MiB where it is less, as the original's agent does: no container
    /// starts with less than a few of them.
    pub memory_bytes: Option<u64>,
    /// What was asked for, where the limit is higher or absent.
    pub memory_reservation_bytes: Option<u64>,
}

/// One line on the report pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The image is being fetched.
    Pulling,
    Started {
        pid: Option<u32>,
        addresses: Vec<String>,
        /// The container's name.
        container: String,
    },
    /// It did not start, or nobody can tell how it ended. The last line.
    Failed { message: String },
    /// The container ended by itself or was stopped. The last line; the process then ends with the
    /// same code.
    Ended { code: i32, out_of_memory: bool },
}

/// The name of a task's container: `mesos-` and what is unique in the task id.
///
/// `web_front.instance-<uuid>._app.1` becomes `mesos-<uuid>._app.1`.
pub fn container_name(task: &str) -> String {
    let unique = ["instance-", "marathon-"].iter().find_map(|mark| {
        let (_, rest) = task.split_once(&format!(".{mark}"))?;
        (36 <= rest.len()).then_some(rest)
    });
    let legal = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    format!("mesos-{}", unique.unwrap_or(task).chars().map(legal).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_and_unique() {
        let uuid = "0a1b2c3d-b2d0-11e5-9c11-0242ac110002";
        let check = |task: &str, name: &str| assert_eq!(container_name(task), name);
        check(&format!("web_front.instance-{uuid}._app.3"), &format!("mesos-{uuid}._app.3"));
        check(&format!("pod.instance-{uuid}.nginx.1"), &format!("mesos-{uuid}.nginx.1"));
        check(&format!("web.{uuid}"), &format!("mesos-web.{uuid}"));
        check("odd/ näme", "mesos-odd__n_me");
    }

    #[test]
    fn old_spec_files_are_read() {
        let text = r#"{"task":"t","container":"c","owner":"o","image":"i","command":"image",
            "network":"host","sandbox":"/s","grace":{"secs":3,"nanos":0}}"#;
        let spec: RunSpec = serde_json::from_str(text).unwrap();
        assert_eq!((spec.patience, spec.tty), (Duration::from_secs(120), false));
    }
}
