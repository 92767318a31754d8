//! Shared fixtures of the benchmarks.

pub mod group;
pub mod messages;
pub mod secure;
pub mod testbed;
