//! A log of every launch, for tests that must know that nothing was started twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::sim::Sim;
use crate::state::{Index, Task, is_terminal};
use crate::time::Time;

/// Launches beyond this are counted, not kept one by one.
const MOST: usize = 4_000_000;

#[derive(Debug, Default)]
pub struct Audit {
    /// How often each task id was launched, by framework.
    launches: Index<(Arc<str>, Arc<str>), u32>,
    /// Ids launched more than once, and where.
    twice: Vec<(Arc<str>, Arc<str>)>,
    pub total: u64,
    pub ended: u64,
    pub dropped: u64,
}

impl Audit {
    pub fn launched(&mut self, task: &Arc<str>, framework: &Arc<str>, agent: &Arc<str>, _now: Time) {
        self.total += 1;
        if MOST <= self.launches.len() {
            self.dropped += 1;
            return;
        }
        let count = self.launches.entry((framework.clone(), task.clone())).or_default();
        *count += 1;
        if *count > 1 {
            self.twice.push((task.clone(), agent.clone()));
        }
    }

    pub fn ended(&mut self, _task: &Task, _now: Time) {
        self.ended += 1;
    }
}

impl Sim {
    /// What an admin sees of the whole history.
    pub fn audit_report(&self) -> Value {
        let mut running: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut overlapping: BTreeMap<&str, u32> = BTreeMap::new();
        for (_, task) in
            self.tasks.iter().filter(|(_, it)| !is_terminal(it.state) && it.undelivered.is_none())
        {
            running.entry(&self.frameworks[task.framework].id).or_default().push(&task.id);
            *overlapping.entry(instance_of(&task.id)).or_default() += 1;
        }
        for ids in running.values_mut() {
            ids.sort_unstable();
        }
        let twice: Vec<Value> = self
            .audit
            .twice
            .iter()
            .map(|(task, agent)| json!({ "task_id": &**task, "agent_id": &**agent }))
            .collect();
        overlapping.retain(|_, count| 1 < *count);
        json!({
            "launches": self.audit.total,
            "ended": self.audit.ended,
            "not_recorded": self.audit.dropped,
            "launched_twice": twice,
            "instances_with_several_tasks": overlapping,
            "running": running,
            "running_count": self.tasks.iter().filter(|(_, it)| !is_terminal(it.state) && it.undelivered.is_none()).count(),
        })
    }
}

/// The instance behind a task id of Marathon: `app.instance-<uuid>._app.<incarnation>`; else the id itself.
fn instance_of(task: &str) -> &str {
    match (task.contains(".instance-"), task.rsplit_once('.')) {
        (true, Some((instance, incarnation))) if incarnation.bytes().all(|it| it.is_ascii_digit()) => {
            instance
        }
        _ => task,
    }
}
