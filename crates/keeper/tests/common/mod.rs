//! A keeper in a folder of its own, and a server's view of it.
#![allow(clippy::unwrap_used, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use marathon_keeper::protocol::{Cgroups, End, Event, How, Lifetime, Limits, Process, Request, TaskReport};
use marathon_keeper::{Client, KeeperError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(20);
pub const FOREVER: Lifetime = Lifetime { checkpoint: true, failover_secs: 3600.0 };

pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_keeper-test").into()
}

/// A data folder. All keepers it ever had, and all tasks they ever started, end with it.
pub struct Site {
    pub root: tempfile::TempDir,
    pub dir: PathBuf,
    keepers: Vec<u32>,
    tasks: Vec<u32>,
}

/// A connected server.
pub struct Server {
    pub client: Client,
    /// Ends the ids of its tasks on the wire. Ids are unique on a machine, and keepers rely on that; in a
    /// test they are short and used over and over.
    suffix: String,
    events: Receiver<Event>,
    pub keeper: u32,
    pub build: String,
    pub cgroups: Cgroups,
    pub adopted: Vec<TaskReport>,
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is there and no zombie.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

impl Site {
    pub fn new() -> Site {
        Site::below("data")
    }

    /// With `path` below a fresh folder as data folder.
    pub fn below(path: &str) -> Site {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(path);
        Site { root, dir, keepers: Vec::new(), tasks: Vec::new() }
    }

    pub fn connect(&mut self) -> Server {
        self.connect_as(&program(), "b1", FOREVER)
    }

    pub fn connect_as(&mut self, executable: &Path, build: &str, lifetime: Lifetime) -> Server {
        let (client, mut events) = Client::connect(&self.dir, executable, build, lifetime).unwrap();
        let Ok(Event::Welcome { build, pid, cgroups, mut tasks, .. }) = events.next_event() else {
            panic!("no welcome first")
        };
        let suffix = self.suffix();
        tasks.iter_mut().for_each(|it| it.task = it.task.strip_suffix(&suffix).unwrap().to_owned());
        let (sender, receiver) = channel();
        std::thread::spawn(move || events.for_each(|it| drop(sender.send(it))));
        self.keepers.push(pid);
        self.tasks.extend(tasks.iter().filter_map(|it| it.pid));
        Server { client, suffix, events: receiver, keeper: pid, build, cgroups, adopted: tasks }
    }

    pub fn refused(&self, lifetime: Lifetime) -> KeeperError {
        match Client::connect(&self.dir, &program(), "b1", lifetime) {
            Ok(_) => panic!("a second server got in"),
            Err(error) => error,
        }
    }

    /// A shell script as task `id`, its sandbox made.
    pub fn script(&self, id: &str, script: &str) -> Process {
        self.process(id, &["/bin/sh", "-c", script])
    }

    pub fn process(&self, id: &str, argv: &[&str]) -> Process {
        let cwd = self.sandbox(id);
        fs::create_dir_all(&cwd).unwrap();
        Process {
            argv: argv.iter().map(|it| (*it).to_owned()).collect(),
            env: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("MESOS_TASK_ID".to_owned(), format!("{id}{}", self.suffix())),
            ],
            stdout: cwd.join("stdout"),
            stderr: cwd.join("stderr"),
            cwd,
            identity: None,
            log_bytes: 1 << 20,
            log_files: 2,
            limits: None,
            reports: false,
            network: None,
            tag: format!("tag of {id}"),
        }
    }

    pub fn sandbox(&self, id: &str) -> PathBuf {
        self.root.path().join("boxes").join(id)
    }

    pub fn read(&self, id: &str, file: &str) -> String {
        fs::read_to_string(self.sandbox(id).join(file)).unwrap_or_default()
    }

    /// Waits until the task has written a whole line to the file, which it is then read from.
    pub fn line(&self, id: &str, file: &str) -> String {
        wait_until(&format!("a line in {file} of {id}"), || self.read(id, file).contains('\n'));
        self.read(id, file).lines().next().unwrap().to_owned()
    }

    pub fn launch(&mut self, server: &mut Server, id: &str, process: Process) -> u32 {
        server.send(launch(id, process));
        match server.next() {
            Event::Started { task, pid } if task == id => {
                self.tasks.push(pid);
                pid
            }
            other => panic!("not started: {other:?}"),
        }
    }

