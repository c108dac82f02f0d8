//! One app definition.

use std::collections::BTreeMap;

use marathon_model::app::*;
use marathon_model::resources::Amounts;

use crate::check::{write_check, write_health_check, write_readiness_check};
use crate::container::{write_container, write_networks};
use crate::json::Json;

/// The bare app, as in `…/versions/{ts}` and in events.
pub fn write_app(json: &mut Json, app: &AppSpec) {
    json.object(|json| write_fields(json, app, true));
}

/// The fields of an app without the brackets, so that counts and the like can follow.
///
/// `numbered`: with `versionInfo`, which an app has once it is stored.
pub(crate) fn write_fields(json: &mut Json, app: &AppSpec, numbered: bool) {
    // No `..`: a new field does not compile until someone says where it is written.
    let AppSpec {
        id,
        cmd,
        args,
        user,
        env,
        secrets,
        labels,
        executor,
        instances,
        resources,
        resource_limits,
        executor_resources,
        constraints,
        accepted_resource_roles,
        fetch,
        networking,
        container,
        health_checks,
        check,
        readiness_checks,
        backoff,
        upgrade,
        dependencies,
        kill_selection,
        kill_grace,
        unreachable,
        tty,
        role,
        version,
        last_scaling_at,
        last_config_change_at,
        // Ours alone: tells configurations apart.
        config: _,
        // Written by `pod`.
        pod: _,
    } = app;

    json.key("id").string(id.as_str());
    if let Some(roles) = accepted_resource_roles {
        json.key("acceptedResourceRoles").strings(roles.iter().map(|it| &**it));
    }
    if !args.is_empty() {
        json.key("args").strings(args.iter().map(String::as_str));
    }
    json.key("backoffFactor").double(backoff.factor);
    json.key("backoffSeconds").seconds(backoff.initial);
    if let Some(cmd) = cmd {
        json.key("cmd").string(cmd);
    }
    if !constraints.is_empty() {
        json.key("constraints").array(constraints, write_constraint);
    }
    write_container(json, container.as_ref(), networking);
    json.key("cpus").milli(resources.cpus);
    if !dependencies.is_empty() {
        json.key("dependencies").strings(dependencies.iter().map(|it| it.as_str()));
    }
    json.key("disk").milli(resources.disk);
    if !env.is_empty() {
        write_env(json.key("env"), env);
    }
    json.key("executor").string(executor);
    if let Some(amounts) = executor_resources {
        write_executor_resources(json.key("executorResources"), amounts);
    }
    if !fetch.is_empty() {
        json.key("fetch").array(fetch, write_fetch);
    }
    if !health_checks.is_empty() {
        json.key("healthChecks").array(health_checks, write_health_check);
    }
    if let Some(check) = check {
        write_check(json.key("check"), check);
    }
    json.key("instances").int(*instances);
    write_labels(json.key("labels"), labels);
    json.key("maxLaunchDelaySeconds").seconds(backoff.max);
    json.key("mem").milli(resources.mem);
    json.key("gpus").int(resources.gpus);
    write_networks(json, networking);
    if !readiness_checks.is_empty() {
        json.key("readinessChecks").array(readiness_checks, write_readiness_check);
    }
    if app.is_resident() {
        write_residency(json.key("residency"), *unreachable);
    }
    if let Some(limits) = resource_limits {
        write_limits(json.key("resourceLimits"), limits);
    }
    json.key("requirePorts").bool(matches!(networking, Networking::Host { require_ports: true, .. }));
    if !secrets.is_empty() {
        write_secrets(json.key("secrets"), secrets);
    }
    if let Some(grace) = kill_grace {
        json.key("taskKillGracePeriodSeconds").seconds(*grace);
    }
    json.key("upgradeStrategy").object(|json| {
        json.key("maximumOverCapacity").double(upgrade.maximum_over_capacity);
        json.key("minimumHealthCapacity").double(upgrade.minimum_health_capacity);
    });
    if let Some(user) = user {
        json.key("user").string(user);
    }
    json.key("version").time(*version);
    if numbered {
        json.key("versionInfo").object(|json| {
            json.key("lastScalingAt").time(*last_scaling_at);
            json.key("lastConfigChangeAt").time(*last_config_change_at);
        });
    }
    json.key("killSelection").string(kill_selection_name(*kill_selection));
    write_unreachable(json.key("unreachableStrategy"), *unreachable);
    if let Some(tty) = tty {
        json.key("tty").bool(*tty);
    }
    json.key("role").string(role);
}

