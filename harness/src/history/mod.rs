//! Histories of test runs, one JSON object per line. Clients record their logins, the messages that
//! they send, the replies and the deliveries; the harness records injected faults. At the end, the
//! logs and the memberships of conversations are recorded, as nodes and the database return them.

mod file;
mod record;

pub use file::{History, HistoryError, Writer, each_record};
pub use record::{Digest, EventRecord, LogPosition, Observation, Record};
