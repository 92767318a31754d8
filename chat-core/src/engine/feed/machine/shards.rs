//! The leases that this node holds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::work::LeaseWork;
use crate::model::ConversationId;
use crate::store::{FeedLease, FeedShard};

/// A shard whose lease this node holds.
#[derive(Debug)]
struct Held {
    lease: FeedLease,
    /// Until then no other node can have claimed the shard, whatever happened to later renewals.
    sure_until: Instant,
    /// Nothing more is handed out; the lease is released once nothing is in flight.
    is_leaving: bool,
    /// Number of the first look-up that began after the shard was claimed.
    since: u64,
}

/// The shards whose leases this node holds.
#[derive(Debug, Default)]
pub(super) struct Shards(BTreeMap<FeedShard, Held>);

impl Shards {
    /// Returns whether events of the shard may be read and handed out under this term.
    pub(super) fn may_hand_out(&self, shard: FeedShard, term: u64, now: Instant) -> bool {
        let held = self.0.get(&shard);
        held.is_some_and(|held| held.lease.term == term && !held.is_leaving && now < held.sure_until)
    }

    /// Returns the term of the lease for a conversation.
    pub(super) fn term_of(&self, conversation: ConversationId) -> Option<u64> {
        self.0.get(&FeedShard::of(conversation)).map(|held| held.lease.term)
    }

    /// Returns the lease for a conversation.
    pub(super) fn lease_of(&self, conversation: ConversationId) -> Option<&FeedLease> {
        self.0.get(&FeedShard::of(conversation)).map(|held| &held.lease)
    }

    pub(super) fn lease_of_shard(&self, shard: FeedShard) -> Option<&FeedLease> {
        self.0.get(&shard).map(|held| &held.lease)
    }

    /// Returns whether the node works on a conversation.
    pub(super) fn works_on(&self, conversation: ConversationId) -> bool {
        let held = self.0.get(&FeedShard::of(conversation));
        held.is_some_and(|held| !held.is_leaving)
    }

    /// Returns whether the node has worked on a conversation without a break since the look-up of
    /// this number began. If not, what the look-up found may be outdated.
    pub(super) fn works_since(&self, conversation: ConversationId, look_up: u64) -> bool {
        let held = self.0.get(&FeedShard::of(conversation));
        held.is_some_and(|held| !held.is_leaving && held.since <= look_up)
    }

    /// Returns the shards that the node works on.
    pub(super) fn working(&self) -> Vec<FeedShard> {
        let working = self.0.iter().filter(|(_, held)| !held.is_leaving);
        working.map(|(shard, _)| *shard).collect()
    }

    pub(super) fn claimed(&mut self, lease: FeedLease, sure_until: Instant, since: u64) {
        let held = Held {
            sure_until,
            is_leaving: false,
            since,
            lease,
        };
        self.0.insert(held.lease.shard, held);
    }

    pub(super) fn renewed(&mut self, lease: FeedLease, asked: Instant, ttl: Duration) {
        if let Some(held) = self.0.get_mut(&lease.shard)
            && held.lease.is_same_claim(&lease)
        {
            held.sure_until = held.sure_until.max(asked + ttl);
            held.lease = lease;
        }
    }

    /// Removes a lease that was lost or released. Returns whether the node had it.
    pub(super) fn remove(&mut self, lease: &FeedLease) -> bool {
        let has_it = self
            .0
            .get(&lease.shard)
            .is_some_and(|held| held.lease.is_same_claim(lease));
        has_it && self.0.remove(&lease.shard).is_some()
    }

    /// Sets how many shards are to be left. Returns those that the node leaves from now on, and
    /// those that it keeps after all.
    pub(super) fn leave(&mut self, count: usize) -> (Vec<FeedShard>, Vec<FeedShard>) {
        let leaving = self.0.values().filter(|held| held.is_leaving).count();
        let mut changed = (Vec::new(), Vec::new());
        for (shard, held) in self.0.iter_mut().rev() {
            if changed.0.len() + leaving < count && !held.is_leaving {
                held.is_leaving = true;
                changed.0.push(*shard);
            } else if leaving.saturating_sub(changed.1.len()) > count && held.is_leaving {
                held.is_leaving = false;
                changed.1.push(*shard);
            }
        }
        changed
    }

    /// Returns the leases to renew, and those to release: the ones of shards that the node leaves
    /// and that are settled.
    pub(super) fn lease_work(&self, is_settled: impl Fn(FeedShard) -> bool) -> LeaseWork {
        let mut work = LeaseWork::default();
        for (shard, held) in &self.0 {
            let release = held.is_leaving && is_settled(*shard);
            let leases = if release { &mut work.release } else { &mut work.renew };
            leases.push(held.lease.clone());
        }
        work
    }

    /// Returns the shards that the node leaves.
    pub(super) fn leaving(&self) -> impl Iterator<Item = FeedShard> {
        self.0
            .iter()
            .filter(|(_, held)| held.is_leaving)
            .map(|(shard, _)| *shard)
    }
}
