//! [`Shards`]: the leases that this node holds, and the schedule of their renewal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::work::LeaseWork;
use crate::model::ConversationId;
use crate::store::{FeedLease, FeedShard};

/// Number of rounds within the duration of a lease, so that some may fail before it expires.
const ROUNDS_PER_TTL: u32 = 5;

/// A shard whose lease this node holds.
#[derive(Debug)]
struct Held {
    lease: FeedLease,
    /// Time until which the lease is valid by this node's clock: the time just before the write of
    /// the latest successful round, plus the duration of a lease. Until then, no other node can
    /// have claimed the shard.
    valid_until: Instant,
    /// True if the node hands out no more events of the shard, and releases the lease once none is
    /// in flight and every cursor is recorded.
    is_leaving: bool,
    /// Number of the first look-up (see [`LookUps`](super::look_ups::LookUps)) that started after
    /// the shard was claimed.
    first_look_up: u64,
}

/// The shards whose leases this node holds, and the schedule of the rounds in which it renews them.
#[derive(Debug)]
pub(super) struct Shards {
    held: BTreeMap<FeedShard, Held>,
    lease_ttl: Duration,
    /// Time of the next round; `None` while one runs.
    due: Option<Instant>,
}

impl Shards {
    /// Creates an empty set. The first round is due at `now`.
    pub(super) fn new(lease_ttl: Duration, now: Instant) -> Self {
        Self {
            held: BTreeMap::new(),
            lease_ttl,
            due: Some(now),
        }
    }

    /// Returns the time of the next round, or `None` while one runs.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns whether a round of lease changes runs.
    pub(super) fn is_round_running(&self) -> bool {
        self.due.is_none()
    }

    /// Starts a round. Returns the leases to renew, and the leases to release: those of shards that
    /// the node is leaving and that are settled, so that no event is in flight and no cursor
    /// unrecorded.
    pub(super) fn start_round(&mut self, may_claim: bool, is_settled: impl Fn(FeedShard) -> bool) -> LeaseWork {
        self.due = None;
        let (mut renew, mut release) = (Vec::new(), Vec::new());
        for (shard, held) in &self.held {
            let can_release = held.is_leaving && is_settled(*shard);
            let leases = if can_release { &mut release } else { &mut renew };
            leases.push(held.lease.clone());
        }
        LeaseWork {
            renew,
            release,
            may_claim,
        }
    }

    /// Records that the running round succeeded, and schedules the next round.
    pub(super) fn round_succeeded(&mut self, now: Instant) {
        self.due = Some(now + self.lease_ttl / ROUNDS_PER_TTL);
    }

    /// Records that the running round failed, and schedules its retry after a quarter of the usual
    /// interval.
    pub(super) fn round_failed(&mut self, now: Instant) {
        self.due = Some(now + self.lease_ttl / (ROUNDS_PER_TTL * 4));
    }

    /// Lets the next round start at once if it can release a lease.
    pub(super) fn release_soon(&mut self, now: Instant, is_settled: impl Fn(FeedShard) -> bool) {
        let can_release = || self.leaving().any(is_settled);
        if self.due.is_some() && can_release() {
            self.due = Some(now);
        }
    }

    /// Returns every lease.
    pub(super) fn leases(&self) -> Vec<FeedLease> {
        self.held.values().map(|held| held.lease.clone()).collect()
    }

    /// Removes all leases.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Returns whether events of the shard that were read under this term may be handed out.
    pub(super) fn may_hand_out(&self, shard: FeedShard, term: u64, now: Instant) -> bool {
        let held = self.held.get(&shard);
        held.is_some_and(|held| held.lease.term == term && !held.is_leaving && now < held.valid_until)
    }

    /// Returns the term of the lease for a conversation.
    pub(super) fn term_of(&self, conversation: ConversationId) -> Option<u64> {
        self.held.get(&FeedShard::of(conversation)).map(|held| held.lease.term)
    }

    /// Returns the lease for a conversation.
    pub(super) fn lease_of(&self, conversation: ConversationId) -> Option<&FeedLease> {
        self.held.get(&FeedShard::of(conversation)).map(|held| &held.lease)
    }

    pub(super) fn lease_of_shard(&self, shard: FeedShard) -> Option<&FeedLease> {
        self.held.get(&shard).map(|held| &held.lease)
    }

    /// Returns whether the node works on a conversation: it holds the lease for the conversation's
    /// shard, and is not leaving the shard.
    pub(super) fn works_on(&self, conversation: ConversationId) -> bool {
        let held = self.held.get(&FeedShard::of(conversation));
        held.is_some_and(|held| !held.is_leaving)
    }

    /// Returns whether the node works on a conversation under a lease that it claimed before the
    /// look-up with this number started. If not, the result of the look-up may be outdated.
    pub(super) fn works_since(&self, conversation: ConversationId, look_up: u64) -> bool {
        let held = self.held.get(&FeedShard::of(conversation));
        held.is_some_and(|held| !held.is_leaving && held.first_look_up <= look_up)
    }

    /// Returns the shards that the node works on.
    pub(super) fn working(&self) -> Vec<FeedShard> {
        let working = self.held.iter().filter(|(_, held)| !held.is_leaving);
        working.map(|(shard, _)| *shard).collect()
    }

    /// Adds a shard that was claimed in a round. `requested_at` is the time just before the round's
    /// write, and `first_look_up` the number of the next look-up.
    pub(super) fn claimed(&mut self, lease: FeedLease, requested_at: Instant, first_look_up: u64) {
        let held = Held {
            valid_until: requested_at + self.lease_ttl,
            is_leaving: false,
            first_look_up,
            lease,
        };
        self.held.insert(held.lease.shard, held);
    }

    /// Extends a lease that was renewed in a round. `requested_at` is the time just before the
    /// round's write.
    pub(super) fn renewed(&mut self, lease: FeedLease, requested_at: Instant) {
        if let Some(held) = self.held.get_mut(&lease.shard)
            && held.lease.is_same_claim(&lease)
        {
            held.valid_until = held.valid_until.max(requested_at + self.lease_ttl);
            held.lease = lease;
        }
    }

    /// Removes a lease that was lost or released. Returns whether the node held it.
    pub(super) fn remove(&mut self, lease: &FeedLease) -> bool {
        let is_held = self
            .held
            .get(&lease.shard)
            .is_some_and(|held| held.lease.is_same_claim(lease));
        is_held && self.held.remove(&lease.shard).is_some()
    }

    /// Sets the number of shards that the node is to leave. Returns the shards that it leaves from
    /// now on, and the shards that it was leaving and keeps after all.
    pub(super) fn set_leaving_count(&mut self, count: usize) -> (Vec<FeedShard>, Vec<FeedShard>) {
        let leaving_count = self.held.values().filter(|held| held.is_leaving).count();
        let (mut newly_leaving, mut kept) = (Vec::new(), Vec::new());
        for (shard, held) in self.held.iter_mut().rev() {
            if newly_leaving.len() + leaving_count < count && !held.is_leaving {
                held.is_leaving = true;
                newly_leaving.push(*shard);
            } else if leaving_count.saturating_sub(kept.len()) > count && held.is_leaving {
                held.is_leaving = false;
                kept.push(*shard);
            }
        }
        (newly_leaving, kept)
    }

    /// Returns the shards that the node is leaving.
    pub(super) fn leaving(&self) -> impl Iterator<Item = FeedShard> {
        self.held
            .iter()
            .filter(|(_, held)| held.is_leaving)
            .map(|(shard, _)| *shard)
    }
}
