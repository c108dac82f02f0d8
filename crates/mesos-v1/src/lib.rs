//! The messages of the Mesos v1 scheduler API, their two encodings and the framing of the event stream.
//!
//! ```text
//! call ─────────► Codec ──► body of a POST
//! event ◄── Codec ◄── record::Decoder ◄── pieces of a streamed answer
//! ```
//! No socket, no clock. The tables follow Mesos's definitions line by line; a nested type of theirs is named by
//! joining (`Offer.Operation.Launch` is [`OfferOperationLaunch`]). The folder `transcripts` holds what a real
//! master of release 1.11.0 and a scheduler said to each other; the tests read every byte of it.

#[macro_use]
mod macros;

mod call;
mod codec;
mod command;
mod constraint;
mod container;
mod event;
mod framework;
mod identity;
pub mod json;
pub mod lenient;
mod offer;
pub mod record;
mod resource;
mod task;
pub mod transcript;

pub use call::*;
pub use codec::*;
pub use command::*;
pub use constraint::*;
pub use container::*;
pub use event::*;
pub use framework::*;
pub use identity::*;
pub use offer::*;
pub use resource::*;
pub use task::*;

/// For `encode`, `decode` and `merge` of a single message.
pub use prost::Message;
