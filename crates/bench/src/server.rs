//! The release server, started with a data folder of its own and stopped with all its tasks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::web::{Client, free_port};
use crate::{Outcome, Place, procs};

/// More than any bench starts, so that no figure depends on the size of the machine.
const RESOURCES: &str = "cpus:1000;mem:1000000;disk:1000000;ports:[31000-32000]";
const START_LIMIT: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(1);

pub struct Server {
    binary: PathBuf,
    pub dir: PathBuf,
    pub port: u16,
    child: Child,
    pub pid: i32,
    /// When the process was started.
    pub since: Instant,
}

impl Server {
    /// Starts with an empty data folder and waits until the engine is there.
    pub fn start(place: &Place) -> Outcome<Server> {
        let dir = procs::folder(&place.tmp, "data-")?;
        let server = Server::launch(&place.server, dir, free_port()?)?;
        server.await_engine()?;
        Ok(server)
    }

    /// Starts with an empty data folder on a Mesos cluster and waits until it is subscribed.
    pub fn on(place: &Place, master: &str) -> Outcome<Server> {
        let dir = procs::folder(&place.tmp, "data-")?;
        let server = Server::launch_with(&place.server, dir, free_port()?, &["--master", master])?;
        server.await_engine()?;
        Ok(server)
    }

    /// Starts on whatever the folder holds; returns at once.
    pub fn launch(binary: &Path, dir: PathBuf, port: u16) -> Outcome<Server> {
        Server::launch_with(binary, dir, port, &["--master", "local", "--local_resources", RESOURCES])
    }

    /// Starts an instance that keeps its state in ZooKeeper; returns at once. What the folder holds is its log.
    pub fn member(place: &Place, dir: PathBuf, port: u16, master: &str, zk: &str) -> Outcome<Server> {
        Server::launch_with(&place.server, dir, port, &["--master", master, "--zk", zk])
    }

    /// Starts on whatever the folder holds, with a Mesos cluster; returns at once.
    pub fn launch_on(place: &Place, dir: PathBuf, master: &str) -> Outcome<Server> {
        Server::launch_with(&place.server, dir, free_port()?, &["--master", master])
    }

    fn launch_with(binary: &Path, dir: PathBuf, port: u16, engine: &[&str]) -> Outcome<Server> {
        let log = File::options().create(true).append(true).open(dir.join("server.log"))?;
        let mut command = Command::new(binary);
        command
            .args(engine)
            .args(["--http_address", "127.0.0.1", "--hostname", "localhost"])
            .args(["--http_port", &port.to_string()])
            .arg("--data_dir")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A variable of whoever runs the bench would be a flag.
        for (name, _) in std::env::vars_os().filter(|it| it.0.to_string_lossy().starts_with("MARATHON_")) {
            command.env_remove(name);
        }
        let since = Instant::now();
        let child = command.spawn().map_err(|error| format!("{}: {error}", binary.display()))?;
        let pid = procs::started(child.id());
        Ok(Server { binary: binary.to_owned(), dir, port, child, pid, since })
    }

    pub fn client(&self) -> Outcome<Client> {
        Ok(Client::connect(self.port)?)
    }

    /// Waits for the first answer, and gives the time since the start of the process.
    pub fn await_ping(&self) -> Outcome<Duration> {
        let ping = || {
            Client::connect(self.port)
                .is_ok_and(|mut it| it.get("/ping").is_ok_and(|answer| answer.status == 200))
        };
        self.explained(procs::wait_for("/ping", START_LIMIT, LOOK / 4, ping))?;
        Ok(self.since.elapsed())
    }

    /// Waits until the engine is subscribed.
    pub fn await_engine(&self) -> Outcome<()> {
        self.await_ping()?;
        let mut client = self.client()?;
        let registered = || {
            let info = client.get("/v2/info").and_then(|it| it.json());
            info.is_ok_and(|it| it["frameworkId"].is_string())
        };
        self.explained(procs::wait_for("the engine", START_LIMIT, LOOK * 5, registered))
    }

    /// Waits until it leads and has its state, and gives the time since the start of the process.
    pub fn await_leading(&self, limit: Duration) -> Outcome<Duration> {
        let leads = || {
            Client::connect(self.port)
                .is_ok_and(|mut it| it.get("/v2/leader/health").is_ok_and(|answer| answer.status == 200))
        };
        self.explained(procs::wait_for("leadership", limit, LOOK * 2, leads))?;
        Ok(self.since.elapsed())
    }

    /// Adds the end of the log to an error, and whether the process is there.
    pub fn explained<T>(&self, done: Outcome<T>) -> Outcome<T> {
        done.map_err(|error| {
            // One that ended and was not waited for has no arguments, so it is not among them.
            let there = procs::all().iter().any(|it| it.pid == self.pid);
            let state = if there { "there" } else { "gone" };
            let log = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            format!("{error}; process {} is {state}, the end of its log:\n{}", self.pid, tail.join("\n"))
                .into()
        })
    }

    /// Ends the server without warning; the folder and the tasks stay.
    pub fn crash(mut self) -> Outcome<(PathBuf, PathBuf)> {
        self.child.kill()?;
        self.child.wait()?;
        procs::reaped(self.pid);
        Ok((self.binary, self.dir))
    }

    /// Ends the server and forgets it; a simulated cluster ends by itself.
    pub fn end(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        procs::reaped(self.pid);
        Ok(())
    }

    pub fn signal(&self, signal: Signal) {
        procs::signal(self.pid, signal);
    }

    /// Waits for the end of a server that was told to; the folder stays.
    pub fn gone(mut self) -> Outcome<PathBuf> {
        let gone = || matches!(self.child.try_wait(), Ok(Some(_)));
        procs::wait_for("the end of the server", END_LIMIT, LOOK * 5, gone)?;
        procs::reaped(self.pid);
        Ok(self.dir)
    }

    /// Removes all apps, waits for the ends of their tasks and stops the server. Its keeper goes by itself a
    /// little later, and the folder at the end of the bench.
    pub fn stop(mut self) -> Outcome<()> {
        let mut client = self.client()?;
        client.want("DELETE", "/v2/groups//?force=true", None)?;
        let none = || procs::tasks_below(&self.dir).is_empty();
        let ended = procs::wait_for("the end of all tasks", END_LIMIT, Duration::from_millis(50), none);
        procs::signal(self.pid, Signal::SIGTERM);
        let stopped = || matches!(self.child.try_wait(), Ok(Some(_)));
        let stopped = procs::wait_for(
            "the end of the server",
            Duration::from_secs(10),
            Duration::from_millis(10),
            stopped,
        );
        if stopped.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        procs::reaped(self.pid);
        ended.and(stopped)
    }
}

/// `count` instances of `sleep 1000`, started directly and without ports, as the peers do it.
///
/// A tenth of a processor each: with a thousandth the kernel would let a task run for 1 ms out of 100, and
/// merely to die takes longer than that.
pub fn sleepers(id: &str, count: u32) -> String {
    serde_json::json!({
        "id": id,
        "args": ["/bin/sleep", "1000"],
        "cpus": 0.1,
        "mem": 16,
        "instances": count,
        "portDefinitions": [],
        "backoffSeconds": 0,
    })
    .to_string()
}
