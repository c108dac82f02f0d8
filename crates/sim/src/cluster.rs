//! The simulated engine: agents and their resources, offers, and what becomes of calls.
//!
//! It behaves as a Mesos master with its agents does. `task` holds the life of tasks and their updates.

use std::collections::BTreeMap;
use std::time::Duration;

use marathon_model::id::{AgentId, OfferId, TaskId};
use marathon_model::offer::{Call, EngineEvent, Offer, Operation, Reason, TaskState, TaskStatus};
use marathon_model::resources::{Resource, Role};
use marathon_model::time::Timestamp;

use crate::agenda::{Agenda, Happening, Millis};
use crate::agent::{Agent, Link};
use crate::dice::Dice;
use crate::kept;
use crate::plan::{AgentPlan, Faults, Plan};
use crate::pod;
use crate::room::{emptied, is_empty, is_nothing, take};
use crate::task::Task;

/// How long the engine waits for an agent before it reports its tasks unreachable.
const AGENT_TIMEOUT: Millis = 75_000;
const ALLOCATION_INTERVAL: Millis = 1_000;

#[derive(Debug)]
pub struct Cluster {
    pub agents: Vec<Agent>,
    pub offers: BTreeMap<u64, OpenOffer>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub faults: Faults,
    pub dice: Dice,
    /// The number of the connection that stands, if one does.
    pub connection: Option<u64>,
    /// Calls of a broken connection that were already on their way: up to this moment they arrive.
    cut: (u64, Millis),
    role: Role,
    suppressed: bool,
    allocating: bool,
    connections: u64,
    next_offer: u64,
    next_agent: u64,
    /// When the latest word about a task reaches the scheduler; the next one comes no sooner.
    pub told: BTreeMap<TaskId, Millis>,
    /// Offers are told in the order they were made and taken back.
    told_offers: Millis,
    pub healed: bool,
}

#[derive(Debug)]
pub struct OpenOffer {
    pub agent: usize,
    pub maintenance: Option<(Timestamp, Duration)>,
    pub resources: Vec<Resource>,
    pub kept: Vec<Resource>,
}

impl Cluster {
    pub fn new(plan: &Plan) -> Cluster {
        let mut cluster = Cluster {
            agents: Vec::new(),
            offers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            faults: plan.faults,
            dice: Dice::new(plan.seed, 1),
            connection: None,
            cut: (0, 0),
            role: plan.policy.rules.mesos_role.clone(),
            suppressed: true,
            allocating: false,
            connections: 0,
            next_offer: 0,
            next_agent: 0,
            told: BTreeMap::new(),
            told_offers: 0,
            healed: false,
        };
        for agent in &plan.agents {
            cluster.add_agent(agent.clone());
        }
        cluster
    }

    pub fn add_agent(&mut self, plan: AgentPlan) {
        self.next_agent += 1;
        let id = AgentId::new(format!("agent-{}", self.next_agent));
        let strangers = self.next_agent.is_multiple_of(3);
        let kept = if strangers { kept::strangers() } else { Vec::new() };
        self.agents.push(Agent::new(id, plan, kept, strangers));
    }

    /// A scheduler subscribes.
    pub fn connect(&mut self, agenda: &mut Agenda) -> u64 {
        self.connections += 1;
        self.connection = Some(self.connections);
        self.suppressed = false;
        self.told_offers = agenda.now;
        for agent in &mut self.agents {
            agent.unfilter();
        }
        self.told.clear();
        self.allocate_soon(agenda, 10);
        self.connections
    }

    /// The connection breaks: what was on its way to the scheduler is lost, what was on its way to the
    /// engine arrives up to some point.
    pub fn disconnect(&mut self, now: Millis) {
        let Some(connection) = self.connection.take() else { return };
        self.cut = (connection, now + self.dice.between(0, 30));
        for (_, offer) in std::mem::take(&mut self.offers) {
            self.agents[offer.agent].take_back(&offer.resources);
        }
    }

    pub fn hears(&self, connection: u64, now: Millis) -> bool {
        self.connection == Some(connection) || self.cut.0 == connection && now <= self.cut.1
    }

