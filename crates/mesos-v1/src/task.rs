//! Tasks and what becomes of them.

use crate::command::{CheckInfo, CheckStatusInfo, CommandInfo, ExecutorInfo, HealthCheck, KillPolicy};
use crate::container::{ContainerInfo, ContainerStatus};
use crate::identity::{AgentId, DurationInfo, ExecutorId, FrameworkId, Labels, TaskId, TimeInfo};
use crate::resource::{Resource, ValueScalar};

message! { TaskInfo {
    required string name = 1;
    required message TaskId task_id = 2;
    required message AgentId agent_id = 3;
    repeated message Resource resources = 4;
    optional message ExecutorInfo executor = 5;
    optional message CommandInfo command = 7;
    optional message ContainerInfo container = 9;
    optional message HealthCheck health_check = 8;
    optional message CheckInfo check = 13;
    optional message KillPolicy kill_policy = 12;
    optional bytes data = 6;
    optional message Labels labels = 10;
    optional message DiscoveryInfo discovery = 11;
    optional message DurationInfo max_completion_time = 14;
    map message ValueScalar limits = 15;
} }

message! { TaskGroupInfo {
    repeated message TaskInfo tasks = 1;
} }

message! { DiscoveryInfo {
    required enumeration DiscoveryInfoVisibility visibility = 1;
    optional string name = 2;
    optional string environment = 3;
    optional string location = 4;
    optional string version = 5;
    optional message Ports ports = 6;
    optional message Labels labels = 7;
} }

enumeration! { DiscoveryInfoVisibility {
    FRAMEWORK = 0, CLUSTER = 1, EXTERNAL = 2,
} }

message! { Port {
    required uint32 number = 1;
    optional string name = 2;
    optional string protocol = 3;
    optional enumeration DiscoveryInfoVisibility visibility = 4;
    optional message Labels labels = 5;
} }

message! { Ports {
    repeated message Port ports = 1;
} }

message! { TaskStatus {
    required message TaskId task_id = 1;
    required enumeration TaskState state = 2;
    optional text message = 4;
    optional enumeration TaskStatusSource source = 9;
    optional enumeration TaskStatusReason reason = 10;
    optional bytes data = 3;
    optional message AgentId agent_id = 5;
    optional message ExecutorId executor_id = 7;
    optional double timestamp = 6;
    optional bytes uuid = 11;
    optional bool healthy = 8;
    optional message CheckStatusInfo check_status = 15;
    optional message Labels labels = 12;
    optional message ContainerStatus container_status = 13;
    optional message TimeInfo unreachable_time = 14;
    optional message TaskResourceLimitation limitation = 16;
} }

enumeration! { TaskStatusSource {
    SOURCE_MASTER = 0, SOURCE_AGENT = 1, SOURCE_EXECUTOR = 2,
} }

enumeration! { TaskStatusReason {
    REASON_COMMAND_EXECUTOR_FAILED = 0, REASON_CONTAINER_LAUNCH_FAILED = 21, REASON_CONTAINER_LIMITATION = 19,
    REASON_CONTAINER_LIMITATION_DISK = 20, REASON_CONTAINER_LIMITATION_MEMORY = 8,
    REASON_CONTAINER_PREEMPTED = 17, REASON_CONTAINER_UPDATE_FAILED = 22,
    REASON_MAX_COMPLETION_TIME_REACHED = 33, REASON_EXECUTOR_REGISTRATION_TIMEOUT = 23,
    REASON_EXECUTOR_REREGISTRATION_TIMEOUT = 24, REASON_EXECUTOR_TERMINATED = 1,
    REASON_EXECUTOR_UNREGISTERED = 2, REASON_FRAMEWORK_REMOVED = 3, REASON_GC_ERROR = 4,
    REASON_INVALID_FRAMEWORKID = 5, REASON_INVALID_OFFERS = 6, REASON_IO_SWITCHBOARD_EXITED = 27,
    REASON_MASTER_DISCONNECTED = 7, REASON_RECONCILIATION = 9, REASON_RESOURCES_UNKNOWN = 18,
    REASON_AGENT_DISCONNECTED = 10, REASON_AGENT_DRAINING = 34, REASON_AGENT_REMOVED = 11,
    REASON_AGENT_REMOVED_BY_OPERATOR = 31, REASON_AGENT_REREGISTERED = 32, REASON_AGENT_RESTARTED = 12,
    REASON_AGENT_UNKNOWN = 13, REASON_TASK_KILLED_DURING_LAUNCH = 30, REASON_TASK_CHECK_STATUS_UPDATED = 28,
    REASON_TASK_HEALTH_CHECK_STATUS_UPDATED = 29, REASON_TASK_GROUP_INVALID = 25,
    REASON_TASK_GROUP_UNAUTHORIZED = 26, REASON_TASK_INVALID = 14, REASON_TASK_UNAUTHORIZED = 15,
    REASON_TASK_UNKNOWN = 16,
} }

enumeration! { TaskState {
    TASK_STAGING = 6, TASK_STARTING = 0, TASK_RUNNING = 1, TASK_KILLING = 8, TASK_FINISHED = 2, TASK_FAILED = 3,
    TASK_KILLED = 4, TASK_ERROR = 7, TASK_LOST = 5, TASK_DROPPED = 9, TASK_UNREACHABLE = 10, TASK_GONE = 11,
    TASK_GONE_BY_OPERATOR = 12, TASK_UNKNOWN = 13,
} }

message! { TaskResourceLimitation {
    repeated message Resource resources = 1;
} }

message! { Task {
    required string name = 1;
    required message TaskId task_id = 2;
    required message FrameworkId framework_id = 3;
    optional message ExecutorId executor_id = 4;
    required message AgentId agent_id = 5;
    required enumeration TaskState state = 6;
    repeated message Resource resources = 7;
    repeated message TaskStatus statuses = 8;
    optional enumeration TaskState status_update_state = 9;
    optional bytes status_update_uuid = 10;
    optional message Labels labels = 11;
    optional message DiscoveryInfo discovery = 12;
    optional message ContainerInfo container = 13;
    optional message HealthCheck health_check = 15;
    optional message KillPolicy kill_policy = 16;
    optional string user = 14;
    map message ValueScalar limits = 17;
} }
