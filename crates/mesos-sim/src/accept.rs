//! ACCEPT: offers become tasks, reservations and volumes.
//!
//! All offers of a call are melted into one pool; operations take from it in order, each judged by itself; what
//! is left goes back. Nothing of the offers survives the call, whatever happens.

use std::collections::BTreeSet;
use std::sync::Arc;

use marathon_mesos_v1::{
    CallAccept, ContainerInfoType, HealthCheck, Message, OfferOperation, OfferOperationType,
    Task as ShownTask, TaskInfo, TaskState, TaskStatusReason,
};

use crate::convert::{Given, read};
use crate::executors::nanos;
use crate::resources::Resources;
use crate::sim::{Job, Output, Sim};
use crate::state::{Checking, Offer, Run, Stage, Task, View};
use crate::updates::{from_master, or_lost};
use crate::validate;

/// How long a fetch takes until it fails.
const FETCH_TIME: std::time::Duration = std::time::Duration::from_millis(300);

/// The union of the accepted offers while operations work on it.
pub(crate) struct Pool {
    pub framework: usize,
    pub agent: usize,
    pub role: Arc<str>,
    pub rest: Resources,
    /// What an operation made and nobody used: offered again without a filter.
    pub converted: bool,
}

impl Sim {
    pub(crate) fn accept(&mut self, framework: usize, call: &CallAccept) {
        let numbers = match self.valid_offers(framework, call) {
            Ok(numbers) => numbers,
            Err(message) => return self.accept_invalid(framework, call, &message),
        };
        let held: Vec<Offer> = numbers.iter().filter_map(|it| self.drop_offer(*it)).collect();
        let Some(first) = held.first() else { return };
        let mut pool = Pool {
            framework,
            agent: first.agent,
            role: first.role.clone(),
            rest: Resources::default(),
            converted: false,
        };
        if !call.operations.is_empty() {
            self.counters.decided(self.now.since(first.made));
        }
        for one in &held {
            pool.rest.add(&one.resources);
        }
        for operation in &call.operations {
            self.apply(&mut pool, operation);
        }
        self.recover(pool.agent, &pool.rest);
        if !pool.converted {
            let template = Offer {
                framework,
                agent: pool.agent,
                role: pool.role.clone(),
                resources: Resources::default(),
                made: self.now,
            };
            self.refuse(&template, pool.rest, call.filters.as_ref());
        }
    }

