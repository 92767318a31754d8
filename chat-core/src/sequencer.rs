//! Ordered delivery of one conversation's events: every event that the user can read, once and in
//! the order of [`Seq`].
//!
//! ```text
//! seq <  next            dropped: was delivered before, or will not be delivered
//! seq == next            delivered, and buffered events that follow without a gap
//! seq >  next            buffered; the log is read after 1 s or 256 buffered events
//! ```
//! The sequencer has no I/O and no clock: its owner passes in pushed events and pages, and reads
//! the log at the time that [`next_read_at`](EventSequencer::next_read_at) returns. During an
//! interruption of the session, the store may have been restored from a copy, so that the log has
//! different events from some position on. A sequencer that knows the identity of the last
//! delivered event therefore checks it in the new session, if the log has later events, or if it
//! ends at the same position but with an event of another time: it delivers no further event, and
//! buffers pushed ones, until [`verify`](EventSequencer::verify) has looked for the last delivered
//! event in a page that starts with the position of that event. If the log of an active
//! conversation ends before that position, the owner creates a new sequencer instead of calling
//! [`resume`](EventSequencer::resume) (`client/machine/resync.rs`).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::model::{ConversationInfo, Cursor, Event, EventIdentity, HistoryEvent, HistoryPage, Seq, Timestamp};

/// Maximum number of events buffered behind a gap.
pub(crate) const MAX_BUFFERED_EVENTS: usize = 256;
/// Time for which the sequencer waits for missing events to be pushed before the log is read.
pub(crate) const GAP_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum delay after a read that returned no new event.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Events, from the first position to the last, that will not be delivered: the user may not read
/// them, or the log no longer has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingRange {
    pub(crate) from: Seq,
    pub(crate) to: Seq,
}

/// End of a log, as known when delivery starts or continues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    last: Seq,
    /// Time of the event at `last`, if known.
    time: Option<Timestamp>,
}

impl LogEnd {
    /// Returns the end of a conversation's log. Its time is known only if the conversation is
    /// active: for a former member, `info` describes the last readable event, which need not be the
    /// last event of the log.
    pub(crate) fn of(info: &ConversationInfo) -> Self {
        Self {
            last: info.last_seq,
            time: info.active.then_some(info.last_time),
        }
    }

    /// Returns this end, or an end at `last` if that is later, because the log is known to have an
    /// event there.
    pub(crate) fn at_least(self, last: Seq) -> Self {
        if last > self.last {
            Self { last, time: None }
        } else {
            self
        }
    }
}

/// Progress of reading the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// No read is running. If a read is needed, it is due at this time.
    Idle(Option<Instant>),
    /// A page was requested when the log was known to have events up to `known_last`.
    Requested { known_last: Seq },
}

/// Puts the events of one conversation into order. See the [module](self).
#[derive(Debug)]
pub(crate) struct EventSequencer {
    next: Seq,
    /// Identity of the event before `next`, if known.
    head_identity: Option<EventIdentity>,
    /// True if the event before `next` must be looked for in the log before a further event is
    /// delivered.
    unverified: bool,
    /// Last position of the log, as far as known; the last delivered position if nothing more is to
    /// be delivered.
    known_last: Seq,
    buffered: BTreeMap<Seq, Event>,
    reading: Reading,
    /// Number of reads without a new event since the last read with one. Considers only reads after
    /// which events were still missing.
    empty_reads: u32,
}

impl EventSequencer {
    /// Creates a sequencer that delivers every event after `start`. `end` is the current end of the
    /// log.
    pub(crate) fn new(start: Cursor, end: LogEnd, now: Instant) -> Self {
        let mut sequencer = Self {
            next: start.seq.next(),
            head_identity: start.identity,
            unverified: false,
            known_last: start.seq,
            buffered: BTreeMap::new(),
            reading: Reading::Idle(None),
            empty_reads: 0,
        };
        sequencer.resume(now, end);
        sequencer
    }

