//! Everything Marathon decides, as one function: `step(event, now) -> writes and acts`.
//!
//! ```text
//!  commands ┐                                        ┌ writes ─► durable, then
//!  statuses ├─► step ─► world ─► settle ─► advance ──┤
//!  offers   ┘             apps     deployments       └ acts ───► replies, calls, probes, events
//! ```
//! No clock, no random source, no file, no async: time and seed are handed in. Reading order: `world`
//! and `index` (the state), `edit` and `deploy` (what users change), `plan`, `guard`, `settle` and `rollout`
//! (what follows), `place`, `reserve`, `resident`, `launch` (offers), `lifecycle`, `parts`, `health`, `schedule`,
//! `backoff` (tasks), `engine`, `restore`, `preview`, `audit`.
//!
//! The step is total: no input makes it fail or block. A write the store cannot confirm ends the term; the
//! core is dropped and restored from the store, so there are no repair paths in here.

mod agents;
mod audit;
mod backoff;
mod constraint;
mod deploy;
mod disks;
mod edit;
mod edit_pod;
mod engine;
mod explain;
#[cfg(feature = "old-faults")]
mod faults;
mod guard;
mod health;
mod history;
mod ids;
mod index;
mod kill;
mod launch;
mod launch_pod;
mod lifecycle;
mod offers;
mod owned;
mod parts;
mod place;
mod plan;
mod policy;
mod pool;
mod preview;
mod queue;
mod reserve;
mod resident;
mod restore;
mod rollout;
mod schedule;
mod settle;
mod subscribe;
mod timers;
mod victim;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use marathon_model::act::{Act, Batch};
use marathon_model::command::{Command, Refusal, Reply};
use marathon_model::deployment::GuardUpdate;
use marathon_model::event::{Event, ProbeKey};
use marathon_model::id::SpecId;
use marathon_model::resources::Role;
use marathon_model::time::{Now, Tick};
use marathon_model::view::View;
use marathon_model::write::Write;

pub use explain::explain;
#[cfg(feature = "old-faults")]
pub use faults::{Fault, Faults};
pub use policy::Policy;
pub use preview::preview;
pub use rollout::Bounds;

use ids::Ids;
use timers::Timer;
use world::World;

const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The state of one leader and the rules it goes by.
#[derive(Debug)]
pub struct Core {
    world: World,
    policy: Policy,
    ids: Ids,
    /// Probes under way, and when the ones after them are due.
    probing: BTreeMap<ProbeKey, Tick>,
    /// The roles for which the engine was last told that offers are wanted.
    asked_for: BTreeSet<Role>,
    /// How many apps made the demand when it was last looked at.
    demand_size: (usize, usize),
    last_revive: Option<Tick>,
    /// The app whose instance was placed last; the next offer begins behind it.
    last_served: Option<SpecId>,
    /// What the command that is being carried out asks for of a guard.
    guard: Option<GuardUpdate>,
}

impl Core {
    fn empty(mut policy: Policy, seed: u64, now: Now) -> Core {
        // A pause of zero would be over at once, again and again, and no wake-up would end.
        for pause in [&mut policy.kill_retry_timeout, &mut policy.reconciliation_interval] {
            *pause = (*pause).max(PAUSE_MIN);
        }
        let world = World { now, ..World::default() };
        Core {
            world,
            policy,
            ids: Ids::new(seed),
            probing: BTreeMap::new(),
            asked_for: BTreeSet::new(),
            demand_size: (0, 0),
            last_revive: None,
            last_served: None,
            guard: None,
        }
    }

    /// Takes in one event and says what is to be done about it.
    pub fn step(&mut self, event: Event, now: Now) -> Batch {
        // Deadlines never run backwards, whatever the caller's clock does.
        self.world.now = Now { wall: now.wall, tick: now.tick.max(self.world.now.tick) };
        match event {
            Event::Asked { from, command } => {
                let reply = self.obey(command);
                self.finish_reply(from, reply)
            }
            Event::Engine(event) => {
                self.on_engine(event);
                self.finish()
            }
            Event::Probed(result) => {
                self.on_probed(result);
                self.finish()
            }
            Event::Woke => {
                self.on_woke();
                self.finish()
            }
        }
    }

