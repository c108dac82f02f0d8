//! The v1 operator API: calls, and the stream of operator events.

use std::time::Duration;

use marathon_mesos_v1::json::Json;
use marathon_mesos_v1::{Codec, ExecutorInfo, Message, TaskState, TaskStatus, record};
use serde_json::{Map, Value, json};

use crate::convert::{Form, write};
use crate::operator::{AGENT_CAPABILITIES, drain_json, version_json};
use crate::resources::Resources;
use crate::sim::{Output, Sim, Watcher};
use crate::state::{Conn, Link, View};
use crate::time::{Time, Timer};

const NEW: Form = Form { refined: true, multi_role: true };
const OLD: Form = Form { refined: false, multi_role: true };

/// An answer of the operator API: a body, nothing, or why not.
pub enum Told {
    Body(Value),
    Done,
    Stream,
    Bad(String),
    Missing(String),
}

impl Sim {
    pub fn operator_call(&mut self, seat: usize, call: &Value) -> Told {
        let kind = call["type"].as_str().unwrap_or_default().to_owned();
        let body = match kind.as_str() {
            "" => {
                return Told::Bad(
                    "Failed to validate master::Call: Expecting 'type' to be present".to_owned(),
                );
            }
            "SUBSCRIBE" => return Told::Stream,
            "GET_HEALTH" => json!({ "healthy": true }),
            "GET_VERSION" => json!({ "version_info": version_json(&self.config.version) }),
            "GET_AGENTS" => self.get_agents(),
            "GET_FRAMEWORKS" => self.get_frameworks(),
            "GET_TASKS" => self.get_tasks_json(),
            "GET_EXECUTORS" => self.get_executors(),
            "GET_STATE" => self.get_state(),
            "GET_OPERATIONS" => self.get_operations(),
            "GET_ROLES" => self.get_roles(),
            "GET_MASTER" => self.get_master(seat),
            "GET_FLAGS" => {
                let Value::Object(flags) = self.flags_json(seat) else { return Told::Done };
                let all: Vec<Value> =
                    flags.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
                json!({ "flags": all })
            }
            "GET_METRICS" => {
                let all: Vec<Value> = self
                    .metrics()
                    .into_iter()
                    .map(|(name, value)| json!({ "name": name, "value": value }))
                    .collect();
                json!({ "metrics": all })
            }
            "GET_QUOTA" => json!({ "status": {} }),
            "GET_WEIGHTS" => return Told::Body(json!({ "type": "GET_WEIGHTS" })),
            "GET_LOGGING_LEVEL" => json!({ "level": 0 }),
            "GET_MAINTENANCE_STATUS" => json!({ "status": self.maintenance_status() }),
            "GET_MAINTENANCE_SCHEDULE" => json!({ "schedule": self.schedule }),
            _ => return self.operator_order(&kind, call),
        };
        let mut out = Map::new();
        out.insert("type".to_owned(), json!(kind));
        out.insert(kind.to_lowercase(), body);
        Told::Body(Value::Object(out))
    }

    /// Calls that change something.
    fn operator_order(&mut self, kind: &str, call: &Value) -> Told {
        let part = &call[kind.to_lowercase()];
        let agent = part["agent_id"]["value"].as_str().and_then(|it| self.agent_by_id(it));
        match (kind, agent) {
            ("UPDATE_MAINTENANCE_SCHEDULE", _) => match self.set_schedule(part["schedule"].clone()) {
                Ok(()) => Told::Done,
                Err(why) => Told::Bad(why),
            },
            ("TEARDOWN", _) => self.tear_down(part["framework_id"]["value"].as_str().unwrap_or_default()),
            ("START_MAINTENANCE" | "STOP_MAINTENANCE", _) => {
                self.machines(kind == "START_MAINTENANCE", &part["machines"])
            }
            ("MARK_AGENT_GONE", Some(agent)) => {
                self.mark_gone(agent);
                Told::Done
            }
            ("DRAIN_AGENT", Some(agent)) => {
                let seconds = part["max_grace_period"]["seconds"]
                    .as_u64()
                    .or_else(|| part["max_grace_period"]["seconds"].as_str()?.parse().ok());
                self.drain_agent(
                    agent,
                    seconds.map(Duration::from_secs),
                    part["mark_gone"].as_bool().unwrap_or(false),
                );
                Told::Done
            }
            ("DEACTIVATE_AGENT", Some(agent)) => {
                self.deactivate_agent(agent);
                Told::Done
            }
            ("REACTIVATE_AGENT", Some(agent)) => {
                self.reactivate_agent(agent);
                Told::Done
            }
            ("MARK_AGENT_GONE" | "DRAIN_AGENT" | "DEACTIVATE_AGENT" | "REACTIVATE_AGENT", None) => {
                Told::Missing("Agent not found".to_owned())
            }
            _ => Told::Bad("Failed to validate master::Call: Expecting 'type' to be present".to_owned()),
        }
    }

