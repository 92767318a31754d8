//! Shared fixtures of the benchmarks.

pub mod secure;
