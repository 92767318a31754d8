//! Runs the tests of `client` against servers that reach their engines through a channel, and
//! engines that reach their event logs through a channel.

#[path = "client/main.rs"]
mod client;
