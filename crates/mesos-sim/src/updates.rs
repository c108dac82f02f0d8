//! Status updates: from executor to agent to master to framework, each until it is acknowledged.
//!
//! One queue per task. Only its head travels; the rest waits for the acknowledgement. With each journey the
//! agent also tells the task's latest state, so resources of a finished task become free while older news are
//! still waiting.

use std::time::Duration;

use marathon_mesos_v1::{
    AgentId, CallAcknowledge, Codec, ContainerId, ContainerStatus, Event, EventType, EventUpdate, ExecutorId,
    NetworkInfo, NetworkInfoIpAddress, NetworkInfoProtocol, TaskId, TaskResourceLimitation, TaskState,
    TaskStatus, TaskStatusReason, TaskStatusSource, TimeInfo,
};

use crate::convert::write;
use crate::sim::Sim;
use crate::state::{Status, Task, View, is_terminal};
use crate::time::Timer;

pub(crate) const FIRST_RETRY: Duration = Duration::from_secs(10);
pub(crate) const LONGEST_RETRY: Duration = Duration::from_secs(600);

impl Sim {
    /// The executor or the agent says something new about a task.
    pub(crate) fn emit(&mut self, at: usize, mut status: Status) {
        status.uuid = Some(self.ids.bytes());
        let Some(task) = self.tasks.get_mut(at) else { return };
        if is_terminal(task.state) {
            return;
        }
        task.state = status.state;
        if status.healthy.is_none() {
            status.healthy = task.healthy.filter(|_| status.state != TaskState::TASK_KILLING);
        }
        if status.check.is_none() && status.contained {
            status.check = task.checked.clone();
        }
        task.queue.push_back(status);
        let (first, ended) = (task.queue.len() == 1, is_terminal(task.state));
        if first {
            self.send_head(at, true);
        }
        if ended {
            self.note_end_of(at);
            self.group_member_ended(at);
        }
    }

