//! [`UniqueQueue`]: a queue of conversations without repetitions.

use std::collections::{HashSet, VecDeque};

use crate::model::ConversationId;
use crate::store::FeedShard;

/// First-in, first-out queue that holds each conversation at most once. Adding a conversation that
/// is in the queue does not move it, so the order is fair.
#[derive(Debug, Default)]
pub(super) struct UniqueQueue {
    order: VecDeque<ConversationId>,
    queued: HashSet<ConversationId>,
}

impl UniqueQueue {
    /// Adds a conversation at the end, unless the queue holds it.
    pub(super) fn push(&mut self, conversation: ConversationId) {
        if self.queued.insert(conversation) {
            self.order.push_back(conversation);
        }
    }

    pub(super) fn pop(&mut self) -> Option<ConversationId> {
        let conversation = self.order.pop_front()?;
        self.queued.remove(&conversation);
        Some(conversation)
    }

    pub(super) fn contains(&self, conversation: ConversationId) -> bool {
        self.queued.contains(&conversation)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Removes the conversations of a shard.
    pub(super) fn remove_shard(&mut self, shard: FeedShard) {
        self.order.retain(|conversation| FeedShard::of(*conversation) != shard);
        self.queued.retain(|conversation| FeedShard::of(*conversation) != shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_holds_each_conversation_once_in_order_until_it_is_popped_or_its_shard_removed() {
        let mut queue = UniqueQueue::default();
        for id in [3, 1, 3, 2, 1] {
            queue.push(ConversationId(id));
        }
        queue.remove_shard(FeedShard::of(ConversationId(1)));
        queue.push(ConversationId(3));
        assert_eq!((queue.len(), queue.contains(ConversationId(1))), (2, false));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(popped, [ConversationId(3), ConversationId(2)]);
        queue.push(ConversationId(3));
        assert!(!queue.is_empty());
    }
}
