//! What the machine asks the driver to do, and the answers.

use std::time::Instant;

use crate::engine::error::CommandError;
use crate::model::{ConversationId, Event, Seq};
use crate::store::{FeedLease, FeedPosition, FeedShard};

/// Something to do outside of the machine. The driver answers each with one [`Done`].
#[derive(Clone, Debug)]
pub(in crate::engine::feed) enum Work {
    /// Renew and release leases, and claim shards up to the node's share.
    Leases(LeaseWork),
    /// Find out where conversations stand.
    LookUp(LookUp),
    /// Read a log.
    Read(Read),
    /// Record cursors.
    Record(Vec<Moves>),
}

/// Leases of this node.
#[derive(Clone, Debug, Default)]
pub(in crate::engine::feed) struct LeaseWork {
    /// Leases to keep.
    pub(in crate::engine::feed) renew: Vec<FeedLease>,
    /// Leases to end.
    pub(in crate::engine::feed) release: Vec<FeedLease>,
}

/// Which conversations to look up.
#[derive(Clone, Debug)]
pub(in crate::engine::feed) enum LookUp {
    /// These.
    These(Vec<ConversationId>),
    /// The next page of the scope, after this conversation.
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
    /// Number of this read, which no other has.
    pub(in crate::engine::feed) number: u64,
}

/// Cursors to record under one lease.
#[derive(Clone, Debug)]
pub(in crate::engine::feed) struct Moves {
    pub(in crate::engine::feed) lease: FeedLease,
    pub(in crate::engine::feed) cursors: Vec<(ConversationId, Seq)>,
}

/// The answer to a [`Work`], with the work itself.
#[derive(Debug)]
pub(in crate::engine::feed) enum Done {
    Leases(Result<LeaseAnswer, CommandError>),
    LookUp(LookUp, Result<Positions, CommandError>),
    Read(Read, Result<LogRead, CommandError>),
    /// For each lease, whether the node still held it.
    Record(Vec<Moves>, Result<Vec<bool>, CommandError>),
}

/// What became of leases.
#[derive(Debug)]
pub(in crate::engine::feed) struct LeaseAnswer {
    /// Time before the store was asked: leases hold from here on.
    pub(in crate::engine::feed) asked: Instant,
    pub(in crate::engine::feed) renewed: Vec<FeedLease>,
    pub(in crate::engine::feed) claimed: Vec<FeedLease>,
    pub(in crate::engine::feed) released: Vec<FeedLease>,
    pub(in crate::engine::feed) lost: Vec<FeedLease>,
    /// Number of shards that the node holds beyond its share.
    pub(in crate::engine::feed) surplus: usize,
}

/// Where conversations stand.
#[derive(Debug, Default)]
pub(in crate::engine::feed) struct Positions {
    pub(in crate::engine::feed) positions: Vec<FeedPosition>,
    /// Conversations of this page that the user is or was a member of; empty without a user.
    pub(in crate::engine::feed) members: Vec<ConversationId>,
    /// Where the next page begins, if this is a page and not the last.
    pub(in crate::engine::feed) next: Option<ConversationId>,
}

/// Part of a log.
#[derive(Debug, Default)]
pub(in crate::engine::feed) struct LogRead {
    pub(in crate::engine::feed) events: Vec<Event>,
    /// The log ended with these events, or the user may read no more.
    pub(in crate::engine::feed) is_end: bool,
    /// False if the feed is of a user who was never a member.
    pub(in crate::engine::feed) is_readable: bool,
}
