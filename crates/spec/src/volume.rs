//! Volumes: host, persistent, external (DVDI and CSI) and secret ones.

use std::collections::HashSet;

use marathon_model::app::serde_json_text::JsonText;
use marathon_model::app::*;
use serde_json::Value;

use crate::Rules;
use crate::report::{Report, feature_disabled};

const LABEL_PATTERN: &str = "^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$";
const OPTION_PATTERN: &str =
    r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9\._:]*[A-Za-z0-9])?$";
const DRIVER_OPTION: &str = "dvdi/driver";
const ACCESS_MODES: [&str; 5] = [
    "SINGLE_NODE_WRITER",
    "SINGLE_NODE_READER_ONLY",
    "MULTI_NODE_READER_ONLY",
    "MULTI_NODE_SINGLE_WRITER",
    "MULTI_NODE_MULTI_WRITER",
];

pub fn judge(spec: &AppSpec, container: &Container, rules: &Rules, report: &mut Report) {
    let mut names = HashSet::new();
    let mut dvdi_names = HashSet::new();
    for (at, volume) in container.volumes.iter().enumerate() {
        let path = format!("/container/volumes({at})");
        match &volume.source {
            VolumeSource::Host { host_path } => {
                not_empty(&volume.container_path, &path, "containerPath", report);
                not_empty(host_path, &path, "hostPath", report);
            }
            VolumeSource::Persistent { .. } => judge_persistent(volume, &path, report),
            VolumeSource::External { name, provider, .. } => {
                if !names.insert(name) {
                    report.add("/container/volumes", "Volume names must be unique");
                }
                if provider == "dvdi" && !dvdi_names.insert(name) {
                    let app = &spec.id;
                    report.add(
                        "/",
                        format!("Requested DVDI volume '{name}' is declared more than once within app {app}"),
                    );
                }
                judge_external(spec, container.kind, volume, rules, &path, report);
            }
            VolumeSource::Secret { secret } => {
                if !rules.features.secrets {
                    report.add("/container/volumes", feature_disabled("secrets"));
                }
                if !spec.secrets.contains_key(secret) {
                    report.add(&path, "volume.secret must refer to an existing secret");
                }
            }
        }
    }
}

fn not_empty(text: &str, path: &str, key: &str, report: &mut Report) {
    report.require(!text.is_empty(), || (format!("{path}/{key}"), "must not be empty".to_owned()));
}

fn judge_persistent(volume: &Volume, path: &str, report: &mut Report) {
    // The path is one folder of the sandbox, so it must stay inside.
    let inside = &volume.container_path;
    let at_path = || format!("{path}/containerPath");
    if inside.is_empty() {
        report.add(at_path(), "must not be empty");
    }
    if matches!(inside.as_str(), "." | "..") {
        report.add(at_path(), "can not be one of (.,..)");
    }
    if inside.contains('/') {
        report.add(at_path(), "value must not contain \"/\"");
    }
    if volume.read_only {
        report.add(format!("{path}/mode"), "got RO, expected RW");
    }
    let VolumeSource::Persistent { kind, size, max_size, profile: _, constraints } = &volume.source else {
        return;
    };
    judge_disk(*kind, *size, *max_size, constraints, path, report);
}

/// The disk a persistent volume is made on.
pub fn judge_disk(
    kind: DiskKind,
    size: u64,
    max_size: Option<u64>,
    constraints: &[Constraint],
    path: &str,
    report: &mut Report,
) {
    let at_info = || format!("{path}/persistent");
    if size == 0 {
        report.add(format!("{path}/persistent/size"), "got 0, expected more than 0");
    }
    if kind == DiskKind::Root && !constraints.is_empty() {
        report.add(at_info(), "Constraints on root volumes are not supported");
    }
    if let Some(max_size) = max_size {
        if kind != DiskKind::Mount {
            report.add(at_info(), "Only mount volumes can have maxSize");
        }
        if max_size <= size {
            report.add(at_info(), "Max size must be larger than size");
        }
    }
}

