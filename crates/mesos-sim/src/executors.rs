//! What simulated executors do with their tasks: start, run, check, kill, end.

use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1::{
    AgentId, CallKill, Event, EventFailure, EventType, ExecutorId, TaskState, TaskStatusReason,
    TaskStatusSource,
};

use crate::checks::{due, empty_check};
use crate::script::{Exit, Plan};
use crate::sim::Sim;
use crate::state::{Kill, Stage, Status, View, is_terminal};
use crate::time::{Time, Timer};
use crate::updates::or_lost;

/// Of the command and the default executor.
const DEFAULT_GRACE: Duration = Duration::from_secs(3);

impl Sim {
    pub(crate) fn executor_says(&self, state: TaskState) -> Status {
        let mut status = Status::new(state, TaskStatusSource::SOURCE_EXECUTOR, self.now);
        (status.contained, status.executed) = (true, true);
        status
    }

    pub(crate) fn agent_says(&self, state: TaskState, reason: TaskStatusReason) -> Status {
        let mut status = Status::new(state, TaskStatusSource::SOURCE_AGENT, self.now).because(reason);
        status.executed = true;
        status
    }

    /// Sets the alarm of a task.
    pub(crate) fn wake_task(&mut self, at: usize, when: Time) {
        let Some(run) = self.tasks.get_mut(at).and_then(|it| it.run.as_mut()) else { return };
        // Places of tasks are used again, so the number must be new for all of them.
        self.serial = self.serial.wrapping_add(1);
        run.life = self.serial;
        self.timers.add(when, Timer::Task { task: at, life: run.life });
    }

    pub(crate) fn task_wakes(&mut self, at: usize, life: u32) {
        let Some(run) = self.tasks.get(at).and_then(|it| it.run.as_ref()) else { return };
        if run.life != life {
            return;
        }
        match run.stage {
            Stage::Staging => self.task_starts(at),
            Stage::Starting => {
                self.emit(at, self.executor_says(TaskState::TASK_RUNNING));
                if let Some(run) = self.tasks.get_mut(at).and_then(|it| it.run.as_mut()) {
                    run.stage = Stage::Running;
                }
                self.plan_next(at);
            }
            Stage::Running => {
                self.task_goes_on(at);
                self.plan_next(at);
            }
            Stage::Ended => {}
        }
    }

