//! Shared fixtures of the benchmarks.

pub mod messages;
pub mod secure;
