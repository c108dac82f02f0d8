//! What the store is asked to keep. Applying all writes of a store in any order gives the state back.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::AppSpec;
use crate::callback::CallbackUrl;
use crate::deployment::{Deployment, Failed, Progress};
use crate::group::Group;
use crate::id::{DeploymentId, FrameworkId, GroupId, InstanceId, SpecId};
use crate::instance::{Instance, TaskFailure};
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// One version of an app, named by `(id, version)`; the newest is the present one.
    App(Arc<AppSpec>),
    /// The app was removed at this moment; a version like the others.
    AppRemoved {
        id: SpecId,
        at: Timestamp,
    },
    /// A version (or a removal) nobody can ask for any more.
    AppVersionForgotten {
        id: SpecId,
        version: Timestamp,
    },
    /// One version of a group.
    Group(Arc<Group>),
    GroupRemoved {
        id: GroupId,
        at: Timestamp,
    },
    GroupVersionForgotten {
        id: GroupId,
        version: Timestamp,
    },
    /// The tree as a whole got this version.
    Root {
        version: Timestamp,
    },
    RootForgotten {
        version: Timestamp,
    },
    Instance(Arc<Instance>),
    InstanceGone(InstanceId),
    Deployment(Arc<Deployment>),
    DeploymentGone(DeploymentId),
    /// Of a deployment whose own record may be behind.
    Progress(Progress),
    ProgressGone(DeploymentId),
    Failed(Arc<Failed>),
    FailedForgotten(DeploymentId),
    Failure(Arc<TaskFailure>),
    FailureGone(SpecId),
    Delay {
        app: SpecId,
        delay: Delay,
    },
    DelayGone(SpecId),
    Framework(FrameworkId),
    /// When this state began to be kept. Reservations that are older than that were made by another one, and are not
    /// this one's to remove.
    Began(Timestamp),
    /// Gets every event by POST.
    Callback(CallbackUrl),
    CallbackGone(CallbackUrl),
    /// No event of this leader has a lower id.
    EventsBegin(u64),
}

/// How long an app waits before the next start after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// `config` of the definition that failed: a new configuration starts afresh.
    pub config: Timestamp,
    pub current: Duration,
    /// The delay ends at `since + current`.
    pub since: Timestamp,
}
