//! What an update may not change of apps that own volumes, and which volumes two apps may not both use.

use std::collections::BTreeMap;

use marathon_model::app::{AppSpec, VolumeSource};
use marathon_model::command::Violation;
use marathon_model::deployment::AppChange;
use marathon_model::id::SpecId;

use crate::pool::port_wishes;
use crate::world::World;

const RESOURCES: &str = "Services with persistent volumes configured may not change resource requirements. If you need \
                         to make this change, please create a new service.";
const PORTS: &str = "Services with persistent volumes configured may not change host ports. If you need to make this \
                     change, please create a new service.";

/// A reservation is made once. What it holds cannot change while it stays.
pub fn judge_updates(changes: &[AppChange], force: bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    let updates = changes.iter().filter_map(|it| Some((it.before.as_ref()?, it.after.as_ref()?)));
    for (at, (before, after)) in updates.enumerate() {
        if !before.is_resident() && !after.is_resident() {
            continue;
        }
        let path = format!("/{}({at})", if after.is_pod() { "pod" } else { "app" });
        let found = if after.is_pod() { pod(before, after) } else { app(before, after) };
        violations.extend(found.into_iter().map(|it| Violation::new(path.clone(), it)));
        if before.role != after.role && !force {
            violations.push(Violation::new(format!("{path}/role"), role_message(&before.role, &after.role)));
        }
    }
    violations
}

fn role_message(old: &str, new: &str) -> String {
    format!(
        "It is not possible to change the role for existing reservations. If you proceed with this change, all \
         existing instances will continue to run under the previous role, {old}. Only new instances will be \
         allocated with the new role, {new}. In order to continue, retry your request with ?force=true"
    )
}

fn app(before: &AppSpec, after: &AppSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut refuse = |changed: bool, message: &str| {
        if changed {
            found.push(message.to_owned());
        }
    };
    refuse(!same_volumes(before, after), "Persistent volumes can not be changed!");
    refuse(before.resources != after.resources || requires(before) != requires(after), RESOURCES);
    refuse(port_wishes(before) != port_wishes(after) && requires(before) == requires(after), PORTS);
    found
}

fn pod(before: &AppSpec, after: &AppSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut refuse = |changed: bool, message: String| {
        if changed {
            found.push(message);
        }
    };
    let (a, b) = (&before.resources, &after.resources);
    refuse(!same_volumes(before, after), "persistent volumes cannot be updated".to_owned());
    for (kind, changed) in [
        ("cpus", a.cpus != b.cpus),
        ("mem", a.mem != b.mem),
        ("disk", a.disk != b.disk),
        ("gpus", a.gpus != b.gpus),
    ] {
        refuse(changed, format!("{kind} cannot be updated if a pod has persistent volumes"));
    }
    let ports = "host ports cannot be updated if a pod has persistent volumes";
    refuse(port_wishes(before) != port_wishes(after), ports.to_owned());
    found
}

/// In whatever order they are declared.
fn same_volumes(before: &AppSpec, after: &AppSpec) -> bool {
    let (before, after) = (before.persistent_volumes(), after.persistent_volumes());
    before.len() == after.len() && before.iter().all(|it| after.contains(it))
}

fn requires(spec: &AppSpec) -> bool {
    matches!(spec.networking, marathon_model::app::Networking::Host { require_ports: true, .. })
}

/// External volumes are known by their names: an exclusive one belongs to one app of the whole tree.
pub fn judge_names(world: &World, changes: &[AppChange]) -> Vec<Violation> {
    let changed: BTreeMap<&SpecId, Option<&AppSpec>> =
        changes.iter().map(|it| (&it.id, it.after.as_deref())).collect();
    let wanted: Vec<&AppSpec> =
        changed.values().flatten().copied().filter(|it| names(it).next().is_some()).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let kept = world.view.live_apps().map(|(_, spec)| &**spec).filter(|it| !changed.contains_key(&it.id));
    let mut users: BTreeMap<(&str, &str), Vec<&SpecId>> = BTreeMap::new();
    for spec in kept.chain(changed.values().flatten().copied()) {
        for name in names(spec) {
            users.entry(name).or_default().push(&spec.id);
        }
    }
    let mut violations = Vec::new();
    for spec in wanted {
        for name in names(spec) {
            let others: Vec<&str> =
                users[&name].iter().filter(|it| **it != &spec.id).map(|it| it.as_str()).collect();
            if !others.is_empty() {
                let text = format!(
                    "Volume name '{}' in {} conflicts with volume(s) of same name in app(s): {}",
                    name.1,
                    spec.id,
                    others.join(", ")
                );
                violations.push(Violation::new("/", text));
            }
        }
    }
    violations
}

/// Provider and name of each exclusive external volume.
fn names(spec: &AppSpec) -> impl Iterator<Item = (&str, &str)> {
    let volumes = spec.container.iter().flat_map(|it| &it.volumes);
    volumes.filter(|it| marathon_spec::is_exclusive(it)).filter_map(|it| match &it.source {
        VolumeSource::External { name, provider, .. } => Some((provider.as_str(), name.as_str())),
        _ => None,
    })
}
