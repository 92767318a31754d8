//! Members of groups, and the members whom a text mentions as `@name`.

use std::collections::BTreeMap;

use chat_core::model::{ConversationId, UserId, UserInfo};

/// Maximum number of members whom a message mentions. Every server refuses more; its operator may
/// allow fewer.
const MAX_MENTIONS: usize = 50;
/// Name that mentions all members, unless a member has it.
pub(super) const ALL: &str = "all";

/// Some members of a group, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberList {
    pub(super) users: Vec<UserInfo>,
    /// Last user that was read, if the group has further members.
    pub(super) rest_after: Option<UserId>,
}

/// Members whom a text mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    pub(super) users: Vec<UserId>,
    /// True if the text mentions all members.
    pub(super) all: bool,
    /// True if the text names users who may be among the members that were not read.
    pub(super) are_incomplete: bool,
}

/// Known members of a group.
#[derive(Debug, Default)]
struct Members {
    /// Ids and names. The keys are in lower case, because users need not type the exact spelling.
    by_name: BTreeMap<String, (UserId, String)>,
    /// Last user that was read, if the group has further members.
    rest_after: Option<UserId>,
}

/// The known members of the groups whose members were read.
#[derive(Debug, Default)]
pub(super) struct GroupMembers {
    groups: BTreeMap<ConversationId, Members>,
}

impl GroupMembers {
    /// Replaces the known members of a group by `list`, the first page of its members.
    pub(super) fn set(&mut self, group: ConversationId, list: &MemberList) {
        self.groups.insert(group, Members::default());
        self.extend(group, list);
    }

    /// Adds `list`, the members after [`rest_after`](Self::rest_after), to the known members of a
    /// group.
    pub(super) fn extend(&mut self, group: ConversationId, list: &MemberList) {
        let members = self.groups.entry(group).or_default();
        for user in &list.users {
            members.insert(&user.name, user.id);
        }
        members.rest_after = list.rest_after;
    }

    /// Adds a member to a group whose members are known.
    pub(super) fn add(&mut self, group: ConversationId, name: &str, user: UserId) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.insert(name, user);
        }
    }

    /// Removes a former member: the server refuses a message that mentions one.
    pub(super) fn remove(&mut self, group: ConversationId, user: UserId) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.by_name.retain(|_, (member, _)| *member != user);
        }
    }

    /// Forgets all groups, because their ids may denote other groups now.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }

    /// Returns whether members of the group were read.
    pub(super) fn has(&self, group: ConversationId) -> bool {
        self.groups.contains_key(&group)
    }

    /// Returns the last user that was read, if the group has further members.
    pub(super) fn rest_after(&self, group: ConversationId) -> Option<UserId> {
        self.groups.get(&group)?.rest_after
    }

    /// Returns the names of the known members of a group.
    pub(super) fn names(&self, group: ConversationId) -> impl Iterator<Item = &str> {
        let members = self.groups.get(&group).into_iter();
        members.flat_map(|members| members.by_name.values().map(|(_, name)| name.as_str()))
    }

    /// Returns the name of a known member.
    pub(super) fn name_of(&self, group: ConversationId, user: UserId) -> Option<&str> {
        let members = self.groups.get(&group)?;
        let found = members.by_name.values().find(|(member, _)| *member == user)?;
        Some(&found.1)
    }

    /// Returns the known members of a group whom a text mentions, each once, and at most
    /// [`MAX_MENTIONS`].
    pub(super) fn mentioned_in(&self, text: &str, group: ConversationId) -> Mentions {
        let mut mentions = Mentions::default();
        let Some(members) = self.groups.get(&group) else {
            return mentions;
        };
        for word in words_after_at(text) {
            match members.find(word) {
                Some(user) if mentions.users.contains(&user) => {}
                Some(user) if mentions.users.len() < MAX_MENTIONS => mentions.users.push(user),
                Some(_) => {}
                None => {
                    mentions.all |= without_punctuation(&word.to_lowercase()).any(|name| name == ALL);
                    mentions.are_incomplete |= members.rest_after.is_some();
                }
            }
        }
        mentions
    }
}

impl Members {
    fn insert(&mut self, name: &str, user: UserId) {
        self.by_name.insert(name.to_lowercase(), (user, name.to_owned()));
    }

