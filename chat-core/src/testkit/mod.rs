//! For tests of backends and applications: the contract of each port as code, and ports that fail on demand.

mod bus;
pub mod store;

pub use bus::LossyBus;
