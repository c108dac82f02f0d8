//! The engine against masters that are played.

mod accept;
mod filter;
mod future;
mod playback;
mod replay;
mod roles;
mod script;
mod text;
