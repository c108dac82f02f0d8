//! `GET /v2/agents`: the agents as far as Marathon knows them, what is used and free there, and what runs where.

use std::collections::BTreeMap;
use std::fmt::Write;

use marathon_model::id::{AgentId, SpecId};
use marathon_model::instance::{Agent, Condition, Instance};
use marathon_model::offer::Attribute;
use marathon_model::resources::{Amount, Amounts, Milli, PortRange, Resource};
use marathon_model::view::{AgentSeen, View};

use crate::json::Json;

/// What one agent carries.
#[derive(Default)]
struct Load<'a> {
    /// As the newest of its instances met it, for an agent that has not offered anything since.
    met: Option<&'a Agent>,
    used: Amounts,
    ports: u64,
    instances: u32,
    apps: BTreeMap<&'a SpecId, Share>,
}

/// What one app has on one agent.
#[derive(Default)]
struct Share {
    pod: bool,
    instances: u32,
    running: u32,
    healthy: u32,
    unhealthy: u32,
    used: Amounts,
}

pub fn list(view: &View) -> Vec<u8> {
    let mut loads: BTreeMap<&AgentId, Load<'_>> = BTreeMap::new();
    for app in view.apps.values() {
        let pod = app.spec.as_ref().is_some_and(|it| it.is_pod());
        for instance in app.instances.values() {
            add(&mut loads, &app.id, pod, instance);
        }
    }
    for id in view.agents.keys() {
        loads.entry(id).or_default();
    }
    Json::text(|json| {
        json.object(|json| {
            json.key("agents").array(&loads, |json, (id, load)| {
                write_agent(json, id, load, view.agents.get(*id).map(|it| &**it))
            });
        });
    })
}

fn add<'a>(loads: &mut BTreeMap<&'a AgentId, Load<'a>>, app: &'a SpecId, pod: bool, instance: &'a Instance) {
    let (Some(agent), Some(task)) = (instance.agent.as_deref(), &instance.task) else { return };
    if instance.is_over() {
        return;
    }
    let load = loads.entry(&agent.id).or_default();
    load.met = Some(agent);
    load.instances += 1;
    load.ports += task.ports.len() as u64;
    load.used = load.used + task.resources;
    let share = load.apps.entry(app).or_default();
    share.pod |= pod || !task.parts.is_empty();
    share.instances += 1;
    share.used = share.used + task.resources;
    if instance.condition == Condition::Running {
        share.running += 1;
        share.healthy += u32::from(instance.healthy() == Some(true));
        share.unhealthy += u32::from(instance.healthy() == Some(false));
    }
}

/// Free for anything new: what is kept for one instance is not.
fn free(resources: &[Resource]) -> (Amounts, u64) {
    let mut free = Amounts::default();
    let mut ports = 0;
    for it in resources.iter().filter(|it| it.reserved.is_none()) {
        match &it.amount {
            Amount::Cpus(more) => free.cpus = free.cpus + *more,
            Amount::Mem(more) => free.mem = free.mem + *more,
            Amount::Disk(more) if it.disk.as_ref().is_none_or(|disk| disk.volume.is_none()) => {
                free.disk = free.disk + *more;
            }
            Amount::Gpus(Milli(more)) => {
                free.gpus = free.gpus.saturating_add(u32::try_from(more / 1000).unwrap_or(u32::MAX));
            }
            Amount::Ports(ranges) => ports += ranges.iter().map(width).sum::<u64>(),
            Amount::Disk(_) | Amount::Other(..) => {}
        }
    }
    (free, ports)
}

fn width(range: &PortRange) -> u64 {
    (u64::from(range.last) + 1).saturating_sub(u64::from(range.first))
}

