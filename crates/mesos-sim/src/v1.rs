//! What the calls of the v1 operator API show.

use marathon_mesos_v1::json::Json;
use marathon_mesos_v1::{ExecutorInfo, Message};
use serde_json::{Map, Value, json};

use crate::convert::{Form, write};
use crate::operator::{AGENT_CAPABILITIES, drain_json};
use crate::resources::Resources;
use crate::sim::Sim;
use crate::state::{Link, View};
use crate::time::Time;

const OLD: Form = Form { refined: false, multi_role: true };

impl Sim {
    pub(crate) fn get_agents(&self) -> Value {
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

    pub(crate) fn agent_v1(&self, agent: usize) -> Value {
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

    pub(crate) fn allocated_v1(&self, agent: usize) -> Value {
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

    pub(crate) fn offered_v1(&self, agent: usize) -> Value {
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

    pub(crate) fn get_frameworks(&self) -> Value {
        let (active, completed) = self.framework_lists();
        let list = |all: Vec<usize>| -> Vec<Value> {
            all.into_iter().map(|at| self.framework_v1(at, true)).collect()
        };
        json!({ "frameworks": list(active), "completed_frameworks": list(completed) })
    }

    pub(crate) fn get_executors(&self) -> Value {
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

    pub(crate) fn get_operations(&self) -> Value {
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

    pub(crate) fn get_roles(&self) -> Value {
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

    pub(crate) fn get_master(&self, seat: usize) -> Value {
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
}

pub(crate) fn by_role(all: Vec<(std::sync::Arc<str>, Resources)>) -> Value {
    let mut sums: Vec<(std::sync::Arc<str>, Resources)> = Vec::new();
    for (role, resources) in all {
        match sums.iter_mut().find(|(it, _)| *it == role) {
            Some((_, sum)) => sum.add(&resources),
            None => sums.push((role, resources)),
        }
    }
    let form = Form { refined: false, multi_role: true };
    sums.iter().flat_map(|(role, it)| write(it, Some(role), form)).map(|it| it.to_json()).collect()
}

pub(crate) fn time(at: Time) -> Value {
    json!({ "nanoseconds": at.nanoseconds() })
}
