//! Watches the processes of the embedded engine and outlives the server.

pub mod protocol;
