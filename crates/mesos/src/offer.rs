//! Offers, as the core reads them; and as they are kept until the core has answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marathon_mesos_v1 as v1;
use marathon_model::id::{AgentId, OfferId};
use marathon_model::offer::{Attribute, Offer};
use marathon_model::resources::ANY_ROLE;
use marathon_model::time::Timestamp;

use crate::resource;
use crate::take::Stock;

/// What an open offer holds, exactly as the master listed it.
#[derive(Debug)]
pub struct Open {
    pub agent: String,
    pub stock: Stock,
}

pub fn role(it: &v1::Offer) -> &str {
    it.allocation_info.as_ref().and_then(|it| it.role.as_deref()).unwrap_or(ANY_ROLE)
}

pub fn model(it: &v1::Offer) -> Offer {
    let domain = it.domain.as_ref().and_then(|it| it.fault_domain.as_ref());
    Offer {
        id: OfferId::new(it.id.value.as_str()),
        agent: AgentId::new(it.agent_id.value.as_str()),
        hostname: it.hostname.as_str().into(),
        role: role(it).into(),
        resources: it.resources.iter().filter_map(resource::model).collect(),
        attributes: Arc::new(attributes(&it.attributes)),
        region: domain.map(|it| it.region.name.as_str().into()),
        zone: domain.map(|it| it.zone.name.as_str().into()),
        unavailability: it.unavailability.as_ref().map(unavailability),
    }
}

/// Of several attributes with one name the first counts, as for the master.
fn attributes(all: &[v1::Attribute]) -> BTreeMap<String, Attribute> {
    let mut read = BTreeMap::new();
    for it in all {
        let value = if let Some(text) = &it.text {
            Attribute::Text(text.value.clone())
        } else if let Some(scalar) = &it.scalar {
            Attribute::Scalar(scalar.value)
        } else if let Some(ranges) = &it.ranges {
            Attribute::Ranges(ranges.range.iter().map(|it| (it.begin, it.end)).collect())
        } else if let Some(set) = &it.set {
            Attribute::Set(set.item.clone())
        } else {
            continue;
        };
        read.entry(it.name.clone()).or_insert(value);
    }
    read
}

fn unavailability(it: &v1::Unavailability) -> (Timestamp, Option<Duration>) {
    let length = |it: &v1::DurationInfo| Duration::from_nanos(it.nanoseconds.unsigned_abs());
    (Timestamp(it.start.nanoseconds / 1_000_000), it.duration.as_ref().map(length))
}
