use std::sync::Arc;

use imbl::{OrdMap, Vector};
use marathon_model::app::{AppSpec, Networking, PortDefinition, Protocol};
use marathon_model::id::{AgentId, DeploymentId, InstanceId, SpecId, TaskId};
use marathon_model::instance::{Agent, Condition, Goal, Health, Instance, Task};
use marathon_model::offer::{IpAddress, TaskState};
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Counts, Tally};
use uuid::Uuid;

use crate::{at, path};

/// A time-based uuid with this number in it.
pub fn uuid(number: u32) -> Uuid {
    Uuid::from_fields(number, 0x7ccb, 0x11eb, &[0x9a, 0x1c, 0x02, 0x42, 0xac, 0x11, 0x00, 0x02])
}

pub fn instance_id(app: &str, number: u32) -> InstanceId {
    InstanceId { spec: path(app), uuid: uuid(number) }
}

pub fn task_id(app: &str, number: u32) -> TaskId {
    TaskId { instance: instance_id(app, number), container: None, incarnation: 1 }
}

pub fn deployment_id(number: u32) -> DeploymentId {
    DeploymentId(uuid(number))
}

/// `agent-<number>`.
pub fn agent(number: u32) -> Arc<Agent> {
    Arc::new(Agent {
        id: AgentId::new(format!("S{number}")),
        host: format!("agent-{number}").into(),
        region: None,
        zone: None,
        attributes: Arc::default(),
    })
}

/// An app that sleeps, stored at `at(0)`, without instances until some are added.
pub fn app(id: &str) -> AppBuilder {
    let mut spec = AppSpec::new(path(id));
    spec.cmd = Some("sleep 100".into());
    (spec.version, spec.last_scaling_at, spec.last_config_change_at, spec.config) =
        (at(0), at(0), at(0), at(0));
    let port = PortDefinition {
        port: 10_000,
        protocol: Protocol::Tcp,
        name: Some("default".into()),
        labels: Default::default(),
    };
    spec.networking = Networking::Host { ports: vec![port], require_ports: false };
    AppBuilder { spec, instances: Vec::new(), edits: Vec::new(), removed: false }
}

type Edit = Box<dyn FnOnce(&mut App)>;

/// Instances are numbered from 1 in the order in which they are added; number `n` runs on agent `n`
/// with host port `31000 + n`.
pub struct AppBuilder {
    spec: AppSpec,
    instances: Vec<Instance>,
    edits: Vec<Edit>,
    removed: bool,
}

impl AppBuilder {
    /// How many are wanted; says nothing about how many there are.
    pub fn instances(mut self, count: u32) -> AppBuilder {
        self.spec.instances = count;
        self
    }

    pub fn label(mut self, name: &str, value: &str) -> AppBuilder {
        self.spec.labels.insert(name.into(), value.into());
        self
    }

    /// Changes the definition.
    pub fn spec(mut self, edit: impl FnOnce(&mut AppSpec)) -> AppBuilder {
        edit(&mut self.spec);
        self
    }

    /// Adds instances that run and have no health checks.
    pub fn running(self, count: u32) -> AppBuilder {
        self.add(count, Condition::Running, |_| {})
    }

    /// Adds instances that run and pass (or fail) their health check.
    pub fn checked(self, count: u32, alive: bool) -> AppBuilder {
        self.add(count, Condition::Running, |it| {
            let (success, failure) = if alive { (Some(at(5)), None) } else { (None, Some(at(6))) };
            it.health = vec![Health {
                first_success: success,
                last_success: success,
                last_failure: failure,
                last_failure_cause: failure.map(|_| "connection refused".into()),
                consecutive_failures: u32::from(!alive),
            }];
        })
    }

    /// Adds instances that are launched and not running yet.
    pub fn staging(self, count: u32) -> AppBuilder {
        self.add(count, Condition::Staging, |_| {})
    }

    /// Adds instances that wait to be placed for the first time.
    pub fn scheduled(self, count: u32) -> AppBuilder {
        self.add(count, Condition::Scheduled, |_| {})
    }

