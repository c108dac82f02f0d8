//! A small core: takes offers, acknowledges updates, remembers what it was told.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use marathon_flags::resources::parse_resources;
use marathon_keeper::protocol::{Event, Lifetime, Request};
use marathon_keeper::{Client, KeeperError};
use marathon_local::{Local, LocalConfig};
use marathon_model::app::{Container, ContainerKind, DockerImage};
use marathon_model::id::{InstanceId, PathId, TaskId};
use marathon_model::offer::*;
use marathon_model::pod::{Mount, PodVolume, PodVolumeSource};
use marathon_model::resources::{Amount, Amounts, Milli, PortRange, Resource};
use marathon_model::time::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{Receiver, channel};

const BINARY: &str = env!("CARGO_BIN_EXE_marathon-local-test");
const LIMIT: Duration = Duration::from_secs(30);

pub struct Desk {
    dir: tempfile::TempDir,
    config: LocalConfig,
    local: Option<Local>,
    events: Receiver<EngineEvent>,
    offer: Option<Offer>,
    told: BTreeMap<TaskId, Vec<TaskStatus>>,
    answers: Vec<TaskStatus>,
    subscribed: Vec<bool>,
}

impl Desk {
    pub async fn new() -> Desk {
        Desk::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut LocalConfig)) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let mut config = LocalConfig::new(dir.path().join("local"), BINARY.into(), "test");
        config.resources = parse_resources("cpus:4;mem:4096;disk:100;ports:[41000-41009]").unwrap();
        change(&mut config);
        let (told, answers) = (BTreeMap::new(), Vec::new());
        let (local, offer, events) = (None, None, channel(1).1);
        let mut desk = Desk { dir, config, local, events, offer, told, answers, subscribed: Vec::new() };
        desk.start().await;
        desk
    }

    pub async fn start(&mut self) {
        let (sender, events) = channel(64);
        self.events = events;
        self.local = Some(Local::start(self.config.clone(), sender).await.unwrap());
        match self.events.recv().await {
            Some(EngineEvent::Subscribed { again: false, .. }) => {}
            other => panic!("{other:?} before the subscription"),
        }
    }

    pub async fn stop(&mut self) {
        self.local.take().unwrap().stop().await;
        self.offer = None;
    }

    pub fn local(&self) -> &Local {
        self.local.as_ref().unwrap()
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, task: &Launch, name: &str) -> PathBuf {
        self.local
            .as_ref()
            .map_or_else(
                || self.config.dir.join("sandboxes").join(task.task.to_string()),
                |it| it.sandbox(&task.task),
            )
            .join(name)
    }

    pub fn read(&self, task: &Launch, name: &str) -> String {
        fs::read_to_string(self.file(task, name)).unwrap()
    }

    /// What is there by now.
    pub fn reads(&self, task: &Launch, name: &str, part: &str) -> bool {
        fs::read_to_string(self.file(task, name)).is_ok_and(|it| it.contains(part))
    }

    /// Takes the next event.
    async fn hear(&mut self, waiting_for: &str) {
        let event = tokio::time::timeout(LIMIT, self.events.recv()).await;
        let event = event.unwrap_or_else(|_| panic!("waited for {waiting_for}; told: {:#?}", self.told));
        match event.unwrap() {
            EngineEvent::Offers(offers) => {
                assert_eq!((offers.len(), &self.offer), (1, &None), "one offer at a time");
                self.offer = offers.into_iter().next();
            }
            EngineEvent::Status(status) => match status.update {
                None => self.answers.push(status),
                Some(update) => {
                    let (task, agent) = (status.task.clone(), status.agent.clone().unwrap());
                    self.told.entry(task.clone()).or_default().push(status);
                    self.local().call(Call::Acknowledge { task, agent, update });
                }
            },
            EngineEvent::Subscribed { again, .. } => self.subscribed.push(again),
            EngineEvent::Disconnected => self.offer = None,
            other => panic!("{other:?}"),
        }
    }

    async fn offer(&mut self) -> &Offer {
        while self.offer.is_none() {
            self.hear("an offer").await;
        }
        self.offer.as_ref().unwrap()
    }

    pub async fn offered_ports(&mut self) -> Vec<PortRange> {
        let ports = |it: &Offer| {
            let one = |it: &marathon_model::resources::Resource| match &it.amount {
                Amount::Ports(ranges) => Some(ranges.clone()),
                _ => None,
            };
            it.resources.iter().find_map(one)
        };
        ports(self.offer().await).unwrap()
    }

    pub async fn accept(&mut self, launches: Vec<Launch>) {
        self.operate(vec![Operation::Launch(launches)]).await;
    }

    pub async fn operate(&mut self, operations: Vec<Operation>) {
        let offer = self.offer().await.id.clone();
        self.offer = None;
        self.local().call(Call::Accept { offer, operations });
    }

    pub async fn decline(&mut self) {
        let offer = self.offer().await.id.clone();
        self.offer = None;
        self.local().call(Call::Decline { offers: vec![offer], hold: Duration::ZERO });
    }

    /// What the present offer shows as reserved, its volumes included.
    pub async fn reserved(&mut self) -> Vec<Resource> {
        self.offer().await.resources.iter().filter(|it| it.reserved.is_some()).cloned().collect()
    }

    /// Waits until all these states were told of the task, in this order and no others.
    pub async fn expect(&mut self, task: &Launch, states: &[TaskState]) {
        let count = |desk: &Desk| desk.told.get(&task.task).map_or(0, Vec::len);
        while count(self) < states.len() {
            self.hear(&format!("{states:?} of {}", task.name)).await;
        }
        let told: Vec<_> = self.told[&task.task].iter().map(|it| it.state).collect();
        assert_eq!(told, states, "{}: {:#?}", task.name, self.told[&task.task]);
    }

    pub async fn wait_status(&mut self, task: &Launch, wanted: impl Fn(&TaskStatus) -> bool) {
        while !self.told.get(&task.task).is_some_and(|it| it.iter().any(&wanted)) {
            self.hear(&format!("a status of {}", task.name)).await;
        }
    }

    pub fn last(&self, task: &Launch) -> &TaskStatus {
        self.told[&task.task].last().unwrap()
    }

    pub async fn reconcile(&mut self, task: &Launch) -> TaskStatus {
        self.answers.clear();
        self.local().call(Call::Reconcile(vec![(task.task.clone(), Some(task.agent.clone()))]));
        while self.answers.is_empty() {
            self.hear("an answer").await;
        }
        self.answers.remove(0)
    }

    pub async fn wait_subscribed(&mut self, again: bool) {
        while !self.subscribed.contains(&again) {
            self.hear("a subscription").await;
        }
    }

    pub async fn wait_for_file(&self, task: &Launch, name: &str) {
        let path = self.file(task, name);
        until(&format!("{} exists", path.display()), || path.exists()).await;
    }

    pub async fn kill_keeper(&self) {
        let dir = self.config.dir.join("keeper");
        kill_where(|_, words| {
            words.contains(&"keeper") && words.iter().any(|it| *it == dir.to_str().unwrap())
        });
    }

    /// Kills the runner of a task's container.
    pub fn kill_by_argument(&self, text: &str) {
        let runner = |pid: i32, words: &[&str]| {
            let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
            cwd.is_ok_and(|it| it.starts_with(&self.config.dir)) && words.iter().any(|it| it.contains(text))
        };
        kill_where(|pid, words| words.contains(&"docker-run") && runner(pid, words));
    }
}

