//! What operators and web UIs read: `/state` and its parts, and the v1 operator calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_mesos_v1::json::Json;
use marathon_mesos_v1::{Message, Task as ShownTask, TaskState, TaskStatus};
use serde_json::{Map, Value, json};

use crate::convert::{Form, write};
use crate::resources::{Amount, Resources, amount_text};
use crate::sim::Sim;
use crate::state::{Agent, Framework, Link, Status, Task, View, is_terminal};

pub const AGENT_CAPABILITIES: [&str; 8] = [
    "MULTI_ROLE",
    "HIERARCHICAL_ROLE",
    "RESERVATION_REFINEMENT",
    "RESOURCE_PROVIDER",
    "RESIZE_VOLUME",
    "AGENT_OPERATION_FEEDBACK",
    "AGENT_DRAINING",
    "TASK_RESOURCE_LIMITS",
];
pub(crate) const OLD: Form = Form { refined: false, multi_role: true };

/// The short form of resources: numbers by name, ranges as text.
pub fn summed(all: &Resources) -> Value {
    let mut out = Map::new();
    for name in ["disk", "mem", "gpus", "cpus"] {
        out.insert(name.to_owned(), json!(all.scalar(name) as f64 / 1000.0));
    }
    let ports = all.ranges("ports");
    if !ports.is_empty() {
        out.insert("ports".to_owned(), json!(amount_text(&Amount::Ranges(ports))));
    }
    for (kind, amount) in &all.0 {
        if let Amount::Set(_) = amount {
            out.insert(kind.name.to_string(), json!(amount_text(amount)));
        }
    }
    Value::Object(out)
}

pub fn full(all: &Resources, role: Option<&str>) -> Value {
    Value::Array(write(all, role, OLD).iter().map(Json::to_json).collect())
}

pub(crate) fn sum<'a>(all: impl Iterator<Item = &'a Resources>) -> Resources {
    let mut out = Resources::default();
    all.for_each(|it| out.add(it));
    out
}

impl Sim {
    fn used_on(&self, agent: usize) -> Resources {
        let it = &self.agents[agent];
        let tasks = it
            .tasks
            .iter()
            .filter_map(|at| self.tasks.get(*at))
            .filter(|it| !it.released && it.view == View::Known);
        let executors = it.executors.iter().filter_map(|at| self.executors.get(*at));
        sum(tasks.map(|it| &it.resources).chain(executors.map(|it| &it.resources)))
    }

    fn offered_on(&self, agent: usize) -> Resources {
        sum(self.agents[agent].offers.iter().map(|it| &self.offers[it].resources))
    }

    fn full_by_role(&self, agent: usize, offered: bool) -> Value {
        let it = &self.agents[agent];
        let mut by_role: BTreeMap<Arc<str>, Resources> = BTreeMap::new();
        if offered {
            for number in &it.offers {
                let held = &self.offers[number];
                by_role.entry(held.role.clone()).or_default().add(&held.resources);
            }
        } else {
            for task in it.tasks.iter().filter_map(|at| self.tasks.get(*at)).filter(|it| !it.released) {
                by_role.entry(task.role.clone()).or_default().add(&task.resources);
            }
            for executor in it.executors.iter().filter_map(|at| self.executors.get(*at)) {
                by_role.entry(executor.role.clone()).or_default().add(&executor.resources);
            }
        }
        let mut out = Vec::new();
        for (role, resources) in &by_role {
            out.extend(write(resources, Some(role), OLD).iter().map(Json::to_json));
        }
        Value::Array(out)
    }

    pub(crate) fn agent_json(&self, agent: usize, with_full: bool) -> Value {
        let it = &self.agents[agent];
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("id", json!(&*it.id));
        put("hostname", json!(it.hostname));
        put("port", json!(it.port));
        put("attributes", attributes_json(it));
        if let Some(domain) = &it.domain {
            put("domain", domain.to_json());
        }
        put("pid", json!(it.pid()));
        put("registered_time", json!(it.registered.seconds()));
        if let Some(time) = it.reregistered {
            put("reregistered_time", json!(time.seconds()));
        }
        put("resources", summed(&it.total));
        put("used_resources", summed(&self.used_on(agent)));
        put("offered_resources", summed(&self.offered_on(agent)));
        put("reserved_resources", reserved(&it.total, summed));
        put("unreserved_resources", summed(&unreserved(&it.total)));
        put("active", json!(it.is_active()));
        put("deactivated", json!(it.deactivated));
        put("version", json!(self.config.version));
        put("capabilities", json!(AGENT_CAPABILITIES));
        if let Some(drain) = drain_json(it) {
            put("drain_info", drain);
        }
        if with_full {
            put("reserved_resources_full", reserved(&it.total, |it| Value::Array(both_forms(it))));
            put("unreserved_resources_full", full(&unreserved(&it.total), None));
            put("used_resources_full", self.full_by_role(agent, false));
            put("offered_resources_full", self.full_by_role(agent, true));
        }
        Value::Object(out)
    }

