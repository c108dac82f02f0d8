//! The agent (and the master in front of it) as a state machine: inputs in, effects out.
//!
//! ```text
//!              ┌── Call ◄─────────── core ◄── EngineEvent ──┐
//!  keeper ─► Input ─► Agent::step ─► Effect ─► Keep ─► keeper
//!              ▲                       ├─────► Prepare ─► sandbox, fetch ─► Prepared ─┐
//!              └───────────────────────┴─────► Watch ─► Health, Check ◄───────────────┘
//! ```
//! After a batch of inputs, `Agent::settle` makes the offers that are due. No clock, no file, no
//! socket: the shell around it does what the effects say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use marathon_docker::Said;
use marathon_keeper::protocol::{End, Event, How, Process, Request, TaskReport};
use marathon_model::id::{AgentId, FrameworkId, OfferId, TaskId};
use marathon_model::offer::{
    Attribute, Call, CheckResult, EngineEvent, IpAddress, Launch, Offer, Reason, TaskNetwork, TaskState,
    TaskStatus, UpdateId,
};
use marathon_model::resources::{ANY_ROLE, Role};
use marathon_model::time::{Now, Tick, Timestamp};

use crate::ledger::{Pools, Scalars};
use crate::task::{Counted, Kill, OTHER, Stage, Tag, Task, has_image};
use crate::updates::is_terminal;

pub enum Input {
    /// The keeper answered; these are all tasks it knows.
    Welcome(Vec<TaskReport>),
    KeeperLost,
    Keeper(Event),
    Call(Call),
    /// The sandbox of a task is ready, or why it is not.
    Prepared {
        task: TaskId,
        process: Result<Box<Process>, String>,
    },
    Health {
        task: TaskId,
        outcome: Result<(), String>,
    },
    Check {
        task: TaskId,
        result: CheckResult,
    },
    Woke,
}

#[derive(Debug, PartialEq)]
pub enum Effect {
    Tell(EngineEvent),
    Keep(Request),
    Prepare(Arc<Launch>),
    /// Nobody waits for the preparation any more.
    Cancel(TaskId),
    Watch(Watch),
    Unwatch(TaskId),
    /// The runner of a container ended without having removed it.
    Sweep(TaskId),
    /// The task is forgotten by everybody; its private files can go.
    Clean(TaskId),
}

/// Begin to carry out the checks of a task.
#[derive(Debug, PartialEq)]
pub struct Watch {
    pub launch: Arc<Launch>,
    pub container: Option<String>,
    /// Where the task listens, when that is not this machine.
    pub address: Option<Arc<str>>,
    /// It ran before this server did: the initial delay has passed.
    pub adopted: bool,
}

/// What does not change while the server runs.
#[derive(Debug, Clone)]
pub struct About {
    pub agent: AgentId,
    pub framework: FrameworkId,
    pub hostname: Arc<str>,
    /// This machine's own address, shown for tasks on the host network.
    pub address: IpAddress,
    pub attributes: Arc<BTreeMap<String, Attribute>>,
    pub region: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    pub total: Pools,
    /// The roles to which offers are made.
    pub roles: Vec<Role>,
    pub default_grace: Duration,
    /// Sets the ids of this run apart from those of all others.
    pub seed: u64,
}

/// As Mesos does for an answer without a filter of its own.
const HOLD_AFTER_EMPTY_ACCEPT: Duration = Duration::from_secs(5);
/// As Mesos: a filter lasts at least one round of allocation, so that a core that declines without
/// any hold is not offered the same again in a tight loop.
const HOLD_FLOOR: Duration = Duration::from_secs(1);

pub struct Agent {
    about: About,
    tasks: BTreeMap<TaskId, Task>,
    offers: BTreeMap<OfferId, Made>,
    /// By role: what was declined, and until when it stays away.
    declined: BTreeMap<Role, Declined>,
    suppressed: bool,
    subscribed: bool,
    again: bool,
    ids: u64,
}

/// An open offer.
struct Made {
    role: Role,
    pools: Pools,
}

struct Declined {
    until: Tick,
    pools: Pools,
}

impl Agent {
    pub fn new(about: About) -> Agent {
        Agent {
            about,
            tasks: BTreeMap::new(),
            offers: BTreeMap::new(),
            declined: BTreeMap::new(),
            suppressed: false,
            subscribed: false,
            again: false,
            ids: 0,
        }
    }

    /// Tasks that are not over.
    pub fn live(&self) -> impl Iterator<Item = &Launch> {
        self.tasks.values().filter(|it| it.stage != Stage::Ended).map(|it| &*it.launch)
    }

