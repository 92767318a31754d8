//! End-to-end tests of the client and server binaries, as used from terminals and scripts.

#![allow(clippy::unwrap_used)] // a test that cannot continue has failed

mod certificates;
mod crash;
mod deadlines;
mod errors;
mod foreign_text;
mod hanging;
mod impostors;
mod interactive;
mod local_time;
mod logout;
mod lost_replies;
mod missing;
mod misunderstandings;
mod pty;
mod renamed_users;
mod restore;
mod scenarios;
mod schemes;
mod scripted_server;
mod support;
mod typed_commands;
