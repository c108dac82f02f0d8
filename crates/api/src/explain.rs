//! `…/explain`: why the instances of an app or pod are as they are (docs/explain.md).

use marathon_model::explain::{AgentRow, Change, Explanation, Placement, Reason, Suggestion};

use crate::app::write_constraint;
use crate::json::Json;

pub fn one(it: &Explanation) -> Vec<u8> {
    // No `..`: a new field does not compile until someone says where it is written.
    let Explanation { id, pod, version, headline, instances, serving, reasons, placement } = it;
    Json::text(|json| {
        json.object(|json| {
            json.key("id").string(id.as_str());
            json.key("kind").string(if *pod { "pod" } else { "app" });
            json.key("version").time(*version);
            json.key("headline").string(headline);
            json.key("instances").int(*instances);
            json.key("serving").int(*serving);
            json.key("reasons").array(reasons, write_reason);
            if let Some(placement) = placement {
                write_placement(json.key("placement"), placement, *pod);
            }
        });
    })
}

fn write_reason(json: &mut Json, it: &Reason) {
    let Reason { why, text, count, instances, since, until } = it;
    json.object(|json| {
        json.key("reason").string(why.name());
        json.key("text").string(text);
        json.key("count").int(*count);
        json.key("instanceIds").array(instances, |json, id| json.shown(id));
        if let Some(since) = since {
            json.key("since").time(*since);
        }
        if let Some(until) = until {
            json.key("until").time(*until);
        }
    });
}

fn write_placement(json: &mut Json, it: &Placement, pod: bool) {
    let Placement { agents, fitting, refusals, rows, suggestions } = it;
    json.object(|json| {
        json.key("agentsKnown").int(*agents);
        json.key("agentsFitting").int(*fitting);
        json.key("refusals").array(refusals, |json, it| {
            json.object(|json| {
                json.key("reason").string(it.reason.name());
                json.key("agents").int(it.agents);
                json.key("text").string(&it.text);
            });
        });
        json.key("suggestions").array(suggestions, |json, it| write_suggestion(json, it, pod));
        json.key("agents").array(rows, write_row);
    });
}

fn write_row(json: &mut Json, it: &AgentRow) {
    json.object(|json| {
        json.key("agentId").string(it.agent.as_str());
        json.key("hostname").string(&it.host);
        json.key("lastOfferAt").time(it.at);
        json.key("fits").bool(it.refusal.is_none());
        if let Some(lack) = &it.refusal {
            json.key("reason").string(lack.reason.name());
            json.key("text").string(&lack.text);
            if let (Some(needed), Some(free)) = (lack.needed, lack.free) {
                json.key("needed").milli(needed);
                json.key("free").milli(free);
            }
        }
    });
}

fn write_suggestion(json: &mut Json, it: &Suggestion, pod: bool) {
    let Suggestion { text, change, agents } = it;
    json.object(|json| {
        json.key("kind").string(match change {
            Change::Resources { .. } => "resources",
            Change::Constraints(_) => "constraints",
            Change::AcceptedRoles(_) => "acceptedResourceRoles",
            Change::AnyPorts => "anyPorts",
            Change::Labels(_) => "labels",
            Change::FreePorts { .. } => "freePorts",
            Change::AddAgent => "addAgent",
            Change::Wait(_) => "wait",
        });
        json.key("text").string(text);
        json.key("agentsFitting").int(*agents);
        // A pod spreads all this over its containers and `scheduling`.
        if !pod {
            write_patch(json, change);
        }
    });
}

/// The fields of the app that change, as `PUT /v2/apps/{id}` takes them.
fn write_patch(json: &mut Json, change: &Change) {
    match change {
        Change::Resources { cpus, mem, disk, gpus } => json.key("patch").object(|json| {
            for (name, amount) in [("cpus", cpus), ("mem", mem), ("disk", disk)] {
                if let Some(amount) = amount {
                    json.key(name).milli(*amount);
                }
            }
            if let Some(gpus) = gpus {
                json.key("gpus").int(*gpus);
            }
        }),
        Change::Constraints(all) => {
            json.key("patch").object(|json| json.key("constraints").array(all, write_constraint));
        }
        Change::AcceptedRoles(roles) => json.key("patch").object(|json| {
            json.key("acceptedResourceRoles").strings(roles.iter().map(|it| &**it));
        }),
        Change::Labels(labels) => json.key("patch").object(|json| {
            json.key("labels").object(|json| {
                for (name, value) in labels {
                    json.any_key(name).string(value);
                }
            });
        }),
        // Where the ports stand depends on the network.
        Change::AnyPorts | Change::FreePorts { .. } | Change::AddAgent | Change::Wait(_) => {}
    }
}
