//! Resources and attributes.
//!
//! A resource comes in one of two forms that never mix: with `reservations` (frameworks with the capability
//! `RESERVATION_REFINEMENT`), or with `role` and `reservation` (all others).

use crate::container::Volume;
use crate::identity::{Labels, ResourceProviderId};

message! { Value {
    required enumeration ValueType r#type = 1;
    optional message ValueScalar scalar = 2;
    optional message ValueRanges ranges = 3;
    optional message ValueSet set = 4;
    optional message ValueText text = 5;
} }

enumeration! { ValueType {
    SCALAR = 0, RANGES = 1, SET = 2, TEXT = 3,
} }

message! { ValueScalar {
    required double value = 1;
} }

message! { ValueRange {
    required uint64 begin = 1;
    required uint64 end = 2;
} }

message! { ValueRanges {
    repeated message ValueRange range = 1;
} }

message! { ValueSet {
    repeated string item = 1;
} }

message! { ValueText {
    required string value = 1;
} }

message! { Attribute {
    required string name = 1;
    required enumeration ValueType r#type = 2;
    optional message ValueScalar scalar = 3;
    optional message ValueRanges ranges = 4;
    optional message ValueSet set = 6;
    optional message ValueText text = 5;
} }

message! { Resource {
    optional message ResourceProviderId provider_id = 12;
    required string name = 1;
    required enumeration ValueType r#type = 2;
    optional message ValueScalar scalar = 3;
    optional message ValueRanges ranges = 4;
    optional message ValueSet set = 5;
    optional string role = 6;  // deprecated, "*" when absent
    optional message ResourceAllocationInfo allocation_info = 11;
    optional message ResourceReservationInfo reservation = 8;
    repeated message ResourceReservationInfo reservations = 13;
    optional message ResourceDiskInfo disk = 7;
    optional message ResourceRevocableInfo revocable = 9;
    optional message ResourceSharedInfo shared = 10;
} }

message! { ResourceAllocationInfo {
    optional string role = 1;
} }

message! { ResourceReservationInfo {
    optional enumeration ResourceReservationInfoType r#type = 4;
    optional string role = 3;
    optional string principal = 1;
    optional message Labels labels = 2;
} }

enumeration! { ResourceReservationInfoType {
    UNKNOWN = 0, STATIC = 1, DYNAMIC = 2,
} }

message! { ResourceDiskInfo {
    optional message ResourceDiskInfoPersistence persistence = 1;
    optional message Volume volume = 2;
    optional message ResourceDiskInfoSource source = 3;
} }

message! { ResourceDiskInfoPersistence {
    required string id = 1;
    optional string principal = 2;
} }

message! { ResourceDiskInfoSource {
    required enumeration ResourceDiskInfoSourceType r#type = 1;
    optional message ResourceDiskInfoSourcePath path = 2;
    optional message ResourceDiskInfoSourceMount mount = 3;
    optional string vendor = 7;
    optional string id = 4;
    optional message Labels metadata = 5;
    optional string profile = 6;
} }

enumeration! { ResourceDiskInfoSourceType {
    UNKNOWN = 0, PATH = 1, MOUNT = 2, BLOCK = 3, RAW = 4,
} }

message! { ResourceDiskInfoSourcePath {
    optional string root = 1;
} }

message! { ResourceDiskInfoSourceMount {
    optional string root = 1;
} }

message! { ResourceRevocableInfo {
} }

message! { ResourceSharedInfo {
} }
