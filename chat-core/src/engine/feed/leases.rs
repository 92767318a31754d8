//! [`Leases`]: the writes of a feed, to its leases and its cursors.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::machine::{CursorMoves, LeaseAnswer, LeaseWork};
use super::options::FeedStart;
use super::reader::FeedReader;
use super::split::{Plan, plan};
use super::units_of_work::{
    DeleteFeed, DeleteFeedRejection, LeaseChange, LogEnds, RecordCursors, ReleaseLeases, Round, RoundDone,
    RoundRejection,
};
use crate::engine::breaker::Scope;
use crate::engine::error::CommandError;
use crate::engine::store_access::StoreAccess;
use crate::model::NodeId;
use crate::store::{FeedLease, FeedShard, StoreError, StoreExt};
use crate::sync::Mutex;
use crate::time::now;

/// Returns the name of a feed's registry, a second feed without cursors. Each node that runs the
/// feed holds the lease of one shard (slot) of the registry, if one is free, so that the other
/// nodes also see a node that has no shard of the feed yet.
fn registry(feed: &str) -> String {
    format!("{feed}\u{1}nodes")
}

/// Claims, renews and releases the leases of a feed, and records its cursors.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) access: Arc<StoreAccess>,
    pub(super) reader: Arc<FeedReader>,
    pub(super) node: NodeId,
    pub(super) start: FeedStart,
    pub(super) ttl: Duration,
    /// Lease in the registry by which this node is registered; `None` if it is not registered.
    pub(super) registration: Mutex<Option<FeedLease>>,
    /// True if the last write that the circuit breaker admitted has failed.
    pub(super) is_failing: AtomicBool,
}

impl Leases {
    /// Runs one round: registers the node or renews its registration, renews and releases the
    /// leases of `work`, and claims shards up to the node's share if `work` permits claims.
    pub(super) async fn round(&self, work: LeaseWork) -> Result<LeaseAnswer, CommandError> {
        let (feed, registry) = (&self.reader.feed, registry(&self.reader.feed));
        let store = self.access.store();
        let registered = self.access.read(store.feed_leases(&registry)).await?;
        let leases = self.access.read(store.feed_leases(feed)).await?;
        let registration = self.registration_change(&registered);
        let mut nodes: BTreeSet<NodeId> = registered.iter().map(|lease| lease.node).collect();
        if registration.is_some() {
            nodes.insert(self.node);
        }
        let held: BTreeSet<_> = work.renew.iter().map(|lease| lease.shard).collect();
        let Plan { mut claim, surplus } = plan(self.node, &nodes, &leases, &held);
        if !work.may_claim {
            claim.clear();
        }
        let requested_at = now();
        let round = Round {
            feed: feed.clone(),
            registry,
            node: self.node,
            ttl: self.ttl,
            registration,
            changes: LeaseChange::of_round(work, &claim),
            log_ends: (self.start == FeedStart::Beginning).then(LogEnds::new),
        };
        let done = self.run(round, &claim).await?;
        *self.registration.lock() = done.registration;
        Ok(LeaseAnswer {
            requested_at,
            renewed: done.renewed,
            claimed: done.claimed,
            released: done.released,
            lost: done.lost,
            surplus,
        })
    }

    /// Returns the change that renews this node's registration, or registers it in a free slot.
    /// Returns `None` if other nodes hold all slots.
    fn registration_change(&self, registered: &[FeedLease]) -> Option<LeaseChange> {
        if let Some(lease) = &*self.registration.lock() {
            return Some(LeaseChange::Renew(lease.clone()));
        }
        let is_taken = |slot: &FeedShard| {
            let mut others = registered.iter().filter(|lease| lease.node != self.node);
            others.any(|lease| lease.shard == *slot)
        };
        FeedShard::all().find(|slot| !is_taken(slot)).map(LeaseChange::Claim)
    }

