//! Histories: one line of JSON per observation. Clients record what they began, were told, were
//! delivered, and what the logs say in the end.

mod file;
mod record;

pub use file::{History, HistoryError, Writer, each_record};
pub use record::{Digest, EventRecord, LogPosition, Observation, Record};