    pub(crate) fn listed_agents(&self) -> Vec<usize> {
        let here = |at: &usize| matches!(self.agents[*at].link, Link::Registered | Link::Disconnected);
        (0..self.agents.len()).filter(here).collect()
    }

    pub(crate) fn recovered_agents(&self) -> Vec<Value> {
        self.agents
            .iter()
            .filter(|it| it.link == Link::Recovered)
            .map(|it| json!({ "id": &*it.id, "hostname": it.hostname, "port": it.port }))
            .collect()
    }

    pub fn slaves_json(&self, only: Option<&str>) -> Value {
        let listed =
            self.listed_agents().into_iter().filter(|at| only.is_none_or(|it| it == &*self.agents[*at].id));
        let slaves: Vec<Value> = listed.map(|at| self.agent_json(at, true)).collect();
        json!({ "slaves": slaves, "recovered_slaves": self.recovered_agents() })
    }

    pub(crate) fn task_json(&self, task: &Task) -> Value {
        let shown = shown_of(task);
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("id", json!(&*task.id));
        put("name", json!(&*task.name));
        put("framework_id", json!(&*self.frameworks[task.framework].id));
        put("executor_id", json!(task.executor_id.as_deref().unwrap_or_default()));
        put("slave_id", json!(&*task.agent_id));
        let state = if task.view == View::Unreachable { TaskState::TASK_UNREACHABLE } else { task.latest };
        put("state", json!(state.as_str()));
        put("resources", summed(&task.resources));
        put("role", json!(&*task.role));
        let statuses: Vec<Value> = task.history.iter().map(|it| self.status_json(task, it)).collect();
        put("statuses", Value::Array(statuses));
        if let Some(user) = &shown.user {
            put("user", json!(user));
        }
        if let Some(labels) = &shown.labels {
            put("labels", labels.to_json()["labels"].clone());
        }
        if let Some(it) = &shown.discovery {
            put("discovery", it.to_json());
        }
        if let Some(it) = &shown.container {
            put("container", it.to_json());
        }
        if let Some(it) = &shown.health_check {
            put("health_check", it.to_json());
        }
        Value::Object(out)
    }

    fn status_json(&self, task: &Task, status: &Status) -> Value {
        let message = self.status_message(task, status);
        let mut out = Map::new();
        out.insert("state".to_owned(), json!(status.state.as_str()));
        out.insert("timestamp".to_owned(), json!(status.time.seconds()));
        if let Some(mut it) = message.container_status {
            it.executor_pid = None;
            out.insert("container_status".to_owned(), it.to_json());
        }
        if let Some(healthy) = status.healthy {
            out.insert("healthy".to_owned(), json!(healthy));
        }
        Value::Object(out)
    }

