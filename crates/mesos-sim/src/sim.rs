//! The simulation as one state machine: what comes in, what goes out, and the clock.
//!
//! ```text
//! call, HTTP request ─┐                          ┌─► frame, end of a stream ─► shell
//! order of an admin ──┼──► Sim, at a given time ─┤
//! Sim::run_until ─────┘                          └─► start, signal (real processes)
//! ```
//! Nothing here reads a clock or a socket. What is due later waits in [`Timers`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use marathon_mesos_v1::json::Json;
use marathon_mesos_v1::{Codec, Event, EventType, Message, record};

use crate::audit::Audit;
use crate::config::{AgentShape, Config};
use crate::ids::Ids;
use crate::metrics::Counters;
use crate::resources::Resources;
use crate::script::Plan;
use crate::slab::Slab;
use crate::state::{
    Agent, Conn, Executor, Framework, Index, InverseOffer, Link, Offer, OperationRecord, Seat, Shares, Task,
    shares_of,
};
use crate::time::{Time, Timer, Timers};

/// What the simulation wants done outside.
#[derive(Debug)]
pub enum Output {
    /// One record of a stream.
    Frame {
        conn: Conn,
        bytes: Bytes,
    },
    /// The end of a stream: with a proper last chunk, or as when a process dies.
    Close {
        conn: Conn,
        clean: bool,
    },
    /// `process` is a number that is used once.
    Start {
        process: u32,
        job: Box<Job>,
    },
    Signal {
        process: u32,
        hard: bool,
    },
}

/// A command for a real process.
#[derive(Debug, Clone)]
pub struct Job {
    pub directory: String,
    pub command: marathon_mesos_v1::CommandInfo,
    pub task_id: String,
}

/// A stream of operator events.
#[derive(Debug)]
pub struct Watcher {
    pub codec: Codec,
}

#[derive(Debug, Default)]
pub struct RoleTotals {
    pub allocated: Shares,
    pub allocations: u64,
}

pub struct Sim {
    pub config: Config,
    pub now: Time,
    pub(crate) ids: Ids,
    pub(crate) timers: Timers,
    pub(crate) out: Vec<Output>,
    pub seats: Vec<Seat>,
    /// Who leads, and whom the followers believe to lead.
    pub leader: Option<usize>,
    pub announced: Option<usize>,
    pub(crate) election: u32,
    /// A master of another program that leads: host name and port.
    pub foreign: Option<(String, u16)>,
    /// Set when a real ZooKeeper decides who leads.
    pub external_election: bool,
    pub frameworks: Vec<Framework>,
    pub(crate) framework_ids: Index<Arc<str>, usize>,
    pub(crate) completed: VecDeque<usize>,
    pub agents: Vec<Agent>,
    pub(crate) agent_ids: Index<Arc<str>, usize>,
    pub tasks: Slab<Task>,
    pub executors: Slab<Executor>,
    pub(crate) offers: BTreeMap<u64, Offer>,
    pub(crate) inverse_offers: BTreeMap<u64, InverseOffer>,
    pub(crate) operations: BTreeMap<u64, OperationRecord>,
    pub(crate) streams: BTreeMap<Conn, usize>,
    pub(crate) watchers: BTreeMap<Conn, Watcher>,
    pub(crate) roles: BTreeMap<Arc<str>, RoleTotals>,
    pub(crate) totals: Shares,
    pub(crate) next_framework: u64,
    pub(crate) next_agent: u64,
    pub(crate) next_offer: u64,
    pub(crate) next_operation: u64,
    pub(crate) next_pid: u32,
    /// Tasks that real processes carry out, by the number of the process.
    pub(crate) processes: BTreeMap<u32, usize>,
    pub(crate) next_start: usize,
    /// Tells sends and wake-ups of tasks apart; 0 is none.
    pub(crate) serial: u32,
    pub(crate) schedule: serde_json::Value,
    pub(crate) plans: Index<String, Arc<Plan>>,
    pub counters: Counters,
    pub audit: Audit,
    pub(crate) journal: crate::journal::Journal,
    /// Faults that an admin switched on.
    pub faults: crate::faults::Switches,
}

