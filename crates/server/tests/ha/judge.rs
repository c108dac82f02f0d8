//! Holds a history against the promises. Pure, so that `judge_tests.rs` can show that it notices each kind of breach.
//!
//! A client's app is a register with one writer. What it may hold is a set: the last acknowledged write, or what was
//! read since, and each write of unknown outcome, which may come true once, until it is `LATE` old. A write that was
//! refused is in no such set.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Claim, Deed, Entry, History, Moment, Op, Outcome, Rule, State, Violation, Way, What};

/// A request that nobody waits for any more is carried out within this time, or never.
const LATE: Moment = 60.0;
/// A launch may follow what was asked for so long ago: an ACCEPT may be stuck in a network that is cut.
const WINDOW: Moment = 30.0;
/// Clocks of two processes are compared.
const MARGIN: Moment = 0.05;

pub fn violations(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let registers: Vec<Register> = history.clients.iter().map(|it| Register::replay(it)).collect();
    for (client, register) in registers.iter().enumerate() {
        found.extend(
            register.broken.iter().map(|it| breach(Rule::NothingIsLost, format!("client {client} {it}"))),
        );
    }
    one_leader(&history.claims, &history.cluster, &mut found);
    tasks(&registers, &history.cluster, &mut found);
    ends(history, &mut found);
    shares(history, &mut found);
    found
}

fn breach(rule: Rule, what: String) -> Violation {
    Violation { rule, what }
}

/// What an app may be, over time.
#[derive(Debug, Default)]
struct Register {
    /// From each moment on.
    possible: Vec<(Moment, BTreeSet<State>)>,
    /// When each definition was first asked for.
    first: BTreeMap<u64, Moment>,
    /// When tasks may be killed or restarted because it asked for that.
    kills: Vec<(Moment, Moment)>,
    restarts: Vec<(Moment, Moment)>,
    broken: Vec<String>,
}

impl Register {
    fn replay(ops: &[Op]) -> Register {
        let mut out = Register::default();
        let mut held = BTreeSet::from([State::default()]);
        // Writes of unknown outcome that may come true, and when they were sent.
        let mut pending: Vec<(Moment, State)> = Vec::new();
        out.possible.push((Moment::NEG_INFINITY, held.clone()));
        for op in ops {
            pending.retain(|(sent, _)| op.sent < sent + LATE);
            match op.what {
                // While it is under way both may be the case.
                What::Write(state, outcome) => {
                    if outcome != Outcome::Refused {
                        out.first.entry(state.label).or_insert(op.sent);
                        out.may_be(op.sent, held.iter().copied().chain([state]), &pending);
                    }
                    match outcome {
                        Outcome::Done => held = BTreeSet::from([state]),
                        Outcome::Refused => {}
                        Outcome::Unknown => pending.push((op.sent, state)),
                    }
                }
                What::Kill(outcome) => out.kills.extend(stretch(op, outcome)),
                What::Restart(outcome) => out.restarts.extend(stretch(op, outcome)),
                What::Read(state) if held.contains(&state) => held = BTreeSet::from([state]),
                What::Read(state) => match pending.iter().position(|(_, it)| *it == state) {
                    Some(at) => {
                        pending.remove(at);
                        held = BTreeSet::from([state]);
                    }
                    None => out.broken.push(format!(
                        "read {state:?} at {:.3} s, which can only be one of {held:?}, or pending {pending:?}",
                        op.sent
                    )),
                },
            }
            out.may_be(op.told, held.iter().copied(), &pending);
        }
        out
    }

    fn may_be(&mut self, at: Moment, held: impl Iterator<Item = State>, pending: &[(Moment, State)]) {
        let now: BTreeSet<State> = held.chain(pending.iter().map(|(_, it)| *it)).collect();
        if self.possible.last().is_none_or(|(_, last)| *last != now) {
            self.possible.push((at, now));
        }
    }

    /// Nobody asked for another number of tasks, or for their end, for so long that nothing of it is under way.
    fn is_quiet(&self, at: Moment, asked: &BTreeSet<State>) -> bool {
        let numbers: BTreeSet<u64> = asked.iter().map(|it| it.instances).collect();
        numbers.len() == 1 && !within(&self.kills, at)
    }

