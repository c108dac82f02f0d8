//! The app object.

use marathon_model::app::*;
use marathon_model::id::PathId;
use marathon_model::resources::{Amounts, Milli};
use marathon_model::time::Timestamp;
use marathon_model::update::{AppUpdate, Dependency, UpgradeUpdate};
use serde_json::Value;

use crate::reader::{Object, Reader, present};
use crate::{Mode, check, constraint, container, legacy, network, seconds};

/// Reads one app. Relative ids resolve against `base`.
pub fn read(r: &mut Reader, value: &Value, base: &PathId, mode: Mode) -> Option<AppUpdate> {
    let object = r.object(value)?;
    let id = match mode {
        Mode::Create if present(object, "id").is_none() => r.undefined(object, "id"),
        Mode::Create => r.required(object, "id", |r, it| path(r, it, base)),
        Mode::Update | Mode::Replace => r.optional(object, "id", |r, it| path(r, it, base)),
    };
    let mut app = fields(r, object, id, base);
    legacy::translate(r, object, mode, &mut app);
    // Answers name it, and clients send them back: it must be one, and means something in a partial update only.
    let version = r.optional(object, "version", timestamp);
    if let (Mode::Update, Some(version)) = (mode, version) {
        rollback(r, version, &mut app);
    }
    Some(app)
}

/// The canonical fields.
fn fields(r: &mut Reader, o: &Object, id: Option<PathId>, base: &PathId) -> AppUpdate {
    AppUpdate {
        id,
        cmd: r.optional(o, "cmd", Reader::some_text),
        args: r.optional(o, "args", |r, it| r.list(it, Reader::text)),
        user: r.optional(o, "user", Reader::text),
        env: r.optional(o, "env", |r, it| r.map(it, env_value)),
        secrets: r.optional(o, "secrets", |r, it| r.map(it, secret_source)),
        labels: r.optional(o, "labels", Reader::texts),
        executor: r.optional(o, "executor", |r, it| r.matching(it, is_executor)),
        instances: r.optional(o, "instances", Reader::count),
        cpus: r.optional(o, "cpus", |r, it| amount(r, it, 0.001)),
        mem: r.optional(o, "mem", |r, it| amount(r, it, 0.0)),
        disk: r.optional(o, "disk", |r, it| amount(r, it, 0.0)),
        gpus: r.optional(o, "gpus", Reader::count),
        resource_limits: r.optional(o, "resourceLimits", resource_limits),
        executor_resources: r.optional(o, "executorResources", executor_resources),
        constraints: r.optional(o, "constraints", constraint::list),
        accepted_resource_roles: r.optional(o, "acceptedResourceRoles", |r, it| {
            r.list(it, |r, it| r.some_text(it).map(Into::into))
        }),
        fetch: r.optional(o, "fetch", |r, it| r.list(it, fetch)),
        networks: r.optional(o, "networks", network::list),
        port_definitions: r.optional(o, "portDefinitions", |r, it| r.list(it, network::definition)),
        require_ports: r.optional(o, "requirePorts", Reader::boolean),
        container: r.optional(o, "container", container::read),
        health_checks: r.optional(o, "healthChecks", |r, it| r.list(it, check::health)),
        check: r.optional(o, "check", check::informative),
        readiness_checks: r.optional(o, "readinessChecks", |r, it| r.list(it, check::readiness)),
        backoff_initial: r.optional(o, "backoffSeconds", Reader::seconds),
        backoff_factor: r.optional(o, "backoffFactor", |r, it| r.number(it, 1.0)),
        backoff_max: r.optional(o, "maxLaunchDelaySeconds", Reader::seconds),
        upgrade: r.optional(o, "upgradeStrategy", upgrade),
        dependencies: r.optional(o, "dependencies", |r, it| r.list(it, |r, it| dependency(r, it, base))),
        kill_selection: r.optional(o, "killSelection", kill_selection),
        kill_grace: r.optional(o, "taskKillGracePeriodSeconds", Reader::seconds),
        unreachable: r.optional(o, "unreachableStrategy", unreachable),
        tty: r.optional(o, "tty", Reader::boolean),
        role: r.optional(o, "role", |r, it| r.some_text(it).map(Into::into)),
        version: None,
    }
}

/// The short forms are those of 1.4.
pub fn kill_selection(r: &mut Reader, value: &Value) -> Option<KillSelection> {
    let words = [
        ("YOUNGEST_FIRST", KillSelection::YoungestFirst),
        ("OLDEST_FIRST", KillSelection::OldestFirst),
        ("YoungestFirst", KillSelection::YoungestFirst),
        ("OldestFirst", KillSelection::OldestFirst),
    ];
    r.word(value, &words)
}

/// A version asks for that stored definition as a whole, so nothing else may be asked beside it.
fn rollback(r: &mut Reader, version: Timestamp, app: &mut AppUpdate) {
    let alone = AppUpdate { id: app.id.clone(), ..AppUpdate::default() };
    if *app != alone {
        r.broken("The 'version' field may only be combined with the 'id' field.");
    }
    app.version = Some(version);
}

