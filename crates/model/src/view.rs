//! Everything at one moment. GET requests read it without locks: the maps share their nodes with the
//! core's own, so a new view costs a few pointers, whatever the number of instances.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use uuid::Uuid;

use crate::app::AppSpec;
use crate::callback::{CallbackUrl, Subscriber};
use crate::deployment::{Deployment, Failed};
use crate::event::ProbeOutcome;
use crate::group::Group;
use crate::id::{AgentId, DeploymentId, FrameworkId, GroupId, InstanceId, SpecId, TaskId};
use crate::instance::{Instance, TaskFailure};
use crate::offer::Offer;
use crate::resources::{Resource, Role};
use crate::time::Timestamp;
use crate::write::Delay;

#[derive(Debug, Clone, Default)]
pub struct View {
    /// Grows with every published change.
    pub revision: u64,
    /// Live apps, and removed ones for as long as instances or versions of them are left.
    pub apps: OrdMap<SpecId, Arc<App>>,
    /// Always holds the root.
    pub groups: OrdMap<GroupId, Arc<Group>>,
    /// Earlier forms of groups, oldest first; `None` marks a removal.
    pub group_history: OrdMap<GroupId, Versions<Group>>,
    pub deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    /// Deployments that gave up by themselves, oldest first; the latest ones only.
    pub failed: Vector<Arc<Failed>>,
    pub root_version: Timestamp,
    /// Oldest first.
    pub root_versions: Vector<Timestamp>,
    pub framework: Option<FrameworkId>,
    /// When this state began to be kept; 0 where that is not known.
    pub began: Timestamp,
    /// The master (or engine) we are subscribed to.
    pub master: Option<Arc<str>>,
    /// The address of its own interface, and the region it is in, as far as it told.
    pub master_ui: Option<Arc<str>>,
    pub master_region: Option<Arc<str>>,
    pub counters: Counters,
    /// Who gets every event by POST.
    pub callbacks: OrdMap<CallbackUrl, Subscriber>,
    /// The id of this leader's first event, above all those of earlier ones.
    pub events_begin: u64,
    /// What each agent had to offer when last heard of, as far as known. Empty after a start.
    pub agents: OrdMap<AgentId, Arc<AgentSeen>>,
}

/// An agent as its latest offer showed it.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSeen {
    /// The offer as it came.
    pub offer: Arc<Offer>,
    /// What is free by our account: the offer less what was started on it, plus what has ended there since.
    pub free: Vec<Resource>,
    pub at: Timestamp,
}

/// Earlier forms of something, each with the moment it came into force.
pub type Versions<T> = Vector<(Timestamp, Option<Arc<T>>)>;

/// Everything about one app.
#[derive(Debug, Clone)]
pub struct App {
    pub id: SpecId,
    /// `None`: removed; its last instances are ending.
    pub spec: Option<Arc<AppSpec>>,
    /// All kept versions, oldest first; `None` marks a removal.
    pub history: Versions<AppSpec>,
    pub instances: OrdMap<Uuid, Arc<Instance>>,
    pub tally: Tally,
    pub failure: Option<Arc<TaskFailure>>,
    pub delay: Option<Delay>,
    /// Running deployments that touch this app.
    pub deployments: Vec<DeploymentId>,
    /// What became of offers while instances waited; absent when none waits.
    pub waiting: Option<Arc<Waiting>>,
    /// Results of readiness checks during a deployment, by instance.
    pub readiness: OrdMap<Uuid, Readiness>,
    /// The revision of the view in which this app last changed: a key for caches.
    pub revision: u64,
}

/// How many instances are in which state. Kept up to date at the one place where instances change, and
/// compared with a fresh count by `audit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Instances of the present configuration.
    pub current: Counts,
    /// Instances of any other configuration, to be replaced.
    pub outdated: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All instances, whatever their goal.
    pub total: u32,
    /// Goal Running and not given up as unreachable for too long.
    pub wanted: u32,
    /// Goal Running, waiting to be placed.
    pub waiting: u32,
    /// Goal Running and `is_serving`.
    pub serving: u32,
    /// Goal not Running, not over yet.
    pub ending: u32,
    /// As shown in the API: launched and not yet running.
    pub staged: u32,
    /// As shown in the API.
    pub running: u32,
    pub healthy: u32,
    pub unhealthy: u32,
}

