//! Tasks of the simulated cluster: how they start, run and end, and how their updates travel.
//!
//! An agent keeps the updates of a task in a queue, sends the first one again and again until it is
//! acknowledged, and only then the next. So updates of one task never overtake each other, while those
//! of different tasks do.

use std::collections::VecDeque;

use marathon_model::id::{AgentId, TaskId};
use marathon_model::offer::{Command, EngineEvent, TaskState, TaskStatus};
use marathon_model::resources::Resource;
use marathon_model::time::Timestamp;
use uuid::Uuid;

use crate::agenda::{Agenda, Happening, Millis, TaskMove};
use crate::agent::Link;
use crate::cluster::{Cluster, answer};

const RESEND_AFTER: Millis = 10_000;
const RESEND_MAX: Millis = 600_000;

#[derive(Debug)]
pub struct Task {
    pub agent: usize,
    pub state: TaskState,
    pub ended: bool,
    /// The agent was cut off when the launch was on its way.
    pub never_arrived: bool,
    /// Fails its health checks.
    pub sick: bool,
    /// Answers its readiness check from this moment on.
    pub ready_from: Millis,
    pub ports: Vec<u16>,
    /// Of a pod, one of the containers that live holds those of all.
    pub resources: Vec<Resource>,
    /// What it has of a reservation.
    pub reserved: Vec<Resource>,
    updates: VecDeque<TaskStatus>,
    engine_checks: bool,
    pub killing: bool,
    dies_as: Option<TaskMove>,
}

impl Task {
    pub fn is_running(&self) -> bool {
        self.state == TaskState::Running || self.state == TaskState::Killing
    }
}

/// What is started: an app's instance, or one container of a pod's.
pub struct Start<'a> {
    pub task: &'a TaskId,
    pub command: &'a Command,
    pub ports: &'a [u16],
    pub reserved: &'a [Resource],
    pub engine_checks: bool,
}

impl Cluster {
    pub fn launch(&mut self, agenda: &mut Agenda, agent: usize, resources: Vec<Resource>, start: Start<'_>) {
        let faults = self.faults;
        let Start { task: id, command, ports, reserved, engine_checks } = start;
        let wish = match command {
            Command::Shell(text) => text.split(' ').next().unwrap_or_default(),
            _ => "",
        };
        let dies = self.dice.chance(faults.task_dies);
        let dies_as = match wish {
            _ if self.healed => None,
            "crash" => Some(TaskMove::Failed),
            "finish" => Some(TaskMove::Finished),
            _ if dies && self.dice.chance(0.5) => Some(TaskMove::Failed),
            _ if dies => Some(TaskMove::Finished),
            _ => None,
        };
        let stuck = self.dice.chance(faults.launch_stuck);
        let start = self.dice.between(5, 3_000);
        let up = start + self.dice.around(4_000);
        let ready_from = agenda.now + up + self.dice.around(20_000);
        let task = Task {
            agent,
            state: TaskState::Staging,
            ended: false,
            never_arrived: self.agents[agent].link != Link::Up,
            sick: wish == "sick" && !self.healed,
            ready_from,
            ports: ports.to_vec(),
            resources,
            reserved: reserved.to_vec(),
            updates: VecDeque::new(),
            engine_checks,
            killing: false,
            dies_as,
        };
        let arrived = !task.never_arrived;
        self.tasks.insert(id.clone(), task);
        if !arrived || stuck {
            return;
        }
        if self.dice.chance(0.7) {
            agenda.after(start, Happening::Task { task: id.clone(), what: TaskMove::Starting });
        }
        if dies_as.is_some() && self.dice.chance(0.3) {
            // Does not even start.
            agenda.after(up, Happening::Task { task: id.clone(), what: TaskMove::Failed });
            return;
        }
        agenda.after(up, Happening::Task { task: id.clone(), what: TaskMove::Running });
    }

    pub fn step_task(&mut self, agenda: &mut Agenda, id: &TaskId, what: TaskMove) {
        let healed = self.healed;
        let Some(task) = self.tasks.get_mut(id).filter(|it| !it.ended) else { return };
        match what {
            TaskMove::Starting if task.state == TaskState::Staging => {
                self.report(agenda, id, TaskState::Starting, None)
            }
            TaskMove::Starting => {}
            TaskMove::Running if task.killing => {}
            TaskMove::Running => {
                let healthy = (task.engine_checks && task.sick).then_some(false);
                let (checks, dies_as, sick) = (task.engine_checks, task.dies_as, task.sick);
                self.report(agenda, id, TaskState::Running, healthy);
                if let Some(how) = dies_as {
                    let after = self.dice.around(30_000);
                    agenda.after(after, Happening::Task { task: id.clone(), what: how });
                }
                if checks && !sick {
                    let after = self.dice.between(100, 10_000);
                    agenda.after(after, Happening::Task { task: id.clone(), what: TaskMove::Recover });
                }
                if self.dice.chance(self.faults.task_sickens) {
                    let after = self.dice.around(60_000);
                    agenda.after(after, Happening::Task { task: id.clone(), what: TaskMove::Sicken });
                }
            }
            TaskMove::Sicken if healed => {}
            TaskMove::Sicken => {
                task.sick = true;
                self.report_health(agenda, id, false);
                let after = self.dice.around(40_000);
                // The engine ends what stays unhealthy.
                let dies = self.tasks[id].engine_checks && self.dice.chance(0.3);
                let what = if dies { TaskMove::Failed } else { TaskMove::Recover };
                agenda.after(after, Happening::Task { task: id.clone(), what });
            }
            TaskMove::Recover => {
                task.sick = false;
                self.report_health(agenda, id, true);
                if self.dice.chance(self.faults.task_sickens) {
                    let after = self.dice.around(60_000);
                    agenda.after(after, Happening::Task { task: id.clone(), what: TaskMove::Sicken });
                }
            }
            TaskMove::Failed | TaskMove::Finished if healed && task.is_running() => {}
            TaskMove::Failed => self.end(agenda, id, TaskState::Failed),
            TaskMove::Finished => self.end(agenda, id, TaskState::Finished),
            TaskMove::Dead => self.end(agenda, id, TaskState::Killed),
        }
    }

