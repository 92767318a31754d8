//! Test of the machine with random interleavings of arrivals, work, failures, replies and aborts.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const SESSIONS: usize = 3;
/// Number of drafts that each client sends to each conversation.
const DRAFTS: u32 = 24;
const CONVERSATIONS: [ConversationId; 2] = [KNOWN, UNKNOWN];

/// Result that the test chooses for a piece of work. A change is refused permanently unless the
/// result is `Success`.
#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    /// The store did not answer; `stored` says whether it had committed.
    Unknown {
        stored: bool,
    },
    Overloaded,
    /// In a commit, one of the drafts gets an internal error, after which its client resends it. A
    /// preparation is refused permanently.
    Failed(prop::sample::Index),
}

#[derive(Clone, Debug)]
enum Step {
    /// A client sends its next draft.
    Send { session: usize, conversation: usize },
    /// A client submits a change in a conversation.
    SubmitChange { session: usize, conversation: usize },
    /// The machine receives the queued submissions.
    Take,
    /// The driver asks for work.
    Poll,
    /// A piece of work ends.
    Finish(prop::sample::Index, End),
    /// The machine's replies are sent.
    Reply,
    /// A client receives the available replies.
    Receive(usize),
    /// The driver has panicked. All work in flight ends without success; `stored` says whether the
    /// commits among it were stored nevertheless. If `mid_step` is true, the machine has decided
    /// about an entry of the queue, but has not moved it yet.
    Abort { stored: bool, mid_step: bool },
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Success),
        2 => any::<bool>().prop_map(|stored| End::Unknown { stored }),
        1 => Just(End::Overloaded),
        1 => any::<prop::sample::Index>().prop_map(End::Failed),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (session, conversation) = (0..SESSIONS, 0..CONVERSATIONS.len());
    prop_oneof![
        12 => (session.clone(), conversation.clone()).prop_map(|(session, conversation)| Step::Send { session, conversation }),
        1 => (session.clone(), conversation).prop_map(|(session, conversation)| Step::SubmitChange { session, conversation }),
        4 => Just(Step::Take),
        4 => Just(Step::Poll),
        6 => (any::<prop::sample::Index>(), end()).prop_map(|(index, end)| Step::Finish(index, end)),
        3 => Just(Step::Reply),
        3 => session.prop_map(Step::Receive),
        1 => any::<(bool, bool)>().prop_map(|(stored, mid_step)| Step::Abort { stored, mid_step }),
    ]
}

/// A client that sends its drafts in order without waiting for replies, and resends drafts that are
/// refused temporarily.
#[derive(Default)]
struct Client {
    /// Numbers of the drafts that have to be sent to each conversation.
    to_send: [BTreeSet<u32>; CONVERSATIONS.len()],
    /// Conversations, numbers and pending replies of the sent drafts that are not answered yet.
    sent: Vec<(usize, u32, CommandFuture)>,
    /// Pending replies to changes.
    changes: Vec<CommandFuture>,
    /// Conversations and numbers of the drafts that were refused permanently.
    given_up: Vec<(usize, u32)>,
}

struct Simulation {
    appender: Appender,
    clients: Vec<Client>,
    in_flight: Vec<Work>,
    /// Senders and numbers of the drafts stored in each conversation, in the order of its log.
    stored: HashMap<ConversationId, Vec<(UserId, u32)>>,
    /// Number of submissions that have entered the queue and are not answered yet.
    unanswered: usize,
}

