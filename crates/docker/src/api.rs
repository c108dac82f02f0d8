//! The calls of the Engine API that are used, each answer reduced to what is needed of it.

use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::registry::Reference;
use crate::spec::{OWNER_LABEL, TASK_LABEL};
use crate::wire::{Call, DockerError, SLOW, Wire, encode};

/// A line of pull progress longer than this is no progress.
const PROGRESS_MAX: usize = 1 << 20;
/// Harmless in a path: image names are made of these.
const IN_PATH: &str = "/:@+";

/// A daemon, by its socket. Nothing is connected until something is asked.
pub struct Docker {
    wire: Wire,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Of the daemon, as `20.10.24`.
    pub version: String,
    /// Of its API, as `1.41`.
    pub api: String,
}

/// A container that carries a server's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub name: String,
    /// Mesos task id.
    pub task: String,
    pub running: bool,
}

/// What an inspection says about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) running: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) exit_code: i32,
    pub(crate) out_of_memory: bool,
    /// Why it could not be run, if so.
    pub(crate) error: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) stop_signal: String,
    pub(crate) task: String,
}

impl Docker {
    pub fn new(socket: &Path) -> Docker {
        Docker { wire: Wire::new(socket) }
    }

    pub async fn version(&self) -> Result<Version, DockerError> {
        let answer = self.wire.version().await?;
        let text = |field: &str| text(&answer, field).to_owned();
        Ok(Version { version: text("Version"), api: text("ApiVersion") })
    }

    /// All containers of a server, running or not.
    pub async fn containers(&self, owner: &str) -> Result<Vec<Found>, DockerError> {
        self.list(&[format!("{OWNER_LABEL}={owner}")]).await
    }

    /// Ends and removes whatever this task left behind; gives how many containers that were.
    pub async fn remove_of_task(&self, owner: &str, task: &str) -> Result<usize, DockerError> {
        let labels = [format!("{OWNER_LABEL}={owner}"), format!("{TASK_LABEL}={task}")];
        let found = self.list(&labels).await?;
        for container in &found {
            self.remove(&container.id).await?;
        }
        Ok(found.len())
    }

    /// Kills a container if it runs and removes it with its anonymous volumes. One that is not there
    /// counts as removed.
    pub async fn remove(&self, container: &str) -> Result<(), DockerError> {
        let call = Call::delete(format!("/containers/{}", encode(container, "")));
        match self.wire.done(call.query("force", "1").query("v", "1").limit(SLOW)).await {
            // 409: somebody else is removing it.
            Err(error) if error.is_status(404) || error.is_status(409) => Ok(()),
            other => other,
        }
    }

    /// Runs a command inside a container and gives its exit code. Its output is dropped; one that takes
    /// longer than `timeout` is killed.
    pub async fn exec(
        &self,
        container: &str,
        argv: &[String],
        timeout: Duration,
    ) -> Result<i32, DockerError> {
        let body = json!({ "Cmd": argv, "AttachStdout": true, "AttachStderr": true });
        let made = Call::post(format!("/containers/{}/exec", encode(container, ""))).body(body);
        let made = self.wire.json(made.limit(timeout)).await?;
        let id = text(&made, "Id").to_owned();
        if let Ok(finished) = tokio::time::timeout(timeout, self.exec_to_end(&id)).await {
            return finished;
        }
        self.end_exec(&id).await;
        Err(DockerError::TooSlow(timeout))
    }