    /// Since it was first asked for, this is the definition, and nothing else can have come between. Then no task is
    /// there in two versions of one definition, restarts excepted.
    fn is_plain(&self, label: u64, at: Moment) -> bool {
        let Some(first) = self.first.get(&label) else { return false };
        let begin = self.possible.partition_point(|(it, _)| it < first);
        let end = self.possible.partition_point(|(it, _)| *it <= at);
        let others = |(_, it): &&(Moment, BTreeSet<State>)| it.iter().any(|it| it.label != label);
        // The first one is the change itself, under way.
        self.possible[begin.min(end)..end].iter().filter(others).count() <= 1 && !within(&self.restarts, at)
    }

    /// When fewer tasks were asked for in a stretch: the last moment of that, and how many may be left of those that are
    /// older.
    fn fewer(&self, from: Moment, to: Moment) -> Vec<(Moment, u64)> {
        let mut all = Vec::new();
        for (at, two) in self.possible.windows(2).enumerate() {
            let [(_, before), (begin, now)] = two else { continue };
            let end = self.possible.get(at + 2).map_or(to, |(end, _)| *end);
            let most = before.iter().map(|it| it.instances).max().unwrap_or(0);
            let least = now.iter().map(|it| it.instances).min().unwrap_or(0);
            if least < most && *begin <= to && from <= end {
                all.push((end.min(to), least));
            }
        }
        // An answered request has been carried out by the time that its stretch is left to the cluster.
        let kills = self.kills.iter().filter(|(begin, end)| (begin - MARGIN..*end).contains(&to));
        all.extend(kills.map(|(_, end)| (end - WINDOW, 0)));
        all
    }

    /// All that it may have been at some time of a stretch.
    fn within(&self, from: Moment, to: Moment) -> BTreeSet<State> {
        let end = self.possible.partition_point(|(at, _)| *at <= to);
        let begin = self.possible.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        self.possible[begin.min(end)..end].iter().flat_map(|(_, it)| it.iter().copied()).collect()
    }
}

/// When something may be done because of a request. One whose answer came is under way in the cluster at most.
fn stretch(op: &Op, outcome: Outcome) -> Option<(Moment, Moment)> {
    match outcome {
        Outcome::Done => Some((op.sent, op.told + WINDOW)),
        Outcome::Refused => None,
        Outcome::Unknown => Some((op.sent, op.sent + LATE + WINDOW)),
    }
}

fn within(stretches: &[(Moment, Moment)], at: Moment) -> bool {
    stretches.iter().any(|(from, to)| (from - MARGIN..*to).contains(&at))
}

struct Stream<'a> {
    by: usize,
    framework: &'a str,
    name: &'a str,
    first: Moment,
    /// The last moment after which it certainly sent something. A call that arrives may have been under way for long.
    last: Moment,
    acts: bool,
}

