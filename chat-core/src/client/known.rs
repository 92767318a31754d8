//! Decides whether a reference denotes a known conversation.
//!
//! A conversation may be renamed, and another conversation may then take its name. A message to a
//! known conversation, or a command for its members, is therefore addressed by id from the moment
//! the application passes it to the client.

use std::ops::Deref;

use crate::model::{ConversationInfo, ConversationRef, ConversationView, GroupName, UserName, UserRef};

/// Returns whether `reference` denotes the conversation `info`, and the user is an active member of
/// it.
pub(super) fn denotes(reference: &ConversationRef, info: &ConversationInfo) -> bool {
    let matches = match (reference, &info.view) {
        (ConversationRef::Id(id), _) => *id == info.id,
        (ConversationRef::Direct(UserRef::Id(id)), ConversationView::Direct(peer)) => peer.id == *id,
        (ConversationRef::Direct(UserRef::Name(name)), ConversationView::Direct(peer)) => {
            UserName::parse_any(&peer.name).is_ok_and(|peer| peer == *name)
        }
        (ConversationRef::Group(name), ConversationView::Group(group)) => {
            GroupName::parse_any(&group.profile.name).is_ok_and(|group| group.key() == name.key())
        }
        _ => false,
    };
    matches && info.active
}

/// Returns the one of `known` that `reference` denotes. Returns `None` if there is none, or more
/// than one, because then the known name of one of them is out of date.
pub(super) fn only_match<T: Deref<Target = ConversationInfo>>(
    reference: &ConversationRef,
    known: impl IntoIterator<Item = T>,
) -> Option<T> {
    let mut found = known.into_iter().filter(|info| denotes(reference, info));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Returns the name of a group that the user is in; `None` for other conversations.
pub(super) fn group_name(info: &ConversationInfo) -> Option<&str> {
    match &info.view {
        ConversationView::Group(group) if info.active => Some(&group.profile.name),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{ConversationId, GroupInfo, GroupProfile, JoinPolicy, UserId, UserInfo};

    pub(in crate::client) fn group(id: u64, name: &str) -> ConversationInfo {
        let profile = GroupProfile {
            name: name.into(),
            key: String::new(),
            skeleton: String::new(),
            description: String::new(),
            join_policy: JoinPolicy::Open,
            history_visible: false,
            unlisted: false,
        };
        let group = GroupInfo::new(ConversationId(id), profile);
        ConversationInfo::new(ConversationId(id), ConversationView::Group(group))
    }

    #[test]
    fn names_denote_active_conversations_regardless_of_case() {
        let by_name = |name: &str| ConversationRef::Group(GroupName::parse_any(name).unwrap());
        let mut rust = group(1, "Rust");
        assert!(denotes(&by_name("rust"), &rust) && denotes(&by_name("RUST"), &rust));
        assert!(!denotes(&by_name("rusty"), &rust));
        assert!(denotes(&ConversationRef::Id(ConversationId(1)), &rust));
        rust.active = false;
        assert!(!denotes(&by_name("rust"), &rust), "the user has left it");

        let view = ConversationView::Direct(UserInfo::new(UserId(2), "bob"));
        let bob = ConversationInfo::new(ConversationId(3), view);
        let direct = |user| denotes(&ConversationRef::Direct(user), &bob);
        assert!(direct(UserRef::Id(UserId(2))) && !direct(UserRef::Id(UserId(3))));
        assert!(direct(UserRef::Name(UserName::parse("bob").unwrap())));
    }
}
