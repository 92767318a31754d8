//! The units of work of a feed. All of them lock leases in the same order, so that they do not
//! deadlock: first those of the feed in the order of their shards, then those of the registry of
//! nodes (see `leases.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::machine::{CursorMoves, LeaseWork};
use crate::model::{ConversationId, NodeId, Seq};
use crate::store::{FeedLease, FeedShard, FeedTxExt, StoreError, Transaction, TypedUnit};

/// Maximum number of cursors in one statement.
const MAX_CURSORS_PER_STATEMENT: usize = 512;

/// Conversations in which the feed is behind, each with the `Seq` of the last event of its log, by
/// shard.
pub(super) type LogEnds = BTreeMap<FeedShard, Vec<(ConversationId, Seq)>>;

/// A change of the lease of one shard.
#[derive(Clone, Debug)]
pub(super) enum LeaseChange {
    Renew(FeedLease),
    Release(FeedLease),
    Claim(FeedShard),
}

impl LeaseChange {
    fn shard(&self) -> FeedShard {
        match self {
            Self::Renew(lease) | Self::Release(lease) => lease.shard,
            Self::Claim(shard) => *shard,
        }
    }

    /// Returns the changes of a round in the order of their shards.
    pub(super) fn of_round(work: LeaseWork, claim: &[FeedShard]) -> Vec<Self> {
        let renew = work.renew.into_iter().map(Self::Renew);
        let release = work.release.into_iter().map(Self::Release);
        let claim = claim.iter().copied().map(Self::Claim);
        let mut changes: Vec<_> = renew.chain(release).chain(claim).collect();
        changes.sort_by_key(Self::shard);
        changes
    }
}

/// Unit of work of one round, which renews, releases and claims leases.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) feed: String,
    /// Name of a second feed, without cursors, of which each node of the feed leases one shard, its
    /// slot, if one is free. These leases show which nodes share the feed.
    pub(super) registry: String,
    pub(super) node: NodeId,
    pub(super) ttl: Duration,
    /// Renewal or claim of the lease by which the node is registered, never a release. `None` if
    /// other nodes hold all slots.
    pub(super) registration: Option<LeaseChange>,
    pub(super) changes: Vec<LeaseChange>,
    /// Last event that the feed skips in each log of a shard that is claimed for the first time.
    /// Empty if the feed starts at the beginning; `None` if the ends of the logs were not read yet.
    pub(super) log_ends: Option<LogEnds>,
}

/// Result of a round.
#[derive(Debug, Default)]
pub(super) struct RoundDone {
    /// Lease by which the node is registered after the round; `None` if it is not registered.
    pub(super) registration: Option<FeedLease>,
    pub(super) renewed: Vec<FeedLease>,
    pub(super) claimed: Vec<FeedLease>,
    pub(super) released: Vec<FeedLease>,
    pub(super) lost: Vec<FeedLease>,
}

/// Reason for which a round was not committed.
#[derive(Debug)]
pub(super) enum RoundRejection {
    /// A shard was claimed for the first time, and the round lacks the ends of its logs.
    NeedsLogEnds,
    Store(StoreError),
}

impl From<StoreError> for RoundRejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl TypedUnit for Round {
    type Output = RoundDone;
    type Rejection = RoundRejection;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<RoundDone, RoundRejection> {
        let mut done = RoundDone::default();
        for change in &self.changes {
            match change {
                LeaseChange::Renew(lease) => match tx.renew_feed(lease, self.ttl).await? {
                    Some(renewed) => done.renewed.push(renewed),
                    None => done.lost.push(lease.clone()),
                },
                LeaseChange::Release(lease) => {
                    tx.release_feed(lease).await?;
                    done.released.push(lease.clone());
                }
                LeaseChange::Claim(shard) => {
                    let claimed = tx.claim_feed(&self.feed, *shard, self.node, self.ttl).await?;
                    if let Some(lease) = claimed {
                        self.skip_to_start(tx, &lease).await?;
                        done.claimed.push(lease);
                    }
                }
            }
        }
        done.registration = match &self.registration {
            Some(LeaseChange::Renew(lease)) => tx.renew_feed(lease, self.ttl).await?,
            Some(LeaseChange::Claim(slot)) => tx.claim_feed(&self.registry, *slot, self.node, self.ttl).await?,
            _ => None,
        };
        Ok(done)
    }

