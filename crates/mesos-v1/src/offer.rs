//! Offers, and what may be done with them.

use crate::command::ExecutorInfo;
use crate::identity::{
    AgentId, DomainInfo, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId, Unavailability,
    Url, Uuid,
};
use crate::resource::{Attribute, Resource, ResourceAllocationInfo, ResourceDiskInfoSourceType, ValueScalar};
use crate::task::{TaskGroupInfo, TaskInfo};

message! { Offer {
    required message OfferId id = 1;
    required message FrameworkId framework_id = 2;
    required message AgentId agent_id = 3;
    required string hostname = 4;
    optional message Url url = 8;
    optional message DomainInfo domain = 11;
    repeated message Resource resources = 5;
    repeated message Attribute attributes = 7;
    repeated message ExecutorId executor_ids = 6;
    optional message Unavailability unavailability = 9;
    optional message ResourceAllocationInfo allocation_info = 10;
} }

message! { OfferOperation {
    optional enumeration OfferOperationType r#type = 1;
    optional message OperationId id = 12;
    optional message OfferOperationLaunch launch = 2;
    optional message OfferOperationLaunchGroup launch_group = 7;
    optional message OfferOperationReserve reserve = 3;
    optional message OfferOperationUnreserve unreserve = 4;
    optional message OfferOperationCreate create = 5;
    optional message OfferOperationDestroy destroy = 6;
    optional message OfferOperationGrowVolume grow_volume = 13;
    optional message OfferOperationShrinkVolume shrink_volume = 14;
    optional message OfferOperationCreateDisk create_disk = 15;
    optional message OfferOperationDestroyDisk destroy_disk = 16;
} }

enumeration! { OfferOperationType {
    UNKNOWN = 0, LAUNCH = 1, LAUNCH_GROUP = 6, RESERVE = 2, UNRESERVE = 3, CREATE = 4, DESTROY = 5,
    GROW_VOLUME = 11, SHRINK_VOLUME = 12, CREATE_DISK = 13, DESTROY_DISK = 14,
} }

message! { OfferOperationLaunch {
    repeated message TaskInfo task_infos = 1;
} }

message! { OfferOperationLaunchGroup {
    required message ExecutorInfo executor = 1;
    required message TaskGroupInfo task_group = 2;
} }

message! { OfferOperationReserve {
    repeated message Resource source = 2;
    repeated message Resource resources = 1;
} }

message! { OfferOperationUnreserve {
    repeated message Resource resources = 1;
} }

message! { OfferOperationCreate {
    repeated message Resource volumes = 1;
} }

message! { OfferOperationDestroy {
    repeated message Resource volumes = 1;
} }

message! { OfferOperationGrowVolume {
    required message Resource volume = 1;
    required message Resource addition = 2;
} }

message! { OfferOperationShrinkVolume {
    required message Resource volume = 1;
    required message ValueScalar subtract = 2;
} }

message! { OfferOperationCreateDisk {
    required message Resource source = 1;
    required enumeration ResourceDiskInfoSourceType target_type = 2;
    optional string target_profile = 3;
} }

message! { OfferOperationDestroyDisk {
    required message Resource source = 1;
} }

message! { InverseOffer {
    required message OfferId id = 1;
    optional message Url url = 2;
    required message FrameworkId framework_id = 3;
    optional message AgentId agent_id = 4;
    required message Unavailability unavailability = 5;
    repeated message Resource resources = 6;
} }

message! { Filters {
    optional double refuse_seconds = 1;  // 50 when absent
} }

message! { Request {
    optional message AgentId agent_id = 1;
    repeated message Resource resources = 2;
} }

message! { Operation {
    optional message FrameworkId framework_id = 1;
    optional message AgentId agent_id = 2;
    required message OfferOperation info = 3;
    required message OperationStatus latest_status = 4;
    repeated message OperationStatus statuses = 5;
    required message Uuid uuid = 6;
} }

enumeration! { OperationState {
    OPERATION_UNSUPPORTED = 0, OPERATION_PENDING = 1, OPERATION_FINISHED = 2, OPERATION_FAILED = 3,
    OPERATION_ERROR = 4, OPERATION_DROPPED = 5, OPERATION_UNREACHABLE = 6, OPERATION_GONE_BY_OPERATOR = 7,
    OPERATION_RECOVERING = 8, OPERATION_UNKNOWN = 9,
} }

message! { OperationStatus {
    optional message OperationId operation_id = 1;
    required enumeration OperationState state = 2;
    optional text message = 3;
    repeated message Resource converted_resources = 4;
    optional message Uuid uuid = 5;
    optional message AgentId agent_id = 6;
    optional message ResourceProviderId resource_provider_id = 7;
} }
