//! [`Place`]: a feed's place in one conversation.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::model::Seq;

/// The feed's place in one conversation of a shard whose lease the node holds.
///
/// ```text
///   cursor ≤ done ≤ head ≤ known_last
///     │       │      │        └ last event to read, as far as the feed knows
///     │       │      └ last event that was read from the log
///     │       └ last event that is acknowledged together with all earlier events
///     └ the feed's cursor in the store
/// ```
#[derive(Debug)]
pub(super) struct Place {
    cursor: Seq,
    done: Seq,
    head: Seq,
    known_last: Seq,
    /// Events after `done` that were read, each with whether it was acknowledged.
    outstanding: VecDeque<(Seq, bool)>,
    /// Number of the running read, and `known_last` when it started.
    reading: Option<(u64, Seq)>,
    /// Consumers that wait until the cursor reaches a `Seq`.
    waiting: Vec<(Seq, oneshot::Sender<()>)>,
}

impl Place {
    pub(super) fn new(cursor: Seq, last_seq: Seq) -> Self {
        Self {
            cursor,
            done: cursor,
            head: cursor,
            known_last: last_seq.max(cursor),
            outstanding: VecDeque::new(),
            reading: None,
            waiting: Vec::new(),
        }
    }

    /// Records that the log reaches at least to `last_seq`.
    pub(super) fn grown(&mut self, last_seq: Seq) {
        self.known_last = self.known_last.max(last_seq);
    }

    /// Returns whether the log has unread events that may be read now.
    pub(super) fn wants_read(&self, max_outstanding: usize) -> bool {
        self.head < self.known_last && self.reading.is_none() && self.outstanding.len() < max_outstanding
    }

    /// Returns whether the feed knows of no further event to read.
    pub(super) fn is_at_end(&self) -> bool {
        self.head >= self.known_last
    }

    /// Returns the number of further events that may be read.
    pub(super) fn room(&self, max_outstanding: usize) -> usize {
        max_outstanding.saturating_sub(self.outstanding.len())
    }

    /// Starts a read. Returns the `Seq` to read after.
    pub(super) fn read_started(&mut self, number: u64) -> Seq {
        self.reading = Some((number, self.known_last));
        self.head
    }

    /// Returns whether the result of this read is still needed.
    pub(super) fn is_reading(&self, number: u64) -> bool {
        self.reading.is_some_and(|(running, _)| running == number)
    }

    /// Records the events that the running read returned. `is_end`: there were no further events
    /// that the feed may read.
    pub(super) fn read_finished(&mut self, seqs: impl Iterator<Item = Seq>, is_end: bool) {
        for seq in seqs {
            self.outstanding.push_back((seq, false));
            self.head = seq;
        }
        let known_at_start = self.reading.take().map(|(_, known_last)| known_last);
        if !is_end {
            self.known_last = self.known_last.max(self.head.next());
        } else if known_at_start == Some(self.known_last) || self.known_last < self.head {
            // No news arrived during the read, or the read returned the events that the news
            // announced. So the log ends here, or the user may read no further.
            self.known_last = self.head;
        }
    }

    pub(super) fn read_failed(&mut self) {
        self.reading = None;
    }

    /// Marks an event as acknowledged. Returns `false` if it is not outstanding or was acknowledged
    /// before.
    pub(super) fn acknowledge(&mut self, seq: Seq) -> bool {
        let Ok(index) = self.outstanding.binary_search_by_key(&seq, |(seq, _)| *seq) else {
            return false;
        };
        if std::mem::replace(&mut self.outstanding[index].1, true) {
            return false;
        }
        while let Some((seq, true)) = self.outstanding.front().copied() {
            self.outstanding.pop_front();
            self.done = seq;
        }
        true
    }

    /// Forgets the events from `seq` on, which were read and not handed out, so that they are read
    /// again; `None` if there are no such events. Returns their number. The result of a running
    /// read will be ignored.
    pub(super) fn rewind_to(&mut self, seq: Option<Seq>) -> usize {
        self.reading = None;
        let before = self.outstanding.len();
        if let Some(seq) = seq {
            self.outstanding.retain(|(other, _)| *other < seq);
            self.known_last = self.known_last.max(self.head);
            self.head = self.outstanding.back().map_or(self.done, |(seq, _)| *seq);
        }
        before - self.outstanding.len()
    }

