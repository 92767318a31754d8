//! Helpers for authors of stores: checks of the transaction contract, and execution of units of
//! work.

pub use super::run::{run_catching, run_inline};
pub use super::tx_contract::TxContract;
