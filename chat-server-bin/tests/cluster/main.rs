//! Clusters of the real program with MariaDB and Redis.

#![allow(clippy::unwrap_used)] // these are tests

mod groups;
mod scenarios;
mod support;
