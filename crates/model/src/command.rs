//! What users ask of the leader, and the answers.

use std::sync::Arc;

use crate::app::AppSpec;
use crate::callback::CallbackUrl;
use crate::deployment::{GuardUpdate, Step};
use crate::id::{DeploymentId, GroupId, InstanceId, SpecId, TaskId};
use crate::instance::Instance;
use crate::notice::Notice;
use crate::time::Timestamp;
use crate::update::{AppEdit, GroupUpdate, PodUpdate};

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// One deployment for all edits, or none of them.
    EditApps {
        edits: Vec<(SpecId, AppEdit)>,
        force: bool,
        origin: Option<Origin>,
    },
    EditPod {
        id: SpecId,
        edit: PodEdit,
        force: bool,
        origin: Option<Origin>,
    },
    /// `create`: refused where the group exists (POST).
    EditGroup {
        group: GroupId,
        update: Box<GroupUpdate>,
        create: bool,
        force: bool,
        dry_run: bool,
    },
    /// The root empties the whole tree.
    DeleteGroup {
        group: GroupId,
        force: bool,
    },
    /// PATCH of a top-level group; deploys nothing.
    EnforceRole {
        group: GroupId,
        enforce: Option<bool>,
    },
    Kill {
        victims: Victims,
        scale: bool,
        wipe: bool,
        force: bool,
    },
    /// Without `force` the change is undone by a new deployment; with it, it just ends.
    CancelDeployment {
        id: DeploymentId,
        force: bool,
    },
    ResetDelay {
        app: SpecId,
    },
    /// The deployment that comes of the command gives up by itself under these conditions.
    Guarded {
        guard: GuardUpdate,
        command: Box<Command>,
    },
    /// Every event goes to this address by POST from now on. Again is harmless.
    Subscribe {
        url: CallbackUrl,
        client_ip: String,
    },
    /// An address nobody knows is no mistake.
    Unsubscribe {
        url: CallbackUrl,
        client_ip: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum PodEdit {
    /// POST: refused where the pod exists.
    Create(Box<PodUpdate>),
    /// PUT: the whole pod anew, created where it does not exist.
    Replace(Box<PodUpdate>),
    Delete,
}

/// Who asked, for the `api_post_event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub client_ip: String,
    pub uri: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Victims {
    /// All tasks of an app, or those on one host.
    OfApp { app: SpecId, host: Option<String> },
    /// One task, which must exist and belong to the app.
    One { app: SpecId, task: TaskId },
    /// Whichever of these exist.
    Tasks(Vec<TaskId>),
    /// Instances of a pod. One alone must exist, of several those that do.
    Instances { pod: SpecId, instances: Vec<InstanceId> },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Deployed {
        version: Timestamp,
        deployment: DeploymentId,
        /// A PUT that made a new app.
        created: bool,
        /// The app as accepted, before service ports were assigned (POST answers with it).
        app: Option<Arc<AppSpec>>,
    },
    /// What a dry run would do.
    Plan(Vec<Step>),
    /// The instances that were told to end, as they were before.
    Killed(Vec<Arc<Instance>>),
    /// Done, and this was said about it.
    Told(Box<Notice>),
    Done,
    Refused(Refusal),
}

/// Why a command was not carried out. `api` gives each its status and text.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    NoSuchApp {
        id: SpecId,
        version: Option<Timestamp>,
    },
    NoSuchPod(SpecId),
    NoSuchGroup {
        id: GroupId,
        version: Option<Timestamp>,
    },
    NoSuchTask(String),
    NoSuchDeployment(String),
    NotQueued(SpecId),
    AppExists(SpecId),
    PodExists(SpecId),
    GroupExists(GroupId),
    /// POST of a group where an app has the path.
    PathTaken(GroupId),
    Locked {
        holders: Vec<DeploymentId>,
    },
    Invalid(Vec<Violation>),
    /// 422 with a plain message.
    Illegal(String),
    /// 400 with a plain message.
    BadRequest(String),
    TooManyDeployments {
        limit: usize,
    },
    PortsExhausted {
        first: u16,
        last: u16,
    },
    /// The server cannot take changes now: not leading, stopping, or its store is gone.
    Unavailable(String),
}

/// One broken rule, at a path such as `/upgradeStrategy/minimumHealthCapacity`; `/` is the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub path: String,
    pub message: String,
}

impl Violation {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Violation {
        Violation { path: path.into(), message: message.into() }
    }
}
