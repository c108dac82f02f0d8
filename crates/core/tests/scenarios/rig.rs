//! A small, obedient cluster and the core in front of it.

pub use std::collections::BTreeMap;
pub use std::time::Duration;

pub use marathon_core::{Core, Policy};
pub use marathon_model::act::{Act, Batch};
pub use marathon_model::app::*;
pub use marathon_model::command::{Command, Origin, PodEdit, Refusal, Reply, Victims};
pub use marathon_model::deployment::ActionKind;
pub use marathon_model::event::{Event, ProbeOutcome, ProbeResult};
pub use marathon_model::id::*;
pub use marathon_model::instance::{Condition, Instance};
pub use marathon_model::notice::{StepNews, What};
pub use marathon_model::offer::*;
pub use marathon_model::pod::*;
pub use marathon_model::resources::*;
pub use marathon_model::time::*;
pub use marathon_model::update::*;
pub use marathon_model::view::View;
pub use marathon_model::write::Write;

/// One agent with plenty of everything; it does what it is told, when `run` is called.
pub struct Rig {
    pub core: Core,
    pub now: Now,
    pub store: Vec<Write>,
    /// Tasks that live, with the host ports they hold.
    pub tasks: BTreeMap<TaskId, Launch>,
    pub calls: Vec<Call>,
    pub replies: Vec<Reply>,
    pub events: Vec<String>,
    pub notices: Vec<What>,
    pub probes: Vec<marathon_model::act::Probe>,
    /// Tasks are started but nothing is said about it.
    pub mute: bool,
    /// Calls to kill are noted and not carried out.
    pub keep: bool,
    /// What the containers of tasks are reached under.
    pub address: Option<&'static str>,
    pub offers: u32,
    pub cpus: u64,
    /// What is reserved, volumes included.
    pub kept: Vec<Resource>,
    /// The agent on offer: its number.
    pub agent: u32,
    /// It is known by another id than before, and has what it had.
    pub renamed: bool,
    /// What was asked for in accepted offers beside launches, in words.
    pub deeds: Vec<String>,
    /// Tasks of an agent that is out of reach.
    pub lost: std::collections::BTreeSet<TaskId>,
    /// Reservations are not carried out.
    pub forgetful: bool,
}

pub fn id(text: &str) -> SpecId {
    PathId::parse(text).unwrap()
}

pub fn policy() -> Policy {
    Policy { min_revive_offers_interval: Duration::ZERO, max_instances_per_offer: None, ..Policy::default() }
}

pub fn sleep(instances: u32) -> AppUpdate {
    AppUpdate {
        cmd: Some("sleep 1000".to_owned()),
        instances: Some(instances),
        cpus: Some(Milli(100)),
        ..AppUpdate::default()
    }
}

/// Changes some fields of an app that exists.
pub fn cmd(text: &str) -> AppEdit {
    AppEdit::Merge(AppUpdate { cmd: Some(text.to_owned()), ..AppUpdate::default() })
}

pub fn instances(number: u32) -> AppEdit {
    AppEdit::Merge(AppUpdate { instances: Some(number), ..AppUpdate::default() })
}

pub fn kill(task: &TaskId, scale: bool, wipe: bool) -> Command {
    let victims = Victims::One { app: task.instance.spec.clone(), task: task.clone() };
    Command::Kill { victims, scale, wipe, force: false }
}

