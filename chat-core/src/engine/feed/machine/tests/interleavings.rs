//! Tests of the machines of one or two nodes on one store, with random orders of requests, answers,
//! failures, acknowledgements and pauses. Invariants are checked after every step.

use proptest::prelude::*;
use proptest::sample::Index;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

const MAX_IN_FLIGHT: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    /// A number of events is appended to a conversation.
    Append(usize, u64),
    /// The consumer of a node takes an event.
    Take(usize),
    /// The consumer of a node acknowledges one of the events that it has, and waits for the store
    /// if the flag is set.
    Acknowledge(usize, Index, bool),
    /// The store executes one of the running requests, or answers an executed request.
    Answer(usize, Index),
    /// The store fails one of the running requests, after executing it if the flag is set.
    Fail(usize, Index, bool),
    /// The term of a shard's lease grows, so that its holder has lost it, as if another process
    /// with the same node id had claimed the shard.
    TakeAway(usize),
    /// Another maximum is set for the number of shards that a node holds.
    Share(usize, usize),
    /// A number of milliseconds passes.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = || any::<Index>();
    let node = || 0..2_usize;
    prop_oneof![
        3 => (0..IDS.len(), 1..4_u64).prop_map(|(id, count)| Step::Append(id, count)),
        6 => node().prop_map(Step::Take),
        6 => (node(), index(), any::<bool>()).prop_map(|(node, index, waits)| Step::Acknowledge(node, index, waits)),
        12 => (node(), index()).prop_map(|(node, index)| Step::Answer(node, index)),
        1 => (node(), index(), any::<bool>()).prop_map(|(node, index, executed)| Step::Fail(node, index, executed)),
        1 => (0..IDS.len()).prop_map(Step::TakeAway),
        1 => (node(), 0..=2_usize).prop_map(|(node, share)| Step::Share(node, share)),
        4 => (1..3_000_u64).prop_map(Step::Wait),
    ]
}

/// One node: its machine, the requests that it sent, and its consumer.
#[derive(Debug)]
struct Node {
    id: NodeId,
    machine: Machine,
    /// Requests, each with its answer once the store has executed it.
    running: Vec<(Work, Option<WorkAnswer>)>,
    /// Events that the consumer has.
    items: Vec<(Event, u64)>,
    /// Acknowledgements that the consumer waits for.
    waiting: Vec<(ConversationId, Seq, oneshot::Receiver<()>)>,
}

impl Node {
    fn new(id: NodeId, now: Instant) -> Self {
        Self {
            id,
            machine: Machine::new(&options(MAX_IN_FLIGHT), now),
            running: Vec::new(),
            items: Vec::new(),
            waiting: Vec::new(),
        }
    }

    fn acknowledge(&mut self, now: Instant, (event, term): &(Event, u64), waits: bool) {
        let (conversation, seq) = (event.conversation, event.seq);
        if waits {
            let recorded = self.machine.acknowledge_durably(now, conversation, seq, *term);
            self.waiting
                .extend(recorded.map(|recorded| (conversation, seq, recorded)));
        } else {
            self.machine.acknowledge(now, conversation, seq, *term);
        }
        self.machine.item_returned();
    }
}

/// The nodes of a feed and their store.
#[derive(Debug)]
struct Cluster {
    now: Instant,
    model: Model,
    nodes: Vec<Node>,
    /// Last event that was handed out of each conversation, with the term of its lease.
    last: BTreeMap<ConversationId, (u64, Seq)>,
    acknowledged: BTreeSet<(ConversationId, Seq)>,
}