    /// Continues in a new session, without the events that the earlier session left buffered. `end`
    /// is the end of the log when the session started.
    pub(crate) fn resume(&mut self, now: Instant, end: LogEnd) {
        let head = self.head();
        self.unverified = self.head_identity.is_some_and(|identity| {
            let has_more = end.last > head;
            has_more || (end.last == head && end.time.is_some_and(|time| time != identity.time))
        });
        // The buffered events were pushed in the earlier session, whose log may have been
        // different.
        self.buffered.clear();
        self.known_last = end.last.max(head);
        self.plan_read(now);
    }

    /// Returns the position before that of the next event to deliver: usually that of the last
    /// delivered event.
    pub(crate) fn head(&self) -> Seq {
        self.next.previous()
    }

    /// Returns the last position of the log, as far as known, or the last delivered position if
    /// nothing more is to be delivered.
    pub(crate) fn known_last(&self) -> Seq {
        self.known_last
    }

    /// Returns whether [`verify`](Self::verify) has yet to check that the log does not differ from
    /// the delivered events.
    pub(crate) fn is_unverified(&self) -> bool {
        self.unverified
    }

    /// Checks by a page whether the log still has the event that was delivered last. Returns
    /// `false` if another event is in its place. Returns `true` also if the check is impossible:
    /// the page lacks that position (the user may no longer read it, or the log no longer has it),
    /// or the identity of the delivered event is not known. Whatever the result, the sequencer
    /// delivers events from now on.
    pub(crate) fn verify(&mut self, page: &HistoryPage) -> bool {
        let head = self.head();
        let found = page.events.iter().find(|found| found.event.seq == head);
        self.unverified = false;
        match (found, self.head_identity) {
            (Some(found), Some(identity)) => found.event.id == identity.id,
            _ => true,
        }
    }

    /// Handles a pushed event: appends the events that can be delivered now to `out`. Drops an
    /// event before the next one to deliver. If the owner has no room for events, or the event must
    /// be buffered and the buffer is full, the event is dropped too, and read from the log later.
    pub(crate) fn push(&mut self, now: Instant, event: Event, has_room: bool, out: &mut Vec<HistoryEvent>) {
        if event.seq < self.next {
            return;
        }
        self.known_last = self.known_last.max(event.seq);
        if !has_room {
            self.plan_read(now);
        } else if event.seq == self.next && !self.unverified {
            self.deliver(HistoryEvent::new(event), out);
            self.drain_buffered(out);
        } else if self.buffered.len() < MAX_BUFFERED_EVENTS {
            self.buffered.insert(event.seq, event);
            self.plan_read(now + GAP_TIMEOUT); // does not delay a read that is due earlier
        }
        if self.buffered.len() >= MAX_BUFFERED_EVENTS {
            self.plan_read(now);
        }
    }

    /// Records that the log has events up to `last` that will not be pushed, and makes a read of
    /// the log due.
    pub(crate) fn behind(&mut self, now: Instant, last: Seq) {
        self.known_last = self.known_last.max(last);
        self.plan_read(now);
    }

    /// Returns when the log must be read, to verify it or to get missing events. Returns `None` if
    /// no read is needed, or a page was requested already.
    pub(crate) fn next_read_at(&self) -> Option<Instant> {
        match self.reading {
            Reading::Idle(at) if self.is_incomplete() => at,
            _ => None,
        }
    }

    /// Records that a page is being read. Returns the position after which the page must start.
    pub(crate) fn read_started(&mut self) -> Seq {
        self.reading = Reading::Requested {
            known_last: self.known_last,
        };
        let head = self.head();
        if self.unverified { head.previous() } else { head }
    }

