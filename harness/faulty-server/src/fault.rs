//! [`Fault`]: the deliberate faults, and [`ActiveFault`]: the one of this process.

use std::sync::atomic::{AtomicU32, Ordering};

use clap::ValueEnum;

/// Deliberate fault of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Acknowledges messages whose transaction is rolled back.
    AckUnwritten,
    /// Stores messages under an idempotency key other than the sender's.
    KeyReplaced,
    /// Stores a message a second time, at the position after it.
    StoredTwice,
    /// Stores a message with a time that is a minute too early.
    TimeBack,
    /// Acknowledges a message that a client sends again, but at another position than the first
    /// time.
    AckMoved,
    /// Stores a message under an event id other than the acknowledged one.
    AckOtherEvent,
    /// Refuses a message that a client sends again, although it is stored.
    StoredRefused,
    /// Returns a page of history in which the text of a message differs from the stored one.
    PageAltered,
    /// Returns a page of history in which the sender of an event differs from the stored one.
    PageForged,
    /// Returns a page of history in which events are missing.
    PageShort,
    /// Delivers to connected clients a text that differs from the stored one.
    PushAltered,
    /// Delivers events of a group to users who were removed from it through another node.
    RemovedReceives,
    /// Accepts messages from users who have left the group or were removed from it.
    RemovedSends,
    /// Accepts messages of a session after another node has given its device to a new session.
    FenceOpen,
    /// Does not deliver events that other nodes have committed.
    RemoteDropped,
}

/// Fault of this process, if any, and the number of calls of [`strikes`](Self::strikes) with it so
/// far.
#[derive(Debug, Default)]
pub(crate) struct ActiveFault {
    fault: Option<Fault>,
    opportunities: AtomicU32,
}

impl ActiveFault {
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
    /// call with this fault.
    pub(crate) fn strikes(&self, fault: Fault, period: u32) -> bool {
        self.is(fault) && self.opportunities.fetch_add(1, Ordering::Relaxed) % period == period - 1
    }
}
