//! The machine by plain calls, and against a model of the store with every order of answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{EventId, EventKind, NodeId, Timestamp, UserId};
use crate::store::FeedPosition;

const TTL: Duration = Duration::from_secs(10);
const NODE: NodeId = NodeId([1; 16]);
/// The conversations of the tests, in two shards.
const IDS: [ConversationId; 3] = [ConversationId(1), ConversationId(2), ConversationId(17)];

fn options(max_in_flight: usize) -> FeedOptions {
    let mut options = FeedOptions::all_conversations("feed").max_in_flight(max_in_flight);
    options.lease_ttl = TTL;
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
    logs: BTreeMap<ConversationId, u64>,
    cursors: BTreeMap<ConversationId, Seq>,
    terms: BTreeMap<FeedShard, u64>,
    /// Number of shards that the machine is to give up.
    surplus: usize,
}

impl Model {
    fn lease(&self, shard: FeedShard) -> FeedLease {
        FeedLease::new("feed".into(), shard, NODE, self.terms[&shard], Timestamp(0))
    }

    fn holds(&self, lease: &FeedLease) -> bool {
        self.terms.get(&lease.shard) == Some(&lease.term)
    }

    fn position(&self, conversation: ConversationId) -> FeedPosition {
        let cursor = self.cursors.get(&conversation).copied().unwrap_or(Seq::ZERO);
        FeedPosition::new(conversation, cursor, Seq(self.logs[&conversation]))
    }

    /// Another node claims a shard, and loses it again.
    fn take_away(&mut self, shard: FeedShard) {
        *self.terms.entry(shard).or_default() += 1;
    }

    fn execute(&mut self, now: Instant, work: Work) -> Done {
        match work {
            Work::Leases(work) => {
                let (renewed, lost): (Vec<_>, Vec<_>) = work.renew.into_iter().partition(|lease| self.holds(lease));
                let shards: BTreeSet<_> = IDS.map(FeedShard::of).into_iter().collect();
                let held = |shard: &FeedShard| renewed.iter().any(|lease| lease.shard == *shard);
                let free = shards.into_iter().filter(|shard| !held(shard));
                let claim: Vec<_> = if self.surplus > 0 { Vec::new() } else { free.collect() };
                for shard in &claim {
                    *self.terms.entry(*shard).or_default() += 1;
                }
                // What is released now is no surplus any more.
                self.surplus = self.surplus.saturating_sub(work.release.len());
                Done::Leases(Ok(LeaseAnswer {
                    asked: now,
                    renewed,
                    claimed: claim.into_iter().map(|shard| self.lease(shard)).collect(),
                    released: work.release,
                    lost,
                    surplus: self.surplus,
                }))
            }
            Work::LookUp(look_up) => {
                let ids = match &look_up {
                    LookUp::These(these) => these.clone(),
                    LookUp::Page { shards, .. } => {
                        let ids = self.logs.keys().copied();
                        ids.filter(|id| shards.contains(&FeedShard::of(*id))).collect()
                    }
                };
                let positions = ids.into_iter().map(|id| self.position(id)).collect();
                let found = Positions {
                    positions,
                    ..Positions::default()
                };
                Done::LookUp(look_up, Ok(found))
            }
            Work::Read(read) => {
                let last = self.logs[&read.conversation];
                let seqs = (read.after.0 + 1..=last).take(read.max_events);
                let events: Vec<_> = seqs.map(|seq| event(read.conversation, seq)).collect();
                let is_end = read.after.0 + events.len() as u64 == last;
                Done::Read(
                    read,
                    Ok(LogRead {
                        events,
                        is_end,
                        is_readable: true,
                    }),
                )
            }
            Work::Record(moves) => {
                let held = moves.iter().map(|moves| self.record(moves)).collect();
                Done::Record(moves, Ok(held))
            }
        }
    }

