//! What is offered, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use marathon_model::id::{OfferId, TaskId};
use marathon_model::offer::{EngineEvent, Launch, Offer, Reason, TaskState};
use marathon_model::resources::{ANY_ROLE, Role};
use marathon_model::time::{Now, Tick};

use super::{Agent, Declined, Effect, HOLD_AFTER_EMPTY_ACCEPT, HOLD_FLOOR, Made, tell};
use crate::ledger::{Pools, Scalars};
use crate::pod::Member;
use crate::task::{OTHER, Task, has_image};

/// Of all that report about a launch.
fn ids(launch: &Launch) -> impl Iterator<Item = &TaskId> {
    let whole = launch.containers.is_empty().then_some(&launch.task);
    whole.into_iter().chain(launch.containers.iter().map(|it| &it.task))
}

impl Agent {
    /// Makes the offers that are due. `busy` tells the ports on which some process of this machine
    /// listens; it is asked at most once, and only if there is something to offer.
    pub fn settle(&mut self, now: Now, busy: &mut dyn FnMut() -> Vec<u16>, out: &mut Vec<Effect>) {
        if !self.subscribed || self.suppressed {
            return;
        }
        let open = |role: &Role| self.offers.values().any(|it| it.role == *role);
        let waiting: Vec<Role> = self.about.roles.iter().filter(|role| !open(role)).cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let mut free = self.about.total.without(self.live());
        for offer in self.offers.values() {
            free.take_all_of(&offer.pools);
        }
        let mut listening: Option<Vec<u16>> = None;
        let mut made = Vec::new();
        for role in waiting {
            let mut pools = Pools::default();
            for (name, pool) in free.0.iter().filter(|(name, _)| **name == role || &***name == ANY_ROLE) {
                pools.0.insert(name.clone(), pool.clone());
            }
            if !pools.is_worth_an_offer() {
                continue;
            }
            let declined = self.declined.get(&role).filter(|it| now.tick < it.until);
            if declined.is_some_and(|it| !pools.exceeds(&it.pools)) {
                continue;
            }
            pools.remove_ports(listening.get_or_insert_with(&mut *busy).clone());
            // What was declined was without such ports, too.
            if declined.is_some_and(|it| !pools.exceeds(&it.pools)) {
                continue;
            }
            self.declined.remove(&role);
            free.take_all_of(&pools);
            made.push(self.offer(role, pools));
        }
        if !made.is_empty() {
            out.push(Effect::Tell(EngineEvent::Offers(made)));
        }
    }

    pub(super) fn offer(&mut self, role: Role, pools: Pools) -> Offer {
        self.ids += 1;
        let id = OfferId::new(format!("{:016x}-O{}", self.about.seed, self.ids));
        let offer = Offer {
            id: id.clone(),
            agent: self.about.agent.clone(),
            hostname: self.about.hostname.clone(),
            role: role.clone(),
            resources: pools.resources(),
            attributes: self.about.attributes.clone(),
            region: self.about.region.clone(),
            zone: self.about.zone.clone(),
            unavailability: None,
        };
        self.offers.insert(id, Made { role, pools });
        offer
    }

    pub(super) fn accept(&mut self, offer: &OfferId, launches: Vec<Launch>, now: Now, out: &mut Vec<Effect>) {
        if launches.is_empty() {
            return self.decline(offer, HOLD_AFTER_EMPTY_ACCEPT, now.tick);
        }
        let Some(mut made) = self.offers.remove(offer) else {
            for task in launches.iter().flat_map(ids) {
                out.push(tell(self.refusal(
                    task,
                    TaskState::Dropped,
                    "Task launched with invalid offers: the offer is no longer valid",
                    Some(Reason::InvalidOffers),
                    now,
                )));
            }
            return;
        };
        self.declined.remove(&made.role);
        let mut left = made.pools.scalars();
        for launch in launches {
            let id = launch.task.clone();
            if ids(&launch).any(|it| self.tasks.contains_key(it)) {
                tracing::error!(task = %id, "asked to launch a task that exists; ignored");
                continue;
            }
            let wanted = Scalars::from(&launch.resources);
            let foreign = launch.host_ports.iter().find(|port| !made.pools.has_port(**port));
            let wrong = if launch.agent != self.about.agent {
                Some(format!(
                    "Task names agent {} but the offer is of agent {}",
                    launch.agent, self.about.agent
                ))
            } else if wanted.exceeds(left) {
                Some("Task uses more resources than available in the offer".to_owned())
            } else {
                foreign.map(|port| format!("Task uses port {port} which is not in the offer"))
            };
            if let Some(why) = wrong {
                let refuse = |it| tell(self.refusal(it, TaskState::Error, &why, OTHER, now));
                out.extend(ids(&launch).map(refuse));
                continue;
            }
            left = left.minus(wanted);
            made.pools.remove_ports(launch.host_ports.clone());
            self.launch(launch, now, out);
        }
    }

    pub(super) fn launch(&mut self, launch: Launch, now: Now, out: &mut Vec<Effect>) {
        let launch = Arc::new(launch);
        if launch.containers.is_empty() {
            return self.begin(Task::new(launch), now, out);
        }
        for member in Member::all(&launch) {
            let mut task = Task::of_pod(member);
            task.waits = task.member.iter().any(|it| it.waits_for().next().is_some());
            self.begin(task, now, out);
        }
    }

    fn begin(&mut self, task: Task, now: Now, out: &mut Vec<Effect>) {
        let launch = task.launch.clone();
        let id = launch.task.clone();
        let takes_time = match (launch.fetch.is_empty(), has_image(&launch)) {
            _ if task.waits => Some("Waiting for the container whose network or IPC namespace it joins"),
            (false, _) => Some("Fetching"),
            (true, true) => Some("Starting the container"),
            // The process runs in a moment. An update of this state would only put the core's
            // acknowledgement of it before the news that counts.
            (true, false) => None,
        };
        let start = (!task.waits).then(|| self.start_of(&task));
        self.tasks.insert(id.clone(), task);
        if let Some(what) = takes_time {
            self.push(&id, TaskState::Starting, what, None, now, out);
        }
        out.extend(start.map(Effect::Prepare));
    }

    pub(super) fn decline(&mut self, offer: &OfferId, hold: Duration, now: Tick) {
        if let Some(Made { role, pools }) = self.offers.remove(offer) {
            self.declined.insert(role, Declined { until: now + hold.max(HOLD_FLOOR), pools });
        }
    }
}