impl Cluster {
    fn new(nodes: u8) -> Self {
        let now = Instant::now();
        Self {
            now,
            model: Model::new(&IDS.map(|id| (id, 0))),
            nodes: (1..=nodes).map(|number| Node::new(NodeId([number; 16]), now)).collect(),
            last: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let (now, count) = (self.now, self.nodes.len());
        match step {
            Step::Append(id, count) => self.append(IDS[id], count),
            Step::Take(node) => self.take(node % count).map(drop)?,
            Step::Acknowledge(node, index, waits) => {
                let items = &mut self.nodes[node % count].items;
                if !items.is_empty() {
                    let taken = items.swap_remove(index.index(items.len()));
                    self.acknowledge(node % count, &taken, waits);
                }
            }
            Step::Answer(node, index) => self.answer(node % count, index),
            Step::Fail(node, index, executed) => {
                let node = &mut self.nodes[node % count];
                if !node.running.is_empty() {
                    let (work, answer) = node.running.swap_remove(index.index(node.running.len()));
                    if executed && answer.is_none() {
                        self.model.execute(now, node.id, work.clone());
                    }
                    node.machine.finish(now, fail(work));
                }
            }
            Step::TakeAway(id) => self.model.take_away(FeedShard::of(IDS[id])),
            Step::Share(node, share) => {
                self.model.shares.insert(self.nodes[node % count].id, share);
            }
            Step::Wait(millis) => self.now += Duration::from_millis(millis),
        }
        self.poll();
        self.check()
    }

    fn append(&mut self, conversation: ConversationId, count: u64) {
        let last = self.model.logs.get_mut(&conversation).unwrap();
        *last += count;
        let grown = HashMap::from([(conversation, Seq(*last))]);
        let news = News {
            grown,
            ..News::default()
        };
        self.nodes.iter_mut().for_each(|node| node.machine.handle_news(&news));
    }

    fn take(&mut self, node: usize) -> Result<bool, TestCaseError> {
        let Some(taken) = self.nodes[node].machine.take(self.now) else {
            return Ok(false);
        };
        let (event, term) = &taken;
        let id = event.conversation;
        let is_new = event.seq > self.model.cursor(id);
        prop_assert!(
            is_new || !self.model.is_held_under(id, *term),
            "acknowledged and handed out again"
        );
        if let Some((last_term, last)) = self.last.get(&id).copied() {
            prop_assert!(last_term <= *term, "an older lease is in use");
            // A later lease may start again right after the cursor, but not beyond the events
            // handed out before.
            let follows = event.seq == last.next() || (last_term < *term && event.seq <= last.next());
            prop_assert!(follows, "{} follows {} in {}", event.seq, last, id);
        } else {
            prop_assert_eq!(event.seq, Seq(1));
        }
        self.last.insert(id, (*term, event.seq));
        self.nodes[node].items.push(taken);
        Ok(true)
    }

    fn acknowledge(&mut self, node: usize, taken: &(Event, u64), waits: bool) {
        self.acknowledged.insert((taken.0.conversation, taken.0.seq));
        self.nodes[node].acknowledge(self.now, taken, waits);
    }

    /// Executes a request, or answers it if it was executed already.
    fn answer(&mut self, node: usize, index: Index) {
        let node = &mut self.nodes[node];
        if node.running.is_empty() {
            return;
        }
        let index = index.index(node.running.len());
        match node.running[index].1.take() {
            Some(answer) => {
                node.running.swap_remove(index);
                node.machine.finish(self.now, answer);
            }
            None => {
                let work = node.running[index].0.clone();
                node.running[index].1 = Some(self.model.execute(self.now, node.id, work));
            }
        }
    }

    fn poll(&mut self) {
        for node in &mut self.nodes {
            let work = node.machine.poll_work(self.now);
            node.running.extend(work.into_iter().map(|work| (work, None)));
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for id in IDS {
            let mut passed = (1..=self.model.cursor(id).0).map(|seq| (id, Seq(seq)));
            prop_assert!(
                passed.all(|event| self.acknowledged.contains(&event)),
                "a cursor has passed an event that was not acknowledged"
            );
        }
        for node in &mut self.nodes {
            prop_assert!(node.machine.delivery.in_flight_or_reserved() <= MAX_IN_FLIGHT);
            prop_assert!(node.machine.reads.queued() <= IDS.len());
            prop_assert!(node.machine.look_ups.queued() <= IDS.len());
            for (id, seq, mut recorded) in std::mem::take(&mut node.waiting) {
                match recorded.try_recv() {
                    Ok(()) => prop_assert!(
                        self.model.cursor(id) >= seq,
                        "the consumer was notified before the acknowledgement was recorded"
                    ),
                    Err(TryRecvError::Closed) => {}
                    Err(TryRecvError::Empty) => node.waiting.push((id, seq, recorded)),
                }
            }
        }
        Ok(())
    }

    /// Lets all requests succeed for 200 s, the duration of 20 leases, and lets the consumers
    /// acknowledge every event.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..400 {
            self.now += Duration::from_millis(500);
            for node in 0..self.nodes.len() {
                for (work, answer) in std::mem::take(&mut self.nodes[node].running) {
                    let answer = answer.unwrap_or_else(|| self.model.execute(self.now, self.nodes[node].id, work));
                    self.nodes[node].machine.finish(self.now, answer);
                }
                while self.take(node)? {}
                for taken in std::mem::take(&mut self.nodes[node].items) {
                    self.acknowledge(node, &taken, true);
                }
            }
            self.poll();
            self.check()?;
        }
        Ok(())
    }

    /// Closes the feed of a node while its consumer processes what it has, and opens it again.
    fn restart(&mut self, node: usize) -> Result<(), TestCaseError> {
        let deadline = self.now + 400 * TTL;
        self.nodes[node].machine.close(self.now, deadline);
        self.settle()?;
        let closed = &mut self.nodes[node];
        prop_assert!(closed.machine.is_drained(self.now));
        prop_assert!(closed.waiting.is_empty(), "a consumer waits forever");
        for lease in closed.machine.leases() {
            if self.model.holds(&lease) {
                self.model.leases.get_mut(&lease.shard).unwrap().expires = self.now;
            }
        }
        closed.machine.end();
        *closed = Node::new(closed.id, self.now);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn feed_hands_out_every_event_in_order_for_random_orders_of_answers(
        nodes in 1..=2_u8,
        steps in prop::collection::vec(step(), 1..150),
        restarts in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(nodes);
        for step in steps {
            cluster.step(step)?;
        }
        // Once all requests succeed, every event arrives.
        cluster.model.shares.clear();
        if restarts {
            cluster.restart(0)?;
        }
        cluster.settle()?;
        for (id, last) in &cluster.model.logs {
            prop_assert_eq!(cluster.model.cursor(*id), Seq(*last));
        }
        for node in &cluster.nodes {
            prop_assert_eq!(node.machine.delivery.in_flight_or_reserved(), 0);
            prop_assert!(node.waiting.is_empty(), "a consumer waits forever");
        }
    }
}