fn write_agent(json: &mut Json, id: &AgentId, load: &Load<'_>, seen: Option<&AgentSeen>) {
    let offer = seen.map(|it| &it.offer);
    let host = offer.map(|it| &*it.hostname).or(load.met.map(|it| &*it.host)).unwrap_or_default();
    let region = offer.and_then(|it| it.region.as_deref()).or(load.met.and_then(|it| it.region.as_deref()));
    let zone = offer.and_then(|it| it.zone.as_deref()).or(load.met.and_then(|it| it.zone.as_deref()));
    let attributes = offer.map(|it| &*it.attributes).or(load.met.map(|it| &*it.attributes));
    json.object(|json| {
        json.key("id").string(id.as_str());
        json.key("hostname").string(host);
        if let Some(region) = region {
            json.key("region").string(region);
        }
        if let Some(zone) = zone {
            json.key("zone").string(zone);
        }
        json.key("attributes").object(|json| {
            for (name, value) in attributes.into_iter().flatten() {
                json.any_key(name).string(&attribute(value));
            }
        });
        if let Some(seen) = seen {
            json.key("lastOfferAt").time(seen.at);
            if let Some((start, length)) = &seen.offer.unavailability {
                json.key("unavailability").object(|json| {
                    json.key("start").time(*start);
                    if let Some(length) = length {
                        json.key("durationSeconds").seconds(*length);
                    }
                });
            }
            let (amounts, ports) = free(&seen.free);
            write_amounts(json.key("free"), &amounts, Some(ports));
        }
        write_amounts(json.key("used"), &load.used, Some(load.ports));
        json.key("instances").int(load.instances);
        json.key("apps").array(&load.apps, |json, (id, share)| write_share(json, id, share));
    });
}

fn write_share(json: &mut Json, id: &SpecId, it: &Share) {
    let Share { pod, instances, running, healthy, unhealthy, used } = it;
    json.object(|json| {
        json.key("id").string(id.as_str());
        json.key("kind").string(if *pod { "pod" } else { "app" });
        json.key("instances").int(*instances);
        json.key("running").int(*running);
        json.key("healthy").int(*healthy);
        json.key("unhealthy").int(*unhealthy);
        write_amounts(json.key("used"), used, None);
    });
}

fn write_amounts(json: &mut Json, it: &Amounts, ports: Option<u64>) {
    let Amounts { cpus, mem, disk, gpus } = it;
    json.object(|json| {
        json.key("cpus").milli(*cpus);
        json.key("mem").milli(*mem);
        json.key("disk").milli(*disk);
        json.key("gpus").int(*gpus);
        if let Some(ports) = ports {
            json.key("ports").int(ports);
        }
    });
}

/// As Mesos writes attributes on its command line.
fn attribute(value: &Attribute) -> String {
    let mut text = String::new();
    match value {
        Attribute::Scalar(number) => {
            let _ = write!(text, "{number}");
        }
        Attribute::Text(it) => text.push_str(it),
        Attribute::Ranges(ranges) => {
            let all: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            let _ = write!(text, "[{}]", all.join(", "));
        }
        Attribute::Set(items) => {
            let _ = write!(text, "{{{}}}", items.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use marathon_model::resources::Reserved;

    use super::*;

    #[test]
    fn what_is_kept_for_an_instance_is_not_free() {
        let plain = |amount| Resource::new("*", amount);
        let mut kept = plain(Amount::Mem(Milli::from_whole(64)));
        kept.reserved = Some(Arc::new(Reserved { principal: None, labels: BTreeMap::new() }));
        let list = [
            plain(Amount::Cpus(Milli::from_f64(1.5))),
            plain(Amount::Cpus(Milli::from_f64(0.5))),
            plain(Amount::Mem(Milli::from_whole(256))),
            plain(Amount::Gpus(Milli::from_whole(2))),
            plain(Amount::Ports(vec![
                PortRange { first: 31000, last: 31009 },
                PortRange { first: 1, last: 1 },
            ])),
            kept,
        ];
        let (free, ports) = free(&list);
        assert_eq!((free.cpus, free.mem, free.gpus, ports), (Milli(2000), Milli(256_000), 2, 11));
    }

    #[test]
    fn attributes_as_mesos_writes_them() {
        for (value, want) in [
            (Attribute::Scalar(2.5), "2.5"),
            (Attribute::Text("rack-1".to_owned()), "rack-1"),
            (Attribute::Ranges(vec![(1, 3), (5, 5)]), "[1-3, 5-5]"),
            (Attribute::Set(vec!["a".to_owned(), "b".to_owned()]), "{a, b}"),
        ] {
            assert_eq!(attribute(&value), want);
        }
    }
}
