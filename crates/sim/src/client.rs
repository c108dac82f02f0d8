//! Users: they look at what is there and ask for something else, sensible or not.

use std::collections::BTreeMap;
use std::time::Duration;

use marathon_model::app::*;
use marathon_model::command::{Command, Victims};
use marathon_model::deployment::{GuardUpdate, OnFailure};
use marathon_model::id::{PathId, SpecId, TaskId};
use marathon_model::resources::Milli;
use marathon_model::time::Timestamp;
use marathon_model::update::*;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::store::Store;

/// All apps anybody ever asks for. Few, so that wishes meet.
pub const APPS: [&str; 7] = ["/a", "/b", "/shop/cart", "/shop/web", "/shop/db/main", "/x/y", "/x/z"];
pub const GROUPS: [&str; 5] = ["/shop", "/shop/db", "/x", "/", "/new"];
/// More instances than this nobody asks for, so that everything fits in the end.
pub const INSTANCES_MAX: u32 = 6;

/// What an acknowledged change must have led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    Removed,
    Defined { instances: Option<u32>, cmd: Option<String> },
}

#[derive(Debug)]
pub struct Client {
    pub dice: Dice,
    pub forceful: f64,
    fickle: f64,
    pub resident: bool,
    guarded: f64,
    pub counter: u64,
}

impl Client {
    pub fn new(plan: &Plan) -> Client {
        let Plan { seed, forceful, fickle, guarded, resident, .. } = *plan;
        Client { dice: Dice::new(seed, 2), forceful, fickle, guarded, resident, counter: 0 }
    }

    pub fn gap(&mut self, mean: u64) -> u64 {
        // Now and then two users at once.
        if self.dice.chance(0.15) { self.dice.between(0, 3) } else { self.dice.around(mean) }
    }

    pub fn wish(&mut self, store: &Store) -> (Command, BTreeMap<SpecId, Wanted>) {
        let (command, wanted) = self.plain_wish(store);
        match self.dice.chance(self.guarded) {
            true => (Command::Guarded { guard: self.guard(), command: Box::new(command) }, wanted),
            false => (command, wanted),
        }
    }

    /// The change shall give up by itself when it takes too long or fails too often.
    fn guard(&mut self) -> GuardUpdate {
        let dice = &mut self.dice;
        let deadline = dice.chance(0.7).then(|| Duration::from_secs(*dice.pick(&[5, 60, 600])));
        let max_failures = dice.chance(0.5).then(|| *dice.pick(&[0, 2]));
        let on_failure = *dice.pick(&[None, Some(OnFailure::Rollback), Some(OnFailure::Stop)]);
        GuardUpdate { deadline, max_failures, on_failure }
    }

    fn plain_wish(&mut self, store: &Store) -> (Command, BTreeMap<SpecId, Wanted>) {
        let force = self.dice.chance(self.forceful);
        if self.dice.chance(0.2) {
            return self.wish_pod(store, force);
        }
        let id = self.any(&APPS);
        let mut wanted = BTreeMap::new();
        if self.dice.chance(self.fickle)
            && let open @ [_, ..] = store.deployments.keys().collect::<Vec<_>>().as_slice()
        {
            let id = **self.dice.pick(open);
            return (Command::CancelDeployment { id, force: self.dice.chance(0.3) }, wanted);
        }
        let command = match self.dice.between(0, 99) {
            0..30 => {
                let update = self.definition(&id);
                wanted.insert(id.clone(), wanted_of(&update));
                let edit = match self.dice.between(0, 3) {
                    0 => AppEdit::Create(update),
                    1 => AppEdit::Replace(update),
                    2 => AppEdit::Patch(update),
                    _ => AppEdit::Merge(update),
                };
                edit_apps(vec![(id, edit)], force)
            }
            30..52 => {
                let instances = self.dice.between(0, INSTANCES_MAX.into()) as u32;
                let update = AppUpdate { instances: Some(instances), ..AppUpdate::default() };
                wanted.insert(id.clone(), wanted_of(&update));
                edit_apps(vec![(id, AppEdit::Merge(update))], force)
            }
            52..57 => edit_apps(vec![(id, AppEdit::Restart)], force),
            57..61 => {
                let version = self.some_version(store, &id);
                let update = AppUpdate { version: Some(version), ..AppUpdate::default() };
                edit_apps(vec![(id, AppEdit::Merge(update))], force)
            }
            61..67 => {
                wanted.insert(id.clone(), Wanted::Removed);
                edit_apps(vec![(id, AppEdit::Delete)], self.dice.chance(0.7))
            }
            67..71 => {
                let other = self.any(&APPS);
                let edits: Vec<(SpecId, AppEdit)> =
                    [id, other].map(|it| (it.clone(), AppEdit::Merge(self.definition(&it)))).into();
                edit_apps(edits, force)
            }
            71..82 => self.kill(store, id, force),
            82..89 => self.edit_group(store, force),
            89..91 => Command::DeleteGroup { group: self.any(&GROUPS[..3]), force },
            91..93 => self.nested_groups(),
            93..99 => Command::ResetDelay { app: id },
            _ => Command::EnforceRole { group: path("/shop"), enforce: Some(self.dice.chance(0.5)) },
        };
        (command, wanted)
    }