    /// Tasks whose files are still needed.
    pub fn known(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.keys()
    }

    pub fn step(&mut self, input: Input, now: Now, out: &mut Vec<Effect>) {
        match input {
            Input::Welcome(reports) => self.welcome(reports, now, out),
            Input::KeeperLost => self.lost(out),
            Input::Keeper(Event::Welcome { tasks, .. }) => self.welcome(tasks, now, out),
            Input::Keeper(Event::Started { task, .. }) => self.started(&task, now, out),
            Input::Keeper(Event::Said { task, line }) => self.said(&task, &line, now, out),
            Input::Keeper(Event::Ended { task, end }) => self.ended(&task, &end, now, out),
            Input::Call(call) => self.call(call, now, out),
            Input::Prepared { task, process } => self.prepared(&task, process, now, out),
            Input::Health { task, outcome } => self.health(&task, outcome, now, out),
            Input::Check { task, result } => self.checked(&task, result, now, out),
            Input::Woke => self.resend(now, out),
        }
    }

    /// When `Input::Woke` is due next.
    pub fn next_wakeup(&self) -> Option<Tick> {
        let updates = self.tasks.values().filter_map(|it| it.updates.due());
        let filters = self.declined.values().map(|it| it.until).filter(|_| !self.suppressed);
        updates.chain(filters).min()
    }

    // ---- the keeper ----

    fn welcome(&mut self, reports: Vec<TaskReport>, now: Now, out: &mut Vec<Effect>) {
        self.subscribed = true;
        out.push(Effect::Tell(EngineEvent::Subscribed {
            framework: self.about.framework.clone(),
            master: "local".to_owned(),
            again: std::mem::replace(&mut self.again, true),
        }));
        for task in self.tasks.values_mut() {
            out.extend(task.updates.repeat(now.tick).map(tell));
        }
        let mut reported = BTreeSet::new();
        for report in reports {
            if let Ok(id) = TaskId::parse(&report.task) {
                reported.insert(id);
            }
            self.report(report, now, out);
        }
        let handed_over = |it: &Task| it.kept && it.stage != Stage::Ended;
        let missing: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(id, it)| handed_over(it) && !reported.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in missing {
            let why = "the process that watches over it ended and does not know it any more".to_owned();
            let end =
                End { how: How::Vanished { why }, out_of_memory: false, asked: false, at_ms: now.wall.0 };
            self.end(&id, &end, now, out);
        }
        for task in self.tasks.values().filter(|it| handed_over(it)) {
            out.extend(task.kill.as_ref().map(|it| Effect::Keep(task.kill_request(it.grace_ms))));
        }
    }

    /// Brings one task in line with what the keeper says of it.
    fn report(&mut self, report: TaskReport, now: Now, out: &mut Vec<Effect>) {
        let TaskReport { task: name, tag, pid, said, end } = report;
        let (id, adopted) = match (TaskId::parse(&name), serde_json::from_str::<Tag>(&tag)) {
            (Ok(id), _) if self.tasks.contains_key(&id) => (id, false),
            (Ok(id), Ok(Tag { launch })) if launch.task == id => {
                let mut task = Task::new(launch);
                task.stage = Stage::Launched;
                task.kept = true;
                self.tasks.insert(id.clone(), task);
                (id, true)
            }
            _ => {
                tracing::warn!(task = name, "the keeper has a task that is none of ours; it is ended");
                out.push(Effect::Keep(if end.is_some() {
                    Request::Forget { task: name }
                } else {
                    Request::Kill { task: name, grace_ms: 0 }
                }));
                return;
            }
        };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if let Some(said) = said.as_deref().and_then(|it| serde_json::from_str::<Said>(it).ok()) {
            task.note(&said);
        }
        let runs = if has_image(&task.launch) { task.container.is_some() } else { pid.is_some() };
        if let Some(end) = end {
            self.end(&id, &end, now, out);
        } else if runs && !adopted {
            self.running(&id, now, out);
        } else if runs {
            // Whether the core has stored that it runs is unknown. It asks about every task after
            // `Subscribed`, so nothing is said here unasked.
            task.run(&self.about, now.tick);
            out.extend(task.watch(true));
        }
    }