fn judge_external(
    spec: &AppSpec,
    engine: ContainerKind,
    volume: &Volume,
    rules: &Rules,
    path: &str,
    report: &mut Report,
) {
    let VolumeSource::External { name, provider, .. } = &volume.source else { return };
    if !rules.features.external_volumes {
        report.add(path, feature_disabled("external_volumes"));
    }
    not_empty(&volume.container_path, path, "containerPath", report);
    for (key, text) in [("name", name), ("provider", provider)] {
        report.require(is_label(text), || {
            (
                format!("{path}/external/{key}"),
                format!("must fully match regular expression '{LABEL_PATTERN}'"),
            )
        });
    }
    match provider.as_str() {
        "dvdi" => judge_dvdi(spec, engine, volume, path, report),
        "csi" => judge_csi(spec, engine, volume, path, report),
        _ => report.add(format!("{path}/external/provider"), "is unknown provider"),
    }
}

fn judge_dvdi(spec: &AppSpec, engine: ContainerKind, volume: &Volume, path: &str, report: &mut Report) {
    let VolumeSource::External { size, options, shared, .. } = &volume.source else { return };
    let at_options = || format!("{path}/external/options");
    match parse(options) {
        Value::Object(options) => {
            for key in options.keys().filter(|it| !is_option_key(it)) {
                report.add(
                    format!("{}/{key}", at_options()),
                    format!("must fully match regular expression '{OPTION_PATTERN}'"),
                );
            }
            if options.get(DRIVER_OPTION).and_then(Value::as_str).is_none_or(str::is_empty) {
                report.add(format!("{}/{DRIVER_OPTION}", at_options()), "not defined");
            }
            if engine == ContainerKind::Docker && options.keys().any(|it| it != DRIVER_OPTION) {
                report.add(at_options(), "must only contain dvdi/driver");
            }
        }
        _ => report.add(format!("{}/{DRIVER_OPTION}", at_options()), "not defined"),
    }
    if engine == ContainerKind::Docker && size.is_some() {
        report.add(format!("{path}/external/size"), "must be undefined for Docker containers");
    }
    if spec.instances > 1 && !shared {
        // The original prints the whole app here instead of its id.
        report.add(
            "/",
            format!("Number of instances is limited to 1 when declaring DVDI volumes in app [{}]", spec.id),
        );
    }
}

fn judge_csi(spec: &AppSpec, engine: ContainerKind, volume: &Volume, path: &str, report: &mut Report) {
    let VolumeSource::External { options, .. } = &volume.source else { return };
    if engine == ContainerKind::Docker {
        report.add(
            format!("{path}/external/provider"),
            "CSI volumes are only supported with the Mesos containerizer",
        );
    }
    let options = parse(options);
    let at_options = format!("{path}/external/options");
    let text = |value: &Value| value.as_str().is_some_and(|it| !it.is_empty());
    if !text(&options["pluginName"]) {
        report.add(format!("{at_options}/pluginName"), "not defined");
    }
    let capability = &options["capability"];
    report.require(matches!(capability["accessType"].as_str(), Some("block" | "mount")), || {
        (format!("{at_options}/capability/accessType"), "is not one of (block,mount)".to_owned())
    });
    let Some(mode) = capability["accessMode"].as_str().filter(|it| ACCESS_MODES.contains(it)) else {
        report.add(
            format!("{at_options}/capability/accessMode"),
            format!("is not one of ({})", ACCESS_MODES.join(",")),
        );
        return;
    };
    if mode.ends_with("READER_ONLY") && !volume.read_only {
        report
            .add(format!("{path}/mode"), "CSI volume must be mounted readonly with a read-only access mode");
    }
    let instances = spec.instances;
    if instances > 1 {
        if mode.starts_with("SINGLE_NODE") {
            report.add(
                "/instances",
                format!("got {instances}, expected 1 or less while non-shareable CSI volumes are defined"),
            );
        } else if mode == "MULTI_NODE_SINGLE_WRITER" && !volume.read_only {
            report.add(
                "/instances",
                format!(
                    "got {instances}, expected 1 or less while a multi-node single-writer volume is defined mounted as read/write"
                ),
            );
        }
    }
}

/// Whether several instances may use the volume at the same time.
pub fn csi_is_shareable(options: &JsonText) -> bool {
    let options = parse(options);
    options["capability"]["accessMode"].as_str().is_some_and(|it| it.starts_with("MULTI_NODE"))
}

fn parse(options: &JsonText) -> Value {
    serde_json::from_str(&options.0).unwrap_or(Value::Null)
}

fn is_label(text: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

fn is_option_key(text: &str) -> bool {
    let Some((namespace, name)) = text.split_once('/') else { return false };
    let edge = |it: Option<u8>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    is_label(namespace)
        && edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._:".contains(&it))
}