    pub(crate) fn tasks_of(&self, framework: usize, view: View) -> Vec<&Task> {
        let mut all: Vec<(usize, &Task)> = self.frameworks[framework]
            .tasks
            .values()
            .filter_map(|at| Some((*at, self.tasks.get(*at)?)))
            .filter(|(_, it)| it.view == view)
            .collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, it)| it).collect()
    }

    pub(crate) fn framework_json(&self, framework: usize) -> Value {
        let it = &self.frameworks[framework];
        let known = self.tasks_of(framework, View::Known);
        let held: Vec<&crate::state::Offer> =
            self.offers.values().filter(|it| it.framework == framework).collect();
        let executors: Vec<&crate::state::Executor> =
            self.executors.iter().filter(|(_, it)| it.framework == framework).map(|(_, it)| it).collect();
        let used = sum(known
            .iter()
            .filter(|it| !it.released)
            .map(|it| &it.resources)
            .chain(executors.iter().map(|it| &it.resources)));
        let offered = sum(held.iter().map(|it| &it.resources));
        let both = sum([&used, &offered].into_iter());
        let mut out = framework_head(it, &used, &offered);
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("user", json!(it.info.user));
        put("failover_timeout", json!(it.info.failover_timeout.unwrap_or(0.0)));
        put("checkpoint", json!(it.checkpoints()));
        put("registered_time", json!(it.registered.seconds()));
        put("unregistered_time", json!(it.removed.map_or(0.0, |it| it.seconds())));
        if let Some(principal) = &it.info.principal {
            put("principal", json!(principal));
        }
        put("resources", summed(&both));
        if let Some(time) = it.reregistered {
            put("reregistered_time", json!(time.seconds()));
        }
        if it.abilities.multi_role {
            put("roles", json!(it.info.roles));
        } else {
            put("role", json!(it.info.role.as_deref().unwrap_or("*")));
        }
        put("tasks", Value::Array(known.iter().map(|it| self.task_json(it)).collect()));
        let unreachable = self.tasks_of(framework, View::Unreachable);
        put("unreachable_tasks", Value::Array(unreachable.iter().map(|it| self.task_json(it)).collect()));
        put("completed_tasks", Value::Array(it.completed.iter().map(|it| self.task_json(it)).collect()));
        put("offers", Value::Array(self.offers_json(framework)));
        put("executors", Value::Array(executors.iter().map(|it| self.executor_json(it)).collect()));
        if let Some(labels) = &it.info.labels {
            put("labels", labels.to_json()["labels"].clone());
        }
        put("offer_constraints", it.constraints.as_ref().map_or_else(|| json!({}), Json::to_json));
        Value::Object(out)
    }

    fn executor_json(&self, it: &crate::state::Executor) -> Value {
        json!({
            "executor_id": &*it.id,
            "name": "",
            "framework_id": &*self.frameworks[it.framework].id,
            "command": {},
            "resources": summed(&it.resources),
            "role": &*it.role,
            "slave_id": &*self.agents[it.agent].id,
        })
    }

    fn offers_json(&self, framework: usize) -> Vec<Value> {
        let mine = self.offers.iter().filter(|(_, it)| it.framework == framework);
        mine.map(|(number, it)| {
            json!({
                "id": self.offer_id(*number).value,
                "framework_id": &*self.frameworks[framework].id,
                "allocation_info": { "role": &*it.role },
                "slave_id": &*self.agents[it.agent].id,
                "resources": summed(&it.resources),
            })
        })
        .collect()
    }

    /// Frameworks that are there, and those that are over.
    pub(crate) fn framework_lists(&self) -> (Vec<usize>, Vec<usize>) {
        let known = |at: &usize| {
            let it = &self.frameworks[*at];
            it.removed.is_none() && self.framework_ids.get(&it.id) == Some(at)
        };
        ((0..self.frameworks.len()).filter(known).collect(), self.completed.iter().copied().collect())
    }

    pub fn frameworks_json(&self, only: Option<&str>) -> Value {
        let wanted = |at: &usize| only.is_none_or(|it| it == &*self.frameworks[*at].id);
        let (active, completed) = self.framework_lists();
        let list = |all: Vec<usize>| -> Vec<Value> {
            all.into_iter().filter(wanted).map(|at| self.framework_json(at)).collect()
        };
        json!({ "frameworks": list(active), "completed_frameworks": list(completed), "unregistered_frameworks": [] })
    }

    /// `Task` of the v1 operator API.
    pub(crate) fn task_message(&self, task: &Task) -> ShownTask {
        let statuses: Vec<TaskStatus> = task.history.iter().map(|it| self.status_message(task, it)).collect();
        let state = if task.view == View::Unreachable { TaskState::TASK_UNREACHABLE } else { task.latest };
        ShownTask {
            name: task.name.to_string(),
            task_id: marathon_mesos_v1::TaskId { value: task.id.to_string() },
            framework_id: marathon_mesos_v1::FrameworkId {
                value: self.frameworks[task.framework].id.to_string(),
            },
            executor_id: task
                .executor_id
                .as_ref()
                .map(|it| marathon_mesos_v1::ExecutorId { value: it.to_string() }),
            agent_id: marathon_mesos_v1::AgentId { value: task.agent_id.to_string() },
            state: state as i32,
            resources: write(&task.resources, Some(&task.role), Form { refined: true, multi_role: true }),
            statuses,
            status_update_state: task.forwarded.map(|(state, _)| state as i32),
            status_update_uuid: task.forwarded.map(|(_, uuid)| uuid.to_vec()),
            ..shown_of(task)
        }
    }

    pub(crate) fn get_tasks_json(&self) -> Value {
        let (active, completed) = self.framework_lists();
        let (mut known, mut unreachable, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let message = |it: &Task| self.task_message(it).to_json();
        for at in active.into_iter().chain(completed) {
            known.extend(self.tasks_of(at, View::Known).into_iter().map(message));
            unreachable.extend(self.tasks_of(at, View::Unreachable).into_iter().map(message));
            done.extend(self.frameworks[at].completed.iter().map(message));
        }
        json!({ "tasks": known, "unreachable_tasks": unreachable, "completed_tasks": done })
    }
}