    /// Runs the unit of work of a round. If it claims a shard for the first time ever and the feed
    /// starts from now, reads the ends of the logs and repeats the round with them.
    async fn run(&self, mut round: Round, claim: &[FeedShard]) -> Result<RoundDone, CommandError> {
        if let Some(done) = self.attempt(round.clone()).await? {
            return Ok(done);
        }
        let mut ends = LogEnds::new();
        for (conversation, last_seq) in self.reader.log_ends(claim).await? {
            let shard = FeedShard::of(conversation);
            ends.entry(shard).or_default().push((conversation, last_seq));
        }
        round.log_ends = Some(ends);
        let done = self.attempt(round).await?;
        done.ok_or_else(|| CommandError::defect("a round asks for the ends of logs that it was given"))
    }

    /// Runs the unit of work of a round once. Returns `None`, and writes nothing, if the round
    /// lacks the ends of the logs and needs them.
    async fn attempt(&self, round: Round) -> Result<Option<RoundDone>, CommandError> {
        let run = async {
            match self.access.store().run(round).await {
                Ok(done) => Ok(Some(done)),
                Err(RoundRejection::NeedsLogEnds) => Ok(None),
                Err(RoundRejection::Store(error)) => Err(error),
            }
        };
        self.write_logged(run).await
    }

    /// Records cursors in the store. Returns for each element of `moves` whether the node still
    /// held the lease; if not, its cursors were not recorded.
    pub(super) async fn record(&self, moves: Vec<CursorMoves>) -> Result<Vec<bool>, CommandError> {
        self.write_logged(self.access.store().run(RecordCursors(moves))).await
    }

    /// Releases leases, and the registration of the node.
    pub(super) async fn release(&self, mut leases: Vec<FeedLease>) -> Result<(), CommandError> {
        let registration = self.registration.lock().take();
        // The registration is released last, because a round locks it last.
        leases.extend(registration);
        self.write_logged(self.access.store().run(ReleaseLeases(leases))).await
    }

    /// Writes to the store. Logs only the first of consecutive errors, because an open feed writes
    /// again and again while the store fails. A write that the circuit breaker refuses is not
    /// logged.
    async fn write_logged<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
        let result = self.access.write(Scope::NoSharedRows, work).await;
        // While the circuit breaker of writes is open, nothing is written; the breaker has logged
        // that it opened.
        if let Some(result) = &result {
            self.log_change(result.as_ref().err());
        }
        to_command_result(result)
    }

    /// Logs the error of a write after writes that succeeded, and the first success after errors.
    fn log_change(&self, error: Option<&StoreError>) {
        let was_failing = self.is_failing.swap(error.is_some(), Ordering::Relaxed);
        let feed = &self.reader.feed;
        match error {
            Some(error) if !was_failing => {
                let error = error as &dyn Error;
                tracing::warn!(
                    feed,
                    error,
                    "the cursors or leases of a feed cannot be written; trying again"
                );
            }
            None if was_failing => tracing::info!(feed, "the cursors and leases of a feed are written again"),
            _ => {}
        }
    }
}

/// Deletes a feed. Returns `false`, and deletes nothing, if another node holds a lease of the feed
/// or of its registry.
pub(super) async fn delete(access: &StoreAccess, node: NodeId, feed: &str) -> Result<bool, CommandError> {
    let delete = DeleteFeed {
        feed: feed.to_owned(),
        registry: registry(feed),
        node,
    };
    let run = async {
        match access.store().run(delete).await {
            Ok(()) => Ok(true),
            Err(DeleteFeedRejection::IsOpen) => Ok(false),
            Err(DeleteFeedRejection::Store(error)) => Err(error),
        }
    };
    let deleted = access.write(Scope::NoSharedRows, run).await;
    if let Some(Err(error)) = &deleted {
        let error = error as &dyn Error;
        tracing::warn!(feed, error, "a feed cannot be deleted");
    }
    to_command_result(deleted)
}

/// Returns the result of a write, or `TryAgain` for `None`: the circuit breaker of writes is open.
fn to_command_result<T>(written: Option<Result<T, StoreError>>) -> Result<T, CommandError> {
    match written {
        Some(result) => result.map_err(CommandError::from),
        None => Err(CommandError::try_again()),
    }
}
