//! Calls that a real master took, beside those that we make for the same purpose: field by field.
//!
//! From each recorded call is read what the recorder wanted; that is asked of the engine, with the offers of the
//! recording; and what it would send is compared with what was recorded. Where the two differ, `DIFFERENCES` says why.

mod differences;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use marathon_mesos_v1::transcript::{self, What};
use marathon_mesos_v1::{self as v1, Codec};
use marathon_model::id::{AgentId, FrameworkId, OfferId, TaskId};
use marathon_model::offer::Call;
use serde_json::Value;
use tokio::sync::mpsc;
use v1::CallType;

use crate::config::{About, Framework, MesosConfig};
use crate::desk::Desk;
use crate::offer::Open;
use crate::roles::Roles;
use crate::take::Stock;
use crate::{Engine, Masters};
use differences::DIFFERENCES;
use wanted::operation;

/// Recordings of calls that are wrong on purpose.
const WRONG: [&str; 3] = ["11c-health-check-invalid", "12a-http-errors", "12b-call-errors"];

#[test]
fn our_calls_are_those_that_a_master_took() {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in std::fs::read_dir(transcript::FOLDER).expect("the recordings are part of the checkout") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.extension().is_none_or(|it| it != "jsonl") || WRONG.contains(&&*name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let recording = Recording::read(&text);
        for (theirs, kind) in &recording.calls {
            let Some(ours) = recording.ours(theirs, *kind) else { continue };
            *compared.entry(kind.as_str()).or_default() += 1;
            let value = |it: &v1::Call| serde_json::to_value(it).expect("plain data");
            let mut differences = BTreeSet::new();
            differ("", &value(theirs), &value(&ours), &mut differences);
            for it in differences {
                found.entry(format!("{}{it}", kind.as_str())).or_insert_with(|| name.clone());
            }
        }
    }
    let known: BTreeMap<&str, &str> = DIFFERENCES.iter().copied().collect();
    let new: Vec<_> = found.iter().filter(|(it, _)| !known.contains_key(it.as_str())).collect();
    let gone: Vec<_> = known.keys().filter(|it| !found.contains_key(**it)).collect();
    assert!(new.is_empty() && gone.is_empty(), "new: {new:#?}\nnot seen: {gone:#?}\n{compared:?}");
    for (kind, least) in [
        ("SUBSCRIBE", 60),
        ("ACCEPT", 50),
        ("ACKNOWLEDGE", 150),
        ("RECONCILE", 40),
        ("KILL", 15),
        ("DECLINE", 14),
        ("REVIVE", 3),
        ("SUPPRESS", 4),
        ("UPDATE_FRAMEWORK", 2),
        ("ACCEPT_INVERSE_OFFERS", 1),
    ] {
        assert!(compared.get(kind).is_some_and(|it| *it >= least), "{kind}: {compared:?}");
    }
}

fn differ(path: &str, theirs: &Value, ours: &Value, out: &mut BTreeSet<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(other) => differ(&format!("{path} {key}"), value, other, out),
                    None => drop(out.insert(format!("{path} {key}: only theirs"))),
                }
            }
            let more = ours.keys().filter(|it| !theirs.contains_key(*it));
            out.extend(more.map(|key| format!("{path} {key}: only ours")));
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            let sorted = |all: &[Value]| {
                let mut all = all.to_vec();
                all.sort_by_key(|it| {
                    it["name"].as_str().or(it["type"].as_str()).unwrap_or_default().to_owned()
                });
                all
            };
            if theirs.len() != ours.len() {
                out.insert(format!("{path}: another number"));
            }
            for (theirs, ours) in sorted(theirs).iter().zip(&sorted(ours)) {
                differ(path, theirs, ours, out);
            }
        }
        _ if theirs == ours => {}
        _ => drop(out.insert(format!("{path}: another value"))),
    }
}

/// What was said in one recording.
struct Recording {
    /// Calls that the master took.
    calls: Vec<(v1::Call, CallType)>,
    offers: BTreeMap<String, v1::Offer>,
    /// Inverse offers, as they came.
    inverse: Vec<v1::InverseOffer>,
    framework: Option<v1::FrameworkInfo>,
}

