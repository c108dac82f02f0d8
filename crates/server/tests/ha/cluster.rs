//! Everything that runs: three instances and what stands before them, three ZooKeepers, a Mesos cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marathon_testkit::zookeeper::{Place, Purpose, ZooKeeper, free_port};

use super::client::{Answer, ask};
use super::clock::Clocks;
use super::disk::{self, Disk};
use super::lab::{INSTANCES, Lab, ZOOKEEPERS};
use super::mesos::Mesos;
use super::ways::Balancers;

const START_MAX: Duration = Duration::from_secs(60);

/// In the order in which it has to end.
pub struct Cluster {
    pub balancers: Balancers,
    pub instances: Vec<Instance>,
    pub mesos: Mesos,
    pub zookeepers: Vec<ZooKeeper>,
    pub clocks: Option<Clocks>,
    pub disk: Option<Disk>,
    pub lab: Lab,
}

pub struct Instance {
    pub address: SocketAddr,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Child,
}

impl Instance {
    fn start(lab: &Lab, host: u8, environment: Vec<(String, String)>, zk: &str, master: &str) -> Instance {
        let port = if lab.has_namespaces() { 8080 } else { free_port() };
        let address: SocketAddr = (lab.address(host), port).into();
        let data = lab.folder.join(format!("data{host}")).display().to_string();
        let (name, port) = (address.ip().to_string(), port.to_string());
        let flags = ["--master", master, "--zk", zk, "--data_dir", &data, "--hostname", &name];
        // In namespaces the virtual address, which comes and goes, is listened on as well.
        let only = ["--http_address", &name];
        let only = if lab.has_namespaces() { &[][..] } else { &only };
        let more = ["--http_port", &port, "--zk_session_timeout", "2000", "--zk_timeout", "2000"];
        let pace = ["--min_revive_offers_interval", "500", "--kill_retry_timeout", "2000"];
        let mut words = lab.through(host);
        words.push(program(lab));
        words.extend(flags.iter().chain(&more).chain(&pace).chain(only).map(|it| (*it).to_owned()));
        let log = lab.folder.join(format!("marathon{host}.log"));
        let child = spawn(&words, &environment, &log);
        Instance { address, words, environment, log, child }
    }

    /// Nothing if it is gone: its number may be another's by now.
    pub fn signal(&mut self, name: &str) {
        if let Ok(None) = self.child.try_wait() {
            signal(self.child.id(), name);
        }
    }

    pub fn end(&mut self, name: &str) {
        self.signal(name);
        let _ = self.child.wait();
    }

    /// Does not wait for it.
    pub fn begin(&mut self) {
        // One that was ended twice begins once.
        let _ = (self.child.kill(), self.child.wait());
        self.child = spawn(&self.words, &self.environment, &self.log);
    }

    pub fn leads(&self) -> bool {
        matches!(ask(self.address, "GET", "/v2/leader/health", ""), Answer::Status(200, _))
    }

    /// `Some`: it ended by itself.
    pub fn ended(&mut self) -> Option<String> {
        let ended = self.child.try_wait().ok().flatten()?;
        Some(format!("the instance {} ended by itself: {ended}", self.address))
    }

    pub fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(6000)..]).into_owned()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Its own name for the binary, so that one that is built meanwhile takes no part.
fn program(lab: &Lab) -> String {
    let (built, own) = (env!("CARGO_BIN_EXE_marathon"), lab.folder.join("marathon"));
    if !own.exists() && std::fs::hard_link(built, &own).is_err() {
        std::fs::copy(built, &own).unwrap();
    }
    own.display().to_string()
}

/// To a process that may be gone.
pub fn signal(pid: u32, name: &str) {
    let pid = pid.to_string();
    let _ = Command::new("kill").args([&format!("-{name}"), &pid]).stderr(Stdio::null()).status();
}

pub fn spawn(words: &[String], environment: &[(String, String)], log: &PathBuf) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    Command::new(&words[0])
        .args(&words[1..])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Cluster {
    pub fn start() -> Cluster {
        let mut lab = Lab::new(&disk::group());
        let clocks = told("clocks are not set", Clocks::new(&lab.folder));
        let disk = told("the disk is never slow", Disk::new(&lab.folder));
        let environment = |host| clocks.as_ref().map(|it| it.environment(host)).unwrap_or_default();
        let place = |host| Place {
            address: lab.address(host),
            through: lab.through(host),
            environment: environment(host),
            parent: lab.folder.clone(),
            purpose: Purpose::Faults,
        };
        let zookeepers = ZooKeeper::ensemble_at(ZOOKEEPERS.map(place).to_vec());
        let near: Vec<String> =
            zookeepers.iter().map(|it| format!("{}:{}", it.address(), it.port())).collect();
        let mesos_zk = format!("zk://{}/mesos", near.join(","));
        let mesos = Mesos::start(&lab, &mesos_zk);
        let mut instances = Vec::new();
        for host in INSTANCES {
            let ways: Vec<String> = zookeepers
                .iter()
                .zip(ZOOKEEPERS)
                .map(|(it, there)| lab.way(host, there, it.port()).to_string())
                .collect();
            let zk = format!("zk://{}/marathon", ways.join(","));
            instances.push(Instance::start(&lab, host, environment(host), &zk, &mesos_zk));
        }
        let balancers = Balancers::start(&lab);
        let mut cluster = Cluster { balancers, instances, mesos, zookeepers, clocks, disk, lab };
        cluster.wait_up();
        cluster
    }

    fn wait_up(&mut self) {
        let began = Instant::now();
        for it in &mut self.instances {
            while !matches!(ask(it.address, "GET", "/v2/info", ""), Answer::Status(200, _)) {
                assert!(
                    it.ended().is_none() && began.elapsed() < START_MAX,
                    "it does not start: {}",
                    it.last_words()
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    pub fn leader(&self) -> Option<usize> {
        self.instances.iter().position(Instance::leads)
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.instances.iter().map(|it| it.address).collect()
    }
}

fn told<T>(what: &str, it: Result<T, String>) -> Option<T> {
    it.inspect_err(|why| println!("ha: {what}: {}", why.trim())).ok()
}
