//! Labels that tell a simulated task what to do, and files that outlive it on volumes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1::{CommandInfo, TaskInfo};

use crate::accept::{Pool, label};
use crate::executors::seconds;
use crate::script::Plan;
use crate::sim::Sim;

impl Sim {
    /// What the task will do, and the health results that a label prescribes.
    pub(crate) fn behaviour(&mut self, pool: &Pool, info: &TaskInfo) -> (Arc<Plan>, Vec<(Duration, bool)>) {
        let told = label(info, "mesos-sim.health").map(told_health).unwrap_or_default();
        if let Some(line) = label(info, "mesos-sim.command") {
            let command =
                CommandInfo { value: Some(line.to_owned()), shell: Some(true), ..CommandInfo::default() };
            return (self.plan_of(&command, &BTreeSet::new()), told);
        }
        let Some(command) = &info.command else { return (Arc::new(Plan::default()), told) };
        // An image without a command runs whatever the image runs: a service.
        if command.value.is_none() && info.container.is_some() {
            return (Arc::new(Plan::service()), told);
        }
        let files = self.files_before(pool.agent, &info.task_id.value);
        (self.plan_of(command, &files), told)
    }

    /// Files on volumes of the agent. All volumes share one name space, which is enough for a little shell.
    pub(crate) fn files_before(&self, agent: usize, _task: &str) -> BTreeSet<String> {
        self.agents[agent].files.clone()
    }

    pub(crate) fn keep_files(&mut self, agent: usize, task: usize, plan: &Plan) {
        let Some(it) = self.tasks.get(task) else { return };
        let volumes: Vec<String> = it
            .resources
            .0
            .iter()
            .filter_map(|(kind, _)| kind.volume())
            .map(|it| format!("{}/", it.container_path))
            .collect();
        if volumes.is_empty() {
            return;
        }
        let after = plan.files_at(Duration::MAX, &self.agents[agent].files);
        self.agents[agent]
            .files
            .extend(after.into_iter().filter(|it| volumes.iter().any(|path| it.starts_with(path))));
    }

    /// The directory of a task's sandbox on its agent.
    pub fn sandbox_of(&self, at: usize) -> String {
        let Some(task) = self.tasks.get(at) else { return String::new() };
        let executor = task.executor_id.as_ref().unwrap_or(&task.id);
        let container = uuid::Uuid::from_bytes(task.parent.unwrap_or(task.container));
        let base = format!(
            "{}/slaves/{}/frameworks/{}/executors/{executor}/runs/{container}",
            self.config.work_dir, task.agent_id, self.frameworks[task.framework].id
        );
        if task.parent.is_some() { format!("{base}/tasks/{}", task.id) } else { base }
    }
}

/// `pass 5 fail 3 pass`: results, with the seconds that each lasts; the last one stays.
fn told_health(text: &str) -> Vec<(Duration, bool)> {
    let mut out = Vec::new();
    let mut from = Duration::ZERO;
    for word in text.split_whitespace() {
        match word {
            "pass" => out.push((from, true)),
            "fail" => out.push((from, false)),
            number => from += seconds(number.trim_end_matches('s').parse().unwrap_or(0.0)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_can_be_told() {
        let all = told_health("pass 5 fail 3s pass");
        let told: Vec<(u64, bool)> = all.iter().map(|(at, passes)| (at.as_secs(), *passes)).collect();
        assert_eq!(told, [(0, true), (5, false), (8, true)]);
    }
}
