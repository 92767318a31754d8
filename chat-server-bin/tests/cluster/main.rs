//! Tests of clusters of the real program with MariaDB and Redis.

#![allow(clippy::unwrap_used)] // these are tests

mod database;
mod groups;
mod operators;
mod scenarios;
mod support;