/// Lost agents are given up after a minute, and forgotten after a week.
pub fn patient() -> UnreachableStrategy {
    UnreachableStrategy::After {
        inactive: Duration::from_secs(60),
        expunge: Duration::from_secs(7 * 24 * 3600),
    }
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(policy())
    }

    pub fn with(policy: Policy) -> Rig {
        let now = Now { wall: Timestamp(1_700_000_000_000), tick: Tick(0) };
        let (core, batch) = Core::restore(Vec::new(), policy, 1, now);
        let mut rig = Rig {
            core,
            now,
            store: Vec::new(),
            tasks: BTreeMap::new(),
            calls: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            notices: Vec::new(),
            probes: Vec::new(),
            mute: false,
            keep: false,
            address: None,
            offers: 0,
            cpus: 1000,
            kept: Vec::new(),
            agent: 0,
            renamed: false,
            deeds: Vec::new(),
            forgetful: false,
            lost: Default::default(),
        };
        rig.take(batch);
        rig.subscribe(false);
        rig
    }

    pub fn subscribe(&mut self, again: bool) {
        let framework = FrameworkId::new("f");
        let (master, ui, region) = ("m".to_owned(), None, None);
        self.feed(Event::Engine(EngineEvent::Subscribed { framework, master, ui, region, again }));
        self.run();
    }

    pub fn feed(&mut self, event: Event) {
        let batch = self.core.step(event, self.now);
        self.take(batch);
        assert_eq!(self.core.audit(), Vec::<String>::new());
    }

    pub fn take(&mut self, batch: Batch) {
        self.store.extend(batch.writes);
        for act in batch.acts {
            match act {
                Act::Engine(call) => self.calls.push(call),
                Act::Reply(_, reply) => self.replies.push(reply),
                Act::Publish(notice) => {
                    self.events.push(notice.what.name().to_owned());
                    self.notices.push(notice.what);
                }
                Act::Probe(probe) => self.probes.push(probe),
            }
        }
    }

    pub fn ask(&mut self, command: Command) -> Reply {
        self.feed(Event::Asked { from: RequestId(1), command });
        self.replies.pop().expect("every command is answered in its step")
    }

    pub fn put(&mut self, app: &str, edit: AppEdit) -> Reply {
        self.ask(Command::EditApps { edits: vec![(id(app), edit)], force: false, origin: None })
    }

    pub fn view(&self) -> std::sync::Arc<View> {
        self.core.view()
    }

    /// Carries out calls until nothing more happens.
    pub fn run(&mut self) {
        while !self.calls.is_empty() {
            for call in std::mem::take(&mut self.calls) {
                match call {
                    Call::Accept { operations, .. } => {
                        operations.iter().for_each(|it| self.keep(it));
                        for launch in Operation::launches(&operations).cloned().collect::<Vec<_>>() {
                            for (task, launch) in each_task(launch) {
                                assert!(
                                    self.tasks.insert(task.clone(), launch).is_none(),
                                    "{task} launched twice"
                                );
                                if !self.mute {
                                    self.say(&task, TaskState::Running);
                                }
                            }
                        }
                        self.offer();
                    }
                    Call::Kill { .. } if self.keep => {}
                    // Of a pod all containers go.
                    Call::Kill { task, .. } => {
                        let is_meant =
                            |it: &TaskId| *it == task || TaskId { container: None, ..it.clone() } == task;
                        let reached = |it: &&TaskId| is_meant(it) && !self.lost.contains(it);
                        let meant: Vec<_> = self.tasks.keys().filter(reached).cloned().collect();
                        for task in meant {
                            self.tasks.remove(&task);
                            self.say(&task, TaskState::Killed);
                        }
                    }
                    Call::Revive(_) => self.offer(),
                    Call::Reconcile(tasks) => {
                        for (task, _) in tasks {
                            let state = if self.lost.contains(&task) {
                                TaskState::Unreachable
                            } else if self.tasks.contains_key(&task) {
                                TaskState::Running
                            } else {
                                TaskState::Unknown
                            };
                            self.say(&task, state);
                        }
                    }
                    Call::Decline { .. } | Call::Suppress(_) | Call::Acknowledge { .. } => {}
                }
            }
        }
    }

    /// Carries out what is not a launch.
    fn keep(&mut self, operation: &Operation) {
        let mut note = |what: &str, list: &[Resource]| self.deeds.push(format!("{what} {}", list.len()));
        match operation {
            Operation::Launch(_) => {}
            Operation::Reserve(list) => note("reserve", list),
            Operation::Create(list) => note("create", list),
            Operation::Destroy(list) => note("destroy", list),
            Operation::Unreserve(list) => note("unreserve", list),
        }
        if self.forgetful {
            return;
        }
        let plain = |it: &Resource| Resource { disk: None, ..it.clone() };
        match operation {
            Operation::Launch(_) => {}
            Operation::Reserve(list) => self.kept.extend(list.iter().cloned()),
            Operation::Create(list) => list.iter().for_each(|it| self.exchange(&plain(it), Some(it.clone()))),
            Operation::Destroy(list) => list.iter().for_each(|it| self.exchange(it, Some(plain(it)))),
            Operation::Unreserve(list) => list.iter().for_each(|it| self.exchange(it, None)),
        }
    }

    fn exchange(&mut self, old: &Resource, new: Option<Resource>) {
        // An offer made twice may be answered twice; the second answer finds nothing.
        let Some(at) = self.kept.iter().position(|it| it == old) else { return };
        self.kept.remove(at);
        self.kept.extend(new);
    }

    /// The ids of all volumes there are.
    pub fn volumes(&self) -> Vec<String> {
        self.kept.iter().filter_map(|it| it.volume()).map(str::to_owned).collect()
    }

    /// The agent of a task falls out of reach, or comes back.
    pub fn lose(&mut self, task: &TaskId) {
        self.lost.insert(task.clone());
        self.say(task, TaskState::Unreachable);
        self.run();
    }

    pub fn find(&mut self, task: &TaskId) {
        self.lost.remove(task);
        self.say(task, TaskState::Running);
        self.run();
    }

    pub fn say(&mut self, task: &TaskId, state: TaskState) {
        self.tell(task, state, None);
    }

    /// What the engine says of the check it carries out beside the task.
    pub fn say_healthy(&mut self, task: &TaskId, healthy: bool) {
        self.tell(task, TaskState::Running, Some(healthy));
    }

    fn tell(&mut self, task: &TaskId, state: TaskState, healthy: Option<bool>) {
        self.feed(Event::Engine(EngineEvent::Status(TaskStatus {
            task: task.clone(),
            state,
            agent: Some(AgentId::new("agent")),
            update: None,
            at: self.now.wall,
            message: format!("{state:?}"),
            reason: None,
            healthy,
            check: None,
            addresses: self
                .address
                .iter()
                .map(|it| IpAddress { address: (*it).into(), ipv6: false })
                .collect(),
            unreachable_since: None,
        })));
    }

    pub fn offer(&mut self) {
        self.offers += 1;
        let used: u64 = self.tasks.values().map(|it| it.resources.cpus.0).sum();
        let any = |amount| Resource::new(ANY_ROLE, amount);
        let offer = Offer {
            id: OfferId::new(self.offers.to_string()),
            agent: self.agent_id(),
            hostname: self.hostname().into(),
            role: ANY_ROLE.into(),
            resources: self
                .idle()
                .into_iter()
                .chain([
                    any(Amount::Cpus(Milli(self.cpus * 1000 - used))),
                    any(Amount::Mem(Milli::from_whole(1_000_000))),
                    any(Amount::Disk(Milli::from_whole(1_000_000))),
                    any(Amount::Ports(vec![PortRange { first: 31000, last: 39000 }])),
                ])
                .collect(),
            attributes: Default::default(),
            region: None,
            zone: None,
            unavailability: None,
        };
        self.feed(Event::Engine(EngineEvent::Offers(vec![offer])));
    }

    /// Other agents than the first have nothing reserved.
    fn idle(&self) -> Vec<Resource> {
        let used: Vec<&Resource> = self.tasks.values().flat_map(|it| &it.reserved).collect();
        let idle = self.kept.iter().filter(|it| self.agent == 0 && !used.contains(it));
        idle.cloned().collect()
    }

    pub fn agent_id(&self) -> AgentId {
        AgentId::new(match self.agent {
            0 if self.renamed => "agent-anew".to_owned(),
            0 => "agent".to_owned(),
            other => format!("agent{other}"),
        })
    }

    fn hostname(&self) -> String {
        if self.agent == 0 { "host".to_owned() } else { format!("host{}", self.agent) }
    }

    pub fn end(&mut self, task: &TaskId, state: TaskState) {
        assert!(self.tasks.remove(task).is_some());
        self.say(task, state);
        self.run();
    }

    /// Lets time pass, waking the core when it asks for it.
    pub fn pass(&mut self, time: Duration) {
        let until = Tick(self.now.tick.0) + time;
        while let Some((at, _)) = self.core.next_wakeup().filter(|(at, _)| *at <= until) {
            self.set_clock(at);
            self.feed(Event::Woke);
            self.run();
        }
        self.set_clock(until);
    }

    pub fn set_clock(&mut self, tick: Tick) {
        let step = tick - self.now.tick;
        self.now = Now { wall: self.now.wall + step, tick: tick.max(self.now.tick) };
    }

    /// Names and kinds of the actions of all steps that began.
    pub fn steps_begun(&self) -> Vec<(String, ActionKind)> {
        let began = self.notices.iter().filter_map(|it| match it {
            What::DeploymentStep { how: StepNews::Began, step, .. } => Some(step),
            _ => None,
        });
        began.flat_map(|it| &it.actions).map(|it| (it.app.to_string(), it.kind)).collect()
    }

    pub fn condition(&self, task: &TaskId) -> Option<Condition> {
        self.view().task(task).map(|it| it.condition)
    }

    /// All tasks of an app that live.
    pub fn tasks_of(&self, app: &str) -> Vec<TaskId> {
        self.tasks.keys().filter(|it| it.instance.spec == id(app)).cloned().collect()
    }

    pub fn task_of(&self, app: &str) -> TaskId {
        self.tasks.keys().find(|it| it.instance.spec == id(app)).expect("a task of the app").clone()
    }

    pub fn count(&self, app: &str) -> usize {
        self.tasks.keys().filter(|it| it.instance.spec == id(app)).count()
    }

    pub fn restart(&mut self) {
        self.restart_with(policy());
    }

    pub fn restart_with(&mut self, policy: Policy) {
        self.restore(policy);
        self.subscribe(false);
    }

    /// The beginning of a restart; the engine is not there yet.
    pub fn restore(&mut self, policy: Policy) {
        let saved = live(&self.store);
        let (core, batch) = Core::restore(saved, policy, 99, self.now);
        self.core = core;
        self.calls.clear();
        self.take(batch);
    }
}

