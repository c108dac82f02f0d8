//! Runs one Docker container in the foreground, for the keeper.
//!
//! ```text
//! keeper ── starts ──► marathon docker-run --spec FILE ── HTTP over a Unix socket ──► dockerd
//!        ◄─ fd 3: what is going on, one `Said` per line
//!        ◄─ stdout, stderr: those of the container
//!        ◄─ exit code: that of the container
//!        ── SIGTERM: stop it, and kill it after the grace period
//! ```
//! A container thus looks to the keeper like any other process, and log rotation, adoption after a
//! restart of the server, the failover timeout and the escalation of kills need no second
//! implementation. The price is one small process per container.
//!
//! The Docker Engine API is spoken by hand: a dozen calls whose answers are read field by field, so
//! that daemons much older and much newer than this program (and podman) can be talked to.

mod api;
mod body;
mod logs;
mod parameters;
mod quantity;
mod registry;
mod report;
mod run;
mod spec;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use api::{Docker, Found, Version};
pub use registry::Credentials;
pub use run::main;
pub use spec::{Limits, OWNER_LABEL, RunSpec, SANDBOX, Said, TASK_LABEL, container_name, exit};
pub use wire::DockerError;

/// Where the daemon listens unless told otherwise: `DOCKER_HOST`, when it names a Unix socket, or the
/// usual place.
pub fn default_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    PathBuf::from(host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock"))
}

/// Asks the daemon who it is; the error is a sentence for the users of an app that needs Docker.
pub async fn is_available(socket: &Path) -> Result<Version, String> {
    Docker::new(socket).version().await.map_err(|it| it.to_string())
}

/// Runs a command inside a container and gives its exit code. A command that takes longer is killed.
pub async fn exec_in(
    socket: &Path,
    container: &str,
    argv: &[String],
    timeout: Duration,
) -> Result<i32, DockerError> {
    Docker::new(socket).exec(container, argv, timeout).await
}