impl Simulation {
    fn new() -> Self {
        let limits = LaneLimits {
            max_batch_drafts: 3,
            max_batch_bytes: 1 << 20,
            max_queued_drafts_per_conversation: 5,
            max_queued_bytes_per_conversation: 1 << 20,
        };
        let mut appender = Appender::new(limits);
        // Room for about 16 drafts.
        appender.queue = AppendQueue::new(8 * 1024);
        let to_send = || [(); CONVERSATIONS.len()].map(|()| (0..DRAFTS).collect());
        let client = || Client {
            to_send: to_send(),
            ..Client::default()
        };
        Self {
            appender,
            clients: (0..SESSIONS).map(|_| client()).collect(),
            in_flight: Vec::new(),
            stored: HashMap::new(),
            unanswered: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { session, conversation } => self.send(session, conversation),
            Step::SubmitChange { session, conversation } => self.submit_change(session, conversation),
            Step::Take => self.appender.take(),
            Step::Poll => self.poll(),
            Step::Finish(index, end) => {
                if !self.in_flight.is_empty() {
                    let work = self.in_flight.remove(index.index(self.in_flight.len()));
                    self.finish(work, end);
                }
            }
            Step::Reply => self.reply(),
            Step::Receive(session) => self.receive(session),
            Step::Abort { stored, mid_step } => {
                if mid_step {
                    self.appender.take();
                    self.appender.machine.decide(self.appender.now, cached);
                }
                self.abort(stored);
            }
        }
    }

    fn send(&mut self, session: usize, conversation: usize) {
        let Some(number) = self.clients[session].to_send[conversation].pop_first() else {
            return;
        };
        let id = CONVERSATIONS[conversation];
        let mut reply = submit(&self.appender.queue, super::session(session as u64), id, number);
        match code(&mut reply) {
            // The queue is full, so the draft is answered at once.
            Some(code) => self.handle_code(session, conversation, number, code),
            None => {
                self.unanswered += 1;
                self.clients[session].sent.push((conversation, number, reply));
            }
        }
    }

    fn submit_change(&mut self, session: usize, conversation: usize) {
        let caller = super::session(session as u64);
        let conversation = ConversationRef::Id(CONVERSATIONS[conversation]);
        let deadline = self.appender.now + RESEND_WINDOW;
        let queue = &self.appender.queue;
        let mut reply = queue.submit_change(caller, conversation, None, change(), deadline);
        if code(&mut reply).is_none() {
            self.unanswered += 1;
            self.clients[session].changes.push(reply);
        }
    }

    fn poll(&mut self) {
        while let Some(work) = self.appender.machine.poll_work(self.appender.now, cached) {
            let conversation_of = |work: &Work| match work {
                Work::Commit { found, .. } | Work::Run { found, .. } => Some(found.id),
                Work::Prepare(_) => None,
            };
            let is_alone = self
                .in_flight
                .iter()
                .all(|other| conversation_of(other).is_none() || conversation_of(other) != conversation_of(&work));
            assert!(is_alone, "two transactions of one conversation at a time");
            self.in_flight.push(work);
        }
    }

    fn finish(&mut self, work: Work, end: End) {
        let done = match work {
            Work::Prepare(preparation) => Done::Prepared {
                sender: preparation.sender,
                result: match end {
                    End::Success => Ok((found(id_of(&preparation.conversation)), None)),
                    End::Unknown { .. } => Err(CommandError::try_again()),
                    End::Overloaded => Err(CommandError::busy()),
                    End::Failed(_) => Err(CommandError::forbidden()),
                },
            },
            Work::Commit { found, drafts, .. } => Done::Committed {
                conversation: found.id,
                result: self.commit(found.id, &drafts, end),
            },
            Work::Run { found, .. } => Done::Ran {
                conversation: found.id,
                result: match end {
                    End::Success => Ok(Outcome::Done),
                    _ => Err(CommandError::forbidden()),
                },
            },
        };
        self.appender.machine.finish(self.appender.now, done);
    }

    fn commit(
        &mut self,
        id: ConversationId,
        drafts: &[QueuedDraft],
        end: End,
    ) -> Result<Vec<Result<Appended, CommandError>>, CommandError> {
        match end {
            End::Success => Ok(drafts.iter().map(|draft| Ok(self.store(id, draft))).collect()),
            End::Unknown { stored } => {
                if stored {
                    for draft in drafts {
                        self.store(id, draft);
                    }
                }
                Err(CommandError::try_again())
            }
            End::Overloaded => Err(CommandError::busy()),
            End::Failed(index) => {
                // As `append_each` does: the other drafts are stored, except later drafts of the
                // session whose draft caused the error.
                let broken = index.index(drafts.len());
                let result = |(index, draft): (usize, &QueuedDraft)| {
                    let is_later = index > broken && draft.caller == drafts[broken].caller;
                    match index == broken {
                        true => Err(CommandError::internal()),
                        false if is_later => Err(CommandError::try_again()),
                        false => Ok(self.store(id, draft)),
                    }
                };
                Ok(drafts.iter().enumerate().map(result).collect())
            }
        }
    }