    fn valid_offers(&self, framework: usize, call: &CallAccept) -> Result<Vec<u64>, String> {
        let mut numbers = Vec::with_capacity(call.offer_ids.len());
        let mut seen = BTreeSet::new();
        for id in &call.offer_ids {
            if !seen.insert(&id.value) {
                return Err(format!("Duplicate offer {} in offer list", id.value));
            }
        }
        for id in &call.offer_ids {
            let number = self.offer_number(id).filter(|it| self.offers.contains_key(it));
            let Some(number) = number else { return Err(format!("Offer {} is no longer valid", id.value)) };
            numbers.push(number);
        }
        if numbers.is_empty() {
            return Err("No offers specified".to_owned());
        }
        let first = &self.offers[&numbers[0]];
        for (number, id) in numbers.iter().zip(&call.offer_ids) {
            let it = &self.offers[number];
            if it.framework != framework {
                let (theirs, ours) = (&self.frameworks[it.framework].id, &self.frameworks[framework].id);
                return Err(format!(
                    "Offer {} has invalid framework {theirs} while framework {ours} is expected",
                    id.value
                ));
            }
            if it.agent != first.agent {
                let (mine, other) = (&self.agents[it.agent].id, &self.agents[first.agent].id);
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {} uses agent {mine} and agent {other}",
                    id.value
                ));
            }
            if it.role != first.role {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {} uses role '{}' but another is using role '{}'",
                    id.value, it.role, first.role
                ));
            }
        }
        Ok(numbers)
    }

    /// The offers that exist go back; each task is dropped, each named operation is an error.
    fn accept_invalid(&mut self, framework: usize, call: &CallAccept, message: &str) {
        for id in &call.offer_ids {
            let mine = self
                .offer_number(id)
                .filter(|it| self.offers.get(it).is_some_and(|it| it.framework == framework));
            if let Some(held) = mine.and_then(|it| self.drop_offer(it)) {
                self.recover(held.agent, &held.resources);
            }
        }
        let state = or_lost(self.frameworks[framework].abilities.partition_aware, TaskState::TASK_DROPPED);
        for operation in &call.operations {
            for task in tasks_of(operation) {
                let status = from_master(self, state, TaskStatusReason::REASON_INVALID_OFFERS)
                    .saying(format!("Task launched with invalid offers: {message}"));
                self.tell_about(framework, &task.task_id.value, Some(&task.agent_id.value), &status);
            }
            self.operation_error(
                framework,
                operation,
                &format!("Operation attempted with invalid offers: {message}"),
            );
        }
    }

    fn apply(&mut self, pool: &mut Pool, operation: &OfferOperation) {
        let kind = operation.r#type.and_then(|it| OfferOperationType::try_from(it).ok());
        match kind {
            Some(OfferOperationType::LAUNCH) => {
                for task in operation.launch.iter().flat_map(|it| &it.task_infos) {
                    self.launch(pool, task);
                }
            }
            Some(OfferOperationType::LAUNCH_GROUP) => {
                if let Some(group) = &operation.launch_group {
                    self.launch_group(pool, group);
                }
            }
            Some(OfferOperationType::UNKNOWN) | None => {}
            Some(_) => self.convert(pool, operation),
        }
    }

    fn launch(&mut self, pool: &mut Pool, task: &TaskInfo) {
        let given = read(&task.resources);
        if let Err(message) = self.valid_launch(pool, task, &given) {
            let status = from_master(self, TaskState::TASK_ERROR, TaskStatusReason::REASON_TASK_INVALID)
                .saying(message);
            self.tell_about(pool.framework, &task.task_id.value, Some(&task.agent_id.value), &status);
            return;
        }
        pool.rest.subtract(&given.resources);
        let executor = task.executor.as_ref().map(|it| self.executor_for(pool, it, false));
        let at = self.add_task(pool, task, given.resources, executor);
        self.begin(pool, at, task);
    }

    fn valid_launch(&self, pool: &Pool, task: &TaskInfo, given: &Given) -> Result<(), String> {
        let agent = &self.agents[pool.agent];
        validate::task(task, &agent.id, false)?;
        if self.frameworks[pool.framework].tasks.contains_key(task.task_id.value.as_str()) {
            return Err(format!("Task has duplicate ID: {}", task.task_id.value));
        }
        if let Some(message) = &given.invalid {
            return Err(message.clone());
        }
        if task.resources.is_empty() {
            return Err("Task uses no resources".to_owned());
        }
        let mut total = given.resources.clone();
        if let Some(executor) = &task.executor
            && self.find_executor(pool, &executor.executor_id.value).is_none()
        {
            total.add(&read(&executor.resources).resources);
        }
        let role = given.role.as_deref().unwrap_or(&pool.role);
        if role != &*pool.role || !pool.rest.contains(&total) {
            return Err(format!(
                "Total resources {} required by task and its executor is more than available {}",
                total.text(Some(role)),
                pool.rest.text(Some(&pool.role))
            ));
        }
        Ok(())
    }

    /// The task as master and agent keep it.
    pub(crate) fn add_task(
        &mut self,
        pool: &Pool,
        info: &TaskInfo,
        resources: Resources,
        executor: Option<usize>,
    ) -> usize {
        self.charge(pool.framework, &pool.role, &resources, 1);
        self.next_pid = self.next_pid.wrapping_add(1);
        let id: Arc<str> = Arc::from(info.task_id.value.as_str());
        let agent = &self.agents[pool.agent];
        let executor_of = executor.and_then(|it| self.executors.get(it));
        let task = Task {
            id: id.clone(),
            name: info.name.as_str().into(),
            framework: pool.framework,
            agent: pool.agent,
            agent_id: agent.id.clone(),
            executor,
            executor_id: executor_of.map(|it| it.id.clone()),
            role: pool.role.clone(),
            resources,
            shown: shown(info),
            container: self.ids.bytes(),
            parent: executor_of.filter(|it| it.default).map(|it| it.container),
            pid: self.next_pid,
            state: TaskState::TASK_STAGING,
            healthy: None,
            checked: None,
            queue: std::collections::VecDeque::new(),
            send: 0,
            backoff: crate::updates::FIRST_RETRY,
            view: View::Known,
            latest: TaskState::TASK_STAGING,
            forwarded: None,
            history: Vec::new(),
            released: false,
            run: None,
            undelivered: None,
        };
        let at = self.tasks.insert(task);
        self.counters.launches += 1;
        self.frameworks[pool.framework].tasks.insert(id.clone(), at);
        self.agents[pool.agent].tasks.push(at);
        if let Some(it) = executor.and_then(|it| self.executors.get_mut(it)) {
            it.tasks.push(at);
        }
        if self.config.audit {
            let framework = self.frameworks[pool.framework].id.clone();
            self.audit.launched(&id, &framework, &self.agents[pool.agent].id, self.now);
        }
        self.note_launch(&id, pool.agent, info);
        self.tell_task_added(at);
        at
    }

    /// The agent takes the task over.
    pub(crate) fn begin(&mut self, pool: &Pool, at: usize, info: &TaskInfo) {
        if !self.agents[pool.agent].talks() {
            if let Some(task) = self.tasks.get_mut(at) {
                task.undelivered = Some(Box::new(info.clone()));
            }
            return;
        }
        if self.agents[pool.agent].drain.is_some() {
            return self.drop_by_agent(
                at,
                TaskStatusReason::REASON_AGENT_DRAINING,
                "Agent is draining".to_owned(),
            );
        }
        let (plan, told) = self.behaviour(pool, info);
        let before = self.files_before(pool.agent, &info.task_id.value);
        let grace =
            info.kill_policy.as_ref().and_then(|it| it.grace_period.as_ref()).map(|it| nanos(it.nanoseconds));
        let health = info
            .health_check
            .clone()
            .map(|health| Box::new(Checking { health: Some(health), told, ..Checking::default() }));
        let check =
            info.check.clone().map(|check| Box::new(Checking { check: Some(check), ..Checking::default() }));
        let run = Run {
            plan: plan.clone(),
            stage: Stage::Staging,
            life: 0,
            began: self.now,
            kill: None,
            completion: info.max_completion_time.as_ref().map(|it| nanos(it.nanoseconds)),
            grace,
            health,
            check,
            before,
            real: self.config.real,
            over: None,
            doomed: None,
        };
        self.keep_files(pool.agent, at, &plan);
        if let Some(task) = self.tasks.get_mut(at) {
            task.run = Some(Box::new(run));
        }
        if !self.refused_by_agent(at, info) {
            let delay = told_delay(info).unwrap_or(self.config.start_delay);
            self.wake_task(at, self.now.plus(delay));
            self.start_real(at, info);
        }
    }

    /// Launches that were on their way while nothing got through arrive late.
    pub(crate) fn deliver_launches(&mut self, agent: usize) {
        for at in self.agents[agent].tasks.clone() {
            let Some(task) = self.tasks.get_mut(at) else { continue };
            let Some(info) = task.undelivered.take() else { continue };
            let pool = Pool {
                framework: task.framework,
                agent,
                role: task.role.clone(),
                rest: Resources::default(),
                converted: false,
            };
            self.begin(&pool, at, &info);
        }
    }

    fn start_real(&mut self, at: usize, info: &TaskInfo) {
        if let (true, Some(command)) = (self.config.real, info.command.clone()) {
            let job = Job { directory: self.sandbox_of(at), command, task_id: info.task_id.value.clone() };
            let process = self.tasks.get(at).map_or(0, |it| it.pid);
            self.processes.insert(process, at);
            self.out.push(Output::Start { process, job: Box::new(job) });
        }
    }

    /// What keeps the agent from running it at all.
    fn refused_by_agent(&mut self, at: usize, info: &TaskInfo) -> bool {
        let command = info.command.as_ref();
        if let Some(user) =
            command.and_then(|it| it.user.as_ref()).filter(|it| !self.config.users.contains(it))
        {
            let directory = self.sandbox_of(at);
            let message = format!(
                "Failed to create executor directory '{directory}': Failed to chown directory to '{user}': No such user '{user}'"
            );
            self.drop_by_agent(at, TaskStatusReason::REASON_EXECUTOR_TERMINATED, message);
            return true;
        }
        let docker = info.container.as_ref().is_some_and(|it| it.r#type == ContainerInfoType::DOCKER as i32);
        if docker && !self.config.docker {
            let message = "Abnormal executor termination: unknown container".to_owned();
            self.fail_by_agent(at, TaskStatusReason::REASON_EXECUTOR_TERMINATED, message);
            return true;
        }
        if command.is_some_and(|it| it.uris.iter().any(|it| it.value.starts_with("/nonexistent/"))) {
            let container = self.tasks.get(at).map(|it| uuid::Uuid::from_bytes(it.container).to_string());
            let message = format!(
                "Failed to launch container: Failed to fetch all URIs for container '{}': exited with status 1",
                container.unwrap_or_default()
            );
            let status = self
                .agent_says(TaskState::TASK_FAILED, TaskStatusReason::REASON_CONTAINER_LAUNCH_FAILED)
                .saying(message);
            if let Some(run) = self.tasks.get_mut(at).and_then(|it| it.run.as_mut()) {
                run.doomed = Some(Box::new(status));
            }
            self.wake_task(at, self.now.plus(FETCH_TIME));
            return true;
        }
        false
    }
}