    /// Returns the member with this name. Punctuation after the name is not part of it, unless a
    /// member has the name with it.
    fn find(&self, word: &str) -> Option<UserId> {
        let word = word.to_lowercase();
        let found = without_punctuation(&word).find_map(|name| self.by_name.get(name))?;
        Some(found.0)
    }
}

/// Returns the words that follow an `@`, unless a letter or digit precedes it, as in an e-mail
/// address.
fn words_after_at(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('@').filter_map(|(at, _)| {
        let in_word = text[..at].ends_with(char::is_alphanumeric);
        let word = text[at + 1..].split(char::is_whitespace).next()?;
        (!in_word && !word.is_empty()).then_some(word)
    })
}

/// Returns a word, and then the word without the last punctuation character at its end, without the
/// last two, and so on.
fn without_punctuation(word: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(word), |name| {
        let last = name.chars().next_back()?;
        (!last.is_alphanumeric()).then(|| &name[..name.len() - last.len_utf8()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: ConversationId = ConversationId(1);

    fn list(users: &[(u64, &str)], rest_after: Option<u64>) -> MemberList {
        MemberList {
            users: users
                .iter()
                .map(|(id, name)| UserInfo::new(UserId(*id), *name))
                .collect(),
            rest_after: rest_after.map(UserId),
        }
    }

    fn members() -> GroupMembers {
        let mut members = GroupMembers::default();
        members.set(GROUP, &list(&[(2, "bob"), (3, "b.o"), (4, "小明")], None));
        members
    }

    #[test]
    fn text_mentions_members_by_name() {
        let members = members();
        let mentioned = |text| members.mentioned_in(text, GROUP).users;
        assert_eq!(mentioned("@bob hi"), [UserId(2)]);
        assert_eq!(mentioned("hi (@Bob), and @小明！"), [UserId(2), UserId(4)]);
        assert_eq!(mentioned("@b.o. @bob: @bob"), [UserId(3), UserId(2)]);
        for text in ["bob", "@bobby", "mail a@bob", "@", "@ bob", "@carol"] {
            assert_eq!(members.mentioned_in(text, GROUP), Mentions::default(), "{text}");
        }
        assert!(members.mentioned_in("@bob", ConversationId(2)).users.is_empty());
    }

    #[test]
    fn former_member_is_not_mentioned() {
        let mut members = members();
        members.remove(GROUP, UserId(2));
        assert!(members.mentioned_in("@bob", GROUP).users.is_empty());
        members.add(GROUP, "bob", UserId(5));
        assert_eq!(members.mentioned_in("@bob", GROUP).users, [UserId(5)]);
        // The members of a group that was never opened are unknown.
        members.add(ConversationId(2), "bob", UserId(5));
        assert!(members.mentioned_in("@bob", ConversationId(2)).users.is_empty());
    }

    #[test]
    fn all_members_are_mentioned_unless_a_member_has_that_name() {
        let mut members = members();
        assert!(members.mentioned_in("hi @All, lunch?", GROUP).all);
        assert!(!members.mentioned_in("@allison", GROUP).all);
        members.add(GROUP, "all", UserId(9));
        let mentions = members.mentioned_in("@all", GROUP);
        assert_eq!((mentions.users, mentions.all), (vec![UserId(9)], false));
    }

    #[test]
    fn unknown_name_may_belong_to_a_member_that_was_not_read() {
        let mut members = GroupMembers::default();
        members.set(GROUP, &list(&[(2, "bob")], Some(2)));
        assert!(!members.mentioned_in("@bob", GROUP).are_incomplete);
        assert!(members.mentioned_in("@zoe", GROUP).are_incomplete);
        assert_eq!(members.rest_after(GROUP), Some(UserId(2)));
        members.extend(GROUP, &list(&[(7, "Zoe")], None));
        let mentions = members.mentioned_in("@zoe", GROUP);
        assert_eq!((mentions.users, mentions.are_incomplete), (vec![UserId(7)], false));
        assert_eq!(members.names(GROUP).collect::<Vec<_>>(), ["bob", "Zoe"]);
        assert_eq!(members.name_of(GROUP, UserId(7)), Some("Zoe"));
    }
}
