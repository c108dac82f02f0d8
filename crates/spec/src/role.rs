//! Roles: which one an app gets, which ones it may have, and whose resources it takes.

use std::sync::Arc;

use marathon_model::app::AppSpec;
use marathon_model::id::SpecId;
use marathon_model::resources::{ANY_ROLE, Role};

use crate::report::Report;
use crate::{Place, RoleBehavior, Rules};

/// The top-level group of the app and whether it enforces its name as the role.
fn top_group(id: &SpecId, rules: &Rules, place: &Place<'_>) -> Option<(Role, bool)> {
    if id.parent().is_root() {
        return None;
    }
    let enforce = place.enforce_role.unwrap_or(rules.new_group_enforce_role);
    id.segments().next().map(|name| (Arc::from(name), enforce))
}

pub fn default_of(id: &SpecId, rules: &Rules, place: &Place<'_>) -> Role {
    match top_group(id, rules, place) {
        Some((group, true)) => group,
        _ => rules.mesos_role.clone(),
    }
}

/// The role the app already has is always among them, so a group that starts to enforce, or a server
/// started with another `--mesos_role`, does not lock existing apps.
fn valid(id: &SpecId, rules: &Rules, place: &Place<'_>) -> Vec<Role> {
    let mut roles = match top_group(id, rules, place) {
        None => vec![rules.mesos_role.clone()],
        Some((group, true)) => vec![group],
        Some((group, false)) => vec![rules.mesos_role.clone(), group],
    };
    if let Some(current) = place.current_role {
        roles.push(current.clone());
    }
    let mut distinct: Vec<Role> = Vec::new();
    for role in roles {
        if !distinct.contains(&role) {
            distinct.push(role);
        }
    }
    distinct
}

pub fn accepted(spec: &AppSpec, rules: &Rules) -> Vec<Role> {
    let any: Role = Arc::from(ANY_ROLE);
    if let Some(roles) = &spec.accepted_resource_roles {
        return roles.clone();
    }
    if spec.is_resident() {
        // Reservations are made from unreserved resources only.
        return vec![any];
    }
    if let Some(roles) = &rules.default_accepted_roles {
        return roles.clone();
    }
    match rules.role_behavior {
        RoleBehavior::Any if *spec.role == *ANY_ROLE => vec![any],
        RoleBehavior::Any => vec![any, spec.role.clone()],
        RoleBehavior::Unreserved => vec![any],
        RoleBehavior::Reserved => vec![spec.role.clone()],
    }
}

pub fn judge(spec: &AppSpec, rules: &Rules, place: &Place<'_>, report: &mut Report) {
    judge_name(&spec.role, report);
    let valid = valid(&spec.id, rules, place);
    report.require(valid.contains(&spec.role), || {
        ("/role".to_owned(), format!("got {}, expected one of: [{}]", spec.role, valid.join(", ")))
    });
    if spec.is_resident() && *spec.role == *ANY_ROLE && !rules.any_role_reserves {
        let nouns = if spec.is_pod() { "pods" } else { "apps" };
        report.add("/role", format!("Resident {nouns} cannot have the role *"));
    }

    let Some(accepted) = &spec.accepted_resource_roles else { return };
    let (noun, path) = match spec.is_pod() {
        true => ("pod", "/scheduling/placement/acceptedResourceRoles"),
        false => ("app", "/acceptedResourceRoles"),
    };
    if accepted.is_empty() {
        report.add(path, "must not be empty");
    } else if spec.is_resident() {
        let only_any = accepted.iter().all(|it| **it == *ANY_ROLE);
        report.require(only_any, || {
            (path.to_owned(), format!("A resident {noun} must have `acceptedResourceRoles = [\"*\"]`."))
        });
    } else {
        let allowed = accepted.iter().all(|it| **it == *ANY_ROLE || *it == spec.role);
        report.require(allowed, || {
            let message = if *spec.role == *ANY_ROLE {
                "acceptedResourceRoles can only contain *".to_owned()
            } else {
                format!("acceptedResourceRoles can only contain * and {}", spec.role)
            };
            (path.to_owned(), message)
        });
    }
}

/// Mesos's own rules for role names.
fn judge_name(role: &str, report: &mut Report) {
    const FORBIDDEN: [(char, &str); 8] = [
        ('\t', r"tab (\x09)"),
        ('\n', r"line feed (\x0a)"),
        ('\x0b', r"vertical tab (\x0b)"),
        ('\x0c', r"form feed (\x0c)"),
        ('\r', r"carriage return (\x0d)"),
        (' ', r"space (\x20)"),
        ('/', r"slash (\x2f)"),
        ('\x7f', r"backspace (\x7f)"),
    ];
    if matches!(role, "" | "." | "..") {
        report.add("/role", format!("A role name must not be \"{role}\"."));
    }
    if role.starts_with('-') {
        report.add("/role", "A role name must not start with a '-'.");
    }
    for (character, name) in FORBIDDEN {
        if role.contains(character) {
            report.add("/role", format!("A role name must not include a {name} character."));
        }
    }
}
