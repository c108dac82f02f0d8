//! Conditions on attributes that a master applies before it makes an offer (since 1.11).

message! { OfferConstraints {
    map message OfferConstraintsRoleConstraints role_constraints = 1;
} }

message! { OfferConstraintsRoleConstraints {
    repeated message OfferConstraintsRoleConstraintsGroup groups = 1;
} }

message! { OfferConstraintsRoleConstraintsGroup {
    repeated message AttributeConstraint attribute_constraints = 1;
} }

message! { AttributeConstraint {
    required message AttributeConstraintSelector selector = 1;
    required message AttributeConstraintPredicate predicate = 2;
} }

message! { AttributeConstraintSelector {
    optional enumeration AttributeConstraintSelectorPseudoattributeType pseudoattribute_type = 1;  // one of
    optional string attribute_name = 2;  // one of
} }

enumeration! { AttributeConstraintSelectorPseudoattributeType {
    UNKNOWN = 0, HOSTNAME = 1, REGION = 2, ZONE = 3,
} }

message! { AttributeConstraintPredicate {
    optional message AttributeConstraintPredicateExists exists = 1;  // one of
    optional message AttributeConstraintPredicateNotExists not_exists = 2;  // one of
    optional message AttributeConstraintPredicateTextEquals text_equals = 3;  // one of
    optional message AttributeConstraintPredicateTextNotEquals text_not_equals = 4;  // one of
    optional message AttributeConstraintPredicateTextMatches text_matches = 5;  // one of
    optional message AttributeConstraintPredicateTextNotMatches text_not_matches = 6;  // one of
} }

message! { AttributeConstraintPredicateExists {
} }

message! { AttributeConstraintPredicateNotExists {
} }

message! { AttributeConstraintPredicateTextEquals {
    required string value = 1;
} }

message! { AttributeConstraintPredicateTextNotEquals {
    required string value = 1;
} }

message! { AttributeConstraintPredicateTextMatches {
    required string regex = 1;
} }

message! { AttributeConstraintPredicateTextNotMatches {
    required string regex = 1;
} }
