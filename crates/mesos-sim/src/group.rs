//! LAUNCH_GROUP, and the executors that tasks share.

use std::sync::Arc;

use marathon_mesos_v1::{
    ContainerInfoType, ExecutorInfo, ExecutorInfoType, Message, OfferOperationLaunchGroup, TaskState,
    TaskStatusReason,
};

use crate::accept::Pool;
use crate::convert::read;
use crate::resources::Resources;
use crate::sim::Sim;
use crate::state::Executor;
use crate::updates::from_master;
use crate::validate;

impl Sim {
    pub(crate) fn launch_group(&mut self, pool: &mut Pool, group: &OfferOperationLaunchGroup) {
        let tasks = &group.task_group.tasks;
        if let Err(message) = self.valid_group(pool, group) {
            for task in tasks {
                let status =
                    from_master(self, TaskState::TASK_ERROR, TaskStatusReason::REASON_TASK_GROUP_INVALID)
                        .saying(message.clone());
                self.tell_about(pool.framework, &task.task_id.value, Some(&task.agent_id.value), &status);
            }
            return;
        }
        let executor = self.executor_for(pool, &group.executor, true);
        for task in tasks {
            let given = read(&task.resources).resources;
            pool.rest.subtract(&given);
            let at = self.add_task(pool, task, given, Some(executor));
            self.begin(pool, at, task);
        }
    }

    pub(crate) fn valid_group(&self, pool: &Pool, group: &OfferOperationLaunchGroup) -> Result<(), String> {
        let executor = &group.executor;
        let id = &executor.executor_id.value;
        validate::id(id)?;
        let kind = executor.r#type.and_then(|it| ExecutorInfoType::try_from(it).ok());
        match kind {
            None | Some(ExecutorInfoType::UNKNOWN) => {
                return Err("'ExecutorInfo.type' must be set when using 'LAUNCH_GROUP'".to_owned());
            }
            Some(ExecutorInfoType::DEFAULT) if executor.command.is_some() => {
                return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
            }
            Some(_) => {}
        }
        let ours = &self.frameworks[pool.framework].id;
        match &executor.framework_id {
            None => return Err("'ExecutorInfo.framework_id' must be set".to_owned()),
            Some(it) if *it.value != **ours => {
                return Err(format!(
                    "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {ours})",
                    it.value
                ));
            }
            Some(_) => {}
        }
        let own = read(&executor.resources).resources;
        for (name, least) in [("cpus", 10), ("mem", 32_000), ("disk", 1)] {
            let has = own.scalar(name);
            if has < least {
                return Err(if has == 0 {
                    format!("Executor '{id}' uses no {name}")
                } else {
                    format!("Executor '{id}' uses less {name} than the minimum required")
                });
            }
        }
        let mut total = if self.find_executor(pool, id).is_some() { Resources::default() } else { own };
        for task in &group.task_group.tasks {
            let given = read(&task.resources);
            validate::task(task, &self.agents[pool.agent].id, true)?;
            let task_id = &task.task_id.value;
            if self.frameworks[pool.framework].tasks.contains_key(task_id.as_str()) {
                return Err(format!("Task has duplicate ID: {task_id}"));
            }
            if task.container.as_ref().is_some_and(|it| it.r#type == ContainerInfoType::DOCKER as i32) {
                return Err("Docker ContainerInfo is not supported on the task".to_owned());
            }
            if let Some(message) = given.invalid {
                return Err(message);
            }
            if task.resources.is_empty() {
                return Err(format!("Task '{task_id}' uses no resources"));
            }
            total.add(&given.resources);
        }
        if !pool.rest.contains(&total) {
            return Err(format!(
                "Total resources {} required by task group and its executor are more than available {}",
                total.text(Some(&pool.role)),
                pool.rest.text(Some(&pool.role))
            ));
        }
        Ok(())
    }

    pub(crate) fn find_executor(&self, pool: &Pool, id: &str) -> Option<usize> {
        let on_agent = self.agents[pool.agent].executors.iter();
        let mine = |at: &&usize| {
            self.executors.get(**at).is_some_and(|it| it.framework == pool.framework && &*it.id == id)
        };
        on_agent.copied().collect::<Vec<_>>().iter().find(mine).copied()
    }

    pub(crate) fn executor_for(&mut self, pool: &mut Pool, info: &ExecutorInfo, default: bool) -> usize {
        if let Some(at) = self.find_executor(pool, &info.executor_id.value) {
            return at;
        }
        let resources = read(&info.resources).resources;
        pool.rest.subtract(&resources);
        self.charge(pool.framework, &pool.role, &resources, 1);
        self.next_pid += 1;
        let at = self.executors.insert(Executor {
            id: Arc::from(info.executor_id.value.as_str()),
            framework: pool.framework,
            agent: pool.agent,
            role: pool.role.clone(),
            resources,
            info: info.encode_to_vec(),
            container: self.ids.bytes(),
            pid: self.next_pid,
            default,
            tasks: Vec::new(),
            exiting: false,
        });
        self.agents[pool.agent].executors.push(at);
        at
    }
}
