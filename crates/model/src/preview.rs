//! What a change would do, found out without doing it.

use std::sync::Arc;

use crate::deployment::{ActionKind, AppChange, GroupChange, Step};
use crate::id::{DeploymentId, SpecId};
use crate::resources::{Amounts, Milli};
use crate::view::Mismatch;

#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    pub steps: Vec<Step>,
    /// Apps whose definition changes, or of which tasks start or stop, in the order of their paths.
    pub apps: Vec<AppPreview>,
    pub groups: Vec<GroupChange>,
    /// Running deployments that would be ended for it.
    pub ends: Vec<DeploymentId>,
    /// The most that lives at a time beyond what lives now.
    pub peak: Peak,
    /// Agents that were known, and so played along.
    pub agents: usize,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AppPreview {
    /// Both sides are the same where only tasks start or stop.
    pub change: AppChange,
    pub starts: u32,
    pub stops: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    pub instances: u32,
    pub amounts: Amounts,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Everything comes true, if every task starts and is healthy.
    Completes,
    Stuck(Stuck),
    /// It was not played to its end, for this reason.
    Unknown(Arc<str>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stuck {
    /// The step in which nothing moves any more, counted from 0; `None` where there is no deployment.
    pub step: Option<usize>,
    pub apps: Vec<StuckApp>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StuckApp {
    pub id: SpecId,
    pub action: Option<ActionKind>,
    pub pod: bool,
    pub wanted: u32,
    /// Instances that find no place.
    pub unplaced: u32,
    /// Instances that run and do not serve.
    pub unready: u32,
    /// Instances that ought to end and do not.
    pub ending: u32,
    /// The first reasons why agents cannot take an instance, most frequent first.
    pub obstacles: Vec<Obstacle>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Obstacle {
    pub why: Mismatch,
    pub agents: u32,
    /// For a resource: what one instance needs, and the most that one of these agents has.
    pub amounts: Option<(Milli, Milli)>,
}