pub(crate) fn tasks_of(operation: &OfferOperation) -> Vec<&TaskInfo> {
    let single = operation.launch.iter().flat_map(|it| &it.task_infos);
    let grouped = operation.launch_group.iter().flat_map(|it| &it.task_group.tasks);
    single.chain(grouped).collect()
}

/// What a state endpoint shows of a task beyond what the simulation needs; nothing, for most.
fn shown(info: &TaskInfo) -> Option<Box<[u8]>> {
    let health_check = info.health_check.clone().map(with_defaults);
    let part = ShownTask {
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        health_check,
        kill_policy: info.kill_policy.clone(),
        user: info.command.as_ref().and_then(|it| it.user.clone()),
        limits: info.limits.clone(),
        ..ShownTask::default()
    };
    (part != ShownTask::default()).then(|| part.encode_to_vec().into_boxed_slice())
}

/// Fields with a default are shown with it.
fn with_defaults(it: HealthCheck) -> HealthCheck {
    let kind = it.r#type.or_else(|| validate::inferred(&it));
    HealthCheck {
        delay_seconds: it.delay_seconds.or(Some(15.0)),
        interval_seconds: it.interval_seconds.or(Some(10.0)),
        timeout_seconds: it.timeout_seconds.or(Some(20.0)),
        consecutive_failures: it.consecutive_failures.or(Some(3)),
        grace_period_seconds: it.grace_period_seconds.or(Some(10.0)),
        r#type: kind,
        ..it
    }
}

pub(crate) fn label<'a>(info: &'a TaskInfo, key: &str) -> Option<&'a str> {
    info.labels.as_ref()?.labels.iter().find(|it| it.key == key)?.value.as_deref()
}

/// Label `mesos-sim.start`: seconds until TASK_STARTING.
fn told_delay(info: &TaskInfo) -> Option<std::time::Duration> {
    label(info, "mesos-sim.start")?.parse().ok().map(crate::executors::seconds)
}
