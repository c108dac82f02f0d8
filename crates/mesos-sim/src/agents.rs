//! Agents leave and come back: killed, partitioned, shut down, drained, gone.

use std::time::Duration;

use marathon_mesos_v1::{AgentId, Event, EventFailure, EventType, TaskState, TaskStatusReason};

use crate::config::AgentShape;
use crate::reconcile::copy_facts;
use crate::resources::Resources;
use crate::sim::Sim;
use crate::state::{Drain, Link, View, is_terminal, shares_of};
use crate::time::Timer;
use crate::updates::{from_master, or_lost};

impl Sim {
    /// The agent's process dies, its connection with it. Executors of checkpointing frameworks live on.
    pub fn kill_agent(&mut self, agent: usize) {
        if !self.agents[agent].process_up {
            return;
        }
        self.agents[agent].process_up = false;
        if self.agents[agent].link == Link::Registered {
            self.disconnect_agent(agent);
        }
        let mortal: Vec<usize> = self.agents[agent]
            .tasks
            .iter()
            .copied()
            .filter(|at| self.tasks.get(*at).is_some_and(|it| !self.frameworks[it.framework].checkpoints()))
            .collect();
        for at in mortal {
            self.forget_task(at);
        }
    }

    fn disconnect_agent(&mut self, agent: usize) {
        let it = &mut self.agents[agent];
        it.link = Link::Disconnected;
        it.life += 1;
        let timer = Timer::Unreachable { agent, life: it.life };
        self.timers.add(self.now.plus(self.config.unreachable_after), timer);
        self.rescind_agent(agent);
        let message = format!("Agent {} disconnected", self.agents[agent].hostname);
        for at in self.agents[agent].tasks.clone() {
            let Some(task) = self.tasks.get(at) else { continue };
            if task.view == View::Known && !self.frameworks[task.framework].checkpoints() {
                let status =
                    from_master(self, TaskState::TASK_LOST, TaskStatusReason::REASON_AGENT_DISCONNECTED)
                        .saying(message.clone());
                self.tell_from_master(at, status);
                self.hide(at);
            }
        }
    }

    /// Packets are lost both ways; nobody closes a connection.
    pub fn partition_agent(&mut self, agent: usize) {
        let it = &mut self.agents[agent];
        if std::mem::replace(&mut it.partitioned, true) || it.link != Link::Registered {
            return;
        }
        it.life += 1;
        let timer = Timer::Unreachable { agent, life: it.life };
        self.timers.add(self.now.plus(self.config.unreachable_after), timer);
    }

    pub(crate) fn mark_unreachable(&mut self, agent: usize, why: &str) {
        if self.leader.is_none()
            || !matches!(self.agents[agent].link, Link::Registered | Link::Disconnected | Link::Recovered)
        {
            return;
        }
        let (now, was) = (self.now, self.agents[agent].link);
        self.agents[agent].link = Link::Unreachable(now);
        self.counters.unreachable += 1;
        add_total(self, agent, -1);
        for at in self.agents[agent].tasks.clone() {
            let Some(task) = self.tasks.get(at) else { continue };
            if task.view != View::Known {
                continue;
            }
            let aware = self.frameworks[task.framework].abilities.partition_aware;
            let mut status = from_master(
                self,
                or_lost(aware, TaskState::TASK_UNREACHABLE),
                TaskStatusReason::REASON_AGENT_REMOVED,
            )
            .saying(why);
            status.unreachable = Some(now);
            self.tell_from_master(at, status);
            if let Some(task) = self.tasks.get_mut(at) {
                task.view = View::Unreachable;
            }
        }
        if was == Link::Registered {
            self.rescind_agent(agent);
        }
        self.after_loss(agent);
    }