    /// When the core wants to be woken, and for what (for the log).
    pub fn next_wakeup(&self) -> Option<(Tick, &'static str)> {
        self.world.timers.next()
    }

    /// What GET requests read until the next one is published.
    pub fn view(&self) -> Arc<View> {
        Arc::new(self.world.view.clone())
    }

    /// The revision of `view`: readers need a new one when it has grown.
    pub fn revision(&self) -> u64 {
        self.world.view.revision
    }

    fn obey(&mut self, command: Command) -> Reply {
        match command {
            Command::EditApps { edits, force, origin } => self.edit_apps(edits, force, origin),
            Command::EditGroup { group, update, create, force, dry_run } => {
                self.edit_group(group, *update, create, force, dry_run)
            }
            Command::EditPod { id, edit, force, origin } => self.edit_pod(id, edit, force, origin),
            Command::DeleteGroup { group, force } => self.delete_group(group, force),
            Command::EnforceRole { group, enforce } => self.enforce_role(group, enforce),
            Command::Kill { victims, scale, wipe, force } => self.kill(victims, scale, wipe, force),
            Command::CancelDeployment { id, force } => self.cancel(id, force),
            Command::Guarded { guard, command } => {
                self.guard = Some(guard);
                let reply = self.obey(*command);
                self.guard = None;
                reply
            }
            Command::Subscribe { url, client_ip } => self.subscribe(url, client_ip),
            Command::Unsubscribe { url, client_ip } => self.unsubscribe(url, client_ip),
            Command::ResetDelay { app } => match self.world.queue.contains(&app) {
                true => {
                    self.reset_delay(&app);
                    Reply::Done
                }
                false => Reply::Refused(Refusal::NotQueued(app)),
            },
        }
    }

    fn on_woke(&mut self) {
        while let Some(timer) = self.world.timers.take_due(self.world.now.tick) {
            match timer {
                Timer::Launch(id) => self.on_launch_timer(&id),
                Timer::Kill(id) => self.on_kill_timer(&id),
                Timer::Reservation(id) => self.on_reservation_timer(&id),
                Timer::Unreachable(id) => self.on_unreachable_timer(&id),
                Timer::Delay(id) => self.on_delay_timer(&id),
                Timer::Health(id, check) => self.on_health_timer(&id, check),
                Timer::Readiness(id) => self.on_readiness_timer(&id),
                Timer::Deadline(id) => self.on_deadline(id),
                Timer::Reconcile => self.reconcile(),
                Timer::Revive => self.revive(),
                Timer::Notes => queue::take_down(&mut self.world),
            }
        }
    }

    fn finish_reply(&mut self, from: marathon_model::id::RequestId, reply: Reply) -> Batch {
        self.end_broken();
        self.settle_all();
        self.world.out.acts.push(Act::Reply(from, reply));
        self.finish()
    }

    /// Draws all consequences and hands out the batch.
    fn finish(&mut self) -> Batch {
        self.end_broken();
        self.settle_all();
        self.tune_offers();
        self.prune();
        queue::end_step(&mut self.world);
        self.world.view.counters.kills_in_flight = self.world.timers.kills();
        let batch = std::mem::take(&mut self.world.out);
        if std::mem::take(&mut self.world.changed) || !batch.is_empty() {
            self.world.view.revision += 1;
        }
        batch
    }

    /// Forgets old versions of whatever got a new one in this step.
    fn prune(&mut self) {
        let mut apps = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for write in &self.world.out.writes {
            match write {
                Write::App(spec) => drop(apps.insert(spec.id.clone())),
                Write::Group(group) => drop(groups.insert(group.id.clone())),
                _ => {}
            }
        }
        apps.iter().for_each(|id| self.prune_app(id));
        groups.iter().for_each(|id| self.prune_group(id));
    }
}