fn kill_where(wanted: impl Fn(i32, &[&str]) -> bool) {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    let found = pids.find(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        wanted(*pid, &line.split('\0').collect::<Vec<_>>())
    });
    kill(Pid::from_raw(found.unwrap()), Signal::SIGKILL).unwrap();
}

impl Drop for Desk {
    /// Leaves no process behind, whatever became of the test.
    fn drop(&mut self) {
        // Or it would go on to look for its keeper.
        drop(self.local.take());
        let lifetime = Lifetime { checkpoint: true, failover_secs: 60.0 };
        let dir = self.config.dir.join("keeper");
        let begin = std::time::Instant::now();
        // Until the engine's thread has let go of it, the keeper refuses another server.
        while begin.elapsed() < LIMIT {
            match Client::connect(&dir, BINARY.as_ref(), "test", lifetime) {
                Ok((mut client, events)) => {
                    let _ = client.send(&Request::Shutdown { kill: true });
                    events.for_each(|_: Event| ());
                    return self.remove_private();
                }
                Err(KeeperError::Refused { .. }) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => return,
            }
        }
    }
}

impl Desk {
    /// The folder in memory that a server which never comes back leaves behind.
    fn remove_private(&self) {
        let hash = Sha256::digest(self.config.dir.as_os_str().as_encoded_bytes());
        let hash: String = hash.iter().take(8).map(|it| format!("{it:02x}")).collect();
        for parent in ["/run", "/dev/shm"] {
            let _ = fs::remove_dir_all(Path::new(parent).join(format!("marathon-tasks-{hash}")));
        }
    }
}

