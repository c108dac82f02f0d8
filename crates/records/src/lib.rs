//! What lies in the store: keys, bytes, format version. Pure.