    fn after_loss(&mut self, agent: usize) {
        self.agents[agent].filters.clear();
        let event = Event {
            r#type: Some(EventType::FAILURE as i32),
            failure: Some(EventFailure {
                agent_id: Some(AgentId { value: self.agents[agent].id.to_string() }),
                ..EventFailure::default()
            }),
            ..Event::default()
        };
        let all: Vec<usize> = self.streams.values().copied().collect();
        for framework in all {
            self.tell(framework, &event);
        }
        self.tell_agent_removed(agent);
    }

    /// The agent's process starts again, or the network is whole again. It registers at once.
    pub fn return_agent(&mut self, agent: usize) {
        let it = &mut self.agents[agent];
        (it.process_up, it.partitioned) = (true, false);
        it.started = self.now;
        match it.link {
            Link::Gone => {}
            Link::Removed => {
                self.replace_agent(agent);
            }
            Link::Registered => {
                self.agents[agent].life += 1;
                self.deliver_launches(agent);
                self.speak_again(agent);
            }
            Link::Unknown | Link::Recovered | Link::Disconnected | Link::Unreachable(_) => {
                self.register(agent)
            }
        }
    }

    /// A registered agent is back before anybody noticed.
    fn speak_again(&mut self, agent: usize) {
        for at in self.agents[agent].tasks.clone() {
            self.send_head(at, true);
        }
    }

    pub(crate) fn register(&mut self, agent: usize) {
        let now = self.now;
        let it = &self.agents[agent];
        if self.leader.is_none()
            || !it.process_up
            || it.partitioned
            || matches!(it.link, Link::Gone | Link::Removed | Link::Registered)
        {
            return;
        }
        let was = it.link;
        let why = match was {
            Link::Unreachable(_) => Some("Unreachable agent re-reregistered"),
            Link::Unknown => Some("Unknown agent reregistered"),
            _ => None,
        };
        if matches!(was, Link::Unreachable(_) | Link::Unknown) {
            add_total(self, agent, 1);
        }
        let it = &mut self.agents[agent];
        it.link = Link::Registered;
        it.reregistered = Some(now);
        it.life += 1;
        let kills = std::mem::take(&mut it.kills);
        self.counters.reregistrations += 1;
        self.drop_undelivered(agent, was);
        for at in self.agents[agent].tasks.clone() {
            self.learn_task(at, why);
        }
        self.tell_agent_added(agent);
        self.allocate(Some(agent));
        self.speak_again(agent);
        if matches!(was, Link::Unreachable(_)) {
            // Once because the agent is back, once because it hears of its frameworks again.
            self.speak_again(agent);
        }
        for at in kills {
            self.start_kill(at, None, None);
        }
        if let Some(drain) = self.agents[agent].drain.clone().filter(|it| !it.done) {
            self.drain_tasks(agent, drain.grace);
        }
    }

    /// Tasks of which the agent never heard: a master that still counts on them has it say so.
    fn drop_undelivered(&mut self, agent: usize, was: Link) {
        for at in self.agents[agent].tasks.clone() {
            if self.tasks.get(at).is_none_or(|it| it.undelivered.is_none()) {
                continue;
            }
            if was == Link::Disconnected {
                let message = "Task launch lost: unknown to the agent".to_owned();
                self.drop_by_agent(at, TaskStatusReason::REASON_RECONCILIATION, message);
            } else {
                self.forget_task(at);
            }
        }
    }

    /// The master hears of a task from its agent, and tells its framework if that may surprise it.
    fn learn_task(&mut self, at: usize, why: Option<&str>) {
        let Some(task) = self.tasks.get_mut(at) else { return };
        task.view = View::Known;
        task.latest = task.state;
        let ended = is_terminal(task.state);
        if ended {
            self.release(at);
        }
        let Some(task) = self.tasks.get_mut(at) else { return };
        let state = task.state;
        task.forwarded = task.queue.front().or(task.history.last()).and_then(|it| Some((it.state, it.uuid?)));
        if let Some(why) = why {
            task.forwarded = None;
            let mut status =
                from_master(self, state, TaskStatusReason::REASON_AGENT_REREGISTERED).saying(why);
            let last = self.tasks.get(at).and_then(|it| it.history.last().cloned());
            copy_facts(&mut status, last.as_ref());
            self.tell_from_master(at, status);
        }
    }