    fn report_health(&mut self, agenda: &mut Agenda, id: &TaskId, healthy: bool) {
        if self.tasks[id].engine_checks && self.tasks[id].state == TaskState::Running {
            self.report(agenda, id, TaskState::Running, Some(healthy));
        }
    }

    pub fn end(&mut self, agenda: &mut Agenda, id: &TaskId, state: TaskState) {
        let Some(task) = self.tasks.get_mut(id).filter(|it| !it.ended) else { return };
        task.ended = true;
        let (agent, resources) = (task.agent, std::mem::take(&mut task.resources));
        let left = self.bequeath(agenda, id, resources).unwrap_or_default();
        // Even where nothing is left: what it used of a reservation is idle now.
        self.agents[agent].take_back(&left);
        self.report(agenda, id, state, None);
    }

    /// The agent has news of a task.
    fn report(&mut self, agenda: &mut Agenda, id: &TaskId, state: TaskState, healthy: Option<bool>) {
        let uuid = self.dice.uuid();
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.state = state;
        let agent = self.agents[task.agent].id.clone();
        let mut status = answer(id.clone(), state, Some(agent), None);
        (status.update, status.healthy, status.at) = (Some(uuid), healthy, Timestamp(agenda.now as i64));
        task.updates.push_back(status);
        if task.updates.len() == 1 {
            self.send_head(agenda, id, 0);
        }
    }

    /// Sends the oldest update that is not acknowledged.
    pub fn send_head(&mut self, agenda: &mut Agenda, id: &TaskId, attempt: u32) {
        let Some(task) = self.tasks.get(id) else { return };
        let Some(status) = task.updates.front().cloned() else { return };
        if self.agents[task.agent].link != Link::Up {
            return;
        }
        let Some(update) = status.update else { return };
        self.tell_status(agenda, status);
        let wait = (RESEND_AFTER << attempt.min(6)).min(RESEND_MAX);
        agenda.after(wait, Happening::Resend { task: id.clone(), update, attempt: attempt + 1 });
    }

    pub fn resend(&mut self, agenda: &mut Agenda, id: &TaskId, update: Uuid, attempt: u32) {
        let waits =
            self.tasks.get(id).and_then(|it| it.updates.front()).is_some_and(|it| it.update == Some(update));
        if waits {
            self.send_head(agenda, id, attempt);
        }
    }

    pub fn acknowledge(&mut self, agenda: &mut Agenda, id: &TaskId, update: Uuid) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if self.agents[task.agent].link != Link::Up {
            return;
        }
        if task.updates.front().is_none_or(|it| it.update != Some(update)) {
            return;
        }
        task.updates.pop_front();
        if task.updates.is_empty() && task.ended {
            self.tasks.remove(id);
            return;
        }
        self.send_head(agenda, id, 0);
    }

    /// Lets a status travel: it may be lost, late or doubled, but it does not overtake an earlier one of
    /// the same task.
    pub fn tell_status(&mut self, agenda: &mut Agenda, status: TaskStatus) {
        let faults = self.faults;
        if self.dice.chance(faults.update_lost) {
            return;
        }
        let mut delay = self.dice.between(1, 20);
        if self.dice.chance(faults.update_late) {
            delay += self.dice.around(20_000);
        }
        let doubled = self.dice.chance(faults.update_doubled);
        let told = self.told.entry(status.task.clone()).or_default();
        let at = (agenda.now + delay).max(*told);
        *told = at;
        if doubled {
            self.tell(agenda, at, EngineEvent::Status(status.clone()));
        }
        self.tell(agenda, at, EngineEvent::Status(status));
    }

    pub fn kill(&mut self, agenda: &mut Agenda, id: &TaskId, agent: Option<AgentId>) {
        let ignored = self.dice.chance(self.faults.kill_ignored);
        let grace = self.dice.around(1_500);
        let announces = self.dice.chance(0.3);
        let Some(task) = self.tasks.get_mut(id).filter(|it| !it.ended) else {
            self.answer(agenda, id, agent);
            return;
        };
        match self.agents[task.agent].link {
            Link::Up if ignored || task.killing => {}
            Link::Up => {
                task.killing = true;
                let was_up = task.is_running();
                agenda.after(grace, Happening::Task { task: id.clone(), what: TaskMove::Dead });
                if announces && was_up {
                    self.report(agenda, id, TaskState::Killing, None);
                }
            }
            Link::Cut => {}
            Link::Missed | Link::Dead | Link::MarkedGone => self.answer(agenda, id, agent),
        }
    }

    /// A task with news that nobody took in yet.
    pub fn unheard(&self) -> Option<&TaskId> {
        self.tasks.iter().find(|(_, it)| !it.updates.is_empty()).map(|it| it.0)
    }

    pub fn heal_tasks(&mut self, agenda: &mut Agenda) {
        self.healed = true;
        let sick: Vec<TaskId> =
            self.tasks.iter().filter(|(_, it)| it.sick && !it.ended).map(|it| it.0.clone()).collect();
        for task in sick {
            agenda.after(1_000, Happening::Task { task, what: TaskMove::Recover });
        }
    }
}
