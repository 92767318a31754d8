//! What happened, one line of JSON for each thing: what clients began, were told, were handed, and
//! what the logs say in the end.

mod file;
mod record;

pub use file::{History, HistoryError, Writer, each_record};
pub use record::{Digest, EventRecord, Place, Record, What};
