//! Names of things, moments, addresses, labels.

message! { FrameworkId {
    required string value = 1;
} }

message! { OfferId {
    required string value = 1;
} }

message! { AgentId {
    required string value = 1;
} }

message! { TaskId {
    required string value = 1;
} }

message! { ExecutorId {
    required string value = 1;
} }

message! { ContainerId {
    required string value = 1;
    optional boxed ContainerId parent = 2;
} }

message! { ResourceProviderId {
    required string value = 1;
} }

message! { OperationId {
    required string value = 1;
} }

message! { Uuid {
    required bytes value = 1;
} }

message! { TimeInfo {
    required int64 nanoseconds = 1;
} }

message! { DurationInfo {
    required int64 nanoseconds = 1;
} }

message! { Address {
    optional string hostname = 1;
    optional string ip = 2;
    required int32 port = 3;
} }

message! { Url {
    required string scheme = 1;
    required message Address address = 2;
    optional string path = 3;
    repeated message Parameter query = 4;
    optional string fragment = 5;
} }

message! { Unavailability {
    required message TimeInfo start = 1;
    optional message DurationInfo duration = 2;
} }

message! { MachineId {
    optional string hostname = 1;
    optional string ip = 2;
} }

message! { Labels {
    repeated message Label labels = 1;
} }

message! { Label {
    required string key = 1;
    optional string value = 2;
} }

message! { Parameter {
    required string key = 1;
    required string value = 2;
} }

message! { Parameters {
    repeated message Parameter parameter = 1;
} }

message! { Credential {
    required string principal = 1;
    optional string secret = 2;
} }

message! { DomainInfo {
    optional message DomainInfoFaultDomain fault_domain = 1;
} }

message! { DomainInfoFaultDomain {
    required message DomainInfoFaultDomainRegionInfo region = 1;
    required message DomainInfoFaultDomainZoneInfo zone = 2;
} }

message! { DomainInfoFaultDomainRegionInfo {
    required string name = 1;
} }

message! { DomainInfoFaultDomainZoneInfo {
    required string name = 1;
} }

message! { VersionInfo {
    required string version = 1;
    optional string build_date = 2;
    optional double build_time = 3;
    optional string build_user = 4;
    optional string git_sha = 5;
    optional string git_branch = 6;
    optional string git_tag = 7;
} }
