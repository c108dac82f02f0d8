//! The engine against masters that are played.

mod accept;
mod playback;
mod replay;
mod script;
