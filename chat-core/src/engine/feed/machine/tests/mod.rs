//! Tests of the machine with a model of the store. `behaviour` calls the machine directly;
//! `interleavings` generates random orders of requests, answers, failures and pauses.

mod behaviour;
mod interleavings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::engine::error::CommandError;
use crate::model::{EventId, EventKind, NodeId, Timestamp, UserId};
use crate::router::News;
use crate::store::FeedPosition;

const TTL: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_millis(100);
/// Interval between two rounds of leases: a fifth of `TTL`.
const ROUND: Duration = Duration::from_secs(2);
const NODE: NodeId = NodeId([1; 16]);
/// The conversations of most tests. The first and the third are in the same shard.
const IDS: [ConversationId; 3] = [ConversationId(1), ConversationId(2), ConversationId(17)];

fn options(max_in_flight: usize) -> FeedOptions {
    let mut options = FeedOptions::all_conversations("feed").max_in_flight(max_in_flight);
    options.lease_ttl = TTL;
    options.flush_interval = FLUSH;
    options
}

fn event(conversation: ConversationId, seq: u64) -> Event {
    Event::new(
        conversation,
        Seq(seq),
        EventId([0; 16]),
        UserId(1),
        Timestamp(0),
        EventKind::Message,
        Bytes::new(),
    )
}

/// A store with the leases, cursors and logs of one feed.
#[derive(Debug, Default)]
struct Model {
    /// `Seq` of the last event of each log.
    logs: BTreeMap<ConversationId, u64>,
    cursors: BTreeMap<ConversationId, Seq>,
    /// Latest lease of each shard, even if it has expired.
    leases: BTreeMap<FeedShard, ModelLease>,
    /// Number of shards that each node may have. A node without an entry may have all shards.
    shares: BTreeMap<NodeId, usize>,
}

#[derive(Clone, Copy, Debug)]
struct ModelLease {
    node: NodeId,
    term: u64,
    expires: Instant,
}