    /// The agent sends the head of the queue to the master.
    pub(crate) fn send_head(&mut self, at: usize, fresh: bool) {
        let Some(task) = self.tasks.get_mut(at) else { return };
        if task.queue.is_empty() || !self.agents[task.agent].talks() {
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        task.send = self.serial;
        task.backoff = if fresh { FIRST_RETRY } else { (task.backoff * 2).min(LONGEST_RETRY) };
        let (send, backoff) = (task.send, task.backoff);
        self.timers.add(self.now.plus(backoff), Timer::Resend { task: at, send });
        let (lost, delay, twice) = self.faults_of_update();
        if lost {
            return;
        }
        if let Some(delay) = delay {
            self.timers.add(self.now.plus(delay), Timer::Delayed { task: at, send });
            return;
        }
        self.deliver(at);
        if twice {
            self.deliver(at);
        }
    }

    pub(crate) fn resend(&mut self, at: usize, send: u32) {
        if self.tasks.get(at).is_some_and(|it| it.send == send) {
            self.send_head(at, false);
        }
    }

    pub(crate) fn deliver_delayed(&mut self, at: usize, send: u32) {
        if self.tasks.get(at).is_some_and(|it| it.send == send) {
            self.deliver(at);
        }
    }

    /// The master hears the head of a task's queue, and its latest state.
    fn deliver(&mut self, at: usize) {
        let Some(task) = self.tasks.get_mut(at) else { return };
        if task.view != View::Known {
            return;
        }
        let Some(head) = task.queue.front().cloned() else { return };
        task.latest = task.state;
        if let Some(uuid) = head.uuid {
            task.forwarded = Some((head.state, uuid));
        }
        remember(&mut task.history, head.clone());
        let (framework, ended) = (task.framework, is_terminal(task.latest));
        if ended {
            self.release(at);
        }
        let Some(task) = self.tasks.get(at) else { return };
        let status = self.status_message(task, &head);
        self.counters.update(head.state, head.source, head.reason);
        self.tell_task_updated(framework, &status, task_state(at, self));
        self.tell_status(framework, status);
    }

    pub(crate) fn tell_status(&mut self, framework: usize, mut status: TaskStatus) {
        let protobuf =
            self.frameworks[framework].subscription.as_ref().is_some_and(|it| it.codec == Codec::Protobuf);
        if protobuf {
            // A default is written in JSON, where somebody may read it, and left out in protobuf.
            let networks = status.container_status.iter_mut().flat_map(|it| &mut it.network_infos);
            networks.flat_map(|it| &mut it.ip_addresses).for_each(|it| it.protocol = None);
        }
        let event = Event {
            r#type: Some(EventType::UPDATE as i32),
            update: Some(EventUpdate { status }),
            ..Event::default()
        };
        self.tell(framework, &event);
    }

    pub(crate) fn acknowledge(&mut self, framework: usize, call: &CallAcknowledge) {
        let Some(&at) = self.frameworks[framework].tasks.get(call.task_id.value.as_str()) else { return };
        let Some(task) = self.tasks.get_mut(at) else { return };
        let talks = self.agents[task.agent].talks() && *task.agent_id == *call.agent_id.value;
        let head = task.queue.front().is_some_and(|it| it.uuid.is_some_and(|it| it[..] == call.uuid[..]));
        if !talks || !head || task.view != View::Known {
            self.counters.stale_acknowledgements += 1;
            return;
        }
        let ended = task.queue.pop_front().is_some_and(|it| is_terminal(it.state));
        // Whatever waits for an acknowledgement of it is stale now.
        task.send = 0;
        if ended {
            self.end_task(at, None);
        } else {
            self.send_head(at, true);
        }
    }

    /// What the task and the agent had of it is free again, and offered in the next cycle.
    pub(crate) fn release(&mut self, at: usize) {
        let Some(task) = self.tasks.get_mut(at) else { return };
        if std::mem::replace(&mut task.released, true) {
            return;
        }
        let (agent, framework, role) = (task.agent, task.framework, task.role.clone());
        let resources = std::mem::take(&mut task.resources);
        self.recover(agent, &resources);
        self.charge(framework, &role, &resources, -1);
        if let Some(task) = self.tasks.get_mut(at) {
            task.resources = resources;
        }
    }

    /// Nobody waits for news of this task any more: the agent forgets it, the master keeps it among the
    /// completed ones.
    pub(crate) fn end_task(&mut self, at: usize, last: Option<Status>) {
        self.release(at);
        let Some(mut task) = self.tasks.remove(at) else { return };
        if task.run.as_ref().is_some_and(|it| it.real) && !is_terminal(task.state) {
            self.out.push(crate::sim::Output::Signal { process: task.pid, hard: true });
        }
        task.run = None;
        task.queue.clear();
        if let Some(last) = last {
            task.state = last.state;
            remember(&mut task.history, last);
        }
        task.latest = task.state;
        self.agents[task.agent].tasks.retain(|it| *it != at);
        self.frameworks[task.framework].tasks.remove(&task.id);
        if let Some(executor) = task.executor
            && let Some(it) = self.executors.get_mut(executor)
        {
            it.tasks.retain(|it| *it != at);
            if it.tasks.is_empty() && !it.exiting {
                it.exiting = true;
                let wait = self.config.kill_delay;
                self.timers.add(self.now.plus(wait), Timer::ExecutorExits { executor });
            }
        }
        self.audit.ended(&task, self.now);
        self.note_forgotten(&task.id);
        let agent = task.agent;
        let completed = &mut self.frameworks[task.framework].completed;
        completed.push_back(task);
        while self.config.completed_tasks < completed.len() {
            completed.pop_front();
        }
        self.check_drained(agent);
    }

    /// An update that the master makes itself about a task it knows.
    pub(crate) fn tell_from_master(&mut self, at: usize, status: Status) {
        let Some(task) = self.tasks.get(at) else { return };
        let framework = task.framework;
        self.counters.update(status.state, status.source, status.reason);
        let message = self.status_message(task, &status);
        self.tell_task_updated(framework, &message, status.state);
        self.tell_status(framework, message);
    }

    /// A master's answer about something that is no task of its own.
    pub(crate) fn tell_about(
        &mut self,
        framework: usize,
        task_id: &str,
        agent_id: Option<&str>,
        status: &Status,
    ) {
        self.counters.update(status.state, status.source, status.reason);
        let message = bare_message(task_id, agent_id, status);
        self.tell_status(framework, message);
    }

    pub(crate) fn status_message(&self, task: &Task, status: &Status) -> TaskStatus {
        let mut out = bare_message(&task.id, Some(&task.agent_id), status);
        if status.executed {
            let executor = task.executor_id.as_ref().unwrap_or(&task.id);
            out.executor_id = Some(ExecutorId { value: executor.to_string() });
        }
        if status.contained {
            out.container_status = Some(self.container_status(task, status.state));
        }
        if let Some(resources) = &status.limitation {
            let form = self.frameworks[task.framework].form();
            out.limitation =
                Some(TaskResourceLimitation { resources: write(resources, Some(&task.role), form) });
        }
        out
    }

    fn container_status(&self, task: &Task, state: TaskState) -> ContainerStatus {
        let text = |it: [u8; 16]| uuid::Uuid::from_bytes(it).to_string();
        let parent = task.parent.map(|it| Box::new(ContainerId { value: text(it), parent: None }));
        // The agent asks a container that is gone in vain: nested ones end before their last update.
        let gone = parent.is_some() && is_terminal(state);
        let address = NetworkInfoIpAddress {
            protocol: Some(NetworkInfoProtocol::IPv4 as i32),
            ip_address: Some(self.agents[task.agent].ip_text()),
        };
        ContainerStatus {
            container_id: Some(ContainerId { value: text(task.container), parent }),
            network_infos: if gone {
                Vec::new()
            } else {
                vec![NetworkInfo { ip_addresses: vec![address], ..NetworkInfo::default() }]
            },
            executor_pid: (!gone).then_some(task.pid),
            ..ContainerStatus::default()
        }
    }
}

fn task_state(at: usize, sim: &Sim) -> TaskState {
    sim.tasks.get(at).map_or(TaskState::TASK_UNKNOWN, |it| it.latest)
}

/// One entry per run of equal states, as the state endpoints show it.
pub(crate) fn remember(history: &mut Vec<Status>, status: Status) {
    match history.last_mut() {
        Some(last) if last.state == status.state => *last = status,
        _ => history.push(status),
    }
}

pub(crate) fn bare_message(task_id: &str, agent_id: Option<&str>, status: &Status) -> TaskStatus {
    TaskStatus {
        task_id: TaskId { value: task_id.to_owned() },
        state: status.state as i32,
        message: status.message.as_ref().map(|it| it.as_bytes().to_vec()),
        source: Some(status.source as i32),
        reason: status.reason.map(|it| it as i32),
        agent_id: agent_id.map(|it| AgentId { value: it.to_owned() }),
        timestamp: Some(status.time.seconds()),
        uuid: status.uuid.map(|it| it.to_vec()),
        healthy: status.healthy,
        check_status: status.check.as_deref().cloned(),
        unreachable_time: status.unreachable.map(|it| TimeInfo { nanoseconds: it.nanoseconds() }),
        ..TaskStatus::default()
    }
}

/// `TASK_DROPPED` is news to frameworks that know partitions; to others it is `TASK_LOST`.
pub(crate) fn or_lost(partition_aware: bool, state: TaskState) -> TaskState {
    if partition_aware { state } else { TaskState::TASK_LOST }
}

pub(crate) fn from_master(sim: &Sim, state: TaskState, reason: TaskStatusReason) -> Status {
    Status::new(state, TaskStatusSource::SOURCE_MASTER, sim.now).because(reason)
}