impl Recording {
    fn read(text: &str) -> Recording {
        let lines = transcript::parse(text).expect("a recording");
        let mut all =
            Recording { calls: Vec::new(), offers: BTreeMap::new(), inverse: Vec::new(), framework: None };
        let mut asked: BTreeMap<String, v1::Call> = BTreeMap::new();
        let mut codecs: BTreeMap<String, Codec> = BTreeMap::new();
        for line in lines {
            match line.what {
                What::Request { line: first, headers, body, .. } if first.contains("/api/v1/scheduler ") => {
                    let codec = headers.get("content-type").and_then(Codec::from_media_type);
                    let accept = headers.get("accept").and_then(Codec::from_media_type);
                    codecs.insert(line.connection.clone(), accept.unwrap_or(Codec::Json));
                    if let Some(call) = codec.and_then(|it| it.decode::<v1::Call>(&body).ok()) {
                        asked.insert(line.connection, call);
                    }
                }
                What::Response { status: 200 | 202, .. } => {
                    let Some(call) = asked.remove(&line.connection) else { continue };
                    let Some(Ok(kind)) = call.r#type.map(CallType::try_from) else { continue };
                    if let Some(it) = &call.subscribe {
                        all.framework = Some(it.framework_info.clone());
                    }
                    all.calls.push((named(call), kind));
                }
                What::Frame { data, .. } => {
                    let codec = codecs.get(&line.connection).copied().unwrap_or(Codec::Json);
                    let Ok(event) = codec.decode::<v1::Event>(&data) else { continue };
                    let offers = event.offers.into_iter().flat_map(|it| it.offers);
                    all.offers.extend(offers.map(|it| (it.id.value.clone(), it)));
                    all.inverse.extend(event.inverse_offers.into_iter().flat_map(|it| it.inverse_offers));
                }
                _ => {}
            }
        }
        all
    }

    /// What we would send to the same end; `None`: we never want that.
    fn ours(&self, theirs: &v1::Call, kind: CallType) -> Option<v1::Call> {
        let info = match kind {
            CallType::SUBSCRIBE => theirs.subscribe.as_ref()?.framework_info.clone(),
            CallType::UPDATE_FRAMEWORK => theirs.update_framework.as_ref()?.framework_info.clone(),
            _ => self.framework.clone().unwrap_or_default(),
        };
        let mut engine = engine(&info);
        engine.config.id = theirs.framework_id.as_ref().map(|it| FrameworkId::new(it.value.as_str()));
        {
            let mut desk = engine.desk();
            for (id, offer) in &self.offers {
                let open =
                    Open { agent: offer.agent_id.value.clone(), stock: Stock::new(offer.resources.clone()) };
                desk.open.insert(OfferId::new(id.as_str()), open);
            }
        }
        let task = |it: &v1::TaskId| TaskId::parse(&it.value).expect("a name of ours");
        let agent = |it: &v1::AgentId| AgentId::new(it.value.as_str());
        let wanted = match kind {
            CallType::SUBSCRIBE => {
                engine.desk().roles.want(not_suppressed(&info, &theirs.subscribe.as_ref()?.suppressed_roles));
                return Some(engine.subscription().0);
            }
            CallType::UPDATE_FRAMEWORK => {
                let suppressed = &theirs.update_framework.as_ref()?.suppressed_roles;
                engine.desk().roles.want(not_suppressed(&info, suppressed));
                return Some(v1::Call {
                    framework_id: theirs.framework_id.clone(),
                    ..engine.update_framework().call
                });
            }
            CallType::ACCEPT_INVERSE_OFFERS => {
                let ids = self.inverse.iter().map(|it| it.id.clone());
                let ids = ids.filter(|it| {
                    theirs.accept_inverse_offers.iter().any(|of| of.inverse_offer_ids.contains(it))
                });
                let call = crate::event::accept_inverse(ids.collect());
                return Some(v1::Call { framework_id: theirs.framework_id.clone(), ..call });
            }
            CallType::DECLINE => {
                let it = theirs.decline.as_ref()?;
                let hold = it.filters.as_ref()?.refuse_seconds?;
                let offers = it.offer_ids.iter().map(|it| OfferId::new(it.value.as_str())).collect();
                Call::Decline { offers, hold: Duration::try_from_secs_f64(hold).ok()? }
            }
            CallType::ACKNOWLEDGE => {
                let it = theirs.acknowledge.as_ref()?;
                let update = uuid::Uuid::from_slice(&it.uuid).ok()?;
                Call::Acknowledge { task: task(&it.task_id), agent: agent(&it.agent_id), update }
            }
            CallType::KILL => {
                let it = theirs.kill.as_ref()?;
                Call::Kill {
                    task: task(&it.task_id),
                    agent: it.agent_id.as_ref().map(agent),
                    grace: it.kill_policy.as_ref().and_then(grace),
                }
            }
            CallType::RECONCILE => {
                let all = theirs.reconcile.as_ref()?.tasks.iter();
                Call::Reconcile(all.map(|it| (task(&it.task_id), it.agent_id.as_ref().map(agent))).collect())
            }
            CallType::REVIVE => Call::Revive(roles(&info, theirs.revive.as_ref().map(|it| &it.roles))),
            CallType::SUPPRESS => Call::Suppress(roles(&info, theirs.suppress.as_ref().map(|it| &it.roles))),
            CallType::ACCEPT => {
                let it = theirs.accept.as_ref()?;
                // One call of ours is about one offer, which is there.
                let [offer] = it.offer_ids.as_slice() else { return None };
                self.offers.get(&offer.value)?;
                let operations = it.operations.iter().map(operation).collect::<Option<Vec<_>>>()?;
                Call::Accept { offer: OfferId::new(offer.value.as_str()), operations }
            }
            _ => return None,
        };
        let (mut out, mut told) = (Vec::new(), Vec::new());
        engine.write(wanted, &mut out, &mut told);
        // What is not there cannot be taken: the recorder tried that, too.
        let [written] = out.as_mut_slice() else { return None };
        let call = std::mem::take(&mut written.call);
        let is_less = |it: &v1::CallAccept| it.operations.is_empty();
        if call.accept.as_ref().is_some_and(is_less) && !theirs.accept.as_ref().is_some_and(is_less) {
            return None;
        }
        told.is_empty().then_some(v1::Call { framework_id: theirs.framework_id.clone(), ..call })
    }
}