    fn record(&mut self, moves: &Moves) -> bool {
        let holds = self.holds(&moves.lease);
        for (conversation, seq) in moves.cursors.iter().filter(|_| holds) {
            let cursor = self.cursors.entry(*conversation).or_insert(Seq::ZERO);
            *cursor = (*cursor).max(*seq);
        }
        holds
    }
}

fn fail(work: Work) -> Done {
    let error = CommandError::try_again();
    match work {
        Work::Leases(_) => Done::Leases(Err(error)),
        Work::LookUp(look_up) => Done::LookUp(look_up, Err(error)),
        Work::Read(read) => Done::Read(read, Err(error)),
        Work::Record(moves) => Done::Record(moves, Err(error)),
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
            model: Model {
                logs: logs.iter().copied().collect(),
                ..Model::default()
            },
            now,
        };
        world.settle();
        world
    }

    /// Does all work that is due.
    fn settle(&mut self) {
        loop {
            let work = self.machine.poll_work(self.now);
            if work.is_empty() {
                return;
            }
            for work in work {
                let done = self.model.execute(self.now, work);
                self.machine.finish(self.now, done);
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    fn append(&mut self, conversation: ConversationId, count: u64) {
        let last = self.model.logs.entry(conversation).or_default();
        *last += count;
        let grown = HashMap::from([(conversation, Seq(*last))]);
        self.machine.news(&News {
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
        self.machine.returned();
        self.settle();
    }
}

fn seqs(taken: &[(Event, u64)]) -> Vec<u64> {
    taken.iter().map(|(event, _)| event.seq.0).collect()
}

#[test]
fn machine_reads_no_more_than_it_may_have_in_flight() {
    let mut world = World::new(8, &[(IDS[0], 100), (IDS[1], 100)]);
    let taken = world.take_all();
    assert_eq!(taken.len(), 4, "a quarter of the limit for each conversation");
    assert_eq!(world.machine.in_flight, 4);
    for taken in &taken {
        world.acknowledge(taken);
    }
    assert_eq!(world.take_all().len(), 4);
}

#[test]
fn machine_records_cursors_together_after_the_flush_interval() {
    let mut world = World::new(100, &[(IDS[0], 3), (IDS[1], 2)]);
    for taken in world.take_all() {
        world.acknowledge(&taken);
    }
    assert!(world.model.cursors.is_empty());
    assert_eq!(
        world.machine.poll_timeout(world.now),
        Some(world.now + world.machine.flush_interval)
    );
    world.wait(world.machine.flush_interval);
    assert_eq!(
        world.model.cursors,
        BTreeMap::from([(IDS[0], Seq(3)), (IDS[1], Seq(2))])
    );
}

#[test]
fn durable_acknowledgement_is_recorded_at_once_and_then_told() {
    let mut world = World::new(100, &[(IDS[0], 2)]);
    let taken = world.take_all();
    let (event, term) = &taken[1];
    let mut told = world
        .machine
        .acknowledge_durably(world.now, event.conversation, event.seq, *term)
        .unwrap();
    world.settle();
    assert!(told.try_recv().is_err(), "the first event is not acknowledged");
    world.acknowledge(&taken[0]);
    world.wait(world.machine.flush_interval);
    assert_eq!(told.try_recv(), Ok(()));
    assert_eq!(world.model.cursors[&IDS[0]], Seq(2));
}

#[test]
fn machine_hands_out_nothing_while_its_lease_may_have_expired() {
    let mut world = World::new(100, &[(IDS[0], 2)]);
    world.take().unwrap();
    world.now += TTL;
    assert_eq!(world.take(), None);
    world.settle();
    assert!(world.take().is_some(), "renewed");
}

#[test]
fn lost_lease_drops_what_is_in_flight_and_begins_at_the_cursor() {
    let mut world = World::new(100, &[(IDS[0], 5)]);
    let first = world.take().unwrap();
    world.acknowledge(&first);
    world.wait(world.machine.flush_interval);
    let second = world.take().unwrap();
    world.model.take_away(FeedShard::of(IDS[0]));
    world.wait(TTL / RENEWALS);
    let told = world
        .machine
        .acknowledge_durably(world.now, IDS[0], second.0.seq, second.1);
    assert!(told.is_none());
    world.settle();
    assert_eq!(seqs(&world.take_all()), [2, 3, 4, 5]);
    assert_eq!(world.machine.in_flight, 4);
}

#[test]
fn advance_that_is_refused_shows_that_the_lease_is_lost() {
    let mut world = World::new(100, &[(IDS[0], 2)]);
    let first = world.take().unwrap();
    world.model.take_away(FeedShard::of(IDS[0]));
    world.acknowledge(&first);
    world.wait(world.machine.flush_interval);
    assert!(world.model.cursors.is_empty());
    assert_eq!(world.take(), None);
}

#[test]
fn machine_leaves_a_shard_once_nothing_of_it_is_in_flight() {
    let mut world = World::new(100, &[(IDS[0], 3), (IDS[1], 3)]);
    let [kept, left] = [IDS[0], IDS[1]];
    let taken: Vec<_> = std::iter::from_fn(|| world.take()).take(1).collect();
    let mut others = world.take_all();
    others.retain(|(event, _)| event.conversation == left);
    world.model.surplus = 1;
    world.append(left, 1);
    world.wait(TTL / RENEWALS);
    assert!(world.machine.shards.leaving().eq([FeedShard::of(left)]));
    assert_eq!(world.take(), None, "the fourth event of a shard that is left");
    for taken in taken.iter().chain(&others) {
        world.acknowledge(taken);
    }
    world.wait(world.machine.flush_interval);
    assert_eq!(world.machine.shards.working(), [FeedShard::of(kept)]);
    assert_eq!(world.machine.shards.leaving().count(), 0);
    assert_eq!(world.model.cursors[&left], Seq(3));
}

#[test]
fn news_of_a_conversation_of_another_user_are_not_looked_up() {
    let now = Instant::now();
    let options = FeedOptions::user("feed", UserId(1));
    let mut machine = Machine::new(&options, now);
    let mut model = Model::default();
    for work in machine.poll_work(now) {
        let done = model.execute(now, work);
        machine.finish(now, done);
    }
    let news = |seq| News {
        grown: HashMap::from([(IDS[0], Seq(seq))]),
        ..News::default()
    };
    machine.news(&news(50));
    assert!(machine.to_look_up.is_empty());
    machine.news(&news(1));
    assert_eq!(machine.to_look_up.len(), 1, "it may have been opened just now");
    machine.to_look_up.clear();
    machine.members.as_mut().unwrap().insert(IDS[0]);
    machine.news(&news(51));
    assert_eq!(machine.to_look_up.len(), 1);
}

/// One step of the property test.
#[derive(Clone, Debug)]
enum Step {
    Append(usize, u64),
    /// The consumer takes an event.
    Take,
    /// The consumer acknowledges one of the events that it has.
    Acknowledge(prop::sample::Index),
    /// The store answers one of the running requests.
    Answer(prop::sample::Index),
    /// The store fails one of the running requests, before or after it took effect.
    Fail(prop::sample::Index, bool),
    TakeAway(usize),
    Surplus(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<prop::sample::Index>();
    prop_oneof![
        3 => (0..IDS.len(), 1..4_u64).prop_map(|(id, count)| Step::Append(id, count)),
        6 => Just(Step::Take),
        6 => index().prop_map(Step::Acknowledge),
        12 => index().prop_map(Step::Answer),
        1 => (index(), any::<bool>()).prop_map(|(index, late)| Step::Fail(index, late)),
        1 => (0..IDS.len()).prop_map(Step::TakeAway),
        1 => (0..2_usize).prop_map(Step::Surplus),
        4 => (1..3_000_u64).prop_map(Step::Wait),
    ]
}

/// What the consumer was given, checked against the guarantees.
#[derive(Debug, Default)]
struct Consumer {
    has: Vec<(Event, u64)>,
    /// Last event of each conversation that was handed out, and the term.
    last: BTreeMap<ConversationId, (u64, Seq)>,
}

impl Consumer {
    fn take(&mut self, model: &Model, taken: (Event, u64)) -> Result<(), TestCaseError> {
        let (event, term) = &taken;
        let recorded = model.cursors.get(&event.conversation).copied().unwrap_or(Seq::ZERO);
        let is_held = model.terms[&FeedShard::of(event.conversation)] == *term;
        prop_assert!(!is_held || event.seq > recorded, "acknowledged and handed out again");
        if let Some((last_term, last)) = self.last.get(&event.conversation).copied() {
            prop_assert!(last_term <= *term);
            // A later lease may begin again behind the cursor, but not beyond what was handed out.
            let follows = event.seq == last.next() || (last_term < *term && event.seq <= last.next());
            prop_assert!(follows, "{} follows {} in {}", event.seq, last, event.conversation);
        } else {
            prop_assert_eq!(event.seq, Seq(1));
        }
        self.last.insert(event.conversation, (*term, event.seq));
        self.has.push(taken);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn machine_is_gapless_and_hands_out_once_for_every_order_of_answers(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut now = Instant::now();
        let mut machine = Machine::new(&options(12), now);
        let mut model = Model { logs: IDS.map(|id| (id, 0)).into_iter().collect(), ..Model::default() };
        let mut running: Vec<(Work, Option<Done>)> = Vec::new();
        let mut consumer = Consumer::default();
        for step in steps {
            match step {
                Step::Append(id, count) => {
                    let last = model.logs.get_mut(&IDS[id]).unwrap();
                    *last += count;
                    let grown = HashMap::from([(IDS[id], Seq(*last))]);
                    machine.news(&News { grown, ..News::default() });
                }
                Step::Take => if let Some(taken) = machine.take(now) {
                    consumer.take(&model, taken)?;
                },
                Step::Acknowledge(index) => if !consumer.has.is_empty() {
                    let (event, term) = consumer.has.swap_remove(index.index(consumer.has.len()));
                    machine.acknowledge(now, event.conversation, event.seq, term);
                    machine.returned();
                },
                Step::Answer(index) => if !running.is_empty() {
                    // The store does the work and answers later: two steps of the same request.
                    let index = index.index(running.len());
                    if let Some(done) = running[index].1.take() {
                        running.swap_remove(index);
                        machine.finish(now, done);
                    } else {
                        let done = model.execute(now, running[index].0.clone());
                        running[index].1 = Some(done);
                    }
                },
                Step::Fail(index, late) => if !running.is_empty() {
                    let (work, _) = running.swap_remove(index.index(running.len()));
                    if late {
                        model.execute(now, work.clone());
                    }
                    machine.finish(now, fail(work));
                },
                Step::TakeAway(id) => model.take_away(FeedShard::of(IDS[id])),
                Step::Surplus(surplus) => model.surplus = surplus,
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            running.extend(machine.poll_work(now).into_iter().map(|work| (work, None)));
            prop_assert!(machine.in_flight + machine.reserved <= 12);
        }
        // Then everything works, and everything arrives.
        model.surplus = 0;
        for _ in 0..400 {
            now += Duration::from_millis(500);
            for (work, done) in std::mem::take(&mut running) {
                let done = done.unwrap_or_else(|| model.execute(now, work));
                machine.finish(now, done);
            }
            running.extend(machine.poll_work(now).into_iter().map(|work| (work, None)));
            while let Some(taken) = machine.take(now) {
                consumer.take(&model, taken)?;
            }
            for (event, term) in std::mem::take(&mut consumer.has) {
                machine.acknowledge(now, event.conversation, event.seq, term);
                machine.returned();
            }
        }
        for (id, last) in &model.logs {
            prop_assert_eq!(model.cursors.get(id).copied().unwrap_or(Seq::ZERO), Seq(*last));
        }
        prop_assert_eq!(machine.in_flight, 0);
    }
}