    /// To be ended with the site: a process the keeper did not tell of.
    pub fn track(&mut self, pid: u32) {
        self.tasks.push(pid);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Keepers are ended as brutally as their tasks, so that nothing here depends on what is tested.
        for pid in self.keepers.iter().chain(&self.tasks) {
            let ours = fs::read(format!("/proc/{pid}/environ")).is_ok_and(|it| !it.is_empty());
            if ours && runs(*pid) && self.owns(*pid) {
                signal(*pid, Signal::SIGKILL);
                wait_until("it is dead", || !runs(*pid) || !self.owns(*pid));
            }
        }
        for parent in ["/run", "/dev/shm"] {
            let _ = fs::remove_dir_all(Path::new(parent).join(format!("marathon-{}", self.hash())));
        }
        for groups in self.groups() {
            let inner = fs::read_dir(&groups).into_iter().flatten().flatten().map(|it| it.path());
            inner.filter(|it| it.is_dir()).for_each(|it| {
                wait_until("a cgroup is empty", || fs::remove_dir(&it).is_ok() || !it.exists());
            });
            let _ = fs::remove_dir(&groups);
            let _ = fs::remove_dir(groups.parent().unwrap());
        }
    }
}

impl Site {
    /// Pids come back; only what has this folder in its command line, folder or output is ours.
    fn owns(&self, pid: u32) -> bool {
        let place = self.root.path().to_string_lossy().into_owned();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&place) || cwd.starts_with(self.root.path())
    }

    /// The folders of control groups that were made for this folder, as far as they are still there.
    pub fn groups(&self) -> Vec<PathBuf> {
        let name = self.hash();
        let all =
            ["memory", "cpu"].map(|it| Path::new("/sys/fs/cgroup").join(it).join("marathon").join(&name));
        all.into_iter().filter(|it| it.exists()).collect()
    }

    fn suffix(&self) -> String {
        format!("@{}", self.root.path().file_name().unwrap().to_string_lossy())
    }

    fn hash(&self) -> String {
        let dir = fs::canonicalize(&self.dir).unwrap_or_default();
        let hash = dir.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

impl Server {
    pub fn send(&mut self, request: Request) {
        self.send_all(vec![request]);
    }

    pub fn send_all(&mut self, mut requests: Vec<Request>) {
        for request in &mut requests {
            match request {
                Request::Launch { task, .. } | Request::Kill { task, .. } | Request::Forget { task } => {
                    task.push_str(&self.suffix);
                }
                Request::Hello { .. } | Request::Shutdown { .. } => {}
            }
        }
        self.client.send_all(&requests).unwrap();
    }

    pub fn next(&mut self) -> Event {
        match self.events.recv_timeout(LIMIT) {
            Ok(mut event) => {
                if let Event::Started { task, .. } | Event::Said { task, .. } | Event::Ended { task, .. } =
                    &mut event
                {
                    *task = task.strip_suffix(&self.suffix).unwrap().to_owned();
                }
                event
            }
            Err(RecvTimeoutError::Timeout) => panic!("no event in time"),
            Err(RecvTimeoutError::Disconnected) => panic!("the keeper is gone"),
        }
    }

    pub fn next_end(&mut self, id: &str) -> End {
        match self.next() {
            Event::Ended { task, end } if task == id => end,
            other => panic!("not the end of {id}: {other:?}"),
        }
    }

    pub fn next_line(&mut self) -> String {
        match self.next() {
            Event::Said { line, .. } => line,
            other => panic!("not a line: {other:?}"),
        }
    }

    /// Waits until the keeper closes the connection.
    pub fn farewell(self) -> Vec<Event> {
        let mut rest = Vec::new();
        loop {
            match self.events.recv_timeout(LIMIT) {
                Ok(event) => rest.push(event),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the keeper stays"),
            }
        }
    }

    /// Goes without a word, as a server that is killed.
    pub fn vanish(self) {
        drop(self.client);
    }

    pub fn end_of(&self, id: &str) -> Option<End> {
        self.adopted.iter().find(|it| it.task == id).unwrap().end.clone()
    }
}

pub fn launch(id: &str, process: Process) -> Request {
    Request::Launch { task: id.to_owned(), process: Box::new(process) }
}

pub fn stop(id: &str, grace_ms: u64) -> Request {
    Request::Kill { task: id.to_owned(), grace_ms }
}

pub fn forget(id: &str) -> Request {
    Request::Forget { task: id.to_owned() }
}

pub fn exited(code: i32) -> How {
    How::Exited { code }
}

pub fn signaled(signal: i32) -> How {
    How::Signaled { signal }
}

pub fn limits(memory_bytes: Option<u64>) -> Option<Limits> {
    Some(Limits { cpu_shares_milli: 100, cpu_quota_milli: Some(2000), memory_bytes })
}
