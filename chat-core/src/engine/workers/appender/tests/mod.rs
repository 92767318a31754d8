//! Tests of the appender: the machine by direct calls, the driver over fake ports.

mod driver;
mod interleavings;
mod order;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::lane::LaneLimits;
use super::machine::{Done, Machine, Work};
use super::queue::AppendQueue;
use super::submission::LaneChange;
use crate::engine::directory::FoundConversation;
use crate::engine::error::CommandError;
use crate::engine::operations::message::QueuedDraft;
use crate::model::*;
use crate::service::CommandFuture;

/// Time for which later drafts are refused after a refused draft that is not resent.
const RESEND_WINDOW: Duration = Duration::from_secs(3);
/// Conversation that is cached, like all conversations with a smaller id than [`UNKNOWN`].
const KNOWN: ConversationId = ConversationId(1);
/// Conversation that has to be looked up.
const UNKNOWN: ConversationId = ConversationId(100);

const LIMITS: LaneLimits = LaneLimits {
    max_batch_drafts: 128,
    max_batch_bytes: 1 << 20,
    max_queued_drafts_per_conversation: 512,
    max_queued_bytes_per_conversation: 1 << 20,
};

/// Returns the identity of the user's only session.
fn session(user: u64) -> Caller {
    Caller::login(UserId(user), DeviceId([1; 16]), SessionEpoch(1))
}

/// Returns a draft whose text and idempotency key contain this number.
fn draft(number: u32) -> Draft {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let text = MessageText::new(number.to_string()).unwrap();
    Draft::text(text).with_id(ClientMessageId(id))
}

/// Returns the number that [`draft`] has put into the idempotency key.
fn number(draft: &QueuedDraft) -> u32 {
    let id = draft.client_message_id.0;
    u32::from_be_bytes(id[..4].try_into().unwrap())
}

fn found(id: ConversationId) -> FoundConversation {
    let kind = ConversationKind::Group;
    FoundConversation { id, kind }
}

fn cached(_: UserId, conversation: &ConversationRef) -> Option<FoundConversation> {
    match conversation {
        ConversationRef::Id(id) if *id < UNKNOWN => Some(found(*id)),
        _ => None,
    }
}

fn change() -> LaneChange {
    Box::new(|_| std::future::ready(Ok(Outcome::Done)).boxed())
}

fn submit(queue: &AppendQueue, caller: Caller, conversation: ConversationId, number: u32) -> CommandFuture {
    // An idempotency key is unique for its sender, over all conversations.
    let mut draft = draft(number);
    draft.client_message_id.0[8..].copy_from_slice(&conversation.0.to_be_bytes());
    let draft = QueuedDraft::new(caller, draft);
    let conversation = ConversationRef::Id(conversation);
    let deadline = Instant::now() + Duration::from_secs(60);
    queue.submit_draft(draft, None, conversation, deadline)
}

/// Returns the reply's code, 0 for success; `None` if there is no reply yet.
fn code(reply: &mut CommandFuture) -> Option<u32> {
    let result = reply.now_or_never()?;
    Some(result.map_or_else(|error| error.code.number(), |_| 0))
}

/// A machine behind a queue, driven by the test.
struct Appender {
    queue: AppendQueue,
    machine: Machine,
    now: Instant,
    /// Conversations and numbers of the stored drafts, in the order in which they were stored.
    stored: Vec<(ConversationId, u32)>,
}

impl Appender {
    fn new(limits: LaneLimits) -> Self {
        Self {
            queue: AppendQueue::new(1 << 20),
            machine: Machine::new(limits, RESEND_WINDOW),
            now: Instant::now(),
            stored: Vec::new(),
        }
    }

    fn send(
        &self,
        caller: Caller,
        conversation: ConversationId,
        numbers: impl IntoIterator<Item = u32>,
    ) -> Vec<CommandFuture> {
        let send = |number| submit(&self.queue, caller, conversation, number);
        numbers.into_iter().map(send).collect()
    }

    /// Moves the queue's entries into the machine.
    fn take(&mut self) {
        let mut taken = Vec::new();
        self.queue.take(&mut taken);
        taken.into_iter().for_each(|incoming| self.machine.push(incoming));
    }

    /// Moves the queue's entries into the machine, and returns the next piece of work.
    fn work(&mut self) -> Option<Work> {
        self.take();
        self.machine.poll_work(self.now, cached)
    }

    fn finish(&mut self, done: Done) {
        self.machine.finish(self.now, done);
        self.reply();
    }

    fn abort(&mut self) {
        self.machine.abort(self.now);
        self.reply();
    }

    /// Sends the machine's replies.
    fn reply(&mut self) {
        while let Some((reply_to, result)) = self.machine.poll_reply() {
            reply_to.send(result);
        }
    }

    /// Stores the drafts of a commit, and returns its result.
    fn commit(&mut self, work: &Work) -> Done {
        let Work::Commit { found, drafts, .. } = work else {
            panic!("not a commit");
        };
        let store = |draft: &QueuedDraft| {
            let stored = (found.id, number(draft));
            let duplicate = self.stored.contains(&stored);
            if !duplicate {
                self.stored.push(stored);
            }
            Ok(appended(found.id, duplicate))
        };
        Done::Committed {
            conversation: found.id,
            result: Ok(drafts.iter().map(store).collect()),
        }
    }

    /// Lets all work succeed until none is left.
    fn run(&mut self) {
        while let Some(work) = self.work() {
            let done = match work {
                Work::Prepare(preparation) => Done::Prepared {
                    sender: preparation.sender,
                    result: Ok((found(id_of(&preparation.conversation)), None)),
                },
                Work::Commit { .. } => self.commit(&work),
                Work::Run { found, .. } => Done::Ran {
                    conversation: found.id,
                    result: Ok(Outcome::Done),
                },
            };
            self.finish(done);
        }
        self.reply();
    }

    /// Returns the numbers of the drafts stored in a conversation.
    fn stored_in(&self, conversation: ConversationId) -> Vec<u32> {
        let stored = self.stored.iter().filter(|(id, _)| *id == conversation);
        stored.map(|(_, number)| *number).collect()
    }
}

fn id_of(conversation: &ConversationRef) -> ConversationId {
    match conversation {
        ConversationRef::Id(id) => *id,
        _ => UNKNOWN,
    }
}

fn appended(conversation: ConversationId, duplicate: bool) -> Appended {
    Appended {
        conversation,
        seq: Seq(1),
        event_id: EventId::random(),
        time: Timestamp(0),
        duplicate,
    }
}

/// Returns the result of a commit that failed with `error` for all of its drafts.
fn failed(work: &Work, error: CommandError) -> Done {
    let Work::Commit { found, .. } = work else {
        panic!("not a commit");
    };
    Done::Committed {
        conversation: found.id,
        result: Err(error),
    }
}

/// Returns the code of each reply; panics if one is missing.
fn codes(replies: impl IntoIterator<Item = CommandFuture>) -> Vec<u32> {
    let code = |mut reply| code(&mut reply).expect("a submission was not answered");
    replies.into_iter().map(code).collect()
}

// Numbers of reply codes.
const TRY_AGAIN: u32 = 501;
const BUSY: u32 = 502;
const INTERNAL: u32 = 500;