    pub(crate) fn tear_down(&mut self, id: &str) -> Told {
        match self.framework_ids.get(id).copied().filter(|at| self.frameworks[*at].removed.is_none()) {
            Some(framework) => {
                self.remove_framework(framework);
                Told::Done
            }
            None => Told::Bad("No framework found with specified ID".to_owned()),
        }
    }

    /// Machines go down for maintenance (their agents are told to leave) or come up again.
    pub(crate) fn machines(&mut self, down: bool, machines: &Value) -> Told {
        for machine in machines.as_array().into_iter().flatten() {
            let name = machine["hostname"].as_str().unwrap_or_default();
            for agent in
                (0..self.agents.len()).filter(|at| self.agents[*at].hostname == name).collect::<Vec<_>>()
            {
                match (down, self.agents[agent].link) {
                    (true, _) => self.shut_agent_down(agent),
                    (false, Link::Removed) => self.return_agent(agent),
                    (false, _) => {}
                }
            }
        }
        Told::Done
    }

    fn get_agents(&self) -> Value {
        let here = |at: &usize| matches!(self.agents[*at].link, Link::Registered | Link::Disconnected);
        let agents: Vec<Value> = (0..self.agents.len()).filter(here).map(|at| self.agent_v1(at)).collect();
        let recovered: Vec<Value> = self
            .agents
            .iter()
            .filter(|it| it.link == Link::Recovered)
            .map(|it| json!({ "hostname": it.hostname, "id": { "value": &*it.id } }))
            .collect();
        json!({ "agents": agents, "recovered_agents": recovered })
    }

    fn agent_v1(&self, agent: usize) -> Value {
        let it = &self.agents[agent];
        let plain = Form { refined: true, multi_role: false };
        let array = |all: &Resources, form: Form| {
            Value::Array(write(all, None, form).iter().map(Json::to_json).collect())
        };
        let mut info = Map::new();
        info.insert("hostname".to_owned(), json!(it.hostname));
        info.insert("port".to_owned(), json!(it.port));
        info.insert(
            "resources".to_owned(),
            array(&it.total.filtered(|it| it.reservations().is_empty()), plain),
        );
        info.insert("attributes".to_owned(), it.attributes.iter().map(Json::to_json).collect());
        info.insert("id".to_owned(), json!({ "value": &*it.id }));
        info.insert("checkpoint".to_owned(), json!(true));
        if let Some(domain) = &it.domain {
            info.insert("domain".to_owned(), domain.to_json());
        }
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        put("agent_info", Value::Object(info));
        put("active", json!(it.is_active()));
        put("deactivated", json!(it.deactivated));
        put("version", json!(self.config.version));
        put("pid", json!(it.pid()));
        put("registered_time", time(it.registered));
        if let Some(at) = it.reregistered {
            put("reregistered_time", time(at));
        }
        put("total_resources", array(&it.total, OLD));
        for (key, shown) in
            [("allocated_resources", self.allocated_v1(agent)), ("offered_resources", self.offered_v1(agent))]
        {
            if shown.as_array().is_some_and(|it| !it.is_empty()) {
                put(key, shown);
            }
        }
        let capabilities: Vec<Value> = AGENT_CAPABILITIES.iter().map(|it| json!({ "type": it })).collect();
        put("capabilities", Value::Array(capabilities));
        if let Some(drain) = drain_json(it) {
            put("drain_info", drain);
            let since = it.drain.as_ref().map_or(0, |it| it.since.0 / 1_000_000_000 * 1_000_000_000);
            put("estimated_drain_start_time", json!({ "nanoseconds": since }));
        }
        Value::Object(out)
    }

    fn allocated_v1(&self, agent: usize) -> Value {
        let mut out = Vec::new();
        for task in self.agents[agent]
            .tasks
            .iter()
            .filter_map(|at| self.tasks.get(*at))
            .filter(|it| !it.released && it.view == View::Known)
        {
            out.push((task.role.clone(), task.resources.clone()));
        }
        by_role(out)
    }

