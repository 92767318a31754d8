//! Histories of a test run, one JSON object per line. Clients record the messages that they send,
//! the replies and the deliveries. At the end, the logs of conversations are recorded, as each node
//! and the database return them.

mod file;
mod record;

pub use file::{History, HistoryError, Writer, each_record};
pub use record::{Digest, EventRecord, LogPosition, Observation, Record};
