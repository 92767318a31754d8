//! Pages of a log.

use super::Seq;

/// Which events of a conversation to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The first with a greater Seq.
    After(Seq),
    /// The last with a smaller Seq.
    Before(Seq),
    /// The last of all.
    Newest,
}

/// A page of history. Always delivered in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it begins and which way it goes.
    pub from: PageFrom,
    /// At most so many events.
    pub max_events: u32,
    /// Ends before the body bytes exceed this; holds at least one event if there is one.
    pub max_bytes: u32,
}
