//! The queued marks, with limits for the node and for each user.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use crate::model::{Caller, ConversationId, DeviceId, Seq, UserId};

/// The position that a mark advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// The cursor of a device: the last event that the device has acknowledged.
    Delivered(UserId, DeviceId, ConversationId),
    /// The last event that a user has read.
    Read(UserId, ConversationId),
}

impl Target {
    pub(super) fn user(self) -> UserId {
        match self {
            Self::Delivered(user, ..) | Self::Read(user, _) => user,
        }
    }
}

/// The new position, and the session that reported it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) seq: Seq,
    pub(super) caller: Caller,
}

/// Maximum number of queued marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) total: usize,
    pub(super) per_user: usize,
}

/// The queued marks, at most one for each target.
#[derive(Debug)]
pub(super) struct Marks {
    queued: HashMap<Target, Mark>,
    /// Keys of `queued`, oldest first.
    order: VecDeque<Target>,
    /// Number of queued marks of each user.
    counts: HashMap<UserId, usize>,
    /// Users of the marks that are being written.
    in_flight: HashSet<UserId>,
    limits: Limits,
}

impl Marks {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            queued: HashMap::new(),
            order: VecDeque::new(),
            counts: HashMap::new(),
            in_flight: HashSet::new(),
            limits,
        }
    }

    /// Queues a mark. If its target has a queued mark, the greater of the two is kept. Returns
    /// `false` if the queue has no room.
    pub(super) fn add(&mut self, target: Target, mark: Mark) -> bool {
        if let Some(queued) = self.queued.get_mut(&target) {
            if mark.seq > queued.seq {
                *queued = mark;
            }
            return true;
        }
        let count = self.counts.get(&target.user()).copied().unwrap_or_default();
        if self.queued.len() >= self.limits.total || count >= self.limits.per_user {
            return false;
        }
        self.counts.insert(target.user(), count + 1);
        self.queued.insert(target, mark);
        self.order.push_back(target);
        true
    }

    /// Takes the oldest `max` marks.
    pub(super) fn take(&mut self, max: usize) -> Vec<(Target, Mark)> {
        let targets: Vec<Target> = self.order.drain(..max.min(self.order.len())).collect();
        let mut taken = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(mark) = self.queued.remove(&target) else {
                continue;
            };
            if let Entry::Occupied(mut entry) = self.counts.entry(target.user()) {
                let count = entry.get_mut();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    entry.remove();
                }
            }
            self.in_flight.insert(target.user());
            taken.push((target, mark));
        }
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Ends the writing of the marks that were taken.
    pub(super) fn write_ended(&mut self) {
        self.in_flight.clear();
    }

    /// Returns whether this user has marks that are not written yet.
    pub(super) fn has_unwritten(&self, user: UserId) -> bool {
        self.counts.contains_key(&user) || self.in_flight.contains(&user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionEpoch;

    fn caller(user: u64) -> Caller {
        Caller::login(UserId(user), DeviceId([1; 16]), SessionEpoch(1))
    }

    fn mark(user: u64, seq: u64) -> Mark {
        Mark {
            seq: Seq(seq),
            caller: caller(user),
        }
    }

    fn read(user: u64, conversation: u64) -> Target {
        Target::Read(UserId(user), ConversationId(conversation))
    }

    fn marks(total: usize, per_user: usize) -> Marks {
        Marks::new(Limits { total, per_user })
    }

    #[test]
    fn marks_of_one_target_merge_to_the_highest() {
        let mut marks = marks(10, 10);
        for seq in [3, 5, 4] {
            assert!(marks.add(read(1, 1), mark(1, seq)));
        }
        let taken = marks.take(10);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].1.seq, Seq(5));
        assert!(marks.counts.is_empty());
    }

    #[test]
    fn marks_are_bounded_in_total_and_per_user() {
        let mut marks = marks(3, 2);
        assert!(marks.add(read(1, 1), mark(1, 1)) && marks.add(read(1, 2), mark(1, 1)));
        assert!(!marks.add(read(1, 3), mark(1, 1)), "the user has too many marks");
        assert!(marks.add(read(2, 1), mark(2, 1)));
        assert!(!marks.add(read(3, 1), mark(3, 1)), "there are too many marks");
        assert!(marks.add(read(1, 1), mark(1, 2)), "merging takes no room");
        assert_eq!(marks.counts.len(), 2, "a refused mark is not counted");
    }

    #[test]
    fn marks_are_taken_oldest_first() {
        let mut marks = marks(10, 10);
        for conversation in 1..=3 {
            marks.add(read(1, conversation), mark(1, 1));
        }
        marks.add(read(1, 1), mark(1, 2));
        let taken: Vec<Target> = marks.take(2).into_iter().map(|(target, _)| target).collect();
        assert_eq!(taken, [read(1, 1), read(1, 2)]);
    }
}
