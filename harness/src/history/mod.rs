//! Histories: one line of JSON per observation. Clients record their requests, the
//! replies and the deliveries. At the end, the logs of the nodes and the database are recorded.

mod file;
mod record;

pub use file::{History, HistoryError, Writer, each_record};
pub use record::{Digest, EventRecord, LogPosition, Observation, Record};
