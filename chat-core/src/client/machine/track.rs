//! One conversation's place in what the application has been handed: the rule that makes each `Seq` come once and in order.
//!
//! ```text
//! seq <  next            drop: handed out before
//! seq == next            accept, then whatever of the buffer follows without a hole
//! seq >  next            buffer; a hole that lasts 1 s, or 256 buffered events, is filled by reading the log
//! ```
//! After a connection was lost the log may be another one, which a restored copy has grown into. Unless its end shows that it is not, nothing is
//! accepted until a page that begins one place earlier has shown what stands there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::client::{Cursor, Mark};
use crate::model::{ConversationInfo, Event, HistoryEvent, HistoryPage, Seq, Timestamp};

/// Events kept while something before them is missing.
pub(super) const BUFFER_EVENTS: usize = 256;
/// How long a hole may wait to fill itself.
pub(super) const GAP_PATIENCE: Duration = Duration::from_secs(1);
/// The longest pause between two readings that brought nothing.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A stretch of the log that the application will not get: it may not read it, or it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) from: Seq,
    pub(super) to: Seq,
}

/// Where a log ends, as the server says when a session begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    last: Seq,
    /// When the last event was, if that is what `last` is the place of.
    time: Option<Timestamp>,
}

impl Tail {
    /// An ex-member's end is not that of the log.
    pub(super) fn of(info: &ConversationInfo) -> Self {
        Self {
            last: info.last_seq,
            time: info.active.then_some(info.last_time),
        }
    }

    /// More was heard of.
    pub(super) fn at_least(self, last: Seq) -> Self {
        if last > self.last {
            Self { last, time: None }
        } else {
            self
        }
    }
}

/// Where reading the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nothing is asked; ask at the given time if something is missing then.
    Idle(Option<Instant>),
    /// A page was asked for.
    Asked,
}

/// The order of one conversation's events, from whatever order they arrive in.
#[derive(Debug)]
pub(super) struct Track {
    next: Seq,
    /// What stands before `next`, as far as it is known.
    mark: Option<Mark>,
    /// It has to be seen there before anything else is accepted.
    unproven: bool,
    /// Highest place the server is known to have.
    known_last: Seq,
    early: BTreeMap<Seq, Event>,
    reading: Reading,
    /// Readings in a row that brought nothing although something is missing.
    fruitless: u32,
}

impl Track {
    /// Hands out what comes after `begin`, up to where the log ends, and on.
    pub(super) fn new(begin: Cursor, tail: Tail, now: Instant) -> Self {
        let mut track = Self {
            next: begin.seq.next(),
            mark: begin.mark,
            unproven: false,
            known_last: begin.seq,
            early: BTreeMap::new(),
            reading: Reading::Idle(None),
            fruitless: 0,
        };
        track.resume(now, tail);
        track
    }

    /// A session began, whose log ends so.
    pub(super) fn resume(&mut self, now: Instant, tail: Tail) {
        let head = self.head();
        self.unproven = self.mark.is_some_and(|mark| {
            let has_more = tail.last > head;
            has_more || (tail.last == head && tail.time.is_some_and(|time| time != mark.time))
        });
        // What waits behind a hole is of the log of before.
        self.early.clear();
        self.known_last = tail.last.max(head);
        self.read_at(now);
    }

    /// The place that was handed out last.
    pub(super) fn head(&self) -> Seq {
        self.next.previous()
    }

    /// Highest place the server is known to have.
    pub(super) fn known_last(&self) -> Seq {
        self.known_last
    }

    /// Whether the log may be another one than what was handed out is from.
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// Looks into a page for what was handed out last: `false` if something else stands there. Where this user may not read that any more,
    /// nothing can be told.
    pub(super) fn prove(&mut self, page: &HistoryPage) -> bool {
        let head = self.head();
        let found = page.events.iter().find(|found| found.event.seq == head);
        self.unproven = false;
        match (found, self.mark) {
            (Some(found), Some(mark)) => found.event.id == mark.id,
            _ => true,
        }
    }

    /// Takes a pushed event and appends to `out` what can be handed out now. With `room` false nothing is taken: the log will be
    /// read once there is room.
    pub(super) fn push(&mut self, now: Instant, event: Event, room: bool, out: &mut Vec<HistoryEvent>) {
        if event.seq < self.next {
            return;
        }
        self.known_last = self.known_last.max(event.seq);
        if !room {
            self.read_at(now);
        } else if event.seq == self.next && !self.unproven {
            self.accept(live(event), out);
            self.drain_early(out);
        } else if self.early.len() < BUFFER_EVENTS {
            self.early.insert(event.seq, event);
            self.read_at(now + GAP_PATIENCE); // a page that is due sooner stays so
        }
        if self.early.len() >= BUFFER_EVENTS {
            self.read_at(now);
        }
    }

