//! The current conversation, the last messages of all conversations, and the prompt.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat_core::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, GroupName, Seq, UserName, UserRef,
};

use crate::output::ConversationName;

/// The conversation that typed lines are sent to.
#[derive(Clone, Debug)]
pub(super) struct CurrentConversation {
    /// Reference by the id of the conversation, or until that is known, by its name or by the id of
    /// the other user.
    pub(super) reference: ConversationRef,
    /// Reference by name, by which the conversation is found after the server was restored from a
    /// backup; `None` if no name is known.
    name: Option<ConversationRef>,
    /// Name for the prompt, such as `bob` or `#rust`.
    pub(super) label: String,
    /// Id of the conversation, if it is known.
    pub(super) id: Option<ConversationId>,
}

/// Numbers of the last known messages of a conversation: the targets of `/edit`, `/recall` and
/// `/react` if the user gives no number.
#[derive(Clone, Copy, Debug, Default)]
struct LastMessages {
    /// Last message of the user.
    own: Option<Seq>,
    /// Last message of any member.
    any: Option<Seq>,
}

/// The current conversation, and the last messages of all conversations.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    pub(super) current: Option<CurrentConversation>,
    last: BTreeMap<ConversationId, LastMessages>,
}

impl Conversations {
    /// Returns `true` if `info` describes the current conversation.
    pub(super) fn is_current(&self, info: &ConversationInfo) -> bool {
        self.current.as_ref().is_some_and(|current| match current.id {
            Some(id) => id == info.id,
            None => current.label == ConversationName::of(info).label(),
        })
    }

    /// Closes the current conversation, so that none is current.
    pub(super) fn close_current(&mut self) {
        self.current = None;
    }

    /// Closes the current conversation if it has this id. Returns whether it was closed.
    pub(super) fn close_current_if(&mut self, id: ConversationId) -> bool {
        let is_current = self.current.as_ref().is_some_and(|current| current.id == Some(id));
        if is_current {
            self.close_current();
        }
        is_current
    }

    /// Forgets all ids and message numbers, because the server was restored from a backup, and they
    /// may denote other conversations and messages now. The current conversation is addressed by
    /// name again. If its name is unknown, closes it and returns its label.
    pub(super) fn forget_ids(&mut self) -> Option<String> {
        self.last.clear();
        let CurrentConversation { name, label, .. } = self.current.take()?;
        let Some(name) = name else { return Some(label) };
        self.enter(name.clone(), Some(name), label);
        None
    }

    /// Makes a conversation the current conversation. `name` is the reference that the user gave;
    /// it is kept unless it contains an id instead of a name.
    pub(super) fn enter(&mut self, reference: ConversationRef, name: Option<ConversationRef>, label: String) {
        let id = match &reference {
            ConversationRef::Id(id) => Some(*id),
            _ => None,
        };
        self.current = Some(CurrentConversation {
            reference,
            name: name.filter(ConversationRef::is_by_name),
            label,
            id,
        });
    }

    /// Updates the label and the name if `info` has the id of the current conversation: a group or
    /// a user may have another name now.
    pub(super) fn rename(&mut self, info: &ConversationInfo) {
        if let Some(current) = &mut self.current
            && current.id == Some(info.id)
        {
            current.label = ConversationName::of(info).label();
            current.name = match &info.view {
                ConversationView::Group(group) => {
                    let name = GroupName::parse_any(&group.profile.name).ok();
                    name.map(ConversationRef::Group)
                }
                ConversationView::Direct(peer) => {
                    let name = UserName::parse_any(&peer.name).ok();
                    name.map(|name| ConversationRef::Direct(UserRef::Name(name)))
                }
                _ => None,
            };
        }
    }

    /// Records the id of the current conversation, if the id is unknown and the label is `label`.
    /// From then on the conversation is addressed by id.
    pub(super) fn set_id(&mut self, label: &str, id: ConversationId) {
        if let Some(current) = &mut self.current
            && current.id.is_none()
            && current.label == label
        {
            current.id = Some(id);
            current.reference = ConversationRef::Id(id);
        }
    }

    /// Records the number of a message that was received, printed or sent. `own` marks a message of
    /// the user.
    pub(super) fn record_message(&mut self, conversation: ConversationId, seq: Seq, own: bool) {
        let last = self.last.entry(conversation).or_default();
        last.any = last.any.max(Some(seq));
        if own {
            last.own = last.own.max(Some(seq));
        }
    }

    /// Returns the number of the user's last message in the current conversation, if it is known.
    pub(super) fn last_own(&self) -> Option<Seq> {
        self.last_in_current().own
    }

    /// Returns the number of the last message in the current conversation, if it is known.
    pub(super) fn last_any(&self) -> Option<Seq> {
        self.last_in_current().any
    }

    fn last_in_current(&self) -> LastMessages {
        let id = self.current.as_ref().and_then(|current| current.id);
        id.and_then(|id| self.last.get(&id)).copied().unwrap_or_default()
    }