/// Each stream of calls belongs to one term. The next one ends it, and while it lasts nobody else says that he leads.
fn one_leader(claims: &[Claim], cluster: &[Entry], found: &mut Vec<Violation>) {
    let mut streams: Vec<Stream> = Vec::new();
    for entry in cluster {
        match &entry.deed {
            Deed::Subscribed { framework, by, stream } => {
                let (first, last, acts) = (entry.at, entry.at, false);
                // One that is over before its id was stored did nothing. Once one acts its id is stored, so that
                // nobody may ever come with another, whether it acts or not.
                if let Some(it) = streams.iter().find(|it| it.acts && it.framework != framework) {
                    let what = format!(
                        "instance {by} subscribed as {framework} at {:.3} s, after {} had acted",
                        entry.at, it.framework
                    );
                    found.push(breach(Rule::OneLeader, what));
                }
                streams.push(Stream { by: *by, framework, name: stream, first, last, acts });
            }
            Deed::Call { kind, stream, taken: true, since, .. } => {
                match streams.iter().rposition(|it| it.name == stream) {
                    Some(at) if at + 1 == streams.len() => {
                        streams[at].last = streams[at].last.max(since.unwrap_or(0.0));
                        streams[at].acts = true;
                    }
                    Some(at) => {
                        let (old, new) = (streams[at].by, streams[streams.len() - 1].by);
                        let what = format!(
                            "{kind} of instance {old} was carried out at {:.3} s after instance {new} had subscribed",
                            entry.at
                        );
                        found.push(breach(Rule::OneLeader, what));
                    }
                    None => found.push(breach(Rule::OneLeader, format!("{kind} came on a stream of nobody"))),
                }
            }
            _ => {}
        }
    }
    for claim in claims {
        let acting = streams.iter().find(|it| {
            it.by != claim.instance && it.first + MARGIN < claim.sent && claim.told < it.last - MARGIN
        });
        if let Some(it) = acting {
            let what = format!(
                "instance {} said at {:.3} s that it leads, while instance {} acted from {:.3} to {:.3} s",
                claim.instance, claim.sent, it.by, it.first, it.last
            );
            found.push(breach(Rule::OneLeader, what));
        }
    }
}

struct Live {
    at: Moment,
    client: usize,
    agent: u64,
    label: u64,
    /// Its agent was away: Marathon may have replaced it.
    excused: bool,
    /// Mesos was asked to end it.
    dying: bool,
}

#[derive(Default)]
struct Tasks<'a> {
    launched: BTreeSet<&'a str>,
    live: BTreeMap<&'a str, Live>,
    away: BTreeSet<u64>,
}

fn tasks(registers: &[Register], cluster: &[Entry], found: &mut Vec<Violation>) {
    let mut tasks = Tasks::default();
    for entry in cluster {
        match &entry.deed {
            Deed::AgentAway(agent) => {
                tasks.away.insert(*agent);
                tasks.live.values_mut().filter(|it| it.agent == *agent).for_each(|it| it.excused = true);
            }
            Deed::AgentBack(agent) => drop(tasks.away.remove(agent)),
            Deed::Ended { task } => drop(tasks.live.remove(task.as_str())),
            Deed::Launched { task, agent, client, label } => {
                if !tasks.launched.insert(task) {
                    found.push(breach(Rule::NothingIsLaunchedTwice, format!("{task} at {:.3} s", entry.at)));
                }
                let excused = tasks.away.contains(agent);
                let (at, client, agent, label) = (entry.at, *client, *agent, *label);
                let live = Live { at, client, agent, label, excused, dying: false };
                tasks.live.insert(task, live);
                if let Some(register) = registers.get(client) {
                    tasks.judge_launch(register, entry.at, task, found);
                }
            }
            Deed::Call { kills: Some(task), taken: true, .. } => {
                let Some(it) = tasks.live.get(task.as_str()) else { continue };
                if let Some(register) = registers.get(it.client)
                    && !it.excused
                    && !it.dying
                {
                    tasks.judge_kill(register, entry.at, task, it, found);
                }
                tasks.live.entry(task).and_modify(|it| it.dying = true);
            }
            Deed::Subscribed { .. } | Deed::Call { .. } => {}
        }
    }
}

