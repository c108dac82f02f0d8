//! The v1 operator API: calls, and the stream of operator events.

use std::time::Duration;

use marathon_mesos_v1::json::Json;
use marathon_mesos_v1::{Codec, TaskState, TaskStatus, record};
use serde_json::{Map, Value, json};

use crate::operator::version_json;
use crate::sim::{Output, Sim, Watcher};
use crate::state::{Conn, Link, View};
use crate::time::Timer;

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
        put("mesos-sim/reconciled", self.counters.reconciled as f64);
        put("mesos-sim/decision_ms/p50", self.counters.decision(0.5));
        put("mesos-sim/decision_ms/p99", self.counters.decision(0.99));
        put("mesos-sim/launches", self.counters.launches as f64);
        put("mesos-sim/offers", self.counters.offers as f64);
        put("mesos-sim/tasks", self.tasks.len() as f64);
        out
    }
}

fn plural(state: TaskState) -> String {
    state.as_str().to_lowercase().replacen("task_", "tasks_", 1)
}
