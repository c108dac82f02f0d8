//! Pods in a history: who asks for them, how their containers live, and what must hold for them.
//!
//! Each container is a task of the cluster, with updates of its own that overtake those of the others. When
//! one ends, the agent ends the others in half of all cases; in the other half it waits to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use marathon_model::app::*;
use marathon_model::command::{Command, PodEdit, Victims};
use marathon_model::id::{AgentId, InstanceId, SpecId, TaskId};
use marathon_model::instance::{Condition, Instance};
use marathon_model::offer::{Launch, TaskState};
use marathon_model::pod::*;
use marathon_model::resources::{Amounts, Milli, Resource};
use marathon_model::update::*;

use crate::agenda::{Agenda, Happening, TaskMove};
use crate::check::{Found, ensure, is_final};
use crate::client::{APPS, Client, INSTANCES_MAX, Wanted, constraint, edit_apps, wanted_of};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::kept;
use crate::store::Store;
use crate::task::{Start, Task};

const PODS: [&str; 3] = ["/p", "/shop/pod", "/x/pod"];
const NAMES: [&str; 3] = ["web", "side", "log"];

impl Client {
    pub fn wish_pod(&mut self, store: &Store, force: bool) -> (Command, BTreeMap<SpecId, Wanted>) {
        let id = self.any(&PODS);
        let mut wanted = BTreeMap::new();
        let command = match self.dice.between(0, 99) {
            0..60 => {
                let update = Box::new(self.pod_definition(&id));
                wanted.insert(id.clone(), Wanted::Defined { instances: update.instances, cmd: None });
                let edit = match self.dice.chance(0.3) {
                    true => PodEdit::Create(update),
                    false => PodEdit::Replace(update),
                };
                Command::EditPod { id, edit, force, origin: None }
            }
            60..75 => {
                wanted.insert(id.clone(), Wanted::Removed);
                let force = self.dice.chance(0.7);
                Command::EditPod { id, edit: PodEdit::Delete, force, origin: None }
            }
            75..92 => {
                let mut instances: Vec<InstanceId> = store.of_app(&id).map(|it| it.id.clone()).collect();
                instances.retain(|_| self.dice.chance(0.5));
                let victims = Victims::Instances { pod: id, instances };
                Command::Kill { victims, scale: false, wipe: self.dice.chance(0.3), force }
            }
            92..96 => {
                let update = self.definition(&id);
                wanted.insert(id.clone(), wanted_of(&update));
                edit_apps(vec![(id, AppEdit::Merge(update))], force)
            }
            _ => {
                let id = self.any(&APPS);
                let update = Box::new(self.pod_definition(&id));
                wanted.insert(id.clone(), Wanted::Defined { instances: update.instances, cmd: None });
                Command::EditPod { id, edit: PodEdit::Replace(update), force, origin: None }
            }
        };
        (command, wanted)
    }

    fn pod_definition(&mut self, id: &SpecId) -> PodUpdate {
        self.counter += 1;
        let number = if self.dice.chance(0.3) { 0 } else { self.counter };
        let dice = &mut self.dice;
        let count = dice.between(1, 3) as usize;
        let containers = NAMES.iter().take(count).map(|name| container(dice, name, number)).collect();
        let span = |dice: &mut Dice| Duration::from_secs(*dice.pick(&[0, 30, 300]));
        let (one, other) = (span(dice), span(dice));
        let unreachable = match dice.between(0, 3) {
            0 => Some(UnreachableStrategy::Disabled),
            1 | 2 => Some(UnreachableStrategy::After { inactive: one.min(other), expunge: one.max(other) }),
            _ => None,
        };
        let capacity = |dice: &mut Dice| Some(*dice.pick(&[0.0, 0.5, 1.0]));
        let upgrade =
            UpgradeUpdate { minimum_health_capacity: capacity(dice), maximum_over_capacity: capacity(dice) };
        let mut update = PodUpdate {
            id: id.clone(),
            user: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            labels: Labels::new(),
            networks: None,
            instances: Some(dice.between(0, INSTANCES_MAX.into()) as u32),
            backoff_initial: Some(Duration::from_millis(*dice.pick(&[0, 1_000, 10_000]))),
            backoff_factor: None,
            backoff_max: Some(Duration::from_secs(*dice.pick(&[10, 60, 300]))),
            upgrade: Some(upgrade),
            constraints: if dice.chance(0.3) { vec![constraint(dice)] } else { Vec::new() },
            accepted_resource_roles: None,
            kill_selection: dice.chance(0.2).then_some(KillSelection::OldestFirst),
            unreachable,
            executor_resources: None,
            role: None,
            pod: Pod { containers, volumes: Vec::new(), linux: None, legacy_shared_cgroups: None },
        };
        if self.resident && kept::is_resident_pod(id) {
            // What was reserved cannot be changed, so there are always two containers that need the same.
            let (first, second) = (container(dice, NAMES[0], number), container(dice, NAMES[1], number));
            update.pod.containers = vec![first, second];
            kept::own_pod_volumes(&mut update);
        }
        update
    }
}

