//! What a master tells a scheduler. The numbers of the types are not those of the fields.

use crate::framework::MasterInfo;
use crate::identity::{AgentId, ExecutorId, FrameworkId, OfferId};
use crate::offer::{InverseOffer, Offer, OperationStatus};
use crate::task::TaskStatus;

message! { Event {
    optional enumeration EventType r#type = 1;
    optional message EventSubscribed subscribed = 2;
    optional message EventOffers offers = 3;
    optional message EventInverseOffers inverse_offers = 9;
    optional message EventRescind rescind = 4;
    optional message EventRescindInverseOffer rescind_inverse_offer = 10;
    optional message EventUpdate update = 5;
    optional message EventUpdateOperationStatus update_operation_status = 11;
    optional message EventMessage message = 6;
    optional message EventFailure failure = 7;
    optional message EventError error = 8;
} }

enumeration! { EventType {
    UNKNOWN = 0, SUBSCRIBED = 1, OFFERS = 2, INVERSE_OFFERS = 9, RESCIND = 3, RESCIND_INVERSE_OFFER = 10,
    UPDATE = 4, UPDATE_OPERATION_STATUS = 11, MESSAGE = 5, FAILURE = 6, ERROR = 7, HEARTBEAT = 8,
} }

message! { EventSubscribed {
    required message FrameworkId framework_id = 1;
    optional double heartbeat_interval_seconds = 2;
    optional message MasterInfo master_info = 3;
} }

message! { EventOffers {
    repeated message Offer offers = 1;
} }

message! { EventInverseOffers {
    repeated message InverseOffer inverse_offers = 1;
} }

message! { EventRescind {
    required message OfferId offer_id = 1;
} }

message! { EventRescindInverseOffer {
    required message OfferId inverse_offer_id = 1;
} }

message! { EventUpdate {
    required message TaskStatus status = 1;
} }

message! { EventUpdateOperationStatus {
    required message OperationStatus status = 1;
} }

message! { EventMessage {
    required message AgentId agent_id = 1;
    required message ExecutorId executor_id = 2;
    required bytes data = 3;
} }

message! { EventFailure {
    optional message AgentId agent_id = 1;
    optional message ExecutorId executor_id = 2;
    optional int32 status = 3;
} }

message! { EventError {
    required text message = 1;
} }
