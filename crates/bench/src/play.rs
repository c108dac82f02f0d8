//! Core, store and HTTP server in front of a simulated cluster: `marathon-bench play DIR`.
//!
//! Tasks start and end at once, and there is room for all of them, so what is measured is deciding, storing
//! (one flush for all that waits, as in the server), answering and telling.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use marathon_core::{Core, Policy};
use marathon_http::{Asker, EventHub, Http};
use marathon_model::act::{Act, Batch};
use marathon_model::command::Reply;
use marathon_model::event::Event;
use marathon_model::id::{AgentId, FrameworkId, OfferId, RequestId, TaskId};
use marathon_model::offer::{Call, EngineEvent, Offer, Operation, TaskState, TaskStatus};
use marathon_model::resources::{ANY_ROLE, Amount, Milli, Resource};
use marathon_model::view::View;
use marathon_store::{Entry, Options, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::hold::{Asked, Clock, NoLogging, send, settings};
use crate::{Outcome, Place, procs, raw};

pub const COMMAND: &str = "play";
/// As in the server.
const QUEUE: usize = 4096;
const ROUND_MAX: usize = 1024;
const SEED: u64 = 1;
const AGENTS: usize = 10;

/// `args`: a folder for the store. Prints the port it listens on.
pub fn main(args: &[String]) -> Outcome<()> {
    let folder = args.first().ok_or("usage: play DIR")?;
    let clock = Clock(Instant::now());
    let (mut store, pairs) = Store::open(Path::new(folder), Options::default())?;
    let loaded = marathon_records::load(pairs)?;
    let new: Vec<Entry> =
        loaded.changes.into_iter().map(|it| Entry { key: it.key, value: it.value }).collect();
    store.commit(&new)?;
    let policy = Policy {
        max_instances_per_offer: None,
        min_revive_offers_interval: Duration::ZERO,
        ..Policy::default()
    };
    let (core, first) = Core::restore(loaded.writes, policy, SEED, clock.now());
    let views = Arc::new(ArcSwap::new(core.view()));
    let hub = Arc::new(EventHub::new(100_000, 1));
    let (sender, receiver) = sync_channel(QUEUE);
    let http = Arc::new(Http::new(
        views.clone(),
        Asker::new(move |command, reply| send(&sender, (command, reply))),
        hub.clone(),
        settings(),
        Box::new(NoLogging),
        Box::new(|| {}),
    ));
    http.set_ready();
    let term = Term { core, store, views, hub, clock, cluster: Cluster::default(), waiting: HashMap::new() };
    std::thread::spawn(move || term.run(first, &receiver));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        std::io::Write::flush(&mut std::io::stdout())?;
        marathon_http::serve(listener, http, std::future::pending()).await;
        Ok(())
    })
}

/// The loop of the server, with its cluster at hand.
struct Term {
    core: Core,
    store: Store,
    views: Arc<ArcSwap<View>>,
    hub: Arc<EventHub>,
    clock: Clock,
    cluster: Cluster,
    waiting: HashMap<RequestId, oneshot::Sender<Reply>>,
}

