//! The writes of a feed: its leases and its cursors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::machine::{LeaseAnswer, LeaseWork, Moves};
use super::options::FeedStart;
use super::source::Source;
use super::split::{Plan, plan};
use crate::engine::breaker::Scope;
use crate::engine::error::CommandError;
use crate::engine::units::Units;
use crate::model::{ConversationId, NodeId, Seq};
use crate::store::{FeedLease, FeedShard, FeedTxExt, Operation, StoreError, StoreExt, Transaction};
use crate::sync::Mutex;
use crate::time::now;

/// Number of cursors in one statement.
const MOVES_AT_ONCE: usize = 512;

/// Returns the name under which the nodes that run a feed register: each holds one lease of this
/// other feed, which has no cursors. A node that has no shard yet is seen by it.
pub(super) fn registry(feed: &str) -> String {
    format!("{feed}\u{1}nodes")
}

/// Claims, renews and releases the leases of a feed, and records its cursors.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) units: Arc<Units>,
    pub(super) source: Arc<Source>,
    pub(super) node: NodeId,
    pub(super) start: FeedStart,
    pub(super) ttl: Duration,
    /// Lease by which this node is registered.
    pub(super) registration: Mutex<Option<FeedLease>>,
}

impl Leases {
    /// Runs one round: registers the node, renews and releases what the machine says, and claims
    /// shards up to the node's share.
    pub(super) async fn round(&self, work: LeaseWork) -> Result<LeaseAnswer, CommandError> {
        let (feed, registry) = (&self.source.feed, registry(&self.source.feed));
        let store = self.units.store();
        let registered = self.units.read(store.feed_leases(&registry)).await?;
        let leases = self.units.read(store.feed_leases(feed)).await?;
        let mine = self.registration.lock().clone();
        let free_slot = || {
            FeedShard::all().find(|slot| {
                registered
                    .iter()
                    .all(|lease| lease.shard != *slot || lease.node == self.node)
            })
        };
        let mut nodes: BTreeSet<NodeId> = registered.iter().map(|lease| lease.node).collect();
        let slot = match &mine {
            Some(lease) => Some(Change::Renew(lease.clone())),
            None => free_slot().map(Change::Claim),
        };
        if slot.is_some() {
            nodes.insert(self.node);
        }
        let held: BTreeSet<_> = work.renew.iter().map(|lease| lease.shard).collect();
        let Plan { claim, surplus } = plan(self.node, &nodes, &leases, &held);
        let asked = now();
        let mut round = Round {
            feed: feed.clone(),
            registry,
            node: self.node,
            ttl: self.ttl,
            slot,
            changes: changes(work, &claim),
            ends: (self.start == FeedStart::Beginning).then(BTreeMap::new),
        };
        let mut answer = self.run(round.clone()).await?;
        if answer.is_none() {
            // Some shard was never claimed before: what its conversations hold by now is skipped.
            let mut ends: BTreeMap<FeedShard, Vec<_>> = BTreeMap::new();
            for (conversation, last_seq) in self.source.ends(&claim).await? {
                ends.entry(FeedShard::of(conversation))
                    .or_default()
                    .push((conversation, last_seq));
            }
            round.ends = Some(ends);
            answer = self.run(round).await?;
        }
        let (slot, mut answer) = answer.ok_or_else(CommandError::internal)?.into_answer(asked, surplus);
        *self.registration.lock() = slot;
        answer
            .lost
            .retain(|lost| !answer.claimed.iter().any(|lease| lease.shard == lost.shard));
        Ok(answer)
    }

    /// Runs the unit of work of a round. Returns `None`, and nothing was written, if the round has
    /// to say where the feed begins.
    async fn run(&self, round: Round) -> Result<Option<RoundDone>, CommandError> {
        let run = async {
            match self.units.store().run(round).await {
                Ok(done) => Ok(Some(done)),
                Err(RoundRejection::BeginIsUnknown) => Ok(None),
                Err(RoundRejection::Store(error)) => Err(error),
            }
        };
        self.write(run).await
    }

    /// Records cursors. Returns for each lease whether the node still holds it.
    pub(super) async fn record(&self, moves: Vec<Moves>) -> Result<Vec<bool>, CommandError> {
        self.write(self.units.store().run(Record(moves))).await
    }

    /// Ends leases, and the registration of the node.
    pub(super) async fn release(&self, mut leases: Vec<FeedLease>) -> Result<(), CommandError> {
        let registration = self.registration.lock().take();
        // In the order of a round: the registration last.
        leases.extend(registration);
        self.write(self.units.store().run(Release(leases))).await
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
        match self.units.write(Scope::Alone, write).await {
            Some(result) => result.map_err(CommandError::from),
            None => Err(CommandError::try_again()),
        }
    }
}

/// A change of the lease of one shard.
#[derive(Clone, Debug)]
enum Change {
    Renew(FeedLease),
    Release(FeedLease),
    Claim(FeedShard),
}

