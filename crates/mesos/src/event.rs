//! What the master tells, passed on to the core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use marathon_mesos_v1 as v1;
use marathon_model::id::{AgentId, FrameworkId, OfferId};
use marathon_model::offer::EngineEvent;
use v1::{CallType, EventType};

use crate::desk::OFFERS_MAX;
use crate::offer::{self, Open};
use crate::session::{Calls, End, Fatal};
use crate::status;
use crate::take::Stock;
use crate::{Engine, HEARTBEAT_TASK};

/// Older masters lack calls and states that are needed.
const OLDEST: (u32, u32) = (1, 5);
/// The first ones that take other roles while they are subscribed to.
const FLEXIBLE: (u32, u32) = (1, 9);
/// The first ones that filter offers by conditions.
const FILTERING: (u32, u32) = (1, 11);

impl Engine {
    /// The first event of a stream.
    pub(crate) fn welcome(&mut self, event: v1::Event) -> Result<EngineEvent, End> {
        if let Some(error) = &event.error {
            let words = String::from_utf8_lossy(&error.message);
            return Err(match is_passing(&words) {
                true => End::Lost(words.into_owned()),
                false => End::Fatal(self.fatal(&words)),
            });
        }
        let Some(subscribed) = event.subscribed else {
            return Err(End::Lost("the stream does not begin with SUBSCRIBED".to_owned()));
        };
        let master = subscribed.master_info.as_ref();
        if let Some(version) = master.and_then(|it| it.version.as_deref())
            && is_before(version, OLDEST)
        {
            return Err(End::Fatal(Fatal::TooOld(version.to_owned())));
        }
        let id = FrameworkId::new(subscribed.framework_id.value.as_str());
        let since = |first: (u32, u32)| {
            master.and_then(|it| it.version.as_deref()).is_some_and(|it| !is_before(it, first))
        };
        let (flexible, filters) = (since(FLEXIBLE), since(FILTERING));
        self.desk().roles.begin(flexible);
        self.desk().filter.begin(filters);
        let again = std::mem::replace(&mut self.subscribed_before, true);
        self.config.id = Some(id.clone());
        let hostname =
            master.and_then(|it| it.hostname.clone().or_else(|| it.address.as_ref()?.hostname.clone()));
        let port =
            master.map_or(5050, |it| it.address.as_ref().map_or(i64::from(it.port), |it| it.port.into()));
        let scheme = if self.config.https { "https" } else { "http" };
        let domain = master.and_then(|it| it.domain.as_ref()?.fault_domain.as_ref());
        let region = domain.map(|it| Arc::from(it.region.name.as_str()));
        tracing::info!(
            framework = %id,
            master = hostname.as_deref().unwrap_or_default(),
            version = master.and_then(|it| it.version.as_deref()).unwrap_or_default(),
            "subscribed to a Mesos master"
        );
        let ui = hostname.as_deref().map(|it| Arc::from(format!("{scheme}://{it}:{port}/")));
        Ok(EngineEvent::Subscribed { framework: id, master: hostname.unwrap_or_default(), ui, region, again })
    }

    /// What an event means for the core, if anything.
    pub(crate) fn told(&self, event: v1::Event, calls: &Calls) -> Result<Option<EngineEvent>, End> {
        let Some(kind) = event.r#type.and_then(|it| EventType::try_from(it).ok()) else { return Ok(None) };
        Ok(match kind {
            EventType::OFFERS => event.offers.and_then(|it| self.offers(it.offers, calls)),
            EventType::INVERSE_OFFERS => {
                // As with offers, one call is about one agent.
                let mut by_agent: BTreeMap<Option<String>, Vec<v1::OfferId>> = BTreeMap::new();
                for it in event.inverse_offers.into_iter().flat_map(|it| it.inverse_offers) {
                    by_agent.entry(it.agent_id.map(|it| it.value)).or_default().push(it.id);
                }
                by_agent.into_values().for_each(|ids| calls.send(accept_inverse(ids)));
                None
            }
            EventType::RESCIND => event.rescind.map(|it| {
                let id = OfferId::new(it.offer_id.value.as_str());
                self.desk().open.remove(&id);
                EngineEvent::Rescinded(id)
            }),
            EventType::UPDATE => event.update.and_then(|it| self.update(it.status, calls)),
            EventType::FAILURE => match event.failure {
                // The end of an executor is told by the states of its tasks.
                Some(v1::EventFailure { agent_id: Some(agent), executor_id: None, .. }) => {
                    Some(EngineEvent::AgentLost(AgentId::new(agent.value.as_str())))
                }
                _ => None,
            },
            EventType::ERROR => {
                let text = event.error.map(|it| String::from_utf8_lossy(&it.message).into_owned());
                return Err(End::Fatal(self.fatal(&text.unwrap_or_default())));
            }
            EventType::SUBSCRIBED
            | EventType::HEARTBEAT
            | EventType::UNKNOWN
            | EventType::RESCIND_INVERSE_OFFER
            | EventType::UPDATE_OPERATION_STATUS
            | EventType::MESSAGE => None,
        })
    }

