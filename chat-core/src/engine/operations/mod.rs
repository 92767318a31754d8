//! Units of work of commands and operators, and the rules that they share. They do all I/O through
//! their [`Transaction`](crate::store::Transaction).

pub(super) mod account;
pub(super) mod contact;
pub(super) mod fence;
pub(super) mod group;
pub(super) mod log;
pub(super) mod message;
pub(super) mod operator;
pub(super) mod policy;