pub fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: format!("{name}-port").into(),
        container_port: None,
        host_port: Some(0),
        protocols: vec![Protocol::Tcp],
        labels: Labels::new(),
        network_names: Vec::new(),
    }
}

fn container(dice: &mut Dice, name: &str, number: u64) -> PodContainer {
    let what = *dice.pick(&["sleep", "sleep", "sleep", "sleep", "sleep", "sleep", "crash", "finish", "sick"]);
    let health = || HealthCheck {
        kind: HealthKind::Command { shell: "true".to_owned() },
        grace: Duration::from_secs(5),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        delay: Duration::from_secs(5),
        max_failures: 3,
        ipv6: false,
    };
    PodContainer {
        name: name.into(),
        exec: Some(Exec {
            command: CheckCommand::Shell(format!("{what} {number}")),
            override_entrypoint: None,
        }),
        resources: Amounts {
            cpus: Milli(*dice.pick(&[100, 250])),
            mem: Milli::from_whole(*dice.pick(&[32, 64])),
            ..Amounts::default()
        },
        resource_limits: None,
        endpoints: if dice.chance(0.5) { vec![endpoint(name)] } else { Vec::new() },
        image: None,
        env: BTreeMap::new(),
        user: None,
        labels: Labels::new(),
        artifacts: Vec::new(),
        tty: None,
        health: dice.chance(0.4).then(health),
        check: None,
        mounts: Vec::new(),
        kill_grace: None,
        linux: None,
    }
}

impl Cluster {
    /// A launch is one task, or those of all containers.
    pub fn launch_all(&mut self, agenda: &mut Agenda, agent: usize, all: Vec<Resource>, launch: &Launch) {
        let whole = Start {
            task: &launch.task,
            command: &launch.command,
            ports: &launch.host_ports,
            reserved: &launch.reserved,
            engine_checks: launch.health_check.is_some(),
        };
        if launch.containers.is_empty() {
            return self.launch(agenda, agent, all, whole);
        }
        let mut all = Some(all);
        for it in &launch.containers {
            let engine_checks = it.health_check.is_some();
            let part = Start { task: &it.task, command: &it.command, engine_checks, ..whole };
            self.launch(agenda, agent, all.take().unwrap_or_default(), part);
        }
    }

    /// Ends a task, or everything that was started under this id.
    pub fn kill_all(&mut self, agenda: &mut Agenda, id: &TaskId, agent: Option<AgentId>) {
        let parts = self.siblings(id);
        if id.container.is_some() || parts.is_empty() {
            return self.kill(agenda, id, agent);
        }
        for part in parts {
            self.kill(agenda, &part, agent.clone());
        }
    }

    /// Containers of the same start that live.
    fn siblings(&self, id: &TaskId) -> Vec<TaskId> {
        of_instance(self, &id.instance)
            .filter(|(it, task)| it.container.is_some() && it.incarnation == id.incarnation && !task.ended)
            .map(|it| it.0.clone())
            .collect()
    }

