//! Who may read what: a user's stays in each conversation.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::facts::Facts;

/// First and last place of a stay; no last one if it goes on.
pub(super) type Stay = (u64, Option<u64>);

/// Everybody's stays.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// By conversation and user: what the store grants in the end.
    last: BTreeMap<(u64, u64), Stay>,
    /// Those of whom it says so.
    users: BTreeSet<u64>,
    /// Those before it, as the logs tell them.
    earlier: HashMap<(u64, u64), Vec<(u64, u64)>>,
}

impl Memberships {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let mut stays = Self {
            last: facts.members.clone(),
            users: facts.members.keys().map(|(_, user)| *user).collect(),
            earlier: HashMap::new(),
        };
        for (conversation, log) in facts.whole().into_iter().flatten() {
            let mut here: HashMap<u64, u64> = HashMap::new();
            for (seq, event) in log
                .iter()
                .flat_map(|(seq, events)| events.iter().map(move |event| (seq, event)))
            {
                for user in &event.joined {
                    here.entry(*user).or_insert(*seq);
                }
                for user in &event.left {
                    if let Some(since) = here.remove(user) {
                        stays
                            .earlier
                            .entry((*conversation, *user))
                            .or_default()
                            .push((since, *seq));
                    }
                }
            }
        }
        stays
    }

    /// Whether it is known what this user may read. A source may have told of some users only.
    pub(super) fn are_told_of(&self, user: u64) -> bool {
        self.users.contains(&user)
    }

    /// The stay that counts in the end: all of it must have been handed out.
    pub(super) fn last(&self, conversation: u64, user: u64) -> Option<Stay> {
        self.last.get(&(conversation, user)).copied()
    }

    /// Conversations of a user, with the last stay in each.
    pub(super) fn of_user(&self, user: u64) -> impl Iterator<Item = (u64, Stay)> {
        let of_user = self.last.iter().filter(move |((_, of), _)| *of == user);
        of_user.map(|((conversation, _), stay)| (*conversation, *stay))
    }

    /// Where the stay begins in which the user was entitled to this place, if there is one.
    pub(super) fn begins(&self, conversation: u64, user: u64, seq: u64) -> Option<u64> {
        let last = self.last(conversation, user);
        let in_last = last.filter(|(first, until)| *first <= seq && until.is_none_or(|until| seq <= until));
        let mut earlier = self.earlier.get(&(conversation, user)).into_iter().flatten();
        let in_earlier = earlier.find(|(first, last)| (*first..=*last).contains(&seq));
        in_last
            .or(in_earlier.map(|(first, last)| (*first, Some(*last))))
            .map(|(first, _)| first)
    }
}