    /// Processes a page, and appends the events that can be delivered to `out`. Returns the events,
    /// if any, that will not be delivered, as the page shows.
    pub(crate) fn read_finished(
        &mut self,
        now: Instant,
        page: HistoryPage,
        out: &mut Vec<HistoryEvent>,
    ) -> Option<MissingRange> {
        let before = self.next;
        // Events that were reported since the request may be missing in the page.
        let grew = match self.reading {
            Reading::Requested { known_last } => self.known_last > known_last,
            Reading::Idle(_) => false,
        };
        self.reading = Reading::Idle(None);
        // Events before the first readable event, and events that were removed from the start of
        // the log, will not arrive.
        let first = page.events.first().map_or(page.first_seq, |found| found.event.seq);
        let missing = (first > self.next && page.first_seq > self.next).then(|| MissingRange {
            from: self.next,
            to: first.previous(),
        });
        if missing.is_some() {
            self.next = first;
            self.head_identity = None;
        }
        for found in page.events {
            if found.event.seq == self.next {
                self.deliver(found, out);
            }
        }
        self.drain_buffered(out);
        if page.has_more {
            self.known_last = self.known_last.max(self.next);
        } else if self.buffered.is_empty() && !grew {
            // The page shows the end of the log. Later events will be pushed.
            self.known_last = self.next.previous();
        }
        if self.next <= self.known_last {
            self.schedule(now, self.next > before, page.has_more || grew);
        }
        missing
    }

    /// Records that a page could not be read. The next read is due after `pause`.
    pub(crate) fn read_failed(&mut self, now: Instant, pause: Duration) {
        self.reading = Reading::Idle(Some(now + pause));
    }

    /// Stops delivery, because the user can no longer read the conversation.
    pub(crate) fn close(&mut self) {
        self.unverified = false;
        self.buffered.clear();
        self.known_last = self.next.previous();
        self.reading = Reading::Idle(None);
    }

    /// Records that the connection is lost, and with it the page that was requested.
    pub(crate) fn disconnected(&mut self, now: Instant) {
        if matches!(self.reading, Reading::Requested { .. }) {
            self.reading = Reading::Idle(Some(now));
        }
    }

    /// Plans the next read after a page that left events missing: at once if the page had new
    /// events and more follow, otherwise after [`GAP_TIMEOUT`]. Each further page without a new
    /// event doubles the delay, up to [`MAX_PAUSE`].
    fn schedule(&mut self, now: Instant, has_new_events: bool, has_more: bool) {
        if has_new_events {
            self.empty_reads = 0;
            self.reading = Reading::Idle(Some(if has_more { now } else { now + GAP_TIMEOUT }));
        } else {
            let pause = GAP_TIMEOUT.saturating_mul(1 << self.empty_reads.min(5)).min(MAX_PAUSE);
            self.empty_reads = self.empty_reads.saturating_add(1);
            self.reading = Reading::Idle(Some(now + pause));
        }
    }

    /// Makes the next read due at `at`, unless it is due earlier. Has no effect if no read is
    /// needed, or a page was requested already.
    fn plan_read(&mut self, at: Instant) {
        if let Reading::Idle(planned) = self.reading
            && self.is_incomplete()
        {
            self.reading = Reading::Idle(Some(planned.map_or(at, |planned| planned.min(at))));
        }
    }

    fn is_incomplete(&self) -> bool {
        self.unverified || self.next <= self.known_last
    }

    fn deliver(&mut self, event: HistoryEvent, out: &mut Vec<HistoryEvent>) {
        self.next = self.next.next();
        self.head_identity = Some(EventIdentity::from(&event.event));
        self.known_last = self.known_last.max(event.event.seq);
        out.push(event);
    }

    fn drain_buffered(&mut self, out: &mut Vec<HistoryEvent>) {
        self.buffered = self.buffered.split_off(&self.next);
        while let Some(event) = self.buffered.remove(&self.next) {
            self.deliver(HistoryEvent::new(event), out);
        }
        if self.next > self.known_last
            && let Reading::Idle(_) = self.reading
        {
            self.reading = Reading::Idle(None);
        }
    }
}
