//! [`Delivery`]: the events that wait to be handed out, and the bounded number of events in flight.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::shards::Shards;
use crate::model::{ConversationId, Event, Seq};
use crate::store::FeedShard;

/// Events that wait to be handed out, and the number of events in flight: those that were read and
/// not acknowledged. That number is bounded: a consumer that is slow or acknowledges nothing stops
/// further reads, so memory use does not grow.
#[derive(Debug)]
pub(super) struct Delivery {
    max_in_flight: usize,
    /// Events to hand out, each with the term of its lease.
    ready: VecDeque<(Event, u64)>,
    /// Number of events that were read and not acknowledged.
    in_flight: usize,
    /// Maximum number of events that the running reads may return.
    reserved: usize,
    /// Number of items that the consumer has.
    handed_out: usize,
}

impl Delivery {
    pub(super) fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            ready: VecDeque::new(),
            in_flight: 0,
            reserved: 0,
            handed_out: 0,
        }
    }

    /// Returns the number of further events that may be read.
    pub(super) fn room(&self) -> usize {
        self.max_in_flight.saturating_sub(self.in_flight_or_reserved())
    }

    /// Returns the number of events that are in flight, or may be once the running reads end.
    pub(super) fn in_flight_or_reserved(&self) -> usize {
        self.in_flight + self.reserved
    }

    /// Reserves room for the events of a starting read.
    pub(super) fn reserve(&mut self, events: usize) {
        self.reserved += events;
    }

    /// Releases the room of a read that has ended.
    pub(super) fn unreserve(&mut self, events: usize) {
        self.reserved -= events;
    }

    /// Adds events that were read under the lease with this term.
    pub(super) fn add(&mut self, events: Vec<Event>, term: u64) {
        self.in_flight += events.len();
        self.ready.extend(events.into_iter().map(|event| (event, term)));
    }

    /// Takes the next event whose lease is valid at `now`. Events of a shard whose lease may have
    /// expired wait for the renewal.
    pub(super) fn take(&mut self, shards: &Shards, now: Instant) -> Option<(Event, u64)> {
        let may_take = |(event, term): &(Event, u64)| {
            let shard = FeedShard::of(event.conversation);
            shards.may_hand_out(shard, *term, now)
        };
        let index = self.ready.iter().position(may_take)?;
        self.handed_out += 1;
        self.ready.remove(index)
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Subtracts events that were acknowledged or discarded from the number in flight.
    pub(super) fn subtract_in_flight(&mut self, events: usize) {
        self.in_flight -= events;
    }

    pub(super) fn item_returned(&mut self) {
        self.handed_out -= 1;
    }

    pub(super) fn has_handed_out(&self) -> bool {
        self.handed_out > 0
    }

    /// Removes the events of a shard that were not handed out. Returns the first of them in each
    /// conversation.
    pub(super) fn withdraw(&mut self, shard: FeedShard) -> HashMap<ConversationId, Seq> {
        let mut first = HashMap::new();
        self.ready.retain(|(event, _)| {
            let is_kept = FeedShard::of(event.conversation) != shard;
            if !is_kept {
                first.entry(event.conversation).or_insert(event.seq);
            }
            is_kept
        });
        first
    }

    /// Removes all events. The consumer may still return the items that it has.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.in_flight = 0;
    }
}
