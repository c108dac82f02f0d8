//! What one seed is made of: the cluster, the users, and which misfortunes exist in its world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marathon_core_faulty::Policy;
use marathon_model::offer::Attribute;
use marathon_model::resources::{ANY_ROLE, Amount, Milli, PortRange, Resource, Role};

use crate::History;
use crate::agenda::Millis;
use crate::dice::Dice;

/// The region of the master, and of most agents.
const HOME: &str = "home";

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    /// How many events reach the core before the world turns kind.
    pub events: u64,
    pub agents: Vec<AgentPlan>,
    pub faults: Faults,
    pub policy: Policy,
    /// Mean time between two wishes of users.
    pub client_gap: Millis,
    /// Users care about unfinished deployments: they wait, or they force.
    pub forceful: f64,
    /// How often a wish is to take back what is under way.
    pub fickle: f64,
    /// Some apps own volumes.
    pub resident: bool,
    /// How often a change is asked to give up by itself.
    pub guarded: f64,
    /// After so many steps the core is audited as a whole; what a step changed is audited at once.
    pub audit_every: u64,
}

#[derive(Debug, Clone)]
pub struct AgentPlan {
    pub host: Arc<str>,
    pub attributes: Arc<BTreeMap<String, Attribute>>,
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub resources: Vec<Resource>,
}

/// Zero means that a fault does not exist in this history.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The scheduler dies at a commit: before it, after it, or in the middle of what follows.
    pub crash: f64,
    pub disconnect_gap: Millis,
    pub partition_gap: Millis,
    /// A cut-off agent never comes back.
    pub agent_gone: f64,
    pub update_lost: f64,
    pub update_doubled: f64,
    pub update_late: f64,
    pub rescind_gap: Millis,
    pub task_dies: f64,
    pub launch_stuck: f64,
    pub task_sickens: f64,
    pub probe_lost: f64,
    pub clock_step_gap: Millis,
    pub wake_late: f64,
    pub kill_ignored: f64,
    /// A commit takes seconds; whatever happens meanwhile waits.
    pub store_slow: f64,
    pub storm_gap: Millis,
    pub maintenance_gap: Millis,
}

impl Plan {
    pub fn draw(history: &History) -> Plan {
        let History { seed, events, ref broken } = *history;
        let mut dice = Dice::new(seed, 0);
        let role: Role = if dice.chance(0.3) { "prod".into() } else { ANY_ROLE.into() };
        let count = dice.between(1, 6);
        let agents = (0..count).map(|at| AgentPlan::draw(&mut dice, at, &role)).collect();
        Plan {
            seed,
            events,
            agents,
            faults: Faults::draw(&mut dice),
            policy: Policy { faults: broken.clone(), ..policy(&mut dice, role) },
            client_gap: *dice.pick(&[4_000, 20_000, 90_000]),
            forceful: *dice.pick(&[0.0, 0.2, 0.6]),
            fickle: *dice.pick(&[0.02, 0.05, 0.3]),
            resident: Dice::new(seed, 9).chance(0.5),
            guarded: *dice.pick(&[0.0, 0.0, 0.1, 0.5]),
            audit_every: if seed.is_multiple_of(64) { 1 } else { 60 },
        }
    }
}

impl Faults {
    fn draw(dice: &mut Dice) -> Faults {
        if dice.chance(0.1) {
            return Faults::default();
        }
        let mut rate = |rates: [f64; 2]| if dice.chance(0.5) { *dice.pick(&rates) } else { 0.0 };
        let (crash, agent_gone) = (rate([0.001, 0.01]), rate([0.2, 0.6]));
        let (update_lost, update_doubled, update_late) =
            (rate([0.02, 0.3]), rate([0.02, 0.3]), rate([0.02, 0.3]));
        let (task_dies, launch_stuck, task_sickens) =
            (rate([0.05, 0.5]), rate([0.02, 0.2]), rate([0.1, 0.5]));
        let (probe_lost, wake_late, kill_ignored) = (rate([0.02, 0.2]), rate([0.05, 0.5]), rate([0.1, 0.5]));
        let store_slow = rate([0.002, 0.05]);
        let mut gap = |gaps: [Millis; 2]| if dice.chance(0.5) { *dice.pick(&gaps) } else { 0 };
        Faults {
            crash,
            agent_gone,
            update_lost,
            update_doubled,
            update_late,
            task_dies,
            launch_stuck,
            task_sickens,
            probe_lost,
            wake_late,
            kill_ignored,
            disconnect_gap: gap([100_000, 900_000]),
            partition_gap: gap([60_000, 600_000]),
            rescind_gap: gap([2_000, 60_000]),
            clock_step_gap: gap([100_000, 1_000_000]),
            store_slow,
            storm_gap: gap([120_000, 900_000]),
            maintenance_gap: gap([120_000, 900_000]),
        }
    }
}

