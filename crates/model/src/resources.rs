//! Amounts of cpu, memory, disk and ports, by role.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::DiskKind;

/// A scalar amount in thousandths. Mesos keeps three digits after the point and so do we, which makes
/// sums exact: 0.1 taken ten times from 1.0 leaves 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(pub u64);

impl Milli {
    pub const ZERO: Milli = Milli(0);

    pub fn from_whole(amount: u64) -> Milli {
        Milli(amount.saturating_mul(1000))
    }

    /// Rounds to three digits; what is negative or no number becomes 0.
    pub fn from_f64(amount: f64) -> Milli {
        // A cast from float to integer saturates, and maps NaN to 0.
        Milli((amount * 1000.0).round() as u64)
    }

    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    pub fn saturating_sub(self, other: Milli) -> Milli {
        Milli(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Add for Milli {
    type Output = Milli;
    fn add(self, other: Milli) -> Milli {
        Milli(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Milli {
    fn sum<I: Iterator<Item = Milli>>(amounts: I) -> Milli {
        amounts.fold(Milli::ZERO, |a, b| a + b)
    }
}

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amounts {
    pub cpus: Milli,
    /// MiB.
    pub mem: Milli,
    /// MiB.
    pub disk: Milli,
    /// Whole devices.
    pub gpus: u32,
}

impl std::ops::Add for Amounts {
    type Output = Amounts;

    fn add(self, more: Amounts) -> Amounts {
        Amounts {
            cpus: self.cpus + more.cpus,
            mem: self.mem + more.mem,
            disk: self.disk + more.disk,
            gpus: self.gpus.saturating_add(more.gpus),
        }
    }
}

/// A role of the cluster; `*` is everybody's.
pub type Role = Arc<str>;

/// The role of unreserved resources.
pub const ANY_ROLE: &str = "*";

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// One kind of resource under one role, as an offer lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub role: Role,
    pub amount: Amount,
    /// Set aside by a framework while it ran, for one of its instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Arc<Reserved>>,
    /// Disk other than plain space on the agent's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Arc<Disk>>,
}

impl Resource {
    pub fn new(role: impl Into<Role>, amount: Amount) -> Resource {
        Resource { role: role.into(), amount, reserved: None, disk: None }
    }
}

/// A dynamic reservation: who made it, and for what (`marathon_framework_id`, `marathon_task_id`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reserved {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Disk {
    pub kind: DiskKind,
    /// Where a `Path` or `Mount` disk lies on the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The volume on it: its persistence id, and where the container sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    Cpus(Milli),
    Mem(Milli),
    Disk(Milli),
    Gpus(Milli),
    Ports(Vec<PortRange>),
    /// Something this release does not use; shown in `/v2/queue`, never taken.
    Other(Arc<str>, Milli),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_without_trailing_zeros() {
        let text = |amount: f64| Milli::from_f64(amount).to_string();
        assert_eq!(
            [text(0.1), text(1.0), text(1.25), text(-3.0), text(f64::NAN)],
            ["0.1", "1", "1.25", "0", "0"]
        );
    }
}