    fn fatal(&self, text: &str) -> Fatal {
        fatal(text, self.config.id.as_ref().map(|it| it.as_str()).unwrap_or_default())
    }

    fn offers(&self, offers: Vec<v1::Offer>, calls: &Calls) -> Option<EngineEvent> {
        let mut desk = self.desk();
        let room = OFFERS_MAX.saturating_sub(desk.open.len());
        let mut told = Vec::with_capacity(offers.len().min(room));
        let mut beyond = Vec::new();
        for it in offers {
            if told.len() >= room {
                beyond.push(it.id);
                continue;
            }
            let model = offer::model(&it);
            let open = Open { agent: it.agent_id.value, stock: Stock::new(it.resources) };
            desk.open.insert(model.id.clone(), open);
            told.push(model);
        }
        if !beyond.is_empty() {
            tracing::warn!(offers = beyond.len(), "too many offers are open: the rest is turned down");
            calls.send(v1::Call {
                r#type: Some(CallType::DECLINE as i32),
                decline: Some(v1::CallDecline { offer_ids: beyond, filters: None }),
                ..Default::default()
            });
        }
        (!told.is_empty()).then_some(EngineEvent::Offers(told))
    }

    fn update(&self, it: v1::TaskStatus, calls: &Calls) -> Option<EngineEvent> {
        if it.task_id.value == HEARTBEAT_TASK {
            return None;
        }
        let Some(model) = status::model(&it) else {
            self.end_nameless(&it, calls);
            return None;
        };
        self.desk().heard(&model.task, status::is_over(it.state), Instant::now());
        Some(EngineEvent::Status(model))
    }

    /// A task of this framework whose id is none of ours: nobody will ever ask for it again.
    fn end_nameless(&self, it: &v1::TaskStatus, calls: &Calls) {
        let over = status::is_over(it.state);
        tracing::warn!(
            task = it.task_id.value,
            over,
            "Mesos reports a task whose id is none of this Marathon"
        );
        if let (Some(uuid), Some(agent)) = (&it.uuid, &it.agent_id) {
            calls.send(v1::Call {
                r#type: Some(CallType::ACKNOWLEDGE as i32),
                acknowledge: Some(v1::CallAcknowledge {
                    agent_id: agent.clone(),
                    task_id: it.task_id.clone(),
                    uuid: uuid.clone(),
                }),
                ..Default::default()
            });
        }
        if !over && status::state(it.state) != marathon_model::offer::TaskState::Unreachable {
            calls.send(v1::Call {
                r#type: Some(CallType::KILL as i32),
                kill: Some(v1::CallKill {
                    task_id: it.task_id.clone(),
                    agent_id: it.agent_id.clone(),
                    kill_policy: None,
                }),
                ..Default::default()
            });
        }
    }
}

/// Nothing is done about a maintenance but what the offers say: no more is started there.
pub(crate) fn accept_inverse(ids: Vec<v1::OfferId>) -> v1::Call {
    v1::Call {
        r#type: Some(CallType::ACCEPT_INVERSE_OFFERS as i32),
        accept_inverse_offers: Some(v1::CallAcceptInverseOffers { inverse_offer_ids: ids, filters: None }),
        ..Default::default()
    }
}

fn fatal(text: &str, framework: &str) -> Fatal {
    match text {
        _ if text.contains("Framework has been removed") => Fatal::Removed(framework.to_owned()),
        _ if text.contains("Framework failed over") => Fatal::TakenOver,
        _ => Fatal::Refused(text.to_owned()),
    }
}

/// Whether a refusal is no judgement: the master could not ask whoever decides.
fn is_passing(words: &str) -> bool {
    words.starts_with("Authorization failure")
}

/// What cannot be read is new enough.
fn is_before(version: &str, least: (u32, u32)) -> bool {
    let mut numbers = version.split(['.', '-']).map(|it| it.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < least,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_masters_are_told_apart() {
        for (version, too_old) in [
            ("1.4.3", true),
            ("1.5.0", false),
            ("1.11.0", false),
            ("0.28.2", true),
            ("2.0.0-rc1", false),
            ("x", false),
        ] {
            assert_eq!(is_before(version, OLDEST), too_old, "{version}");
        }
    }

    #[test]
    fn errors_are_told_apart() {
        assert_eq!(fatal("Framework has been removed", "f"), Fatal::Removed("f".to_owned()));
        assert_eq!(fatal("Framework failed over", "f"), Fatal::TakenOver);
        assert_eq!(fatal("Not authorized", "f"), Fatal::Refused("Not authorized".to_owned()));
    }
}
