//! What a scheduler asks of a master.

use crate::command::KillPolicy;
use crate::constraint::OfferConstraints;
use crate::framework::FrameworkInfo;
use crate::identity::{AgentId, ExecutorId, FrameworkId, OfferId, OperationId, ResourceProviderId, TaskId};
use crate::offer::{Filters, OfferOperation, Request};

message! { Call {
    optional message FrameworkId framework_id = 1;
    optional enumeration CallType r#type = 2;
    optional message CallSubscribe subscribe = 3;
    optional message CallAccept accept = 4;
    optional message CallDecline decline = 5;
    optional message CallAcceptInverseOffers accept_inverse_offers = 13;
    optional message CallDeclineInverseOffers decline_inverse_offers = 14;
    optional message CallRevive revive = 15;
    optional message CallKill kill = 6;
    optional message CallShutdown shutdown = 7;
    optional message CallAcknowledge acknowledge = 8;
    optional message CallAcknowledgeOperationStatus acknowledge_operation_status = 17;
    optional message CallReconcile reconcile = 9;
    optional message CallReconcileOperations reconcile_operations = 18;
    optional message CallMessage message = 10;
    optional message CallRequest request = 11;
    optional message CallSuppress suppress = 16;
    optional message CallUpdateFramework update_framework = 19;
} }

enumeration! { CallType {
    UNKNOWN = 0, SUBSCRIBE = 1, TEARDOWN = 2, ACCEPT = 3, DECLINE = 4, ACCEPT_INVERSE_OFFERS = 13,
    DECLINE_INVERSE_OFFERS = 14, REVIVE = 5, KILL = 6, SHUTDOWN = 7, ACKNOWLEDGE = 8,
    ACKNOWLEDGE_OPERATION_STATUS = 15, RECONCILE = 9, RECONCILE_OPERATIONS = 16, MESSAGE = 10, REQUEST = 11,
    SUPPRESS = 12, UPDATE_FRAMEWORK = 17,
} }

message! { CallSubscribe {
    required message FrameworkInfo framework_info = 1;
    repeated string suppressed_roles = 2;
    optional message OfferConstraints offer_constraints = 3;
} }

message! { CallAccept {
    repeated message OfferId offer_ids = 1;
    repeated message OfferOperation operations = 2;
    optional message Filters filters = 3;
} }

message! { CallDecline {
    repeated message OfferId offer_ids = 1;
    optional message Filters filters = 2;
} }

message! { CallAcceptInverseOffers {
    repeated message OfferId inverse_offer_ids = 1;
    optional message Filters filters = 2;
} }

message! { CallDeclineInverseOffers {
    repeated message OfferId inverse_offer_ids = 1;
    optional message Filters filters = 2;
} }

message! { CallRevive {
    repeated string roles = 1;
} }

message! { CallKill {
    required message TaskId task_id = 1;
    optional message AgentId agent_id = 2;
    optional message KillPolicy kill_policy = 3;
} }

message! { CallShutdown {
    required message ExecutorId executor_id = 1;
    required message AgentId agent_id = 2;
} }

message! { CallAcknowledge {
    required message AgentId agent_id = 1;
    required message TaskId task_id = 2;
    required bytes uuid = 3;
} }

message! { CallAcknowledgeOperationStatus {
    optional message AgentId agent_id = 1;
    optional message ResourceProviderId resource_provider_id = 2;
    required bytes uuid = 3;
    required message OperationId operation_id = 4;
} }

message! { CallReconcile {
    repeated message CallReconcileTask tasks = 1;
} }

message! { CallReconcileTask {
    required message TaskId task_id = 1;
    optional message AgentId agent_id = 2;
} }

message! { CallReconcileOperations {
    repeated message CallReconcileOperationsOperation operations = 1;
} }

message! { CallReconcileOperationsOperation {
    required message OperationId operation_id = 1;
    optional message AgentId agent_id = 2;
    optional message ResourceProviderId resource_provider_id = 3;
} }

message! { CallMessage {
    required message AgentId agent_id = 1;
    required message ExecutorId executor_id = 2;
    required bytes data = 3;
} }

message! { CallRequest {
    repeated message Request requests = 1;
} }

message! { CallSuppress {
    repeated string roles = 1;
} }

message! { CallUpdateFramework {
    required message FrameworkInfo framework_info = 1;
    repeated string suppressed_roles = 2;
    optional message OfferConstraints offer_constraints = 3;
} }
