//! The launch queue: what waits to be placed, and why it still waits.

use std::time::Duration;

use marathon_model::app::AppSpec;
use marathon_model::instance::{Condition, Goal};
use marathon_model::offer::{Attribute, Offer};
use marathon_model::resources::ANY_ROLE;
use marathon_model::resources::Amount;
use marathon_model::time::Timestamp;
use marathon_model::view::{App, Mismatch, UnusedOffer, View, Waiting};

use crate::app::write_app;
use crate::json::Json;
use crate::pod::write_pod;

/// Whether `embed` asks for the offers that were turned down last.
pub fn embeds_offers<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> bool {
    values.into_iter().any(|it| it.as_ref() == "lastUnusedOffers")
}

/// `GET /v2/queue`: `{"queue":[…]}`, one entry for each app or pod with instances that wait for an offer or for
/// the engine's first word.
pub fn list(view: &View, with_offers: bool, now: Timestamp) -> Vec<u8> {
    let queued = view.live_apps().filter(|(app, _)| is_queued(app));
    Json::text(|json| {
        json.object(|json| {
            json.key("queue")
                .array(queued, |json, (app, spec)| write_entry(json, app, spec, with_offers, now));
        });
    })
}

/// Whether an app has an entry in the queue.
pub fn is_queued(app: &App) -> bool {
    let counts = app.tally.sum();
    // Provisioned instances are among the staged ones, so most apps need no look at their instances.
    counts.waiting > 0 || counts.staged > 0 && provisioned(app).next().is_some()
}

/// Since when each provisioned instance is.
fn provisioned(app: &App) -> impl Iterator<Item = Timestamp> {
    let wanted = app.instances.values().filter(|it| it.goal == Goal::Running);
    wanted.filter(|it| it.condition == Condition::Provisioned).map(|it| it.since)
}

fn write_entry(json: &mut Json, app: &App, spec: &AppSpec, with_offers: bool, now: Timestamp) {
    let waiting = app.waiting.as_deref();
    json.object(|json| {
        json.key("count").int(app.tally.sum().waiting);
        let role = waiting.map_or(&spec.role, |it| &it.role);
        // marathon-python refuses fields it does not know, and knows no roles; who uses roles needs it.
        if **role != *ANY_ROLE {
            json.key("role").string(role);
        }
        json.key("delay").object(|json| {
            let left = delay_left(app, spec, now);
            json.key("timeLeftSeconds").int(left.unwrap_or_default().as_secs());
            json.key("overdue").bool(left.is_none());
        });
        let since = waiting.map(|it| it.since).or_else(|| provisioned(app).min()).unwrap_or(spec.version);
        json.key("since").time(since);
        write_summary(json.key("processedOffersSummary"), waiting);
        if with_offers {
            let offers = waiting.into_iter().flat_map(|it| &it.last_unused);
            json.key("lastUnusedOffers").array(offers, |json, it| write_unused(json, it));
        }
        match spec.is_pod() {
            true => write_pod(json.key("pod"), spec),
            false => write_app(json.key("app"), spec),
        }
    });
}

/// `None`: nothing holds the app back.
fn delay_left(app: &App, spec: &AppSpec, now: Timestamp) -> Option<Duration> {
    let delay = app.delay.filter(|it| it.config == spec.config)?;
    let left = (delay.since + delay.current) - now;
    (!left.is_zero()).then_some(left)
}

fn write_summary(json: &mut Json, waiting: Option<&Waiting>) {
    let (processed, unused) = waiting.map_or((0, 0), |it| (it.processed_offers, it.unused_offers));
    let mut last = [0; Mismatch::ALL.len()];
    for offer in waiting.into_iter().flat_map(|it| &it.last_unused) {
        // The first refusal in the order of the funnel is the one that counts.
        if let Some(reason) = offer.reasons.iter().min() {
            last[*reason as usize] += 1;
        }
    }
    json.object(|json| {
        json.key("processedOffersCount").int(processed);
        json.key("unusedOffersCount").int(unused);
        if let Some(at) = waiting.and_then(|it| it.last_unused_at) {
            json.key("lastUnusedOfferAt").time(at);
        }
        if let Some(at) = waiting.and_then(|it| it.last_used_at) {
            json.key("lastUsedOfferAt").time(at);
        }
        write_funnel(json.key("rejectSummaryLastOffers"), last.iter().sum(), &last);
        let refusals = waiting.map_or([0; Mismatch::ALL.len()], |it| it.refusals);
        write_funnel(json.key("rejectSummaryLaunchAttempt"), processed, &refusals);
    });
}

/// Each reason with how many offers came as far as it, and how many it turned down.
fn write_funnel(json: &mut Json, mut processed: u64, declined: &[u64; Mismatch::ALL.len()]) {
    json.array(Mismatch::ALL.iter().zip(declined), |json, (reason, declined)| {
        json.object(|json| {
            json.key("reason").string(reason.name());
            json.key("declined").int(*declined);
            json.key("processed").int(processed);
        });
        processed = processed.saturating_sub(*declined);
    });
}

fn write_unused(json: &mut Json, unused: &UnusedOffer) {
    let UnusedOffer { offer, reasons, at } = unused;
    json.object(|json| {
        write_offer(json.key("offer"), offer);
        json.key("reason").strings(reasons.iter().map(|it| it.name()));
        json.key("timestamp").time(*at);
    });
}

fn write_offer(json: &mut Json, offer: &Offer) {
    json.object(|json| {
        json.key("id").string(offer.id.as_str());
        json.key("hostname").string(&offer.hostname);
        json.key("agentId").string(offer.agent.as_str());
        json.key("resources").array(&offer.resources, |json, resource| {
            let name = match &resource.amount {
                Amount::Cpus(_) => "cpus",
                Amount::Mem(_) => "mem",
                Amount::Disk(_) => "disk",
                Amount::Gpus(_) => "gpus",
                Amount::Ports(_) => "ports",
                Amount::Other(name, _) => name,
            };
            json.object(|json| {
                json.key("name").string(name);
                json.key("role").string(&resource.role);
                match &resource.amount {
                    Amount::Cpus(it) | Amount::Mem(it) | Amount::Disk(it) | Amount::Gpus(it) => {
                        json.key("scalar").milli(*it);
                    }
                    Amount::Other(_, it) => json.key("scalar").milli(*it),
                    Amount::Ports(ranges) => {
                        write_ranges(json, ranges.iter().map(|it| (it.first.into(), it.last.into())));
                    }
                }
            });
        });
        json.key("attributes").array(&*offer.attributes, |json, (name, value)| {
            json.object(|json| {
                json.key("name").string(name);
                match value {
                    Attribute::Scalar(number) => json.key("scalar").double(*number),
                    Attribute::Text(text) => json.key("text").string(text),
                    Attribute::Ranges(ranges) => write_ranges(json, ranges.iter().copied()),
                    Attribute::Set(items) => json.key("set").strings(items.iter().map(String::as_str)),
                }
            });
        });
    });
}

fn write_ranges(json: &mut Json, ranges: impl Iterator<Item = (u64, u64)>) {
    json.key("ranges").array(ranges, |json, (begin, end)| {
        json.object(|json| {
            json.key("begin").int(begin);
            json.key("end").int(end);
        });
    });
}
