//! An agent of the simulated cluster: what it has, what it keeps, and what of it was refused.

use std::time::Duration;

use marathon_model::id::AgentId;
use marathon_model::resources::Resource;
use marathon_model::time::Timestamp;

use crate::agenda::Millis;
use crate::cluster::OpenOffer;
use crate::plan::AgentPlan;
use crate::room::{give_back, is_no_more};

#[derive(Debug)]
pub struct Agent {
    pub id: AgentId,
    pub plan: AgentPlan,
    pub free: Vec<Resource>,
    pub link: Link,
    /// Counts the cuts, so that a late event can tell which one it belongs to.
    pub cuts: u64,
    /// When it is not to be relied upon, by the wall clock.
    pub maintenance: Option<(Timestamp, Duration)>,
    /// Reserved, volumes included, whether in use or not.
    pub kept: Vec<Resource>,
    /// Some of it belongs to another framework.
    pub strangers: bool,
    /// Counts what came back, so that nobody has to look again at what is free while nothing did.
    returns: u64,
    filter: Option<Filter>,
}

/// What was refused is not offered again for a while, unless there is more of it.
#[derive(Debug)]
struct Filter {
    until: Millis,
    refused: Vec<Resource>,
    kept: Vec<Resource>,
    /// With so many returns there was no more than what was refused.
    seen: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Up,
    /// Out of reach; the engine has not noticed.
    Cut,
    /// Out of reach for so long that its tasks were reported unreachable.
    Missed,
    /// It will never be back, but nobody has said so.
    Dead,
    /// An operator said so.
    MarkedGone,
}

impl Agent {
    pub fn new(id: AgentId, plan: AgentPlan, kept: Vec<Resource>, strangers: bool) -> Agent {
        let free = plan.resources.clone();
        let (link, maintenance) = (Link::Up, None);
        Agent { id, plan, free, link, cuts: 0, maintenance, kept, strangers, returns: 0, filter: None }
    }

    /// A declined offer comes back.
    pub fn refuse(&mut self, offer: OpenOffer, until: Millis) {
        self.take_back(&offer.resources);
        self.filter = Some(Filter { until, refused: offer.resources, kept: offer.kept, seen: None });
    }

    /// Everything may be offered again.
    pub fn unfilter(&mut self) {
        self.filter = None;
    }

    /// Something is free again, or may be: of what is kept, too.
    pub fn take_back(&mut self, resources: &[Resource]) {
        give_back(&mut self.free, resources);
        self.returns += 1;
    }

    /// As it was when last looked at, because nothing came back since.
    pub fn is_still_filtered(&self, now: Millis) -> bool {
        self.filter.as_ref().is_some_and(|it| now < it.until && it.seen == Some(self.returns))
    }

    pub fn is_filtered(&mut self, now: Millis, idle: &[Resource]) -> bool {
        let Some(filter) = self.filter.as_mut().filter(|it| now < it.until) else { return false };
        let filtered =
            is_no_more(&self.free, &filter.refused) && idle.iter().all(|it| filter.kept.contains(it));
        if filtered {
            filter.seen = Some(self.returns);
        }
        filtered
    }
}
