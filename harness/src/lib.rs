//! Tests of many nodes: the services they need, and ways to break them.
//!
//! [`services`] starts databases and message buses on free loopback ports and in temporary directories. Nothing that this crate
//! starts outlives the process that started it, however that process ends.

pub mod services;
