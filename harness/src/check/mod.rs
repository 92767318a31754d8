//! What must be true of every history.
//!
//! | rule | what it says |
//! |---|---|
//! | C1 | what was acknowledged is in every log, where and as what it was acknowledged |
//! | C2 | nothing is in a log that nobody sent |
//! | C3 | nothing is there twice, and nothing that was refused is there |
//! | C4 | each log is numbered from 1 to its end without holes |
//! | C5 | one place holds one event, whoever looks, whenever |
//! | C6 | a device is handed no place twice |
//! | C7 | a device is handed places in order, without holes |
//! | C8 | in the end each device was handed everything it may read |
//! | C9 | what one run sent to one conversation is in the order in which it was sent |
//! | C10 | what was sent after something had been acknowledged comes after it |
//! | C11 | all acknowledgements of one message are the same |
//! | C12 | senders were members when they sent; nobody is handed what they may not read |
//! | C13 | a session that another one of its device took over from is acknowledged nothing more |
//! | C15 | times never go back within a log |
//!
//! Order is given by the numbers, so one pass over what happened is enough for each rule.

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

/// Judges a history.
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
