//! Tests of many nodes: the services they need, and ways to break them.
//!
//! [`Cluster`] is a whole one: a database, a bus, and nodes. [`services`] starts databases and message buses on free loopback ports and in temporary directories. Nothing that this crate
//! starts outlives the process that started it, however that process ends.

mod cluster;
pub mod services;

pub use cluster::Cluster;
