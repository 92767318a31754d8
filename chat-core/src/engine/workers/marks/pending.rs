//! The queued marks, with limits for the node and for each user.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use crate::model::{Caller, ConversationId, DeviceId, Seq, UserId};

/// The position that a mark advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum MarkedPosition {
    /// The cursor of a device: the last event that the device has acknowledged.
    Delivered(UserId, DeviceId, ConversationId),
    /// The last event that a user has read.
    Read(UserId, ConversationId),
}

impl MarkedPosition {
    pub(super) fn user(self) -> UserId {
        match self {
            Self::Delivered(user, ..) | Self::Read(user, _) => user,
        }
    }
}

/// The new value of a position, and the caller who reported it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) seq: Seq,
    pub(super) caller: Caller,
}

/// Maximum number of queued marks, in total and of one user.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkLimits {
    pub(super) total: usize,
    pub(super) per_user: usize,
}

/// Queued marks of one user.
#[derive(Clone, Copy, Debug, Default)]
struct UserMarks {
    count: usize,
    /// Number of the latest of them (see [`Marks`]).
    newest: u64,
}

/// The queued marks, at most one for each position. They are numbered from 1 in the order in which
/// they were queued, and are taken in this order. A mark that replaces a queued one of the same
/// position takes over its number, and a mark that is queued again after a failed write gets a new
/// number.
#[derive(Debug)]
pub(super) struct Marks {
    queued: HashMap<MarkedPosition, Mark>,
    /// Keys of `queued`, oldest first.
    order: VecDeque<MarkedPosition>,
    users: HashMap<UserId, UserMarks>,
    /// Users of the marks that are being written.
    in_flight: HashSet<UserId>,
    /// Users with a mark that was queued again after a failed write, until the next write of a mark
    /// of theirs has ended.
    failing: HashSet<UserId>,
    /// Number of the latest queued mark.
    newest: u64,
    /// Number of the latest mark that was taken.
    taken: u64,
    /// Greatest number up to which a command waits for the marks to be written.
    awaited: u64,
    /// Start of the write that is running, if any.
    write_started: Option<Instant>,
    limits: MarkLimits,
}

impl Marks {
    pub(super) fn new(limits: MarkLimits) -> Self {
        Self {
            queued: HashMap::new(),
            order: VecDeque::new(),
            users: HashMap::new(),
            in_flight: HashSet::new(),
            failing: HashSet::new(),
            newest: 0,
            taken: 0,
            awaited: 0,
            write_started: None,
            limits,
        }
    }

    /// Queues a mark. If its position has a queued mark, the greater of the two is kept, in the
    /// place of the queued one. Returns `false` and drops the mark if a limit of the node or of the
    /// user is reached.
    pub(super) fn add(&mut self, position: MarkedPosition, mark: Mark) -> bool {
        if let Some(queued) = self.queued.get_mut(&position) {
            if mark.seq > queued.seq {
                *queued = mark;
            }
            return true;
        }
        let count = self.users.get(&position.user()).map_or(0, |user| user.count);
        if self.queued.len() >= self.limits.total || count >= self.limits.per_user {
            return false;
        }
        self.newest += 1;
        let newest = self.newest;
        self.users.insert(
            position.user(),
            UserMarks {
                count: count + 1,
                newest,
            },
        );
        self.queued.insert(position, mark);
        self.order.push_back(position);
        true
    }

    /// Takes at most `max` marks, oldest first. They count as being written until
    /// [`write_ended`](Self::write_ended) or [`write_failed`](Self::write_failed).
    pub(super) fn take(&mut self, max: usize, now: Instant) -> Vec<(MarkedPosition, Mark)> {
        let positions: Vec<MarkedPosition> = self.order.drain(..max.min(self.order.len())).collect();
        self.taken += positions.len() as u64;
        self.write_started = Some(now);
        let mut taken = Vec::with_capacity(positions.len());
        for position in positions {
            let Some(mark) = self.queued.remove(&position) else {
                continue;
            };
            if let Entry::Occupied(mut entry) = self.users.entry(position.user()) {
                let user = entry.get_mut();
                user.count = user.count.saturating_sub(1);
                if user.count == 0 {
                    entry.remove();
                }
            }
            self.in_flight.insert(position.user());
            taken.push((position, mark));
        }
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.queued.len()
    }

    /// Ends the write of the marks that were taken. Returns the number of the latest of them.
    pub(super) fn write_ended(&mut self) -> u64 {
        for user in self.in_flight.drain() {
            self.failing.remove(&user);
        }
        self.write_started = None;
        self.taken
    }

    /// Ends a write that failed, and queues those of its marks again for which there is room: at
    /// the end of the queue, so that a mark that cannot be written does not block the others. A
    /// mark whose position got another one during the write is merged with that one. Returns the
    /// number that the latest mark of the write had.
    pub(super) fn write_failed(&mut self, taken: Vec<(MarkedPosition, Mark)>) -> u64 {
        let ended = self.write_ended();
        for (position, mark) in taken {
            if self.add(position, mark) {
                self.failing.insert(position.user());
            }
        }
        ended
    }