    fn store_error(rejection: RoundRejection) -> Result<StoreError, RoundRejection> {
        match rejection {
            RoundRejection::Store(error) => Ok(error),
            RoundRejection::NeedsLogEnds => Err(rejection),
        }
    }
}

impl Round {
    /// Skips the events before the start of the feed if a shard of the feed is claimed for the
    /// first time. The cursors are committed together with that claim, so they are set once.
    async fn skip_to_start(&self, tx: &mut dyn Transaction, lease: &FeedLease) -> Result<(), RoundRejection> {
        if lease.term > 1 {
            return Ok(());
        }
        let ends = self.log_ends.as_ref().ok_or(RoundRejection::NeedsLogEnds)?;
        let ends = ends.get(&lease.shard).map_or(&[][..], Vec::as_slice);
        for ends in ends.chunks(MAX_CURSORS_PER_STATEMENT) {
            tx.advance_feed(lease, ends).await?;
        }
        Ok(())
    }
}

/// Unit of work that records cursors.
#[derive(Debug)]
pub(super) struct RecordCursors(pub(super) Vec<CursorMoves>);

#[async_trait]
impl TypedUnit for RecordCursors {
    /// For each of the moves, `true` if the node still held the lease, so that its cursors were
    /// recorded.
    type Output = Vec<bool>;
    type Rejection = StoreError;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<Vec<bool>, StoreError> {
        let mut held = Vec::with_capacity(self.0.len());
        for moves in &self.0 {
            held.push(tx.advance_feed(&moves.lease, &moves.cursors).await?);
        }
        Ok(held)
    }

    fn store_error(rejection: StoreError) -> Result<StoreError, StoreError> {
        Ok(rejection)
    }
}

/// Unit of work that releases leases.
#[derive(Debug)]
pub(super) struct ReleaseLeases(pub(super) Vec<FeedLease>);

#[async_trait]
impl TypedUnit for ReleaseLeases {
    type Output = ();
    type Rejection = StoreError;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        for lease in &self.0 {
            tx.release_feed(lease).await?;
        }
        Ok(())
    }

    fn store_error(rejection: StoreError) -> Result<StoreError, StoreError> {
        Ok(rejection)
    }
}

/// Unit of work that deletes a feed.
#[derive(Debug)]
pub(super) struct DeleteFeed {
    pub(super) feed: String,
    pub(super) registry: String,
    pub(super) node: NodeId,
}

/// Reason for which a feed was not deleted.
#[derive(Debug)]
pub(super) enum DeleteFeedRejection {
    /// Another node holds a lease of the feed or of its registry.
    IsOpen,
    Store(StoreError),
}

impl From<StoreError> for DeleteFeedRejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl TypedUnit for DeleteFeed {
    type Output = ();
    type Rejection = DeleteFeedRejection;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<(), DeleteFeedRejection> {
        for feed in [&self.feed, &self.registry] {
            for shard in FeedShard::all() {
                // A claim locks the lease, and fails if another node holds it.
                let claimed = tx.claim_feed(feed, shard, self.node, Duration::ZERO).await?;
                claimed.ok_or(DeleteFeedRejection::IsOpen)?;
            }
        }
        tx.delete_feed(&self.feed).await?;
        Ok(tx.delete_feed(&self.registry).await?)
    }

    fn store_error(rejection: DeleteFeedRejection) -> Result<StoreError, DeleteFeedRejection> {
        match rejection {
            DeleteFeedRejection::Store(error) => Ok(error),
            DeleteFeedRejection::IsOpen => Err(rejection),
        }
    }
}
