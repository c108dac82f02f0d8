//! What can be said of one instance by its own state.

use marathon_model::app::UnreachableStrategy;
use marathon_model::explain::{Placement, Why};
use marathon_model::instance::{Condition, Instance};

use super::{Case, State, is_wanted, long};

/// `None`: it is as it should be.
pub(super) fn of(case: &Case, it: &Instance, placement: Option<&Placement>) -> Option<State> {
    let plain = |why, text: String| Some(State { why, text, until: None });
    if !is_wanted(it) {
        return match it.is_over() {
            true => None,
            false if it.condition.is_unreachable() => {
                plain(Why::Ending, "it shall end, and its agent is out of reach".to_owned())
            }
            false => plain(Why::Ending, "it was told to end and has not ended yet".to_owned()),
        };
    }
    if it.wants_launch() {
        return waiting(case, it, placement);
    }
    let host = it.agent.as_ref().map_or("its agent", |agent| &*agent.host);
    let passed = long(case.now - it.since);
    match it.condition {
        Condition::Unreachable | Condition::UnreachableInactive => Some(unreachable(case, it)),
        Condition::Provisioned => {
            plain(Why::Launched, format!("launched on {host}, and the engine has not said a word of it yet"))
        }
        Condition::Staging => plain(Why::Staging, format!("staging on {host}: its resources are fetched")),
        Condition::Starting => plain(Why::Starting, format!("starting on {host}")),
        Condition::Killing => {
            plain(Why::Killing, "being killed; it starts again once it has ended".to_owned())
        }
        Condition::Running if it.healthy() == Some(false) => {
            let failed = it.health.iter().find(|it| it.alive() == Some(false));
            let cause = failed.and_then(|it| it.last_failure_cause.as_deref()).map(first_line);
            let cause = cause.unwrap_or("its health check fails");
            plain(Why::Unhealthy, format!("unhealthy: {cause}"))
        }
        Condition::Running if !it.health.is_empty() && it.healthy().is_none() => {
            plain(Why::HealthUnknown, "runs, and its health check has no result yet".to_owned())
        }
        Condition::Running if !it.ready => {
            let known = case.app.readiness.get(&it.id.uuid);
            let text = match known {
                Some(known) => format!("runs, and readiness check `{}` does not pass yet", known.name),
                None => "runs, and its readiness check has no result yet".to_owned(),
            };
            plain(Why::NotReady, text)
        }
        Condition::Running if it.config != case.spec.config => {
            let text = match super::held::step(case) {
                Some(step) => format!("runs version {} and is to be replaced; {step}", it.version),
                None => format!("runs version {}", it.version),
            };
            plain(Why::Outdated, text)
        }
        Condition::Running => None,
        // Whatever has ended wants to be launched.
        _ => plain(Why::Ending, format!("{:?} for {passed}", it.condition)),
    }
}

fn waiting(case: &Case, it: &Instance, placement: Option<&Placement>) -> Option<State> {
    let plain = |why, text: String| Some(State { why, text, until: None });
    if case.view.master.is_none() {
        return plain(
            Why::EngineNotConnected,
            "the engine is not connected, so there are no offers".to_owned(),
        );
    }
    if let Some(delay) = case.app.delay.filter(|delay| delay.config == case.spec.config) {
        let ends = crate::backoff::ends(&delay);
        if ends > case.now {
            let left = long(ends - case.now);
            let mut text = format!("delayed by backoff for another {left} of {}", long(delay.current));
            if let Some(failure) = &case.app.failure {
                let name = format!("{:?}", failure.state).to_uppercase();
                text.push_str(&format!(", after {} ended as TASK_{name} on {}", failure.task, failure.host));
                if !failure.message.is_empty() {
                    text.push_str(&format!(": {}", first_line(&failure.message)));
                }
            }
            return Some(State { why: Why::BackoffDelay, text, until: Some(ends) });
        }
    }
    if let Some(held) = &it.reservation {
        let host = it.agent.as_ref().map_or("its agent", |agent| &*agent.host);
        let text = match held.is_new() {
            true => format!("its volumes are made on {host}; it starts there once an offer shows them"),
            false => format!("waits for an offer of {host}, where its volumes are"),
        };
        return plain(Why::OwnVolume, text);
    }
    if case.view.agents.is_empty() {
        let text = "no agent has offered anything since this server connected to the engine".to_owned();
        return plain(Why::NoOffers, text);
    }
    let placement = placement?;
    if placement.fitting > 0 {
        let text = format!(
            "{} of {} {} {} room for it; it starts with the next offer",
            placement.fitting,
            placement.agents,
            agents(placement),
            if placement.fitting == 1 { "has" } else { "have" },
        );
        return plain(Why::NextOffer, text);
    }
    let why: Vec<String> = placement
        .refusals
        .iter()
        .map(|it| format!("{} of {} {}: {}", it.agents, placement.agents, agents(placement), it.text))
        .collect();
    plain(Why::NoFittingAgent, why.join("; "))
}

fn agents(of: &Placement) -> &'static str {
    if of.agents == 1 { "agent" } else { "agents" }
}

fn unreachable(case: &Case, it: &Instance) -> State {
    let spec = crate::index::definition(case.app, it).unwrap_or(case.spec);
    let host = it.agent.as_ref().map_or("its agent", |agent| &*agent.host);
    let since = it.task.as_ref().and_then(|task| task.unreachable_since).unwrap_or(it.since);
    let passed = long(case.now - since);
    let begin = format!("{host} is out of reach for {passed}");
    let (text, until) = match spec.unreachable {
        UnreachableStrategy::Disabled => {
            (format!("{begin}; by its unreachableStrategy it waits until the agent is back"), None)
        }
        UnreachableStrategy::After { inactive, .. } if it.condition == Condition::Unreachable => {
            let at = since + inactive;
            (format!("{begin}; it is replaced in {}", long(at - case.now)), Some(at))
        }
        UnreachableStrategy::After { expunge, .. } => {
            let at = since + expunge;
            (format!("{begin}; it was replaced and is forgotten in {}", long(at - case.now)), Some(at))
        }
    };
    State { why: Why::Unreachable, text, until }
}

/// What fits into a sentence of a message that may be long.
fn first_line(text: &str) -> &str {
    const CHARS_MAX: usize = 200;
    let line = text.lines().next().unwrap_or_default();
    line.char_indices().nth(CHARS_MAX).map_or(line, |(end, _)| &line[..end])
}
