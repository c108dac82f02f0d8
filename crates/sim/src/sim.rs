//! One history: the loop of a server around the real core, with a simulated world on all sides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use marathon_core_faulty::Core;
use marathon_model::act::{Act, Batch, Probe, ProbeKind};
use marathon_model::command::{Command, Refusal, Reply};
use marathon_model::event::{Event, ProbeCheck, ProbeKey, ProbeOutcome, ProbeResult};
use marathon_model::id::{FrameworkId, RequestId, SpecId};
use marathon_model::offer::EngineEvent;
use marathon_model::preview::Preview;
use marathon_model::time::{Now, Tick, Timestamp};
use marathon_model::write::Write;

use crate::agenda::{Agenda, Happening, Millis};
use crate::check::{Cause, Checks, Found};
use crate::client::{Client, Wanted};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::foresight::{self, Foresight};
use crate::placement;
use crate::plan::{AgentPlan, Plan};
use crate::restart;
use crate::store::Store;

/// The wall clock when a history begins.
const EPOCH: i64 = 1_700_000_000_000;
/// So many agents, each with room for a whole app twice over, are added in the end: enough for apps with
/// fixed ports, of which each agent takes one.
const ROOM: u64 = 24;

#[derive(Debug)]
pub struct Sim {
    pub plan: Plan,
    pub agenda: Agenda,
    pub cluster: Cluster,
    pub store: Store,
    pub checks: Checks,
    pub healed: bool,
    pub steps: u64,
    pub foreseen: u64,
    client: Client,
    dice: Dice,
    term: Option<Term>,
    terms: u64,
    /// What the wall clock shows beyond the time that passed.
    wall_shift: i64,
    waiting: BTreeMap<RequestId, BTreeMap<SpecId, Wanted>>,
    requests: u64,
    /// Steps taken together, to be committed together.
    group: Vec<(Cause, Batch)>,
    flush_at: Millis,
    /// The commit of `group` takes its time: nothing is stepped before it is done.
    stalls: bool,
    /// What happened meanwhile.
    backlog: VecDeque<Event>,
    /// No probe gets through before.
    storm_until: Millis,
    flushes: u64,
    /// Steps that wrote something, and whatever may have moved in the cluster.
    pub moves: u64,
    /// Written only when a history is told again.
    pub journal: Option<Vec<String>>,
}

/// One life of the server process.
#[derive(Debug)]
struct Term {
    core: Core,
    number: u64,
    began: Millis,
    /// The next wake-up that is on the agenda.
    wakes: Option<Millis>,
}

/// Where a crash strikes.
#[derive(Debug, Clone, Copy)]
enum Strike {
    BeforeCommit,
    AfterCommit,
    /// After this many acts left the process.
    Amid(usize),
}

impl Sim {
    pub fn new(plan: Plan, journal: bool) -> Sim {
        let mut agenda = Agenda::default();
        let faults = plan.faults;
        let mut dice = Dice::new(plan.seed, 3);
        agenda.at(0, Happening::Restart);
        agenda.at(500, Happening::Client);
        let mut first = |gap: Millis, what| {
            if gap > 0 {
                agenda.at(dice.around(gap), what);
            }
        };
        first(faults.partition_gap, Happening::AgentCut);
        first(faults.rescind_gap, Happening::Rescind);
        first(faults.disconnect_gap, Happening::Disconnect);
        first(faults.clock_step_gap, Happening::ClockStep);
        first(faults.storm_gap, Happening::Storm);
        first(faults.maintenance_gap, Happening::Maintenance);
        Sim {
            cluster: Cluster::new(&plan),
            store: Store::default(),
            checks: Checks::new(plan.policy.master_region.clone()),
            healed: false,
            steps: 0,
            foreseen: 0,
            client: Client::new(&plan),
            term: None,
            terms: 0,
            wall_shift: 0,
            waiting: BTreeMap::new(),
            requests: 0,
            group: Vec::new(),
            flush_at: 0,
            stalls: false,
            backlog: VecDeque::new(),
            storm_until: 0,
            flushes: 0,
            moves: 0,
            journal: journal.then(Vec::new),
            plan,
            agenda,
            dice,
        }
    }

