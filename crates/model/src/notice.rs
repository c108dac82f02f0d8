//! What Marathon tells the world about itself: the events of `/v2/events`, before they are JSON.

use std::sync::Arc;

use crate::app::{AppSpec, HealthCheck};
use crate::callback::CallbackUrl;
use crate::command::Origin;
use crate::deployment::{Deployment, Step};
use crate::id::{DeploymentId, GroupId, InstanceId, SpecId, TaskId};
use crate::instance::{Condition, Instance};
use crate::offer::{IpAddress, TaskState};
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub at: Timestamp,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    ApiPost {
        origin: Origin,
        app: Arc<AppSpec>,
    },
    PodChanged {
        origin: Origin,
        how: PodNews,
    },
    SchedulerRegistered {
        framework: String,
        master: String,
    },
    SchedulerReregistered {
        master: String,
    },
    SchedulerDisconnected,
    CallbackAdded {
        client_ip: String,
        url: CallbackUrl,
    },
    CallbackRemoved {
        client_ip: String,
        url: CallbackUrl,
    },
    StreamAttached {
        remote: String,
    },
    StreamDetached {
        remote: String,
    },
    HealthCheckAdded {
        app: SpecId,
        version: Timestamp,
        check: HealthCheck,
    },
    HealthCheckRemoved {
        app: SpecId,
    },
    HealthCheckFailed {
        instance: InstanceId,
        task: TaskId,
        check: HealthCheck,
    },
    HealthChanged {
        instance: InstanceId,
        task: TaskId,
        version: Timestamp,
        alive: bool,
    },
    UnhealthyKilled {
        instance: Arc<Instance>,
        reason: String,
    },
    GroupChanged {
        group: GroupId,
        version: Timestamp,
    },
    GroupChangeFailed {
        group: GroupId,
        version: Timestamp,
        reason: String,
    },
    DeploymentStep {
        how: StepNews,
        plan: Arc<Deployment>,
        step: Step,
    },
    DeploymentSucceeded {
        plan: Arc<Deployment>,
    },
    DeploymentFailed {
        plan: Arc<Deployment>,
        reason: String,
    },
    AppTerminated {
        app: SpecId,
    },
    StatusUpdate {
        task: TaskId,
        agent: String,
        host: String,
        state: TaskState,
        message: Arc<str>,
        ports: Vec<u16>,
        addresses: Vec<IpAddress>,
        version: Timestamp,
    },
    InstanceChanged {
        instance: Arc<Instance>,
    },
    InstanceHealthChanged {
        instance: InstanceId,
        version: Timestamp,
        healthy: Option<bool>,
    },
    UnknownInstanceTerminated {
        instance: InstanceId,
        condition: Condition,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodNews {
    Created,
    Updated,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepNews {
    Began,
    Succeeded,
    Failed,
}

impl What {
    /// The `eventType`.
    pub fn name(&self) -> &'static str {
        match self {
            What::ApiPost { .. } => "api_post_event",
            What::PodChanged { how: PodNews::Created, .. } => "pod_created_event",
            What::PodChanged { how: PodNews::Updated, .. } => "pod_updated_event",
            What::PodChanged { how: PodNews::Deleted, .. } => "pod_deleted_event",
            What::SchedulerRegistered { .. } => "scheduler_registered_event",
            What::SchedulerReregistered { .. } => "scheduler_reregistered_event",
            What::SchedulerDisconnected => "scheduler_disconnected_event",
            What::CallbackAdded { .. } => "subscribe_event",
            What::CallbackRemoved { .. } => "unsubscribe_event",
            What::StreamAttached { .. } => "event_stream_attached",
            What::StreamDetached { .. } => "event_stream_detached",
            What::HealthCheckAdded { .. } => "add_health_check_event",
            What::HealthCheckRemoved { .. } => "remove_health_check_event",
            What::HealthCheckFailed { .. } => "failed_health_check_event",
            What::HealthChanged { .. } => "health_status_changed_event",
            What::UnhealthyKilled { .. } => "unhealthy_instance_kill_event",
            What::GroupChanged { .. } => "group_change_success",
            What::GroupChangeFailed { .. } => "group_change_failed",
            What::DeploymentStep { how: StepNews::Began, .. } => "deployment_info",
            What::DeploymentStep { how: StepNews::Succeeded, .. } => "deployment_step_success",
            What::DeploymentStep { how: StepNews::Failed, .. } => "deployment_step_failure",
            What::DeploymentSucceeded { .. } => "deployment_success",
            What::DeploymentFailed { .. } => "deployment_failed",
            What::AppTerminated { .. } => "app_terminated_event",
            What::StatusUpdate { .. } => "status_update_event",
            What::InstanceChanged { .. } => "instance_changed_event",
            What::InstanceHealthChanged { .. } => "instance_health_changed_event",
            What::UnknownInstanceTerminated { .. } => "unknown_instance_terminated_event",
        }
    }

    /// The deployment an event belongs to, if any.
    pub fn deployment(&self) -> Option<DeploymentId> {
        match self {
            What::DeploymentStep { plan, .. }
            | What::DeploymentSucceeded { plan }
            | What::DeploymentFailed { plan, .. } => Some(plan.id),
            _ => None,
        }
    }
}
