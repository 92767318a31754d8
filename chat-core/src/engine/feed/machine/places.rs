//! [`Places`]: the feed's place in each conversation that it works on.

use std::collections::HashMap;

use super::place::Place;
use crate::model::{ConversationId, Seq};
use crate::store::{FeedPosition, FeedShard};

/// If there are this many places, the next look-up starts only after idle places were dropped, and
/// waits if none is idle.
const MAX_PLACES: usize = 4096;

/// The places in memory.
///
/// A place is kept while events of its conversation are to be read or in flight, and longer if
/// there is room, to avoid another look-up. For a conversation without a place, the cursor in the
/// store is current. So a place must be created only from a look-up that started after the previous
/// place of the conversation was dropped. Therefore places are dropped only while no look-up runs,
/// or together with the lease of their shard.
#[derive(Debug)]
pub(super) struct Places {
    by_conversation: HashMap<ConversationId, Place>,
    /// Maximum number of outstanding events of one [`Place`].
    max_in_conversation: usize,
}

impl Places {
    pub(super) fn new(max_in_conversation: usize) -> Self {
        Self {
            by_conversation: HashMap::new(),
            max_in_conversation,
        }
    }

    pub(super) fn get_mut(&mut self, conversation: ConversationId) -> Option<&mut Place> {
        self.by_conversation.get_mut(&conversation)
    }

    /// Makes room for the places that a look-up finds. Returns `false` if there is no room. Must
    /// not be called while a look-up runs.
    pub(super) fn make_room(&mut self) -> bool {
        if self.by_conversation.len() >= MAX_PLACES {
            self.by_conversation.retain(|_, place| !place.is_idle());
        }
        self.by_conversation.len() < MAX_PLACES
    }

    /// Updates or creates the place at a position that a look-up found.
    pub(super) fn found(&mut self, position: FeedPosition) {
        let place = self.by_conversation.entry(position.conversation);
        let place = place.or_insert_with(|| Place::new(position.cursor, position.last_seq));
        place.grown(position.last_seq);
    }

    /// Returns whether events of the conversation can be read now.
    pub(super) fn wants_read(&self, conversation: ConversationId) -> bool {
        let place = self.by_conversation.get(&conversation);
        place.is_some_and(|place| place.wants_read(self.max_in_conversation))
    }

    /// Starts a read of at most `max_events` events. Returns the `Seq` to read after and the number
    /// of events to read, or `None` if there is nothing to read.
    pub(super) fn start_read(
        &mut self,
        conversation: ConversationId,
        number: u64,
        max_events: usize,
    ) -> Option<(Seq, usize)> {
        if !self.wants_read(conversation) {
            return None;
        }
        let max_in_conversation = self.max_in_conversation;
        let place = self.by_conversation.get_mut(&conversation)?;
        let max_events = max_events.min(place.room(max_in_conversation));
        Some((place.read_started(number), max_events))
    }

    /// Drops the places of a shard whose lease has ended. Returns the number of their events that
    /// were in flight.
    pub(super) fn remove_shard(&mut self, shard: FeedShard) -> usize {
        let of_shard = |id: &ConversationId, _: &mut Place| FeedShard::of(*id) == shard;
        let removed = self.by_conversation.extract_if(of_shard);
        removed.map(|(_, place)| place.unacknowledged()).sum()
    }

    /// Forgets the events of a shard that were read from the log and not handed out, so that they
    /// are read again; `first` has the first of them in each conversation. Returns their number.
    /// The results of running reads of the shard will be ignored.
    pub(super) fn rewind(&mut self, shard: FeedShard, first: &HashMap<ConversationId, Seq>) -> usize {
        let places = self.by_conversation.iter_mut();
        let of_shard = places.filter(|(conversation, _)| FeedShard::of(**conversation) == shard);
        of_shard
            .map(|(conversation, place)| place.rewind_to(first.get(conversation).copied()))
            .sum()
    }

    /// Returns whether no event of a shard is in flight and all its cursors are recorded in the
    /// store.
    pub(super) fn is_settled(&self, shard: FeedShard) -> bool {
        let mut places = self.by_conversation.iter();
        places.all(|(conversation, place)| FeedShard::of(*conversation) != shard || place.is_settled())
    }

    /// Returns the conversations of these shards that have places.
    pub(super) fn of_shards(&self, shards: &[FeedShard]) -> Vec<ConversationId> {
        let conversations = self.by_conversation.keys().copied();
        conversations
            .filter(|id| shards.contains(&FeedShard::of(*id)))
            .collect()
    }

    /// Drops all places. Consumers that wait for acknowledgements get
    /// [`NotRecorded`](crate::engine::feed::NotRecorded).
    pub(super) fn clear(&mut self) {
        self.by_conversation.clear();
    }
}
