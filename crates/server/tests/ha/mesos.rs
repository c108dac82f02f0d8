//! The simulated Mesos cluster: this very program, started again as a process of its own, so that it can be frozen
//! and cut off like the others. What it saw is read from its journal (docs/mesos-sim.md).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use marathon_mesos_sim::options::Options;
use serde_json::{Value, json};

use super::client::{Answer, ask};
use super::history::{Deed, Entry};
use super::lab::{INSTANCES, Lab, MESOS};

pub const AGENTS: u64 = 4;
const VARIABLE: &str = "HA_MESOS";
const START_MAX: Duration = Duration::from_secs(60);

pub struct Mesos {
    child: Child,
    pub masters: Vec<SocketAddr>,
}

impl Mesos {
    pub fn start(lab: &Lab, zk: &str) -> Mesos {
        let address = lab.address(MESOS);
        let ports: Vec<u16> = match lab.has_namespaces() {
            true => vec![5050, 5051],
            false => vec![marathon_testkit::zookeeper::free_port(), marathon_testkit::zookeeper::free_port()],
        };
        let line = format!(
            "--ip {address} --port {},{} --agents {AGENTS} --zk {zk} --allocation-interval 0.3 --unreachable-after 1 \
             --session-timeout 2 --register-within 0.5 --start-delay 0.01 --kill-delay 0.05 --completed-tasks 20",
            ports[0], ports[1]
        );
        let program = std::env::current_exe().unwrap().display().to_string();
        let words = [lab.through(MESOS), vec![program]].concat();
        let log = std::fs::File::create(lab.folder.join("mesos.log")).unwrap();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--exact", "mesos::process", "--ignored", "--nocapture"])
            .env(VARIABLE, line)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mesos = Mesos { child, masters: ports.iter().map(|it| (address, *it).into()).collect() };
        let began = Instant::now();
        while journal(&mesos.masters, 0).is_none() {
            assert!(began.elapsed() < START_MAX, "the simulated cluster does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        mesos
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An order, as in docs/mesos-sim.md.
    pub fn order(&self, order: &Value) -> Option<Value> {
        order_to(&self.masters, order)
    }
}

impl Drop for Mesos {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Tried at each master, as one may be down.
pub fn order_to(masters: &[SocketAddr], order: &Value) -> Option<Value> {
    masters.iter().find_map(|it| match ask(*it, "POST", "/mesos-sim/admin", &order.to_string()) {
        Answer::Status(200, body) => serde_json::from_str(&body).ok(),
        _ => None,
    })
}

pub fn journal(masters: &[SocketAddr], from: u64) -> Option<Value> {
    order_to(masters, &json!({ "do": "journal", "from": from }))
}

/// Tasks that run, by client.
pub fn running(masters: &[SocketAddr]) -> Option<BTreeMap<usize, Vec<String>>> {
    let audit = order_to(masters, &json!({ "do": "audit" }))?;
    let mut all: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for id in audit["running"].as_object()?.values().flat_map(|it| it.as_array().into_iter().flatten()) {
        let id = id.as_str()?;
        all.entry(client_of(id)?).or_default().push(id.to_owned());
    }
    Some(all)
}

/// `client3.instance-…` and `client3_…` are of client 3.
pub fn client_of(task: &str) -> Option<usize> {
    let digits: String = task.strip_prefix("client")?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// An entry of the journal, if it matters to the judge. `offset` leads from the cluster's time to the run's.
pub fn entry(lab: &[String], entry: &Value, offset: f64) -> Vec<Entry> {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let at = entry["at"].as_f64().unwrap_or_default() + offset;
    let deeds = match entry["what"].as_str().unwrap_or_default() {
        "subscribed" => {
            let by = lab.iter().position(|it| *it == text("by")).unwrap_or(usize::MAX);
            vec![Deed::Subscribed { framework: text("framework"), by, stream: text("stream") }]
        }
        "call" => {
            let taken = entry["taken"].as_bool().unwrap_or_default();
            let since = entry["since"].as_f64().map(|it| it + offset);
            let kills = entry["task"].as_str().map(str::to_owned);
            vec![Deed::Call { kind: text("kind"), stream: text("stream"), taken, kills, since }]
        }
        "launched" => {
            let label = entry["labels"]["n"].as_str().and_then(|it| it.parse().ok()).unwrap_or(u64::MAX);
            let client = client_of(&text("task")).unwrap_or(usize::MAX);
            let agent = entry["agent"].as_u64().unwrap_or_default();
            vec![Deed::Launched { task: text("task"), agent, client, label }]
        }
        "ended" => vec![Deed::Ended { task: text("task") }],
        "order" => match (entry["order"]["do"].as_str(), entry["order"]["agent"].as_u64()) {
            (Some("return_agent"), Some(agent)) => vec![Deed::AgentBack(agent)],
            (Some("kill_agent" | "lose_agent" | "partition_agent"), Some(agent)) => {
                vec![Deed::AgentAway(agent)]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    deeds.into_iter().map(|deed| Entry { at, deed }).collect()
}

/// How the instances call themselves.
pub fn names(lab: &Lab) -> Vec<String> {
    INSTANCES.iter().map(|it| lab.address(*it).to_string()).collect()
}

#[test]
#[ignore = "a process of the fault run, not a test"]
fn process() {
    let Ok(line) = std::env::var(VARIABLE) else { return };
    let options = Options::parse(line.split_whitespace().map(str::to_owned)).unwrap();
    let _cluster = marathon_mesos_sim::launch::Cluster::start(options).unwrap();
    loop {
        std::thread::park();
    }
}