    pub fn any(&mut self, names: &[&'static str]) -> PathId {
        let name: &&str = self.dice.pick(names);
        path(name)
    }

    fn some_version(&mut self, store: &Store, id: &SpecId) -> Timestamp {
        let known: Vec<Timestamp> =
            store.apps.get(id).into_iter().flat_map(|it| it.keys().copied()).collect();
        if known.is_empty() || self.dice.chance(0.1) { Timestamp(7) } else { *self.dice.pick(&known) }
    }

    fn kill(&mut self, store: &Store, app: SpecId, force: bool) -> Command {
        let tasks: Vec<TaskId> =
            store.instances().filter_map(|it| Some(it.task.as_ref()?.id.clone())).collect();
        let victims = match self.dice.between(0, 4) {
            0 => Victims::OfApp { app, host: None },
            1 => Victims::OfApp { app, host: Some("host0".to_owned()) },
            2 if !tasks.is_empty() => {
                let task = self.dice.pick(&tasks).clone();
                Victims::One { app: task.instance.spec.clone(), task }
            }
            _ if tasks.is_empty() => Victims::Tasks(Vec::new()),
            _ => Victims::Tasks((0..2).map(|_| self.dice.pick(&tasks).clone()).collect()),
        };
        let (scale, wipe) = *self.dice.pick(&[(false, false), (false, false), (true, false), (false, true)]);
        Command::Kill { victims, scale, wipe, force }
    }

    /// A whole definition, of the kinds that matter to scheduling.
    pub fn definition(&mut self, id: &SpecId) -> AppUpdate {
        self.counter += 1;
        let number = if self.dice.chance(0.3) { 0 } else { self.counter };
        let dice = &mut self.dice;
        let what = *dice.pick(&["sleep", "sleep", "sleep", "sleep", "crash", "finish", "sick"]);
        let mut update = AppUpdate {
            cmd: Some(format!("{what} {number}")),
            instances: Some(dice.between(0, INSTANCES_MAX.into()) as u32),
            cpus: Some(Milli(*dice.pick(&[100, 250, 1_000]))),
            mem: Some(Milli::from_whole(*dice.pick(&[32, 64, 128]))),
            ..AppUpdate::default()
        };
        if dice.chance(0.7) {
            let capacity = |dice: &mut Dice| Some(*dice.pick(&[0.0, 0.3, 0.5, 0.75, 1.0]));
            update.upgrade = Some(UpgradeUpdate {
                minimum_health_capacity: capacity(dice),
                maximum_over_capacity: capacity(dice),
            });
        }
        // Fixed ports need a host for each instance, which together with a constraint may be too much to ask.
        let fixed = dice.chance(0.1);
        let constrained = !fixed && dice.chance(0.4);
        update.constraints = Some(if constrained { vec![constraint(dice)] } else { Vec::new() });
        update.require_ports = Some(fixed);
        ports(dice, &mut update, id, fixed);
        if dice.chance(0.5) {
            update.health_checks = Some(vec![health_check(dice)]);
        }
        if dice.chance(0.5) {
            update.backoff_initial = Some(Duration::from_millis(*dice.pick(&[0, 1_000, 10_000])));
            update.backoff_factor = Some(*dice.pick(&[1.0, 1.15, 2.0]));
            update.backoff_max = Some(Duration::from_secs(*dice.pick(&[10, 60, 300])));
        }
        if dice.chance(0.5) {
            let span = |dice: &mut Dice| Duration::from_secs(*dice.pick(&[0, 30, 300]));
            let (one, other) = (span(dice), span(dice));
            update.unreachable = Some(match dice.chance(0.2) {
                true => UnreachableStrategy::Disabled,
                false => UnreachableStrategy::After { inactive: one.min(other), expunge: one.max(other) },
            });
        }
        if dice.chance(0.2) {
            update.kill_selection = Some(KillSelection::OldestFirst);
        }
        if dice.chance(0.25) {
            update.dependencies = Some(vec![(*dice.pick(&APPS)).to_owned()]);
        }
        if self.resident && crate::kept::is_resident(id) {
            crate::kept::own_volumes(&mut update, id);
        }
        update
    }
}

fn ports(dice: &mut Dice, update: &mut AppUpdate, id: &SpecId, fixed: bool) {
    let readiness = dice.chance(0.2);
    if !readiness && !fixed && dice.chance(0.5) {
        return;
    }
    let count = dice.between(1, 2);
    // Of one app, the instances get in each other's way; different apps do not.
    let first = 31_000 + 2 * APPS.iter().position(|it| *it == id.as_str()).unwrap_or_default() as u16;
    let definitions = (0..count).map(|at| PortDefinition {
        port: if fixed { first + at as u16 } else { 0 },
        protocol: Protocol::Tcp,
        name: Some(format!("p{at}")),
        labels: Labels::new(),
    });
    update.port_definitions = Some(definitions.collect());
    if readiness {
        update.readiness_checks = Some(vec![ReadinessCheck {
            name: "ready".to_owned(),
            https: false,
            path: "/".to_owned(),
            port_name: "p0".to_owned(),
            interval: Duration::from_secs(*dice.pick(&[2, 30])),
            timeout: Duration::from_secs(1),
            ready_codes: vec![200],
            preserve_last_response: dice.chance(0.5),
        }]);
    }
}

fn health_check(dice: &mut Dice) -> HealthCheckUpdate {
    let by_engine = dice.chance(0.3);
    let kind = match dice.between(0, 2) {
        0 => HealthKind::Tcp { by_engine, port: CheckPort::Index(0) },
        1 => HealthKind::Command { shell: "true".to_owned() },
        _ => HealthKind::Http {
            https: false,
            by_engine,
            path: Some("/".to_owned()),
            port: CheckPort::Index(0),
            ignore_1xx: false,
        },
    };
    let check = HealthCheck {
        kind,
        grace: Duration::from_secs(*dice.pick(&[5, 60])),
        interval: Duration::from_secs(*dice.pick(&[10, 60])),
        timeout: Duration::from_secs(*dice.pick(&[2, 20])),
        delay: Duration::from_secs(5),
        max_failures: *dice.pick(&[0, 1, 3]),
        ipv6: false,
    };
    HealthCheckUpdate { check, port_and_index: false }
}

/// Only what a large enough cluster can fulfil.
pub fn constraint(dice: &mut Dice) -> Constraint {
    let of = |field: &str, operator, value: Option<&str>| Constraint {
        field: field.to_owned(),
        operator,
        value: value.map(str::to_owned),
    };
    match dice.between(0, 10) {
        0 => of("hostname", Operator::Unique, None),
        1 => of("rack", Operator::Cluster, Some("r1")),
        2 => of("rack", Operator::Cluster, None),
        3 => of("rack", Operator::Like, Some("r[12]")),
        4 => of("rack", Operator::Unlike, Some("r3")),
        5 => of("rack", Operator::GroupBy, None),
        6 => of("rack", Operator::GroupBy, Some("3")),
        7 => of("hostname", Operator::MaxPer, Some("2")),
        8 => of("@zone", Operator::GroupBy, None),
        9 => of("@zone", Operator::Is, Some("z2")),
        _ => of("rack", Operator::Is, Some("r2")),
    }
}

pub fn wanted_of(update: &AppUpdate) -> Wanted {
    Wanted::Defined { instances: update.instances, cmd: update.cmd.clone() }
}

pub fn edit_apps(edits: Vec<(SpecId, AppEdit)>, force: bool) -> Command {
    Command::EditApps { edits, force, origin: None }
}

pub fn path(text: &str) -> PathId {
    PathId::parse(text).expect("the names above are legal")
}
