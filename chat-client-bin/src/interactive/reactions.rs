//! Counts of the reactions to the messages that were received or printed.

use std::collections::{BTreeMap, BTreeSet};

use chat_core::model::{ConversationId, Seq, UserId};

/// Maximum number of messages whose reactions are counted.
const MAX_MESSAGES: usize = 2000;

type Key = (ConversationId, Seq);

/// Reactions to the messages that were received or printed in this run. They come later in the log
/// than the messages, so all of them are known, except one that arrives while its message is being
/// printed from the log. Reactions to other messages are unknown.
#[derive(Debug, Default)]
pub(super) struct Reactions {
    messages: BTreeMap<Key, BTreeMap<String, BTreeSet<UserId>>>,
}

impl Reactions {
    /// Records a message, so that its reactions are counted. Forgets all others if there are too
    /// many.
    pub(super) fn add_message(&mut self, key: Key) {
        if self.messages.len() >= MAX_MESSAGES {
            self.messages.clear(); // the reactions to these messages are unknown from now on
        }
        self.messages.entry(key).or_default();
    }

    /// Records that a user has added a reaction to a message, or removed it.
    pub(super) fn react(&mut self, key: Key, emoji: &str, user: UserId, removed: bool) {
        let Some(reactions) = self.messages.get_mut(&key) else {
            return;
        };
        let users = reactions.entry(emoji.to_owned()).or_default();
        if removed {
            users.remove(&user);
        } else {
            users.insert(user);
        }
    }

    /// Returns the reactions to a message with their counts, in the order of the code points of the
    /// emoji, such as `🎉 1, 👍 2`. Returns `None` if the reactions are unknown, or there are fewer
    /// than two.
    pub(super) fn summary(&self, key: Key) -> Option<String> {
        let reactions = self.messages.get(&key)?;
        if reactions.values().map(BTreeSet::len).sum::<usize>() < 2 {
            return None;
        }
        let present = reactions.iter().filter(|(_, users)| !users.is_empty());
        let counts: Vec<_> = present
            .map(|(emoji, users)| format!("{emoji} {}", users.len()))
            .collect();
        Some(counts.join(", "))
    }

    /// Forgets all messages, because the server was restored from a backup: their sequence numbers
    /// may denote other messages now.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (ConversationId(1), Seq(7));

    #[test]
    fn repeated_reaction_of_a_user_counts_once() {
        let mut reactions = Reactions::default();
        reactions.add_message(KEY);
        reactions.react(KEY, "👍", UserId(1), false);
        reactions.react(KEY, "👍", UserId(1), false);
        assert_eq!(reactions.summary(KEY), None);
        reactions.react(KEY, "👍", UserId(2), false);
        reactions.react(KEY, "🎉", UserId(2), false);
        assert_eq!(reactions.summary(KEY).as_deref(), Some("🎉 1, 👍 2"));
        reactions.react(KEY, "🎉", UserId(2), true);
        assert_eq!(reactions.summary(KEY).as_deref(), Some("👍 2"));
    }

    #[test]
    fn reactions_to_an_older_message_are_unknown() {
        let mut reactions = Reactions::default();
        for user in 1..=3 {
            reactions.react(KEY, "👍", UserId(user), false);
        }
        assert_eq!(reactions.summary(KEY), None);
    }
}
