//! [`Work`]: requests of the machine to the store, and [`WorkAnswer`]: the answers.

use std::time::Instant;

use crate::engine::error::CommandError;
use crate::model::{ConversationId, Event, Seq};
use crate::store::{FeedLease, FeedPosition, FeedShard};

/// Request to the store. Its execution yields one [`WorkAnswer`].
#[derive(Clone, Debug)]
pub(in crate::engine::feed) enum Work {
    /// Renew and release leases, and claim shards up to the node's share if
    /// [`may_claim`](LeaseWork::may_claim) is set.
    Leases(LeaseWork),
    /// Read the ends of logs and the cursors of the feed in them.
    LookUp(LookUp),
    /// Read a log.
    Read(Read),
    /// Record cursors.
    Record(Vec<CursorMoves>),
}

/// Changes of this node's leases in one round.
#[derive(Clone, Debug, Default)]
pub(in crate::engine::feed) struct LeaseWork {
    /// Leases to keep.
    pub(in crate::engine::feed) renew: Vec<FeedLease>,
    /// Leases to give up.
    pub(in crate::engine::feed) release: Vec<FeedLease>,
    /// True if the node may claim shards up to its share; false while the feed closes.
    pub(in crate::engine::feed) may_claim: bool,
}

/// Conversations to look up.
#[derive(Clone, Debug)]
pub(in crate::engine::feed) enum LookUp {
    /// Conversations that have news.
    Conversations(Vec<ConversationId>),
    /// The next page of a scan: conversations of these shards with ids above `after`.
    Page {
        after: ConversationId,
        shards: Vec<FeedShard>,
    },
}

/// A read of a log.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::feed) struct Read {
    pub(in crate::engine::feed) conversation: ConversationId,
    pub(in crate::engine::feed) after: Seq,
    pub(in crate::engine::feed) max_events: usize,
    /// Unique number of this read.
    pub(in crate::engine::feed) number: u64,
}

/// Cursors to record under one lease.
#[derive(Clone, Debug)]
pub(in crate::engine::feed) struct CursorMoves {
    pub(in crate::engine::feed) lease: FeedLease,
    pub(in crate::engine::feed) cursors: Vec<(ConversationId, Seq)>,
}

/// The answer to a [`Work`], with the work itself where the machine needs it.
#[derive(Debug)]
pub(in crate::engine::feed) enum WorkAnswer {
    Leases(Result<LeaseAnswer, CommandError>),
    LookUp(LookUp, Result<Positions, CommandError>),
    Read(Read, Result<LogRead, CommandError>),
    /// The result has an element for each element of the moves: true if the node still held the
    /// lease, so that the cursors were recorded.
    Record(Vec<CursorMoves>, Result<Vec<bool>, CommandError>),
}

/// Result of a round of leases.
#[derive(Debug)]
pub(in crate::engine::feed) struct LeaseAnswer {
    /// Time just before the write of the round. The renewed and claimed leases last at least until
    /// `lease_ttl` after this time.
    pub(in crate::engine::feed) requested_at: Instant,
    pub(in crate::engine::feed) renewed: Vec<FeedLease>,
    pub(in crate::engine::feed) claimed: Vec<FeedLease>,
    pub(in crate::engine::feed) released: Vec<FeedLease>,
    pub(in crate::engine::feed) lost: Vec<FeedLease>,
    /// Number of shards that the node is to leave: its leases to renew exceed its share by this
    /// number.
    pub(in crate::engine::feed) surplus: usize,
}

/// Result of a look-up.
#[derive(Debug, Default)]
pub(in crate::engine::feed) struct Positions {
    /// Positions in those of the given conversations that exist. For a page: in the conversations
    /// of the requested shards that have events after the feed's cursor, in the feed of a user only
    /// those with events that the user may read.
    pub(in crate::engine::feed) positions: Vec<FeedPosition>,
    /// Conversations that the page examined, of all shards: those in which the feed's user has a
    /// membership in any state. Empty in a feed of all conversations, and in a look-up of given
    /// conversations.
    pub(in crate::engine::feed) examined: Vec<ConversationId>,
    /// Conversation after which the next page starts. `None` after the last page, and in a look-up
    /// of given conversations.
    pub(in crate::engine::feed) next: Option<ConversationId>,
}

/// Result of a read.
#[derive(Debug, Default)]
pub(in crate::engine::feed) struct LogRead {
    pub(in crate::engine::feed) events: Vec<Event>,
    /// The log ended with these events, or the user may read no further.
    pub(in crate::engine::feed) is_end: bool,
}
