//! Reads the v2 JSON that clients send: apps, groups, queries, selectors. Pure.
