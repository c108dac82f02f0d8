//! The v2 JSON: parse requests, render answers and events. Pure.