    fn offered_v1(&self, agent: usize) -> Value {
        by_role(
            self.agents[agent]
                .offers
                .iter()
                .map(|it| (self.offers[it].role.clone(), self.offers[it].resources.clone()))
                .collect(),
        )
    }

    pub(crate) fn framework_v1(&self, framework: usize, long: bool) -> Value {
        let it = &self.frameworks[framework];
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
        let mut info = it.info.to_json();
        if let Value::Object(fields) = &mut info {
            fields.entry("failover_timeout").or_insert_with(|| json!(0.0));
            fields.entry("checkpoint").or_insert_with(|| json!(false));
        }
        put("framework_info", info);
        put("active", json!(it.is_connected()));
        put("connected", json!(it.is_connected()));
        put("recovered", json!(it.recovered));
        put("registered_time", time(it.registered));
        put("reregistered_time", time(it.reregistered.unwrap_or(it.registered)));
        match it.removed {
            Some(at) => {
                put("unregistered_time", time(at));
            }
            None if !long => {
                put("unregistered_time", json!({ "nanoseconds": 0 }));
            }
            None => {}
        }
        if long {
            let offers: Vec<Value> = self
                .offers
                .iter()
                .rev()
                .filter(|(_, it)| it.framework == framework)
                .map(|(number, _)| self.offer_message(*number).to_json())
                .collect();
            if !offers.is_empty() {
                put("offers", Value::Array(offers));
            }
            let used = it
                .tasks
                .values()
                .filter_map(|at| self.tasks.get(*at))
                .filter(|it| !it.released && it.view == View::Known);
            let mut used: Vec<_> = used.map(|it| (it.role.clone(), it.resources.clone())).collect();
            used.sort_by(|a, b| a.0.cmp(&b.0));
            let offered = self
                .offers
                .values()
                .filter(|it| it.framework == framework)
                .map(|it| (it.role.clone(), it.resources.clone()));
            for (key, shown) in
                [("allocated_resources", by_role(used)), ("offered_resources", by_role(offered.collect()))]
            {
                if shown.as_array().is_some_and(|it| !it.is_empty()) {
                    put(key, shown);
                }
            }
            put("offer_constraints", it.constraints.as_ref().map_or_else(|| json!({}), Json::to_json));
        }
        Value::Object(out)
    }

    fn get_frameworks(&self) -> Value {
        let (active, completed) = self.framework_lists();
        let list = |all: Vec<usize>| -> Vec<Value> {
            all.into_iter().map(|at| self.framework_v1(at, true)).collect()
        };
        json!({ "frameworks": list(active), "completed_frameworks": list(completed) })
    }

    fn get_executors(&self) -> Value {
        let all = self.executors.iter().map(|(_, it)| {
            let info = ExecutorInfo::decode(it.info.as_slice()).unwrap_or_default();
            json!({ "executor_info": info.to_json(), "agent_id": { "value": &*self.agents[it.agent].id } })
        });
        json!({ "executors": all.collect::<Vec<_>>() })
    }

    pub(crate) fn get_state(&self) -> Value {
        json!({
            "get_tasks": self.get_tasks_json(),
            "get_executors": self.get_executors(),
            "get_frameworks": self.get_frameworks(),
            "get_agents": self.get_agents(),
        })
    }

    fn get_operations(&self) -> Value {
        let all: Vec<Value> = self
            .operations
            .values()
            .map(|it| {
                json!({
                    "framework_id": { "value": &*self.frameworks[it.framework].id },
                    "agent_id": { "value": &*self.agents[it.agent].id },
                    "info": it.info.to_json(),
                    "latest_status": { "state": it.state.as_str() },
                    "uuid": { "value": it.uuid.to_vec().to_json() },
                })
            })
            .collect();
        if all.is_empty() { json!({}) } else { json!({ "operations": all }) }
    }

