//! Lines of the messages that the user typed. They appear among the other events, once they are
//! stored.

use std::collections::{BTreeSet, VecDeque};

use chat_core::model::{ConversationId, Seq};

/// Maximum number of lines that wait until it is known whether they were typed in this run.
const MAX_HELD: usize = 64;

type Key = (ConversationId, Seq);

/// Decides which messages of this device are printed. Until the client has caught up, the events
/// that arrive contain messages of earlier runs, which are not printed.
#[derive(Debug, Default)]
pub(super) struct OwnMessages {
    /// Lines of messages that arrived before the client had caught up, in the order of their
    /// arrival. A line is printed once it is known that the message was typed in this run. If there
    /// are more than [`MAX_HELD`] lines, the oldest is dropped.
    held: VecDeque<(Key, String)>,
    /// Messages typed in this run whose outcome came before the client had caught up, and that have
    /// not arrived.
    stored: BTreeSet<Key>,
}

impl OwnMessages {
    /// Takes the line of a message that has arrived. Returns the line if it is to be printed now.
    pub(super) fn arrived(&mut self, key: Key, line: String, has_caught_up: bool) -> Option<String> {
        if self.stored.remove(&key) || has_caught_up {
            return Some(line);
        }
        self.held.push_back((key, line));
        if self.held.len() > MAX_HELD {
            self.held.pop_front();
        }
        None
    }

    /// Records that a message typed in this run is stored. Returns its line if the line is to be
    /// printed now; otherwise it has been printed already, or is printed when the message arrives.
    /// A line that was dropped because there were too many is never printed.
    pub(super) fn stored(&mut self, key: Key, has_caught_up: bool) -> Option<String> {
        let held = self.held.iter().position(|(held, _)| *held == key);
        let held = held.and_then(|at| self.held.remove(at)).map(|(_, line)| line);
        if held.is_none() && !has_caught_up {
            self.stored.insert(key);
        }
        held
    }

    /// Forgets all messages, because the server was restored from a backup.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (ConversationId(1), Seq(7));

    #[test]
    fn typed_message_is_printed_once_in_every_order() {
        let line = || "hi".to_owned();
        let mut own = OwnMessages::default();
        assert_eq!(own.arrived(KEY, line(), true), Some(line()));
        assert_eq!(own.stored(KEY, true), None);
        // Before the client has caught up, the outcome says that the message was typed.
        let mut own = OwnMessages::default();
        assert_eq!(own.arrived(KEY, line(), false), None);
        assert_eq!(own.stored(KEY, true), Some(line()));
        let mut own = OwnMessages::default();
        assert_eq!(own.stored(KEY, false), None);
        assert_eq!(own.arrived(KEY, line(), false), Some(line()));
    }

    #[test]
    fn messages_of_earlier_runs_are_not_kept_without_a_limit() {
        let mut own = OwnMessages::default();
        for seq in 1..=1000 {
            assert_eq!(own.arrived((ConversationId(1), Seq(seq)), "hi".into(), false), None);
        }
        assert_eq!(own.held.len(), MAX_HELD);
        assert!(own.stored((ConversationId(1), Seq(1000)), true).is_some());
    }

    /// The dropped line is the one that arrived first, not the one with the lowest key.
    #[test]
    fn message_that_arrived_first_is_dropped_first() {
        let mut own = OwnMessages::default();
        for seq in 1..=MAX_HELD as u64 {
            assert_eq!(own.arrived((ConversationId(9), Seq(seq)), "old".into(), false), None);
        }
        assert_eq!(own.arrived(KEY, "hi".into(), false), None);
        assert_eq!(own.stored(KEY, true), Some("hi".to_owned()));
        assert_eq!(own.stored((ConversationId(9), Seq(1)), true), None);
        assert!(own.stored((ConversationId(9), Seq(2)), true).is_some());
    }
}
