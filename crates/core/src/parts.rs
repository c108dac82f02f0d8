//! Containers of a pod: what the engine says of each, and what that makes of the instance.
//!
//! ```text
//!   all silent ──► Provisioned      some up ──► Starting       all up ──► Running
//!   one ended, others not ──► Killing: the others are told to end
//!   all ended ──► the worst end; the instance starts again as a whole
//! ```
//! The original takes the lowest of an order over all states, by which a pod has failed while most of it still
//! runs, and goes back from starting to staging. Here an instance moves only forward, and has ended only
//! once nothing of it is left.

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::id::TaskId;
use marathon_model::instance::{Condition, Instance, Part, Task};
use marathon_model::offer::{TaskState, TaskStatus};
use marathon_model::pod::Pod;
use marathon_model::time::Timestamp;

use crate::lifecycle::{condition_of, cut, is_step_back};

/// How the end of a pod is called, by the ends of its containers: the first of these that occurs. One that
/// was killed was so because of another, or because we asked for it.
const ENDS: [TaskState; 7] = [
    TaskState::Error,
    TaskState::Failed,
    TaskState::Gone,
    TaskState::Dropped,
    TaskState::Unknown,
    TaskState::Finished,
    TaskState::Killed,
];

pub fn fresh(pod: &Pod, now: Timestamp) -> Vec<Part> {
    let part = |name: &Arc<str>| Part {
        name: name.clone(),
        state: None,
        since: now,
        started_at: None,
        message: None,
        check: None,
    };
    pod.containers.iter().map(|it| part(&it.name)).collect()
}

/// The ids the engine reports under.
pub fn task_ids(task: &Task) -> Vec<TaskId> {
    match task.parts.as_slice() {
        [] => vec![task.id.clone()],
        parts => parts.iter().map(|it| id_of(task, it)).collect(),
    }
}

/// Those of which something may be left.
pub fn live_ids(task: &Task) -> Vec<TaskId> {
    match task.parts.as_slice() {
        [] => vec![task.id.clone()],
        parts => parts.iter().filter(|it| !has_ended(it)).map(|it| id_of(task, it)).collect(),
    }
}

pub fn id_of(task: &Task, part: &Part) -> TaskId {
    TaskId { container: Some(part.name.clone()), ..task.id.clone() }
}

/// Names everything that was started together with this.
pub fn whole(id: &TaskId) -> TaskId {
    TaskId { container: None, ..id.clone() }
}

/// Whether a report under this id is about this very start, or a part of it.
pub fn is_about(task: &Task, id: &TaskId) -> bool {
    let known = |name: &Arc<str>| task.parts.iter().any(|it| it.name == *name);
    whole(id) == task.id && id.container.as_ref().is_none_or(known)
}

pub fn is_pod(it: &Instance) -> bool {
    it.task.as_ref().is_some_and(|it| !it.parts.is_empty())
}

fn has_ended(it: &Part) -> bool {
    it.state.is_some_and(|it| ENDS.contains(&it))
}

/// Some of it has ended, and some has not.
pub fn is_broken(task: &Task) -> bool {
    let ended = task.parts.iter().filter(|it| has_ended(it)).count();
    0 < ended && ended < task.parts.len()
}

/// The state of the whole, if anything was said of it.
pub fn state(parts: &[Part]) -> Option<TaskState> {
    use TaskState::*;
    let is = |state: TaskState| move |it: &Part| it.state == Some(state);
    let some = |state| parts.iter().any(is(state));
    if parts.iter().all(has_ended) {
        return ENDS.into_iter().find(|it| some(*it));
    }
    Some(match () {
        _ if some(Unreachable) => Unreachable,
        _ if parts.iter().any(has_ended) || some(Killing) => Killing,
        _ if parts.iter().all(is(Running)) => Running,
        _ if some(Running) || some(Starting) => Starting,
        _ if some(Staging) => Staging,
        _ => return None,
    })
}

