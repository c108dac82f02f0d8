//! Why an app is as it is, in sentences and numbers: a function of the view and the policy alone.
//!
//! ```text
//! every instance ─► its state ─► a reason ─► alike ones together ─┐
//! missing ones ───► the deployment that holds them back ──────────┼─► headline
//! one more instance ─► every agent ─► first refusal ─► sums ──────┘
//!                          └─► changed definitions, tried again ─► suggestions
//! ```
//! Whether an agent fits is asked of the very code that places (`place::unfit`), so that the two cannot disagree.

mod agents;
mod changes;
mod held;
mod states;

use std::collections::BTreeMap;
use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::explain::{Explanation, Placement, Reason, Why};
use marathon_model::id::SpecId;
use marathon_model::instance::{Goal, Instance};
use marathon_model::time::Timestamp;
use marathon_model::view::{App, View};

use crate::policy::Policy;

/// Ids named in one reason. The count is always of all.
const IDS_MAX: usize = 100;

/// Everything that the parts look at.
struct Case<'a> {
    view: &'a View,
    policy: &'a Policy,
    app: &'a App,
    spec: &'a Arc<AppSpec>,
    now: Timestamp,
}

/// `None`: there is no such app. `rows`: how many agents are listed one by one.
pub fn explain(
    view: &View,
    policy: &Policy,
    id: &SpecId,
    rows: usize,
    now: Timestamp,
) -> Option<Explanation> {
    let app = view.app(id)?;
    let spec = app.spec.as_ref()?;
    let policy = &policy.at(view);
    let case = Case { view, policy, app, spec, now };
    // What owns volumes goes to them, whatever other agents have.
    let waiting = || app.instances.values().filter(|it| it.wants_launch() && it.reservation.is_none());
    // Those that wait are alike, but for a few of an earlier configuration amid a rollout.
    let one = waiting().find(|it| it.config == spec.config).or_else(|| waiting().next());
    let known = !view.agents.is_empty();
    let placement = one.filter(|_| known).and_then(|it| agents::placement(&case, it, rows));
    let mut found: BTreeMap<(Why, String), Reason> = BTreeMap::new();
    for it in app.instances.values() {
        if let Some(state) = states::of(&case, it, placement.as_ref()) {
            add(&mut found, state, it);
        }
    }
    let mut reasons: Vec<Reason> = found.into_values().collect();
    reasons.extend(held::missing(&case));
    reasons.sort_by_key(|it| it.why);
    let serving = app.tally.current.serving;
    let headline = headline(&case, serving, &reasons, placement.as_ref());
    Some(Explanation {
        id: id.clone(),
        pod: spec.is_pod(),
        version: spec.version,
        headline,
        instances: spec.instances,
        serving,
        reasons,
        placement,
    })
}

/// What is said of one instance.
struct State {
    why: Why,
    text: String,
    until: Option<Timestamp>,
}

fn add(found: &mut BTreeMap<(Why, String), Reason>, state: State, it: &Instance) {
    let State { why, text, until } = state;
    let reason = found.entry((why, text)).or_insert_with_key(|(why, text)| Reason {
        why: *why,
        text: text.clone(),
        count: 0,
        instances: Vec::new(),
        since: None,
        until: None,
    });
    reason.count += 1;
    if reason.instances.len() < IDS_MAX {
        reason.instances.push(it.id.clone());
    }
    reason.since = Some(reason.since.map_or(it.since, |since| since.min(it.since)));
    reason.until = match (reason.until, until) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}

fn headline(case: &Case, serving: u32, reasons: &[Reason], placement: Option<&Placement>) -> String {
    let wanted = case.spec.instances;
    let begin = match (wanted, serving) {
        (0, _) if reasons.is_empty() => {
            return "Nothing is to run: the definition asks for 0 instances.".to_owned();
        }
        (0, 0) => "No instance is to run".to_owned(),
        (0, serving) => format!("{serving} {} left, and none is to run", noun(serving)),
        (1, 0) => "The one instance does not run".to_owned(),
        (1, 1) => "The one instance runs".to_owned(),
        (wanted, serving) if serving == wanted => format!("All {wanted} instances run"),
        (wanted, serving) if serving > wanted => format!("{serving} instances run, {wanted} are to"),
        (wanted, 0) => format!("None of {wanted} instances runs"),
        (wanted, 1) => format!("1 of {wanted} instances runs"),
        (wanted, serving) => format!("{serving} of {wanted} instances run"),
    };
    let checked = case.spec.check_count() > 0 || !case.spec.readiness_checks.is_empty();
    let begin = match checked && serving > 0 && serving >= wanted {
        true => format!("{begin} and pass their checks"),
        false => begin,
    };
    let Some(first) = reasons.first() else { return format!("{begin}.") };
    let fix = placement.and_then(|it| it.suggestions.first()).filter(|_| first.why == Why::NoFittingAgent);
    let fix = fix.map(|it| format!(" Smallest change: {}.", it.text)).unwrap_or_default();
    let others = match reasons.len() - 1 {
        0 => String::new(),
        1 => " There is one more reason.".to_owned(),
        more => format!(" There are {more} more reasons."),
    };
    let state = state_word(first);
    if (wanted, serving, first.count) == (1, 0, 1) {
        let is = if state == "waits" { "" } else { "is " };
        return format!("The one instance {is}{state}: {}.{fix}{others}", first.text);
    }
    format!("{begin}; {} {state}: {}.{fix}{others}", first.count, first.text)
}

fn state_word(reason: &Reason) -> &'static str {
    let one = reason.count == 1;
    match reason.why {
        Why::Unhealthy => "unhealthy",
        Why::Unreachable => "out of reach",
        Why::Launched | Why::Staging | Why::Starting => "on the way",
        Why::HealthUnknown | Why::NotReady => "not ready",
        Why::Killing | Why::Ending => "ending",
        Why::Outdated => "of an earlier version",
        _ if one => "waits",
        _ => "wait",
    }
}

fn noun(count: u32) -> &'static str {
    if count == 1 { "instance" } else { "instances" }
}

/// A length of time as people say it.
fn long(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if !time.is_zero() => "less than a second".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Wanted, and not given up as lost.
fn is_wanted(it: &Instance) -> bool {
    it.goal == Goal::Running
}
