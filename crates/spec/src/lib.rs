//! The rules of one app or group definition: merge, normalise, validate. Pure.
