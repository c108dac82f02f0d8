//! Inverse offers: frameworks are asked to leave agents that go into maintenance.

use std::time::Duration;

use marathon_mesos_v1::{
    AgentId, Event, EventInverseOffers, EventType, Filters, FrameworkId, InverseOffer, OfferId,
};

use crate::offers::{DEFAULT_REFUSAL, LONGEST_REFUSAL, agent_url};
use crate::sim::Sim;
use crate::state::InverseOffer as Held;

impl Sim {
    /// Inverse offers: asks frameworks to leave agents that go into maintenance.
    pub(crate) fn invert(&mut self, only: Option<usize>) {
        if self.schedule.get("windows").is_none() {
            return;
        }
        let agents: Vec<usize> =
            (0..self.agents.len()).filter(|it| only.is_none_or(|only| only == *it)).collect();
        for agent in agents {
            let Some(unavailability) = self.agents[agent].unavailability.clone() else { continue };
            let mut there: Vec<usize> = self.agents[agent]
                .tasks
                .iter()
                .filter_map(|it| self.tasks.get(*it))
                .map(|it| it.framework)
                .collect();
            there.extend(self.agents[agent].offers.iter().map(|it| self.offers[it].framework));
            there.sort_unstable();
            there.dedup();
            for framework in there {
                let outstanding =
                    self.inverse_offers.values().any(|it| it.framework == framework && it.agent == agent);
                let held_back =
                    self.agents[agent].inverse_after.get(&framework).is_some_and(|it| self.now < *it);
                if outstanding || held_back || !self.frameworks[framework].is_connected() {
                    continue;
                }
                let number = self.next_offer;
                self.next_offer += 1;
                self.inverse_offers.insert(number, Held { framework, agent });
                let offer = InverseOffer {
                    id: self.offer_id(number),
                    url: Some(agent_url(&self.agents[agent])),
                    framework_id: FrameworkId { value: self.frameworks[framework].id.to_string() },
                    agent_id: Some(AgentId { value: self.agents[agent].id.to_string() }),
                    unavailability: unavailability.clone(),
                    resources: Vec::new(),
                };
                let event = Event {
                    r#type: Some(EventType::INVERSE_OFFERS as i32),
                    inverse_offers: Some(EventInverseOffers { inverse_offers: vec![offer] }),
                    ..Event::default()
                };
                self.tell(framework, &event);
            }
        }
    }

    pub(crate) fn answer_inverse(
        &mut self,
        framework: usize,
        ids: &[OfferId],
        accepted: bool,
        filters: Option<&Filters>,
    ) {
        for id in ids {
            let Some(number) = self.offer_number(id) else { continue };
            if self.inverse_offers.get(&number).is_none_or(|it| it.framework != framework) {
                continue;
            }
            let Some(held) = self.inverse_offers.remove(&number) else { continue };
            let seconds = filters
                .and_then(|it| it.refuse_seconds)
                .unwrap_or(DEFAULT_REFUSAL)
                .clamp(0.0, LONGEST_REFUSAL);
            let now = self.now;
            let it = &mut self.agents[held.agent];
            it.answers.retain(|(other, ..)| *other != framework);
            it.answers.push((framework, accepted, now));
            it.inverse_after.insert(framework, now.plus(Duration::from_secs_f64(seconds)));
        }
    }
}
