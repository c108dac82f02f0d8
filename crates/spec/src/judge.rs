//! Every rule of a finished definition, in the order of its fields.

use std::collections::BTreeMap;

use marathon_model::app::*;
use marathon_model::id::PathId;
use marathon_model::resources::{Amounts, Milli};

use crate::report::{Report, feature_disabled, fraction};
use crate::{Place, Rules, check, constraint, container, name, network, role, uri};

const SINGLE_INSTANCE_LABEL: &str = "MARATHON_SINGLE_INSTANCE_APP";
const RESERVED_NAMES: [&str; 3] = ["restart", "tasks", "versions"];

pub fn all(spec: &AppSpec, rules: &Rules, place: &Place<'_>, report: &mut Report) {
    id(&spec.id, report);
    name::judge(spec, rules, report);
    command(spec, report);
    secrets(spec, rules, report);
    environment(&spec.env, spec, "/env", rules, report);
    resources(spec, rules, report);
    limits(spec.resource_limits, &spec.resources, "/resourceLimits", report);
    constraint::judge(spec, report);
    for (at, fetch) in spec.fetch.iter().enumerate() {
        report.require(uri::is_valid(&fetch.uri), || {
            (format!("/fetch({at})/uri"), "URI has invalid syntax.".to_owned())
        });
    }
    container::judge(spec, rules, report);
    network::judge(spec, report);
    check::judge(spec, report);
    labels(spec, report);
    upgrade(spec, "/upgradeStrategy", report);
    if spec.is_resident() && spec.unreachable != UnreachableStrategy::Disabled {
        report.add("/", "unreachableStrategy must be disabled for resident tasks");
    }
    unreachable(spec.unreachable, "/unreachableStrategy", report);
    role::judge(spec, rules, place, report);
}

pub fn id(id: &PathId, report: &mut Report) {
    if id.is_root() {
        report.add("/", "must not be root");
        report.add("/id", "Path must contain at least one path element");
    }
    if RESERVED_NAMES.contains(&id.name()) {
        report.add(
            "/id",
            "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
        );
    }
}

/// Exactly one of `cmd` and `args`; or neither, where an image brings its own command.
fn command(spec: &AppSpec, report: &mut Report) {
    let has_image = spec.container.as_ref().is_some_and(|it| it.docker.is_some());
    let fits = match (&spec.cmd, spec.args.is_empty()) {
        (Some(_), true) | (None, false) => true,
        (None, true) => has_image,
        (Some(_), false) => false,
    };
    if !fits {
        report.add("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.");
    }
    // The original refuses commands of one character as well; `w` is a good command.
    if spec.cmd.as_deref() == Some("") {
        report.add("/", "must not be an empty string");
    }
    // No process can be started with such texts.
    let nul = |text: &str| text.contains('\0');
    if spec.cmd.as_deref().is_some_and(nul) {
        report.add("/cmd", "must not contain NUL characters");
    }
    if spec.user.as_deref().is_some_and(nul) {
        report.add("/user", "must not contain NUL characters");
    }
    for (at, _) in spec.args.iter().enumerate().filter(|(_, it)| nul(it)) {
        report.add(format!("/args({at})"), "must not contain NUL characters");
    }
}

pub fn secrets(spec: &AppSpec, rules: &Rules, report: &mut Report) {
    if !spec.secrets.is_empty() && !rules.features.secrets {
        report.add("/secrets", feature_disabled("secrets"));
    }
}

pub fn environment(
    env: &BTreeMap<String, EnvValue>,
    spec: &AppSpec,
    path: &str,
    rules: &Rules,
    report: &mut Report,
) {
    for (name, value) in env {
        if name.is_empty() {
            report.add(path, "must not be empty");
        }
        match value {
            EnvValue::Text(text) if text.contains('\0') || name.contains('\0') => {
                report
                    .add(format!("{path}/{}", name.replace('\0', "\\0")), "must not contain NUL characters");
            }
            EnvValue::Text(_) => {}
            EnvValue::Secret(_) if !rules.features.secrets => report.add(
                path,
                "use of secret-references in the environment requires the secrets feature to be enabled",
            ),
            EnvValue::Secret(secret) if !spec.secrets.contains_key(secret) => {
                report.add(format!("{path}/{name}/secret"), "references an undefined secret");
            }
            EnvValue::Secret(_) => {}
        }
    }
}

fn resources(spec: &AppSpec, rules: &Rules, report: &mut Report) {
    if spec.resources.gpus > 0 {
        if spec.container.as_ref().is_some_and(|it| it.kind == ContainerKind::Docker) {
            report.add("/", "GPU resources only work with the Mesos containerizer");
        }
        if !rules.features.gpu_resources {
            report.add("/", feature_disabled("gpu_resources"));
        }
    }
}

pub fn limits(limits: Option<ResourceLimits>, requested: &Amounts, path: &str, report: &mut Report) {
    let Some(limits) = limits else { return };
    let mut limit = |name: &str, limit: Option<Limit>, requested: Milli| {
        let fits = !matches!(limit, Some(Limit::Amount(amount)) if amount < requested);
        report.require(fits, || {
            let requested = fraction(requested.as_f64());
            (
                format!("{path}/{name}"),
                format!("resource limit must be greater than or equal to requested resource ({requested})"),
            )
        });
    };
    limit("cpus", limits.cpus, requested.cpus);
    limit("mem", limits.mem, requested.mem);
}

fn is_single_instance(spec: &AppSpec) -> bool {
    spec.labels.get(SINGLE_INSTANCE_LABEL).is_some_and(|it| it == "true")
}

fn labels(spec: &AppSpec, report: &mut Report) {
    if is_single_instance(spec) && spec.instances > 1 {
        report.add("/", "Single instance app may only have one instance");
    }
    let given = |name: &str| spec.labels.get(name).map(String::as_str).filter(|it| !it.is_empty());
    if let Some(version) = given("DCOS_MIGRATION_API_VERSION") {
        let complete = version == "v1"
            && given("DCOS_PACKAGE_FRAMEWORK_NAME").is_some()
            && given("DCOS_MIGRATION_API_PATH").is_some();
        if !complete {
            report.add(
                "/",
                "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION",
            );
        }
    }
}

pub fn upgrade(spec: &AppSpec, path: &str, report: &mut Report) {
    let UpgradeStrategy { minimum_health_capacity: floor, maximum_over_capacity: over } = spec.upgrade;
    let single = !spec.is_pod() && is_single_instance(spec);
    let floor_must_be_zero = single;
    // A second instance beside the first would want the same volume.
    let over_must_be_zero = single || spec.is_resident() || crate::holds_exclusive_volume(spec);

    let mut judge = |name: &str, value: f64, must_be_zero: bool| {
        let path = || format!("{path}/{name}");
        if !(0.0..=1.0).contains(&value) {
            report.add(path(), format!("got {}, expected between 0.0 and 1.0", fraction(value)));
        } else if must_be_zero && value != 0.0 {
            report.add(path(), format!("got {}, expected 0.0", fraction(value)));
        }
    };
    judge("minimumHealthCapacity", floor, floor_must_be_zero);
    judge("maximumOverCapacity", over, over_must_be_zero);
}

pub fn unreachable(strategy: UnreachableStrategy, path: &str, report: &mut Report) {
    let UnreachableStrategy::After { inactive, expunge } = strategy else { return };
    report.require(inactive <= expunge, || {
        (
            format!("{path}/inactiveAfterSeconds"),
            format!(
                "inactiveAfterSeconds ({}) must be less or equal to expungeAfterSeconds, which is {}",
                inactive.as_secs(),
                expunge.as_secs()
            ),
        )
    });
}