impl Sim {
    pub fn new(config: Config, now: Time) -> Sim {
        let mut sim = Sim {
            ids: Ids::new(config.seed),
            now,
            timers: Timers::default(),
            out: Vec::new(),
            seats: Vec::new(),
            leader: None,
            announced: None,
            election: 0,
            foreign: None,
            external_election: false,
            frameworks: Vec::new(),
            framework_ids: Index::default(),
            completed: VecDeque::new(),
            agents: Vec::new(),
            agent_ids: Index::default(),
            tasks: Slab::default(),
            executors: Slab::default(),
            offers: BTreeMap::new(),
            inverse_offers: BTreeMap::new(),
            operations: BTreeMap::new(),
            streams: BTreeMap::new(),
            watchers: BTreeMap::new(),
            roles: BTreeMap::new(),
            totals: Shares::default(),
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            next_operation: 0,
            next_pid: 1000,
            processes: BTreeMap::new(),
            next_start: 0,
            serial: 0,
            schedule: serde_json::json!({}),
            plans: Index::default(),
            counters: Counters::default(),
            audit: Audit::default(),
            journal: crate::journal::Journal::default(),
            faults: crate::faults::Switches::default(),
            config,
        };
        if !sim.config.manual_allocation {
            sim.timers.add(now.plus(sim.config.allocation_interval), Timer::Allocate);
        }
        if sim.config.faults > 0.0 {
            sim.timers.add(now.plus(crate::faults::EVERY), Timer::Faults);
        }
        sim
    }

    /// Adds a master process. The first one leads, unless ZooKeeper decides.
    pub fn add_seat(&mut self, hostname: &str, ip: [u8; 4], port: u16) -> usize {
        let id = self.ids.uuid();
        self.seats.push(Seat {
            id,
            hostname: hostname.to_owned(),
            ip,
            port,
            up: true,
            started: self.now,
            elected: None,
            recovering: false,
            starting: false,
        });
        let seat = self.seats.len() - 1;
        if self.leader.is_none() && !self.external_election {
            self.lead(seat);
        }
        seat
    }

    /// Adds an agent that is registered from the start.
    pub fn add_agent(&mut self, shape: AgentShape) -> usize {
        let id: Arc<str> = Arc::from(format!("{}-S{}", self.master_id(), self.next_agent));
        self.next_agent += 1;
        let agent = self.agents.len();
        self.agent_ids.insert(id.clone(), agent);
        add(&mut self.totals, shares_of(&shape.resources), 1);
        self.agents.push(Agent {
            id,
            hostname: shape.hostname,
            ip: shape.ip,
            port: shape.port,
            attributes: shape.attributes,
            domain: shape.domain,
            free: shape.resources.clone(),
            total: shape.resources,
            process_up: true,
            partitioned: false,
            link: Link::Registered,
            registered: self.now,
            reregistered: None,
            deactivated: false,
            drain: None,
            unavailability: None,
            answers: Vec::new(),
            inverse_after: BTreeMap::new(),
            tasks: Vec::new(),
            executors: Vec::new(),
            offers: Vec::new(),
            filters: Vec::new(),
            files: std::collections::BTreeSet::new(),
            kills: Vec::new(),
            life: 0,
            started: self.now,
        });
        self.tell_agent_added(agent);
        self.allocate(Some(agent));
        agent
    }

    pub fn master_id(&self) -> &str {
        let seat = self.leader.or(self.announced).unwrap_or(0);
        self.seats.get(seat).map_or("no-master", |it| it.id.as_str())
    }

    /// When something is due next.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Carries out what is due, up to this moment, and moves the clock there.
    pub fn run_until(&mut self, now: Time) {
        while let Some((at, timer)) = self.timers.take_due(now) {
            self.now = self.now.max(at);
            self.fire(timer);
        }
        self.now = self.now.max(now);
    }

