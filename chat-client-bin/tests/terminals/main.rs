//! The real client against the real server: what people at terminals, and scripts, see.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod crash;
mod errors;
mod interactive;
mod people;
mod schemes;
mod support;
mod typing;