pub(crate) fn shown_of(task: &Task) -> ShownTask {
    task.shown.as_ref().and_then(|it| ShownTask::decode(&**it).ok()).unwrap_or_default()
}

pub(crate) fn framework_head(it: &Framework, used: &Resources, offered: &Resources) -> Map<String, Value> {
    let capabilities: Vec<&str> = it
        .info
        .capabilities
        .iter()
        .filter_map(|it| marathon_mesos_v1::FrameworkInfoCapabilityType::try_from(it.r#type?).ok())
        .map(|it| it.as_str())
        .collect();
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("id", json!(&*it.id));
    put("name", json!(it.info.name));
    put("used_resources", summed(used));
    put("offered_resources", summed(offered));
    put("capabilities", json!(capabilities));
    put("hostname", json!(it.info.hostname.as_deref().unwrap_or_default()));
    put("webui_url", json!(it.info.webui_url.as_deref().unwrap_or_default()));
    put("active", json!(it.is_connected()));
    put("connected", json!(it.is_connected()));
    put("recovered", json!(it.recovered));
    out
}

fn unreserved(all: &Resources) -> Resources {
    all.filtered(|it| it.reservations().is_empty())
}

fn reserved(all: &Resources, show: impl Fn(&Resources) -> Value) -> Value {
    let mut by_role: BTreeMap<String, Resources> = BTreeMap::new();
    for (kind, amount) in &all.0 {
        if let Some(role) = kind.reserved_for() {
            by_role.entry(role.to_owned()).or_default().add_one(kind, amount);
        }
    }
    Value::Object(by_role.into_iter().map(|(role, it)| (role, show(&it))).collect())
}

/// The endpoints write reservations in the old form and the new one at once.
fn both_forms(all: &Resources) -> Vec<Value> {
    let old = write(all, None, Form { refined: false, multi_role: false });
    let new = write(all, None, Form { refined: true, multi_role: false });
    let merged = old.into_iter().zip(new).map(|(mut old, new)| {
        old.reservations = new.reservations;
        old
    });
    merged.map(|it| it.to_json()).collect()
}

fn attributes_json(it: &Agent) -> Value {
    let mut out = Map::new();
    for attribute in it.attributes.iter() {
        let value = if let Some(text) = &attribute.text {
            json!(text.value)
        } else if let Some(scalar) = &attribute.scalar {
            json!(scalar.value)
        } else {
            let ranges =
                attribute.ranges.iter().flat_map(|it| &it.range).map(|it| (it.begin, it.end)).collect();
            json!(amount_text(&Amount::Ranges(ranges)))
        };
        out.insert(attribute.name.clone(), value);
    }
    Value::Object(out)
}

pub(crate) fn drain_json(it: &Agent) -> Option<Value> {
    let drain = it.drain.as_ref()?;
    let mut config = Map::new();
    if let Some(grace) = drain.grace {
        config.insert("max_grace_period".to_owned(), json!({ "nanoseconds": grace.as_nanos() as u64 }));
    }
    config.insert("mark_gone".to_owned(), json!(drain.mark_gone));
    Some(json!({ "state": if drain.done { "DRAINED" } else { "DRAINING" }, "config": config }))
}

pub fn version_json(version: &str) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("version", json!(version));
    put("git_tag", json!(version));
    put("build_date", json!("2020-11-17 00:00:00 UTC"));
    put("build_time", json!(1_605_571_200.0));
    put("build_user", json!("build"));
    out
}

/// Whether the task still counts as one of its agent's.
pub fn is_alive(task: &Task) -> bool {
    !is_terminal(task.state)
}
