//! The deliberate faults.

use std::sync::atomic::{AtomicU32, Ordering};

use clap::ValueEnum;

/// A mistake that a server makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Acknowledges messages whose transaction is rolled back.
    AckUnwritten,
    /// Stores messages under another idempotency key than the sender's.
    KeyForgotten,
    /// Stores a message a second time, at the position after it.
    StoredTwice,
    /// Stores an event with a time before that of the preceding one.
    TimeBack,
    /// Acknowledges a repeated message with another position than the first time.
    AckMoved,
    /// Stores a message as another event than the one it acknowledges.
    AckOtherEvent,
    /// Refuses a message that is stored already.
    StoredRefused,
    /// Returns a page of history in which the text of a message differs.
    PageAltered,
    /// Returns a page of history in which the sender of an event differs.
    PageForged,
    /// Returns a page of history in which events are missing.
    PageShort,
    /// Delivers another text to connected clients than readers of the history get.
    PushAltered,
    /// Delivers events of a group to users who were removed from it.
    RemovedStays,
    /// Accepts messages from users who were removed from the group.
    StrangerSends,
    /// Accepts messages of a session after another node has given its device to a new session.
    FenceOpen,
    /// Does not deliver what other nodes have committed.
    Deaf,
}

/// The fault of this process, and how often it has had the opportunity to strike.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    fault: Option<Fault>,
    opportunities: AtomicU32,
}

impl Chosen {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            opportunities: AtomicU32::new(0),
        }
    }

    /// Returns whether `fault` is the fault of this process.
    pub(crate) fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Returns whether `fault` is the fault of this process and strikes now: at every `period`th
    /// opportunity.
    pub(crate) fn strikes(&self, fault: Fault, period: u32) -> bool {
        self.is(fault) && self.opportunities.fetch_add(1, Ordering::Relaxed) % period == period - 1
    }
}