    /// What a container that ended held goes to one that lives on; what the last one held is free.
    pub fn bequeath(
        &mut self,
        agenda: &mut Agenda,
        id: &TaskId,
        held: Vec<Resource>,
    ) -> Option<Vec<Resource>> {
        let left = if id.container.is_some() { self.siblings(id) } else { Vec::new() };
        let Some(heir) = left.first() else { return Some(held) };
        if let Some(heir) = self.tasks.get_mut(heir).filter(|_| !held.is_empty()) {
            heir.resources = held;
        }
        if self.dice.chance(0.5) {
            for task in left {
                let after = self.dice.between(1, 3_000);
                agenda.after(after, Happening::Task { task: task.clone(), what: TaskMove::Dead });
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.killing = true;
                }
            }
        }
        None
    }
}

/// The ids the engine reports under.
pub fn ids(launch: &Launch) -> Vec<TaskId> {
    match launch.containers.as_slice() {
        [] => vec![launch.task.clone()],
        parts => parts.iter().map(|it| it.task.clone()).collect(),
    }
}

pub fn ids_of(task: &marathon_model::instance::Task) -> Vec<TaskId> {
    let part = |name: &std::sync::Arc<str>| TaskId { container: Some(name.clone()), ..task.id.clone() };
    match task.parts.as_slice() {
        [] => vec![task.id.clone()],
        parts => parts.iter().map(|it| part(&it.name)).collect(),
    }
}

pub fn whole(id: &TaskId) -> TaskId {
    TaskId { container: None, ..id.clone() }
}

/// Everything in the cluster that belongs to an instance.
pub fn of_instance<'a>(
    cluster: &'a Cluster,
    id: &'a InstanceId,
) -> impl Iterator<Item = (&'a TaskId, &'a Task)> {
    let first = TaskId { instance: id.clone(), container: None, incarnation: 0 };
    cluster.tasks.range(first..).take_while(move |(it, _)| it.instance == *id)
}

/// What is stored of the task (or container) of this id.
pub fn state_of(task: &marathon_model::instance::Task, id: &TaskId) -> Option<TaskState> {
    match &id.container {
        None => task.state,
        Some(name) => task.parts.iter().find(|it| it.name == *name)?.state,
    }
}

/// Nothing comes after this.
pub fn is_end(state: TaskState) -> bool {
    is_final(state) && state != TaskState::Unreachable
}

fn has_ended(it: &marathon_model::instance::Part) -> bool {
    it.state.is_some_and(is_end)
}

/// Whether nothing of an instance lives once this task has ended.
pub fn was_last(it: &Instance, ended: &TaskId) -> bool {
    let mut others =
        it.task.iter().flat_map(|it| &it.parts).filter(|it| ended.container.as_ref() != Some(&it.name));
    ended.container.is_none() || others.all(has_ended)
}

/// Rules for what is stored of a pod.
pub fn live_together(before: Option<&Instance>, next: &Instance) -> Found {
    const NAME: &str = "the containers of a pod live and end together";
    let Some(task) = next.task.as_ref().filter(|it| !it.parts.is_empty()) else { return Ok(()) };
    let id = &next.id;
    let ended = task.parts.iter().filter(|it| has_ended(it)).count();
    let over = ended == task.parts.len();
    ensure!(over == next.is_over(), NAME, "{id} is {:?}: {:?}", next.condition, task.parts);
    let up = task.parts.iter().all(|it| it.state == Some(TaskState::Running));
    ensure!(
        up == (next.condition == Condition::Running),
        NAME,
        "{id} is {:?}: {:?}",
        next.condition,
        task.parts
    );
    let breaks = ended > 0 && !over;
    let ends = next.condition == Condition::Killing || next.condition.is_unreachable();
    ensure!(!breaks || ends, NAME, "{id} is {:?}: {:?}", next.condition, task.parts);
    let earlier = before.and_then(|it| it.task.as_ref()).filter(|it| it.id == task.id);
    for (was, is) in earlier.iter().flat_map(|it| &it.parts).zip(&task.parts) {
        let kept = !has_ended(was) || was.state == is.state;
        ensure!(kept, "what has ended stays ended", "{id} {}: {:?} after {:?}", is.name, is.state, was.state);
    }
    Ok(())
}
