//! Numbers that `/metrics/snapshot` shows.

use std::collections::BTreeMap;

use marathon_mesos_v1::{EventType, TaskState, TaskStatusReason, TaskStatusSource};

#[derive(Debug, Default)]
pub struct Counters {
    pub allocation_runs: u64,
    pub offers: u64,
    pub rescinds: u64,
    pub launches: u64,
    pub subscriptions: u64,
    pub reconciliations: u64,
    /// Answers about tasks that are known.
    pub reconciled: u64,
    /// From an offer to its use, in milliseconds.
    decisions: Vec<f64>,
    pub unreachable: u64,
    pub reregistrations: u64,
    pub stale_acknowledgements: u64,
    pub calls: BTreeMap<&'static str, u64>,
    pub events: BTreeMap<i32, u64>,
    /// By state, source and reason.
    pub updates: BTreeMap<(i32, i32, Option<i32>), u64>,
}

/// Later decisions replace earlier ones.
const DECISIONS_MAX: usize = 10_000;

impl Counters {
    pub fn decided(&mut self, within: std::time::Duration) {
        let ms = within.as_secs_f64() * 1e3;
        if self.decisions.len() < DECISIONS_MAX {
            self.decisions.push(ms);
        } else {
            let at = usize::try_from(self.launches).unwrap_or(0) % DECISIONS_MAX;
            self.decisions[at] = ms;
        }
    }

    /// The time below which this share of decisions lies.
    pub fn decision(&self, share: f64) -> f64 {
        let mut sorted = self.decisions.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted.get(rank.min(sorted.len()).saturating_sub(1)).copied().unwrap_or(0.0)
    }

    pub fn event(&mut self, kind: Option<i32>) {
        *self.events.entry(kind.unwrap_or_default()).or_default() += 1;
    }

    pub fn update(&mut self, state: TaskState, source: TaskStatusSource, reason: Option<TaskStatusReason>) {
        *self.updates.entry((state as i32, source as i32, reason.map(|it| it as i32))).or_default() += 1;
    }

    pub fn updates_of(&self, state: TaskState) -> u64 {
        self.updates.iter().filter(|((it, ..), _)| *it == state as i32).map(|(_, count)| count).sum()
    }

    pub fn events_of(&self, kind: EventType) -> u64 {
        self.events.get(&(kind as i32)).copied().unwrap_or_default()
    }
}