    fn lost(&mut self, out: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.subscribed, false) {
            out.push(Effect::Tell(EngineEvent::Disconnected));
        }
        self.offers.clear();
        self.declined.clear();
    }

    /// Finds a task the keeper speaks of. One that is unknown here must not live on unattended: it was
    /// handed over by an earlier server whose core was already told that it does not exist.
    fn named(&self, name: &str, ended: bool, out: &mut Vec<Effect>) -> Option<TaskId> {
        let id = TaskId::parse(name).ok().filter(|id| self.tasks.contains_key(id));
        if id.is_none() {
            let task = name.to_owned();
            out.push(Effect::Keep(if ended {
                Request::Forget { task }
            } else {
                Request::Kill { task, grace_ms: 0 }
            }));
        }
        id
    }

    fn started(&mut self, name: &str, now: Now, out: &mut Vec<Effect>) {
        let Some(id) = self.named(name, false, out) else { return };
        let Some(task) = self.tasks.get(&id) else { return };
        // A runner that was started has not started its container yet.
        if !has_image(&task.launch) {
            self.running(&id, now, out);
        }
    }

    fn said(&mut self, name: &str, line: &str, now: Now, out: &mut Vec<Effect>) {
        let Some(id) = self.named(name, false, out) else { return };
        let Ok(said) = serde_json::from_str::<Said>(line) else {
            tracing::warn!(task = name, line, "not understood");
            return;
        };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.note(&said);
        match said {
            Said::Pulling => self.push(&id, TaskState::Starting, "Pulling the image", None, now, out),
            Said::Started { .. } => self.running(&id, now, out),
            Said::Failed { .. } | Said::Ended { .. } => {}
        }
    }

    fn ended(&mut self, name: &str, end: &End, now: Now, out: &mut Vec<Effect>) {
        if let Some(id) = self.named(name, true, out) {
            self.end(&id, end, now, out);
        }
    }

    fn running(&mut self, id: &TaskId, now: Now, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id).filter(|it| it.stage == Stage::Launched) else { return };
        task.run(&self.about, now.tick);
        if task.kill.is_some() {
            return;
        }
        out.extend(task.watch(false));
        self.push(id, TaskState::Running, "", None, now, out);
    }

    fn end(&mut self, id: &TaskId, end: &End, now: Now, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id).filter(|it| it.stage != Stage::Ended) else { return };
        let (outcome, unwatch) = (task.outcome(end), task.unwatch());
        task.stage = Stage::Ended;
        out.extend(unwatch);
        if has_image(&task.launch) && !matches!(end.how, How::Exited { .. } | How::NotStarted { .. }) {
            out.push(Effect::Sweep(id.clone()));
        }
        let at = if 0 < end.at_ms { Timestamp(end.at_ms) } else { now.wall };
        let at = Now { wall: at, tick: now.tick };
        self.push(id, outcome.state, &outcome.message, outcome.reason, at, out);
    }

    // ---- preparation ----

    fn prepared(
        &mut self,
        id: &TaskId,
        process: Result<Box<Process>, String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(id).filter(|it| it.stage == Stage::Preparing) else { return };
        match process {
            Ok(process) => {
                task.stage = Stage::Launched;
                task.kept = true;
                out.push(Effect::Keep(Request::Launch { task: id.to_string(), process }));
            }
            Err(why) => {
                task.stage = Stage::Ended;
                self.push(id, TaskState::Failed, &why, OTHER, now, out);
            }
        }
    }

    // ---- checks ----

    fn health(&mut self, id: &TaskId, outcome: Result<(), String>, now: Now, out: &mut Vec<Effect>) {
        let alive = |it: &&mut Task| it.stage == Stage::Running && it.kill.is_none();
        let Some(task) = self.tasks.get_mut(id).filter(alive) else { return };
        let cause = match outcome {
            Ok(()) => {
                task.health.failures = 0;
                task.health.ever = true;
                if task.health.healthy.replace(true) != Some(true) {
                    self.push(id, TaskState::Running, "", OTHER, now, out);
                }
                return;
            }
            Err(cause) => cause,
        };
        let counted = task.unhealthy(&cause, now.tick);
        if counted != Counted::Ignored {
            self.push(id, TaskState::Running, &cause, OTHER, now, out);
        }
        if let Counted::Fatal(why) = counted {
            self.kill(id, None, Some(why), now, out);
        }
    }

    fn checked(&mut self, id: &TaskId, result: CheckResult, now: Now, out: &mut Vec<Effect>) {
        let alive = |it: &&mut Task| it.stage == Stage::Running && it.kill.is_none();
        let Some(task) = self.tasks.get_mut(id).filter(alive) else { return };
        if task.check.replace(result) != Some(result) {
            self.push(id, TaskState::Running, "", OTHER, now, out);
        }
    }

    // ---- the core's calls ----

    fn call(&mut self, call: Call, now: Now, out: &mut Vec<Effect>) {
        match call {
            Call::Accept { offer, launches } => self.accept(&offer, launches, now, out),
            Call::Decline { offers, hold } => {
                for offer in offers {
                    self.decline(&offer, hold, now.tick);
                }
            }
            Call::Revive => {
                self.suppressed = false;
                self.declined.clear();
            }
            Call::Suppress => self.suppressed = true,
            Call::Kill { task, agent, grace } => {
                if self.tasks.contains_key(&task) {
                    self.kill(&task, grace, None, now, out);
                } else {
                    out.push(tell(self.unknown(&task, agent.as_ref(), now)));
                }
            }
            Call::Acknowledge { task, agent: _, update } => self.acknowledge(&task, update, now, out),
            Call::Reconcile(tasks) if tasks.is_empty() => {
                out.extend(self.tasks.iter().map(|(id, task)| tell(self.present(id, task, now))));
            }
            Call::Reconcile(tasks) => {
                out.extend(tasks.iter().map(|(id, agent)| {
                    tell(match self.tasks.get(id) {
                        Some(task) => self.present(id, task, now),
                        None => self.unknown(id, agent.as_ref(), now),
                    })
                }));
            }
        }
    }

    fn accept(&mut self, offer: &OfferId, launches: Vec<Launch>, now: Now, out: &mut Vec<Effect>) {
        if launches.is_empty() {
            return self.decline(offer, HOLD_AFTER_EMPTY_ACCEPT, now.tick);
        }
        let Some(mut made) = self.offers.remove(offer) else {
            for launch in &launches {
                out.push(tell(self.refusal(
                    &launch.task,
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
            if self.tasks.contains_key(&id) {
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
                out.push(tell(self.refusal(&id, TaskState::Error, &why, OTHER, now)));
                continue;
            }
            left = left.minus(wanted);
            made.pools.remove_ports(launch.host_ports.clone());
            self.launch(launch, now, out);
        }
    }

    fn launch(&mut self, launch: Launch, now: Now, out: &mut Vec<Effect>) {
        let launch = Arc::new(launch);
        let id = launch.task.clone();
        let takes_time = match (launch.fetch.is_empty(), has_image(&launch)) {
            (false, _) => Some("Fetching"),
            (true, true) => Some("Starting the container"),
            // The process runs in a moment. An update of this state would only put the core's
            // acknowledgement of it before the news that counts.
            (true, false) => None,
        };
        self.tasks.insert(id.clone(), Task::new(launch.clone()));
        if let Some(what) = takes_time {
            self.push(&id, TaskState::Starting, what, None, now, out);
        }
        out.push(Effect::Prepare(launch));
    }

    fn decline(&mut self, offer: &OfferId, hold: Duration, now: Tick) {
        if let Some(Made { role, pools }) = self.offers.remove(offer) {
            self.declined.insert(role, Declined { until: now + hold.max(HOLD_FLOOR), pools });
        }
    }

    fn kill(
        &mut self,
        id: &TaskId,
        grace: Option<Duration>,
        unhealthy: Option<String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let grace = grace.or(task.launch.kill_grace).unwrap_or(self.about.default_grace);
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let first = task.kill.is_none();
        match task.stage {
            Stage::Ended => {}
            Stage::Preparing => {
                task.stage = Stage::Ended;
                out.push(Effect::Cancel(id.clone()));
                self.push(id, TaskState::Killed, "Killed before its process was started", OTHER, now, out);
            }
            Stage::Launched | Stage::Running => {
                out.extend(task.unwatch());
                let unhealthy = unhealthy.or_else(|| task.kill.take().and_then(|it| it.unhealthy));
                out.push(Effect::Keep(task.kill_request(grace_ms)));
                task.kill = Some(Kill { grace_ms, unhealthy });
                if first {
                    self.push(id, TaskState::Killing, "", None, now, out);
                }
            }
        }
    }

    fn acknowledge(&mut self, id: &TaskId, update: UpdateId, now: Now, out: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let Some((state, next)) = task.updates.acknowledge(update, now.tick) else { return };
        out.extend(next.map(tell));
        if is_terminal(state) {
            if task.kept {
                out.push(Effect::Keep(Request::Forget { task: id.to_string() }));
            }
            self.tasks.remove(id);
            out.push(Effect::Clean(id.clone()));
        }
    }

    // ---- updates ----

    fn push(
        &mut self,
        id: &TaskId,
        state: TaskState,
        message: &str,
        reason: Option<Reason>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.ids += 1;
        let update = UpdateId::from_u64_pair(self.about.seed, self.ids);
        let Some(task) = self.tasks.get_mut(id) else { return };
        let status = TaskStatus {
            task: id.clone(),
            state,
            agent: Some(self.about.agent.clone()),
            update: Some(update),
            at: now.wall,
            message: message.to_owned(),
            reason,
            healthy: task.health.healthy,
            check: task.check,
            addresses: task.addresses.clone(),
            unreachable_since: None,
        };
        out.extend(task.updates.push(status, now.tick).map(tell));
    }

    fn resend(&mut self, now: Now, out: &mut Vec<Effect>) {
        for task in self.tasks.values_mut() {
            out.extend(task.updates.resend(now.tick).map(tell));
        }
    }

    /// The answer to a reconciliation: the state as last sent, with nothing to acknowledge.
    fn present(&self, id: &TaskId, task: &Task, now: Now) -> TaskStatus {
        let reason = Some(Reason::Reconciliation);
        match task.updates.latest_sent() {
            Some(sent) => TaskStatus { update: None, reason, ..sent.clone() },
            None => TaskStatus {
                healthy: task.health.healthy,
                check: task.check,
                addresses: task.addresses.clone(),
                ..self.refusal(id, task.presumed_state(), "Reconciliation: Latest task state", reason, now)
            },
        }
    }

    /// As Mesos answers a framework that is aware of partitions.
    fn unknown(&self, id: &TaskId, agent: Option<&AgentId>, now: Now) -> TaskStatus {
        let reason = Some(Reason::Reconciliation);
        if agent == Some(&self.about.agent) {
            self.refusal(id, TaskState::Gone, "Reconciliation: Task is unknown to the agent", reason, now)
        } else {
            self.refusal(id, TaskState::Unknown, "Reconciliation: Task is unknown", reason, now)
        }
    }

    /// A status about a task that has no updates of its own.
    fn refusal(
        &self,
        id: &TaskId,
        state: TaskState,
        message: &str,
        reason: Option<Reason>,
        now: Now,
    ) -> TaskStatus {
        TaskStatus {
            task: id.clone(),
            state,
            agent: Some(self.about.agent.clone()),
            update: None,
            at: now.wall,
            message: message.to_owned(),
            reason,
            healthy: None,
            check: None,
            addresses: Vec::new(),
            unreachable_since: None,
        }
    }

    // ---- offers ----

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
            if let Some(declined) = self.declined.get(&role) {
                if now.tick < declined.until && !pools.exceeds(&declined.pools) {
                    continue;
                }
                self.declined.remove(&role);
            }
            pools.remove_ports(listening.get_or_insert_with(&mut *busy).clone());
            free.take_all_of(&pools);
            made.push(self.offer(role, pools));
        }
        if !made.is_empty() {
            out.push(Effect::Tell(EngineEvent::Offers(made)));
        }
    }

    fn offer(&mut self, role: Role, pools: Pools) -> Offer {
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
}

fn tell(status: TaskStatus) -> Effect {
    Effect::Tell(EngineEvent::Status(status))
}

impl Task {
    /// It runs: what is known of it from now on.
    fn run(&mut self, about: &About, now: Tick) {
        self.stage = Stage::Running;
        self.health.since = now;
        if self.launch.network == TaskNetwork::Host {
            self.addresses = vec![about.address.clone()];
        }
    }

    fn note(&mut self, said: &Said) {
        match said {
            Said::Pulling => {}
            Said::Started { pid: _, addresses, container } => {
                self.container = Some(container.clone());
                let one = |it: &String| IpAddress { address: Arc::from(it.as_str()), ipv6: it.contains(':') };
                self.addresses = addresses.iter().map(one).collect();
            }
            Said::Failed { message } => self.failure = Some(message.clone()),
            Said::Ended { code: _, out_of_memory } => self.out_of_memory = *out_of_memory,
        }
    }

    /// Ends the checks, if they go on.
    fn unwatch(&self) -> Option<Effect> {
        let checked = self.launch.health_check.is_some() || self.launch.check.is_some();
        let watched = checked && self.stage == Stage::Running && self.kill.is_none();
        watched.then(|| Effect::Unwatch(self.launch.task.clone()))
    }

    fn watch(&self, adopted: bool) -> Option<Effect> {
        if self.launch.health_check.is_none() && self.launch.check.is_none() {
            return None;
        }
        let address = match self.launch.network {
            TaskNetwork::Host => None,
            TaskNetwork::Bridge | TaskNetwork::Container(_) => {
                self.addresses.first().map(|it| it.address.clone())
            }
        };
        let container = self.container.clone();
        Some(Effect::Watch(Watch { launch: self.launch.clone(), container, address, adopted }))
    }
}
