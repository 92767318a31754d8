//! The part of the machine that handles news of the router and starts work.

use std::time::Instant;

use super::work::{Read, Work};
use super::{Machine, Phase};
use crate::model::{ConversationId, Seq};
use crate::router::News;

/// Maximum number of events in one read.
const MAX_EVENTS_IN_READ: usize = 64;

impl Machine {
    /// Handles news of the router.
    pub(in crate::engine::feed) fn handle_news(&mut self, news: &News) {
        for conversation in &news.joined {
            if self.look_ups.joined(*conversation) && self.shards.works_on(*conversation) {
                self.look_ups.push(*conversation);
            }
        }
        for (conversation, last_seq) in &news.grown {
            if self.shards.works_on(*conversation) && self.look_ups.concerns(*conversation, *last_seq) {
                self.grown(*conversation, *last_seq);
            }
        }
        if news.may_be_incomplete {
            self.look_ups.request_scan();
        }
    }

    fn grown(&mut self, conversation: ConversationId, last_seq: Seq) {
        match self.places.get_mut(conversation) {
            Some(place) => {
                place.grown(last_seq);
                self.queue_read(conversation);
            }
            None => self.look_ups.push(conversation),
        }
    }

    /// Returns all work that can start now.
    pub(in crate::engine::feed) fn poll_work(&mut self, now: Instant) -> Vec<Work> {
        let is_open = match self.phase {
            Phase::Open => true,
            Phase::Closing { .. } => false,
            Phase::Ended => return Vec::new(),
        };
        let cursors = self.cursors.start(now, &mut self.places, &self.shards);
        let mut work: Vec<Work> = cursors.map(Work::Record).into_iter().collect();
        if self.shards.due().is_some_and(|due| due <= now) && (is_open || !self.is_settled()) {
            let places = &self.places;
            let leases = self.shards.start_round(is_open, |shard| places.is_settled(shard));
            work.push(Work::Leases(leases));
        }
        if is_open {
            work.extend(self.poll_look_up(now));
            work.extend(std::iter::from_fn(|| self.poll_read(now)).map(Work::Read));
        }
        work
    }

    fn poll_look_up(&mut self, now: Instant) -> Option<Work> {
        if !self.look_ups.may_start(now) {
            return None;
        }
        let shards = self.shards.working();
        if shards.is_empty() || !self.places.make_room() {
            return None;
        }
        self.look_ups.start(now, shards).map(Work::LookUp)
    }

    fn poll_read(&mut self, now: Instant) -> Option<Read> {
        let room = self.delivery.room().min(MAX_EVENTS_IN_READ);
        if room == 0 {
            return None;
        }
        loop {
            let conversation = self.reads.pop(now)?;
            if !self.shards.works_on(conversation) {
                continue;
            }
            let number = self.reads.next_number();
            if let Some((after, max_events)) = self.places.start_read(conversation, number, room) {
                self.reads.started();
                self.delivery.reserve(max_events);
                return Some(Read {
                    conversation,
                    after,
                    max_events,
                    number,
                });
            }
        }
    }

    /// Returns the next time at which the driver has to call [`poll_work`](Self::poll_work) and
    /// [`is_drained`](Self::is_drained) even if nothing happens before. Must be called right after
    /// `poll_work`: work that is due but was not returned waits for a result, an acknowledgement or
    /// news, and not for a time.
    pub(in crate::engine::feed) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let (cursors, leases) = (self.cursors.timeout(), self.shards.due());
        let mut timeouts = vec![cursors, leases];
        match self.phase {
            Phase::Open => {
                if !self.shards.working().is_empty() {
                    timeouts.extend(self.look_ups.timeouts());
                }
                timeouts.extend((self.delivery.room() > 0).then(|| self.reads.timeout()));
            }
            Phase::Closing { deadline } => timeouts.push(Some(deadline)),
            Phase::Ended => return None,
        }
        timeouts.into_iter().flatten().filter(|at| *at > now).min()
    }
}