    fn allocate_soon(&mut self, agenda: &mut Agenda, delay: Millis) {
        if !self.allocating {
            self.allocating = true;
            agenda.after(delay, Happening::Allocate);
        }
    }

    /// Offers everything that is free and not held back by a filter.
    pub fn allocate(&mut self, agenda: &mut Agenda) {
        self.allocating = false;
        if self.connection.is_none() || self.suppressed {
            return;
        }
        self.allocate_soon(agenda, ALLOCATION_INTERVAL);
        let now = agenda.now;
        let mut made = Vec::new();
        for at in 0..self.agents.len() {
            if !matches!(self.agents[at].link, Link::Up | Link::Cut) || self.agents[at].is_still_filtered(now)
            {
                continue;
            }
            let idle = self.idle(at);
            let agent = &mut self.agents[at];
            let nothing = is_empty(&agent.free) && idle.is_empty();
            if nothing || agent.is_filtered(now, &idle) {
                continue;
            }
            self.next_offer += 1;
            // A framework of several roles gets offers for each; users enforce the role of one group.
            let enforced = *self.role != *marathon_model::resources::ANY_ROLE && self.dice.chance(0.5);
            let resources = std::mem::replace(&mut agent.free, emptied(&agent.plan.resources));
            let mut offer = Offer {
                id: OfferId::new(format!("o{}", self.next_offer)),
                agent: agent.id.clone(),
                hostname: agent.plan.host.clone(),
                role: if enforced { "shop".into() } else { self.role.clone() },
                resources: resources.iter().filter(|it| !is_nothing(&it.amount)).cloned().collect(),
                attributes: agent.plan.attributes.clone(),
                region: Some(agent.plan.region.clone()),
                zone: Some(agent.plan.zone.clone()),
                unavailability: agent.maintenance.map(|(start, length)| (start, Some(length))),
            };
            let kept = kept::listed(&offer, &idle);
            offer.resources.extend(kept.iter().cloned());
            made.push(offer);
            let maintenance = agent.maintenance;
            self.offers.insert(self.next_offer, OpenOffer { agent: at, maintenance, resources, kept });
        }
        if !made.is_empty() {
            self.tell_in_order(agenda, EngineEvent::Offers(made));
        }
    }

    fn tell_in_order(&mut self, agenda: &mut Agenda, event: EngineEvent) {
        self.told_offers = self.told_offers.max(agenda.now + self.dice.between(1, 20));
        self.tell(agenda, self.told_offers, event);
    }

    pub fn tell(&self, agenda: &mut Agenda, at: Millis, event: EngineEvent) {
        if let Some(connection) = self.connection {
            agenda.at(at, Happening::Told { connection, event });
        }
    }

    /// An operator announces that an agent will be worked on. Its offers are taken back and made anew.
    pub fn maintain(&mut self, agenda: &mut Agenda, now: Timestamp) {
        let at = self.dice.between(0, self.agents.len() as u64 - 1) as usize;
        let start = now + Duration::from_millis(self.dice.between(0, 120_000));
        let length = Duration::from_millis(self.dice.around(240_000));
        self.agents[at].maintenance = Some((start, length));
        let open: Vec<u64> = self.offers.iter().filter(|it| it.1.agent == at).map(|it| *it.0).collect();
        for number in open {
            self.withdraw(agenda, number);
        }
    }

    /// Takes back one open offer.
    pub fn rescind(&mut self, agenda: &mut Agenda) {
        let open: Vec<u64> = self.offers.keys().copied().collect();
        if !open.is_empty() {
            let number = *self.dice.pick(&open);
            self.withdraw(agenda, number);
        }
    }

    fn withdraw(&mut self, agenda: &mut Agenda, number: u64) {
        if let Some(offer) = self.offers.remove(&number) {
            self.agents[offer.agent].take_back(&offer.resources);
            self.tell_in_order(agenda, EngineEvent::Rescinded(OfferId::new(format!("o{number}"))));
        }
    }

