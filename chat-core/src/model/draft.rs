//! Drafts: messages, edits, recalls and reactions before the engine has stored them.

use super::{ClientMessageId, Emoji, MessageText, Seq, UserId};

/// Content that a user wants to append to a conversation: not yet numbered, not yet stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draft {
    /// Idempotency key, unique per sender. A draft that is sent again with its key is stored only
    /// once; other content with a used key is refused.
    pub client_message_id: ClientMessageId,
    /// Content to append.
    pub content: DraftContent,
}

/// Content of a [`Draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum DraftContent {
    /// A text message.
    Message {
        /// Text, stored byte for byte.
        text: MessageText,
        /// The message that this one answers.
        reply_to: Option<Seq>,
        /// Members who are mentioned.
        mentions: Vec<UserId>,
        /// True to mention all members.
        mention_all: bool,
    },
    /// New text for a message of the sender.
    Edit {
        target: Seq,
        /// New text of the message.
        text: MessageText,
    },
    /// Recall of a message: its text is erased.
    Recall { target: Seq },
    /// A reaction to add to a message, or to remove from it.
    React {
        target: Seq,
        emoji: Emoji,
        /// True to remove the reaction, false to add it.
        remove: bool,
    },
}

impl DraftContent {
    /// Returns a message without reply and mentions.
    #[must_use]
    pub const fn text(text: MessageText) -> Self {
        Self::Message {
            text,
            reply_to: None,
            mentions: Vec::new(),
            mention_all: false,
        }
    }
}

impl From<DraftContent> for Draft {
    /// Creates a draft with a fresh idempotency key.
    fn from(content: DraftContent) -> Self {
        Self {
            client_message_id: ClientMessageId::random(),
            content,
        }
    }
}

impl Draft {
    /// Returns the text that readers would see: that of a message or of an edit. Returns `None` for
    /// a recall or a reaction.
    #[must_use]
    pub const fn written_text(&self) -> Option<&MessageText> {
        match &self.content {
            DraftContent::Message { text, .. } | DraftContent::Edit { text, .. } => Some(text),
            DraftContent::Recall { .. } | DraftContent::React { .. } => None,
        }
    }

    /// Returns the same text as [`written_text`](Self::written_text), to change it.
    pub const fn written_text_mut(&mut self) -> Option<&mut MessageText> {
        match &mut self.content {
            DraftContent::Message { text, .. } | DraftContent::Edit { text, .. } => Some(text),
            DraftContent::Recall { .. } | DraftContent::React { .. } => None,
        }
    }

    /// Returns a text message with a fresh idempotency key.
    #[must_use]
    pub fn text(text: MessageText) -> Self {
        DraftContent::text(text).into()
    }

    /// Returns an edit of the message at `target`, with a fresh idempotency key.
    #[must_use]
    pub fn edit(target: Seq, text: MessageText) -> Self {
        DraftContent::Edit { target, text }.into()
    }

    /// Returns a recall of the message at `target`, with a fresh idempotency key.
    #[must_use]
    pub fn recall(target: Seq) -> Self {
        DraftContent::Recall { target }.into()
    }

    /// Returns a reaction to the message at `target`, with a fresh idempotency key.
    #[must_use]
    pub fn react(target: Seq, emoji: Emoji) -> Self {
        let remove = false;
        DraftContent::React { target, emoji, remove }.into()
    }

    /// Returns the removal of a reaction to the message at `target`, with a fresh idempotency key.
    #[must_use]
    pub fn unreact(target: Seq, emoji: Emoji) -> Self {
        let remove = true;
        DraftContent::React { target, emoji, remove }.into()
    }

    /// Makes the message an answer to the one at `target`. Has no effect on a draft that is not a
    /// message.
    #[must_use]
    pub fn reply_to(mut self, target: Seq) -> Self {
        if let DraftContent::Message { reply_to, .. } = &mut self.content {
            *reply_to = Some(target);
        }
        self
    }

    /// Mentions `users` in the message. Has no effect on a draft that is not a message.
    #[must_use]
    pub fn mention(mut self, users: impl IntoIterator<Item = UserId>) -> Self {
        if let DraftContent::Message { mentions, .. } = &mut self.content {
            mentions.extend(users);
        }
        self
    }

    /// Mentions all members in the message. Has no effect on a draft that is not a message.
    #[must_use]
    pub fn mention_all(mut self) -> Self {
        if let DraftContent::Message { mention_all, .. } = &mut self.content {
            *mention_all = true;
        }
        self
    }

    /// Replaces the idempotency key.
    #[must_use]
    pub fn with_id(mut self, id: ClientMessageId) -> Self {
        self.client_message_id = id;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft_options_change_messages_only() {
        let text = || MessageText::new("hi").unwrap();
        let draft = Draft::text(text())
            .reply_to(Seq(3))
            .mention([UserId(1)])
            .mention([UserId(2)])
            .mention_all();
        let expected = DraftContent::Message {
            text: text(),
            reply_to: Some(Seq(3)),
            mentions: vec![UserId(1), UserId(2)],
            mention_all: true,
        };
        assert_eq!(draft.content, expected);
        let edit = Draft::edit(Seq(3), text());
        assert_eq!(edit.clone().reply_to(Seq(1)).mention([UserId(1)]).mention_all(), edit);
    }

    #[test]
    fn each_draft_has_its_own_idempotency_key() {
        assert_ne!(
            Draft::recall(Seq(1)).client_message_id,
            Draft::recall(Seq(1)).client_message_id
        );
    }
}
