//! What is offered, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use marathon_model::id::{OfferId, TaskId};
use marathon_model::offer::{EngineEvent, Launch, Offer, Operation, Reason, TaskState};
use marathon_model::resources::{ANY_ROLE, Resource, Role};
use marathon_model::time::{Now, Tick};

use super::{Agent, Declined, Effect, HOLD_AFTER_EMPTY_ACCEPT, HOLD_FLOOR, Made, tell};
use crate::kept::Kept;
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
        free.without_kept(self.kept.resources());
        for offer in self.offers.values() {
            free.take_all_of(&offer.pools);
        }
        let idle = self.idle();
        let mut listening: Option<Vec<u16>> = None;
        let mut made = Vec::new();
        for role in waiting {
            let mut pools = Pools::default();
            for (name, pool) in free.0.iter().filter(|(name, _)| **name == role || &***name == ANY_ROLE) {
                pools.0.insert(name.clone(), pool.clone());
            }
            let mut kept = Kept::default();
            let usable = |it: &&Resource| it.role == role || &*it.role == ANY_ROLE;
            idle.resources().iter().filter(usable).for_each(|it| kept.add(it.clone()));
            if !pools.is_worth_an_offer() && kept.is_empty() {
                continue;
            }
            let declined = self.declined.get(&role).filter(|it| now.tick < it.until);
            if declined.is_some_and(|it| !pools.exceeds(&it.pools) && !is_more(&kept, &it.kept)) {
                continue;
            }
            pools.remove_ports(listening.get_or_insert_with(&mut *busy).clone());
            // What was declined was without such ports, too.
            if declined.is_some_and(|it| !pools.exceeds(&it.pools) && !is_more(&kept, &it.kept)) {
                continue;
            }
            self.declined.remove(&role);
            free.take_all_of(&pools);
            made.push(self.offer(role, pools, kept));
        }
        if !made.is_empty() {
            out.push(Effect::Tell(EngineEvent::Offers(made)));
        }
    }

    /// What is reserved, less what tasks use and what is on offer.
    fn idle(&self) -> Kept {
        let mut idle = self.kept.clone();
        let used = self.live().flat_map(|it| &it.reserved);
        let offered = self.offers.values().flat_map(|it| it.kept.resources());
        for resource in used.chain(offered) {
            idle.remove(resource);
        }
        idle
    }

    pub(super) fn offer(&mut self, role: Role, pools: Pools, kept: Kept) -> Offer {
        self.ids += 1;
        let id = OfferId::new(format!("{:016x}-O{}", self.about.seed, self.ids));
        let offer = Offer {
            id: id.clone(),
            agent: self.about.agent.clone(),
            hostname: self.about.hostname.clone(),
            role: role.clone(),
            resources: pools.resources().into_iter().chain(kept.resources().iter().cloned()).collect(),
            attributes: self.about.attributes.clone(),
            region: self.about.region.clone(),
            zone: self.about.zone.clone(),
            unavailability: None,
        };
        self.offers.insert(id, Made { role, pools, kept });
        offer
    }

    pub(super) fn accept(
        &mut self,
        offer: &OfferId,
        operations: Vec<Operation>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let is_nothing = |it: &Operation| matches!(it, Operation::Launch(launches) if launches.is_empty());
        if operations.iter().all(is_nothing) {
            return self.decline(offer, HOLD_AFTER_EMPTY_ACCEPT, now.tick);
        }
        let Some(mut made) = self.offers.remove(offer) else {
            for task in Operation::launches(&operations).flat_map(ids) {
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
        for operation in operations {
            match operation {
                Operation::Launch(launches) => self.accept_launches(launches, &mut made, now, out),
                other => self.change_kept(other, &mut made, out),
            }
        }
    }

    fn accept_launches(&mut self, launches: Vec<Launch>, made: &mut Made, now: Now, out: &mut Vec<Effect>) {
        let mut left = made.pools.scalars();
        for launch in launches {
            let id = launch.task.clone();
            if ids(&launch).any(|it| self.tasks.contains_key(it)) {
                tracing::error!(task = %id, "asked to launch a task that exists; ignored");
                continue;
            }
            let on_reserved = !launch.reserved.is_empty();
            let wanted = if on_reserved { Scalars::default() } else { Scalars::from(&launch.resources) };
            let foreign = launch.host_ports.iter().find(|port| !on_reserved && !made.pools.has_port(**port));
            let wrong = if launch.agent != self.about.agent {
                Some(format!(
                    "Task names agent {} but the offer is of agent {}",
                    launch.agent, self.about.agent
                ))
            } else if wanted.exceeds(left) {
                Some("Task uses more resources than available in the offer".to_owned())
            } else if !made.kept.remove_all(&launch.reserved) {
                Some("Task uses reserved resources which are not in the offer".to_owned())
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

    /// Reservations and volumes. What does not fit is left undone: nobody asks for an answer, and the next offer
    /// shows how things are.
    fn change_kept(&mut self, operation: Operation, made: &mut Made, out: &mut Vec<Effect>) {
        let mut kept = self.kept.clone();
        let (done, volumes) = match &operation {
            Operation::Reserve(resources) if made.pools.take_any(resources) => {
                for resource in resources {
                    kept.add(resource.clone());
                    made.kept.add(resource.clone());
                }
                (Ok(()), Vec::new())
            }
            Operation::Reserve(_) => (Err("it is not in the offer"), Vec::new()),
            Operation::Create(list) => {
                let done = made.kept.create(list).and_then(|()| kept.create(list));
                (done, list.iter().filter_map(|it| it.volume()).map(create_volume).collect())
            }
            Operation::Destroy(list) => {
                let done = made.kept.destroy(list).and_then(|()| kept.destroy(list));
                (done, list.iter().filter_map(|it| it.volume()).map(remove_volume).collect())
            }
            Operation::Unreserve(list) => {
                (made.kept.unreserve(list).and_then(|()| kept.unreserve(list)), Vec::new())
            }
            Operation::Launch(_) => return,
        };
        match done {
            Ok(()) => {
                self.kept = kept;
                out.extend(volumes);
                out.push(Effect::Save(self.kept.clone()));
            }
            Err(why) => tracing::warn!(?operation, why, "not done"),
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
        if let Some(Made { role, pools, kept }) = self.offers.remove(offer) {
            self.declined.insert(role, Declined { until: now + hold.max(HOLD_FLOOR), pools, kept });
        }
    }
}

/// Whether there is anything that was not there before.
fn is_more(now: &Kept, before: &Kept) -> bool {
    let mut before = before.clone();
    !before.remove_all(now.resources())
}

fn create_volume(id: &str) -> Effect {
    Effect::CreateVolume(id.to_owned())
}

fn remove_volume(id: &str) -> Effect {
    Effect::RemoveVolume(id.to_owned())
}
