//! The other members who have read the user's last message.

use std::collections::BTreeMap;

use chat_core::model::{ConversationId, Seq, UserId};

/// Maximum number of members who are named.
const MAX_NAMED: usize = 2;

/// The user's last message in a conversation, while no other message follows it.
#[derive(Debug)]
struct OwnMessage {
    seq: Seq,
    /// Names of the members who have read the message.
    readers: BTreeMap<UserId, String>,
}

/// The user's last message in each conversation, with the members who have read it. It is forgotten
/// once another member writes.
#[derive(Debug, Default)]
pub(super) struct ReadReceipts {
    messages: BTreeMap<ConversationId, OwnMessage>,
}

impl ReadReceipts {
    /// Records a new message. `own` marks a message of the user.
    pub(super) fn message_arrived(&mut self, conversation: ConversationId, seq: Seq, own: bool) {
        if own {
            let message = OwnMessage {
                seq,
                readers: BTreeMap::new(),
            };
            self.messages.insert(conversation, message);
        } else {
            self.messages.remove(&conversation);
        }
    }

    /// Records that another member has read the events up to `read_seq`.
    pub(super) fn member_read(&mut self, conversation: ConversationId, read_seq: Seq, user: UserId, name: String) {
        if let Some(message) = self.messages.get_mut(&conversation)
            && read_seq >= message.seq
        {
            message.readers.insert(user, name);
        }
    }

    /// Forgets all messages, because the server was restored from a backup, and their ids may
    /// denote other conversations now.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    /// Says who has read the user's last message in a conversation; empty if no member has, or
    /// another member has written since.
    pub(super) fn text(&self, conversation: ConversationId) -> String {
        let Some(message) = self.messages.get(&conversation) else {
            return String::new();
        };
        let names: Vec<_> = message.readers.values().map(String::as_str).collect();
        match names.len() {
            0 => String::new(),
            1..=MAX_NAMED => format!("read by {}", names.join(" and ")),
            count => format!("read by {count} members"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_the_last_own_message_are_named_until_another_member_writes() {
        let (here, there) = (ConversationId(1), ConversationId(2));
        let mut receipts = ReadReceipts::default();
        let read = |receipts: &mut ReadReceipts, seq, user, name: &str| {
            receipts.member_read(here, Seq(seq), UserId(user), name.to_owned());
        };
        read(&mut receipts, 9, 1, "bob");
        assert_eq!(receipts.text(here), "", "the user has sent nothing");
        receipts.message_arrived(here, Seq(5), true);
        read(&mut receipts, 4, 1, "bob");
        assert_eq!(receipts.text(here), "", "bob has read earlier events only");
        read(&mut receipts, 5, 1, "bob");
        assert_eq!(receipts.text(here), "read by bob");
        assert_eq!(receipts.text(there), "");
        read(&mut receipts, 6, 2, "carol");
        assert_eq!(receipts.text(here), "read by bob and carol");
        read(&mut receipts, 6, 3, "dave");
        assert_eq!(receipts.text(here), "read by 3 members");
        receipts.message_arrived(here, Seq(7), true);
        assert_eq!(receipts.text(here), "", "nobody has read the new message");
        read(&mut receipts, 7, 1, "bob");
        receipts.message_arrived(here, Seq(8), false);
        assert_eq!(receipts.text(here), "", "the reply says that the message was read");
    }
}
