//! What is counted and sorted of the instances of one app, so that no decision has to look at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::instance::{Condition, Goal, Instance};
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Counts, Tally};
use uuid::Uuid;

use crate::constraint::{self, Places};

/// Sets of instances of one app that decisions ask for again and again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Wanted and to be placed.
    pub waiting: BTreeSet<Uuid>,
    /// Of these, those that own nothing.
    pub unbound: BTreeSet<Uuid>,
    /// Wanted, of an outdated configuration, serving.
    pub old_serving: BTreeSet<Uuid>,
    /// Wanted, of an outdated configuration, not serving (and perhaps over).
    pub old_unready: BTreeSet<Uuid>,
    /// Wanted, of an outdated configuration, given up as lost: nothing counts on them any more.
    pub old_lost: BTreeSet<Uuid>,
    /// Wanted, of exactly the newest version, not serving yet: what a scaling waits for.
    pub fresh_unready: BTreeSet<Uuid>,
    /// Not wanted and not gone yet.
    pub ending: BTreeSet<Uuid>,
    /// By configuration, where it has constraints: what holds a place where.
    pub places: BTreeMap<Timestamp, Places>,
    /// The same of all instances together, by the constraints of the present definition, if they own volumes.
    pub resident: Places,
    /// Of these, those that shall keep what they own.
    pub stopped: BTreeSet<Uuid>,
    /// Of these, those of which only what an agent keeps is left, to be removed.
    pub condemned: BTreeSet<Uuid>,
}

/// How many sets there are.
const SETS: usize = 9;

impl Index {
    pub fn forget(&mut self, uuid: &Uuid) {
        for set in self.sets_mut() {
            set.remove(uuid);
        }
    }

    /// In the order of `membership`.
    fn sets_mut(&mut self) -> [&mut BTreeSet<Uuid>; SETS] {
        [
            &mut self.waiting,
            &mut self.unbound,
            &mut self.old_serving,
            &mut self.old_unready,
            &mut self.old_lost,
            &mut self.fresh_unready,
            &mut self.ending,
            &mut self.stopped,
            &mut self.condemned,
        ]
    }

    /// In the order of `membership`.
    fn sets(&self) -> [&BTreeSet<Uuid>; SETS] {
        [
            &self.waiting,
            &self.unbound,
            &self.old_serving,
            &self.old_unready,
            &self.old_lost,
            &self.fresh_unready,
            &self.ending,
            &self.stopped,
            &self.condemned,
        ]
    }

    /// Whether a fresh index would be the same. For `audit`, which asks this so often that it builds none.
    pub fn fits(&self, app: &App) -> bool {
        let (config, version) = app.spec.as_ref().map(|it| (it.config, it.version)).unzip();
        let sets = self.sets();
        let mut sizes = [0; SETS];
        for it in app.instances.values() {
            let member = membership(it, config, version);
            for at in 0..sets.len() {
                if sets[at].contains(&it.id.uuid) != member[at] {
                    return false;
                }
                sizes[at] += usize::from(member[at]);
            }
        }
        let mut places = Index::default();
        app.instances.values().for_each(|it| places.replace(app, None, Some(it)));
        sets.map(BTreeSet::len) == sizes && self.places == places.places && self.resident == places.resident
    }

    /// The instance changed from `before` (nothing, if it is new) to `now` (nothing, if it is gone).
    pub fn replace(&mut self, app: &App, before: Option<&Instance>, now: Option<&Instance>) {
        let held = |it: &&Instance| constraint::holds_place(it) && it.agent.is_some();
        let (before, now) = (before.filter(held), now.filter(held));
        let same = |a: &Instance, b: &Instance| a.config == b.config && a.agent == b.agent;
        if before.zip(now).is_some_and(|(a, b)| same(a, b)) {
            return;
        }
        let resident = app.spec.as_ref().filter(|it| it.is_resident() && !it.constraints.is_empty());
        if let Some(spec) = resident {
            if let Some(agent) = before.and_then(|it| it.agent.as_ref()) {
                constraint::displace(&mut self.resident, agent);
            }
            if let Some(agent) = now.and_then(|it| it.agent.as_ref()) {
                constraint::place(&mut self.resident, agent, &constraint::fields(spec));
            }
        }
        if let Some(it) = before
            && let Some(agent) = &it.agent
            && let Some(places) = self.places.get_mut(&it.config)
        {
            constraint::displace(places, agent);
            if places.is_empty() {
                self.places.remove(&it.config);
            }
        }
        if let Some(it) = now
            && let Some(agent) = &it.agent
            && let Some(spec) = definition(app, it).filter(|it| !it.constraints.is_empty())
        {
            let places = self.places.entry(it.config).or_default();
            constraint::place(places, agent, &constraint::fields(spec));
            if places.is_empty() {
                self.places.remove(&it.config);
            }
        }
    }