    fn task_starts(&mut self, at: usize) {
        let doomed = self.tasks.get_mut(at).and_then(|it| it.run.as_mut()).and_then(|it| it.doomed.take());
        if let Some(mut status) = doomed {
            status.time = self.now;
            return self.finish(at, *status);
        }
        let status = self.executor_says(TaskState::TASK_STARTING);
        let now = self.now;
        let delay = self.config.run_delay;
        let Some(task) = self.tasks.get_mut(at) else { return };
        let Some(run) = task.run.as_mut() else { return };
        (run.stage, run.began) = (Stage::Starting, now.plus(delay));
        let began = run.began;
        if let Some(checking) = run.health.as_mut() {
            let delay = checking.health.as_ref().and_then(|it| it.delay_seconds).unwrap_or(15.0);
            checking.next = began.plus(seconds(delay)).plus(Duration::from_millis(60));
        }
        if let Some(checking) = run.check.as_mut() {
            let it = checking.check.as_ref();
            checking.next = began
                .plus(seconds(it.and_then(|it| it.delay_seconds).unwrap_or(15.0)))
                .plus(Duration::from_millis(60));
            task.checked = Some(Box::new(empty_check(it.and_then(|it| it.r#type).unwrap_or_default())));
        }
        self.emit(at, status);
        self.wake_task(at, now.plus(delay));
    }

    /// The next moment at which something happens to a running task.
    fn plan_next(&mut self, at: usize) {
        let Some(run) = self.tasks.get(at).and_then(|it| it.run.as_ref()) else { return };
        if run.stage != Stage::Running {
            return;
        }
        if run.over.is_some() {
            return self.wake_task(at, self.now);
        }
        let end = run
            .plan
            .end
            .filter(|_| !run.real)
            .map(|(after, _)| run.began.plus(after + self.config.reap_delay));
        let kill = run.kill.filter(|_| !run.real || run.kill.is_some_and(|it| it.hard)).map(|it| it.at);
        let checks = if run.kill.is_some() { None } else { run.health.as_ref().map(|it| it.next) };
        let others = if run.kill.is_some() { None } else { run.check.as_ref().map(|it| it.next) };
        let completes = run.completion.filter(|_| run.kill.is_none()).map(|it| run.began.plus(it));
        if let Some(when) = [end, kill, checks, others, completes].into_iter().flatten().min() {
            self.wake_task(at, when.max(self.now));
        }
    }

    fn task_goes_on(&mut self, at: usize) {
        let now = self.now;
        let Some(task) = self.tasks.get(at) else { return };
        let Some(run) = task.run.as_ref() else { return };
        if let Some(exit) = run.over {
            match run.kill {
                Some(kill) => self.killed(at, exit, kill.reason),
                None => self.ended(at, exit),
            }
            return;
        }
        if let Some(kill) = run.kill.filter(|it| it.at <= now) {
            if run.real {
                self.signal(at, true);
                self.forget_kill(at);
            } else {
                let exit = if kill.hard { Exit::Signal("Killed") } else { Exit::Signal("Terminated") };
                self.killed(at, exit, kill.reason);
            }
            return;
        }
        if let Some((after, exit)) = run.plan.end.filter(|_| !run.real)
            && run.began.plus(after + self.config.reap_delay) <= now
        {
            match run.kill {
                Some(kill) => self.killed(at, exit, kill.reason),
                None => self.ended(at, exit),
            }
            return;
        }
        if run.kill.is_some() {
            return;
        }
        if run.completion.is_some_and(|it| run.began.plus(it) <= now) {
            let status = self
                .executor_says(TaskState::TASK_FAILED)
                .because(TaskStatusReason::REASON_MAX_COMPLETION_TIME_REACHED)
                .saying(Exit::Signal("Terminated").message());
            self.finish(at, status);
            return;
        }
        let (health, check) = (due(run.health.as_deref(), now), due(run.check.as_deref(), now));
        if health {
            self.check_health(at);
        }
        if check {
            self.check_status(at);
        }
    }

    /// SIGKILL was sent; the end of the process will tell the rest.
    fn forget_kill(&mut self, at: usize) {
        if let Some(kill) =
            self.tasks.get_mut(at).and_then(|it| it.run.as_mut()).and_then(|it| it.kill.as_mut())
        {
            kill.at = Time(u64::MAX);
        }
    }

    fn finish(&mut self, at: usize, status: Status) {
        if let Some(run) = self.tasks.get_mut(at).and_then(|it| it.run.as_mut()) {
            run.stage = Stage::Ended;
            run.life = 0;
        }
        self.emit(at, status);
    }

    /// The process ended by itself.
    fn ended(&mut self, at: usize, exit: Exit) {
        let Some(task) = self.tasks.get(at) else { return };
        let quota = task.resources.scalar("disk") * 1024 / 1000;
        let used = task.run.as_ref().map_or(0, |it| it.plan.disk_kib);
        if self.config.enforce_disk_quota && 0 < quota && quota < used as i64 {
            return self.over_disk_quota(at);
        }
        let state = if exit.is_success() { TaskState::TASK_FINISHED } else { TaskState::TASK_FAILED };
        let status = self.executor_says(state).saying(exit.message());
        self.finish(at, status);
    }

    pub(crate) fn over_disk_quota(&mut self, at: usize) {
        let Some(task) = self.tasks.get(at) else { return };
        let used = task.run.as_ref().map_or(0, |it| it.plan.disk_kib) + 8;
        let limit = task.resources.filtered(|it| &*it.name == "disk");
        let message = format!("Disk usage ({used}KB) exceeds quota ({}MB)", limit.scalar("disk") / 1000);
        let mut status = self
            .agent_says(TaskState::TASK_FAILED, TaskStatusReason::REASON_CONTAINER_LIMITATION_DISK)
            .saying(message);
        status.limitation = Some(Box::new(limit));
        self.finish(at, status);
    }

    fn killed(&mut self, at: usize, exit: Exit, reason: Option<TaskStatusReason>) {
        let mut status = self.executor_says(TaskState::TASK_KILLED).saying(exit.message());
        status.reason = reason;
        self.finish(at, status);
    }

    /// Sends a signal to the real process of a task.
    pub(crate) fn signal(&mut self, at: usize, hard: bool) {
        if let Some(process) = self.tasks.get(at).map(|it| it.pid) {
            self.out.push(crate::sim::Output::Signal { process, hard });
        }
    }

    /// A real process ended.
    pub fn exited(&mut self, process: u32, exit: Exit) {
        let Some(at) = self.processes.remove(&process) else { return };
        if self.tasks.get(at).is_none_or(|it| it.pid != process) {
            return;
        }
        let Some(run) = self.tasks.get_mut(at).and_then(|it| it.run.as_mut()).filter(|it| it.real) else {
            return;
        };
        if run.stage != Stage::Ended {
            run.over = Some(exit);
            self.plan_next(at);
        }
    }

    /// The task fails from outside: by an admin, a fault, an executor that died.
    pub(crate) fn executor_dies(&mut self, at: usize) {
        let status = self
            .agent_says(TaskState::TASK_FAILED, TaskStatusReason::REASON_EXECUTOR_TERMINATED)
            .saying("Executor terminated");
        self.finish(at, status);
    }

    pub(crate) fn fail_task(&mut self, at: usize, exit: Exit) {
        self.ended(at, exit);
    }

    /// A KILL call.
    pub(crate) fn kill(&mut self, framework: usize, call: &CallKill) {
        let known = self.frameworks[framework].tasks.get(call.task_id.value.as_str()).copied();
        let known = known.filter(|at| self.tasks.get(*at).is_some_and(|it| it.view == View::Known));
        let agent_id = call.agent_id.as_ref().map(|it| it.value.as_str());
        let Some(at) = known else {
            self.reconcile_one(framework, &call.task_id.value, agent_id);
            return;
        };
        let Some(task) = self.tasks.get(at) else { return };
        if agent_id.is_some_and(|it| *it != *task.agent_id) {
            return;
        }
        let agent = task.agent;
        if !self.agents[agent].talks() {
            self.agents[agent].kills.push(at);
            return;
        }
        let grace =
            call.kill_policy.as_ref().and_then(|it| it.grace_period.as_ref()).map(|it| nanos(it.nanoseconds));
        let grace = grace.filter(|_| self.config.http_command_executor);
        self.start_kill(at, grace, None);
    }

    /// The agent is told to kill.
    pub(crate) fn start_kill(
        &mut self,
        at: usize,
        grace: Option<Duration>,
        reason: Option<TaskStatusReason>,
    ) {
        let killing =
            self.tasks.get(at).is_some_and(|it| self.frameworks[it.framework].abilities.task_killing_state);
        let now = self.now;
        let delay = self.config.kill_delay;
        let Some(task) = self.tasks.get_mut(at) else { return };
        if is_terminal(task.state) {
            return;
        }
        let Some(run) = task.run.as_mut() else { return };
        if run.stage == Stage::Staging {
            let mut status = self
                .agent_says(TaskState::TASK_KILLED, TaskStatusReason::REASON_TASK_KILLED_DURING_LAUNCH)
                .saying("Killed before delivery to the executor");
            status.contained = false;
            self.finish(at, status);
            return;
        }
        if run.kill.is_some() {
            return;
        }
        let wait = grace.or(run.grace).unwrap_or(DEFAULT_GRACE);
        let hard = run.plan.ignores_term || run.real;
        run.kill = Some(Kill { at: now.plus(if hard { wait } else { delay }), hard, reason });
        let real = run.real;
        if killing {
            let mut status = self.executor_says(TaskState::TASK_KILLING);
            status.reason = reason;
            self.emit(at, status);
        }
        if real {
            self.signal(at, false);
        }
        self.plan_next(at);
    }

    /// When one member of a group fails or is killed, so are the others.
    pub(crate) fn group_member_ended(&mut self, at: usize) {
        let Some(task) = self.tasks.get(at) else { return };
        if task.state == TaskState::TASK_FINISHED {
            return;
        }
        let Some(executor) = task.executor.and_then(|it| self.executors.get(it)).filter(|it| it.default)
        else {
            return;
        };
        for other in executor.tasks.clone() {
            if other != at {
                self.start_kill(other, None, None);
            }
        }
    }

    /// A SHUTDOWN call: the executor kills its tasks and exits.
    pub(crate) fn shut_executor_down(&mut self, framework: usize, agent_id: &str, executor_id: &str) {
        let found = self.executors.iter().find(|(_, it)| {
            it.framework == framework && &*it.id == executor_id && *self.agents[it.agent].id == *agent_id
        });
        let Some((_, executor)) = found else { return };
        for task in executor.tasks.clone() {
            self.start_kill(task, None, None);
        }
    }

    pub(crate) fn executor_exits(&mut self, at: usize) {
        let Some(executor) = self.executors.get(at) else { return };
        if !executor.tasks.is_empty() {
            // A later group joined it meanwhile.
            if let Some(it) = self.executors.get_mut(at) {
                it.exiting = false;
            }
            return;
        }
        let (framework, agent, id) = (executor.framework, executor.agent, executor.id.clone());
        let known = self.agents[agent].talks();
        self.remove_executor(at);
        if known {
            let event = Event {
                r#type: Some(EventType::FAILURE as i32),
                failure: Some(EventFailure {
                    agent_id: Some(AgentId { value: self.agents[agent].id.to_string() }),
                    executor_id: Some(ExecutorId { value: id.to_string() }),
                    status: Some(0),
                }),
                ..Event::default()
            };
            self.tell(framework, &event);
        }
    }

    pub(crate) fn remove_executor(&mut self, at: usize) {
        let Some(it) = self.executors.remove(at) else { return };
        self.agents[it.agent].executors.retain(|it| *it != at);
        self.recover(it.agent, &it.resources);
        self.charge(it.framework, &it.role, &it.resources, -1);
    }

    /// A task that never reached an executor.
    pub(crate) fn drop_by_agent(&mut self, at: usize, reason: TaskStatusReason, message: String) {
        let aware =
            self.tasks.get(at).is_some_and(|it| self.frameworks[it.framework].abilities.partition_aware);
        let status = self.agent_says(or_lost(aware, TaskState::TASK_DROPPED), reason).saying(message);
        self.finish(at, status);
    }

    pub(crate) fn fail_by_agent(&mut self, at: usize, reason: TaskStatusReason, message: String) {
        let status = self.agent_says(TaskState::TASK_FAILED, reason).saying(message);
        self.finish(at, status);
    }

    /// The plan of a command line; nearly all tasks of a test share one.
    pub(crate) fn plan_of(
        &mut self,
        command: &marathon_mesos_v1::CommandInfo,
        files: &std::collections::BTreeSet<String>,
    ) -> Arc<Plan> {
        const MOST: usize = 10_000;
        if !files.is_empty() {
            return Arc::new(Plan::of(command, files));
        }
        let shell = command.shell.unwrap_or(true);
        let key = format!(
            "{shell}\0{}\0{}",
            command.value.as_deref().unwrap_or_default(),
            command.arguments.join("\0")
        );
        if let Some(plan) = self.plans.get(&key) {
            return plan.clone();
        }
        let plan = Arc::new(Plan::of(command, files));
        if MOST <= self.plans.len() {
            self.plans.clear();
        }
        self.plans.insert(key, plan.clone());
        plan
    }
}

pub(crate) fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::ZERO)
}

pub(crate) fn nanos(value: i64) -> Duration {
    Duration::from_nanos(u64::try_from(value).unwrap_or(0))
}
