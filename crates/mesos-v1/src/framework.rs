//! Who subscribes, who leads, and what an agent says of itself.

use crate::identity::{Address, AgentId, DomainInfo, FrameworkId, Labels};
use crate::resource::{Attribute, Resource, ValueScalar};

message! { FrameworkInfo {
    required string user = 1;
    required string name = 2;
    optional message FrameworkId id = 3;
    optional double failover_timeout = 4;  // 00 when absent
    optional bool checkpoint = 5;  // false when absent
    optional string role = 6;  // deprecated, "*" when absent
    repeated string roles = 12;
    optional string hostname = 7;
    optional string principal = 8;
    optional string webui_url = 9;
    repeated message FrameworkInfoCapability capabilities = 10;
    optional message Labels labels = 11;
    map message OfferFilters offer_filters = 13;
} }

message! { FrameworkInfoCapability {
    optional enumeration FrameworkInfoCapabilityType r#type = 1;
} }

enumeration! { FrameworkInfoCapabilityType {
    UNKNOWN = 0, REVOCABLE_RESOURCES = 1, TASK_KILLING_STATE = 2, GPU_RESOURCES = 3, SHARED_RESOURCES = 4,
    PARTITION_AWARE = 5, MULTI_ROLE = 6, RESERVATION_REFINEMENT = 7, REGION_AWARE = 8,
} }

message! { OfferFilters {
    optional message OfferFiltersMinAllocatableResources min_allocatable_resources = 1;
} }

message! { OfferFiltersResourceQuantities {
    map message ValueScalar quantities = 1;
} }

message! { OfferFiltersMinAllocatableResources {
    repeated message OfferFiltersResourceQuantities quantities = 1;
} }

message! { MasterInfo {
    required string id = 1;
    required uint32 ip = 2;
    required uint32 port = 3;  // 5050 when absent
    optional string pid = 4;
    optional string hostname = 5;
    optional string version = 6;
    optional message Address address = 7;
    optional message DomainInfo domain = 8;
    repeated message MasterInfoCapability capabilities = 9;
} }

message! { MasterInfoCapability {
    optional enumeration MasterInfoCapabilityType r#type = 1;
} }

enumeration! { MasterInfoCapabilityType {
    UNKNOWN = 0, AGENT_UPDATE = 1, AGENT_DRAINING = 2, QUOTA_V2 = 3,
} }

message! { AgentInfo {
    required string hostname = 1;
    optional int32 port = 8;  // 5051 when absent
    repeated message Resource resources = 3;
    repeated message Attribute attributes = 5;
    optional message AgentId id = 6;
    optional message DomainInfo domain = 10;
} }

message! { AgentInfoCapability {
    optional enumeration AgentInfoCapabilityType r#type = 1;
} }

enumeration! { AgentInfoCapabilityType {
    UNKNOWN = 0, MULTI_ROLE = 1, HIERARCHICAL_ROLE = 2, RESERVATION_REFINEMENT = 3, RESOURCE_PROVIDER = 4,
    RESIZE_VOLUME = 5, AGENT_OPERATION_FEEDBACK = 6, AGENT_DRAINING = 7, TASK_RESOURCE_LIMITS = 8,
} }
