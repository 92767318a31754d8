//! Helpers for the authors of stores: the contract of a transaction, and running units of work.

pub use super::run::{run_catching, run_inline};
pub use super::tx_contract::TxContract;
