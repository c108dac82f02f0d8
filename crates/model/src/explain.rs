//! Why the instances of an app or pod are as they are: the answer to `…/explain`.

use std::sync::Arc;
use std::time::Duration;

use crate::app::{Constraint, Labels};
use crate::id::{AgentId, InstanceId, SpecId};
use crate::resources::{Milli, Role};
use crate::time::Timestamp;
use crate::view::Mismatch;

#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub id: SpecId,
    pub pod: bool,
    pub version: Timestamp,
    /// One sentence for somebody in a hurry.
    pub headline: String,
    /// How many the definition asks for.
    pub instances: u32,
    /// Of the present configuration, running, ready and not unhealthy.
    pub serving: u32,
    /// All that is not as it should be, alike ones together, what needs attention first.
    pub reasons: Vec<Reason>,
    /// Where those that wait could go; absent when none waits for an agent.
    pub placement: Option<Placement>,
}

/// Instances that are what they are for the same reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    pub why: Why,
    pub text: String,
    pub count: u32,
    /// The first of them; those that do not exist yet have no id.
    pub instances: Vec<InstanceId>,
    /// Since when the first of them is so.
    pub since: Option<Timestamp>,
    /// When that ends by itself, where a timer decides.
    pub until: Option<Timestamp>,
}

/// In the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    EngineNotConnected,
    BackoffDelay,
    OwnVolume,
    NoFittingAgent,
    NoOffers,
    NextOffer,
    Unhealthy,
    Unreachable,
    Launched,
    Staging,
    Starting,
    HealthUnknown,
    NotReady,
    Killing,
    Dependency,
    DeploymentStep,
    /// Of an earlier configuration, and to be replaced.
    Outdated,
    Ending,
}

impl Why {
    pub fn name(self) -> &'static str {
        match self {
            Why::EngineNotConnected => "engineNotConnected",
            Why::BackoffDelay => "backoffDelay",
            Why::OwnVolume => "ownVolume",
            Why::NoFittingAgent => "noFittingAgent",
            Why::NoOffers => "noOffers",
            Why::NextOffer => "nextOffer",
            Why::Unhealthy => "unhealthy",
            Why::Unreachable => "unreachable",
            Why::Launched => "launched",
            Why::Staging => "staging",
            Why::Starting => "starting",
            Why::HealthUnknown => "healthUnknown",
            Why::NotReady => "notReady",
            Why::Killing => "killing",
            Why::Dependency => "dependency",
            Why::DeploymentStep => "deploymentStep",
            Why::Outdated => "outdated",
            Why::Ending => "ending",
        }
    }
}

/// One more instance against every agent that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Agents seen.
    pub agents: u32,
    /// Those of them where one more would fit now.
    pub fitting: u32,
    /// All others by their first refusal, in the order of the funnel.
    pub refusals: Vec<Refusals>,
    /// The first of them one by one.
    pub rows: Vec<AgentRow>,
    /// What would place one more, the smallest change first. Each was tried against the agents.
    pub suggestions: Vec<Suggestion>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Refusals {
    pub reason: Mismatch,
    pub agents: u32,
    /// What they have in common, with the best of them in numbers.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AgentRow {
    pub agent: AgentId,
    pub host: Arc<str>,
    /// When it last offered something.
    pub at: Timestamp,
    /// `None`: one more fits.
    pub refusal: Option<Lack>,
}

/// The first thing that is wrong with an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Lack {
    pub reason: Mismatch,
    pub text: String,
    /// Of a resource: cpus, MiB, devices or a number of ports.
    pub needed: Option<Milli>,
    pub free: Option<Milli>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    pub text: String,
    pub change: Change,
    /// How many of the agents known would then fit; 1 for an agent to be added.
    pub agents: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// These amounts instead of the present ones.
    Resources {
        cpus: Option<Milli>,
        mem: Option<Milli>,
        disk: Option<Milli>,
        gpus: Option<u32>,
    },
    /// These constraints instead of the present ones.
    Constraints(Vec<Constraint>),
    AcceptedRoles(Vec<Role>),
    /// Host ports as they come instead of exactly those declared.
    AnyPorts,
    Labels(Labels),
    /// Of an agent, not of the definition.
    FreePorts {
        agent: AgentId,
        ports: Vec<u16>,
    },
    AddAgent,
    Wait(Duration),
}
