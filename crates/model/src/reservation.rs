//! State that stays: what an agent keeps for one instance between its starts, and the volumes in it.
//!
//! ```text
//! New ─► Suspended ◄──► Launched
//!  │        the agent has it    a task runs on it
//!  └ asked for; given up when no offer shows it in time
//! ```
//! The agent knows the owner by two labels of the reservation, so that what was reserved is recognised in an
//! offer by whoever made it, and by nobody else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::{AppSpec, Constraint, DiskKind, Volume, VolumeSource};
use crate::id::{FrameworkId, InstanceId, SpecId};
use crate::pod::{PodVolume, PodVolumeSource};
use crate::resources::{Reserved, Resource};
use crate::time::Timestamp;

/// The label of a reservation with the id of the framework that made it.
pub const FRAMEWORK_LABEL: &str = "marathon_framework_id";
/// The label with the id of the instance it was made for.
pub const INSTANCE_LABEL: &str = "marathon_task_id";

/// What an agent keeps for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub state: ReservationState,
    /// When it was asked for.
    pub since: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<LocalVolume>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReservationState {
    /// Asked for, and not seen yet.
    New,
    /// In use by a task, as far as we know.
    Launched,
    /// Kept, without a task.
    Suspended,
}

/// One volume of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalVolume {
    /// Where the container of an app sees it, or the name of a pod's volume.
    pub name: Arc<str>,
    pub uuid: Uuid,
}

impl LocalVolume {
    /// The name of the volume on its agent: `<safe path>#<name>#<uuid>`.
    pub fn persistence_id(&self, spec: &SpecId) -> String {
        format!("{}#{}#{}", spec.safe(), self.name, self.uuid.as_hyphenated())
    }
}

impl Reservation {
    pub fn is_new(&self) -> bool {
        self.state == ReservationState::New
    }
}

impl Reserved {
    pub fn of(framework: &FrameworkId, instance: &InstanceId, principal: Option<String>) -> Reserved {
        let labels = BTreeMap::from([
            (FRAMEWORK_LABEL.to_owned(), framework.to_string()),
            (INSTANCE_LABEL.to_owned(), instance.to_string()),
        ]);
        Reserved { principal, labels }
    }

    /// The framework that made it and the instance it was made for, as the labels say.
    pub fn owner(&self) -> Option<(&str, &str)> {
        Some((self.labels.get(FRAMEWORK_LABEL)?, self.labels.get(INSTANCE_LABEL)?))
    }
}

impl Resource {
    /// The persistence id of the volume this disk holds.
    pub fn volume(&self) -> Option<&str> {
        self.disk.as_ref()?.volume.as_ref().map(|(id, _)| id.as_str())
    }

    /// Whether a task without any reservation may take it, if its role fits: it is nobody's, and no volume.
    pub fn is_common(&self) -> bool {
        self.reserved.as_ref().is_none_or(|it| it.labels.is_empty()) && self.volume().is_none()
    }
}

/// A volume that a definition asks for, for each instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VolumeWish<'a> {
    pub name: &'a str,
    pub kind: DiskKind,
    /// MiB.
    pub size: u64,
    pub max_size: Option<u64>,
    pub profile: Option<&'a str>,
    pub constraints: &'a [Constraint],
}

impl AppSpec {
    /// The persistent volumes of an app or a pod, in the order of their declaration.
    pub fn persistent_volumes(&self) -> Vec<VolumeWish<'_>> {
        let of_app = self.container.iter().flat_map(|it| &it.volumes).filter_map(wish_of_app);
        let of_pod = self.pod.iter().flat_map(|it| &it.volumes).filter_map(wish_of_pod);
        of_app.chain(of_pod).collect()
    }
}

fn wish_of_app(volume: &Volume) -> Option<VolumeWish<'_>> {
    let VolumeSource::Persistent { kind, size, max_size, profile, constraints } = &volume.source else {
        return None;
    };
    let (name, profile) = (volume.container_path.as_str(), profile.as_deref());
    Some(VolumeWish { name, kind: *kind, size: *size, max_size: *max_size, profile, constraints })
}

fn wish_of_pod(volume: &PodVolume) -> Option<VolumeWish<'_>> {
    let PodVolumeSource::Persistent { kind, size, max_size, profile, constraints } = &volume.source else {
        return None;
    };
    let profile = profile.as_deref();
    let name = &*volume.name;
    Some(VolumeWish { name, kind: *kind, size: *size, max_size: *max_size, profile, constraints })
}

impl fmt::Display for ReservationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReservationState::New => "New",
            ReservationState::Launched => "Launched",
            ReservationState::Suspended => "Suspended",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PathId;

    #[test]
    fn volumes_are_named_after_their_app() {
        let volume = LocalVolume { name: "data".into(), uuid: Uuid::nil() };
        let id = volume.persistence_id(&PathId::parse("/shop/db").unwrap());
        assert_eq!(id, "shop_db#data#00000000-0000-0000-0000-000000000000");
    }

    #[test]
    fn labels_say_whose_it_is() {
        let instance = InstanceId { spec: PathId::parse("/db").unwrap(), uuid: Uuid::nil() };
        let reserved = Reserved::of(&FrameworkId::new("f"), &instance, None);
        assert_eq!(reserved.owner(), Some(("f", instance.to_string().as_str())));
        let of_others = Reserved { principal: None, labels: BTreeMap::new() };
        assert_eq!(of_others.owner(), None);
    }
}
