//! The recorded scenarios: what the cluster looked like, and what happened to it outside HTTP.

use std::time::Duration;

use marathon_mesos_sim::agents::named;
use marathon_mesos_sim::config::{AgentShape, Config};
use marathon_mesos_sim::sim::Sim;
use marathon_mesos_sim::state::Link;
use marathon_mesos_sim::time::Time;
use marathon_mesos_v1::{Attribute, DomainInfo};
use serde_json::json;

pub type Act = fn(&mut Sim);

#[derive(Clone)]
pub struct Scenario {
    pub file: &'static str,
    /// Changes to the usual cluster.
    pub config: fn(&mut Config),
    pub agents: usize,
    pub seats: usize,
    pub resources: &'static str,
    pub regions: bool,
    /// What a remark of the recorder stands for.
    pub notes: &'static [(&'static str, Act)],
    /// What happened at a moment of which no remark tells.
    pub at: &'static [(f64, Act)],
    /// Of answers on these connections only status and headers are compared.
    pub status_only: &'static [&'static str],
    pub may_be_left: &'static [&'static str],
    /// Of these frames (connection, kind) only the kind is compared.
    pub kind_only: &'static [(&'static str, &'static str)],
    /// Task groups: see `Bindings::nested`.
    pub nested: bool,
    /// Texts that a race decides: recorded, ours.
    /// Allocation cycles go on between the recorded ones, so that offers that must not come would show.
    pub cycles: bool,
    pub instead: &'static [(&'static str, &'static str)],
}

const USUAL: Scenario = Scenario {
    file: "",
    config: |_| {},
    agents: 1,
    seats: 1,
    resources: "cpus:4;mem:2048;disk:4096;ports:[31000-31099]",
    regions: false,
    notes: &[],
    at: &[],
    status_only: &[],
    may_be_left: &["OFFERS"],
    kind_only: &[],
    nested: false,
    cycles: false,
    instead: &[],
};

fn order(sim: &mut Sim, order: serde_json::Value) {
    let answer = sim.admin(&order);
    assert_eq!(answer.status, 200, "{order}: {}", String::from_utf8_lossy(&answer.body));
}

fn new(file: &'static str) -> Scenario {
    Scenario { file, ..USUAL }
}

pub fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<Scenario> = PLAIN.iter().map(|it| new(it)).collect();
    all.extend(special());
    all
}

/// Nothing but HTTP happens in these.
const PLAIN: &[&str] = &[
    "01a-subscribe-multi-role",
    "01b-subscribe-legacy-role",
    "01c-subscribe-minimal",
    "01e-subscribe-multi-role-without-refinement",
    "02a-launch-run-finish-fail",
    "02b-update-not-acknowledged",
    "02c-accept-edge-cases",
    "02d-accept-legacy-framework",
    "02e-launch-uris-env-labels-discovery-ports",
    "03a-kill-with-killing-state",
    "03b-kill-without-killing-state",
    "04c-maintenance-inverse-offers",
    "05b-reconcile-legacy",
    "05c-reconcile-unacked-terminal",
    "06a-disconnect-resubscribe",
    "06b-second-subscriber",
    "06c-failover-timeout-expired",
    "08b-unknown-framework-id-after-failover",
    "09a-reserve-create-launch-destroy-unreserve",
    "11a-health-checks",
    "11b-checks",
    "11c-health-check-invalid",
    "12b-call-errors",
    "12d-call-on-the-stream-connection",
];

fn attributes(at: usize) -> std::sync::Arc<Vec<Attribute>> {
    let text = ["rack:r1;zone:z1", "rack:r2;zone:z1"][at];
    marathon_mesos_sim::convert::attributes(text).unwrap().into()
}

fn region(name: &str, zone: &str) -> DomainInfo {
    serde_json::from_value(
        json!({ "fault_domain": { "region": { "name": name }, "zone": { "name": zone } } }),
    )
    .unwrap()
}