/// What is started under each id: one task, or the containers of a pod.
fn each_task(launch: Launch) -> Vec<(TaskId, Launch)> {
    if launch.containers.is_empty() {
        return vec![(launch.task.clone(), launch)];
    }
    let part = |it: &ContainerLaunch| Launch { resources: it.resources, ..launch.clone() };
    launch.containers.iter().map(|it| (it.task.clone(), part(it))).collect()
}

/// The writes of which something is left, as a store would give them back.
pub fn live(store: &[Write]) -> Vec<Write> {
    let mut kept: BTreeMap<String, Write> = BTreeMap::new();
    for write in store {
        let (key, gone) = match write {
            Write::App(it) => (format!("app {} {:?}", it.id, it.version), false),
            Write::AppRemoved { id, at } => (format!("app {id} {at:?}"), false),
            Write::AppVersionForgotten { id, version } => (format!("app {id} {version:?}"), true),
            Write::Group(it) => (format!("group {} {:?}", it.id, it.version), false),
            Write::GroupRemoved { id, at } => (format!("group {id} {at:?}"), false),
            Write::GroupVersionForgotten { id, version } => (format!("group {id} {version:?}"), true),
            Write::Root { version } => (format!("root {version:?}"), false),
            Write::RootForgotten { version } => (format!("root {version:?}"), true),
            Write::Instance(it) => (format!("instance {}", it.id), false),
            Write::InstanceGone(id) => (format!("instance {id}"), true),
            Write::Deployment(it) => (format!("deployment {}", it.id), false),
            Write::DeploymentGone(id) => (format!("deployment {id}"), true),
            Write::Progress(it) => (format!("progress {}", it.deployment), false),
            Write::ProgressGone(id) => (format!("progress {id}"), true),
            Write::Failed(it) => (format!("failed {}", it.deployment), false),
            Write::FailedForgotten(id) => (format!("failed {id}"), true),
            Write::Failure(it) => (format!("failure {}", it.spec), false),
            Write::FailureGone(id) => (format!("failure {id}"), true),
            Write::Delay { app, .. } => (format!("delay {app}"), false),
            Write::DelayGone(id) => (format!("delay {id}"), true),
            Write::Framework(_) => ("framework".to_owned(), false),
            Write::Began(_) => ("began".to_owned(), false),
            Write::Callback(url) => (format!("callback {url}"), false),
            Write::CallbackGone(url) => (format!("callback {url}"), true),
            Write::EventsBegin(_) => ("events".to_owned(), false),
        };
        if gone {
            kept.remove(&key);
        } else {
            kept.insert(key, write.clone());
        }
    }
    kept.into_values().collect()
}

#[track_caller]
pub fn deployed(reply: Reply) -> DeploymentId {
    match reply {
        Reply::Deployed { deployment, .. } => deployment,
        other => panic!("not deployed: {other:?}"),
    }
}
