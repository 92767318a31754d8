//! End-to-end tests of the client and server binaries, as used from terminals and scripts.

#![allow(clippy::unwrap_used)] // a test that cannot continue has failed

mod certificates;
mod crash;
mod deadlines;
mod errors;
mod first_days;
mod hanging;
mod interactive;
mod logout;
mod missing;
mod pty;
mod renamed_users;
mod restore;
mod scenarios;
mod schemes;
mod support;
mod typed_commands;