impl Term {
    fn run(mut self, first: Batch, asked: &Receiver<Asked>) {
        self.cluster.news.push_back(EngineEvent::Subscribed {
            framework: FrameworkId::new("bench"),
            master: "bench".to_owned(),
            ui: None,
            region: None,
            again: false,
        });
        self.carry_out(first);
        let mut number = 0;
        loop {
            let mut questions: Vec<Asked> = Vec::new();
            if self.cluster.news.is_empty() {
                let now = self.clock.now();
                let pause = self.core.next_wakeup().map_or(Duration::from_secs(60), |(at, _)| at - now.tick);
                match asked.recv_timeout(pause) {
                    Ok(question) => questions.push(question),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            questions.extend(asked.try_iter().take(ROUND_MAX));
            let mut batch = Batch::default();
            let taken = self.cluster.news.len().min(ROUND_MAX);
            for event in self.cluster.news.drain(..taken).collect::<Vec<_>>() {
                batch.append(self.core.step(Event::Engine(event), self.clock.now()));
            }
            for (command, reply) in questions {
                number += 1;
                self.waiting.insert(RequestId(number), reply);
                let event = Event::Asked { from: RequestId(number), command };
                batch.append(self.core.step(event, self.clock.now()));
            }
            let now = self.clock.now();
            if self.core.next_wakeup().is_some_and(|(at, _)| at <= now.tick) {
                batch.append(self.core.step(Event::Woke, now));
            }
            self.carry_out(batch);
        }
    }

    fn carry_out(&mut self, batch: Batch) {
        let records = batch.writes.iter().map(marathon_records::encode);
        let entries: Vec<Entry> = records.map(|it| Entry { key: it.key, value: it.value }).collect();
        if !entries.is_empty() {
            self.store.commit(&entries).expect("a bench has room on its disk");
        }
        self.views.store(self.core.view());
        for act in batch.acts {
            match act {
                Act::Reply(to, answer) => {
                    // A client that went away wants no answer.
                    let _ = self.waiting.remove(&to).map(|it| it.send(answer));
                }
                Act::Publish(notice) => self.hub.publish(notice),
                Act::Engine(call) => self.cluster.take(call, &self.clock),
                Act::Probe(_) => {}
            }
        }
        if self.store.wants_snapshot() {
            let _ = self.store.begin_snapshot(marathon_records::snapshot(&self.core.view()));
        }
    }
}

/// Does what it is told, at once.
#[derive(Default)]
struct Cluster {
    news: VecDeque<EngineEvent>,
    offers: u64,
}

impl Cluster {
    fn take(&mut self, call: Call, clock: &Clock) {
        match call {
            Call::Accept { operations, .. } => {
                for launch in Operation::launches(&operations) {
                    self.tell(&launch.task, &launch.agent, TaskState::Running, clock);
                }
            }
            Call::Kill { task, agent, .. } => {
                let agent = agent.unwrap_or_else(|| AgentId::new("agent0"));
                self.tell(&task, &agent, TaskState::Killed, clock);
            }
            Call::Revive(_) => {
                let offers = (0..AGENTS).map(|at| self.offer(at)).collect();
                self.news.push_back(EngineEvent::Offers(offers));
            }
            Call::Decline { .. } | Call::Suppress(_) | Call::Acknowledge { .. } | Call::Reconcile(_) => {}
        }
    }

    fn tell(&mut self, task: &TaskId, agent: &AgentId, state: TaskState, clock: &Clock) {
        self.news.push_back(EngineEvent::Status(TaskStatus {
            task: task.clone(),
            state,
            agent: Some(agent.clone()),
            update: Some(uuid::Uuid::nil()),
            at: clock.now().wall,
            message: String::new(),
            reason: None,
            healthy: None,
            check: None,
            addresses: Vec::new(),
            unreachable_since: None,
        }));
    }

    fn offer(&mut self, at: usize) -> Offer {
        self.offers += 1;
        let plenty = Milli::from_whole(1_000_000);
        let any = |amount| Resource::new(ANY_ROLE, amount);
        Offer {
            id: OfferId::new(self.offers.to_string()),
            agent: AgentId::new(format!("agent{at}")),
            hostname: format!("host{at}").into(),
            role: ANY_ROLE.into(),
            resources: vec![any(Amount::Cpus(plenty)), any(Amount::Mem(plenty)), any(Amount::Disk(plenty))],
            attributes: Default::default(),
            region: None,
            zone: None,
            unavailability: None,
        }
    }
}

/// A running one.
pub struct Played {
    child: Child,
    pub port: u16,
    dir: PathBuf,
}

impl Played {
    pub fn start(place: &Place) -> Outcome<Played> {
        let dir = procs::folder(&place.tmp, "played-")?;
        let (child, port) = raw::start_self(&[COMMAND, &dir.to_string_lossy()])?;
        Ok(Played { child, port, dir })
    }

    pub fn stop(self) -> Outcome<()> {
        raw::stop(self.child)?;
        procs::remove_folder(&self.dir);
        Ok(())
    }
}
