//! Where the person is, and what is unread elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat_core::model::{ConversationId, ConversationInfo, ConversationRef, Seq};

use crate::output::Place;

/// The conversation that lines are sent to.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) reference: ConversationRef,
    pub(super) label: String,
    /// Known once the server has told of it.
    pub(super) id: Option<ConversationId>,
}

/// The last messages of a conversation, for `/edit`, `/recall` and `/react` without a number.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    own: Option<Seq>,
    any: Option<Seq>,
}

/// All conversations, as the person sees them.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    pub(super) current: Option<Room>,
    last: BTreeMap<ConversationId, Last>,
}

impl Rooms {
    /// Whether this conversation is the one on the screen.
    pub(super) fn is_current(&self, info: &ConversationInfo) -> bool {
        self.current.as_ref().is_some_and(|room| match room.id {
            Some(id) => id == info.id,
            None => room.label == Place::of(info).label(),
        })
    }

    /// Goes nowhere.
    pub(super) fn leave(&mut self) {
        self.current = None;
    }

    /// Goes to a conversation.
    pub(super) fn enter(&mut self, reference: ConversationRef, label: String) {
        self.current = Some(Room {
            reference,
            label,
            id: None,
        });
    }

    /// The server has told which conversation the current one is.
    pub(super) fn entered(&mut self, label: &str, id: ConversationId) {
        if let Some(room) = &mut self.current
            && room.label == label
        {
            room.id = Some(id);
        }
    }

    /// Notes a message that was shown or sent.
    pub(super) fn saw(&mut self, conversation: ConversationId, seq: Seq, own: bool) {
        let last = self.last.entry(conversation).or_default();
        last.any = last.any.max(Some(seq));
        if own {
            last.own = last.own.max(Some(seq));
        }
    }

    /// The last own message here.
    pub(super) fn last_own(&self) -> Option<Seq> {
        self.last_here().own
    }

    /// The last message here.
    pub(super) fn last_any(&self) -> Option<Seq> {
        self.last_here().any
    }

    fn last_here(&self) -> Last {
        let id = self.current.as_ref().and_then(|room| room.id);
        id.and_then(|id| self.last.get(&id)).copied().unwrap_or_default()
    }

    /// `bob (3 unread elsewhere, 1 for you)> `
    pub(super) fn prompt(&self, all: &[Arc<ConversationInfo>]) -> String {
        let elsewhere = || all.iter().filter(|info| !self.is_current(info));
        let unread = elsewhere().map(|info| info.unread).fold(0, u32::saturating_add);
        let mentions = elsewhere().map(|info| info.mentions).fold(0, u32::saturating_add);
        let new = match (unread, mentions) {
            (0, _) => String::new(),
            (unread, 0) => format!("({unread} new)"),
            (unread, mentions) => format!("({unread} new, {mentions} for you)"),
        };
        match &self.current {
            Some(room) if new.is_empty() => format!("{}> ", room.label),
            Some(room) => format!("{} {new}> ", room.label),
            None => format!("{new}> "),
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_core::model::{ConversationView, Role, Timestamp, UserId, UserInfo, UserName, UserRef};

    use super::*;

    fn with(id: u64, name: &str, unread: u32, mentions: u32) -> Arc<ConversationInfo> {
        Arc::new(ConversationInfo {
            id: ConversationId(id),
            view: ConversationView::Direct(UserInfo {
                id: UserId(id),
                name: name.into(),
                display_name: name.into(),
                direct_policy: None,
            }),
            role: Role::Member,
            first_seq: Seq(1),
            last_seq: Seq(1),
            cursor: Seq(0),
            read_seq: Seq(0),
            unread,
            mentions,
            peer_delivered_seq: Seq(0),
            peer_read_seq: Seq(0),
            last_time: Timestamp(0),
            members_version: Seq(0),
            active: true,
        })
    }

    #[test]
    fn the_prompt_tells_what_is_new_elsewhere() {
        let all = [with(1, "bob", 2, 0), with(2, "小明", 3, 1)];
        let mut rooms = Rooms::default();
        assert_eq!(rooms.prompt(&all), "(5 new, 1 for you)> ");
        let bob = UserRef::Name(UserName::parse("bob").unwrap());
        rooms.enter(ConversationRef::Direct(bob), "bob".into());
        assert_eq!(rooms.prompt(&all), "bob (3 new, 1 for you)> ");
        assert!(rooms.is_current(&all[0]));
        rooms.entered("bob", ConversationId(1));
        assert!(rooms.is_current(&all[0]) && !rooms.is_current(&all[1]));
        assert_eq!(rooms.prompt(&all[..1]), "bob> ");
    }

    #[test]
    fn a_server_that_counts_wildly_does_no_harm() {
        let all = [with(1, "bob", u32::MAX, u32::MAX), with(2, "eve", u32::MAX, 1)];
        assert_eq!(
            Rooms::default().prompt(&all),
            format!("({0} new, {0} for you)> ", u32::MAX)
        );
    }

    #[test]
    fn the_last_messages_are_those_of_this_room() {
        let mut rooms = Rooms::default();
        assert_eq!(rooms.last_own(), None);
        let bob = UserRef::Name(UserName::parse("bob").unwrap());
        rooms.enter(ConversationRef::Direct(bob), "bob".into());
        rooms.entered("bob", ConversationId(1));
        rooms.saw(ConversationId(1), Seq(3), true);
        rooms.saw(ConversationId(1), Seq(4), false);
        rooms.saw(ConversationId(2), Seq(9), true);
        assert_eq!((rooms.last_own(), rooms.last_any()), (Some(Seq(3)), Some(Seq(4))));
    }
}
