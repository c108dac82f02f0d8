//! A large state, written to a store as the server itself would have written it.

use std::path::Path;
use std::sync::Arc;

use marathon_model::app::{AppSpec, EnvValue, Networking, PortDefinition, Protocol};
use marathon_model::group::Group;
use marathon_model::id::{AgentId, FrameworkId, GroupId, InstanceId, PathId, TaskId};
use marathon_model::instance::{Agent, Condition, Goal, Instance, Task};
use marathon_model::offer::{IpAddress, TaskState};
use marathon_model::resources::Milli;
use marathon_model::time::Timestamp;
use marathon_model::write::Write;
use marathon_store::{Entry, Options, Store};
use uuid::Uuid;

use crate::Outcome;

/// 2024-01-01, and as good as any.
const THEN: Timestamp = Timestamp(1_704_067_200_000);
const APPS_PER_GROUP: u32 = 100;
const AGENTS: u32 = 100;
/// Entries of one commit.
const COMMIT: usize = 4096;

pub struct Size {
    pub apps: u32,
    /// Running instances of each app.
    pub instances: u32,
}

/// Makes the folder a store that holds this much.
pub fn store(folder: &Path, size: &Size) -> Outcome<()> {
    // Nothing is lost if this machine crashes; the folder is for one run.
    let (mut store, _) = Store::open(folder, Options { sync: false, ..Options::default() })?;
    let new = marathon_records::load(Vec::new())?;
    let mut entries: Vec<Entry> = new.changes.into_iter().map(entry).collect();
    for write in writes(size)? {
        entries.push(entry(marathon_records::encode(&write)));
        if entries.len() == COMMIT {
            store.commit(&entries)?;
            entries.clear();
        }
    }
    store.commit(&entries)?;
    Ok(())
}

fn entry(record: marathon_records::Record) -> Entry {
    Entry { key: record.key, value: record.value }
}

fn writes(size: &Size) -> Outcome<Vec<Write>> {
    let mut all = vec![Write::Framework(FrameworkId::new("framework-1")), Write::Root { version: THEN }];
    all.push(group(PathId::root()));
    let agents: Vec<Arc<Agent>> = (0..AGENTS).map(agent).collect();
    for number in 0..size.apps {
        let team = PathId::parse(&format!("/team-{:03}", number / APPS_PER_GROUP))?;
        if number % APPS_PER_GROUP == 0 {
            all.push(group(team.clone()));
        }
        let app = app(PathId::parse(&format!("{team}/service-{number:05}"))?, number, size.instances);
        for at in 0..size.instances {
            let serial = number * size.instances + at;
            all.push(Write::Instance(Arc::new(instance(&app, serial, &agents[(serial % AGENTS) as usize]))));
        }
        all.push(Write::App(Arc::new(app)));
    }
    Ok(all)
}

fn group(id: GroupId) -> Write {
    Write::Group(Arc::new(Group { id, dependencies: Vec::new(), enforce_role: false, version: THEN }))
}

fn agent(number: u32) -> Arc<Agent> {
    Arc::new(Agent {
        id: AgentId::new(format!("3f2b6f0e-8f3b-4c57-9a57-5f0b6c9d1e2a-S{number}")),
        host: format!("node-{number:03}.cluster.example").into(),
        region: None,
        zone: None,
        attributes: Arc::default(),
    })
}

/// What a small web service looks like.
fn app(id: PathId, number: u32, instances: u32) -> AppSpec {
    let mut spec = AppSpec::new(id);
    spec.cmd = Some("exec ./bin/service --listen $PORT0 --config conf/production.toml".to_owned());
    let env = [("LOG_LEVEL", "info"), ("DATABASE_URL", "postgres://db.cluster.example:5432/service")];
    spec.env = env.into_iter().map(|(name, value)| (name.into(), EnvValue::Text(value.into()))).collect();
    spec.labels =
        [("owner", "team"), ("HAPROXY_GROUP", "external")].map(|(a, b)| (a.into(), b.into())).into();
    spec.instances = instances;
    spec.resources.cpus = Milli(100);
    let port = PortDefinition {
        port: 10_000 + u16::try_from(number % 10_000).unwrap_or_default(),
        protocol: Protocol::Tcp,
        name: Some("http".to_owned()),
        labels: Default::default(),
    };
    spec.networking = Networking::Host { ports: vec![port], require_ports: false };
    (spec.version, spec.last_scaling_at, spec.last_config_change_at, spec.config) = (THEN, THEN, THEN, THEN);
    spec
}

fn instance(app: &AppSpec, serial: u32, agent: &Arc<Agent>) -> Instance {
    let uuid = Uuid::from_fields(serial, 0x7ccb, 0x11eb, &[0x9a, 0x1c, 0x02, 0x42, 0xac, 0x11, 0x00, 0x02]);
    let id = InstanceId { spec: app.id.clone(), uuid };
    let address = format!("10.0.{}.{}", serial % AGENTS, 1);
    let task = Task {
        id: TaskId { instance: id.clone(), container: None, incarnation: 1 },
        state: Some(TaskState::Running),
        staged_at: THEN,
        started_at: Some(THEN),
        resources: app.resources,
        ports: vec![31_000 + u16::try_from(serial / AGENTS % 1000).unwrap_or_default()],
        addresses: vec![IpAddress { address: address.into(), ipv6: false }],
        check: None,
        unreachable_since: None,
        parts: Vec::new(),
    };
    Instance {
        id,
        goal: Goal::Running,
        condition: Condition::Running,
        since: THEN,
        version: app.version,
        config: app.config,
        role: app.role.clone(),
        incarnation: 1,
        agent: Some(agent.clone()),
        task: Some(task),
        health: Vec::new(),
        ready: true,
        reservation: None,
    }
}