    pub fn call(&mut self, agenda: &mut Agenda, call: Call) {
        match call {
            Call::Accept { offer, operations } => {
                self.accept(agenda, &offer, operations);
            }
            Call::Decline { offers, hold } => {
                for offer in offers {
                    self.decline(agenda.now, &offer, hold);
                }
            }
            Call::Revive(_) => {
                self.suppressed = false;
                for agent in &mut self.agents {
                    agent.unfilter();
                }
                self.allocate_soon(agenda, 5);
            }
            Call::Suppress(_) => self.suppressed = true,
            Call::Kill { task, agent, grace: _ } => self.kill_all(agenda, &task, agent),
            Call::Acknowledge { task, update, .. } => self.acknowledge(agenda, &task, update),
            Call::Reconcile(tasks) if tasks.is_empty() => {
                let live: Vec<TaskId> =
                    self.tasks.iter().filter(|(_, it)| !it.ended).map(|it| it.0.clone()).collect();
                for task in live {
                    if matches!(self.agents[self.tasks[&task].agent].link, Link::Up | Link::Cut) {
                        self.answer(agenda, &task, None);
                    }
                }
            }
            Call::Reconcile(tasks) => {
                for (task, agent) in tasks {
                    self.answer(agenda, &task, agent);
                }
            }
        }
    }

    fn decline(&mut self, now: Millis, offer: &OfferId, hold: Duration) {
        let Some(offer) = number(offer).and_then(|it| self.offers.remove(&it)) else { return };
        let agent = offer.agent;
        self.agents[agent].refuse(offer, now + hold.as_millis() as u64);
    }

    fn accept(&mut self, agenda: &mut Agenda, id: &OfferId, operations: Vec<Operation>) {
        let Some(mut offer) = number(id).and_then(|it| self.offers.remove(&it)) else {
            // Taken back meanwhile.
            let tasks = Operation::launches(&operations)
                .flat_map(|it| pod::ids(it).into_iter().map(|id| (id, it.agent.clone())));
            for (task, agent) in tasks.collect::<Vec<_>>() {
                let status = answer(task, TaskState::Dropped, Some(agent), Some(Reason::InvalidOffers));
                let at = agenda.now + self.dice.between(1, 20);
                self.tell(agenda, at, EngineEvent::Status(status));
            }
            return;
        };
        // The core launches last of all.
        operations.iter().for_each(|it| self.keep(&mut offer, it));
        for launch in Operation::launches(&operations) {
            // Checked before the call was sent: `Checks::launch_fits`.
            let resources = match launch.reserved.is_empty() {
                true => take(&mut offer.resources, launch).unwrap_or_default(),
                false => Vec::new(),
            };
            self.launch_all(agenda, offer.agent, resources, launch);
        }
        self.agents[offer.agent].take_back(&offer.resources);
    }

    /// What the engine knows of a task, told without the guarantees of an update.
    pub fn answer(&mut self, agenda: &mut Agenda, id: &TaskId, agent: Option<AgentId>) {
        let known = self.tasks.get(id).map(|it| (it.agent, it.state));
        let at_agent = agent.as_ref().and_then(|id| self.agents.iter().position(|it| it.id == *id));
        let link = known.map(|it| it.0).or(at_agent).map(|it| self.agents[it].link);
        let state = match (link, known) {
            (Some(Link::Up | Link::Cut), Some((_, state))) => state,
            (Some(Link::Up | Link::Cut), None) => TaskState::Gone,
            (Some(Link::Missed | Link::Dead), _) => TaskState::Unreachable,
            (Some(Link::MarkedGone), _) => TaskState::GoneByOperator,
            (None, _) => TaskState::Unknown,
        };
        let agent = known.map(|it| self.agents[it.0].id.clone()).or(agent);
        self.tell_status(agenda, answer(id.clone(), state, agent, Some(Reason::Reconciliation)));
    }