fn special() -> Vec<Scenario> {
    vec![
        Scenario {
            config: |it| it.reap_delay = Duration::from_millis(150),
            ..new("05a-reconcile-partition-aware")
        },
        Scenario {
            // The signal reached the executor's child before it had become the command.
            instead: &[("Command exited with status 1", "Command terminated with signal Terminated")],
            ..new("16-protobuf")
        },
        Scenario { cycles: true, may_be_left: &[], ..new("01d-subscribe-multi-role-several-roles") },
        Scenario { cycles: true, may_be_left: &[], ..new("04a-decline-suppress-revive") },
        Scenario { nested: true, ..new("10a-launch-group") },
        Scenario { nested: true, ..new("11d-health-check-task-group") },
        Scenario {
            config: |it| it.cluster = Some("rec".to_owned()),
            status_only: &["gz-state"],
            ..new("12c-connection-handling")
        },
        Scenario {
            config: |it| it.http_command_executor = true,
            ..new("03c-kill-policy-override-http-command-executor")
        },
        Scenario {
            config: |it| it.offer_timeout = Some(Duration::from_secs(4)),
            ..new("04b-rescind-offer-timeout")
        },
        Scenario {
            status_only: &["op"],
            cycles: true,
            may_be_left: &[],
            ..new("06d-resubscribe-changed-info")
        },
        Scenario {
            notes: &[
                ("agent gets SIGKILL", |sim| sim.kill_agent(0)),
                ("agent process is started again", |sim| sim.return_agent(0)),
            ],
            ..new("07a-agent-killed-and-returns")
        },
        Scenario {
            notes: &[
                ("SIGSTOP", |sim| {
                    if 0.1 < sim.now.seconds() - START.seconds() {
                        sim.partition_agent(0)
                    }
                }),
                ("SIGCONT", |sim| {
                    if 1.0 < sim.now.seconds() - START.seconds() {
                        sim.return_agent(0)
                    }
                }),
            ],
            ..new("07b-agent-partitioned-sigstop")
        },
        Scenario {
            notes: &[("SIGUSR1 to the agent", |sim| sim.shut_agent_down(0))],
            at: &[(8.3, |sim| {
                sim.agents[0].port = 15052;
                sim.agents[0].attributes = attributes(1);
                sim.return_agent(0);
            })],
            ..new("07c-agent-shutdown-and-gone")
        },
        Scenario {
            notes: &[("SIGKILL to the executor of t-ex", |sim| {
                order(sim, json!({ "do": "kill_executor", "task": "t-ex" }))
            })],
            ..new("07d-drain-agent-and-executor-killed")
        },
        Scenario {
            config: |it| it.session_timeout = Duration::from_millis(11_300),
            notes: &[
                ("SIGKILL to the master", |sim| sim.kill_master(0)),
                ("master process started again", |sim| sim.start_master(0)),
            ],
            ..new("08a-master-restart")
        },
        Scenario {
            seats: 2,
            config: |it| {
                it.session_timeout = Duration::from_millis(7_600);
                it.register_within = Duration::from_secs(1000);
            },
            notes: &[("SIGKILL to the leader", |sim| {
                sim.kill_master(0);
                // Each of these masters has a registry of its own.
                sim.agents[0].link = Link::Unknown;
            })],
            at: &[(12.1, |sim| sim.return_agent(0))],
            status_only: &["op/metrics"],
            ..new("08c-two-masters-failover")
        },
        Scenario {
            at: &[
                (0.06, |sim| {
                    sim.nobody_leads();
                    sim.seats[0].starting = true;
                }),
                (0.09, |sim| sim.seats[0].starting = false),
                (0.12, |sim| sim.elected(0)),
            ],
            may_be_left: &["SUBSCRIBED", "OFFERS"],
            ..new("08d-master-start-up-phases")
        },
        Scenario {
            notes: &[
                ("no leader is known", Sim::nobody_leads),
                ("cannot recover the registry", |sim| {
                    sim.elected(0);
                    sim.seats[0].recovering = true;
                }),
            ],
            agents: 0,
            config: |it| it.allocation_interval = Duration::from_secs(1),
            status_only: &["no-leader/metrics", "not-recovered/metrics"],
            ..new("08e-no-leader-and-not-recovered")
        },
        Scenario {
            at: &[
                (10.2, |sim| {
                    sim.external_election = true;
                    sim.kill_master(0);
                    sim.announced = None;
                }),
                (17.0, |sim| sim.announced = Some(0)),
                (23.4, |sim| sim.elected(0)),
                (23.6, |sim| sim.return_agent(0)),
            ],
            config: |it| it.register_within = Duration::from_secs(1000),
            notes: &[("master started again", |sim| {
                if 11.0 < sim.now.seconds() - START.seconds() {
                    sim.start_master(0)
                }
            })],
            ..new("08f-zookeeper-outage")
        },
        Scenario {
            resources: "cpus:3.5;mem:1984;disk:4064;ports:[31000-31099];cpus(test):0.5;mem(test):64;disk(test):32",
            ..new("09b-operation-feedback")
        },
        Scenario {
            resources: "cpus:3.5;mem:1984;disk:4064;ports:[31000-31099];cpus(test):0.5;mem(test):64;disk(test):32",
            ..new("09c-reserve-legacy-format-and-wrong-principal")
        },
        Scenario { status_only: &["x31"], ..new("12a-http-errors") },
        Scenario {
            config: |it| {
                let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
                it.credentials =
                    Some(vec![pair("rec-principal", "rec-secret"), pair("other-principal", "other-secret")]);
            },
            ..new("13-authentication")
        },
        Scenario { seats: 2, ..new("14-zookeeper-content") },
        Scenario {
            config: |it| it.cluster = Some("rec".to_owned()),
            status_only: &["m/metrics", "m/master/flags", "v1-GET_FLAGS", "a/", "av1-"],
            ..new("15-operator-endpoints")
        },
        Scenario { kind_only: &[("ev", "SUBSCRIBED")], ..new("15b-operator-event-stream") },
        Scenario {
            agents: 2,
            notes: &[("SIGKILL agent2", |sim| sim.kill_agent(1))],
            ..new("17a-two-agents")
        },
        Scenario {
            notes: &[
                ("SIGKILL agent1", |sim| sim.kill_agent(0)),
                ("agent1 returns", |sim| sim.return_agent(0)),
            ],
            ..new("17b-no-checkpoint")
        },
        Scenario {
            config: |it| it.enforce_disk_quota = true,
            at: &[(0.6, |sim| order(sim, json!({ "do": "exceed_disk", "task": "t-disk" })))],
            ..new("18a-resource-limitation")
        },
        Scenario {
            agents: 2,
            regions: true,
            config: |it| it.domain = Some(region("region-a", "zone-a1")),
            ..new("18b-fault-domains")
        },
    ]
}