    fn store(&mut self, id: ConversationId, draft: &QueuedDraft) -> Appended {
        let stored = self.stored.entry(id).or_default();
        let key = (draft.caller.user, number(draft));
        let duplicate = stored.contains(&key);
        if !duplicate {
            stored.push(key);
        }
        appended(id, duplicate)
    }

    fn abort(&mut self, stored: bool) {
        self.appender.machine.abort(self.appender.now);
        for work in std::mem::take(&mut self.in_flight) {
            self.finish(work, End::Unknown { stored });
        }
    }

    fn reply(&mut self) {
        while let Some((reply_to, result)) = self.appender.machine.poll_reply() {
            self.unanswered = self.unanswered.checked_sub(1).expect("a submission was answered twice");
            assert!(!reply_to.is_closed(), "every client waits for its replies");
            reply_to.send(result);
        }
    }

    fn receive(&mut self, session: usize) {
        let sent = std::mem::take(&mut self.clients[session].sent);
        for (conversation, number, mut reply) in sent {
            match code(&mut reply) {
                Some(code) => self.handle_code(session, conversation, number, code),
                None => self.clients[session].sent.push((conversation, number, reply)),
            }
        }
        self.clients[session].changes.retain_mut(|reply| code(reply).is_none());
    }

    /// Handles the code of a client's reply. The client will resend a draft that was refused
    /// temporarily.
    fn handle_code(&mut self, session: usize, conversation: usize, number: u32, code: u32) {
        let client = &mut self.clients[session];
        match code {
            0 => {
                let key = (UserId(session as u64), number);
                let stored = self.stored.get(&CONVERSATIONS[conversation]);
                assert!(
                    stored.is_some_and(|stored| stored.contains(&key)),
                    "the draft was acknowledged, but is not stored"
                );
            }
            BUSY | TRY_AGAIN | INTERNAL => drop(client.to_send[conversation].insert(number)),
            _ => client.given_up.push((conversation, number)),
        }
    }

    /// Sends all remaining drafts, and lets all work succeed until every client is done.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            for session in 0..SESSIONS {
                for conversation in 0..CONVERSATIONS.len() {
                    self.send(session, conversation);
                }
            }
            self.appender.take();
            self.poll();
            for work in std::mem::take(&mut self.in_flight) {
                self.finish(work, End::Success);
            }
            self.reply();
            (0..SESSIONS).for_each(|session| self.receive(session));
            let is_done = |client: &Client| {
                let is_sent = client.to_send.iter().all(BTreeSet::is_empty);
                is_sent && client.sent.is_empty() && client.changes.is_empty()
            };
            if self.clients.iter().all(is_done) {
                return;
            }
        }
        panic!("the clients make no progress");
    }

    /// Checks that every submission was answered, and that every draft is stored in the order of
    /// its session or was refused permanently.
    fn check(&self) {
        assert_eq!(self.unanswered, 0, "every submission has one reply");
        assert_eq!(self.appender.queue.queued_bytes(), 0, "all memory is returned");
        for (conversation, id) in CONVERSATIONS.into_iter().enumerate() {
            let stored = &self.stored[&id];
            for (session, client) in self.clients.iter().enumerate() {
                let user = UserId(session as u64);
                let numbers: Vec<u32> = stored
                    .iter()
                    .filter(|(of, _)| *of == user)
                    .map(|(_, number)| *number)
                    .collect();
                assert!(numbers.is_sorted(), "session {session} in {id}: {numbers:?}");
                let is_stored_or_given_up =
                    |number| numbers.contains(&number) || client.given_up.contains(&(conversation, number));
                assert!(
                    (0..DRAFTS).all(is_stored_or_given_up),
                    "a draft of session {session} is lost: {numbers:?}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn machine_keeps_order_and_answers_once(steps in prop::collection::vec(step(), 0..400)) {
        let mut simulation = Simulation::new();
        for step in steps {
            simulation.step(step);
        }
        simulation.settle();
        simulation.check();
    }
}
