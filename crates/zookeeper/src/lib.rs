//! ZooKeeper, as much of it as Marathon needs: sessions, watches, transactions, and what is built on them.
//!
//! ```text
//! url ─► session: one task, one connection at a time, requests pipelined in the order they came
//!          ▲  client: typed calls, watches, transactions
//!          ├─ latch: which of several instances leads
//!          ├─ member: an ephemeral sequential node that outlives sessions
//!          └─ master: who leads the Mesos masters
//! ```
//! - A [`Client`] is one session. When the session is over, so is the client: nothing that was held by it
//!   can be mistaken for still being held. Whoever wants to go on makes another.
//! - A connection that is lost is replaced by another, of the same session, within the session's time. What
//!   was on its way is answered by [`Error::ConnectionLost`]: it may have happened, or not. Watches end as
//!   if they had fired, so their owners look again.
//! - The session's time is measured here too ([`Client::lease`]), from the moment the last *answered*
//!   request was sent: earlier than any server can think of ending it. A process that was stopped for long
//!   finds its session over before it has said a word.
//!
//! docs/decisions/0012-zookeeper-client.md says why this is not a library.

mod client;
mod error;
pub mod latch;
mod master;
mod member;
mod session;
mod url;
mod wire;

pub use client::{Acl, Client, Mode, Op, Options, Stat, State, Watch};
pub use error::Error;
pub use master::{Master, MasterWatch};
pub use member::Member;
pub use url::{UrlError, ZkUrl};
