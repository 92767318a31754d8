//! The decisions of a feed: a state machine without I/O and without a clock.
//!
//! The driver takes work from [`poll_work`](Machine::poll_work), executes it, and passes the answer
//! to [`finish`](Machine::finish). The consumer [takes](Machine::take) events and
//! [acknowledges](Machine::acknowledge) them.
//!
//! ```text
//! news, scans ─► look-ups ─► places ─► reads ─► ready ─► handed out ─► acknowledged ─► written
//!                                        └─────── in flight: bounded ───────┘
//! ```
//!
//! Each part owns its state: [`Shards`] the leases, [`LookUps`] the search for conversations that
//! have news, [`Places`] the cursor and the outstanding events of each conversation, [`Reads`] the
//! reads of logs, [`Delivery`] the events in flight, [`CursorWrites`] the writes of cursors. The
//! machine combines them: `poll` starts work, `finish` handles its results.

mod backoff;
mod cursor_writes;
mod delivery;
mod finish;
mod look_ups;
mod place;
mod places;
mod poll;
mod reads;
mod shards;
mod unique_queue;
mod work;

#[cfg(test)]
mod tests;

use std::time::Instant;

use tokio::sync::oneshot;

use self::cursor_writes::CursorWrites;
use self::delivery::Delivery;
use self::look_ups::LookUps;
use self::places::Places;
use self::reads::Reads;
use self::shards::Shards;
pub(super) use self::work::{CursorMoves, LeaseAnswer, LeaseWork, LogRead, LookUp, Positions, Read, Work, WorkAnswer};
use super::options::{FeedOptions, FeedScope};
use crate::model::{ConversationId, Event, Seq};
use crate::store::{FeedLease, FeedShard};

/// State machine of a feed on one node; see the [module documentation](self).
#[derive(Debug)]
pub(super) struct Machine {
    shards: Shards,
    look_ups: LookUps,
    places: Places,
    reads: Reads,
    delivery: Delivery,
    cursors: CursorWrites,
    phase: Phase,
}

/// Phases of a feed, in their order.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The feed hands out events.
    Open,
    /// The feed hands out no more events, records the acknowledgements in the store, and waits
    /// until `deadline` for the items that the consumer has.
    Closing { deadline: Instant },
    /// The driver has ended, and the node works on no shard of the feed.
    Ended,
}

impl Machine {
    pub(super) fn new(options: &FeedOptions, now: Instant) -> Self {
        let is_of_user = matches!(options.scope, FeedScope::User(_));
        Self {
            shards: Shards::new(options.lease_ttl, now),
            look_ups: LookUps::new(is_of_user, now),
            places: Places::new((options.max_in_flight / 4).max(1)),
            reads: Reads::new(now),
            delivery: Delivery::new(options.max_in_flight),
            cursors: CursorWrites::new(options.flush_interval, now),
            phase: Phase::Open,
        }
    }

    /// Takes the next event to hand out, with the term of its lease, or returns `None` if no event
    /// can be handed out now.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Event, u64)> {
        match self.phase {
            Phase::Open => self.delivery.take(&self.shards, now),
            Phase::Closing { .. } | Phase::Ended => None,
        }
    }

    /// Returns whether events wait to be handed out.
    pub(super) fn has_ready(&self) -> bool {
        self.delivery.has_ready()
    }

    /// Acknowledges an event that was handed out under this term. Does nothing if the node no
    /// longer holds the lease with this term.
    pub(super) fn acknowledge(&mut self, now: Instant, conversation: ConversationId, seq: Seq, term: u64) {
        if self.shards.term_of(conversation) != Some(term) {
            return;
        }
        let Some(place) = self.places.get_mut(conversation) else {
            return;
        };
        if place.acknowledge(seq) {
            self.delivery.subtract_in_flight(1);
        }
        if place.unrecorded().is_some() {
            let is_awaited = place.is_awaited();
            self.cursors.push(now, conversation);
            if is_awaited || matches!(self.phase, Phase::Closing { .. }) {
                self.cursors.request_flush(now);
            }
        }
        self.queue_read(conversation);
    }

    /// Acknowledges an event. Returns a receiver that completes when the store has recorded the
    /// acknowledgement, and fails if the lease is lost first; or `None` if the lease is lost
    /// already.
    pub(super) fn acknowledge_durably(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        seq: Seq,
        term: u64,
    ) -> Option<oneshot::Receiver<()>> {
        self.acknowledge(now, conversation, seq, term);
        if self.shards.term_of(conversation) != Some(term) {
            return None;
        }
        let recorded = self.places.get_mut(conversation)?.wait_for(seq);
        self.cursors.request_flush(now);
        Some(recorded)
    }

    /// Records that the consumer acknowledged or dropped an item. Returns whether the feed is
    /// closing, and so may have waited for this.
    pub(super) fn item_returned(&mut self) -> bool {
        self.delivery.item_returned();
        matches!(self.phase, Phase::Closing { .. })
    }

    /// Stops handing out events. The leases are renewed and acknowledgements recorded until the
    /// consumer has no item and every cursor is recorded, but at most until `deadline`.
    pub(super) fn close(&mut self, now: Instant, deadline: Instant) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Closing { deadline };
            self.cursors.request_flush(now);
        }
    }

    /// Returns whether the driver can end: the feed is closing and has nothing left to do but to
    /// release its leases, or the deadline of the closing has passed, or the feed has ended.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Open => false,
            // A running round of lease changes may claim or renew leases; once it has ended, all
            // leases are known.
            Phase::Closing { deadline } => now >= deadline || (self.is_settled() && !self.shards.is_round_running()),
            Phase::Ended => true,
        }
    }

    /// Returns whether the consumer has no item, and every cursor is recorded in the store.
    fn is_settled(&self) -> bool {
        !self.delivery.has_handed_out() && self.cursors.is_idle()
    }

    /// Returns every lease, to be released at the end.
    pub(super) fn leases(&self) -> Vec<FeedLease> {
        self.shards.leases()
    }

    /// Ends the feed. Every call of [`FeedItem::acknowledge`](super::FeedItem::acknowledge) that
    /// waits or follows fails with [`NotRecorded`](super::NotRecorded).
    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        self.shards.clear();
        self.places.clear();
        self.delivery.clear();
    }

    /// Queues a conversation to be read if it has events that can be read now.
    fn queue_read(&mut self, conversation: ConversationId) {
        if self.places.wants_read(conversation) {
            self.reads.push(conversation);
        }
    }

    /// Removes the lease of a shard, which was lost or released, and the state of the shard.
    fn lease_ended(&mut self, lease: &FeedLease) {
        if !self.shards.remove(lease) {
            return;
        }
        let shard = lease.shard;
        self.look_ups.remove_shard(shard);
        self.reads.remove_shard(shard);
        self.cursors.remove_shard(shard);
        self.delivery.withdraw(shard);
        self.delivery.subtract_in_flight(self.places.remove_shard(shard));
    }

    /// Discards the events of a shard that were read and not handed out, because the node is
    /// leaving the shard.
    fn discard_ready(&mut self, shard: FeedShard) {
        let first = self.delivery.withdraw(shard);
        self.delivery.subtract_in_flight(self.places.rewind(shard, &first));
    }
}
