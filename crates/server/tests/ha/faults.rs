//! What can go wrong. Kinds come from a deck that is shuffled anew when it is empty, so that a run of some minutes has
//! all of them; so do the pairs of hosts.

use std::collections::BTreeMap;

use serde_json::json;

use super::client::{Answer, Dice, ask};
use super::cluster::{Cluster, signal};
use super::lab::{HAPROXY, HOSTS, Host, INSTANCES, MESOS, NGINX, ZOOKEEPERS};
use super::mesos::{self, AGENTS};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    InstanceKilled,
    InstanceEnded,
    InstanceFrozen,
    LeaderAskedToStepDown,
    ZooKeeperKilled,
    ZooKeeperFrozen,
    QuorumKilled,
    PairCut,
    OneWayCut,
    HostCutOff,
    MajorityAndMinority,
    DiskSlow,
    ClockSet,
    MesosFailedOver,
    MesosMasterKilled,
    MesosFrozen,
    AgentLost,
    StreamsBroken,
    TaskFailed,
    UpdatesLostOrLate,
    BalancerKilled,
    BalancerFrozen,
}

const KINDS: [Kind; 22] = [
    Kind::InstanceKilled,
    Kind::InstanceEnded,
    Kind::InstanceFrozen,
    Kind::LeaderAskedToStepDown,
    Kind::ZooKeeperKilled,
    Kind::ZooKeeperFrozen,
    Kind::QuorumKilled,
    Kind::PairCut,
    Kind::OneWayCut,
    Kind::HostCutOff,
    Kind::MajorityAndMinority,
    Kind::DiskSlow,
    Kind::ClockSet,
    Kind::MesosFailedOver,
    Kind::MesosMasterKilled,
    Kind::MesosFrozen,
    Kind::AgentLost,
    Kind::StreamsBroken,
    Kind::TaskFailed,
    Kind::UpdatesLostOrLate,
    Kind::BalancerKilled,
    Kind::BalancerFrozen,
];

struct Deck<T> {
    all: Vec<T>,
    rest: Vec<T>,
}

impl<T: Clone> Deck<T> {
    fn new(all: Vec<T>) -> Deck<T> {
        Deck { all, rest: Vec::new() }
    }

    fn draw(&mut self, dice: &mut Dice) -> T {
        if self.rest.is_empty() {
            self.rest = self.all.clone();
        }
        self.rest.swap_remove(dice.below(self.rest.len() as u64) as usize)
    }
}

