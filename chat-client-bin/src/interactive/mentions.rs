//! Members of the groups that were opened, and the members whom a text mentions as `@name`.

use std::collections::BTreeMap;

use chat_core::model::{ConversationId, UserId};

/// Maximum number of members whom a message mentions; a server refuses more than 50 by default.
const MAX_MENTIONS: usize = 50;

/// Members of the groups that were opened, by name.
#[derive(Debug, Default)]
pub(super) struct GroupMembers {
    /// Names are in lower case: users do not type them in the exact spelling.
    groups: BTreeMap<ConversationId, BTreeMap<String, UserId>>,
}

impl GroupMembers {
    /// Replaces the members of a group.
    pub(super) fn set<'n>(&mut self, group: ConversationId, members: impl IntoIterator<Item = (&'n str, UserId)>) {
        let by_name = members.into_iter().map(|(name, user)| (name.to_lowercase(), user));
        self.groups.insert(group, by_name.collect());
    }

    /// Adds a member to a group whose members are known.
    pub(super) fn add(&mut self, group: ConversationId, name: &str, user: UserId) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.insert(name.to_lowercase(), user);
        }
    }

    /// Removes a former member: the server refuses a message that mentions one.
    pub(super) fn remove(&mut self, group: ConversationId, user: UserId) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.retain(|_, member| *member != user);
        }
    }

    /// Forgets all groups, because their ids may denote other groups now.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }

    /// Returns the members of a group whom a text mentions, each once.
    pub(super) fn mentioned_in(&self, text: &str, group: ConversationId) -> Vec<UserId> {
        let mut users = Vec::new();
        let Some(members) = self.groups.get(&group) else {
            return users;
        };
        let found = words_after_at(text).filter_map(|word| member(word, members));
        for user in found {
            if !users.contains(&user) && users.len() < MAX_MENTIONS {
                users.push(user);
            }
        }
        users
    }
}

/// Returns the words that follow an `@`, unless it stands in a word, as in an e-mail address.
fn words_after_at(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('@').filter_map(|(at, _)| {
        let in_word = text[..at].ends_with(char::is_alphanumeric);
        let word = text[at + 1..].split(char::is_whitespace).next()?;
        (!in_word && !word.is_empty()).then_some(word)
    })
}

/// Returns the member with this name. Punctuation after the name is not part of it, unless a member
/// has the name with it.
fn member(word: &str, members: &BTreeMap<String, UserId>) -> Option<UserId> {
    let word = word.to_lowercase();
    let mut name = &*word;
    loop {
        if let Some(user) = members.get(name) {
            return Some(*user);
        }
        let last = name.chars().next_back()?;
        if last.is_alphanumeric() {
            return None;
        }
        name = &name[..name.len() - last.len_utf8()];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: ConversationId = ConversationId(1);

    fn members() -> GroupMembers {
        let mut members = GroupMembers::default();
        members.set(GROUP, [("bob", UserId(2)), ("b.o", UserId(3)), ("小明", UserId(4))]);
        members
    }

    #[test]
    fn text_mentions_members_by_name() {
        let members = members();
        let mentioned = |text| members.mentioned_in(text, GROUP);
        assert_eq!(mentioned("@bob hi"), [UserId(2)]);
        assert_eq!(mentioned("hi (@Bob), and @小明！"), [UserId(2), UserId(4)]);
        assert_eq!(mentioned("@b.o. @bob: @bob"), [UserId(3), UserId(2)]);
        for text in ["bob", "@bobby", "mail a@bob", "@", "@ bob", "@carol"] {
            assert!(mentioned(text).is_empty(), "{text}");
        }
        assert!(members.mentioned_in("@bob", ConversationId(2)).is_empty());
    }

    #[test]
    fn former_member_is_not_mentioned() {
        let mut members = members();
        members.remove(GROUP, UserId(2));
        assert!(members.mentioned_in("@bob", GROUP).is_empty());
        members.add(GROUP, "bob", UserId(5));
        assert_eq!(members.mentioned_in("@bob", GROUP), [UserId(5)]);
        // The members of a group that was never opened are unknown.
        members.add(ConversationId(2), "bob", UserId(5));
        assert!(members.mentioned_in("@bob", ConversationId(2)).is_empty());
    }
}
