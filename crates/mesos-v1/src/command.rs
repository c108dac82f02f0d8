//! What is run: commands, executors, and the checks beside them.

use crate::container::{ContainerInfo, NetworkInfoProtocol};
use crate::identity::{DurationInfo, ExecutorId, FrameworkId, Labels};
use crate::resource::Resource;
use crate::task::DiscoveryInfo;

message! { CommandInfo {
    repeated message CommandInfoUri uris = 1;
    optional message Environment environment = 2;
    optional bool shell = 6;  // true when absent
    optional string value = 3;
    repeated string arguments = 7;
    optional string user = 5;
} }

message! { CommandInfoUri {
    required string value = 1;
    optional bool executable = 2;
    optional bool extract = 3;  // true when absent
    optional bool cache = 4;
    optional string output_file = 5;
} }

message! { Environment {
    repeated message EnvironmentVariable variables = 1;
} }

message! { EnvironmentVariable {
    required string name = 1;
    optional enumeration EnvironmentVariableType r#type = 3;  // VALUE when absent
    optional string value = 2;
    optional message Secret secret = 4;
} }

enumeration! { EnvironmentVariableType {
    UNKNOWN = 0, VALUE = 1, SECRET = 2,
} }

message! { Secret {
    optional enumeration SecretType r#type = 1;
    optional message SecretReference reference = 2;
    optional message SecretValue value = 3;
} }

enumeration! { SecretType {
    UNKNOWN = 0, REFERENCE = 1, VALUE = 2,
} }

message! { SecretReference {
    required string name = 1;
    optional string key = 2;
} }

message! { SecretValue {
    required bytes data = 1;
} }

message! { ExecutorInfo {
    optional enumeration ExecutorInfoType r#type = 15;
    required message ExecutorId executor_id = 1;
    optional message FrameworkId framework_id = 8;
    optional message CommandInfo command = 7;
    optional message ContainerInfo container = 11;
    repeated message Resource resources = 5;
    optional string name = 9;
    optional string source = 10;  // deprecated
    optional bytes data = 4;
    optional message DiscoveryInfo discovery = 12;
    optional message DurationInfo shutdown_grace_period = 13;
    optional message Labels labels = 14;
} }

enumeration! { ExecutorInfoType {
    UNKNOWN = 0, DEFAULT = 1, CUSTOM = 2,
} }

message! { KillPolicy {
    optional message DurationInfo grace_period = 1;
} }

message! { HealthCheck {
    optional double delay_seconds = 2;  // 150 when absent
    optional double interval_seconds = 3;  // 100 when absent
    optional double timeout_seconds = 4;  // 200 when absent
    optional uint32 consecutive_failures = 5;  // 3 when absent
    optional double grace_period_seconds = 6;  // 100 when absent
    optional enumeration HealthCheckType r#type = 8;
    optional message CommandInfo command = 7;
    optional message HealthCheckHttpCheckInfo http = 1;
    optional message HealthCheckTcpCheckInfo tcp = 9;
} }

enumeration! { HealthCheckType {
    UNKNOWN = 0, COMMAND = 1, HTTP = 2, TCP = 3,
} }

message! { HealthCheckHttpCheckInfo {
    optional enumeration NetworkInfoProtocol protocol = 5;  // IPv4 when absent
    optional string scheme = 3;
    required uint32 port = 1;
    optional string path = 2;
    repeated uint32 statuses = 4;
} }

message! { HealthCheckTcpCheckInfo {
    optional enumeration NetworkInfoProtocol protocol = 2;  // IPv4 when absent
    required uint32 port = 1;
} }

message! { CheckInfo {
    optional enumeration CheckInfoType r#type = 1;
    optional message CheckInfoCommand command = 2;
    optional message CheckInfoHttp http = 3;
    optional message CheckInfoTcp tcp = 7;
    optional double delay_seconds = 4;  // 150 when absent
    optional double interval_seconds = 5;  // 100 when absent
    optional double timeout_seconds = 6;  // 200 when absent
} }

enumeration! { CheckInfoType {
    UNKNOWN = 0, COMMAND = 1, HTTP = 2, TCP = 3,
} }

message! { CheckInfoCommand {
    required message CommandInfo command = 1;
} }

message! { CheckInfoHttp {
    required uint32 port = 1;
    optional string path = 2;
} }

message! { CheckInfoTcp {
    required uint32 port = 1;
} }

message! { CheckStatusInfo {
    optional enumeration CheckInfoType r#type = 1;
    optional message CheckStatusInfoCommand command = 2;
    optional message CheckStatusInfoHttp http = 3;
    optional message CheckStatusInfoTcp tcp = 4;
} }

message! { CheckStatusInfoCommand {
    optional int32 exit_code = 1;
} }

message! { CheckStatusInfoHttp {
    optional uint32 status_code = 1;
} }

message! { CheckStatusInfoTcp {
    optional bool succeeded = 1;
} }