    /// Returns the prompt, such as `bob (3 new, 1 for you)> `. It counts the unread messages and
    /// the mentions in other conversations that have not ended for the user.
    pub(super) fn prompt(&self, all: &[Arc<ConversationInfo>]) -> String {
        // A group that the user has left, or that was deleted, cannot be opened by its name.
        let others = || all.iter().filter(|info| info.active && !self.is_current(info));
        let unread = others().map(|info| info.unread).fold(0, u32::saturating_add);
        let mentions = others().map(|info| info.unread_mentions).fold(0, u32::saturating_add);
        let new = match (unread, mentions) {
            (0, _) => String::new(),
            (unread, 0) => format!("({unread} new)"),
            (unread, mentions) => format!("({unread} new, {mentions} for you)"),
        };
        match &self.current {
            Some(current) if new.is_empty() => format!("{}> ", current.label),
            Some(current) => format!("{} {new}> ", current.label),
            None => format!("{new}> "),
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::model::{ConversationView, UserId, UserInfo, UserName, UserRef};

    use super::*;

    fn direct(id: u64, name: &str, unread: u32, unread_mentions: u32) -> Arc<ConversationInfo> {
        let peer = UserInfo::new(UserId(id), name);
        let mut info = ConversationInfo::new(ConversationId(id), ConversationView::Direct(peer));
        (info.last_seq, info.unread, info.unread_mentions) = (Seq(1), unread, unread_mentions);
        Arc::new(info)
    }

    #[test]
    fn prompt_counts_unread_messages_of_other_conversations() {
        let all = [direct(1, "bob", 2, 0), direct(2, "小明", 3, 1)];
        let mut conversations = Conversations::default();
        assert_eq!(conversations.prompt(&all), "(5 new, 1 for you)> ");
        let bob = UserRef::Name(UserName::parse("bob").unwrap());
        conversations.enter(ConversationRef::Direct(bob), None, "bob".into());
        assert_eq!(conversations.prompt(&all), "bob (3 new, 1 for you)> ");
        assert!(conversations.is_current(&all[0]));
        conversations.set_id("bob", ConversationId(1));
        assert!(conversations.is_current(&all[0]) && !conversations.is_current(&all[1]));
        assert_eq!(conversations.prompt(&all[..1]), "bob> ");
    }

    #[test]
    fn prompt_saturates_huge_counts_from_the_server() {
        let all = [direct(1, "bob", u32::MAX, u32::MAX), direct(2, "eve", u32::MAX, 1)];
        assert_eq!(
            Conversations::default().prompt(&all),
            format!("({0} new, {0} for you)> ", u32::MAX)
        );
    }

    #[test]
    fn current_conversation_is_addressed_by_id_once_it_is_known() {
        let mut conversations = Conversations::default();
        let group = ConversationRef::Group(chat_core::model::GroupName::parse("general").unwrap());
        conversations.enter(group.clone(), Some(group.clone()), "#general".into());
        let reference = |conversations: &Conversations| conversations.current.as_ref().unwrap().reference.clone();
        assert_eq!(reference(&conversations), group);
        conversations.set_id("#general", ConversationId(1));
        // Another group has taken the name since; its id is ignored.
        conversations.set_id("#general", ConversationId(2));
        assert_eq!(reference(&conversations), ConversationRef::Id(ConversationId(1)));
    }

    #[test]
    fn last_messages_are_those_of_the_current_conversation() {
        let mut conversations = Conversations::default();
        assert_eq!(conversations.last_own(), None);
        let bob = UserRef::Name(UserName::parse("bob").unwrap());
        conversations.enter(ConversationRef::Direct(bob), None, "bob".into());
        conversations.set_id("bob", ConversationId(1));
        conversations.record_message(ConversationId(1), Seq(3), true);
        conversations.record_message(ConversationId(1), Seq(4), false);
        conversations.record_message(ConversationId(2), Seq(9), true);
        assert_eq!(
            (conversations.last_own(), conversations.last_any()),
            (Some(Seq(3)), Some(Seq(4)))
        );
    }

    #[test]
    fn current_conversation_is_addressed_by_name_after_a_restore() {
        let mut conversations = Conversations::default();
        assert_eq!(conversations.forget_ids(), None);
        let id = ConversationRef::Id(ConversationId(1));
        let bob = ConversationRef::Direct(UserRef::Name(UserName::parse("bob").unwrap()));
        conversations.enter(id.clone(), Some(bob.clone()), "bob".into());
        conversations.record_message(ConversationId(1), Seq(3), true);
        assert_eq!(conversations.forget_ids(), None);
        let current = conversations.current.clone().unwrap();
        assert_eq!((current.reference, current.id), (bob, None));
        conversations.set_id("bob", ConversationId(1));
        assert_eq!(conversations.last_own(), None, "the number belongs to another message");

        let by_id = ConversationRef::Direct(UserRef::Id(chat_core::model::UserId(7)));
        conversations.enter(id, Some(by_id), "user 7".into());
        assert_eq!(conversations.forget_ids().as_deref(), Some("user 7"));
        assert!(conversations.current.is_none());
    }
}
