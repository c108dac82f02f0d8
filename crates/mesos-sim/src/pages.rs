//! Pages that sum up: the summary, roles, tasks, and the whole state.

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_mesos_v1::TaskState;
use marathon_mesos_v1::json::Json;
use serde_json::{Map, Value, json};

use crate::operator::{framework_head, sum, version_json};
use crate::resources::Resources;
use crate::sim::Sim;
use crate::state::{Agent, Link, Task, View};

impl Sim {
    pub fn state_json(&self, seat: usize) -> Value {
        let it = &self.seats[seat];
        let links = |wanted: fn(&Agent) -> bool| self.agents.iter().filter(|it| wanted(it)).count() as f64;
        let mut out = version_json(&self.config.version);
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("start_time", json!(it.started.seconds()));
        if let Some(time) = it.elected {
            put("elected_time", json!(time.seconds()));
        }
        put("id", json!(it.id));
        put("pid", json!(it.pid()));
        put("hostname", json!(it.hostname));
        put("capabilities", json!(["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"]));
        put("activated_slaves", json!(links(|it| it.is_active())));
        put(
            "deactivated_slaves",
            json!(links(
                |it| it.link == Link::Disconnected || (it.link == Link::Registered && it.deactivated)
            )),
        );
        put("unreachable_slaves", json!(links(|it| matches!(it.link, Link::Unreachable(_)))));
        if let Some(domain) = &self.config.domain {
            put("domain", domain.to_json());
        }
        if let Some(leader) = self.leader.map(|it| &self.seats[it]) {
            put("leader", json!(leader.pid()));
            put(
                "leader_info",
                json!({ "id": leader.id, "pid": leader.pid(), "port": leader.port, "hostname": leader.hostname }),
            );
        }
        if let Some(cluster) = &self.config.cluster {
            put("cluster", json!(cluster));
        }
        put("flags", self.flags_json(seat));
        let slaves: Vec<Value> =
            self.listed_agents().into_iter().map(|at| self.agent_json(at, false)).collect();
        put("slaves", Value::Array(slaves));
        put("recovered_slaves", Value::Array(self.recovered_agents()));
        let (active, completed) = self.framework_lists();
        put("frameworks", active.into_iter().map(|at| self.framework_json(at)).collect());
        put("completed_frameworks", completed.into_iter().map(|at| self.framework_json(at)).collect());
        put("orphan_tasks", json!([]));
        put("unregistered_frameworks", json!([]));
        Value::Object(out)
    }

    pub fn flags_json(&self, seat: usize) -> Value {
        let seat = &self.seats[seat];
        let it = &self.config;
        json!({
            "allocation_interval": duration_text(it.allocation_interval),
            "allocator": "hierarchical",
            "authenticate_agents": "false",
            "authenticate_frameworks": "false",
            "authenticate_http_frameworks": it.credentials.is_some().to_string(),
            "filter_gpu_resources": it.filter_gpu_resources.to_string(),
            "framework_sorter": "drf",
            "hostname": seat.hostname,
            "ip": seat.ip_text(),
            "max_completed_frameworks": it.completed_frameworks.to_string(),
            "max_completed_tasks_per_framework": it.completed_tasks.to_string(),
            "min_allocatable_resources": "cpus:0.01|mem:32",
            "port": seat.port.to_string(),
            "role_sorter": "drf",
            "root_submissions": "true",
            "version": "false",
        })
    }

    pub fn summary_json(&self, seat: usize) -> Value {
        let mut slaves = Vec::new();
        for at in self.listed_agents() {
            let Value::Object(mut it) = self.agent_json(at, false) else { continue };
            let tasks = || self.agents[at].tasks.iter().filter_map(|at| self.tasks.get(*at));
            let done = self.frameworks.iter().flat_map(|it| &it.completed).filter(|it| it.agent == at);
            for (name, count) in counts(tasks().chain(done)) {
                it.insert(name.to_owned(), json!(count));
            }
            let mut ids: Vec<&str> = tasks().map(|it| &*self.frameworks[it.framework].id).collect();
            ids.sort_unstable();
            ids.dedup();
            it.insert("framework_ids".to_owned(), json!(ids));
            slaves.push(Value::Object(it));
        }
        let mut frameworks = Vec::new();
        for at in self.framework_lists().0 {
            let known = self.tasks_of(at, View::Known);
            let it = &self.frameworks[at];
            let used = sum(known.iter().filter(|it| !it.released).map(|it| &it.resources));
            let offered = sum(self.offers.values().filter(|it| it.framework == at).map(|it| &it.resources));
            let mut out = framework_head(it, &used, &offered);
            for (name, count) in counts(known.iter().copied().chain(&it.completed)) {
                out.insert(name.to_owned(), json!(count));
            }
            let mut ids: Vec<&str> = known.iter().map(|it| &*it.agent_id).collect();
            ids.sort_unstable();
            ids.dedup();
            out.insert("slave_ids".to_owned(), json!(ids));
            frameworks.push(Value::Object(out));
        }
        let mut out = Map::new();
        out.insert("hostname".to_owned(), json!(self.seats[seat].hostname));
        if let Some(cluster) = &self.config.cluster {
            out.insert("cluster".to_owned(), json!(cluster));
        }
        out.insert("slaves".to_owned(), Value::Array(slaves));
        out.insert("frameworks".to_owned(), Value::Array(frameworks));
        Value::Object(out)
    }

