//! The decisions of a feed: a state machine without I/O.
//!
//! The driver asks [`poll_work`](Machine::poll_work) what to do, does it, and hands the answer to
//! [`finish`](Machine::finish). The consumer [takes](Machine::take) events and
//! [acknowledges](Machine::acknowledge) them.
//!
//! ```text
//! news, scans ─► to look up ─► places ─► to read ─► ready ─► handed out ─► acknowledged
//!                                 └─────── in flight: bounded ──────────┘
//! ```
//!
//! A place is kept in memory while something of its conversation is to be read or in flight, and
//! longer if there is room, to save looking it up again. Of a conversation without a place, the
//! store knows everything: so a place may only be made from a look-up that began after the last
//! place of the conversation was dropped. Places are therefore dropped only while no look-up runs.

mod conversation;
mod shards;
mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::conversation::Place;
use self::shards::Shards;
pub(super) use self::work::{Done, LeaseAnswer, LeaseWork, LogRead, LookUp, Moves, Positions, Read, Work};
use super::options::{FeedOptions, FeedScope};
use crate::engine::error::CommandError;
use crate::model::{ConversationId, Event, Seq};
use crate::router::News;
use crate::store::{FeedLease, FeedShard};

/// Number of places above which idle ones are dropped.
const MAX_PLACES: usize = 4096;
/// Maximum number of conversations that wait to be looked up; beyond it, a scan finds them.
const MAX_TO_LOOK_UP: usize = 4096;
/// Number of conversations in one look-up.
const LOOK_UP_AT_ONCE: usize = 256;
/// Maximum number of logs that are read at the same time.
const MAX_READS: usize = 4;
/// Maximum number of events in one read.
const READ_EVENTS: usize = 64;
/// Number of cursors that one write records.
const RECORD_AT_ONCE: usize = 512;
/// A scan begins at the earliest when this many times the duration of the last one has passed, so
/// that scans of a large store take a small part of its time.
const SCAN_PAUSE: u32 = 20;
/// Pause after a failure of the store; doubles with each in a row.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Conversations of a user that begin are announced by their first events: news with a `Seq` up to
/// this are looked up even if the user is not known to be a member.
const FIRST_EVENTS: Seq = Seq(4);
/// Leases are renewed this many times while they hold.
const RENEWALS: u32 = 5;

/// A scan of all conversations of the scope for those in which the feed is behind.
#[derive(Debug)]
struct Scan {
    /// Where the next page begins, while a scan is under way.
    after: Option<ConversationId>,
    /// Another scan has to begin.
    is_requested: bool,
    began: Instant,
    /// Earliest begin of the next scan.
    not_before: Instant,
}

/// Consecutive failures of one kind of work.
#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl Pause {
    fn new(now: Instant) -> Self {
        Self {
            length: MIN_PAUSE,
            until: now,
        }
    }

    fn failed(&mut self, now: Instant) {
        self.until = now + self.length;
        self.length = (self.length * 2).min(MAX_PAUSE);
    }

    fn succeeded(&mut self) {
        self.length = MIN_PAUSE;
    }
}

/// The state of a feed on this node. See the [module](self).
#[derive(Debug)]
pub(super) struct Machine {
    max_in_flight: usize,
    max_in_conversation: usize,
    lease_ttl: Duration,
    flush_interval: Duration,

    shards: Shards,
    /// Time of the next round of leases; `None` while one runs.
    leases_due: Option<Instant>,

    places: HashMap<ConversationId, Place>,
    /// The user's conversations; `None` in a feed of all.
    members: Option<HashSet<ConversationId>>,
    to_look_up: HashSet<ConversationId>,
    look_up_is_running: bool,
    /// Number of look-ups that began.
    look_ups: u64,
    scan: Scan,
    look_up_pause: Pause,

    to_read: VecDeque<ConversationId>,
    /// Number of reads that began.
    reads: u64,
    running_reads: usize,
    /// Events that the running reads may bring.
    reserved: usize,
    read_pause: Pause,

    /// Events to hand out, each with the term of its lease.
    ready: VecDeque<(Event, u64)>,
    /// Number of events that were read and not acknowledged.
    in_flight: usize,
    /// Number of items that the consumer has.
    handed_out: usize,

    /// Conversations whose cursors are to be recorded.
    unrecorded: BTreeSet<ConversationId>,
    /// Time at which cursors are recorded; `None` while they are.
    record_due: Option<Instant>,
    record_pause: Pause,
    /// A consumer waits for a cursor that the running write does not record.
    record_is_urgent: bool,