impl Tasks<'_> {
    fn judge_launch(&self, register: &Register, at: Moment, task: &str, found: &mut Vec<Violation>) {
        let Some(Live { client, label, .. }) = self.live.get(task) else { return };
        let client = *client;
        let asked = register.within(at - WINDOW, at + MARGIN);
        if !asked.iter().any(|it| it.label == *label) {
            let what = format!("{task} with label {label} at {at:.3} s; only {asked:?} was asked for");
            found.push(breach(Rule::OnlyWhatWasAsked, what));
        }
        // An upgrade counts those that are on their way out; a change of the number does not.
        let strict = register.is_quiet(at, &asked);
        let counts = |it: &&Live| it.client == client && !it.excused && (strict || !it.dying);
        let all: Vec<&Live> = self.live.values().filter(counts).collect();
        let most = asked.iter().map(|it| ceiling(it.instances)).max().unwrap_or(0);
        let unheard = if strict { 0 } else { self.unheard(register, client, at) };
        if most + unheard < all.len() as u64 {
            let what = format!("{task} at {at:.3} s is number {} of at most {most} + {unheard}", all.len());
            found.push(breach(Rule::NoMoreThanAllowed, what));
        }
        // The room above is for other definitions: of one there are never more than asked for.
        let same = all.iter().filter(|it| it.label == *label).count() as u64;
        let most = asked.iter().map(|it| it.instances).max().unwrap_or(0);
        if strict && most < same && register.is_plain(*label, at) {
            let what =
                format!("{task} at {at:.3} s is number {same} with label {label}, of {most} asked for");
            found.push(breach(Rule::NoMoreThanAllowed, what));
        }
    }

    /// How many more may have been told to end than the cluster heard of: a call is lost while no master listens, and
    /// comes again after a while.
    fn unheard(&self, register: &Register, client: usize, at: Moment) -> u64 {
        let ours = || self.live.values().filter(|it| it.client == client && !it.excused);
        let fewer = register.fewer(at - WINDOW, at).into_iter();
        let each = fewer.map(|(until, least)| {
            let before = ours().filter(|it| it.at <= until).count() as u64;
            let heard = ours().filter(|it| it.at <= until && it.dying).count() as u64;
            before.saturating_sub(least + heard)
        });
        each.max().unwrap_or(0)
    }

    /// Where nothing was asked for but what is there, a leader that ends a task has forgotten it.
    fn judge_kill(&self, register: &Register, at: Moment, task: &str, it: &Live, found: &mut Vec<Violation>) {
        let asked = register.within(at - WINDOW, at + MARGIN);
        let most = asked.iter().map(|it| it.instances).max().unwrap_or(0);
        // Those whose agent was away are there as well: which one is too many then is Marathon's choice.
        let same = |other: &&Live| other.client == it.client && !other.dying;
        let others = self.live.values().filter(same).any(|other| other.label != it.label);
        if asked.iter().all(|state| state.label == it.label)
            && register.is_quiet(at, &asked)
            && register.is_plain(it.label, at)
            && !others
            && self.live.values().filter(same).count() as u64 <= most
        {
            let what =
                format!("{task} with label {} was to end at {at:.3} s; {asked:?} is asked for", it.label);
            found.push(breach(Rule::OnlyWhatWasAsked, what));
        }
    }
}

/// The clients' apps have `maximumOverCapacity` 0.5; a single instance may have a successor beside it.
fn ceiling(instances: u64) -> u64 {
    instances + instances.div_ceil(2)
}

/// What is not as it should be once faults have ended. Nothing: it has settled.
pub fn ends(history: &History, found: &mut Vec<Violation>) {
    for (client, end) in history.ends.iter().enumerate() {
        let mut wrong = Vec::new();
        if let Some(told) = end.told.iter().find(|it| **it != Some(end.wanted)) {
            wrong.push(format!("an instance tells {told:?}"));
        }
        let (told, real): (BTreeSet<_>, BTreeSet<_>) =
            (end.told_tasks.iter().collect(), end.real_tasks.iter().collect());
        if told != real || told.len() as u64 != end.wanted.instances {
            wrong.push(format!("told are {told:?}; there are {real:?}"));
        }
        if end.deployments > 0 {
            wrong.push(format!("{} deployments", end.deployments));
        }
        if !wrong.is_empty() {
            let what = format!("client {client} asked for {:?}: {}", end.wanted, wrong.join("; "));
            found.push(breach(Rule::EverythingSettles, what));
        }
    }
}

/// One address for all leads to the leader again: nothing is passed on any more.
fn shares(history: &History, found: &mut Vec<Violation>) {
    for it in history.shares.iter().filter(|it| it.way != Way::Direct && 0 < it.passed_on + it.failed) {
        let what = format!(
            "of {} requests by {:?} {} were passed on, and {} failed",
            it.asked, it.way, it.passed_on, it.failed
        );
        found.push(breach(Rule::EverythingSettles, what));
    }
}
