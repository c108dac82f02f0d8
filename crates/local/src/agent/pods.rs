//! What containers of a pod mean to each other: they wait for the one whose network they join, and a pod that has
//! lost one of them ends as a whole, as Mesos's own executor does it.

use std::time::Duration;

use marathon_model::id::TaskId;
use marathon_model::time::Now;

use super::{Agent, Effect};
use crate::pod::{Member, Start, whole};
use crate::task::{Stage, Task, Why};

impl Agent {
    /// The containers of a pod that are known here, the given one (of a pod) included.
    pub(super) fn containers(&self, pod: &TaskId) -> Vec<TaskId> {
        let first = TaskId { container: None, incarnation: 0, instance: pod.instance.clone() };
        let of_instance = self.tasks.range(first..).take_while(|(id, _)| id.instance == pod.instance);
        let pod = whole(pod);
        of_instance
            .filter(|(_, it)| it.member.as_ref().is_some_and(|it| it.pod.task == pod))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// What the preparation of a task must know, with the network it is to join.
    pub(super) fn start_of(&self, task: &Task) -> Start {
        let holder = task.member.as_ref().and_then(|it| it.joins()).and_then(|it| self.tasks.get(it));
        Start {
            launch: task.launch.clone(),
            member: task.member.clone(),
            network_pid: holder.and_then(|it| it.pid),
        }
    }

    /// Prepares those that waited, now that a container of their pod runs.
    pub(super) fn release(&mut self, id: &TaskId, out: &mut Vec<Effect>) {
        if id.container.is_none() {
            return;
        }
        for other in self.containers(id) {
            let Some(task) = self.tasks.get(&other).filter(|it| it.waits && it.stage == Stage::Preparing)
            else {
                continue;
            };
            let runs = |it: &TaskId| self.tasks.get(it).is_some_and(|it| it.stage == Stage::Running);
            if task.member.iter().flat_map(|it| it.waits_for()).all(runs) {
                let start = self.start_of(task);
                if let Some(task) = self.tasks.get_mut(&other) {
                    task.waits = false;
                }
                out.push(Effect::Prepare(start));
            }
        }
    }

    /// Ends what cannot go on without a container that has ended.
    pub(super) fn after_end(&mut self, id: &TaskId, now: Now, out: &mut Vec<Effect>) {
        let Some((member, task)) = self.tasks.get(id).and_then(|it| Some((it.member.as_ref()?, it))) else {
            return;
        };
        let (name, fatal) = (member.container().name.clone(), task.fatal);
        for other in self.containers(id) {
            let Some(task) =
                self.tasks.get(&other).filter(|it| it.stage != Stage::Ended && it.kill.is_none())
            else {
                continue;
            };
            let waited = |it: &Member| task.waits && it.waits_for().any(|it| it == id);
            let why = if fatal {
                format!("Container `{name}` of the pod failed, which ends the others")
            } else if task.member.as_ref().is_some_and(waited) {
                format!("Container `{name}` of the pod ended before this one could start")
            } else {
                continue;
            };
            self.kill(&other, None, Some(Why::Pod(why)), now, out);
        }
    }

    pub(super) fn kill_all(
        &mut self,
        ids: Vec<TaskId>,
        grace: Option<Duration>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        for id in ids {
            self.kill(&id, grace, None, now, out);
        }
    }
}