    async fn exec_to_end(&self, id: &str) -> Result<i32, DockerError> {
        let start = Call::post(format!("/exec/{}/start", encode(id, "")));
        let mut output =
            self.wire.open(start.body(json!({ "Detach": false, "Tty": false }))).await?.into_body();
        while let Some(Ok(_)) = output.frame().await {}
        // The output ends a moment before the daemon knows the code.
        loop {
            let state = self.wire.json(Call::get(format!("/exec/{}/json", encode(id, "")))).await?;
            let running = state.get("Running").and_then(Value::as_bool).unwrap_or(false);
            if let (false, Some(code)) = (running, state.get("ExitCode").and_then(Value::as_i64)) {
                return Ok(i32::try_from(code).unwrap_or(i32::MAX));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The API cannot end a command, but it tells the process id. Without the right to signal it, it
    /// stays until its container ends.
    async fn end_exec(&self, id: &str) {
        let Ok(state) = self.wire.json(Call::get(format!("/exec/{}/json", encode(id, "")))).await else {
            return;
        };
        let running = state.get("Running").and_then(Value::as_bool).unwrap_or(false);
        let pid = state.get("Pid").and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok());
        if let (true, Some(pid @ 2..)) = (running, pid) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }

    async fn list(&self, labels: &[String]) -> Result<Vec<Found>, DockerError> {
        let filters = json!({ "label": labels }).to_string();
        let answer =
            self.wire.json(Call::get("/containers/json").query("all", "1").query("filters", &filters));
        let answer = answer.await?;
        let list = answer.as_array().ok_or_else(|| DockerError::Garbled("the list is none".to_owned()))?;
        let found = list.iter().map(|it| Found {
            id: text(it, "Id").to_owned(),
            name: it
                .pointer("/Names/0")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .trim_matches('/')
                .to_owned(),
            task: it.get("Labels").map(|it| text(it, TASK_LABEL)).unwrap_or_default().to_owned(),
            running: text(it, "State") == "running",
        });
        Ok(found.collect())
    }

    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, DockerError> {
        match self.wire.done(Call::get(format!("/images/{}/json", encode(image, IN_PATH)))).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_status(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fetches an image, for as long as that takes.
    pub(crate) async fn pull(&self, image: &Reference<'_>, auth: Option<String>) -> Result<(), DockerError> {
        let call = Call::post("/images/create").query("fromImage", image.name).query("tag", image.tag);
        let mut body = self.wire.open(call.auth(auth).limit(SLOW)).await?.into_body();
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|it| DockerError::Lost(it.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            for line in lines.feed(&data) {
                let line: Value = serde_json::from_slice(&line).unwrap_or_default();
                if let Some(message) = line.get("error").and_then(Value::as_str) {
                    return Err(DockerError::Refused { status: 200, message: message.trim().to_owned() });
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn create(&self, name: &str, body: Value) -> Result<String, DockerError> {
        let call = Call::post("/containers/create").query("name", name).body(body).limit(SLOW);
        let answer = self.wire.json(call).await?;
        match text(&answer, "Id") {
            "" => Err(DockerError::Garbled("a new container without an id".to_owned())),
            id => Ok(id.to_owned()),
        }
    }

    pub(crate) async fn connect(&self, network: &str, container: &str) -> Result<(), DockerError> {
        let call = Call::post(format!("/networks/{}/connect", encode(network, "")));
        self.wire.done(call.body(json!({ "Container": container })).limit(SLOW)).await
    }

    /// The output from now on.
    pub(crate) async fn attach(&self, id: &str) -> Result<Incoming, DockerError> {
        let call = Call::post(format!("/containers/{id}/attach"));
        let call = call.query("stream", "1").query("stdout", "1").query("stderr", "1");
        Ok(self.wire.open(call).await?.into_body())
    }

    /// The output since a moment (seconds since 1970), as far as the log driver keeps it.
    pub(crate) async fn logs_since(&self, id: &str, since: &str) -> Result<Incoming, DockerError> {
        let call = Call::get(format!("/containers/{id}/logs")).query("follow", "1").query("since", since);
        Ok(self.wire.open(call.query("stdout", "1").query("stderr", "1")).await?.into_body())
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), DockerError> {
        self.wire.done(Call::post(format!("/containers/{id}/start")).limit(SLOW)).await
    }

    /// Returns when the container has ended.
    pub(crate) async fn wait(&self, id: &str) -> Result<i32, DockerError> {
        let call = Call::post(format!("/containers/{id}/wait")).query("condition", "not-running");
        let body = self.wire.open(call).await?.into_body();
        let body = body.collect().await.map_err(|it| DockerError::Lost(it.to_string()))?.to_bytes();
        let answer: Value = serde_json::from_slice(&body).map_err(|it| DockerError::Lost(it.to_string()))?;
        let code = answer.get("StatusCode").and_then(Value::as_i64);
        let code = code.ok_or_else(|| DockerError::Garbled("an end without an exit code".to_owned()))?;
        Ok(i32::try_from(code).unwrap_or(i32::MAX))
    }

    pub(crate) async fn signal(&self, id: &str, signal: &str) -> Result<(), DockerError> {
        self.wire.done(Call::post(format!("/containers/{id}/kill")).query("signal", signal)).await
    }

    pub(crate) async fn inspect(&self, container: &str) -> Result<Inspection, DockerError> {
        let call = Call::get(format!("/containers/{}/json", encode(container, "")));
        Ok(Inspection::read(&self.wire.json(call).await?))
    }
}

impl Inspection {
    fn read(answer: &Value) -> Inspection {
        let state = answer.get("State").unwrap_or(&Value::Null);
        let flag = |field: &str| state.get(field).and_then(Value::as_bool).unwrap_or(false);
        let number = |field: &str| state.get(field).and_then(Value::as_i64).unwrap_or(0);
        let networks = answer.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
        let networks = networks.into_iter().flat_map(|it| it.values());
        let addresses = networks.flat_map(|it| [text(it, "IPAddress"), text(it, "GlobalIPv6Address")]);
        let config = answer.get("Config").unwrap_or(&Value::Null);
        let stop_signal = match text(config, "StopSignal") {
            "" => "SIGTERM",
            signal => signal,
        };
        Inspection {
            running: flag("Running") || flag("Restarting"),
            pid: u32::try_from(number("Pid")).ok().filter(|it| *it != 0),
            exit_code: i32::try_from(number("ExitCode")).unwrap_or(i32::MAX),
            out_of_memory: flag("OOMKilled"),
            error: text(state, "Error").to_owned(),
            addresses: addresses.filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            stop_signal: stop_signal.to_owned(),
            task: config.get("Labels").map(|it| text(it, TASK_LABEL)).unwrap_or_default().to_owned(),
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Lines out of chunks; one that is too long is dropped.
#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, chunk: &[u8]) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for part in chunk.split_inclusive(|c| *c == b'\n') {
            if self.pending.len() < PROGRESS_MAX {
                self.pending.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                complete.push(std::mem::take(&mut self.pending));
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_cut() {
        let text = b"one\ntwo\n\nthree\n";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let all: Vec<u8> = text.chunks(size).flat_map(|it| lines.feed(it)).flatten().collect();
            assert_eq!(all, text, "cut into {size}");
        }
    }

    #[test]
    fn an_inspection_needs_nothing() {
        let empty = Inspection::read(&json!({}));
        assert_eq!(
            (empty.running, empty.pid, empty.exit_code, &*empty.stop_signal),
            (false, None, 0, "SIGTERM")
        );
        let odd =
            Inspection::read(&json!({ "State": 7, "NetworkSettings": { "Networks": [] }, "Config": [] }));
        assert_eq!(odd, empty);
    }
}
