//! Three ZooKeepers, a simulated Mesos cluster, and instances of the server on both with a large state.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use marathon_testkit::zookeeper::{self, ZooKeeper};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::mesos::Cluster;
use crate::server::Server;
use crate::web::{Client, free_port};
use crate::{Outcome, Place, procs};

const SERVERS: usize = 3;
const FILL_LIMIT: Duration = Duration::from_secs(900);
const LEAD_LIMIT: Duration = Duration::from_secs(120);
const CALM_LIMIT: Duration = Duration::from_secs(120);

/// Real servers in one folder, which end with the bench however it ends.
pub struct ZooKeepers {
    servers: Vec<ZooKeeper>,
    folder: PathBuf,
}

impl ZooKeepers {
    pub fn start(place: &Place) -> Outcome<ZooKeepers> {
        if !zookeeper::is_installed() {
            return Err("ZooKeeper is missing (Debian: apt-get install zookeeper)".into());
        }
        let folder = procs::folder(&place.tmp, "zookeeper-")?;
        let servers = ZooKeeper::measured_ensemble(&folder, SERVERS);
        for pid in servers.iter().filter_map(ZooKeeper::pid) {
            procs::started(pid);
        }
        Ok(ZooKeepers { servers, folder })
    }

    pub fn url(&self, path: &str) -> String {
        zookeeper::url(&self.servers, path)
    }

    /// Bytes of all nodes with their paths, as the first server counts them.
    pub fn data_size(&self) -> Outcome<u64> {
        let told = self.servers[0].command("mntr").ok_or("ZooKeeper does not answer")?;
        let line = told.lines().find_map(|it| it.strip_prefix("zk_approximate_data_size\t"));
        Ok(line.ok_or("ZooKeeper does not say how much it holds")?.trim().parse()?)
    }

    fn pids(&self) -> impl Iterator<Item = i32> {
        self.servers.iter().filter_map(ZooKeeper::pid).filter_map(|it| i32::try_from(it).ok())
    }

    pub fn end(self) {
        let pids: Vec<i32> = self.pids().collect();
        drop(self.servers);
        for pid in pids {
            procs::reaped(pid);
        }
        procs::remove_folder(&self.folder);
    }
}

/// What the issue calls large.
pub const APPS: u32 = 10_000;
pub const INSTANCES: u32 = 100_000;
/// Apps of one request.
const REQUEST: u32 = 1000;

/// Room for the large state, twice.
pub fn cluster(place: &Place) -> Outcome<Cluster> {
    let resources = "cpus:64;mem:262144;disk:1000000;ports:[31000-31999]";
    Cluster::start(place, &["--agents", "1000", "--resources", resources, "--attributes", "rack:r{50}"])
}

/// Makes the apps and waits until all their instances run and all is told and stored.
pub fn fill(server: &Server, cluster: &Cluster) -> Outcome<()> {
    let each = INSTANCES / APPS;
    let mut client = server.client()?;
    for begin in (0..APPS).step_by(REQUEST as usize) {
        let apps: Vec<Value> = (begin..begin + REQUEST).map(|at| service(at, each)).collect();
        client.want("PUT", "/v2/apps", Some(&Value::Array(apps).to_string()))?;
    }
    cluster.reaches("master/tasks_running", f64::from(INSTANCES), FILL_LIMIT)?;
    // The connection from above may have been idle for too long by now.
    let mut over = || {
        let told = server.client().and_then(|mut it| it.get("/v2/deployments"));
        told.is_ok_and(|it| it.status == 200 && it.body == b"[]")
    };
    procs::wait_for("the end of all deployments", FILL_LIMIT, Duration::from_millis(200), &mut over)
}

/// What a small web service looks like.
fn service(number: u32, instances: u32) -> Value {
    json!({
        "id": path(number),
        "cmd": "exec ./bin/service --listen $PORT0 --config conf/production.toml",
        "cpus": 0.1, "mem": 32, "instances": instances,
        "env": { "LOG_LEVEL": "info", "DATABASE_URL": "postgres://db.cluster.example:5432/service" },
        "labels": { "owner": "team", "HAPROXY_GROUP": "external" },
        "portDefinitions": [{ "port": 0, "name": "http" }],
        "backoffSeconds": 0
    })
}