pub(crate) fn write_env(json: &mut Json, env: &BTreeMap<String, EnvValue>) {
    json.object(|json| {
        for (name, value) in env {
            match value {
                EnvValue::Text(text) => json.any_key(name).string(text),
                EnvValue::Secret(secret) => {
                    json.any_key(name).object(|json| json.key("secret").string(secret));
                }
            }
        }
    });
}

pub(crate) fn write_secrets(json: &mut Json, secrets: &BTreeMap<String, String>) {
    json.object(|json| {
        for (name, source) in secrets {
            json.any_key(name).object(|json| json.key("source").string(source));
        }
    });
}

pub(crate) fn write_executor_resources(json: &mut Json, amounts: &Amounts) {
    let Amounts { cpus, mem, disk, gpus: _ } = amounts;
    json.object(|json| {
        json.key("cpus").milli(*cpus);
        json.key("mem").milli(*mem);
        json.key("disk").milli(*disk);
    });
}

pub(crate) fn write_limits(json: &mut Json, limits: &ResourceLimits) {
    let ResourceLimits { cpus, mem } = limits;
    json.object(|json| {
        for (key, limit) in [("cpus", cpus), ("mem", mem)] {
            match limit {
                Some(Limit::Unlimited) => json.key(key).string("unlimited"),
                Some(Limit::Amount(amount)) => json.key(key).milli(*amount),
                None => {}
            }
        }
    });
}

pub(crate) fn kill_selection_name(selection: KillSelection) -> &'static str {
    match selection {
        KillSelection::YoungestFirst => "YOUNGEST_FIRST",
        KillSelection::OldestFirst => "OLDEST_FIRST",
    }
}

pub(crate) fn write_unreachable(json: &mut Json, strategy: UnreachableStrategy) {
    match strategy {
        UnreachableStrategy::Disabled => json.string("disabled"),
        UnreachableStrategy::After { inactive, expunge } => json.object(|json| {
            json.key("inactiveAfterSeconds").seconds(inactive);
            json.key("expungeAfterSeconds").seconds(expunge);
        }),
    }
}

/// What older clients know of `unreachableStrategy`; ignored on input.
fn write_residency(json: &mut Json, unreachable: UnreachableStrategy) {
    let seconds = match unreachable {
        UnreachableStrategy::Disabled => 3600,
        UnreachableStrategy::After { inactive, .. } => inactive.as_secs(),
    };
    json.object(|json| {
        json.key("relaunchEscalationTimeoutSeconds").int(seconds);
        json.key("taskLostBehavior").string("WAIT_FOREVER");
    });
}

pub(crate) fn write_labels(json: &mut Json, labels: &Labels) {
    json.object(|json| {
        for (name, value) in labels {
            json.any_key(name).string(value);
        }
    });
}

pub(crate) fn write_constraint(json: &mut Json, constraint: &Constraint) {
    let Constraint { field, operator, value } = constraint;
    json.strings([field.as_str(), operator_name(*operator)].into_iter().chain(value.as_deref()));
}

pub(crate) fn operator_name(operator: Operator) -> &'static str {
    match operator {
        Operator::Unique => "UNIQUE",
        Operator::Cluster => "CLUSTER",
        Operator::GroupBy => "GROUP_BY",
        Operator::Like => "LIKE",
        Operator::Unlike => "UNLIKE",
        Operator::MaxPer => "MAX_PER",
        Operator::Is => "IS",
        Operator::Unknown => "UNKNOWN",
    }
}

pub(crate) fn write_fetch(json: &mut Json, fetch: &Fetch) {
    let Fetch { uri, extract, executable, cache, dest_path } = fetch;
    json.object(|json| {
        json.key("uri").string(uri);
        json.key("extract").bool(*extract);
        json.key("executable").bool(*executable);
        json.key("cache").bool(*cache);
        if let Some(path) = dest_path {
            json.key("destPath").string(path);
        }
    });
}
