//! What a master refuses, in its own words. Recorded conversations pin the texts.

use marathon_mesos_v1::{
    Call, CallType, CheckInfo, CheckInfoType, CommandInfo, FrameworkInfo, HealthCheck, HealthCheckType,
    OfferConstraints, TaskInfo,
};

use crate::state::Abilities;

/// Checks of a call that need no state. The prefix is added by the caller.
pub fn call(call: &Call) -> Result<(), String> {
    let kind = call.r#type.and_then(|it| CallType::try_from(it).ok()).filter(|it| *it != CallType::UNKNOWN);
    let Some(kind) = kind else { return missing("type") };
    if kind == CallType::SUBSCRIBE {
        let Some(subscribe) = &call.subscribe else { return missing("subscribe") };
        let id =
            |it: Option<&marathon_mesos_v1::FrameworkId>| it.map(|it| it.value.clone()).unwrap_or_default();
        if id(subscribe.framework_info.id.as_ref()) != id(call.framework_id.as_ref()) {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned());
        }
        return Ok(());
    }
    if call.framework_id.is_none() {
        return missing("framework_id");
    }
    body(call, kind)
}

fn body(call: &Call, kind: CallType) -> Result<(), String> {
    let present = |there: bool, name: &str| if there { Ok(()) } else { missing(name) };
    match kind {
        CallType::ACCEPT => present(call.accept.is_some(), "accept"),
        CallType::DECLINE => present(call.decline.is_some(), "decline"),
        CallType::ACCEPT_INVERSE_OFFERS => {
            present(call.accept_inverse_offers.is_some(), "accept_inverse_offers")
        }
        CallType::DECLINE_INVERSE_OFFERS => {
            present(call.decline_inverse_offers.is_some(), "decline_inverse_offers")
        }
        CallType::KILL => present(call.kill.is_some(), "kill"),
        CallType::SHUTDOWN => present(call.shutdown.is_some(), "shutdown"),
        CallType::RECONCILE => present(call.reconcile.is_some(), "reconcile"),
        CallType::RECONCILE_OPERATIONS => {
            present(call.reconcile_operations.is_some(), "reconcile_operations")
        }
        CallType::MESSAGE => present(call.message.is_some(), "message"),
        CallType::REQUEST => present(call.request.is_some(), "request"),
        CallType::ACKNOWLEDGE => {
            let Some(it) = &call.acknowledge else { return missing("acknowledge") };
            valid_uuid(&it.uuid)
        }
        CallType::ACKNOWLEDGE_OPERATION_STATUS => {
            let Some(it) = &call.acknowledge_operation_status else {
                return missing("acknowledge_operation_status");
            };
            if it.agent_id.is_none() {
                return Err("Expecting 'agent_id' to be present".to_owned());
            }
            valid_uuid(&it.uuid)
        }
        CallType::UPDATE_FRAMEWORK => {
            let Some(it) = &call.update_framework else { return missing("update_framework") };
            if it.framework_info.id != call.framework_id {
                return Err("'framework_id' differs from 'update_framework.framework_info.id'".to_owned());
            }
            Ok(())
        }
        CallType::TEARDOWN
        | CallType::REVIVE
        | CallType::SUPPRESS
        | CallType::SUBSCRIBE
        | CallType::UNKNOWN => Ok(()),
    }
}

fn missing(name: &str) -> Result<(), String> {
    Err(format!("Expecting '{name}' to be present"))
}

fn valid_uuid(bytes: &[u8]) -> Result<(), String> {
    let ok = bytes.len() == 16 && bytes.iter().any(|it| *it != 0);
    if ok { Ok(()) } else { Err("Not a valid UUID".to_owned()) }
}

/// Checks of a framework; a failure becomes an ERROR event.
pub fn framework(
    info: &FrameworkInfo,
    suppressed: &[String],
    constraints: Option<&OfferConstraints>,
    whitelist: Option<&[String]>,
) -> Result<(), String> {
    let multi = Abilities::of(info).multi_role;
    if multi && info.role.is_some() {
        return Err(
            "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".to_owned()
        );
    }
    if !multi && !info.roles.is_empty() {
        return Err(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".to_owned()
        );
    }
    let roles: Vec<&str> = if multi {
        info.roles.iter().map(String::as_str).collect()
    } else {
        vec![info.role.as_deref().unwrap_or("*")]
    };
    for (at, role) in roles.iter().enumerate() {
        let field = if multi { "roles' contains invalid role" } else { "role' is not a valid role" };
        role_name(role).map_err(|it| format!("'FrameworkInfo.{field}: {it}"))?;
        if roles[..at].contains(role) {
            return Err(format!("'FrameworkInfo.roles' contains duplicate items: {}", roles.join(", ")));
        }
    }
    if let Some(whitelist) = whitelist {
        let unknown: Vec<&str> = roles
            .iter()
            .copied()
            .filter(|it| *it != "*" && !whitelist.iter().any(|known| known == it))
            .collect();
        if !unknown.is_empty() {
            return Err(format!(
                "Roles {{ {} }} are not present in the master's --roles",
                unknown.join(", ")
            ));
        }
    }
    if let Some(role) = suppressed.iter().find(|it| !roles.contains(&it.as_str())) {
        return Err(format!("Suppressed role '{role}' is not contained in the list of roles"));
    }
    if let Some(role) =
        constraints.and_then(|it| it.role_constraints.keys().find(|it| !roles.contains(&it.as_str())))
    {
        return Err(format!(
            "Offer constraints specify `role_constraints` for a role '{role}' to which the framework is not subscribed"
        ));
    }
    if let Some(value) = &info.id
        && !value.value.is_empty()
    {
        id(&value.value)?;
    }
    Ok(())
}

