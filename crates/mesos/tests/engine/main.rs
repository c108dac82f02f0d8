//! The engine against masters that are played.

mod accept;
mod filter;
mod playback;
mod replay;
mod script;
