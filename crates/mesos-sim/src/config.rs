//! What can be set about a simulated cluster. The defaults are those of a real master, except for delays that
//! only make tests slow.

use std::time::Duration;

use marathon_mesos_v1::{Attribute, DomainInfo};

use crate::resources::Resources;

#[derive(Debug, Clone)]
pub struct Config {
    pub seed: u64,
    pub cluster: Option<String>,
    pub allocation_interval: Duration,
    /// Allocations happen only when something asks for one: replays decide themselves when a cycle is due.
    pub manual_allocation: bool,
    pub offer_timeout: Option<Duration>,
    /// From the first missed ping to unreachable.
    pub unreachable_after: Duration,
    /// From the death of a leader to the next election, as a ZooKeeper session would end.
    pub session_timeout: Duration,
    /// Agents come to a new master within this time, each at a moment of its own.
    pub register_within: Duration,
    pub heartbeat: Duration,
    /// From ACCEPT to TASK_STARTING, from there to TASK_RUNNING, from a signal to its effect.
    pub start_delay: Duration,
    pub run_delay: Duration,
    pub kill_delay: Duration,
    /// From the end of a process to the moment at which its executor notices.
    pub reap_delay: Duration,
    /// The kill policy of a KILL call counts.
    pub http_command_executor: bool,
    pub enforce_disk_quota: bool,
    /// Agents run Docker containers.
    pub docker: bool,
    pub filter_gpu_resources: bool,
    /// Principals and their secrets; when given, schedulers must authenticate.
    pub credentials: Option<Vec<(String, String)>>,
    pub roles: Option<Vec<String>>,
    pub domain: Option<DomainInfo>,
    pub version: String,
    pub completed_tasks: usize,
    pub completed_frameworks: usize,
    /// How likely a fault is, in each second and at each update.
    pub faults: f64,
    /// Keep a log of every launch, for the audit.
    pub audit: bool,
    /// Commands are carried out by real processes.
    pub real: bool,
    pub work_dir: String,
    /// Users that tasks may run as.
    pub users: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            seed: 1,
            cluster: None,
            allocation_interval: Duration::from_secs(1),
            manual_allocation: false,
            offer_timeout: None,
            unreachable_after: Duration::from_secs(75),
            session_timeout: Duration::from_secs(10),
            register_within: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
            start_delay: Duration::from_millis(50),
            run_delay: Duration::from_millis(10),
            kill_delay: Duration::from_millis(50),
            reap_delay: Duration::from_millis(80),
            http_command_executor: false,
            enforce_disk_quota: false,
            docker: true,
            filter_gpu_resources: true,
            credentials: None,
            roles: None,
            domain: None,
            version: "1.11.0".to_owned(),
            completed_tasks: 1000,
            completed_frameworks: 50,
            faults: 0.0,
            audit: true,
            real: false,
            work_dir: "/tmp/mesos-sim".to_owned(),
            users: ["root", "nobody", "daemon"].map(str::to_owned).to_vec(),
        }
    }
}

/// The shape of one agent to be.
#[derive(Debug, Clone, Default)]
pub struct AgentShape {
    pub hostname: String,
    pub ip: [u8; 4],
    pub port: u16,
    pub resources: Resources,
    pub attributes: std::sync::Arc<Vec<Attribute>>,
    pub domain: Option<DomainInfo>,
}
