//! What Mesos says of a task, read as the core understands it.

use std::sync::Arc;

use marathon_mesos_v1 as v1;
use marathon_model::id::{AgentId, TaskId};
use marathon_model::offer::{CheckResult, IpAddress, Reason, TaskState, TaskStatus};
use marathon_model::time::Timestamp;
use v1::TaskState as State;
use v1::TaskStatusReason as Why;

/// A state that this release does not know means that nobody here can tell.
pub fn state(number: i32) -> TaskState {
    match State::try_from(number) {
        Ok(State::TASK_STAGING) => TaskState::Staging,
        Ok(State::TASK_STARTING) => TaskState::Starting,
        Ok(State::TASK_RUNNING) => TaskState::Running,
        Ok(State::TASK_KILLING) => TaskState::Killing,
        Ok(State::TASK_FINISHED) => TaskState::Finished,
        Ok(State::TASK_FAILED) => TaskState::Failed,
        Ok(State::TASK_KILLED) => TaskState::Killed,
        Ok(State::TASK_ERROR) => TaskState::Error,
        Ok(State::TASK_LOST) => TaskState::Lost,
        Ok(State::TASK_DROPPED) => TaskState::Dropped,
        Ok(State::TASK_UNREACHABLE) => TaskState::Unreachable,
        Ok(State::TASK_GONE) => TaskState::Gone,
        Ok(State::TASK_GONE_BY_OPERATOR) => TaskState::GoneByOperator,
        Ok(State::TASK_UNKNOWN) | Err(_) => TaskState::Unknown,
    }
}

/// Whether nothing of a task in this state runs, or may run again.
pub fn is_over(number: i32) -> bool {
    use TaskState::*;
    matches!(
        state(number),
        Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator | Unknown
    )
}

/// `None`: its id names no task of ours.
pub fn model(it: &v1::TaskStatus) -> Option<TaskStatus> {
    let state = state(it.state);
    let networks = it.container_status.iter().flat_map(|it| &it.network_infos);
    let addresses = networks.flat_map(|it| &it.ip_addresses).filter_map(|it| {
        let address: Arc<str> = it.ip_address.as_deref()?.into();
        let ipv6 = it.protocol == Some(v1::NetworkInfoProtocol::IPv6 as i32) || address.contains(':');
        Some(IpAddress { address, ipv6 })
    });
    Some(TaskStatus {
        task: TaskId::parse(&it.task_id.value).ok()?,
        state,
        agent: it.agent_id.as_ref().map(|it| AgentId::new(it.value.as_str())),
        update: it.uuid.as_deref().and_then(|it| uuid::Uuid::from_slice(it).ok()),
        at: seconds(it.timestamp.unwrap_or_default()),
        message: it.message.as_deref().map(|it| String::from_utf8_lossy(it).into_owned()).unwrap_or_default(),
        reason: reason(it, state),
        healthy: it.healthy,
        check: it.check_status.as_ref().and_then(check),
        addresses: addresses.collect(),
        unreachable_since: it.unreachable_time.as_ref().map(|it| Timestamp(it.nanoseconds / 1_000_000)),
    })
}

fn seconds(since_1970: f64) -> Timestamp {
    // A cast from float to integer saturates.
    Timestamp((since_1970 * 1000.0) as i64)
}

fn reason(it: &v1::TaskStatus, state: TaskState) -> Option<Reason> {
    let Some(number) = it.reason else {
        // An executor gives no reason when it kills a task that failed its health check too often.
        let dies = matches!(state, TaskState::Killing | TaskState::Killed | TaskState::Failed);
        return (dies && it.healthy == Some(false)).then_some(Reason::HealthCheckUnhealthy);
    };
    Some(match Why::try_from(number) {
        Ok(Why::REASON_AGENT_DRAINING) => Reason::AgentDraining,
        Ok(Why::REASON_AGENT_DISCONNECTED) => Reason::AgentDisconnected,
        Ok(Why::REASON_AGENT_REMOVED) => Reason::AgentRemoved,
        Ok(Why::REASON_CONTAINER_LIMITATION_MEMORY) => Reason::ContainerLimitationMemory,
        Ok(Why::REASON_COMMAND_EXECUTOR_FAILED) => Reason::CommandExecutorFailed,
        Ok(Why::REASON_INVALID_OFFERS) => Reason::InvalidOffers,
        Ok(Why::REASON_RECONCILIATION) => Reason::Reconciliation,
        Ok(Why::REASON_TASK_UNKNOWN) => Reason::TaskUnknown,
        _ => Reason::Other,
    })
}

/// The results of a check are there, but empty, before the first one.
fn check(it: &v1::CheckStatusInfo) -> Option<CheckResult> {
    if let Some(code) = it.command.as_ref().and_then(|it| it.exit_code) {
        return Some(CheckResult::Command { exit_code: code });
    }
    if let Some(code) = it.http.as_ref().and_then(|it| it.status_code) {
        return Some(CheckResult::Http { status: u16::try_from(code).ok()? });
    }
    let succeeded = it.tcp.as_ref()?.succeeded?;
    Some(CheckResult::Tcp { succeeded })
}

/// What the core is told of a task that never got to the master.
pub fn never_sent(
    task: TaskId,
    agent: AgentId,
    state: TaskState,
    reason: Reason,
    message: String,
    at: Timestamp,
) -> TaskStatus {
    TaskStatus {
        task,
        state,
        agent: Some(agent),
        update: None,
        at,
        message,
        reason: Some(reason),
        healthy: None,
        check: None,
        addresses: Vec::new(),
        unreachable_since: None,
    }
}