    fn note(&mut self, text: impl FnOnce(&Sim) -> String) {
        if self.journal.is_some() {
            let line = format!("{:>9.3}  {}", self.agenda.now as f64 / 1e3, text(self));
            self.journal.get_or_insert_default().push(line);
        }
    }

    fn now(&self) -> Now {
        let began = self.term.as_ref().map_or(self.agenda.now, |it| it.began);
        Now {
            wall: Timestamp(EPOCH + self.agenda.now as i64 + self.wall_shift),
            tick: Tick(self.agenda.now - began),
        }
    }

    /// Anything may fail.
    pub fn chaos(&mut self) -> Found {
        while self.steps < self.plan.events {
            self.advance()?;
        }
        self.catch_up()
    }

    /// One entry of the agenda.
    pub fn advance(&mut self) -> Found {
        if !self.group.is_empty() && self.agenda.next_at().is_none_or(|it| it > self.flush_at) {
            if !self.stalls && self.dice.chance(self.cluster.faults.store_slow) {
                self.stalls = true;
                self.flush_at = self.agenda.now + self.dice.around(2_000);
                return Ok(());
            }
            self.agenda.now = self.agenda.now.max(self.flush_at);
            return self.flush();
        }
        let Some(happening) = self.agenda.pop() else { return Ok(()) };
        self.happen(happening)
    }

    fn happen(&mut self, happening: Happening) -> Found {
        match happening {
            Happening::Told { connection, event } if self.cluster.connection == Some(connection) => {
                self.step(Event::Engine(event))
            }
            Happening::Told { .. } => Ok(()),
            Happening::Called { connection, call } => {
                if self.cluster.hears(connection, self.agenda.now) {
                    self.moves += 1;
                    self.note(|_| format!("engine hears {call:?}"));
                    self.cluster.call(&mut self.agenda, call);
                }
                Ok(())
            }
            Happening::Probed { term, result } if self.is_term(term) => self.step(Event::Probed(result)),
            Happening::Probed { .. } => Ok(()),
            Happening::Woke { term } => self.wake(term),
            Happening::Client => self.ask(),
            Happening::Allocate => {
                self.cluster.allocate(&mut self.agenda);
                Ok(())
            }
            Happening::Restart => self.restart(),
            Happening::Connected { term, again } => self.connected(term, again),
            misfortune => {
                self.moves += 1;
                self.note(|_| format!("{misfortune:?}"));
                self.befall(misfortune)
            }
        }
    }