impl Change {
    fn shard(&self) -> FeedShard {
        match self {
            Self::Renew(lease) | Self::Release(lease) => lease.shard,
            Self::Claim(shard) => *shard,
        }
    }
}

/// Returns all changes in the order of their shards, in which every node locks them.
fn changes(work: LeaseWork, claim: &[FeedShard]) -> Vec<Change> {
    let renew = work.renew.into_iter().map(Change::Renew);
    let release = work.release.into_iter().map(Change::Release);
    let claim = claim.iter().copied().map(Change::Claim);
    let mut changes: Vec<_> = renew.chain(release).chain(claim).collect();
    changes.sort_unstable_by_key(Change::shard);
    changes
}

/// Unit of work of one round.
#[derive(Clone, Debug)]
struct Round {
    feed: String,
    registry: String,
    node: NodeId,
    ttl: Duration,
    /// Registration of the node.
    slot: Option<Change>,
    changes: Vec<Change>,
    /// The events that a feed skips which begins now, by shard. `None` if they are not known yet.
    ends: Option<BTreeMap<FeedShard, Vec<(ConversationId, Seq)>>>,
}

/// Result of a round.
#[derive(Debug, Default)]
struct RoundDone {
    slot: Option<FeedLease>,
    renewed: Vec<FeedLease>,
    claimed: Vec<FeedLease>,
    released: Vec<FeedLease>,
    lost: Vec<FeedLease>,
}

impl RoundDone {
    fn into_answer(self, asked: std::time::Instant, surplus: usize) -> (Option<FeedLease>, LeaseAnswer) {
        let answer = LeaseAnswer {
            asked,
            renewed: self.renewed,
            claimed: self.claimed,
            released: self.released,
            lost: self.lost,
            surplus,
        };
        (self.slot, answer)
    }
}

/// Reason why a round writes nothing.
#[derive(Debug)]
enum RoundRejection {
    /// A shard was claimed for the first time, and the round does not say which events to skip.
    BeginIsUnknown,
    Store(StoreError),
}

impl From<StoreError> for RoundRejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl Operation for Round {
    type Output = RoundDone;
    type Rejection = RoundRejection;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<RoundDone, RoundRejection> {
        let mut done = RoundDone::default();
        for change in &self.changes {
            match change {
                Change::Renew(lease) => match tx.renew_feed(lease, self.ttl).await? {
                    Some(renewed) => done.renewed.push(renewed),
                    None => done.lost.push(lease.clone()),
                },
                Change::Release(lease) => {
                    tx.release_feed(lease).await?;
                    done.released.push(lease.clone());
                }
                Change::Claim(shard) => {
                    let claimed = tx.claim_feed(&self.feed, *shard, self.node, self.ttl).await?;
                    if let Some(lease) = claimed {
                        self.begin(tx, &lease).await?;
                        done.claimed.push(lease);
                    }
                }
            }
        }
        done.slot = match &self.slot {
            Some(Change::Renew(lease)) => tx.renew_feed(lease, self.ttl).await?,
            Some(Change::Claim(slot)) => tx.claim_feed(&self.registry, *slot, self.node, self.ttl).await?,
            _ => None,
        };
        Ok(done)
    }

    fn store_error(rejection: RoundRejection) -> Result<StoreError, RoundRejection> {
        match rejection {
            RoundRejection::Store(error) => Ok(error),
            RoundRejection::BeginIsUnknown => Err(rejection),
        }
    }
}

impl Round {
    /// Skips the events before the begin of the feed, when a shard is claimed for the first time
    /// ever. Commits together with that claim, so that it is done once.
    async fn begin(&self, tx: &mut dyn Transaction, lease: &FeedLease) -> Result<(), RoundRejection> {
        if lease.term > 1 {
            return Ok(());
        }
        let ends = self.ends.as_ref().ok_or(RoundRejection::BeginIsUnknown)?;
        for ends in ends
            .get(&lease.shard)
            .into_iter()
            .flat_map(|ends| ends.chunks(MOVES_AT_ONCE))
        {
            tx.advance_feed(lease, ends).await?;
        }
        Ok(())
    }
}

/// Unit of work that records cursors.
#[derive(Debug)]
struct Record(Vec<Moves>);

#[async_trait]
impl Operation for Record {
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

/// Unit of work that ends leases.
#[derive(Debug)]
struct Release(Vec<FeedLease>);

#[async_trait]
impl Operation for Release {
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
pub(super) struct Delete(pub(super) String);

#[async_trait]
impl Operation for Delete {
    type Output = ();
    type Rejection = StoreError;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<(), StoreError> {
        tx.delete_feed(&self.0).await?;
        tx.delete_feed(&registry(&self.0)).await
    }

    fn store_error(rejection: StoreError) -> Result<StoreError, StoreError> {
        Ok(rejection)
    }
}