    /// Adds instances in any condition, each changed by `edit`.
    pub fn add(mut self, count: u32, condition: Condition, edit: impl Fn(&mut Instance)) -> AppBuilder {
        for _ in 0..count {
            let number = self.instances.len() as u32 + 1;
            let mut instance = instance(&self.spec, number, condition);
            edit(&mut instance);
            self.instances.push(instance);
        }
        self
    }

    /// Changes the finished app.
    pub fn with(mut self, edit: impl FnOnce(&mut App) + 'static) -> AppBuilder {
        self.edits.push(Box::new(edit));
        self
    }

    /// Leaves only the instances, as after a removal.
    pub fn removed(mut self) -> AppBuilder {
        self.removed = true;
        self
    }

    pub fn build(self) -> App {
        let spec = Arc::new(self.spec);
        let mut history = Vector::unit((spec.version, Some(spec.clone())));
        if self.removed {
            history.push_back((at(100), None));
        }
        let mut tally = Tally::default();
        for instance in &self.instances {
            let current = instance.config == spec.config;
            count(if current { &mut tally.current } else { &mut tally.outdated }, instance);
        }
        let mut app = App {
            id: spec.id.clone(),
            spec: (!self.removed).then(|| spec.clone()),
            history,
            instances: self
                .instances
                .into_iter()
                .map(|it| (it.id.uuid, Arc::new(it)))
                .collect::<OrdMap<_, _>>(),
            tally,
            failure: None,
            delay: None,
            deployments: Vec::new(),
            waiting: None,
            readiness: imbl::OrdMap::new(),
            revision: 1,
        };
        self.edits.into_iter().for_each(|edit| edit(&mut app));
        app
    }
}

fn instance(spec: &AppSpec, number: u32, condition: Condition) -> Instance {
    let id = InstanceId { spec: SpecId::clone(&spec.id), uuid: uuid(number) };
    let placed = condition != Condition::Scheduled;
    let task = Task {
        id: TaskId { instance: id.clone(), container: None, incarnation: 1 },
        state: state(condition),
        staged_at: at(1),
        started_at: (condition == Condition::Running).then(|| at(2)),
        resources: spec.resources,
        ports: vec![31_000 + number as u16],
        addresses: vec![IpAddress { address: format!("10.0.0.{number}").into(), ipv6: false }],
        check: None,
        unreachable_since: None,
        parts: Vec::new(),
    };
    Instance {
        id,
        goal: Goal::Running,
        condition,
        since: Timestamp::max(spec.version, at(2)),
        version: spec.version,
        config: spec.config,
        role: spec.role.clone(),
        incarnation: u32::from(placed),
        agent: placed.then(|| agent(number)),
        task: placed.then_some(task),
        health: Vec::new(),
        ready: condition == Condition::Running,
        reservation: None,
    }
}

fn state(condition: Condition) -> Option<TaskState> {
    Some(match condition {
        Condition::Scheduled | Condition::Provisioned => return None,
        Condition::Staging => TaskState::Staging,
        Condition::Starting => TaskState::Starting,
        Condition::Running => TaskState::Running,
        Condition::Killing => TaskState::Killing,
        Condition::Unreachable | Condition::UnreachableInactive => TaskState::Unreachable,
        Condition::Finished => TaskState::Finished,
        Condition::Killed => TaskState::Killed,
        Condition::Error => TaskState::Error,
        Condition::Failed => TaskState::Failed,
        Condition::Gone => TaskState::Gone,
        Condition::Dropped => TaskState::Dropped,
        Condition::Unknown => TaskState::Unknown,
    })
}

/// Counts one instance as the doc comments of `Counts` say.
fn count(counts: &mut Counts, instance: &Instance) {
    let running = instance.goal == Goal::Running;
    let launched =
        matches!(instance.condition, Condition::Provisioned | Condition::Staging | Condition::Starting);
    counts.total += 1;
    counts.wanted += u32::from(running && instance.condition != Condition::UnreachableInactive);
    counts.waiting += u32::from(instance.wants_launch());
    counts.serving += u32::from(running && instance.is_serving());
    counts.ending += u32::from(!running && !instance.is_over());
    counts.staged += u32::from(launched);
    counts.running += u32::from(instance.condition == Condition::Running);
    counts.healthy += u32::from(instance.healthy() == Some(true));
    counts.unhealthy += u32::from(instance.healthy() == Some(false));
}