fn policy(dice: &mut Dice, role: Role) -> Policy {
    let seconds = |dice: &mut Dice, of: &[u64]| Duration::from_secs(*dice.pick(of));
    let mut policy = Policy {
        task_launch_timeout: seconds(dice, &[40, 300]),
        task_launch_confirm_timeout: seconds(dice, &[20, 300]),
        kill_retry_timeout: seconds(dice, &[5, 30]),
        decline_offer_duration: seconds(dice, &[5, 120]),
        min_revive_offers_interval: seconds(dice, &[0, 5]),
        reconciliation_interval: seconds(dice, &[60, 600]),
        suppress_offers: dice.chance(0.8),
        max_instances_per_offer: *dice.pick(&[None, Some(1), Some(5)]),
        max_versions: *dice.pick(&[2, 5, 50]),
        max_running_deployments: *dice.pick(&[2, 100]),
        maintenance_mode: dice.chance(0.8),
        draining: seconds(dice, &[0, 60]),
        master_region: dice.chance(0.3).then(|| HOME.to_owned()),
        ..Policy::default()
    };
    policy.rules.mesos_role = role;
    policy.rules.any_role_reserves = true;
    policy
}

impl AgentPlan {
    fn draw(dice: &mut Dice, at: u64, role: &Role) -> AgentPlan {
        let cpus = *dice.pick(&[1_000, 2_000, 4_000, 8_000]);
        let mem = *dice.pick(&[256, 1_024, 4_096]);
        let ports = *dice.pick(&[2, 10, 1_000]);
        let mut plan = AgentPlan::new(dice, at, role, cpus, mem, ports);
        if dice.chance(0.2) {
            plan.region = "away".into();
        }
        plan
    }

    /// Large enough for whatever users want, for the time after the faults.
    pub fn large(dice: &mut Dice, at: u64, role: &Role) -> AgentPlan {
        AgentPlan::new(dice, at, role, 32_000, 65_536, 1_000)
    }

    fn new(dice: &mut Dice, at: u64, role: &Role, cpus: u64, mem: u64, ports: u16) -> AgentPlan {
        let mut resources = Vec::new();
        let mut put = |role: &Role, cpus: u64, mem: u64, first: u16, ports: u16| {
            let kinds = [
                Amount::Cpus(Milli(cpus)),
                Amount::Mem(Milli::from_whole(mem)),
                Amount::Disk(Milli::from_whole(10_000)),
                Amount::Ports(vec![PortRange { first, last: first + ports - 1 }]),
            ];
            resources.extend(kinds.map(|amount| Resource::new(role.clone(), amount)));
        };
        let any: Role = ANY_ROLE.into();
        if **role != *ANY_ROLE && dice.chance(0.5) {
            put(role, cpus / 2, mem / 2, 31_000, ports / 2);
            put(&any, cpus - cpus / 2, mem - mem / 2, 31_000 + ports / 2, ports - ports / 2);
        } else {
            put(&any, cpus, mem, 31_000, ports);
        }
        let rack = Attribute::Text(format!("r{}", 1 + at % 3));
        AgentPlan {
            host: format!("host{at}").into(),
            attributes: Arc::new(BTreeMap::from([("rack".to_owned(), rack)])),
            region: HOME.into(),
            zone: format!("z{}", 1 + at / 2 % 3).into(),
            resources,
        }
    }
}
