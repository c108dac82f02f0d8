//! What a cluster saw, in order, for a judge who trusts no scheduler: who subscribed, which calls were carried
//! out and which refused, what was launched and when it ended, and which orders an admin gave.
//!
//! Nothing is kept before it is asked for the first time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use marathon_mesos_v1::{CallAccept, CallKill, CallType, TaskInfo};
use serde_json::{Value, json};

use crate::front::Request;
use crate::sim::Sim;

/// Older entries are forgotten; the numbers tell a reader who came too late.
const MOST: usize = 200_000;
/// Entries in one answer.
const AT_ONCE: usize = 5_000;

#[derive(Debug, Default)]
pub struct Journal {
    on: bool,
    /// The number of the oldest entry.
    first: u64,
    entries: VecDeque<(f64, Value)>,
}

impl Sim {
    pub(crate) fn note(&mut self, entry: impl FnOnce() -> Value) {
        if !self.journal.on {
            return;
        }
        if self.journal.entries.len() == MOST {
            self.journal.entries.pop_front();
            self.journal.first += 1;
        }
        self.journal.entries.push_back((self.now.seconds(), entry()));
    }

    /// Entries from a number on, and the cluster's own time.
    pub(crate) fn journal_from(&mut self, from: u64) -> Value {
        self.journal.on = true;
        let it = &self.journal;
        let skip = usize::try_from(from.saturating_sub(it.first)).unwrap_or(usize::MAX);
        let entries = it.entries.iter().enumerate().skip(skip).take(AT_ONCE).map(|(at, (time, entry))| {
            let mut entry = entry.clone();
            entry["n"] = json!(it.first + at as u64);
            entry["at"] = json!(time);
            entry
        });
        json!({ "now": self.now.seconds(), "entries": entries.collect::<Vec<_>>() })
    }

    pub(crate) fn note_subscription(&mut self, framework: usize) {
        let it = &self.frameworks[framework];
        let Some(subscription) = &it.subscription else { return };
        let (id, by, stream) = (it.id.clone(), it.info.hostname.clone(), subscription.stream.clone());
        self.note(|| json!({ "what": "subscribed", "framework": &*id, "by": by, "stream": stream }));
    }

    pub(crate) fn note_call(
        &mut self,
        request: &Request,
        kind: CallType,
        accept: &Option<CallAccept>,
        kill: &Option<CallKill>,
        taken: bool,
    ) {
        if !self.journal.on {
            return;
        }
        let stream = request.header("Mesos-Stream-Id").unwrap_or_default().to_owned();
        let task = kill.as_ref().map(|it| it.task_id.value.clone());
        // A call may have been under way for long, but not for longer than what it answers.
        let numbers = accept.iter().flat_map(|it| &it.offer_ids).filter_map(|it| self.offer_number(it));
        let since =
            numbers.filter_map(|it| self.offers.get(&it)).map(|it| it.made.seconds()).reduce(f64::max);
        self.note(|| {
            json!({
                "what": "call", "kind": kind.as_str(), "stream": stream, "taken": taken, "task": task, "since": since
            })
        });
    }

    pub(crate) fn note_launch(&mut self, task: &Arc<str>, agent: usize, info: &TaskInfo) {
        let labels = info.labels.iter().flat_map(|it| &it.labels);
        let labels: BTreeMap<String, String> =
            labels.map(|it| (it.key.clone(), it.value.clone().unwrap_or_default())).collect();
        self.note(|| json!({ "what": "launched", "task": &**task, "agent": agent, "labels": labels }));
    }

    pub(crate) fn note_end_of(&mut self, at: usize) {
        let Some(task) = self.tasks.get(at).filter(|_| self.journal.on) else { return };
        let (id, state) = (task.id.clone(), task.state.as_str());
        self.note(|| json!({ "what": "ended", "task": &*id, "state": state }));
    }

    /// A task of which nobody told that it ended, and that is gone all the same.
    pub(crate) fn note_forgotten(&mut self, task: &Arc<str>) {
        self.note(|| json!({ "what": "ended", "task": &**task, "state": "" }));
    }
}
