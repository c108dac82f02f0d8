//! Lays an update over a definition, field by field.

use std::collections::HashSet;
use std::fmt::Debug;

use marathon_model::app::*;
use marathon_model::id::{GroupId, PathId, SEGMENT_PATTERN};
use marathon_model::update::AppUpdate;

use crate::report::Report;

/// The fields whose value does not depend on any other.
pub fn fields(spec: &mut AppSpec, update: &AppUpdate) {
    // No `..`: a new field does not compile until someone says how it is laid over.
    let AppUpdate {
        id: _,
        cmd: _,  // `command`
        args: _, // `command`
        user,
        env,
        secrets,
        labels,
        executor,
        instances,
        cpus,
        mem,
        disk,
        gpus,
        resource_limits,
        executor_resources,
        constraints,
        accepted_resource_roles,
        fetch,
        networks: _,         // `network::settle`
        port_definitions: _, // `network::settle`
        require_ports: _,    // `network::settle`
        container,
        health_checks: _, // `health_checks`
        check,
        readiness_checks,
        backoff_initial,
        backoff_factor,
        backoff_max,
        upgrade: _,      // `strategies`
        dependencies: _, // `dependencies`
        kill_selection,
        kill_grace,
        unreachable: _, // `strategies`
        tty,
        role,
        version: _, // A rollback replaces the whole definition and never comes here.
    } = update;

    keep_or_set(&mut spec.env, env);
    keep_or_set(&mut spec.secrets, secrets);
    keep_or_set(&mut spec.labels, labels);
    keep_or_set(&mut spec.executor, executor);
    keep_or_set(&mut spec.instances, instances);
    keep_or_set(&mut spec.resources.cpus, cpus);
    keep_or_set(&mut spec.resources.mem, mem);
    keep_or_set(&mut spec.resources.disk, disk);
    keep_or_set(&mut spec.resources.gpus, gpus);
    keep_or_set(&mut spec.constraints, constraints);
    keep_or_set(&mut spec.fetch, fetch);
    keep_or_set(&mut spec.readiness_checks, readiness_checks);
    keep_or_set(&mut spec.backoff.initial, backoff_initial);
    keep_or_set(&mut spec.backoff.factor, backoff_factor);
    keep_or_set(&mut spec.backoff.max, backoff_max);
    keep_or_set(&mut spec.kill_selection, kill_selection);
    keep_or_set(&mut spec.role, role);

    // An update cannot unset what is optional: absent and null both keep it.
    keep_or_fill(&mut spec.user, user);
    keep_or_fill(&mut spec.resource_limits, resource_limits);
    keep_or_fill(&mut spec.executor_resources, executor_resources);
    keep_or_fill(&mut spec.accepted_resource_roles, accepted_resource_roles);
    keep_or_fill(&mut spec.check, check);
    keep_or_fill(&mut spec.kill_grace, kill_grace);
    keep_or_fill(&mut spec.tty, tty);
    if let Some(given) = container {
        spec.container = Some(Container {
            kind: given.kind,
            docker: given.docker.clone(),
            volumes: given.volumes.clone(),
            linux: given.linux.clone(),
        });
    }

    // These are sets in the API: exact duplicates collapse silently.
    drop_duplicates(&mut spec.constraints);
    if let Some(roles) = &mut spec.accepted_resource_roles {
        drop_duplicates(roles);
    }
}

/// Giving one of `cmd` and `args` drops the other.
///
/// In the original such an update fails, since the merged app has both; whoever switches then has to
/// replace the whole app. An update that gives both is still refused.
pub fn command(spec: &mut AppSpec, update: &AppUpdate) {
    if update.args.as_ref().is_some_and(|it| !it.is_empty()) {
        spec.cmd = None;
    }
    if update.cmd.is_some() {
        spec.args.clear();
    }
    keep_or_fill(&mut spec.cmd, &update.cmd);
    keep_or_set(&mut spec.args, &update.args);
}

pub fn dependencies(spec: &mut AppSpec, update: &AppUpdate, group: &GroupId, report: &mut Report) {
    let Some(given) = &update.dependencies else { return };
    spec.dependencies.clear();
    for (at, text) in given.iter().enumerate() {
        match PathId::resolve(text, group) {
            Ok(path) => spec.dependencies.push(path),
            Err(_) => report.add(
                format!("/dependencies({at})"),
                format!("must fully match regular expression '{SEGMENT_PATTERN}'"),
            ),
        }
    }
    drop_duplicates(&mut spec.dependencies);
}

pub fn health_checks(spec: &mut AppSpec, update: &AppUpdate, report: &mut Report) {
    let Some(given) = &update.health_checks else { return };
    spec.health_checks = given.iter().map(|it| it.check.clone()).collect();
    for (at, _) in given.iter().enumerate().filter(|(_, it)| it.port_and_index) {
        report.add(format!("/healthChecks({at})"), "HealthCheck must specify either a port or a portIndex");
    }
    drop_duplicates(&mut spec.health_checks);
}

/// Strategies whose defaults depend on the volumes: state that lives with one instance forbids a
/// second one beside it, and must not be given up because an agent is out of sight.
pub fn strategies(spec: &mut AppSpec, update: &AppUpdate, new: bool) {
    let bound_to_volume = spec.is_resident() || crate::has_external_volume(spec);
    let default = if bound_to_volume { (0.5, 0.0) } else { (1.0, 1.0) };
    match &update.upgrade {
        // The pair is one value, so a missing half falls back to its default, as in 0.13.
        Some(given) => {
            spec.upgrade.minimum_health_capacity = given.minimum_health_capacity.unwrap_or(default.0);
            spec.upgrade.maximum_over_capacity = given.maximum_over_capacity.unwrap_or(default.1);
        }
        None if new => {
            (spec.upgrade.minimum_health_capacity, spec.upgrade.maximum_over_capacity) = default;
        }
        None => {}
    }
    match update.unreachable {
        Some(given) => spec.unreachable = given,
        None if new && spec.is_resident() => spec.unreachable = UnreachableStrategy::Disabled,
        None => {}
    }
}

fn keep_or_set<T: Clone>(field: &mut T, given: &Option<T>) {
    if let Some(value) = given {
        field.clone_from(value);
    }
}

fn keep_or_fill<T: Clone>(field: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        field.clone_from(given);
    }
}

/// Keeps the first of equal items. Lists come from clients and may be long, so each item is looked up
/// by its text instead of compared with all others.
pub fn drop_duplicates<T: Debug>(list: &mut Vec<T>) {
    if list.len() > 1 {
        let mut seen = HashSet::new();
        list.retain(|it| seen.insert(format!("{it:?}")));
    }
}