pub async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("waited until {what}"));
}

/// Waits until a process is no more than a zombie.
pub async fn gone(pid: i32) {
    let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|it| !it.contains(") Z "));
    until(&format!("process {pid} is gone"), || !alive()).await;
}

/// A pod with containers in the order of `lines`; the test fills in the rest.
pub fn pod(desk: &Desk, name: &str, lines: &[(&str, &str)]) -> Launch {
    let mut pod = launch(desk, name, Command::Image);
    let one = |(name, line): &(&str, &str)| {
        let mut task = pod.task.clone();
        task.container = Some(Arc::from(*name));
        ContainerLaunch {
            name: Arc::from(*name),
            task,
            resources: pod.resources,
            cpu_limit: None,
            mem_limit: None,
            command: shell(line),
            override_entrypoint: false,
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            user: None,
            image: None,
            fetch: Vec::new(),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            kill_grace: None,
            health_check: None,
            check: None,
            discovery: Vec::new(),
            tty: false,
            linux: None,
        }
    };
    pod.containers = lines.iter().map(one).collect();
    let count = lines.len() as u64;
    pod.resources.cpus = Milli(pod.resources.cpus.0 * count);
    pod.resources.mem = Milli(pod.resources.mem.0 * count);
    pod
}

/// A container of a pod as what reports; for the functions of the desk.
pub fn part(pod: &Launch, container: &str) -> Launch {
    let mut task = pod.task.clone();
    task.container = Some(Arc::from(container));
    Launch { task, name: format!("{}.{container}", pod.name), ..pod.clone() }
}

pub fn mount(volume: &str, path: &str) -> Mount {
    Mount { volume: Arc::from(volume), path: path.to_owned(), read_only: None }
}

pub fn volume(name: &str, source: PodVolumeSource) -> PodVolume {
    PodVolume { name: Arc::from(name), source }
}

pub fn shell(line: &str) -> Command {
    Command::Shell(line.to_owned())
}

pub fn args(args: &[&str]) -> Command {
    Command::Args(args.iter().map(|it| (*it).to_owned()).collect())
}

pub fn image(image: &str) -> Container {
    let (force_pull, privileged, parameters, pull_secret) = (false, false, Vec::new(), None);
    let docker = DockerImage { image: image.to_owned(), force_pull, privileged, parameters, pull_secret };
    Container { kind: ContainerKind::Docker, docker: Some(docker), volumes: Vec::new(), linux: None }
}

pub fn launch(desk: &Desk, name: &str, command: Command) -> Launch {
    let spec = PathId::parse(name).unwrap();
    let unique = name.bytes().fold(7, |sum: u64, it| sum.wrapping_mul(31).wrapping_add(it.into()));
    let instance = InstanceId { spec: spec.clone(), uuid: uuid::Uuid::from_u64_pair(1, unique) };
    Launch {
        task: TaskId { instance, container: None, incarnation: 1 },
        spec,
        version: Timestamp::default(),
        agent: desk.local().agent().clone(),
        name: name.to_owned(),
        role: Arc::from("*"),
        resources: Amounts { cpus: Milli(100), mem: Milli::from_whole(64), ..Amounts::default() },
        shares: BTreeMap::new(),
        cpu_limit: None,
        mem_limit: None,
        host_ports: Vec::new(),
        command,
        env: BTreeMap::new(),
        secret_env: BTreeMap::new(),
        user: None,
        fetch: Vec::new(),
        container: None,
        network: TaskNetwork::Host,
        mappings: Vec::new(),
        labels: BTreeMap::new(),
        kill_grace: None,
        health_check: None,
        check: None,
        discovery: Vec::new(),
        tty: false,
        secrets: BTreeMap::new(),
        containers: Vec::new(),
        volumes: Vec::new(),
        reserved: Vec::new(),
        mesos: Default::default(),
    }
}