    /// Takes what is to be done outside, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Heartbeat { conn } => self.heartbeat(conn),
            Timer::Allocate => {
                self.allocate(None);
                self.timers.add(self.now.plus(self.config.allocation_interval), Timer::Allocate);
            }
            Timer::Task { task, life } => self.task_wakes(task, life),
            Timer::Resend { task, send } => self.resend(task, send),
            Timer::Delayed { task, send } => self.deliver_delayed(task, send),
            Timer::ResendOperation { operation, send } => self.resend_operation(operation, send),
            Timer::OfferTimeout { offer } => self.rescind(offer),
            Timer::Unreachable { agent, life } => {
                if self.agents[agent].life == life {
                    self.mark_unreachable(agent, "health check timed out");
                }
            }
            Timer::Register { agent, life } => {
                if self.agents[agent].life == life {
                    self.register(agent);
                }
            }
            Timer::FrameworkGone { framework, life } => {
                let it = &self.frameworks[framework];
                if it.life == life && it.subscription.is_none() && it.removed.is_none() {
                    self.remove_framework(framework);
                }
            }
            Timer::ExecutorExits { executor } => self.executor_exits(executor),
            Timer::Elect { life } => self.elect(life),
            Timer::Faults => {
                self.draw_faults();
                self.timers.add(self.now.plus(crate::faults::EVERY), Timer::Faults);
            }
        }
    }

    fn heartbeat(&mut self, conn: Conn) {
        if self.streams.contains_key(&conn) {
            self.send(conn, &Event { r#type: Some(EventType::HEARTBEAT as i32), ..Event::default() });
        } else if let Some(watcher) = self.watchers.get(&conn) {
            let bytes = match watcher.codec {
                Codec::Json => Bytes::from_static(b"{\"type\":\"HEARTBEAT\"}"),
                Codec::Protobuf => Bytes::from_static(&[0x08, 0x09]),
            };
            self.out.push(Output::Frame { conn, bytes: record::encode(&bytes) });
        } else {
            return;
        }
        self.timers.add(self.now.plus(self.config.heartbeat), Timer::Heartbeat { conn });
    }

    /// Sends an event to a framework, if it listens; otherwise the event is lost, as in Mesos.
    pub(crate) fn tell(&mut self, framework: usize, event: &Event) {
        if let Some(conn) = self.frameworks[framework].subscription.as_ref().map(|it| it.conn) {
            self.send(conn, event);
        }
    }

    fn send(&mut self, conn: Conn, event: &Event) {
        let Some(&framework) = self.streams.get(&conn) else { return };
        let Some(subscription) = &self.frameworks[framework].subscription else { return };
        self.counters.event(event.r#type);
        let bytes = encode(subscription.codec, event);
        self.out.push(Output::Frame { conn, bytes });
    }

    /// Offered or used resources count for a role and a framework.
    pub(crate) fn charge(&mut self, framework: usize, role: &Arc<str>, resources: &Resources, sign: i64) {
        let shares = shares_of(resources);
        let it = &mut self.frameworks[framework];
        match it.shares.get_mut(role) {
            Some(mine) => add(mine, shares, sign),
            None => {
                let mut mine = Shares::default();
                add(&mut mine, shares, sign);
                it.shares.insert(role.clone(), mine);
            }
        }
        if !self.roles.contains_key(role) {
            self.roles.insert(role.clone(), RoleTotals::default());
        }
        if let Some(totals) = self.roles.get_mut(role) {
            add(&mut totals.allocated, shares, sign);
        }
    }
}

pub(crate) fn add(to: &mut Shares, what: Shares, sign: i64) {
    for (mine, more) in to.iter_mut().zip(what) {
        *mine += sign * more;
    }
}

/// One event as a record.
pub(crate) fn encode<M: Message + Json>(codec: Codec, event: &M) -> Bytes {
    match codec {
        Codec::Protobuf => {
            let length = event.encoded_len();
            let mut out = Vec::with_capacity(length + 8);
            out.extend_from_slice(length.to_string().as_bytes());
            out.push(b'\n');
            event.encode_raw_into(&mut out);
            Bytes::from(out)
        }
        Codec::Json => record::encode(&codec.encode(event)),
    }
}

trait EncodeInto {
    fn encode_raw_into(&self, out: &mut Vec<u8>);
}

impl<M: Message> EncodeInto for M {
    fn encode_raw_into(&self, out: &mut Vec<u8>) {
        // A Vec grows as needed, so encoding into it cannot fail.
        let _ = self.encode(out);
    }
}