fn role_name(role: &str) -> Result<(), String> {
    let fail = |why: &str| Err(format!("Role '{role}' {why}"));
    if role == "*" {
        return Ok(());
    }
    if role.is_empty() {
        return Err("Empty role name is invalid".to_owned());
    }
    if role.starts_with('/') {
        return fail("cannot start with a slash");
    }
    if role.ends_with('/') {
        return fail("cannot end with a slash");
    }
    if role.contains("//") {
        return fail("cannot contain two adjacent slashes");
    }
    for part in role.split('/') {
        if matches!(part, "." | ".." | "*") {
            return fail(&format!("cannot include '{part}' as a component"));
        }
        if part.starts_with('-') {
            return fail("component cannot start with a dash");
        }
        if part.chars().any(|it| it.is_ascii_whitespace() || it == '\x0b' || it == '\x7f') {
            return fail("component contains invalid characters");
        }
    }
    Ok(())
}

/// The rule of all ids.
pub fn id(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("ID must not be empty".to_owned());
    }
    if value.len() > 255 {
        return Err("ID must not be greater than 255 characters".to_owned());
    }
    if matches!(value, "." | "..") {
        return Err(format!("'{value}' is disallowed"));
    }
    if value.chars().any(|it| it.is_control() || it == '/' || it == '\\') {
        return Err(format!("'{value}' contains invalid characters"));
    }
    Ok(())
}

/// Checks of a task that need no state, in the master's order.
pub fn task(task: &TaskInfo, agent_id: &str, in_group: bool) -> Result<(), String> {
    id(&task.task_id.value)?;
    if task.agent_id.value != agent_id {
        return Err(format!(
            "Task uses invalid agent {} while agent {agent_id} is expected",
            task.agent_id.value
        ));
    }
    if !in_group && task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned()
        );
    }
    if task.kill_policy.as_ref().and_then(|it| it.grace_period.as_ref()).is_some_and(|it| it.nanoseconds < 0)
    {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if task.max_completion_time.as_ref().is_some_and(|it| it.nanoseconds < 0) {
        return Err("Task's 'max_completion_time' must be non-negative".to_owned());
    }
    if let Some(check) = &task.check {
        check_info(check).map_err(|it| format!("Task uses invalid check: {it}"))?;
    }
    if let Some(check) = &task.health_check {
        health_check(check).map_err(|it| format!("Task uses invalid health check: {it}"))?;
    }
    Ok(())
}

fn health_check(it: &HealthCheck) -> Result<(), String> {
    let kind = it.r#type.or_else(|| inferred(it)).and_then(|it| HealthCheckType::try_from(it).ok());
    match kind {
        Some(HealthCheckType::COMMAND) => match &it.command {
            None => return Err("Expecting 'command' to be set for COMMAND health check".to_owned()),
            Some(command) => command_info(command)?,
        },
        Some(HealthCheckType::HTTP) => {
            let Some(http) = &it.http else {
                return Err("Expecting 'http' to be set for HTTP health check".to_owned());
            };
            if let Some(scheme) = http.scheme.as_deref()
                && !matches!(scheme, "http" | "https")
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            if let Some(path) = http.path.as_deref()
                && !path.starts_with('/')
            {
                return Err(format!("The path '{path}' of HTTP health check must start with '/'"));
            }
        }
        Some(HealthCheckType::TCP) => {
            if it.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP health check".to_owned());
            }
        }
        Some(HealthCheckType::UNKNOWN) | None => return Err("HealthCheck must specify 'type'".to_owned()),
    }
    let times = [
        ("delay_seconds", it.delay_seconds),
        ("grace_period_seconds", it.grace_period_seconds),
        ("interval_seconds", it.interval_seconds),
        ("timeout_seconds", it.timeout_seconds),
    ];
    non_negative(&times)
}

/// A LAUNCH may leave the type of a health check out.
pub fn inferred(it: &HealthCheck) -> Option<i32> {
    if it.command.is_some() {
        return Some(HealthCheckType::COMMAND as i32);
    }
    it.http.as_ref().map(|_| HealthCheckType::HTTP as i32)
}

fn check_info(it: &CheckInfo) -> Result<(), String> {
    match it.r#type.and_then(|it| CheckInfoType::try_from(it).ok()) {
        Some(CheckInfoType::COMMAND) => match &it.command {
            None => return Err("Expecting 'command' to be set for COMMAND check".to_owned()),
            Some(command) => command_info(&command.command)?,
        },
        Some(CheckInfoType::HTTP) if it.http.is_none() => {
            return Err("Expecting 'http' to be set for HTTP check".to_owned());
        }
        Some(CheckInfoType::TCP) if it.tcp.is_none() => {
            return Err("Expecting 'tcp' to be set for TCP check".to_owned());
        }
        Some(CheckInfoType::HTTP | CheckInfoType::TCP) => {}
        Some(CheckInfoType::UNKNOWN) | None => return Err("CheckInfo must specify 'type'".to_owned()),
    }
    let times = [
        ("delay_seconds", it.delay_seconds),
        ("interval_seconds", it.interval_seconds),
        ("timeout_seconds", it.timeout_seconds),
    ];
    non_negative(&times)
}

fn command_info(it: &CommandInfo) -> Result<(), String> {
    match (it.shell.unwrap_or(true), &it.value) {
        (true, None) => Err("Shell command is not specified".to_owned()),
        (false, None) => Err("Executable path is not specified".to_owned()),
        _ => Ok(()),
    }
}

fn non_negative(times: &[(&str, Option<f64>)]) -> Result<(), String> {
    match times.iter().find(|(_, value)| value.is_some_and(|it| it < 0.0)) {
        Some((name, _)) => Err(format!("Expecting '{name}' to be non-negative")),
        None => Ok(()),
    }
}
