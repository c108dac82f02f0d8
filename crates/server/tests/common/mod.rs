//! A real server on free ports and a temporary folder, driven over HTTP. Everything it started is gone when
//! the `Server` is dropped.
#![allow(clippy::unwrap_used, dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a condition may take to come true before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub port: u16,
    pub dir: PathBuf,
    child: Child,
    arguments: Vec<String>,
    _folder: Option<tempfile::TempDir>,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ports that tasks may use: a stretch that is free now.
fn task_ports() -> (u16, u16) {
    let first = 20_000 + (std::process::id() as u16 % 300) * 100;
    (first, first + 99)
}

impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    pub fn with(flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Server::at(folder.path(), flags);
        server._folder = Some(folder);
        server
    }

    /// On a Mesos cluster instead of this machine.
    pub fn on(master: &str, flags: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().to_string();
        let data = folder.path().join("data").display().to_string();
        let own = ["--master", master, "--http_address", "127.0.0.1", "--hostname", "localhost"];
        let rest = ["--http_port", &port, "--data_dir", &data];
        let arguments: Vec<String> =
            own.iter().chain(&rest).chain(flags).map(|it| (*it).to_owned()).collect();
        let child = spawn(folder.path(), &arguments);
        let dir = folder.path().to_owned();
        let mut server = Server { port: port.parse().unwrap(), dir, child, arguments, _folder: Some(folder) };
        server.wait_up();
        server
    }

    pub fn at(dir: &Path, flags: &[&str]) -> Server {
        let port = free_port();
        let (first, last) = task_ports();
        let mut arguments: Vec<String> =
            ["--master", "local", "--http_address", "127.0.0.1", "--hostname", "localhost"]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--http_port".to_owned(), port.to_string()]);
        arguments.extend(["--data_dir".to_owned(), dir.join("data").display().to_string()]);
        if !flags.iter().any(|it| it.starts_with("--local_resources")) {
            arguments.push(format!("--local_resources=cpus:64;mem:65536;disk:65536;ports:[{first}-{last}]"));
        }
        arguments.extend(flags.iter().map(|it| (*it).to_owned()));
        let child = spawn(dir, &arguments);
        let mut server = Server { port, dir: dir.to_owned(), child, arguments, _folder: None };
        server.wait_up();
        server
    }

    fn wait_up(&mut self) {
        let began = Instant::now();
        // Answered once the state is loaded, unlike /ping.
        while self.try_request("GET", "/v2/info", &[], b"").is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "the server does not come up:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, without a chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.child.wait().unwrap().code()
    }

    pub fn start_again(&mut self) {
        self.begin_again();
        self.wait_up();
    }

    /// Does not wait for it.
    pub fn begin_again(&mut self) {
        self.child = spawn(&self.dir, &self.arguments);
    }

    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.port,
            body.len()
        );
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            head.push_str("Content-Type: application/json\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(body)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut body = Vec::new();
        reader.read_to_end(&mut body)?;
        let chunked = headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
        if chunked {
            body = dechunk(&body);
        }
        Ok(Answer { status, headers, body })
    }

    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_request(method, path, headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.request("GET", path, &[], "");
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// A change that must be accepted.
    #[track_caller]
    pub fn change(&self, method: &str, path: &str, body: Value) -> Value {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request(method, path, &[], &text);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&Server) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            if began.elapsed() > PATIENCE {
                let apps = self.request("GET", "/v2/apps?embed=apps.tasks", &[], "").text();
                panic!("not within {PATIENCE:?}: {what}\napps: {apps}\nlog:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits like [`Server::wait`]; what the condition last wrote down is shown when it does not come true.
    #[track_caller]
    pub fn wait_or(
        &self,
        what: &str,
        seen: &mut String,
        mut condition: impl FnMut(&Server, &mut String) -> bool,
    ) {
        let began = Instant::now();
        while !condition(self, seen) {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}: {seen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn wait_idle(&self) {
        self.wait("all deployments end", |it| it.get("/v2/deployments").as_array().unwrap().is_empty());
    }

    /// Tasks of an app that run.
    #[track_caller]
    pub fn running(&self, app: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v2/apps/{app}/tasks"));
        let tasks = answer["tasks"].as_array().unwrap().clone();
        tasks.into_iter().filter(|it| it["state"] == "TASK_RUNNING").collect()
    }

    /// The main process of a task, found by the environment it was given.
    pub fn pid_of(&self, task: &str) -> Option<u32> {
        let marker = format!("MESOS_TASK_ID={task}");
        let mut found: Vec<u32> = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|it| it.file_name().to_string_lossy().parse().ok())
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|it| *it == 0).any(|it| it == marker.as_bytes())
            })
            .collect();
        found.sort_unstable();
        found.first().copied()
    }
}

pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(done.success(), "kill -{name} {pid}");
}

fn spawn(dir: &Path, arguments: &[String]) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("server.log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_marathon"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        let size = usize::from_str_radix(String::from_utf8_lossy(&rest[..end]).trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    whole
}

impl Drop for Server {
    fn drop(&mut self) {
        // Tasks outlive the server, so they are ended through it.
        if self.child.try_wait().ok().flatten().is_some() {
            self.child = spawn(&self.dir, &self.arguments);
            let began = Instant::now();
            while self.try_request("GET", "/ping", &[], b"").is_err()
                && began.elapsed() < Duration::from_secs(10)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.try_request("DELETE", "/v2/groups?force=true", &[], b"");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(15) {
            let tasks =
                self.try_request("GET", "/v2/tasks", &[], b"").map(|it| it.text()).unwrap_or_default();
            if tasks.is_empty() || tasks.contains("\"tasks\":[]") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if std::thread::panicking() {
            eprintln!("server log:\n{}", self.log());
        }
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        // Without tasks it ends with its server, unless that was killed and then came back as a follower, which has
        // no use for it.
        for keeper in self.keepers() {
            let _ = Command::new("kill").args(["-KILL", &keeper.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

impl Server {
    /// Keepers of this folder.
    fn keepers(&self) -> Vec<u32> {
        let folder = self.dir.join("data/local/keeper").display().to_string();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|it| it.file_name().to_string_lossy().parse().ok());
        pids.filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|it| *it == 0);
            words.nth(1) == Some(b"keeper") && words.any(|it| it == folder.as_bytes())
        })
        .collect()
    }
}