    fn befall(&mut self, misfortune: Happening) -> Found {
        let faults = self.cluster.faults;
        let Sim { cluster, agenda, .. } = self;
        match misfortune {
            Happening::Task { task, what } => cluster.step_task(agenda, &task, what),
            Happening::Resend { task, update, attempt } => cluster.resend(agenda, &task, update, attempt),
            Happening::AgentMissed { agent } => cluster.miss(agenda, agent),
            Happening::AgentBack { agent, cut } => cluster.back(agenda, agent, cut),
            _ if self.healed => {}
            Happening::AgentCut => {
                cluster.cut(agenda);
                let gap = self.dice.around(faults.partition_gap);
                agenda.after(gap, Happening::AgentCut);
            }
            Happening::Rescind => {
                cluster.rescind(agenda);
                let gap = self.dice.around(faults.rescind_gap);
                agenda.after(gap, Happening::Rescind);
            }
            Happening::Disconnect => {
                let gap = self.dice.around(faults.disconnect_gap);
                agenda.after(gap, Happening::Disconnect);
                if self.cluster.connection.is_some() {
                    self.catch_up()?;
                    self.cluster.disconnect(self.agenda.now);
                    if let Some(term) = self.term.as_ref().map(|it| it.number) {
                        let away = 50 + self.dice.around(5_000);
                        self.agenda.after(away, Happening::Connected { term, again: true });
                    }
                    return self.step(Event::Engine(EngineEvent::Disconnected));
                }
            }
            Happening::ClockStep => {
                self.wall_shift += self.dice.between(0, 600_000) as i64 - 300_000;
                let gap = self.dice.around(faults.clock_step_gap);
                agenda.after(gap, Happening::ClockStep);
            }
            Happening::Storm => {
                self.storm_until = agenda.now + self.dice.around(60_000);
                let gap = self.dice.around(faults.storm_gap);
                agenda.after(gap, Happening::Storm);
            }
            Happening::Maintenance => {
                cluster.maintain(agenda, Timestamp(EPOCH + agenda.now as i64 + self.wall_shift));
                let gap = self.dice.around(faults.maintenance_gap);
                agenda.after(gap, Happening::Maintenance);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_term(&self, number: u64) -> bool {
        self.term.as_ref().is_some_and(|it| it.number == number)
    }

    fn wake(&mut self, number: u64) -> Found {
        let Some(term) = self.term.as_mut().filter(|it| it.number == number) else { return Ok(()) };
        if term.wakes.is_none_or(|at| at > self.agenda.now) {
            // Put off meanwhile; the later entry counts.
            return Ok(());
        }
        term.wakes = None;
        self.step(Event::Woke)
    }

    fn ask(&mut self) -> Found {
        if self.healed {
            return Ok(());
        }
        let gap = self.client.gap(self.plan.client_gap);
        self.agenda.after(gap, Happening::Client);
        let (command, wanted) = self.wish();
        if self.term.is_none() {
            return Ok(());
        }
        self.ask_for(command, wanted)
    }

    pub fn wish(&mut self) -> (Command, BTreeMap<SpecId, Wanted>) {
        self.client.wish(&self.store)
    }

    pub fn ask_for(&mut self, command: Command, wanted: BTreeMap<SpecId, Wanted>) -> Found {
        self.requests += 1;
        let from = RequestId(self.requests);
        self.waiting.insert(from, wanted);
        self.step(Event::Asked { from, command })
    }

    pub fn preview(&self, command: &Command) -> Result<Preview, Refusal> {
        let Some(term) = &self.term else { return Err(Refusal::Unavailable("no server".into())) };
        marathon_core_faulty::preview(&term.core.view(), &self.plan.policy, command.clone(), self.now())
    }

    /// One event reaches the core.
    fn step(&mut self, event: Event) -> Found {
        if self.stalls {
            self.backlog.push_back(event);
            return Ok(());
        }
        self.note(|_| format!("» {event:?}"));
        let now = self.now();
        let Some(term) = &mut self.term else { return Ok(()) };
        self.steps += 1;
        let cause = Cause::of(&event);
        let foresight = match &event {
            Event::Asked { from, command } if from.0.is_multiple_of(foresight::EVERY) => {
                Some(Foresight::of(&term.core, &self.plan.policy, command, now))
            }
            _ => None,
        };
        let batch = term.core.step(event, now);
        foresight.map_or(Ok(()), |it| it.came_true(&term.core, &batch))?;
        if self.plan.policy.maintenance_mode {
            placement::nothing_starts_in_maintenance(&self.cluster, &batch, now.wall)?;
        }
        // Everything now and then; what this step changed, always.
        let findings = match self.steps.is_multiple_of(self.plan.audit_every) {
            true => term.core.audit(),
            false => term.core.audit_of(changed_apps(&batch)),
        };
        content(&findings)?;
        if self.group.is_empty() {
            self.flush_at = self.agenda.now + self.dice.between(0, 4);
        }
        self.group.push((cause, batch));
        if self.group.len() >= 8 { self.flush() } else { Ok(()) }
    }

    /// Commits whatever waits to be committed, and what waits behind that.
    fn catch_up(&mut self) -> Found {
        while !self.group.is_empty() {
            self.flush()?;
        }
        Ok(())
    }

    /// The group commit, and then what was decided leaves the process.
    fn flush(&mut self) -> Found {
        self.commit()?;
        // A crash took with it what waited.
        for event in std::mem::take(&mut self.backlog) {
            self.step(event)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Found {
        self.stalls = false;
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return Ok(());
        }
        self.flushes += 1;
        let strike = self.strike(&group);
        if matches!(strike, Some(Strike::BeforeCommit)) {
            self.note(|_| "crash before the commit".to_owned());
            self.die();
            return Ok(());
        }
        for (cause, batch) in &group {
            self.moves += u64::from(!batch.writes.is_empty());
            for write in &batch.writes {
                self.note(|_| format!("  write {write:?}"));
            }
            self.checks.commit(&mut self.store, batch, cause)?;
        }
        if strike.is_some() || self.dice.chance(0.002) {
            self.same_after_restart()?;
        }
        let acts = group.into_iter().flat_map(|(_, batch)| batch.acts);
        for (count, act) in acts.enumerate() {
            match strike {
                Some(Strike::AfterCommit) => break,
                Some(Strike::Amid(left)) if count >= left => break,
                _ => self.release(act)?,
            }
        }
        if strike.is_some() {
            self.note(|_| format!("crash: {strike:?}"));
            self.die();
            return Ok(());
        }
        self.set_alarm();
        Ok(())
    }

    fn strike(&mut self, group: &[(Cause, Batch)]) -> Option<Strike> {
        if !self.dice.chance(self.cluster.faults.crash) {
            return None;
        }
        let acts: usize = group.iter().map(|(_, it)| it.acts.len()).sum();
        Some(match self.dice.between(0, 2) {
            0 => Strike::BeforeCommit,
            1 => Strike::AfterCommit,
            _ => Strike::Amid(self.dice.between(0, acts as u64) as usize),
        })
    }

    fn die(&mut self) {
        self.term = None;
        self.waiting.clear();
        self.backlog.clear();
        self.checks.crashed(&self.store);
        self.cluster.disconnect(self.agenda.now);
        // Mostly a supervisor brings it back at once; now and then it takes a person.
        let mean = if self.dice.chance(0.2) { 600_000 } else { 2_000 };
        let down = 50 + self.dice.around(mean);
        self.agenda.after(down, Happening::Restart);
    }

    fn restart(&mut self) -> Found {
        self.terms += 1;
        self.note(|it| format!("server {} begins", it.terms));
        let seed = self.plan.seed ^ self.terms << 32;
        let saved = restart::saved(&self.store, self.dice.chance(0.2));
        let now = self.now();
        let (core, batch) = Core::restore(saved, self.plan.policy.clone(), seed, now);
        audit(&core)?;
        self.term = Some(Term { core, number: self.terms, began: self.agenda.now, wakes: None });
        self.group.push((Cause::Other, batch));
        self.flush()?;
        let number = self.terms;
        if self.is_term(number) {
            let after = self.dice.between(20, 500);
            self.agenda.after(after, Happening::Connected { term: number, again: false });
        }
        Ok(())
    }

    fn connected(&mut self, term: u64, again: bool) -> Found {
        if !self.is_term(term) || self.cluster.connection.is_some() {
            return Ok(());
        }
        let connection = self.cluster.connect(&mut self.agenda);
        let framework = self.store.framework.clone().unwrap_or_else(|| FrameworkId::new("framework-1"));
        let master = format!("master:{connection}");
        let event = EngineEvent::Subscribed { framework, master, ui: None, region: None, again };
        self.step(Event::Engine(event))
    }

    /// Puts the core's next deadline on the agenda, now and then a little late.
    fn set_alarm(&mut self) {
        let late =
            if self.dice.chance(self.cluster.faults.wake_late) { self.dice.between(1, 2_000) } else { 0 };
        let Some(term) = &mut self.term else { return };
        let Some((tick, _)) = term.core.next_wakeup() else {
            term.wakes = None;
            return;
        };
        let at = (term.began + tick.0).max(self.agenda.now) + late;
        if term.wakes.is_none_or(|it| at < it || it < self.agenda.now || late == 0 && at != it) {
            term.wakes = Some(at);
            self.agenda.at(at, Happening::Woke { term: term.number });
        }
    }

    fn release(&mut self, act: Act) -> Found {
        match act {
            Act::Engine(call) => {
                self.checks.call(&self.store, &self.cluster, &call)?;
                if let Some(connection) = self.cluster.connection {
                    let at = self.agenda.now + 2;
                    self.agenda.at(at, Happening::Called { connection, call });
                }
                Ok(())
            }
            Act::Probe(probe) => {
                self.probe(probe);
                Ok(())
            }
            Act::Reply(to, reply) => {
                self.note(|_| format!("« {to:?} {reply:?}"));
                let wanted = self.waiting.remove(&to);
                let unavailable = matches!(reply, Reply::Refused(Refusal::Unavailable(_)));
                crate::check::ensure!(
                    wanted.is_some() && !unavailable,
                    "a request is answered once",
                    "{to:?}: {reply:?}"
                );
                self.checks.reply(&self.store, &reply, wanted.unwrap_or_default())
            }
            Act::Publish(notice) => self.checks.notice(&self.store, &notice.what),
        }
    }

    fn probe(&mut self, probe: Probe) {
        if self.agenda.now < self.storm_until && !self.healed {
            let outcome = ProbeOutcome::Failed { cause: "timed out".into() };
            return self.probed(probe.key, outcome);
        }
        if self.dice.chance(self.cluster.faults.probe_lost) {
            return;
        }
        let task = self.cluster.tasks.get(&probe.key.task).filter(|it| it.is_running() && !it.ended);
        let reached = task.filter(|it| it.ports.contains(&probe.port));
        let healthy = reached.is_some_and(|it| match probe.key.check {
            ProbeCheck::Health(_) => !it.sick,
            ProbeCheck::Readiness => it.ready_from <= self.agenda.now,
        });
        let outcome = match (reached, &probe.kind) {
            (None, _) => ProbeOutcome::Failed { cause: "connection refused".into() },
            (Some(_), ProbeKind::Tcp) if healthy => ProbeOutcome::Connected,
            (Some(_), ProbeKind::Tcp) => ProbeOutcome::Failed { cause: "timed out".into() },
            (Some(_), ProbeKind::Http { .. }) => ProbeOutcome::Answered {
                status: if healthy { 200 } else { 503 },
                content_type: "text/plain".to_owned(),
                body: "".into(),
            },
        };
        self.probed(probe.key, outcome);
    }

    fn probed(&mut self, key: ProbeKey, outcome: ProbeOutcome) {
        let Some(term) = &self.term else { return };
        let result = ProbeResult { key, outcome };
        let after = self.dice.between(1, 50);
        self.agenda.after(after, Happening::Probed { term: term.number, result });
    }

    /// Whether a server started from the store now would be what the running one is.
    pub fn same_after_restart(&mut self) -> Found {
        let now = self.now();
        let Some(term) = &self.term else { return Ok(()) };
        let saved = restart::saved(&self.store, self.flushes.is_multiple_of(8));
        let (copy, batch) = Core::restore(saved, self.plan.policy.clone(), 0, now);
        restart::same(&term.core.view(), &copy.view(), &batch)
    }

    /// Why instances wait, for the report.
    pub fn refusals(&self) -> Vec<String> {
        let Some(term) = &self.term else { return Vec::new() };
        let view = term.core.view();
        let waiting = view.apps.values().filter_map(|it| Some((&it.id, it.waiting.as_ref()?)));
        waiting.map(|(id, it)| format!("{id} waits, refusals {:?}", it.refusals)).collect()
    }

    pub fn audit_now(&self) -> Found {
        self.term.as_ref().map_or(Ok(()), |it| audit(&it.core))
    }

    /// The world turns kind.
    pub fn heal(&mut self) {
        self.note(|_| "the world turns kind".to_owned());
        self.healed = true;
        let role = self.plan.policy.rules.mesos_role.clone();
        let room = (0..ROOM).map(|at| AgentPlan::large(&mut self.dice, 100 + at, &role)).collect();
        self.cluster.heal(&mut self.agenda, room);
    }

    pub fn is_quiet_until(&self, until: Millis) -> bool {
        self.group.is_empty() && self.agenda.next_at().is_none_or(|it| it > until)
    }

    pub fn is_up(&self) -> bool {
        self.term.is_some() && self.cluster.connection.is_some() && self.group.is_empty()
    }
}

/// The apps that a step wrote something about, each once.
fn changed_apps(batch: &Batch) -> BTreeSet<&SpecId> {
    let changed = batch.writes.iter().filter_map(|it| match it {
        Write::App(spec) => Some(&spec.id),
        Write::AppRemoved { id, .. } => Some(id),
        Write::Instance(it) => Some(it.spec()),
        Write::InstanceGone(id) => Some(&id.spec),
        _ => None,
    });
    changed.collect()
}

fn audit(core: &Core) -> Found {
    content(&core.audit())
}

fn content(findings: &[String]) -> Found {
    match findings {
        [] => Ok(()),
        findings => Err(("the core's own audit is content", findings.join("; "))),
    }
}
