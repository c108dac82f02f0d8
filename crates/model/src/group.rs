//! Groups: the tree that holds apps.

use serde::{Deserialize, Serialize};

use crate::id::{GroupId, PathId};
use crate::time::Timestamp;

/// A group itself; which apps and groups lie in it follows from their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: GroupId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<PathId>,
    /// Only meaningful on top-level groups.
    #[serde(default)]
    pub enforce_role: bool,
    /// When this group last became what it is. Reads show the version of the whole tree instead.
    pub version: Timestamp,
}