pub fn timestamp(r: &mut Reader, value: &Value) -> Option<Timestamp> {
    let text = r.text(value)?;
    Timestamp::parse(&text).or_else(|| r.misshapen("error.expected.date.isoformat"))
}

pub fn path(r: &mut Reader, value: &Value, base: &PathId) -> Option<PathId> {
    let text = r.some_text(value)?;
    PathId::resolve(&text, base).ok().or_else(|| r.misshapen("error.pattern"))
}

/// Resolved as ids are: in the body of a group against that group, elsewhere against the root.
fn dependency(r: &mut Reader, value: &Value, base: &PathId) -> Option<Dependency> {
    path(r, value, base).map(|it| it.to_string())
}

pub fn amount(r: &mut Reader, value: &Value, min: f64) -> Option<Milli> {
    r.number(value, min).map(Milli::from_f64)
}

pub fn env_value(r: &mut Reader, value: &Value) -> Option<EnvValue> {
    match value {
        Value::Object(reference) => r.required(reference, "secret", Reader::some_text).map(EnvValue::Secret),
        _ => r.text(value).map(EnvValue::Text),
    }
}

pub fn secret_source(r: &mut Reader, value: &Value) -> Option<String> {
    let object = r.object(value)?;
    r.required(object, "source", Reader::some_text)
}

/// `//cmd`, a path without empty segments, or nothing.
fn is_executor(text: &str) -> bool {
    let path = text.strip_prefix('/').unwrap_or(text);
    matches!(text, "" | "//cmd") || path.split('/').all(|it| !it.is_empty())
}

pub fn resource_limits(r: &mut Reader, value: &Value) -> Option<ResourceLimits> {
    let object = r.object(value)?;
    let cpus = r.optional(object, "cpus", limit);
    let mem = r.optional(object, "mem", limit);
    Some(ResourceLimits { cpus, mem })
}

fn limit(r: &mut Reader, value: &Value) -> Option<Limit> {
    match value {
        Value::Number(_) => amount(r, value, 0.0).map(Limit::Amount),
        Value::String(text) if text.eq_ignore_ascii_case("unlimited") => Some(Limit::Unlimited),
        _ => {
            let given = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            r.broken(format!("'{given}' is an invalid resource limit. It must be 'unlimited' or a number"));
            None
        }
    }
}

pub fn executor_resources(r: &mut Reader, value: &Value) -> Option<Amounts> {
    let object = r.object(value)?;
    let mut part = |key: &str, min: f64| {
        let given = r.optional(object, key, |r, it| amount(r, it, min));
        given.unwrap_or_else(|| Milli::from_f64(min))
    };
    Some(Amounts { cpus: part("cpus", 0.1), mem: part("mem", 32.0), disk: part("disk", 10.0), gpus: 0 })
}

pub fn fetch(r: &mut Reader, value: &Value) -> Option<Fetch> {
    let object = r.object(value)?;
    let uri = r.required(object, "uri", Reader::locator);
    let mut flag = |key: &str, default: bool| r.optional(object, key, Reader::boolean).unwrap_or(default);
    let (extract, executable, cache) =
        (flag("extract", true), flag("executable", false), flag("cache", false));
    // 1.3 called it `outputFile`.
    let dest_path = r
        .optional(object, "destPath", Reader::locator)
        .or_else(|| r.optional(object, "outputFile", Reader::locator));
    Some(Fetch { uri: uri?, extract, executable, cache, dest_path })
}

pub fn upgrade(r: &mut Reader, value: &Value) -> Option<UpgradeUpdate> {
    let object = r.object(value)?;
    // Bounds are rules with texts of their own, so any number is read here.
    let mut part = |key: &str| r.optional(object, key, |r, it| r.number(it, f64::NEG_INFINITY));
    let minimum_health_capacity = part("minimumHealthCapacity");
    let maximum_over_capacity = part("maximumOverCapacity");
    Some(UpgradeUpdate { minimum_health_capacity, maximum_over_capacity })
}

pub fn unreachable(r: &mut Reader, value: &Value) -> Option<UnreachableStrategy> {
    if value.is_string() {
        return r.word(value, &[("disabled", UnreachableStrategy::Disabled)]);
    }
    let object = r.object(value)?;
    let mut part = |key: &str| {
        let given = r.optional(object, key, |r, it| r.int(it, i32::MIN, i32::MAX)).unwrap_or(0);
        if given < 0 {
            r.broken_at(key, format!("{key} ({given}) must be greater than or equal to 0"));
        }
        seconds(given.into())
    };
    let inactive = part("inactiveAfterSeconds");
    let expunge = part("expungeAfterSeconds");
    Some(UnreachableStrategy::After { inactive, expunge })
}