    fn get_roles(&self) -> Value {
        let roles = self.roles_json();
        let shown = roles["roles"].as_array().into_iter().flatten().map(|it| {
            let scalars =
                it["resources"].as_object().into_iter().flatten().filter(|(name, _)| *name != "ports");
            let resources: Vec<Value> = scalars
                .map(|(name, value)| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } }))
                .collect();
            let ids: Vec<Value> =
                it["frameworks"].as_array().into_iter().flatten().map(|id| json!({ "value": id })).collect();
            json!({ "name": it["name"], "weight": 1.0, "frameworks": ids, "resources": resources })
        });
        json!({ "roles": shown.collect::<Vec<_>>() })
    }

    fn get_master(&self, seat: usize) -> Value {
        let it = &self.seats[seat];
        json!({
            "master_info": self.master_info(seat).to_json(),
            "start_time": it.started.seconds(),
            "elected_time": it.elected.unwrap_or_default().seconds(),
        })
    }

    pub fn maintenance_status(&self) -> Value {
        let mut draining = Vec::new();
        for it in self.agents.iter().filter(|it| it.unavailability.is_some()) {
            let mut machine = json!({ "id": { "hostname": it.hostname, "ip": it.ip_text() } });
            let statuses: Vec<Value> = it
                .answers
                .iter()
                .map(|(framework, accepted, at)| {
                    json!({
                        "framework_id": { "value": &*self.frameworks[*framework].id },
                        "status": if *accepted { "ACCEPT" } else { "DECLINE" },
                        "timestamp": time(*at),
                    })
                })
                .collect();
            if !statuses.is_empty() {
                machine["statuses"] = Value::Array(statuses);
            }
            draining.push(machine);
        }
        if draining.is_empty() { json!({}) } else { json!({ "draining_machines": draining }) }
    }

    /// A new stream of operator events: first the whole state.
    pub fn watch(&mut self, conn: Conn) {
        self.watchers.insert(conn, Watcher { codec: Codec::Json });
        let first = json!({ "type": "SUBSCRIBED", "subscribed": { "get_state": self.get_state(), "heartbeat_interval_seconds": self.config.heartbeat.as_secs_f64() } });
        self.tell_watcher(conn, &first);
        self.tell_watcher(conn, &json!({ "type": "HEARTBEAT" }));
        self.timers.add(self.now.plus(self.config.heartbeat), Timer::Heartbeat { conn });
    }

    fn tell_watcher(&mut self, conn: Conn, event: &Value) {
        let bytes = record::encode(event.to_string().as_bytes());
        self.out.push(Output::Frame { conn, bytes });
    }

    fn tell_watchers(&mut self, event: impl FnOnce(&Sim) -> Value) {
        if self.watchers.is_empty() {
            return;
        }
        let event = event(self);
        for conn in self.watchers.keys().copied().collect::<Vec<_>>() {
            self.tell_watcher(conn, &event);
        }
    }

    pub(crate) fn tell_task_added(&mut self, at: usize) {
        self.tell_watchers(|sim| {
            let task = sim.tasks.get(at).map(|it| sim.task_message(it).to_json());
            json!({ "type": "TASK_ADDED", "task_added": { "task": task } })
        });
    }

    pub(crate) fn tell_task_updated(&mut self, framework: usize, status: &TaskStatus, state: TaskState) {
        self.tell_watchers(|sim| {
            json!({ "type": "TASK_UPDATED", "task_updated": {
                "framework_id": { "value": &*sim.frameworks[framework].id },
                "status": status.to_json(),
                "state": state.as_str(),
            }})
        });
    }

    pub(crate) fn tell_agent_added(&mut self, agent: usize) {
        self.tell_watchers(
            |sim| json!({ "type": "AGENT_ADDED", "agent_added": { "agent": sim.agent_v1(agent) } }),
        );
    }

    pub(crate) fn tell_agent_removed(&mut self, agent: usize) {
        self.tell_watchers(|sim| json!({ "type": "AGENT_REMOVED", "agent_removed": { "agent_id": { "value": &*sim.agents[agent].id } } }));
    }

    pub(crate) fn tell_framework(&mut self, kind: &str, framework: usize) {
        self.tell_watchers(|sim| {
            let key = kind.to_lowercase();
            let whole = sim.framework_v1(framework, false);
            let shown = if kind == "FRAMEWORK_REMOVED" {
                json!({ "framework_info": whole["framework_info"] })
            } else {
                json!({ "framework": whole })
            };
            let mut out = Map::new();
            out.insert("type".to_owned(), json!(kind));
            out.insert(key, shown);
            Value::Object(out)
        });
    }

    /// All metrics, by name.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut out: Vec<(String, f64)> = Vec::new();
        let mut put = |name: &str, value: f64| out.push((name.to_owned(), value));
        let agents = |wanted: &dyn Fn(&crate::state::Agent) -> bool| {
            self.agents.iter().filter(|it| wanted(it)).count() as f64
        };
        put("allocator/mesos/allocation_runs", self.counters.allocation_runs as f64);
        put("master/elected", f64::from(self.leader.is_some()));
        put(
            "master/uptime_secs",
            self.leader.map_or(0.0, |it| self.now.since(self.seats[it].started).as_secs_f64()),
        );
        put("master/slaves_connected", agents(&|it| it.link == Link::Registered));
        put("master/slaves_disconnected", agents(&|it| it.link == Link::Disconnected));
        put("master/slaves_active", agents(&|it| it.is_active()));
        put("master/slaves_inactive", agents(&|it| it.link == Link::Registered && !it.is_active()));
        put("master/slaves_unreachable", agents(&|it| matches!(it.link, Link::Unreachable(_))));
        put("master/slave_reregistrations", self.counters.reregistrations as f64);
        put("master/slave_unreachable_completed", self.counters.unreachable as f64);
        let (active, _) = self.framework_lists();
        let connected = active.iter().filter(|at| self.frameworks[**at].is_connected()).count() as f64;
        put("master/frameworks_connected", connected);
        put("master/frameworks_active", connected);
        put("master/frameworks_disconnected", active.len() as f64 - connected);
        put("master/frameworks_inactive", active.len() as f64 - connected);
        put("master/outstanding_offers", self.offers.len() as f64);
        let mut now = std::collections::BTreeMap::new();
        for (_, task) in self.tasks.iter() {
            let state =
                if task.view == View::Unreachable { TaskState::TASK_UNREACHABLE } else { task.latest };
            *now.entry(state).or_insert(0u64) += 1;
        }
        for state in [
            TaskState::TASK_STAGING,
            TaskState::TASK_STARTING,
            TaskState::TASK_RUNNING,
            TaskState::TASK_KILLING,
            TaskState::TASK_UNREACHABLE,
        ] {
            put(&format!("master/{}", plural(state)), now.get(&state).copied().unwrap_or(0) as f64);
        }
        for state in [
            TaskState::TASK_FINISHED,
            TaskState::TASK_FAILED,
            TaskState::TASK_KILLED,
            TaskState::TASK_LOST,
            TaskState::TASK_ERROR,
            TaskState::TASK_DROPPED,
            TaskState::TASK_GONE,
            TaskState::TASK_GONE_BY_OPERATOR,
        ] {
            put(&format!("master/{}", plural(state)), self.counters.updates_of(state) as f64);
        }
        let used = self.roles.values().fold([0; 4], |mut sum, it| {
            crate::sim::add(&mut sum, it.allocated, 1);
            sum
        });
        for (at, name) in ["cpus", "mem", "disk", "gpus"].into_iter().enumerate() {
            let (total, used) = (self.totals[at] as f64 / 1000.0, used[at] as f64 / 1000.0);
            put(&format!("master/{name}_total"), total);
            put(&format!("master/{name}_used"), used);
            put(&format!("master/{name}_percent"), if total > 0.0 { used / total } else { 0.0 });
            put(&format!("allocator/mesos/resources/{name}/total"), total);
            put(&format!("allocator/mesos/resources/{name}/offered_or_allocated"), used);
        }
        for (name, count) in &self.counters.calls {
            put(&format!("mesos-sim/calls/{name}"), *count as f64);
        }
        put("mesos-sim/launches", self.counters.launches as f64);
        put("mesos-sim/offers", self.counters.offers as f64);
        put("mesos-sim/tasks", self.tasks.len() as f64);
        out
    }
}

fn plural(state: TaskState) -> String {
    state.as_str().to_lowercase().replacen("task_", "tasks_", 1)
}

fn by_role(all: Vec<(std::sync::Arc<str>, Resources)>) -> Value {
    let mut sums: Vec<(std::sync::Arc<str>, Resources)> = Vec::new();
    for (role, resources) in all {
        match sums.iter_mut().find(|(it, _)| *it == role) {
            Some((_, sum)) => sum.add(&resources),
            None => sums.push((role, resources)),
        }
    }
    let form = Form { refined: false, multi_role: NEW.multi_role };
    sums.iter().flat_map(|(role, it)| write(it, Some(role), form)).map(|it| it.to_json()).collect()
}

fn time(at: Time) -> Value {
    json!({ "nanoseconds": at.nanoseconds() })
}