/// A fault that lasts, and what has to be put right in the end.
#[derive(Debug)]
enum Harm {
    Instance(usize),
    FrozenInstance(usize),
    ZooKeepers(Vec<usize>),
    FrozenZooKeeper(usize),
    Net,
    Disk,
    Clock(Host),
    Master(u64),
    FrozenMesos,
    Agent(u64),
    Updates(&'static str),
    Balancer(usize),
    FrozenBalancer(usize),
    Nothing,
}

pub struct Faults {
    kinds: Deck<Kind>,
    pairs: Deck<(Host, Host)>,
    directions: Deck<(Host, Host)>,
    lasting: Vec<Harm>,
    pub done: BTreeMap<Kind, u64>,
    pub pairs_cut: BTreeMap<(Host, Host), u64>,
}

impl Faults {
    pub fn new(cluster: &Cluster) -> Faults {
        let pairs = cluster.lab.pairs();
        let directions = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
        let possible = |it: &Kind| match it {
            Kind::DiskSlow => cluster.disk.is_some(),
            Kind::ClockSet => cluster.clocks.is_some(),
            // Without namespaces only some ways can be cut.
            Kind::MajorityAndMinority => cluster.lab.has_namespaces(),
            Kind::BalancerKilled | Kind::BalancerFrozen => cluster.balancers.count() > 0,
            _ => true,
        };
        Faults {
            kinds: Deck::new(KINDS.into_iter().filter(possible).collect()),
            pairs_cut: pairs.iter().map(|it| (*it, 0)).collect(),
            pairs: Deck::new(pairs),
            directions: Deck::new(directions),
            lasting: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    /// One fault more, until `end`.
    pub fn begin(&mut self, cluster: &mut Cluster, dice: &mut Dice) -> Kind {
        let kind = self.kinds.draw(dice);
        *self.done.entry(kind).or_default() += 1;
        // Half of what happens to instances happens to the leader.
        let any = dice.below(3) as usize;
        let instance = if dice.below(2) == 0 { cluster.leader().unwrap_or(any) } else { any };
        let zookeeper = dice.below(3) as usize;
        let harm = match kind {
            Kind::InstanceKilled => {
                cluster.instances[instance].end("KILL");
                Harm::Instance(instance)
            }
            Kind::InstanceEnded => {
                cluster.instances[instance].end("TERM");
                Harm::Instance(instance)
            }
            Kind::InstanceFrozen => {
                cluster.instances[instance].signal("STOP");
                Harm::FrozenInstance(instance)
            }
            Kind::LeaderAskedToStepDown => {
                if let Answer::Unsent = ask(cluster.instances[instance].address, "DELETE", "/v2/leader", "") {
                }
                Harm::Nothing
            }
            Kind::ZooKeeperKilled => self.kill_zookeepers(cluster, vec![zookeeper]),
            Kind::QuorumKilled => {
                let several = [vec![0, 1], vec![1, 2], vec![0, 2], vec![0, 1, 2]];
                self.kill_zookeepers(cluster, several[dice.below(4) as usize].clone())
            }
            Kind::ZooKeeperFrozen => {
                cluster.zookeepers[zookeeper].signal("STOP");
                Harm::FrozenZooKeeper(zookeeper)
            }
            Kind::PairCut => {
                let (a, b) = self.pairs.draw(dice);
                self.cut(cluster, &[a], &[b], true)
            }
            Kind::OneWayCut => {
                let (a, b) = self.directions.draw(dice);
                self.cut(cluster, &[a], &[b], false)
            }
            Kind::HostCutOff => {
                let host = match dice.below(4) {
                    0 => INSTANCES[instance],
                    1 => ZOOKEEPERS[zookeeper],
                    2 => [HAPROXY, NGINX][dice.below(2) as usize],
                    _ => 1 + dice.below(MESOS.into()) as Host,
                };
                let rest: Vec<Host> = HOSTS.filter(|it| *it != host).collect();
                // In both directions, or deaf, or mute.
                match dice.below(3) {
                    0 => self.cut(cluster, &[host], &rest, true),
                    1 => self.cut(cluster, &[host], &rest, false),
                    _ => self.cut(cluster, &rest, &[host], false),
                }
            }
            Kind::MajorityAndMinority => {
                // The leader or another, one ZooKeeper, and perhaps Mesos, on the side of the few.
                let mut few = vec![INSTANCES[instance], ZOOKEEPERS[zookeeper]];
                if dice.below(2) == 0 {
                    few.push(MESOS);
                }
                let many: Vec<Host> = HOSTS.filter(|it| !few.contains(it)).collect();
                self.cut(cluster, &few, &many, dice.below(3) > 0)
            }
            Kind::DiskSlow => {
                let (writes, all) = (1 + dice.below(12), dice.below(2) == 0);
                for (at, it) in cluster.zookeepers.iter().enumerate() {
                    if let (true, Some(pid), Some(disk)) = (all || at == zookeeper, it.pid(), &cluster.disk) {
                        disk.slow(pid, writes);
                    }
                }
                Harm::Disk
            }
            Kind::ClockSet => {
                let host = if dice.below(3) == 0 { ZOOKEEPERS[zookeeper] } else { INSTANCES[instance] };
                let size = [2, 30, 600, 7_200, 172_800][dice.below(5) as usize] + dice.below(60) as i64;
                if let Some(clocks) = &cluster.clocks {
                    clocks.set(host, if dice.below(2) == 0 { size } else { -size });
                }
                Harm::Clock(host)
            }
            Kind::MesosFailedOver => self.order(cluster, &json!({ "do": "fail_over" }), Harm::Nothing),
            Kind::MesosMasterKilled => {
                let told = cluster.mesos.order(&json!({ "do": "kill_master" }));
                told.and_then(|it| it["master"].as_u64()).map_or(Harm::Nothing, Harm::Master)
            }
            Kind::MesosFrozen => {
                signal(cluster.mesos.pid(), "STOP");
                Harm::FrozenMesos
            }
            Kind::AgentLost => {
                let how = ["kill_agent", "partition_agent", "lose_agent"][dice.below(3) as usize];
                let agent = dice.below(AGENTS);
                self.order(cluster, &json!({ "do": how, "agent": agent }), Harm::Agent(agent))
            }
            Kind::StreamsBroken => {
                let how = ["drop_streams", "rescind_all"][dice.below(2) as usize];
                self.order(cluster, &json!({ "do": how }), Harm::Nothing)
            }
            Kind::TaskFailed => {
                let running: Vec<String> = mesos::running(&cluster.mesos.masters)
                    .into_iter()
                    .flatten()
                    .flat_map(|it| it.1)
                    .collect();
                if !running.is_empty() {
                    let task = &running[dice.below(running.len() as u64) as usize];
                    let how = ["fail_task", "finish_task", "kill_task"][dice.below(3) as usize];
                    let _ = cluster.mesos.order(&json!({ "do": how, "task": task, "status": 1 }));
                }
                Harm::Nothing
            }
            Kind::UpdatesLostOrLate => {
                let how = ["lose_updates", "duplicate_updates", "delay_updates"][dice.below(3) as usize];
                self.order(cluster, &json!({ "do": how, "on": true, "seconds": 2 }), Harm::Updates(how))
            }
            Kind::BalancerKilled => {
                let at = dice.below(cluster.balancers.count() as u64) as usize;
                cluster.balancers.kill(at);
                Harm::Balancer(at)
            }
            Kind::BalancerFrozen => {
                let at = dice.below(cluster.balancers.count() as u64) as usize;
                cluster.balancers.signal(at, "STOP");
                Harm::FrozenBalancer(at)
            }
        };
        self.lasting.push(harm);
        kind
    }

    fn order(&self, cluster: &Cluster, order: &serde_json::Value, harm: Harm) -> Harm {
        let _ = cluster.mesos.order(order);
        harm
    }

    fn kill_zookeepers(&self, cluster: &mut Cluster, which: Vec<usize>) -> Harm {
        which.iter().for_each(|it| cluster.zookeepers[*it].stop());
        Harm::ZooKeepers(which)
    }

    fn cut(&mut self, cluster: &mut Cluster, from: &[Host], to: &[Host], both: bool) -> Harm {
        for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
            cluster.lab.cut(a, b);
            if both {
                cluster.lab.cut(b, a);
            }
            if let Some(times) = self.pairs_cut.get_mut(&(a.min(b), a.max(b))) {
                *times += 1;
            }
        }
        Harm::Net
    }

    /// Puts right what is wrong, the last first.
    pub fn end(&mut self, cluster: &mut Cluster) {
        while let Some(harm) = self.lasting.pop() {
            match harm {
                Harm::Instance(at) => cluster.instances[at].begin(),
                Harm::FrozenInstance(at) => cluster.instances[at].signal("CONT"),
                Harm::ZooKeepers(which) => which.iter().for_each(|it| {
                    // One that was killed twice begins once.
                    cluster.zookeepers[*it].stop();
                    cluster.zookeepers[*it].begin();
                }),
                Harm::FrozenZooKeeper(at) => cluster.zookeepers[at].signal("CONT"),
                Harm::Net => cluster.lab.heal(),
                Harm::Disk => cluster.disk.iter().for_each(super::disk::Disk::release),
                Harm::Clock(host) => cluster.clocks.iter().for_each(|it| it.set(host, 0)),
                Harm::Master(master) => {
                    let _ = cluster.mesos.order(&json!({ "do": "start_master", "master": master }));
                }
                Harm::FrozenMesos => signal(cluster.mesos.pid(), "CONT"),
                Harm::Agent(agent) => {
                    let _ = cluster.mesos.order(&json!({ "do": "return_agent", "agent": agent }));
                }
                Harm::Updates(how) => {
                    let _ = cluster.mesos.order(&json!({ "do": how, "on": false }));
                }
                Harm::Balancer(at) => cluster.balancers.begin(at),
                Harm::FrozenBalancer(at) => cluster.balancers.signal(at, "CONT"),
                Harm::Nothing => {}
            }
        }
    }
}