    /// An agent falls out of reach.
    pub fn cut(&mut self, agenda: &mut Agenda) {
        let up: Vec<usize> = (0..self.agents.len()).filter(|it| self.agents[*it].link == Link::Up).collect();
        if up.is_empty() {
            return;
        }
        let agent = *self.dice.pick(&up);
        self.agents[agent].link = Link::Cut;
        self.agents[agent].cuts += 1;
        let cut = self.agents[agent].cuts;
        agenda.after(AGENT_TIMEOUT, Happening::AgentMissed { agent });
        if !self.dice.chance(self.faults.agent_gone) {
            let length = self.dice.around(120_000);
            agenda.after(length, Happening::AgentBack { agent, cut });
        }
    }

    /// The engine stops waiting for an agent. One that is never to return is replaced by another.
    pub fn miss(&mut self, agenda: &mut Agenda, agent: usize) {
        if self.agents[agent].link != Link::Cut {
            return;
        }
        let gone = self.dice.chance(self.faults.agent_gone);
        self.agents[agent].link = if gone { Link::Dead } else { Link::Missed };
        let open: Vec<u64> = self.offers.iter().filter(|it| it.1.agent == agent).map(|it| *it.0).collect();
        for number in open {
            self.withdraw(agenda, number);
        }
        self.report_all(agenda, agent, TaskState::Unreachable);
        if gone {
            for task in self.tasks.values_mut().filter(|it| it.agent == agent) {
                self.agents[agent].take_back(&std::mem::take(&mut task.resources));
            }
            self.tasks.retain(|_, it| it.agent != agent);
            let plan = self.agents[agent].plan.clone();
            self.add_agent(plan);
        }
        self.tell(agenda, agenda.now + 20, EngineEvent::AgentLost(self.agents[agent].id.clone()));
    }

    fn report_all(&mut self, agenda: &mut Agenda, agent: usize, state: TaskState) {
        let there: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, it)| it.agent == agent && !it.ended)
            .map(|it| it.0.clone())
            .collect();
        for task in there {
            let mut status = answer(task, state, Some(self.agents[agent].id.clone()), None);
            status.at = Timestamp(agenda.now as i64);
            self.tell_status(agenda, status);
        }
    }

    pub fn back(&mut self, agenda: &mut Agenda, agent: usize, cut: u64) {
        let link = self.agents[agent].link;
        if self.agents[agent].cuts != cut || !matches!(link, Link::Cut | Link::Missed) {
            return;
        }
        self.agents[agent].link = Link::Up;
        let there: Vec<TaskId> =
            self.tasks.iter().filter(|(_, it)| it.agent == agent).map(|it| it.0.clone()).collect();
        for id in there {
            if self.tasks[&id].never_arrived && !self.tasks[&id].ended {
                self.end(agenda, &id, TaskState::Dropped);
            } else if link == Link::Missed && !self.tasks[&id].ended {
                self.answer(agenda, &id, None);
            }
            self.send_head(agenda, &id, 0);
        }
    }

    /// No misfortune from here on, and room for everything.
    pub fn heal(&mut self, agenda: &mut Agenda, room: Vec<AgentPlan>) {
        self.faults = Faults::default();
        for agent in 0..self.agents.len() {
            self.agents[agent].maintenance = None;
            match self.agents[agent].link {
                Link::Cut | Link::Missed => self.back(agenda, agent, self.agents[agent].cuts),
                // One that keeps volumes is repaired rather than given up: it is back, without its tasks.
                Link::Dead if self.keeps_ours(agent) => self.agents[agent].link = Link::Up,
                Link::Dead => self.agents[agent].link = Link::MarkedGone,
                Link::Up | Link::MarkedGone => {}
            }
        }
        for plan in room {
            self.add_agent(plan);
        }
        self.heal_tasks(agenda);
    }
}

pub fn answer(task: TaskId, state: TaskState, agent: Option<AgentId>, reason: Option<Reason>) -> TaskStatus {
    TaskStatus {
        task,
        state,
        agent,
        update: None,
        at: Timestamp(0),
        message: String::new(),
        reason,
        healthy: None,
        check: None,
        addresses: Vec::new(),
        unreachable_since: None,
    }
}

pub fn number(offer: &OfferId) -> Option<u64> {
    offer.as_str().strip_prefix('o')?.parse().ok()
}