/// The condition this state means; silence means that the start was just ordered.
pub fn condition(state: Option<TaskState>) -> Condition {
    match state {
        None => Condition::Provisioned,
        Some(TaskState::Staging) => Condition::Staging,
        Some(TaskState::Starting) => Condition::Starting,
        Some(TaskState::Running) => Condition::Running,
        Some(TaskState::Killing) => Condition::Killing,
        Some(TaskState::Unreachable) => Condition::Unreachable,
        Some(TaskState::Finished) => Condition::Finished,
        Some(TaskState::Failed) => Condition::Failed,
        Some(TaskState::Killed) => Condition::Killed,
        Some(TaskState::Error) => Condition::Error,
        Some(TaskState::Dropped) => Condition::Dropped,
        Some(TaskState::Gone | TaskState::GoneByOperator) => Condition::Gone,
        Some(TaskState::Lost | TaskState::Unknown) => Condition::Unknown,
    }
}

/// The plain state a status means: what older masters call lost is one of three things.
fn plain(status: &TaskStatus) -> TaskState {
    match (status.state, condition_of(status)) {
        (TaskState::Lost, Condition::Unreachable) => TaskState::Unreachable,
        (TaskState::Lost, Condition::Unknown) => TaskState::Unknown,
        (TaskState::Lost | TaskState::GoneByOperator, _) => TaskState::Gone,
        (state, _) => state,
    }
}

/// What a status brought.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// Parts whose state changed.
    pub changed: Vec<usize>,
    /// The status told nothing that was not known, or known better.
    pub is_old: bool,
}

/// Takes a status into the parts it is about: one, or all where it names the whole.
pub fn take_in(task: &mut Task, status: &TaskStatus, now: Timestamp) -> News {
    let to = plain(status);
    let mut news = News { changed: Vec::new(), is_old: true };
    for (at, part) in task.parts.iter_mut().enumerate() {
        let meant = status.task.container.as_ref().is_none_or(|it| *it == part.name);
        if !meant || has_ended(part) || is_step_back(condition(part.state), condition(Some(to))) {
            continue;
        }
        news.is_old = false;
        if part.state != Some(to) {
            (part.state, part.since) = (Some(to), now);
            news.changed.push(at);
        }
        if to == TaskState::Running {
            part.started_at.get_or_insert(now);
        }
        if has_ended(part) && !status.message.is_empty() {
            part.message = Some(cut(&status.message));
        }
        if status.check.is_some() {
            part.check = status.check;
        }
    }
    task.state = state(&task.parts);
    task.started_at = task.parts.iter().filter_map(|it| it.started_at).min();
    news
}

/// Whether a container ends, and none before it ended by failing: a failure of one takes the others along,
/// and counts once.
pub fn may_be_first_failure(before: &Task, status: &TaskStatus) -> bool {
    let failed = |it: &Part| condition(it.state).is_failure();
    ENDS.contains(&plain(status)) && !before.parts.iter().any(failed)
}

/// The host ports that one container holds.
pub fn ports(spec: Option<&Arc<AppSpec>>, task: &Task, name: &str) -> Vec<u16> {
    let Some(pod) = spec.and_then(|it| it.pod.as_ref()) else { return Vec::new() };
    let ports = pod.host_ports(&task.ports);
    let own = pod.endpoints().zip(ports).filter(|((container, _), _)| *container.name == *name);
    own.filter_map(|(_, port)| port).collect()
}

