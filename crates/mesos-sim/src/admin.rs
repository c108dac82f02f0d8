//! Orders of an admin: faults and facts that a real cluster has from outside. docs/mesos-sim.md lists them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::named;
use crate::front::Answer;
use crate::script::Exit;
use crate::sim::Sim;

/// Where orders are posted, at any master that is up.
pub const PATH: &str = "/mesos-sim/admin";

impl Sim {
    /// Carries out one order, or a list of them; the answer says what was done or why not.
    pub fn admin(&mut self, order: &Value) -> Answer {
        let orders = match order {
            Value::Array(all) => all.clone(),
            one => vec![one.clone()],
        };
        let mut done = Vec::new();
        for one in &orders {
            match self.order(one) {
                Ok(value) => done.push(value),
                Err(why) => {
                    let mut answer = Answer::json(&json!({ "error": why, "done": done.len() }));
                    answer.status = 400;
                    return answer;
                }
            }
        }
        Answer::json(&if order.is_array() { Value::Array(done) } else { done.pop().unwrap_or_default() })
    }

    fn order(&mut self, order: &Value) -> Result<Value, String> {
        let name = order["do"].as_str().ok_or("`do` names no order")?;
        let on = order["on"].as_bool().unwrap_or(true);
        let seconds = |field: &str| order[field].as_f64().and_then(|it| Duration::try_from_secs_f64(it).ok());
        if !matches!(name, "audit" | "journal") {
            self.note(|| json!({ "what": "order", "order": order }));
        }
        match name {
            "kill_agent" => self.for_agents(order, Sim::kill_agent),
            "partition_agent" => self.for_agents(order, Sim::partition_agent),
            "lose_agent" => self.for_agents(order, |sim, agent| {
                sim.kill_agent(agent);
                sim.mark_unreachable(agent, "health check timed out");
            }),
            "return_agent" => self.for_agents(order, Sim::return_agent),
            "shut_agent_down" => self.for_agents(order, Sim::shut_agent_down),
            "mark_agent_gone" => self.for_agents(order, |sim, agent| {
                sim.mark_gone(agent);
            }),
            "replace_agent" => self.for_agents(order, |sim, agent| {
                sim.replace_agent(agent);
            }),
            "kill_executor" => self.for_task(order, Sim::executor_dies),
            "fail_task" => {
                let status = order["status"].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or(1);
                self.for_task(order, move |sim, at| sim.fail_task(at, Exit::Status(status)))
            }
            "finish_task" => self.for_task(order, |sim, at| sim.fail_task(at, Exit::Status(0))),
            "kill_task" => self.for_task(order, |sim, at| sim.fail_task(at, Exit::Signal("Killed"))),
            "exceed_disk" => self.for_task(order, Sim::over_disk_quota),
            "add_agents" => self.add_agents(order),
            "drop_streams" => Ok(self.done(Sim::drop_streams)),
            "rescind_all" => Ok(self.done(Sim::rescind_all)),
            "allocate" => Ok(self.done(|sim| sim.allocate(None))),
            "fail_over" => Ok(self.done(Sim::fail_over)),
            "kill_master" => self.for_seat(order, Sim::kill_master),
            "start_master" => self.for_seat(order, Sim::start_master),
            "recovering" => self.for_seat(order, move |sim, seat| sim.seats[seat].recovering = on),
            "delay_updates" => {
                self.faults.delay_updates = seconds("seconds").filter(|it| !it.is_zero());
                Ok(json!({}))
            }
            "duplicate_updates" => Ok(self.done(|sim| sim.faults.duplicate_updates = on)),
            "lose_updates" => Ok(self.done(|sim| sim.faults.lose_updates = on)),
            "lose_calls" => Ok(self.done(|sim| sim.faults.lose_calls = on)),
            "slow_stream" => {
                self.faults.slow_stream = order["bytes_per_second"].as_u64().filter(|it| 0 < *it);
                Ok(json!({}))
            }
            "faults" => {
                self.set_faults(order["rate"].as_f64().ok_or("`rate` is no number")?);
                Ok(json!({}))
            }
            "audit" => Ok(self.audit_report()),
            "journal" => Ok(self.journal_from(order["from"].as_u64().unwrap_or_default())),
            other => Err(format!("there is no order `{other}`")),
        }
    }

    /// More agents like the last one, or like `resources` says.
    fn add_agents(&mut self, order: &Value) -> Result<Value, String> {
        let count = order["count"].as_u64().unwrap_or(1);
        let given = order["resources"].as_str().map(crate::resources::parse).transpose()?;
        let last = self.agents.last();
        let resources = given.or_else(|| last.map(|it| it.total.clone())).ok_or("`resources` is missing")?;
        let (attributes, domain, port) = match last {
            Some(it) => (it.attributes.clone(), it.domain.clone(), it.port),
            None => (Default::default(), None, 5051),
        };
        for _ in 0..count {
            let ip = crate::launch::agent_ip(self.agents.len());
            self.add_agent(crate::config::AgentShape {
                hostname: std::net::Ipv4Addr::from(ip).to_string(),
                ip,
                port,
                resources: resources.clone(),
                attributes: attributes.clone(),
                domain: domain.clone(),
            });
        }
        Ok(json!({ "agents": self.agents.len() }))
    }

    fn set_faults(&mut self, rate: f64) {
        let was = std::mem::replace(&mut self.config.faults, rate.clamp(0.0, 1.0));
        if was == 0.0 && 0.0 < rate {
            self.timers.add(self.now.plus(crate::faults::EVERY), crate::time::Timer::Faults);
        }
    }

    fn done(&mut self, act: impl FnOnce(&mut Sim)) -> Value {
        act(self);
        json!({})
    }

    /// `agent` is an id, a number from 0 or a host name; `agents` a list of them, or `"all"`.
    fn for_agents(&mut self, order: &Value, act: impl Fn(&mut Sim, usize)) -> Result<Value, String> {
        let names: Vec<String> = match (&order["agent"], &order["agents"]) {
            (Value::String(one), _) => vec![one.clone()],
            (Value::Number(one), _) => vec![one.to_string()],
            (_, Value::Array(all)) => {
                all.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect()
            }
            (_, Value::String(all)) if all == "all" => {
                (0..self.agents.len()).map(|it| it.to_string()).collect()
            }
            _ => return Err("`agent` names no agent".to_owned()),
        };
        let mut found = Vec::new();
        for name in &names {
            found.push(named(self, name).ok_or_else(|| format!("there is no agent `{name}`"))?);
        }
        for agent in &found {
            act(self, *agent);
        }
        let ids: Vec<&str> = found.iter().map(|it| &*self.agents[*it].id).collect();
        Ok(json!({ "agents": ids }))
    }

    fn for_task(&mut self, order: &Value, act: impl Fn(&mut Sim, usize)) -> Result<Value, String> {
        let id = order["task"].as_str().ok_or("`task` names no task")?;
        let found = self.tasks.iter().find(|(_, it)| &*it.id == id).map(|(at, _)| at);
        let at = found.ok_or_else(|| format!("there is no task `{id}`"))?;
        act(self, at);
        Ok(json!({ "task": id }))
    }

    fn for_seat(&mut self, order: &Value, act: impl Fn(&mut Sim, usize)) -> Result<Value, String> {
        let leading = self.leader.or(self.announced).unwrap_or(0);
        let seat = order["master"].as_u64().map_or(leading, |it| it as usize);
        if self.seats.len() <= seat {
            return Err(format!("there is no master {seat}"));
        }
        act(self, seat);
        Ok(json!({ "master": seat }))
    }
}