impl Model {
    fn new(logs: &[(ConversationId, u64)]) -> Self {
        Self {
            logs: logs.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// Returns whether this lease is the latest one of its shard; it may have expired.
    fn holds(&self, lease: &FeedLease) -> bool {
        let latest = self.leases.get(&lease.shard);
        latest.is_some_and(|latest| (latest.node, latest.term) == (lease.node, lease.term))
    }

    /// Returns whether the latest lease of the conversation's shard has this term.
    fn is_held_under(&self, conversation: ConversationId, term: u64) -> bool {
        self.leases[&FeedShard::of(conversation)].term == term
    }

    fn cursor(&self, conversation: ConversationId) -> Seq {
        self.cursors.get(&conversation).copied().unwrap_or(Seq::ZERO)
    }

    fn position(&self, conversation: ConversationId) -> FeedPosition {
        let last_seq = Seq(self.logs[&conversation]);
        FeedPosition::new(conversation, self.cursor(conversation), last_seq)
    }

    fn share(&self, node: NodeId) -> usize {
        self.shares.get(&node).copied().unwrap_or(usize::MAX)
    }

    /// Ends the lease of a shard, as if another process with the node id of its holder had claimed
    /// the shard.
    fn take_away(&mut self, shard: FeedShard) {
        if let Some(lease) = self.leases.get_mut(&shard) {
            lease.term += 1;
        }
    }

    fn execute(&mut self, now: Instant, node: NodeId, work: Work) -> WorkAnswer {
        match work {
            Work::Leases(work) => WorkAnswer::Leases(Ok(self.round(now, node, work))),
            Work::LookUp(look_up) => {
                let found = self.look_up(&look_up);
                WorkAnswer::LookUp(look_up, Ok(found))
            }
            Work::Read(read) => WorkAnswer::Read(read, Ok(self.read(read))),
            Work::Record(moves) => {
                let held = moves.iter().map(|moves| self.record(moves)).collect();
                WorkAnswer::Record(moves, Ok(held))
            }
        }
    }

    fn round(&mut self, now: Instant, node: NodeId, work: LeaseWork) -> LeaseAnswer {
        let (renewed, lost): (Vec<_>, Vec<_>) = work.renew.into_iter().partition(|lease| self.holds(lease));
        for lease in &renewed {
            self.leases.get_mut(&lease.shard).unwrap().expires = now + TTL;
        }
        for lease in &work.release {
            if self.holds(lease) {
                self.leases.get_mut(&lease.shard).unwrap().expires = now;
            }
        }
        let share = self.share(node);
        let shards: BTreeSet<_> = IDS.map(FeedShard::of).into_iter().collect();
        let is_free = |shard: &FeedShard| {
            let latest = self.leases.get(shard);
            let has_no_other_holder = latest.is_none_or(|latest| latest.node == node || latest.expires <= now);
            has_no_other_holder && renewed.iter().all(|lease| lease.shard != *shard)
        };
        let free = shards.into_iter().filter(|shard| work.may_claim && is_free(shard));
        let claim: Vec<_> = free.take(share.saturating_sub(renewed.len())).collect();
        LeaseAnswer {
            requested_at: now,
            claimed: claim.into_iter().map(|shard| self.claim(now, node, shard)).collect(),
            surplus: renewed.len().saturating_sub(share),
            renewed,
            released: work.release,
            lost,
        }
    }

    fn claim(&mut self, now: Instant, node: NodeId, shard: FeedShard) -> FeedLease {
        let term = self.leases.get(&shard).map_or(1, |latest| latest.term + 1);
        let expires = now + TTL;
        self.leases.insert(shard, ModelLease { node, term, expires });
        FeedLease::new("feed".into(), shard, node, term, Timestamp(0))
    }

    /// Returns one page with the positions in the given conversations, or in all conversations of
    /// the requested shards. Unlike the store, includes conversations in which the feed is not
    /// behind, and counts these conversations as examined, as if the feed's user were a member of
    /// them.
    fn look_up(&self, look_up: &LookUp) -> Positions {
        let ids: Vec<_> = match look_up {
            LookUp::Conversations(ids) => ids.clone(),
            LookUp::Page { shards, .. } => {
                let ids = self.logs.keys().copied();
                ids.filter(|id| shards.contains(&FeedShard::of(*id))).collect()
            }
        };
        Positions {
            positions: ids.iter().map(|id| self.position(*id)).collect(),
            examined: ids,
            next: None,
        }
    }

    fn read(&self, read: Read) -> LogRead {
        let last = self.logs[&read.conversation];
        let seqs = (read.after.0 + 1..=last).take(read.max_events);
        let events: Vec<_> = seqs.map(|seq| event(read.conversation, seq)).collect();
        let is_end = read.after.0 + events.len() as u64 >= last;
        LogRead { events, is_end }
    }

    fn record(&mut self, moves: &CursorMoves) -> bool {
        let holds = self.holds(&moves.lease);
        for (conversation, seq) in moves.cursors.iter().filter(|_| holds) {
            let cursor = self.cursors.entry(*conversation).or_insert(Seq::ZERO);
            *cursor = (*cursor).max(*seq);
        }
        holds
    }
}

/// Returns the answer to work that failed.
fn fail(work: Work) -> WorkAnswer {
    let error = CommandError::try_again();
    match work {
        Work::Leases(_) => WorkAnswer::Leases(Err(error)),
        Work::LookUp(look_up) => WorkAnswer::LookUp(look_up, Err(error)),
        Work::Read(read) => WorkAnswer::Read(read, Err(error)),
        Work::Record(moves) => WorkAnswer::Record(moves, Err(error)),
    }
}

/// A machine, its store and its clock.
#[derive(Debug)]
struct World {
    machine: Machine,
    model: Model,
    now: Instant,
}

impl World {
    fn new(max_in_flight: usize, logs: &[(ConversationId, u64)]) -> Self {
        let now = Instant::now();
        let mut world = Self {
            machine: Machine::new(&options(max_in_flight), now),
            model: Model::new(logs),
            now,
        };
        world.settle();
        world
    }

    /// Executes the machine's work until no more is due.
    fn settle(&mut self) {
        loop {
            let work = self.machine.poll_work(self.now);
            if work.is_empty() {
                return;
            }
            for work in work {
                let answer = self.model.execute(self.now, NODE, work);
                self.machine.finish(self.now, answer);
            }
        }
    }

    /// Advances the clock, and executes the work that is due then.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Appends events to a log, and tells the machine that the log has grown.
    fn append(&mut self, conversation: ConversationId, count: u64) {
        let last = self.model.logs.entry(conversation).or_default();
        *last += count;
        let grown = HashMap::from([(conversation, Seq(*last))]);
        self.machine.handle_news(&News {
            grown,
            ..News::default()
        });
        self.settle();
    }

    fn take(&mut self) -> Option<(Event, u64)> {
        self.machine.take(self.now)
    }

    fn take_all(&mut self) -> Vec<(Event, u64)> {
        std::iter::from_fn(|| self.take()).collect()
    }

    fn acknowledge(&mut self, (event, term): &(Event, u64)) {
        self.machine.acknowledge(self.now, event.conversation, event.seq, *term);
        self.machine.item_returned();
        self.settle();
    }
}

fn seqs(taken: &[(Event, u64)]) -> Vec<u64> {
    taken.iter().map(|(event, _)| event.seq.0).collect()
}
