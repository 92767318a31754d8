//! Typing: notices that the user is typing, and the other members who are typing. Also the status
//! that the line editor shows with the prompt and the typed line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::model::{ConversationId, UserId};
use chat_core::sync::Mutex;

/// Minimum time between two notices, unless a message was sent between them.
const NOTICE_INTERVAL: Duration = Duration::from_secs(3);
/// Time for which another member counts as typing after a notice (docs/protocol.md §8).
const TYPING_EXPIRY: Duration = Duration::from_secs(8);
/// Maximum number of members who are named.
const MAX_NAMED: usize = 2;

/// Decides when to tell the other members that the user is typing.
#[derive(Debug, Default)]
pub(super) struct TypingNotices {
    /// Time of the last notice; `None` if no notice was sent since the last message.
    last: Option<Instant>,
    /// Line that was painted last. A line that is painted again, for instance because the terminal
    /// was resized, has not been typed.
    line: String,
}

impl TypingNotices {
    /// Forgets the line, because another one begins.
    pub(super) fn start(&mut self) {
        self.line.clear();
    }

    /// Records that a message was sent: the other members no longer regard the user as typing, so
    /// that the next text is announced at once.
    pub(super) fn sent(&mut self) {
        self.last = None;
    }

    /// Takes the line that is painted. If the user has typed a part of a text, and the last notice
    /// is old enough, records that a notice is sent now and returns `true`. A line that begins with
    /// a slash does not count as a text.
    pub(super) fn take_due(&mut self, line: &str, now: Instant) -> bool {
        let is_typed = line != self.line && !line.is_empty() && !line.starts_with('/');
        line.clone_into(&mut self.line);
        let is_recent = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < NOTICE_INTERVAL);
        if !is_typed || is_recent {
            return false;
        }
        self.last = Some(now);
        true
    }
}

/// Members of the conversations who are typing.
#[derive(Debug, Default)]
pub(super) struct Typists {
    /// Name of each member, and when the member no longer counts as typing.
    typing: BTreeMap<(ConversationId, UserId), (String, Instant)>,
}

impl Typists {
    /// Records that a member is typing.
    pub(super) fn started(&mut self, conversation: ConversationId, user: UserId, name: String, now: Instant) {
        self.typing.insert((conversation, user), (name, now + TYPING_EXPIRY));
    }

    /// Records that a member has stopped typing, or has sent an event.
    pub(super) fn stopped(&mut self, conversation: ConversationId, user: UserId) {
        self.typing.remove(&(conversation, user));
    }

    /// Forgets all members, because the server was restored from a backup, and their ids may denote
    /// other users and conversations now.
    pub(super) fn clear(&mut self) {
        self.typing.clear();
    }

    /// Forgets the members whose last notice is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        self.typing.retain(|_, (_, end)| *end > now);
    }

    /// Returns the time at which the next member no longer counts as typing; `None` if no member
    /// is.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.typing.values().map(|(_, end)| *end).min()
    }

    /// Says who is typing in a conversation; empty if no member is.
    pub(super) fn text(&self, conversation: ConversationId) -> String {
        let here = self.typing.iter().filter(|((id, _), _)| *id == conversation);
        let names: Vec<_> = here.map(|(_, (name, _))| name.as_str()).collect();
        match names[..] {
            [] => String::new(),
            [name] => format!("{name} is typing"),
            _ if names.len() <= MAX_NAMED => format!("{} are typing", names.join(" and ")),
            _ => format!("{} members are typing", names.len()),
        }
    }
}

/// Status that the line editor shows with the prompt and the typed line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EditorStatus {
    /// Text after the typed line; empty if there is none.
    pub(super) text: String,
    /// True if the conversation in the prompt was closed since the prompt was shown.
    pub(super) is_prompt_stale: bool,
}

/// [`EditorStatus`] that the event loop shares with the thread of the line editor.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedEditorStatus(Arc<Mutex<EditorStatus>>);

impl SharedEditorStatus {
    /// Sets the status. Returns whether it has changed, so that the line has to be painted again.
    pub(super) fn set(&self, status: EditorStatus) -> bool {
        let mut current = self.0.lock();
        let is_changed = *current != status;
        *current = status;
        is_changed
    }

    pub(super) fn get(&self) -> EditorStatus {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_is_due_for_typed_text_once_in_three_seconds() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut notices = TypingNotices::default();
        assert!(!notices.take_due("", at(0)), "nothing is typed");
        assert!(!notices.take_due("/list", at(0)), "a command is no message");
        assert!(notices.take_due("h", at(0)));
        assert!(!notices.take_due("he", at(2)));
        assert!(!notices.take_due("he", at(4)), "the line is only painted again");
        assert!(notices.take_due("hel", at(4)));
        notices.start();
        assert!(!notices.take_due("hel", at(5)));
        assert!(notices.take_due("hello", at(7)));
        notices.sent();
        notices.start();
        assert!(notices.take_due("a", at(8)), "the next text is announced at once");
    }

    #[test]
    fn member_counts_as_typing_until_the_notice_expires() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (here, there) = (ConversationId(1), ConversationId(2));
        let mut typists = Typists::default();
        assert_eq!((typists.text(here).as_str(), typists.next_expiry()), ("", None));
        typists.started(here, UserId(1), "bob".into(), at(0));
        typists.started(there, UserId(2), "carol".into(), at(0));
        assert_eq!(typists.text(here), "bob is typing");
        typists.started(here, UserId(2), "carol".into(), at(5));
        assert_eq!(typists.text(here), "bob and carol are typing");
        assert_eq!(typists.next_expiry(), Some(at(8)));
        typists.expire(at(8));
        assert_eq!(typists.text(here), "carol is typing");
        assert_eq!(typists.text(there), "");
        typists.stopped(here, UserId(2));
        assert_eq!(typists.text(here), "");
        for user in 3..6 {
            typists.started(here, UserId(user), "x".into(), at(9));
        }
        assert_eq!(typists.text(here), "3 members are typing");
    }
}