    pub fn tasks_json(&self, query: &BTreeMap<String, String>) -> Value {
        let number = |name: &str, otherwise: usize| {
            query.get(name).and_then(|it| it.parse().ok()).unwrap_or(otherwise)
        };
        let mut all: Vec<Value> = Vec::new();
        let (active, completed) = self.framework_lists();
        let wanted = |it: &&Task| {
            query.get("task_id").is_none_or(|id| **id == *it.id)
                && query.get("framework_id").is_none_or(|id| **id == *self.frameworks[it.framework].id)
        };
        for at in active.into_iter().chain(completed) {
            let known =
                self.tasks_of(at, View::Known).into_iter().chain(self.tasks_of(at, View::Unreachable));
            all.extend(
                known.chain(&self.frameworks[at].completed).filter(wanted).map(|it| self.task_json(it)),
            );
        }
        let page: Vec<Value> = all.into_iter().skip(number("offset", 0)).take(number("limit", 100)).collect();
        json!({ "tasks": page })
    }

    pub fn roles_json(&self) -> Value {
        let mut names: Vec<Arc<str>> =
            self.framework_lists().0.iter().flat_map(|at| self.frameworks[*at].roles.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let mut roles = Vec::new();
        for name in names {
            let used = sum(self
                .tasks
                .iter()
                .filter(|(_, it)| it.role == name && !it.released && it.view == View::Known)
                .map(|(_, it)| &it.resources)
                .chain(self.executors.iter().filter(|(_, it)| it.role == name).map(|(_, it)| &it.resources)));
            let offered = sum(self.offers.values().filter(|it| it.role == name).map(|it| &it.resources));
            let both = sum([&used, &offered].into_iter());
            let mine: Vec<&str> = self
                .framework_lists()
                .0
                .iter()
                .map(|at| &self.frameworks[*at])
                .filter(|it| it.roles.contains(&name))
                .map(|it| &*it.id)
                .collect();
            roles.push(json!({
                "name": &*name,
                "weight": 1.0,
                "quota": { "role": &*name, "guarantee": {}, "limit": {}, "consumed": quantities(&used) },
                "resources": quantities(&both),
                "allocated": quantities(&used),
                "offered": quantities(&offered),
                "reserved": {},
                "frameworks": mine,
            }));
        }
        json!({ "roles": roles })
    }
}

/// Counts of tasks by state, as the summary shows them.
pub(crate) fn counts<'a>(tasks: impl Iterator<Item = &'a Task>) -> Vec<(&'static str, u64)> {
    use TaskState as S;
    let shown = [
        S::TASK_STAGING,
        S::TASK_STARTING,
        S::TASK_RUNNING,
        S::TASK_KILLING,
        S::TASK_FINISHED,
        S::TASK_KILLED,
        S::TASK_FAILED,
        S::TASK_LOST,
        S::TASK_ERROR,
        S::TASK_UNREACHABLE,
    ];
    let mut by_state: BTreeMap<TaskState, u64> = BTreeMap::new();
    for task in tasks {
        let state = if task.view == View::Unreachable { S::TASK_UNREACHABLE } else { task.latest };
        *by_state.entry(state).or_default() += 1;
    }
    shown.into_iter().map(|it| (it.as_str(), by_state.get(&it).copied().unwrap_or_default())).collect()
}

pub(crate) fn quantities(all: &Resources) -> Value {
    let mut out = Map::new();
    for name in ["cpus", "disk", "gpus", "mem"] {
        let amount = all.scalar(name);
        if amount != 0 {
            out.insert(name.to_owned(), json!(amount as f64 / 1000.0));
        }
    }
    let ports: u64 = all.ranges("ports").iter().map(|(from, to)| to - from + 1).sum();
    if ports != 0 {
        out.insert("ports".to_owned(), json!(ports as f64));
    }
    Value::Object(out)
}

pub(crate) fn duration_text(it: std::time::Duration) -> String {
    let millis = it.as_millis();
    if millis.is_multiple_of(1000) { format!("{}secs", millis / 1000) } else { format!("{millis}ms") }
}