    /// Returns the cursor to record, if the store has an older cursor.
    pub(super) fn unrecorded(&self) -> Option<Seq> {
        (self.done > self.cursor).then_some(self.done)
    }

    /// Marks this cursor as recorded in the store, and notifies the consumers that wait for it.
    pub(super) fn recorded(&mut self, cursor: Seq) {
        self.cursor = self.cursor.max(cursor);
        let reached = self.waiting.extract_if(.., |(seq, _)| *seq <= self.cursor);
        for (_, waiter) in reached {
            // The consumer may have stopped waiting.
            let _ = waiter.send(());
        }
    }

    /// Returns a receiver that completes when the store has recorded a cursor of at least `seq`,
    /// and fails if this place is dropped first.
    pub(super) fn wait_for(&mut self, seq: Seq) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if seq <= self.cursor {
            let _ = sender.send(());
        } else {
            self.waiting.push((seq, sender));
        }
        receiver
    }

    /// Returns whether a consumer waits for an acknowledgement that can be recorded now, because
    /// all earlier events are acknowledged too.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.iter().any(|(seq, _)| *seq <= self.done)
    }

    /// Returns the number of events that were read and not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.outstanding
            .iter()
            .filter(|(_, acknowledged)| !acknowledged)
            .count()
    }

    /// Returns whether no event of the conversation is in flight and its cursor is recorded in the
    /// store.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding.is_empty() && self.unrecorded().is_none()
    }

    /// Returns whether the place can be dropped: the store has its cursor, and there is nothing to
    /// read.
    pub(super) fn is_idle(&self) -> bool {
        self.is_settled() && self.reading.is_none() && self.is_at_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(place: &mut Place, seqs: std::ops::RangeInclusive<u64>, is_end: bool) {
        place.read_started(1);
        place.read_finished(seqs.map(Seq), is_end);
    }

    #[test]
    fn cursor_passes_an_event_once_all_earlier_events_are_acknowledged() {
        let mut place = Place::new(Seq(4), Seq(8));
        read(&mut place, 5..=8, true);
        assert!(place.acknowledge(Seq(6)) && place.acknowledge(Seq(8)));
        assert_eq!(place.unrecorded(), None);
        assert!(place.acknowledge(Seq(5)));
        assert_eq!(place.unrecorded(), Some(Seq(6)));
        assert!(!place.acknowledge(Seq(5)), "acknowledged before");
        assert!(place.acknowledge(Seq(7)));
        assert_eq!((place.unrecorded(), place.unacknowledged()), (Some(Seq(8)), 0));
        place.recorded(Seq(8));
        assert!(place.is_idle());
    }

    #[test]
    fn read_during_a_commit_is_followed_by_another_read() {
        let mut place = Place::new(Seq(0), Seq(2));
        place.read_started(1);
        place.grown(Seq(3));
        place.read_finished([Seq(1), Seq(2)].into_iter(), true);
        assert!(place.wants_read(10));
        assert_eq!(place.read_started(2), Seq(2));
        place.read_finished([Seq(3)].into_iter(), true);
        assert!(!place.wants_read(10));
    }

    #[test]
    fn place_reads_once_if_the_user_may_read_no_further() {
        let mut place = Place::new(Seq(5), Seq(9));
        place.read_started(1);
        place.read_finished(std::iter::empty(), true);
        assert!(!place.wants_read(10) && place.is_idle());
    }

    #[test]
    fn events_that_were_not_handed_out_are_read_again() {
        let mut place = Place::new(Seq(0), Seq(4));
        read(&mut place, 1..=4, true);
        assert_eq!(place.rewind_to(Some(Seq(3))), 2);
        assert_eq!((place.unacknowledged(), place.read_started(2)), (2, Seq(2)));
    }
}