fn path(number: u32) -> String {
    format!("/team-{:03}/service-{number:05}", number / 100)
}

/// Whether the first and the last app are there, with all their instances.
pub fn is_whole(port: u16) -> Outcome<bool> {
    let mut client = Client::connect(port)?;
    for number in [0, APPS - 1] {
        let app = client.want("GET", &format!("/v2/apps/{}", path(number)), None)?.json()?;
        if app["app"]["tasksRunning"] != INSTANCES / APPS {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until processes do next to nothing, so that what comes is all that is measured.
pub fn calm(pids: &[i32]) -> Outcome<()> {
    let used = || -> Outcome<u64> { pids.iter().map(|it| procs::cpu_time(*it)).sum() };
    let mut before = used()?;
    let mut calm = || {
        let now = used().unwrap_or(u64::MAX);
        let share = now.saturating_sub(before) as f64 / 1e9;
        before = now;
        share < 0.15
    };
    std::thread::sleep(Duration::from_secs(1));
    procs::wait_for("calm", CALM_LIMIT, Duration::from_secs(1), &mut calm)
}

/// Three instances, one of which leads; the large state.
pub struct Fleet<'a> {
    place: &'a Place,
    zookeepers: ZooKeepers,
    pub cluster: Cluster,
    pub members: Vec<Server>,
    /// Which of them leads.
    pub leader: usize,
}

impl Fleet<'_> {
    pub fn start(place: &Place) -> Outcome<Fleet<'_>> {
        let zookeepers = ZooKeepers::start(place)?;
        let cluster = cluster(place)?;
        let mut fleet = Fleet { place, zookeepers, cluster, members: Vec::new(), leader: 0 };
        // The first one is filled alone, for speed; the others find the state.
        fleet.add()?;
        fleet.members[0].await_leading(LEAD_LIMIT)?;
        fill(&fleet.members[0], &fleet.cluster)?;
        for _ in 1..SERVERS {
            fleet.add()?;
        }
        Ok(fleet)
    }

    fn add(&mut self) -> Outcome<()> {
        let dir = procs::folder(&self.place.tmp, "member-")?;
        let member = self.member(dir, free_port()?)?;
        member.await_ping()?;
        self.members.push(member);
        Ok(())
    }

    fn member(&self, dir: PathBuf, port: u16) -> Outcome<Server> {
        let zk = self.zookeepers.url("/marathon");
        Server::member(self.place, dir, port, &self.cluster.address(), &zk)
    }

    /// Waits until all know who leads and have nothing left to do.
    pub fn settle(&mut self) -> Outcome<()> {
        let pids: Vec<i32> = self.members.iter().map(|it| it.pid).collect();
        for member in &self.members {
            let knows = || {
                Client::connect(member.port)
                    .is_ok_and(|mut it| it.get("/v2/leader").is_ok_and(|answer| answer.status == 200))
            };
            procs::wait_for("a leader", LEAD_LIMIT, Duration::from_millis(50), knows)?;
        }
        calm(&pids)?;
        let leads = |it: &Server| {
            Client::connect(it.port)
                .is_ok_and(|mut it| it.get("/v2/leader/health").is_ok_and(|answer| answer.status == 200))
        };
        self.leader = self.members.iter().position(leads).ok_or("no instance leads")?;
        Ok(())
    }

    /// Takes the leader away with a signal and brings it back later, as a follower, when `during` is over.
    pub fn without_leader<T>(
        &mut self,
        signal: Signal,
        during: impl FnOnce(&dyn Fn() -> Instant) -> Outcome<T>,
    ) -> Outcome<T> {
        let old = self.members.remove(self.leader);
        let strike = || {
            let at = Instant::now();
            old.signal(signal);
            at
        };
        let done = during(&strike);
        let port = old.port;
        let dir = old.gone()?;
        let back = self.member(dir, port)?;
        self.members.push(back);
        done
    }

    pub fn end(self) -> Outcome<()> {
        for member in self.members {
            let dir = member.dir.clone();
            member.end()?;
            procs::remove_folder(&dir);
        }
        self.cluster.end()?;
        self.zookeepers.end();
        Ok(())
    }
}