    /// Requests that the marks of this user are written soon. All of them are written once the
    /// marks up to the returned number are. Returns `None` if the user has no unwritten marks, or
    /// if the last write of a mark of this user failed and the mark was queued again.
    pub(super) fn await_user(&mut self, user: UserId) -> Option<u64> {
        if self.failing.contains(&user) {
            return None;
        }
        let in_flight = || self.in_flight.contains(&user).then_some(self.taken);
        let newest = self.users.get(&user).map(|user| user.newest).or_else(in_flight)?;
        self.awaited = self.awaited.max(newest);
        Some(newest)
    }

    /// Returns whether a command has [requested](Self::await_user) that a mark in the queue is
    /// written soon.
    pub(super) fn is_awaited(&self) -> bool {
        self.taken < self.awaited
    }

    /// Returns the start of the write that is running, if any.
    pub(super) fn write_started(&self) -> Option<Instant> {
        self.write_started
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SessionEpoch;
    use crate::time::now;

    fn caller(user: u64) -> Caller {
        Caller::login(UserId(user), DeviceId([1; 16]), SessionEpoch(1))
    }

    fn mark(user: u64, seq: u64) -> Mark {
        Mark {
            seq: Seq(seq),
            caller: caller(user),
        }
    }

    fn read(user: u64, conversation: u64) -> MarkedPosition {
        MarkedPosition::Read(UserId(user), ConversationId(conversation))
    }

    fn marks(total: usize, per_user: usize) -> Marks {
        Marks::new(MarkLimits { total, per_user })
    }

    #[test]
    fn marks_of_one_position_merge_to_the_greatest() {
        let mut marks = marks(10, 10);
        for seq in [3, 5, 4] {
            assert!(marks.add(read(1, 1), mark(1, seq)));
        }
        let taken = marks.take(10, now());
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].1.seq, Seq(5));
        assert!(marks.users.is_empty());
    }

    #[test]
    fn marks_are_bounded_in_total_and_per_user() {
        let mut marks = marks(3, 2);
        assert!(marks.add(read(1, 1), mark(1, 1)) && marks.add(read(1, 2), mark(1, 1)));
        assert!(!marks.add(read(1, 3), mark(1, 1)), "the user has too many marks");
        assert!(marks.add(read(2, 1), mark(2, 1)));
        assert!(!marks.add(read(3, 1), mark(3, 1)), "there are too many marks");
        assert!(marks.add(read(1, 1), mark(1, 2)), "merging takes no room");
        assert_eq!(marks.users.len(), 2, "a refused mark is not counted");
    }

    #[test]
    fn marks_are_taken_oldest_first() {
        let mut marks = marks(10, 10);
        for conversation in 1..=3 {
            marks.add(read(1, conversation), mark(1, 1));
        }
        marks.add(read(1, 1), mark(1, 2));
        let taken: Vec<MarkedPosition> = marks.take(2, now()).into_iter().map(|(position, _)| position).collect();
        assert_eq!(taken, [read(1, 1), read(1, 2)]);
    }

    #[test]
    fn user_is_awaited_until_the_batch_with_the_latest_mark_ends() {
        let mut marks = marks(10, 10);
        for (user, conversation) in [(1, 1), (2, 1), (2, 2)] {
            marks.add(read(user, conversation), mark(user, 1));
        }
        assert_eq!(marks.await_user(UserId(3)), None, "the user has no marks");
        assert!(!marks.is_awaited());
        assert_eq!(marks.await_user(UserId(2)), Some(3));
        marks.take(2, now());
        assert!(marks.is_awaited());
        assert_eq!(marks.write_ended(), 2);
        marks.take(1, now());
        assert!(!marks.is_awaited());
        assert_eq!(marks.await_user(UserId(2)), Some(3), "the write is running");
        assert_eq!(marks.write_ended(), 3);
        assert_eq!(marks.await_user(UserId(2)), None, "everything is written");
    }

    #[test]
    fn user_is_not_awaited_between_a_failed_write_and_a_successful_one() {
        let mut marks = marks(10, 10);
        for user in [1, 2] {
            marks.add(read(user, 1), mark(user, 1));
        }
        let taken = marks.take(1, now());
        assert_eq!(marks.write_failed(taken), 1);
        assert_eq!(marks.await_user(UserId(1)), None);
        assert_eq!(marks.await_user(UserId(2)), Some(2));
        assert_eq!(marks.take(2, now()).len(), 2);
        assert_eq!(marks.await_user(UserId(1)), None);
        marks.write_ended();
        marks.add(read(1, 1), mark(1, 2));
        assert_eq!(marks.await_user(UserId(1)), Some(4));
    }
}
