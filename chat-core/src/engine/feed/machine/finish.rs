//! The part of the machine that handles the results of work.

use std::time::Instant;

use super::work::{CursorMoves, LeaseAnswer, LogRead, LookUp, Positions, Read, WorkAnswer};
use super::{Machine, Phase};
use crate::engine::error::CommandError;

impl Machine {
    /// Handles the answer to a piece of work.
    pub(in crate::engine::feed) fn finish(&mut self, now: Instant, answer: WorkAnswer) {
        match answer {
            WorkAnswer::Leases(answer) => self.leases_finished(now, answer),
            WorkAnswer::LookUp(look_up, answer) => self.look_up_finished(now, look_up, answer),
            WorkAnswer::Read(read, answer) => self.read_finished(now, read, answer),
            WorkAnswer::Record(moves, answer) => self.cursors_recorded(now, moves, answer),
        }
    }

    fn leases_finished(&mut self, now: Instant, answer: Result<LeaseAnswer, CommandError>) {
        let Ok(answer) = answer else {
            self.shards.round_failed(now);
            return;
        };
        for lease in answer.lost.iter().chain(&answer.released) {
            self.lease_ended(lease);
        }
        for lease in answer.renewed {
            self.shards.renewed(lease, answer.requested_at);
        }
        for lease in answer.claimed {
            // An earlier lease of the same shard has ended.
            if let Some(earlier) = self.shards.lease_of_shard(lease.shard).cloned() {
                self.lease_ended(&earlier);
            }
            self.shards
                .claimed(lease, answer.requested_at, self.look_ups.next_number());
            self.look_ups.rescan(now);
        }
        let (newly_leaving, kept) = self.shards.set_leaving_count(answer.surplus);
        for shard in newly_leaving {
            self.discard_ready(shard);
        }
        if !kept.is_empty() {
            for conversation in self.places.of_shards(&kept) {
                self.queue_read(conversation);
            }
            // While the node was leaving these shards, it ignored that logs in them had grown.
            self.look_ups.rescan(now);
        }
        self.shards.round_succeeded(now);
        self.release_soon(now);
    }

    /// Lets the next round of leases start at once if the node can now release a shard that it is
    /// leaving.
    fn release_soon(&mut self, now: Instant) {
        let places = &self.places;
        self.shards.release_soon(now, |shard| places.is_settled(shard));
    }

    fn look_up_finished(&mut self, now: Instant, look_up: LookUp, answer: Result<Positions, CommandError>) {
        let Ok(found) = answer else {
            self.look_ups.failed(now, look_up);
            return;
        };
        self.look_ups.succeeded(now, &look_up, &found);
        let number = self.look_ups.last_number();
        for position in found.positions {
            let conversation = position.conversation;
            if self.shards.works_since(conversation, number) {
                self.places.found(position);
                self.queue_read(conversation);
            }
        }
    }

    fn read_finished(&mut self, now: Instant, read: Read, answer: Result<LogRead, CommandError>) {
        let conversation = read.conversation;
        self.reads.finished();
        self.delivery.unreserve(read.max_events);
        let term = self.shards.term_of(conversation);
        let (Some(place), Some(term)) = (self.places.get_mut(conversation), term) else {
            return;
        };
        if !place.is_reading(read.number) {
            return;
        }
        match answer {
            Ok(found) => {
                self.reads.succeeded();
                place.read_finished(found.events.iter().map(|event| event.seq), found.is_end);
                let is_readable = !found.events.is_empty();
                // If the log grew during the read, another read follows, and its result decides.
                if is_readable || place.is_at_end() {
                    self.look_ups.record_readability(conversation, is_readable);
                }
                self.delivery.add(found.events, term);
            }
            Err(_) => {
                place.read_failed();
                self.reads.failed(now);
            }
        }
        self.queue_read(conversation);
    }

    /// Handles the answer to a write of cursors, which says for each lease whether the node still
    /// held it.
    fn cursors_recorded(&mut self, now: Instant, moves: Vec<CursorMoves>, answer: Result<Vec<bool>, CommandError>) {
        let Ok(held) = answer else {
            self.cursors.failed(now, moves);
            return;
        };
        let mut moved = Vec::new();
        for (moves, is_held) in moves.into_iter().zip(held) {
            if !is_held {
                self.lease_ended(&moves.lease);
                continue;
            }
            for (conversation, cursor) in moves.cursors {
                // The place may belong to a later lease; the cursor is recorded in the store
                // nevertheless.
                if let Some(place) = self.places.get_mut(conversation) {
                    place.recorded(cursor);
                    moved.extend(place.unrecorded().map(|_| conversation));
                }
            }
        }
        self.cursors.succeeded(now, moved);
        if matches!(self.phase, Phase::Closing { .. }) {
            self.cursors.request_flush(now);
        }
        self.release_soon(now);
    }
}