    /// SIGUSR1: the agent says good-bye and kills its tasks.
    pub fn shut_agent_down(&mut self, agent: usize) {
        if self.agents[agent].link != Link::Registered {
            return;
        }
        let message = format!("Agent {} removed: the agent unregistered", self.agents[agent].hostname);
        self.rescind_agent(agent);
        self.agents[agent].process_up = false;
        self.agents[agent].link = Link::Removed;
        add_total(self, agent, -1);
        for at in self.agents[agent].tasks.clone() {
            let status = from_master(self, TaskState::TASK_LOST, TaskStatusReason::REASON_AGENT_REMOVED)
                .saying(message.clone());
            self.tell_from_master(at, status);
            self.forget_task(at);
        }
        self.drop_executors(agent);
        self.after_loss(agent);
    }

    /// A machine whose agent has lost its state comes back under a new id.
    pub fn replace_agent(&mut self, old: usize) -> usize {
        let it = &self.agents[old];
        let mut resources = Resources::default();
        for (kind, amount) in &it.total.0 {
            let plain = kind.with(|it| {
                it.volume = None;
                it.reservations.retain(|it| !it.dynamic);
            });
            resources.add_one(&plain, amount);
        }
        let shape = AgentShape {
            hostname: it.hostname.clone(),
            ip: it.ip,
            port: it.port,
            resources,
            attributes: it.attributes.clone(),
            domain: it.domain.clone(),
        };
        self.add_agent(shape)
    }

    /// MARK_AGENT_GONE.
    pub fn mark_gone(&mut self, agent: usize) -> bool {
        let was = self.agents[agent].link;
        if matches!(was, Link::Gone | Link::Removed | Link::Unknown) {
            return was == Link::Gone;
        }
        self.rescind_agent(agent);
        if matches!(was, Link::Registered | Link::Disconnected | Link::Recovered) {
            add_total(self, agent, -1);
        }
        self.agents[agent].link = Link::Gone;
        for at in self.agents[agent].tasks.clone() {
            let Some(task) = self.tasks.get(at) else { continue };
            if task.view != View::Hidden {
                let aware = self.frameworks[task.framework].abilities.partition_aware;
                let reason = if aware {
                    TaskStatusReason::REASON_AGENT_REMOVED_BY_OPERATOR
                } else {
                    TaskStatusReason::REASON_AGENT_REMOVED
                };
                let status = from_master(self, or_lost(aware, TaskState::TASK_GONE_BY_OPERATOR), reason)
                    .saying("Agent has been marked gone");
                self.tell_from_master(at, status);
            }
            self.forget_task(at);
        }
        self.drop_executors(agent);
        self.after_loss(agent);
        true
    }

    fn drop_executors(&mut self, agent: usize) {
        for at in self.agents[agent].executors.clone() {
            self.remove_executor(at);
        }
    }

    /// The process of a task and all knowledge of it vanish.
    fn forget_task(&mut self, at: usize) {
        self.release(at);
        let Some(task) = self.tasks.remove(at) else { return };
        if task.run.as_ref().is_some_and(|it| it.real) {
            self.out.push(crate::sim::Output::Signal { process: task.pid, hard: true });
        }
        self.agents[task.agent].tasks.retain(|it| *it != at);
        self.frameworks[task.framework].tasks.remove(&task.id);
        if let Some(executor) = task.executor.and_then(|it| self.executors.get_mut(it)) {
            executor.tasks.retain(|it| *it != at);
        }
        self.audit.ended(&task, self.now);
        self.note_forgotten(&task.id);
    }

    /// The master declared it lost; the agent may still have it.
    fn hide(&mut self, at: usize) {
        if let Some(task) = self.tasks.get_mut(at) {
            task.view = View::Hidden;
        }
    }