    /// Set once the feed closes: the time until which it waits for its consumer.
    closing: Option<Instant>,
}

impl Machine {
    pub(super) fn new(options: &FeedOptions, now: Instant) -> Self {
        let is_of_user = matches!(options.scope, FeedScope::User(_));
        Self {
            max_in_flight: options.max_in_flight,
            max_in_conversation: (options.max_in_flight / 4).max(1),
            lease_ttl: options.lease_ttl,
            flush_interval: options.flush_interval,
            shards: Shards::default(),
            leases_due: Some(now),
            places: HashMap::new(),
            members: is_of_user.then(HashSet::new),
            to_look_up: HashSet::new(),
            look_up_is_running: false,
            look_ups: 0,
            scan: Scan {
                after: None,
                is_requested: false,
                began: now,
                not_before: now,
            },
            look_up_pause: Pause::new(now),
            to_read: VecDeque::new(),
            reads: 0,
            running_reads: 0,
            reserved: 0,
            read_pause: Pause::new(now),
            ready: VecDeque::new(),
            in_flight: 0,
            handed_out: 0,
            unrecorded: BTreeSet::new(),
            record_due: Some(now),
            record_pause: Pause::new(now),
            record_is_urgent: false,
            closing: None,
        }
    }

    // What the consumer does.

