//! Nodes of the real program on a real MariaDB and a real Redis.

#![allow(clippy::unwrap_used)] // these are tests

mod crowd;
mod people;
mod support;
