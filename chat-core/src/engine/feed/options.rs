//! Options of a feed, and the errors of opening one.

use std::time::Duration;

use thiserror::Error;

use crate::engine::error::CommandError;
use crate::model::UserId;

/// Maximum length of a feed's name, in bytes. The store allows 255; the difference leaves room for
/// the suffix that `leases.rs` appends to name the feed's registry of nodes.
const MAX_NAME_BYTES: usize = 240;
const MAX_IN_FLIGHT: usize = 65_536;
const LEASE_TTL_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const MAX_FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// The conversations of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedScope {
    /// All conversations of the store, inboxes included. For services that the operator trusts with
    /// every message.
    AllConversations,
    /// The conversations and the inbox of one user, from the first to the last event that the
    /// user's memberships allow. Joining a conversation adds it to the feed.
    ///
    /// While an operator has disabled the account, the feed reads no events; it still hands out
    /// those that it read before. The feed of a deleted account hands out events up to the end of
    /// the user's memberships, and then stays open without further events until it is closed.
    User(UserId),
}

/// Start of a feed that was never opened before, or was deleted since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FeedStart {
    /// The feed starts with the first event of each conversation.
    #[default]
    Beginning,
    /// The feed starts with the first event that is committed after the feed was opened for the
    /// first time. The first opening writes one cursor per conversation of the scope that has
    /// events to skip, in one transaction. In the feed of a user, a conversation that the user
    /// joins for the first time later is read from the first event that the user may read.
    Now,
}

/// Options of a feed: see [`Engine::feed`](crate::engine::Engine::feed).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FeedOptions {
    /// Name of the feed, 1 to 240 bytes without control characters. The cursors belong to the name,
    /// so every node that opens the feed, also after a restart, must use the same name and scope.
    pub name: String,
    /// The conversations of the feed.
    pub scope: FeedScope,
    /// Start of a feed that was never opened before, or was deleted since. Default: the first event
    /// of each conversation.
    pub start: FeedStart,
    /// Maximum number of events that were read from the store and not acknowledged, 1 to 65 536.
    /// Each takes up to 64 KiB. The maximum for one conversation is a quarter of this number, and
    /// at least 1. Default 256.
    pub max_in_flight: usize,
    /// Time for which a node holds a lease without renewing it, 100 ms to 1 h. After a node has
    /// crashed, its shards stop until its leases expire and another node claims them, usually at
    /// most a fifth of this time later. All nodes of a feed must use the same value. Default 15 s.
    pub lease_ttl: Duration,
    /// Time for which the feed collects acknowledgements by
    /// [`FeedItem::done`](super::FeedItem::done) before it writes them to the store together. At
    /// most 1 min. Default 100 ms.
    pub flush_interval: Duration,
}

impl FeedOptions {
    /// Returns the options of a feed of all conversations.
    #[must_use]
    pub fn all_conversations(name: impl Into<String>) -> Self {
        Self::new(name.into(), FeedScope::AllConversations)
    }

    /// Returns the options of a feed of the events that one user may read.
    #[must_use]
    pub fn user(name: impl Into<String>, user: UserId) -> Self {
        Self::new(name.into(), FeedScope::User(user))
    }

    fn new(name: String, scope: FeedScope) -> Self {
        Self {
            name,
            scope,
            start: FeedStart::default(),
            max_in_flight: 256,
            lease_ttl: Duration::from_secs(15),
            flush_interval: Duration::from_millis(100),
        }
    }

    /// Skips the events that were committed before the feed is opened for the first time.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.start = FeedStart::Now;
        self
    }

    /// Sets the maximum number of events in flight.
    #[must_use]
    pub fn max_in_flight(mut self, events: usize) -> Self {
        self.max_in_flight = events;
        self
    }

    pub(super) fn validate(&self) -> Result<(), FeedError> {
        let rules = [
            (
                "name",
                (1..=MAX_NAME_BYTES).contains(&self.name.len()) && !self.name.contains(char::is_control),
                "1 to 240 bytes long, without control characters",
            ),
            (
                "max_in_flight",
                (1..=MAX_IN_FLIGHT).contains(&self.max_in_flight),
                "between 1 and 65536",
            ),
            (
                "lease_ttl",
                LEASE_TTL_RANGE.contains(&self.lease_ttl),
                "between 100 ms and 1 h",
            ),
            (
                "flush_interval",
                self.flush_interval <= MAX_FLUSH_INTERVAL,
                "at most 1 min",
            ),
        ];
        match rules.into_iter().find(|(_, is_kept, _)| !is_kept) {
            Some((field, _, rule)) => Err(FeedError::Options { field, rule }),
            None => Ok(()),
        }
    }
}

/// Error of opening or deleting a feed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FeedError {
    /// An option is out of range, or the name contains a control character.
    #[error("the feed's `{field}` must be {rule}")]
    Options {
        /// Name of the field.
        field: &'static str,
        /// Rule that its value breaks.
        rule: &'static str,
    },
    /// A feed of that name is open on this engine, or is being opened, closed or deleted.
    #[error("the feed `{0}` is in use on this node; close it and wait until it is closed")]
    AlreadyOpen(String),
    /// The feed cannot be deleted, because another node has it open, or stopped without releasing
    /// its leases, and they have not expired.
    #[error("another node holds leases of the feed `{0}`; close the feed there, or wait until the leases expire")]
    OpenElsewhere(String),
    /// The engine is shutting down.
    #[error("this node is shutting down")]
    ShuttingDown,
    /// A read or write of the store failed; the source says why. After a panic, it is an internal
    /// error.
    #[error("the store failed")]
    Store(#[source] CommandError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused_with_the_field() {
        let field = |options: FeedOptions| match options.validate() {
            Err(FeedError::Options { field, .. }) => Some(field),
            _ => None,
        };
        let named = |name: &str| FeedOptions::all_conversations(name);
        assert_eq!(field(named("index")), None);
        assert_eq!(field(named(&"x".repeat(240))), None);
        for name in [String::new(), "x".repeat(241), "a\u{1}b".to_owned()] {
            assert_eq!(field(named(&name)), Some("name"));
        }
        assert_eq!(field(named("index").max_in_flight(0)), Some("max_in_flight"));
        let mut short = named("index");
        short.lease_ttl = Duration::from_millis(1);
        assert_eq!(field(short), Some("lease_ttl"));
        let mut slow = named("index");
        slow.flush_interval = Duration::MAX;
        assert_eq!(field(slow.clone()), Some("flush_interval"));
        slow.flush_interval = Duration::ZERO;
        assert_eq!(field(slow), None);
    }
}