    pub fn drain_agent(&mut self, agent: usize, grace: Option<Duration>, mark_gone: bool) {
        self.agents[agent].drain = Some(Drain { grace, mark_gone, since: self.now, done: false });
        self.agents[agent].deactivated = true;
        self.rescind_agent(agent);
        self.drain_tasks(agent, grace);
        self.check_drained(agent);
    }

    fn drain_tasks(&mut self, agent: usize, grace: Option<Duration>) {
        if !self.agents[agent].talks() {
            return;
        }
        for at in self.agents[agent].tasks.clone() {
            let own = self.tasks.get(at).and_then(|it| it.run.as_ref()).and_then(|it| it.grace);
            let wait = match (own, grace) {
                (Some(own), Some(most)) => Some(own.min(most)),
                (own, most) => own.or(most),
            };
            self.start_kill(at, wait, Some(TaskStatusReason::REASON_AGENT_DRAINING));
        }
    }

    pub(crate) fn check_drained(&mut self, agent: usize) {
        if !self.agents[agent].tasks.is_empty() {
            return;
        }
        let Some(drain) = self.agents[agent].drain.as_mut().filter(|it| !it.done) else { return };
        drain.done = true;
        if drain.mark_gone {
            self.mark_gone(agent);
        }
    }

    pub fn deactivate_agent(&mut self, agent: usize) {
        self.agents[agent].deactivated = true;
        self.rescind_agent(agent);
    }

    pub fn reactivate_agent(&mut self, agent: usize) {
        let it = &mut self.agents[agent];
        (it.deactivated, it.drain) = (false, None);
    }

    /// The maintenance schedule: windows of unavailability by machine. All offers of the machines concerned are
    /// rescinded and made again.
    pub fn set_schedule(&mut self, schedule: serde_json::Value) -> Result<(), String> {
        let mut wanted: Vec<(usize, marathon_mesos_v1::Unavailability)> = Vec::new();
        for window in schedule["windows"].as_array().into_iter().flatten() {
            let unavailability = serde_json::from_value(window["unavailability"].clone())
                .map_err(|cause| format!("Failed to convert JSON to protobuf: unavailability: {cause}"))?;
            for machine in window["machine_ids"].as_array().into_iter().flatten() {
                let matches = |it: &crate::state::Agent| {
                    machine["hostname"].as_str().is_none_or(|name| name == it.hostname)
                        && machine["ip"].as_str().is_none_or(|ip| ip == it.ip_text())
                };
                let found = (0..self.agents.len()).filter(|at| matches(&self.agents[*at]));
                wanted
                    .extend(found.map(|at| (at, marathon_mesos_v1::Unavailability::clone(&unavailability))));
            }
        }
        self.schedule = schedule;
        for agent in 0..self.agents.len() {
            let new = wanted.iter().find(|(at, _)| *at == agent).map(|(_, it)| it.clone());
            if self.agents[agent].unavailability == new {
                continue;
            }
            self.agents[agent].unavailability = new;
            self.agents[agent].answers.clear();
            self.agents[agent].inverse_after.clear();
            self.inverse_offers.retain(|_, it| it.agent != agent);
            self.rescind_agent(agent);
            self.allocate(Some(agent));
        }
        Ok(())
    }

    pub fn agent_by_id(&self, id: &str) -> Option<usize> {
        self.agent_ids.get(id).copied()
    }
}

fn add_total(sim: &mut Sim, agent: usize, sign: i64) {
    let shares = shares_of(&sim.agents[agent].total);
    crate::sim::add(&mut sim.totals, shares, sign);
}

/// For tests and admin orders that name an agent by number or id.
pub fn named(sim: &Sim, name: &str) -> Option<usize> {
    let by_host = || sim.agents.iter().rposition(|it| it.hostname == name);
    let by_number = || name.parse::<usize>().ok().filter(|it| *it < sim.agents.len());
    sim.agent_by_id(name).or_else(by_number).or_else(by_host)
}