/// Where the result of a container's health check is kept.
pub fn check_of(pod: &Pod, task: &TaskId) -> Option<usize> {
    let name = task.container.as_ref()?;
    pod.checked().position(|(it, _)| it.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use marathon_model::id::{InstanceId, PathId};
    use marathon_model::resources::Amounts;

    fn parts(states: &str) -> Vec<Part> {
        let state = |it: &str| match it {
            "-" => None,
            "staging" => Some(TaskState::Staging),
            "starting" => Some(TaskState::Starting),
            "running" => Some(TaskState::Running),
            "killing" => Some(TaskState::Killing),
            "finished" => Some(TaskState::Finished),
            "failed" => Some(TaskState::Failed),
            "killed" => Some(TaskState::Killed),
            "error" => Some(TaskState::Error),
            "dropped" => Some(TaskState::Dropped),
            "unreachable" => Some(TaskState::Unreachable),
            "gone" => Some(TaskState::Gone),
            "unknown" => Some(TaskState::Unknown),
            other => panic!("no state {other}"),
        };
        let part = |(at, it)| Part {
            name: format!("c{at}").into(),
            state: state(it),
            since: Timestamp(0),
            started_at: None,
            message: None,
            check: None,
        };
        states.split_whitespace().enumerate().map(part).collect()
    }

    #[test]
    fn the_whole_is_what_its_parts_make_it() {
        use Condition::*;
        for (states, whole) in [
            ("- -", Provisioned),
            ("staging -", Staging),
            ("staging staging", Staging),
            ("starting staging", Starting),
            ("starting -", Starting),
            ("running -", Starting),
            ("running staging", Starting),
            ("running running", Running),
            ("running killing", Killing),
            ("unreachable running", Unreachable),
            ("unreachable killing", Unreachable),
            ("unreachable -", Unreachable),
            // One has ended: the others have to.
            ("failed running", Killing),
            ("finished running", Killing),
            ("killed -", Killing),
            ("failed killed starting", Killing),
            // Out of reach, whatever ended before.
            ("failed unreachable", Unreachable),
            // All have ended: the worst end counts.
            ("killed killed", Killed),
            ("killed finished", Finished),
            ("finished finished", Finished),
            ("failed killed", Failed),
            ("killed failed finished", Failed),
            ("failed error", Error),
            ("gone failed", Failed),
            ("gone dropped", Gone),
            ("dropped unknown", Dropped),
            ("unknown finished", Unknown),
            ("unreachable unreachable", Unreachable),
        ] {
            let mut parts = parts(states);
            assert_eq!(condition(state(&parts)), whole, "{states}");
            parts.reverse();
            assert_eq!(condition(state(&parts)), whole, "{states}, the other way round");
        }
    }

    fn task(states: &str) -> Task {
        let instance = InstanceId { spec: PathId::parse("/pod").unwrap(), uuid: uuid::Uuid::nil() };
        Task {
            id: TaskId { instance, container: None, incarnation: 1 },
            state: None,
            staged_at: Timestamp(0),
            started_at: None,
            resources: Amounts::default(),
            ports: Vec::new(),
            addresses: Vec::new(),
            check: None,
            unreachable_since: None,
            parts: parts(states),
        }
    }

    /// `to` is said of one container (or of `*`); what then changes, and what the whole is.
    fn check(before: &str, of: &str, to: TaskState, changed: &[usize], is_old: bool, whole: Condition) {
        let mut task = task(before);
        let container = (of != "*").then(|| of.into());
        let status = TaskStatus {
            task: TaskId { container, ..task.id.clone() },
            state: to,
            agent: None,
            update: None,
            at: Timestamp(0),
            message: String::new(),
            reason: None,
            healthy: None,
            check: None,
            addresses: Vec::new(),
            unreachable_since: None,
        };
        let news = take_in(&mut task, &status, Timestamp(5));
        assert_eq!(news, News { changed: changed.to_vec(), is_old }, "{before}, {of} {to:?}");
        assert_eq!(condition(task.state), whole, "{before}, {of} {to:?}");
    }

    #[test]
    fn each_part_goes_its_own_way_and_only_forward() {
        use TaskState::*;
        check("- -", "c0", Staging, &[0], false, Condition::Staging);
        check("running staging", "c1", Running, &[1], false, Condition::Running);
        check("running running", "c1", Running, &[], false, Condition::Running);
        check("running running", "c1", Staging, &[], true, Condition::Running);
        check("failed running", "c0", Running, &[], true, Condition::Killing);
        check("failed running", "c1", Killed, &[1], false, Condition::Failed);
        check("unreachable unreachable", "c0", Running, &[0], false, Condition::Unreachable);
        check("running unreachable", "c1", Running, &[1], false, Condition::Running);
        check("running running", "*", Killed, &[0, 1], false, Condition::Killed);
        check("failed running", "*", Gone, &[1], false, Condition::Failed);
        check("running running", "*", Lost, &[0, 1], false, Condition::Gone);
        check("running running", "c9", Failed, &[], true, Condition::Running);
    }
}
