//! Rules that every history must satisfy. A *source* is a node or the database that returned its
//! logs at the end. A *run* is one lifetime of the client of one device.
//!
//! | rule | content |
//! |---|---|
//! | C1 | every acknowledged message is in the log of its conversation, at the acknowledged position and with the acknowledged id, in every source that has this log, and at least one source has it |
//! | C2 | every message in a log was sent, to this conversation, by this sender and with this text |
//! | C3 | no message is in a log twice, and no refused message is in a log |
//! | C4 | each log is numbered from 1 to its end without holes, and does not end before a position that a client or source had seen before the log was read |
//! | C5 | all sources and clients see the same event at a position, at all times; no client reports that the log was rewound, or that it was reset although its store epoch continues |
//! | C6 | no position is delivered twice in one run, unless a reset or a rewind was reported before |
//! | C7 | positions are delivered to a device in order, without holes |
//! | C8 | at the end, every position that a device may read has been delivered to it |
//! | C9 | messages of one run to one conversation are in the order of sending |
//! | C10 | a message sent after an acknowledgement of another one in its conversation follows that one |
//! | C11 | all acknowledgements of one message are the same |
//! | C12 | senders were members at the positions of their messages; events are delivered only to users who may read them |
//! | C13 | messages that a session sends after another session of its device has replaced it are not acknowledged |
//! | C15 | times never go back within a log |
//!
//! There is no rule C14. Positions order the events, so no rule has to search for an order that
//! explains the observations. The rules C1, C2 and C5 assume that no message is recalled: a
//! recalled message has an empty text, and counts as altered.

mod acks;
mod delivery;
mod facts;
mod log;
mod membership;
mod order;
mod report;
mod rights;
mod table;
#[cfg(test)]
mod tests;

pub use report::{Report, Rule, Violation};

use crate::history::History;

/// Checks a history by all rules.
#[must_use]
pub fn check(history: &History) -> Report {
    let facts = facts::Facts::of(history);
    let mut report = Report::new(&facts);
    acks::check(&facts, &mut report);
    log::check(&facts, &mut report);
    delivery::check(&facts, &mut report);
    order::check(&facts, &mut report);
    rights::check(&facts, &mut report);
    report
}