/// When the recordings begin, in virtual time.
pub const START: Time = Time(1_795_335_000_000_000_000);

pub fn cluster(scenario: &Scenario) -> Sim {
    let mut config = Config {
        manual_allocation: true,
        allocation_interval: Duration::from_millis(500),
        unreachable_after: Duration::from_millis(3400),
        register_within: Duration::from_millis(1),
        start_delay: Duration::from_millis(30),
        run_delay: Duration::from_millis(5),
        kill_delay: Duration::from_millis(40),
        docker: false,
        work_dir: "<WORK>".to_owned(),
        ..Config::default()
    };
    (scenario.config)(&mut config);
    let mut sim = Sim::new(config, START);
    for seat in 0..scenario.seats {
        sim.add_seat("127.0.0.1", [127, 0, 0, 1], [15050, 15060][seat]);
    }
    for at in 0..scenario.agents {
        sim.add_agent(AgentShape {
            hostname: "127.0.0.1".to_owned(),
            ip: [127, 0, 0, 1],
            port: [15051, 15052][at],
            resources: marathon_mesos_sim::resources::parse(scenario.resources).unwrap(),
            attributes: attributes(at),
            domain: scenario
                .regions
                .then(|| [region("region-a", "zone-a1"), region("region-b", "zone-b1")][at].clone()),
        });
    }
    assert!(scenario.agents == 0 || named(&sim, "0") == Some(0));
    sim
}
