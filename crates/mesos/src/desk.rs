//! What the engine remembers between a call and its answer. All of it may be lost: after a new subscription the core
//! asks anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use marathon_model::id::{AgentId, OfferId, TaskId};
use marathon_model::offer::Launch;

use crate::filter::Filter;
use crate::offer::Open;
use crate::roles::Roles;

/// So many offers are kept; what comes beyond is turned down at once. The core answers each within moments.
pub const OFFERS_MAX: usize = 200_000;

/// So many tasks are asked for again when the master says nothing of them. The core asks for all of them now and then.
const UNHEARD_MAX: usize = 500_000;
/// Most agents are back within a second or two.
const REPEAT_FIRST: Duration = Duration::from_secs(1);
const REPEAT_CEILING: Duration = Duration::from_secs(60);
/// After so long every agent that was there before the master is either back or given up, and whoever wants to know
/// more asks anew.
const ASKED_LONG_AGO: Duration = Duration::from_secs(15 * 60);

pub struct Desk {
    pub open: HashMap<OfferId, Open>,
    pub roles: Roles,
    pub filter: Filter,
    /// The containers of pods that may run, by the id of the whole. The master knows only tasks.
    pods: HashMap<TaskId, BTreeSet<Arc<str>>>,
    unheard: Unheard,
}

/// Tasks whose state was asked for and not told. A master whose agents have not come back yet does not answer, so it
/// is asked again; but not while its answers still come, which takes a while for a hundred thousand tasks.
#[derive(Default)]
struct Unheard {
    tasks: BTreeMap<TaskId, (Option<AgentId>, Instant)>,
    next: Option<(Instant, Duration)>,
}

impl Desk {
    pub fn new(roles: Roles) -> Desk {
        Desk {
            open: HashMap::new(),
            roles,
            filter: Filter::default(),
            pods: HashMap::new(),
            unheard: Unheard::default(),
        }
    }

    /// The connection is lost, and all offers and questions with it.
    pub fn clear(&mut self) {
        self.open = HashMap::new();
        self.unheard = Unheard::default();
        self.roles.start_over();
        self.filter.begin(false);
    }

    pub fn launched(&mut self, launch: &Launch) {
        for it in &launch.containers {
            self.learn(&it.task);
        }
    }

    fn learn(&mut self, task: &TaskId) {
        if let Some(name) = &task.container {
            self.pods.entry(whole(task)).or_default().insert(name.clone());
        }
    }

    /// A task was spoken of. `over`: nothing of it is left.
    pub fn heard(&mut self, task: &TaskId, over: bool, now: Instant) {
        if self.unheard.tasks.remove(task).is_some()
            && let Some((next, pause)) = &mut self.unheard.next
        {
            *next = (*next).max(now + *pause);
        }
        if !over {
            self.learn(task);
        } else if let Some(name) = &task.container
            && let Some(names) = self.pods.get_mut(&whole(task))
        {
            names.remove(name);
            if names.is_empty() {
                self.pods.remove(&whole(task));
            }
        }
    }

    /// The tasks that the core means by an id: that of a pod means all its containers.
    pub fn named_by(&self, task: &TaskId) -> Vec<TaskId> {
        match self.pods.get(task) {
            Some(names) => {
                let part = |name: &Arc<str>| TaskId { container: Some(name.clone()), ..task.clone() };
                names.iter().map(part).collect()
            }
            None => vec![task.clone()],
        }
    }

    pub fn asked(&mut self, tasks: &[(TaskId, Option<AgentId>)], now: Instant) {
        for (task, agent) in tasks {
            self.learn(task);
            if self.unheard.tasks.len() < UNHEARD_MAX {
                self.unheard.tasks.insert(task.clone(), (agent.clone(), now));
            }
        }
        self.unheard.next = Some((now + REPEAT_FIRST, REPEAT_FIRST));
    }

    /// When the questions without an answer are due again.
    pub fn repeat_at(&self) -> Option<Instant> {
        self.unheard.next.map(|it| it.0).filter(|_| !self.unheard.tasks.is_empty())
    }

    /// The questions without an answer.
    pub fn repeat(&mut self, now: Instant) -> Vec<(TaskId, Option<AgentId>)> {
        let pause = self.unheard.next.map_or(REPEAT_FIRST, |it| (it.1 * 2).min(REPEAT_CEILING));
        self.unheard.next = Some((now + pause, pause));
        self.unheard.tasks.retain(|_, (_, since)| now < *since + ASKED_LONG_AGO);
        self.unheard.tasks.iter().map(|(task, (agent, _))| (task.clone(), agent.clone())).collect()
    }
}

fn whole(task: &TaskId) -> TaskId {
    TaskId { container: None, ..task.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(text: &str) -> TaskId {
        TaskId::parse(&format!("pod.instance-0c1e6f10-7ccb-11eb-9a1c-0242ac110002.{text}.1")).expect("an id")
    }

    fn desk() -> Desk {
        Desk::new(Roles::of(&["*"]))
    }

    #[test]
    fn a_pod_is_named_by_its_containers_while_they_live() {
        let mut desk = desk();
        assert_eq!(desk.named_by(&task("_app")), [task("_app")], "an app is its own task");
        desk.asked(&[(task("web"), None)], Instant::now());
        desk.heard(&task("db"), false, Instant::now());
        assert_eq!(desk.named_by(&task("_app")), [task("db"), task("web")]);
        assert_eq!(desk.named_by(&task("db")), [task("db")]);
        desk.heard(&task("db"), true, Instant::now());
        assert_eq!(desk.named_by(&task("_app")), [task("web")]);
    }

    #[test]
    fn questions_are_repeated_until_they_are_answered() {
        let mut desk = desk();
        let start = Instant::now();
        let asked = [(task("_app"), Some(AgentId::new("S1"))), (task("web"), None)];
        assert_eq!(desk.repeat_at(), None);
        desk.asked(&asked, start);
        let mut pauses = Vec::new();
        let mut now = start;
        for _ in 0..8 {
            let due = desk.repeat_at().expect("nobody answered");
            pauses.push((due - now).as_secs());
            now = due;
            assert_eq!(desk.repeat(now), asked);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        desk.heard(&task("_app"), false, now);
        assert_eq!(desk.repeat(now), asked[1..]);
        desk.heard(&task("web"), true, now);
        assert_eq!(desk.repeat_at(), None);
    }

    #[test]
    fn a_master_that_is_answering_is_not_asked_again() {
        let mut desk = desk();
        let start = Instant::now();
        desk.asked(&[(task("a"), None), (task("b"), None), (task("c"), None)], start);
        let second = Duration::from_secs(1);
        desk.heard(&task("a"), false, start + second / 2);
        assert_eq!(desk.repeat_at(), Some(start + second * 3 / 2));
        // What was not asked for is no sign that answers come.
        desk.heard(&task("a"), false, start + second);
        assert_eq!(desk.repeat_at(), Some(start + second * 3 / 2));
        desk.heard(&task("b"), false, start + second);
        assert_eq!(desk.repeat_at(), Some(start + second * 2));
    }

    #[test]
    fn questions_end() {
        let mut desk = desk();
        let start = Instant::now();
        desk.asked(&[(task("a"), None)], start);
        desk.asked(&[(task("b"), None)], start + Duration::from_secs(60));
        assert_eq!(desk.repeat(start + ASKED_LONG_AGO), [(task("b"), None)]);
        assert!(desk.repeat(start + ASKED_LONG_AGO * 2).is_empty());
        assert_eq!(desk.repeat_at(), None);
    }
}