    pub fn update(&mut self, it: &Instance, config: Option<Timestamp>, version: Option<Timestamp>) {
        for (set, member) in self.sets_mut().into_iter().zip(membership(it, config, version)) {
            if member {
                set.insert(it.id.uuid);
            } else {
                set.remove(&it.id.uuid);
            }
        }
    }
}

/// Of which sets an instance is a member, in the order in which `Index` declares them.
fn membership(it: &Instance, config: Option<Timestamp>, version: Option<Timestamp>) -> [bool; SETS] {
    let wanted = it.goal == Goal::Running;
    let old = config.is_some_and(|config| it.config != config);
    let serving = it.is_serving();
    let lost = it.condition == Condition::UnreachableInactive;
    [
        it.wants_launch(),
        it.wants_launch() && it.reservation.is_none(),
        wanted && old && serving,
        wanted && old && !serving && !lost,
        wanted && old && lost,
        wanted && version == Some(it.version) && !serving && !lost,
        !wanted,
        it.goal == Goal::Stopped,
        it.is_condemned(),
    ]
}

/// What an instance is (or would be) started from: the present definition, or an earlier one if it still
/// belongs to that.
pub fn definition<'a>(app: &'a App, it: &Instance) -> Option<&'a Arc<AppSpec>> {
    app.spec.as_ref().filter(|spec| spec.config == it.config).or_else(|| app.version(it.version))
}

/// How one instance counts.
fn counts(it: &Instance) -> Counts {
    let one = u32::from;
    let wanted = it.goal == Goal::Running && it.condition != Condition::UnreachableInactive;
    let running = it.condition == Condition::Running;
    let staged = matches!(it.condition, Condition::Provisioned | Condition::Staging | Condition::Starting);
    Counts {
        total: 1,
        wanted: one(wanted),
        waiting: one(it.wants_launch()),
        serving: one(wanted && it.is_serving()),
        ending: one(it.goal != Goal::Running && !it.is_over() && !it.condition.is_unreachable()),
        staged: one(staged),
        running: one(running),
        healthy: one(running && it.healthy() == Some(true)),
        unhealthy: one(running && it.healthy() == Some(false)),
    }
}

/// The half of a tally an instance belongs to.
fn side<'a>(tally: &'a mut Tally, it: &Instance, config: Option<Timestamp>) -> &'a mut Counts {
    if config == Some(it.config) { &mut tally.current } else { &mut tally.outdated }
}

pub fn add(tally: &mut Tally, it: &Instance, config: Option<Timestamp>) {
    let one = counts(it);
    let to = side(tally, it, config);
    to.total += one.total;
    to.wanted += one.wanted;
    to.waiting += one.waiting;
    to.serving += one.serving;
    to.ending += one.ending;
    to.staged += one.staged;
    to.running += one.running;
    to.healthy += one.healthy;
    to.unhealthy += one.unhealthy;
}

pub fn subtract(tally: &mut Tally, it: &Instance, config: Option<Timestamp>) {
    let one = counts(it);
    let from = side(tally, it, config);
    from.total -= one.total;
    from.wanted -= one.wanted;
    from.waiting -= one.waiting;
    from.serving -= one.serving;
    from.ending -= one.ending;
    from.staged -= one.staged;
    from.running -= one.running;
    from.healthy -= one.healthy;
    from.unhealthy -= one.unhealthy;
}

/// A fresh count, for new definitions and for `audit`.
pub fn tally<'a>(instances: impl Iterator<Item = &'a Arc<Instance>>, config: Option<Timestamp>) -> Tally {
    let mut all = Tally::default();
    for instance in instances {
        add(&mut all, instance, config);
    }
    all
}

/// A fresh index, for new definitions.
pub fn index(app: &App) -> Index {
    let mut all = Index::default();
    let spec = app.spec.as_ref();
    for instance in app.instances.values() {
        all.update(instance, spec.map(|it| it.config), spec.map(|it| it.version));
        all.replace(app, None, Some(instance));
    }
    all
}