    /// Takes the next event to hand out, with the term of its lease.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Event, u64)> {
        let shards = &self.shards;
        // Events of a shard whose lease may have expired wait for the renewal.
        let index = self
            .ready
            .iter()
            .position(|(event, term)| shards.may_hand_out(FeedShard::of(event.conversation), *term, now))?;
        self.handed_out += 1;
        self.ready.remove(index)
    }

    /// Returns whether events wait to be handed out.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Acknowledges an event that was handed out under this term.
    pub(super) fn acknowledge(&mut self, now: Instant, conversation: ConversationId, seq: Seq, term: u64) {
        if self.shards.term_of(conversation) != Some(term) {
            return;
        }
        let Some(place) = self.places.get_mut(&conversation) else {
            return;
        };
        if place.acknowledge(seq) {
            self.in_flight -= 1;
        }
        if place.unrecorded().is_some() {
            if self.unrecorded.is_empty() {
                self.record_at(now + self.flush_interval);
            }
            self.unrecorded.insert(conversation);
        }
        self.queue_read(conversation);
    }

    /// Acknowledges an event. Returns a receiver that is told when that is recorded, or `None` if
    /// the lease is lost.
    pub(super) fn acknowledge_durably(
        &mut self,
        now: Instant,
        conversation: ConversationId,
        seq: Seq,
        term: u64,
    ) -> Option<oneshot::Receiver<()>> {
        self.acknowledge(now, conversation, seq, term);
        if self.shards.term_of(conversation) != Some(term) {
            return None;
        }
        let recorded = self.places.get_mut(&conversation)?.wait_for(seq);
        self.record_is_urgent = true;
        self.record_at(now);
        Some(recorded)
    }

    /// Records that the consumer has one item less. Returns whether the feed may wait for that.
    pub(super) fn returned(&mut self) -> bool {
        self.handed_out -= 1;
        self.closing.is_some()
    }

    /// Stops reading; what was acknowledged is still recorded. Waits for the consumer's items until
    /// `deadline`.
    pub(super) fn close(&mut self, now: Instant, deadline: Instant) {
        if self.closing.is_none() {
            self.closing = Some(deadline);
            self.record_at(now);
        }
    }

    /// Returns whether a closing feed has nothing left to do but to release its leases.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        self.closing.is_some_and(|deadline| {
            let is_settled = self.handed_out == 0
                && self.unrecorded.is_empty()
                && self.record_due.is_some()
                && self.leases_due.is_some();
            is_settled || now >= deadline
        })
    }

    /// Returns every lease, to be released at the end.
    pub(super) fn all_leases(&self) -> Vec<FeedLease> {
        self.shards.lease_work(|_| false).renew
    }

    // What the driver does.

    /// Takes news of the router into account.
    pub(super) fn news(&mut self, news: &News) {
        for conversation in &news.joined {
            if let Some(members) = &mut self.members {
                members.insert(*conversation);
                self.grown(*conversation, Seq::ZERO);
            }
        }
        for (conversation, last_seq) in &news.grown {
            let members = self.members.as_ref();
            let concerns = members.is_none_or(|members| *last_seq <= FIRST_EVENTS || members.contains(conversation));
            if concerns {
                self.grown(*conversation, *last_seq);
            }
        }
        self.scan.is_requested |= news.may_be_incomplete;
    }

    fn grown(&mut self, conversation: ConversationId, last_seq: Seq) {
        if !self.shards.works_on(conversation) {
            return;
        }
        match self.places.get_mut(&conversation) {
            Some(place) if last_seq > Seq::ZERO => {
                place.grown(last_seq);
                self.queue_read(conversation);
            }
            _ if self.to_look_up.len() < MAX_TO_LOOK_UP => {
                self.to_look_up.insert(conversation);
            }
            _ => self.scan.is_requested = true,
        }
    }

    /// Returns everything that can be done now.
    pub(super) fn poll_work(&mut self, now: Instant) -> Vec<Work> {
        let mut work = Vec::new();
        if self.record_due.is_some_and(|due| due <= now) && !self.unrecorded.is_empty() {
            work.extend(self.record());
        }
        if self.closing.is_some() {
            return work;
        }
        if self.leases_due.is_some_and(|due| due <= now) {
            self.leases_due = None;
            work.push(Work::Leases(self.shards.lease_work(|shard| self.is_settled(shard))));
        }
        work.extend(self.look_up(now));
        while let Some(read) = self.read(now) {
            work.push(Work::Read(read));
        }
        work
    }

    /// Returns when [`poll_work`](Self::poll_work), called just now, may return more although
    /// nothing else happened. Work that was due and not returned waits for something else.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let record = self.record_due.filter(|_| !self.unrecorded.is_empty());
        if self.closing.is_some() {
            return [record, self.closing]
                .into_iter()
                .flatten()
                .filter(|at| *at > now)
                .min();
        }
        let wants_look_up = !self.look_up_is_running && !self.shards.working().is_empty();
        let look_up = (wants_look_up && (!self.to_look_up.is_empty() || self.scan.after.is_some()))
            .then_some(self.look_up_pause.until);
        let scan =
            (wants_look_up && self.scan.is_requested).then(|| self.scan.not_before.max(self.look_up_pause.until));
        let can_read = !self.to_read.is_empty() && self.running_reads < MAX_READS && self.room() > 0;
        let read = can_read.then_some(self.read_pause.until);
        let times = [record, self.leases_due, look_up, scan, read];
        times.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Takes the answer to a work.
    pub(super) fn finish(&mut self, now: Instant, done: Done) {
        match done {
            Done::Leases(answer) => self.leases_finished(now, answer),
            Done::LookUp(look_up, answer) => self.look_up_finished(now, look_up, answer),
            Done::Read(read, answer) => self.read_finished(now, read, answer),
            Done::Record(moves, answer) => self.recorded(now, moves, answer),
        }
    }

    // Leases.

    fn leases_finished(&mut self, now: Instant, answer: Result<LeaseAnswer, CommandError>) {
        let Ok(answer) = answer else {
            self.leases_due = Some(now + self.lease_ttl / (RENEWALS * 4));
            return;
        };
        for lease in answer.lost.iter().chain(&answer.released) {
            self.lose(lease);
        }
        for lease in answer.renewed {
            self.shards.renewed(lease, answer.asked, self.lease_ttl);
        }
        for lease in answer.claimed {
            // An earlier lease of the same shard is over.
            if let Some(earlier) = self.shards.lease_of_shard(lease.shard).cloned() {
                self.lose(&earlier);
            }
            let since = self.look_ups + 1;
            self.shards.claimed(lease, answer.asked + self.lease_ttl, since);
            self.scan.is_requested = true;
            self.scan.after = None;
            self.scan.not_before = now;
        }
        let (left, kept) = self.shards.leave(answer.surplus);
        for shard in left {
            self.unread(shard);
        }
        if !kept.is_empty() {
            let kept: Vec<_> = self
                .places
                .keys()
                .copied()
                .filter(|id| kept.contains(&FeedShard::of(*id)))
                .collect();
            kept.into_iter().for_each(|conversation| self.queue_read(conversation));
            self.scan.is_requested = true;
        }
        self.leases_due = Some(now + self.lease_ttl / RENEWALS);
        self.release_soon(now);
    }

    /// Forgets everything of a shard whose lease is over.
    fn lose(&mut self, lease: &FeedLease) {
        if !self.shards.remove(lease) {
            return;
        }
        let is_of_shard = |conversation: ConversationId| FeedShard::of(conversation) == lease.shard;
        self.ready.retain(|(event, _)| !is_of_shard(event.conversation));
        self.unrecorded.retain(|conversation| !is_of_shard(*conversation));
        self.to_look_up.retain(|conversation| !is_of_shard(*conversation));
        let in_flight = &mut self.in_flight;
        self.places.retain(|conversation, place| {
            if is_of_shard(*conversation) {
                *in_flight -= place.unacknowledged();
            }
            !is_of_shard(*conversation)
        });
    }

    /// Takes back what was read of a shard and not handed out.
    fn unread(&mut self, shard: FeedShard) {
        let mut first: HashMap<ConversationId, Seq> = HashMap::new();
        self.ready.retain(|(event, _)| {
            let is_kept = FeedShard::of(event.conversation) != shard;
            if !is_kept {
                first.entry(event.conversation).or_insert(event.seq);
            }
            is_kept
        });
        for (conversation, place) in &mut self.places {
            if FeedShard::of(*conversation) == shard {
                self.in_flight -= place.unread_from(first.get(conversation).copied());
            }
        }
    }

    /// Returns whether nothing of a shard is in flight or unrecorded.
    fn is_settled(&self, shard: FeedShard) -> bool {
        let mut places = self.places.iter();
        places.all(|(conversation, place)| FeedShard::of(*conversation) != shard || place.is_settled())
    }

    /// Lets the next round of leases begin at once if it can release one.
    fn release_soon(&mut self, now: Instant) {
        if self.leases_due.is_some() && self.shards.leaving().any(|shard| self.is_settled(shard)) {
            self.leases_due = Some(now);
        }
    }

    // Looking up.

    fn look_up(&mut self, now: Instant) -> Option<Work> {
        if self.look_up_is_running || now < self.look_up_pause.until {
            return None;
        }
        let shards = self.shards.working();
        if shards.is_empty() {
            return None;
        }
        if self.places.len() >= MAX_PLACES {
            self.places.retain(|_, place| !place.is_idle());
            if self.places.len() >= MAX_PLACES {
                return None;
            }
        }
        if self.scan.after.is_none() && self.scan.is_requested && now >= self.scan.not_before {
            self.scan.is_requested = false;
            self.scan.after = Some(ConversationId(0));
            self.scan.began = now;
        }
        // News come first, but every other look-up is a page while a scan is under way.
        let page = self
            .scan
            .after
            .filter(|_| self.to_look_up.is_empty() || self.look_ups.is_multiple_of(2));
        let look_up = match page {
            Some(after) => LookUp::Page { after, shards },
            None if self.to_look_up.is_empty() => return None,
            None => {
                let some: Vec<_> = self.to_look_up.iter().copied().take(LOOK_UP_AT_ONCE).collect();
                for conversation in &some {
                    self.to_look_up.remove(conversation);
                }
                LookUp::These(some)
            }
        };
        self.look_ups += 1;
        self.look_up_is_running = true;
        Some(Work::LookUp(look_up))
    }

    fn look_up_finished(&mut self, now: Instant, look_up: LookUp, answer: Result<Positions, CommandError>) {
        self.look_up_is_running = false;
        let Ok(found) = answer else {
            self.look_up_pause.failed(now);
            if let LookUp::These(conversations) = look_up {
                self.to_look_up.extend(conversations);
            }
            return;
        };
        self.look_up_pause.succeeded();
        if let LookUp::Page { after, .. } = look_up
            // A scan that was begun anew meanwhile does not continue here.
            && self.scan.after == Some(after)
        {
            self.scan.after = found.next;
            if found.next.is_none() {
                self.scan.not_before = now + (now - self.scan.began) * SCAN_PAUSE;
            }
        }
        if let Some(members) = &mut self.members {
            members.extend(found.members);
        }
        for position in found.positions {
            let conversation = position.conversation;
            if !self.shards.works_since(conversation, self.look_ups) {
                continue;
            }
            let place = self.places.entry(conversation);
            let place = place.or_insert_with(|| Place::new(position.cursor, position.last_seq));
            place.grown(position.last_seq);
            self.queue_read(conversation);
        }
    }

    // Reading.

    fn room(&self) -> usize {
        self.max_in_flight.saturating_sub(self.in_flight + self.reserved)
    }

    fn queue_read(&mut self, conversation: ConversationId) {
        if let Some(place) = self.places.get_mut(&conversation)
            && place.wants_read(self.max_in_conversation)
            && !place.is_queued
        {
            place.is_queued = true;
            self.to_read.push_back(conversation);
        }
    }

    fn read(&mut self, now: Instant) -> Option<Read> {
        if now < self.read_pause.until || self.running_reads >= MAX_READS {
            return None;
        }
        let room = self.room().min(READ_EVENTS);
        if room == 0 {
            return None;
        }
        loop {
            let conversation = self.to_read.pop_front()?;
            let Some(place) = self.places.get_mut(&conversation) else {
                continue;
            };
            place.is_queued = false;
            if !self.shards.works_on(conversation) || !place.wants_read(self.max_in_conversation) {
                continue;
            }
            self.reads += 1;
            self.running_reads += 1;
            let max_events = room.min(place.room(self.max_in_conversation));
            self.reserved += max_events;
            return Some(Read {
                conversation,
                after: place.read_started(self.reads),
                max_events,
                number: self.reads,
            });
        }
    }

    fn read_finished(&mut self, now: Instant, read: Read, answer: Result<LogRead, CommandError>) {
        self.running_reads -= 1;
        self.reserved -= read.max_events;
        let term = self.shards.term_of(read.conversation);
        let (Some(place), Some(term)) = (self.places.get_mut(&read.conversation), term) else {
            return;
        };
        if !place.is_reading(read.number) {
            return;
        }
        match answer {
            Ok(found) => {
                self.read_pause.succeeded();
                place.read_finished(found.events.iter().map(|event| event.seq), found.is_end);
                self.in_flight += found.events.len();
                self.ready.extend(found.events.into_iter().map(|event| (event, term)));
                if let Some(members) = &mut self.members {
                    if found.is_readable {
                        members.insert(read.conversation);
                    } else {
                        members.remove(&read.conversation);
                    }
                }
            }
            Err(_) => {
                place.read_failed();
                self.read_pause.failed(now);
            }
        }
        self.queue_read(read.conversation);
    }

    // Recording.

    fn record_at(&mut self, at: Instant) {
        if let Some(due) = &mut self.record_due {
            *due = at.max(self.record_pause.until);
        }
    }

    fn record(&mut self) -> Option<Work> {
        let mut by_shard: Vec<Moves> = Vec::new();
        let mut sorted: Vec<_> = self.unrecorded.iter().copied().take(RECORD_AT_ONCE).collect();
        // Leases are locked in the order of their shards.
        sorted.sort_unstable_by_key(|conversation| (FeedShard::of(*conversation), *conversation));
        for conversation in sorted {
            let place = self.places.get(&conversation);
            let cursor = place.and_then(Place::unrecorded);
            let (Some(cursor), Some(lease)) = (cursor, self.shards.lease_of(conversation)) else {
                self.unrecorded.remove(&conversation);
                continue;
            };
            match by_shard.last_mut() {
                Some(moves) if moves.lease.shard == lease.shard => moves.cursors.push((conversation, cursor)),
                _ => by_shard.push(Moves {
                    lease: lease.clone(),
                    cursors: vec![(conversation, cursor)],
                }),
            }
        }
        if by_shard.is_empty() {
            return None;
        }
        self.record_due = None;
        self.record_is_urgent = false;
        Some(Work::Record(by_shard))
    }

    fn recorded(&mut self, now: Instant, moves: Vec<Moves>, answer: Result<Vec<bool>, CommandError>) {
        let Ok(held) = answer else {
            self.record_pause.failed(now);
            self.record_due = Some(self.record_pause.until);
            return;
        };
        self.record_pause.succeeded();
        for (moves, is_held) in moves.into_iter().zip(held) {
            if !is_held {
                self.lose(&moves.lease);
            }
            for (conversation, cursor) in moves.cursors {
                // The place may be of a later lease; the store has this cursor all the same.
                let place = self.places.get_mut(&conversation).filter(|_| is_held);
                let Some(place) = place else { continue };
                place.recorded(cursor);
                if place.unrecorded().is_none() {
                    self.unrecorded.remove(&conversation);
                }
            }
        }
        let is_full = self.unrecorded.len() >= RECORD_AT_ONCE;
        let wait = if self.record_is_urgent || is_full || self.closing.is_some() {
            Duration::ZERO
        } else {
            self.flush_interval
        };
        self.record_due = Some(now + wait);
        self.release_soon(now);
    }
}