fn not_suppressed<'a>(
    info: &'a v1::FrameworkInfo,
    suppressed: &'a [String],
) -> impl Iterator<Item = &'a str> {
    info.roles.iter().filter(|it| !suppressed.contains(it)).map(String::as_str)
}

/// None of them means all.
fn roles(info: &v1::FrameworkInfo, named: Option<&Vec<String>>) -> Vec<marathon_model::resources::Role> {
    let all = named.filter(|it| !it.is_empty()).unwrap_or(&info.roles);
    all.iter().map(|it| it.as_str().into()).collect()
}

fn engine(info: &v1::FrameworkInfo) -> Engine {
    let has = |it: v1::FrameworkInfoCapabilityType| {
        info.capabilities.iter().any(|had| had.r#type == Some(it as i32))
    };
    let config = MesosConfig {
        masters: Masters::parse("m:5050").expect("an address"),
        framework: Framework {
            name: info.name.clone(),
            user: info.user.clone(),
            failover_timeout: Duration::from_secs_f64(info.failover_timeout.unwrap_or_default()),
            checkpoint: info.checkpoint.unwrap_or_default(),
            hostname: "h".to_owned(),
            webui_url: "http://h".to_owned(),
            principal: info.principal.clone(),
            task_killing: has(v1::FrameworkInfoCapabilityType::TASK_KILLING_STATE),
            gpus: has(v1::FrameworkInfoCapabilityType::GPU_RESOURCES),
        },
        id: None,
        roles: info.roles.iter().map(|it| it.as_str().into()).collect(),
        suppress: true,
        login: None,
        https: false,
        ca_file: None,
        codec: Codec::Json,
        heartbeat: Duration::from_secs(15),
        heartbeats_missed: 5,
        about: About::default(),
        filtering: None,
    };
    Engine {
        desk: Mutex::new(Desk::new(Roles::new(&config))),
        watcher: None,
        authorization: None,
        subscribed_before: false,
        is_subscribed: true,
        tls: crate::wire::tls(None).expect("certificates"),
        events: mpsc::channel(1).0,
        config,
    }
}

/// Gives recorded tasks names of our form.
fn named(call: v1::Call) -> v1::Call {
    let mut value = serde_json::to_value(&call).expect("plain data");
    name_all(&mut value);
    serde_json::from_value(value).expect("the same call")
}

fn name_all(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value["value"].as_str()) {
                    ("task_id", Some(name)) => value["value"] = our_name(name).into(),
                    _ => name_all(value),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(name_all),
        _ => {}
    }
}

fn our_name(name: &str) -> String {
    let number = name.bytes().fold(7_u128, |sum, it| sum.wrapping_mul(257).wrapping_add(it.into()));
    format!("rec.instance-{}._app.1", uuid::Uuid::from_u128(number))
}

fn grace(it: &v1::KillPolicy) -> Option<Duration> {
    Some(Duration::from_nanos(it.grace_period.as_ref()?.nanoseconds.unsigned_abs()))
}
