//! Stays of users in conversations. A stay is a range of positions that a user may read because of
//! a membership.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::facts::Facts;

/// First and last position of a stay. The last one is `None` while the user is a member.
pub(super) type Stay = (u64, Option<u64>);

/// Stays of all users.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// Last stay by conversation and user, as a node or the database returned it at the end.
    last: BTreeMap<(u64, u64), Stay>,
    /// Users whose last stays are in `last`.
    users: BTreeSet<u64>,
    /// Stays that ended, by conversation and user, derived from the logs. They include the last
    /// stay of a user who has not returned.
    ended: HashMap<(u64, u64), Vec<(u64, u64)>>,
}

impl Memberships {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let mut memberships = Self {
            last: facts.members.clone(),
            users: facts.members.keys().map(|(_, user)| *user).collect(),
            ended: HashMap::new(),
        };
        for (conversation, log) in facts.most_complete_logs().into_iter().flatten() {
            let mut present: HashMap<u64, u64> = HashMap::new();
            for (seq, event) in log
                .iter()
                .flat_map(|(seq, events)| events.iter().map(move |event| (seq, event)))
            {
                for user in &event.joined {
                    present.entry(*user).or_insert(*seq);
                }
                for user in &event.left {
                    if let Some(since) = present.remove(user) {
                        memberships
                            .ended
                            .entry((*conversation, *user))
                            .or_default()
                            .push((since, *seq));
                    }
                }
            }
        }
        memberships
    }

    /// Returns whether the memberships of this user are known. A source may return the memberships
    /// of some users only.
    pub(super) fn are_known_for(&self, user: u64) -> bool {
        self.users.contains(&user)
    }

    /// Returns the last stay of a user in a conversation, if it is known. All of its positions must
    /// be delivered.
    pub(super) fn last(&self, conversation: u64, user: u64) -> Option<Stay> {
        self.last.get(&(conversation, user)).copied()
    }

    /// Returns the conversations of a user, with the last stay in each.
    pub(super) fn of_user(&self, user: u64) -> impl Iterator<Item = (u64, Stay)> {
        let entries = self.last.iter().filter(move |((_, member), _)| *member == user);
        entries.map(|((conversation, _), stay)| (*conversation, *stay))
    }

    /// Returns the first position of the stay in which the user may read `seq`, if there is such a
    /// stay.
    pub(super) fn start_of_stay(&self, conversation: u64, user: u64, seq: u64) -> Option<u64> {
        let last = self.last(conversation, user);
        let in_last = last.filter(|(first, until)| *first <= seq && until.is_none_or(|until| seq <= until));
        let mut ended = self.ended.get(&(conversation, user)).into_iter().flatten();
        let in_ended = ended.find(|(first, last)| (*first..=*last).contains(&seq));
        in_last
            .or(in_ended.map(|(first, last)| (*first, Some(*last))))
            .map(|(first, _)| first)
    }
}