/// One app in the launch queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    pub since: Timestamp,
    pub role: Role,
    pub processed_offers: u64,
    pub unused_offers: u64,
    pub last_unused_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    /// First refusals, by the funnel order of `Mismatch`, since the queue entry began.
    pub refusals: [u64; Mismatch::ALL.len()],
    /// The newest unused offer of each agent with all its refusals, bounded.
    pub last_unused: Vector<Arc<UnusedOffer>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct UnusedOffer {
    pub offer: Arc<Offer>,
    pub reasons: Vec<Mismatch>,
    pub at: Timestamp,
}

/// Why an offer cannot start an instance, in the order in which the reasons are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mismatch {
    UnfulfilledRole,
    UnfulfilledConstraint,
    NoCorrespondingReservationFound,
    AgentMaintenance,
    InsufficientCpus,
    InsufficientMemory,
    InsufficientDisk,
    InsufficientGpus,
    InsufficientPorts,
    DeclinedScarceResources,
}

impl Mismatch {
    pub const ALL: [Mismatch; 10] = [
        Mismatch::UnfulfilledRole,
        Mismatch::UnfulfilledConstraint,
        Mismatch::NoCorrespondingReservationFound,
        Mismatch::AgentMaintenance,
        Mismatch::InsufficientCpus,
        Mismatch::InsufficientMemory,
        Mismatch::InsufficientDisk,
        Mismatch::InsufficientGpus,
        Mismatch::InsufficientPorts,
        Mismatch::DeclinedScarceResources,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Mismatch::UnfulfilledRole => "UnfulfilledRole",
            Mismatch::UnfulfilledConstraint => "UnfulfilledConstraint",
            Mismatch::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Mismatch::AgentMaintenance => "AgentMaintenance",
            Mismatch::InsufficientCpus => "InsufficientCpus",
            Mismatch::InsufficientMemory => "InsufficientMemory",
            Mismatch::InsufficientDisk => "InsufficientDisk",
            Mismatch::InsufficientGpus => "InsufficientGpus",
            Mismatch::InsufficientPorts => "InsufficientPorts",
            Mismatch::DeclinedScarceResources => "DeclinedScarceResources",
        }
    }
}

/// The latest answer to a readiness check.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    pub name: String,
    pub task: TaskId,
    pub ready: bool,
    /// Kept only if the check asks for it.
    pub last_response: Option<ProbeOutcome>,
}

/// Running totals since this leader began, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub deployments: u64,
    pub deployments_dismissed: u64,
    pub tasks_launched: u64,
    pub reservations: u64,
    pub offers_incoming: u64,
    pub offers_used: u64,
    pub offers_declined: u64,
    pub revives: u64,
    pub suppresses: u64,
    /// By `TaskState`, in the order of its variants.
    pub updates: [u64; 14],
    pub out_of_memory: u64,
    pub kills_in_flight: u64,
    pub launches_overdue: u64,
}

impl View {
    /// A live app.
    pub fn app(&self, id: &SpecId) -> Option<&Arc<App>> {
        self.apps.get(id).filter(|it| it.spec.is_some())
    }

    /// Live apps in the order of their paths.
    pub fn live_apps(&self) -> impl Iterator<Item = (&Arc<App>, &Arc<AppSpec>)> {
        self.apps.values().filter_map(|it| Some((it, it.spec.as_ref()?)))
    }

    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.apps.get(&id.spec)?.instances.get(&id.uuid)
    }

    /// The task of this id, if it is the present (or last) one of its instance.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Instance>> {
        self.instance(&id.instance).filter(|it| it.task.as_ref().is_some_and(|task| task.id == *id))
    }
}

impl App {
    /// The definition as it stood in exactly this version.
    pub fn version(&self, version: Timestamp) -> Option<&Arc<AppSpec>> {
        self.history.iter().rev().find(|(at, _)| *at == version)?.1.as_ref()
    }

    /// The definition in force at this moment.
    pub fn as_of(&self, moment: Timestamp) -> Option<&Arc<AppSpec>> {
        self.history.iter().rev().find(|(at, _)| *at <= moment)?.1.as_ref()
    }
}

impl Tally {
    pub fn sum(&self) -> Counts {
        let (a, b) = (self.current, self.outdated);
        Counts {
            total: a.total + b.total,
            wanted: a.wanted + b.wanted,
            waiting: a.waiting + b.waiting,
            serving: a.serving + b.serving,
            ending: a.ending + b.ending,
            staged: a.staged + b.staged,
            running: a.running + b.running,
            healthy: a.healthy + b.healthy,
            unhealthy: a.unhealthy + b.unhealthy,
        }
    }
}