    /// The server says that it has events up to `last`, and that it will not push them.
    pub(super) fn behind(&mut self, now: Instant, last: Seq) {
        self.known_last = self.known_last.max(last);
        self.read_at(now);
    }

    /// When a page should be asked for, if one should.
    pub(super) fn wants_page_at(&self) -> Option<Instant> {
        match self.reading {
            Reading::Idle(at) if self.lacks_something() => at,
            _ => None,
        }
    }

    /// A page after this place was asked for.
    pub(super) fn page_asked(&mut self) -> Seq {
        self.reading = Reading::Asked;
        let head = self.head();
        if self.unproven { head.previous() } else { head }
    }

    /// Takes a page and appends what can be handed out to `out`; returns the stretches that it showed to be unreadable.
    pub(super) fn page(&mut self, now: Instant, page: HistoryPage, out: &mut Vec<HistoryEvent>) -> Option<Missing> {
        let before = self.next;
        self.reading = Reading::Idle(None);
        // What lies before the first readable event, or was cut away, will never come.
        let first = page.events.first().map_or(page.first_seq, |found| found.event.seq);
        let missing = (first > self.next && page.first_seq > self.next).then(|| Missing {
            from: self.next,
            to: first.previous(),
        });
        if missing.is_some() {
            self.next = first;
            self.mark = None;
        }
        for found in page.events {
            if found.event.seq == self.next {
                self.accept(found, out);
            }
        }
        self.drain_early(out);
        if page.more {
            self.known_last = self.known_last.max(self.next);
        } else if self.early.is_empty() {
            // The log is the truth; a later event will announce itself.
            self.known_last = self.next.previous();
        }
        if self.next <= self.known_last {
            self.schedule(now, self.next > before, page.more);
        }
        missing
    }

    /// The page did not come; ask again after `pause`.
    pub(super) fn page_failed(&mut self, now: Instant, pause: Duration) {
        self.reading = Reading::Idle(Some(now + pause));
    }

    /// The conversation is not readable any more: nothing else will come.
    pub(super) fn give_up(&mut self) {
        self.unproven = false;
        self.early.clear();
        self.known_last = self.next.previous();
        self.reading = Reading::Idle(None);
    }

    /// The connection is gone, and with it the page that was asked for.
    pub(super) fn disconnected(&mut self, now: Instant) {
        if self.reading == Reading::Asked {
            self.reading = Reading::Idle(Some(now));
        }
    }

    fn schedule(&mut self, now: Instant, progress: bool, more: bool) {
        if progress {
            self.fruitless = 0;
            self.reading = Reading::Idle(Some(if more { now } else { now + GAP_PATIENCE }));
        } else {
            let pause = GAP_PATIENCE.saturating_mul(1 << self.fruitless.min(5)).min(MAX_PAUSE);
            self.fruitless = self.fruitless.saturating_add(1);
            self.reading = Reading::Idle(Some(now + pause));
        }
    }

    /// Moves the time of the next reading forward to `at`, never back. Nothing is read while nothing is missing.
    fn read_at(&mut self, at: Instant) {
        if let Reading::Idle(planned) = self.reading
            && self.lacks_something()
        {
            self.reading = Reading::Idle(Some(planned.map_or(at, |planned| planned.min(at))));
        }
    }

    fn lacks_something(&self) -> bool {
        self.unproven || self.next <= self.known_last
    }

    fn accept(&mut self, event: HistoryEvent, out: &mut Vec<HistoryEvent>) {
        self.next = self.next.next();
        self.mark = Some(Mark::from(&event.event));
        self.known_last = self.known_last.max(event.event.seq);
        out.push(event);
    }

    fn drain_early(&mut self, out: &mut Vec<HistoryEvent>) {
        self.early = self.early.split_off(&self.next);
        while let Some(event) = self.early.remove(&self.next) {
            self.accept(live(event), out);
        }
        if self.next > self.known_last {
            self.reading = match self.reading {
                Reading::Idle(_) => Reading::Idle(None),
                Reading::Asked => Reading::Asked,
            };
        }
    }
}

fn live(event: Event) -> HistoryEvent {
    HistoryEvent {
        event,
        edited_text: None,
    }
}
