//! The outbox: messages without an outcome ([`SendOutcome`](crate::client::SendOutcome)). Each
//! conversation has a queue, so that its messages keep their order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::client::ids;
use crate::model::{
    ClientMessageId, Command, ConversationId, ConversationRef, Draft, DraftContent, GroupName, StoreEpoch,
};

/// Maximum number of messages that wait for a reply, over all conversations.
const MAX_TOTAL_IN_FLIGHT: usize = 64;
/// Minimum and maximum delay of a queue after a temporary refusal. The delay doubles with each
/// [round](ConversationQueue::round) of refusals.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Idempotency key of the message.
    pub id: ClientMessageId,
    /// Conversation that the message goes to.
    pub conversation: ConversationRef,
    /// Name of the conversation, by which it is found in another store epoch; `None` if the client
    /// does not know the name.
    pub name: Option<ConversationRef>,
    /// Store epoch that ids and message numbers in `conversation` and `content` belong to; `None`
    /// if the message was enqueued before the device's first login, or by a version that did not
    /// store the epoch.
    pub store_epoch: Option<StoreEpoch>,
    /// Content of the message.
    pub content: DraftContent,
    /// Time after which the message is no longer sent.
    pub deadline: Option<Instant>,
}

impl Outgoing {
    /// Makes the message valid in the store epoch `epoch`, and returns `true`. A message of another
    /// epoch is then addressed by the name of its conversation. Returns `false` if that is not
    /// possible, because the name is unknown or the content has ids or message numbers; the message
    /// must then not be sent.
    pub(super) fn carry_over(&mut self, epoch: StoreEpoch) -> bool {
        if self.store_epoch == Some(epoch) {
            return true;
        }
        if let Some(name) = &self.name {
            self.conversation = name.clone();
        }
        let is_valid = self.conversation.is_by_name() && !ids::has_ids(&self.content);
        if is_valid {
            self.store_epoch = Some(epoch);
        }
        is_valid
    }
}

/// A message of the outbox, and its progress.
#[derive(Debug)]
struct Entry {
    message: Outgoing,
    /// Position in the order of all messages.
    number: u64,
    /// True while the message waits for the server's reply.
    in_flight: bool,
    /// [Round](ConversationQueue::round) of the queue in which the message was last sent.
    round: u64,
}

/// Messages of one conversation, oldest first.
#[derive(Debug)]
struct ConversationQueue {
    /// The conversation, as returned by [`Outbox::resolve`].
    conversation: ConversationRef,
    entries: VecDeque<Entry>,
    /// Time before which no message of the queue is sent.
    not_before: Option<Instant>,
    /// Number of consecutive rounds with a refusal.
    refusals: u32,
    /// Number of the current round. A round lasts until the next delay; all refusals of one round
    /// count as one.
    round: u64,
}

/// All messages without an outcome.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Queues by the number of the message that started them, so that older queues come first.
    queues: BTreeMap<u64, ConversationQueue>,
    /// Key in `queues` of each conversation.
    queue_of: HashMap<ConversationRef, u64>,
    /// Key in `queues` of each message.
    queue_of_message: HashMap<ClientMessageId, u64>,
    deadlines: BTreeSet<(Instant, ClientMessageId)>,
    /// Known ids of conversations, by their other references.
    ids: HashMap<ConversationRef, ConversationId>,
    last_number: u64,
    /// Number of messages that wait for a reply.
    in_flight: usize,
    /// Maximum number of messages of one conversation that wait for a reply.
    max_in_flight: usize,
}

impl ConversationQueue {
    fn new(conversation: ConversationRef) -> Self {
        Self {
            conversation,
            entries: VecDeque::new(),
            not_before: None,
            refusals: 0,
            round: 0,
        }
    }

    /// Counts a refusal of a message sent in `round`. Returns the delay before the queue sends
    /// again.
    fn refused(&mut self, round: u64) -> Duration {
        if round == self.round {
            self.round += 1;
            self.refusals = self.refusals.saturating_add(1);
        }
        let doublings = self.refusals.saturating_sub(1).min(7);
        RETRY_DELAY
            .0
            .saturating_mul(1 << doublings)
            .clamp(RETRY_DELAY.0, RETRY_DELAY.1)
    }

    /// Merges the messages of another queue in their order.
    fn merge(&mut self, other: Option<Self>) {
        let Some(other) = other else { return };
        self.entries.extend(other.entries);
        self.entries.make_contiguous().sort_by_key(|entry| entry.number);
        self.not_before = self.not_before.max(other.not_before);
        self.refusals = self.refusals.max(other.refusals);
        self.round = self.round.max(other.round);
    }
}

impl Outbox {
    pub(super) fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight: max_in_flight.max(1),
            ..Self::default()
        }
    }

    /// Appends a message to the queue of its conversation. Ignores a message whose id is in the
    /// outbox already.
    pub(super) fn add(&mut self, message: Outgoing) {
        if self.queue_of_message.contains_key(&message.id) {
            return;
        }
        self.last_number += 1;
        let conversation = self.resolve(&message.conversation);
        let queue = *self.queue_of.entry(conversation.clone()).or_insert(self.last_number);
        self.queue_of_message.insert(message.id, queue);
        if let Some(deadline) = message.deadline {
            self.deadlines.insert((deadline, message.id));
        }
        let queue = self
            .queues
            .entry(queue)
            .or_insert_with(|| ConversationQueue::new(conversation));
        queue.entries.push_back(Entry {
            message,
            number: self.last_number,
            in_flight: false,
            round: 0,
        });
    }

    /// Returns the message with this id, or `None` if it is not in the outbox.
    pub(super) fn get(&self, id: &ClientMessageId) -> Option<&Outgoing> {
        let queue = self.queues.get(self.queue_of_message.get(id)?)?;
        let entry = queue.entries.iter().find(|entry| entry.message.id == *id)?;
        Some(&entry.message)
    }

    /// Returns the reference under which a conversation's messages are queued: its id, if known.
    pub(super) fn resolve(&self, conversation: &ConversationRef) -> ConversationRef {
        let canonical = canonical(conversation);
        self.ids
            .get(&canonical)
            .map_or(canonical, |id| ConversationRef::Id(*id))
    }

    /// Returns a reference by name that [`learn`](Self::learn) has recorded for a conversation.
    pub(super) fn learned_name(&self, id: ConversationId) -> Option<ConversationRef> {
        let mut learned = self.ids.iter().filter(|(_, known)| **known == id);
        learned.find_map(|(reference, _)| reference.is_by_name().then(|| reference.clone()))
    }

    /// Records that `reference` denotes the conversation `id`, and merges the queues of both.
    pub(super) fn learn(&mut self, reference: &ConversationRef, id: ConversationId) {
        let reference = canonical(reference);
        let by_id = ConversationRef::Id(id);
        if reference == by_id || self.ids.insert(reference.clone(), id) == Some(id) {
            return;
        }
        let Some(mut number) = self.queue_of.remove(&reference) else {
            return;
        };
        let Some(mut queue) = self.queues.remove(&number) else {
            return;
        };
        queue.conversation = by_id.clone();
        if let Some(other) = self.queue_of.remove(&by_id) {
            queue.merge(self.queues.remove(&other));
            number = number.min(other);
        }
        // The waiting messages must go to this conversation even if it is renamed.
        let waiting = queue.entries.iter_mut();
        for entry in waiting.filter(|entry| canonical(&entry.message.conversation) == reference) {
            entry.message.name.get_or_insert_with(|| reference.clone());
            entry.message.conversation = by_id.clone();
        }
        for entry in &queue.entries {
            self.queue_of_message.insert(entry.message.id, number);
        }
        self.queue_of.insert(by_id, number);
        self.queues.insert(number, queue);
    }

    /// Forgets all ids, because the server's store was replaced.
    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
    }

    /// Makes all messages valid in the store epoch `epoch`, in the same order. `is_first` is true
    /// if no epoch was known before: messages without an epoch then belong to `epoch`. Returns the
    /// ids of the messages that must not be sent, which stay in the outbox.
    pub(super) fn enter_epoch(&mut self, epoch: StoreEpoch, is_first: bool) -> Vec<ClientMessageId> {
        let mut all = self.queues.values().flat_map(|queue| &queue.entries);
        if all.all(|entry| entry.message.store_epoch == Some(epoch)) {
            return Vec::new();
        }
        self.queue_of.clear();
        self.queue_of_message.clear();
        self.deadlines.clear();
        let queues = std::mem::take(&mut self.queues).into_values();
        let mut entries: Vec<_> = queues.flat_map(|queue| queue.entries).collect();
        entries.sort_by_key(|entry| entry.number);
        let mut invalid = Vec::new();
        for Entry { mut message, .. } in entries {
            if is_first && message.store_epoch.is_none() {
                message.store_epoch = Some(epoch);
            }
            if !message.carry_over(epoch) {
                invalid.push(message.id);
            }
            self.add(message);
        }
        invalid
    }

    /// Forgets the names of messages to conversations that have another name now: in the restored
    /// store, another conversation may have the old name. `name_of` returns the present name of a
    /// known conversation.
    pub(super) fn forget_old_names(&mut self, mut name_of: impl FnMut(ConversationId) -> Option<ConversationRef>) {
        let entries = self.queues.values_mut().flat_map(|queue| &mut queue.entries);
        for Entry { message, .. } in entries {
            if let ConversationRef::Id(id) = message.conversation
                && let (Some(old), Some(present)) = (&message.name, name_of(id))
                && canonical(old) != canonical(&present)
            {
                message.name = None;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue_of_message.len()
    }

    /// Returns the next message that may be sent now, and counts it as in flight.
    pub(super) fn start_next(&mut self, now: Instant) -> Option<(ClientMessageId, Command)> {
        if self.in_flight >= MAX_TOTAL_IN_FLIGHT {
            return None;
        }
        let max_in_flight = self.max_in_flight;
        let mut ready = self
            .queues
            .values_mut()
            .filter(|queue| queue.not_before.is_none_or(|at| at <= now));
        let (round, entry) = ready.find_map(|queue| {
            let entry = queue
                .entries
                .iter_mut()
                .take(max_in_flight)
                .find(|entry| !entry.in_flight)?;
            Some((queue.round, entry))
        })?;
        entry.round = round;
        entry.in_flight = true;
        self.in_flight += 1;
        let message = &entry.message;
        let command = Command::Send {
            conversation: message.conversation.clone(),
            draft: Draft {
                client_message_id: message.id,
                content: message.content.clone(),
            },
        };
        Some((message.id, command))
    }

    /// Removes and returns a message that has its outcome, and forgets the refusals of its queue.
    /// Returns `None` if the message was removed before.
    pub(super) fn settle(&mut self, id: &ClientMessageId) -> Option<Outgoing> {
        let number = self.queue_of_message.remove(id)?;
        let queue = self.queues.get_mut(&number)?;
        let at = queue.entries.iter().position(|entry| entry.message.id == *id)?;
        let entry = queue.entries.remove(at)?;
        queue.refusals = 0;
        if let Some(deadline) = entry.message.deadline {
            self.deadlines.remove(&(deadline, *id));
        }
        self.in_flight -= usize::from(entry.in_flight);
        if queue.entries.is_empty() {
            self.queue_of.remove(&queue.conversation);
            self.queues.remove(&number);
        }
        Some(entry.message)
    }

    /// Delays the queue of a message that the server refused temporarily. `retry_after` is the
    /// minimum delay that the server asked for.
    pub(super) fn postpone(&mut self, now: Instant, id: &ClientMessageId, retry_after: Duration) {
        let Some(queue) = self
            .queue_of_message
            .get(id)
            .and_then(|number| self.queues.get_mut(number))
        else {
            return;
        };
        let Some(entry) = queue.entries.iter_mut().find(|entry| entry.message.id == *id) else {
            return;
        };
        self.in_flight -= usize::from(entry.in_flight);
        entry.in_flight = false;
        let round = entry.round;
        let until = now + queue.refused(round).max(retry_after);
        queue.not_before = queue.not_before.max(Some(until));
    }

    /// Makes all messages ready to be sent again, in the same order and without delay, after the
    /// connection was lost.
    pub(super) fn disconnected(&mut self) {
        for queue in self.queues.values_mut() {
            queue.not_before = None;
            queue.entries.iter_mut().for_each(|entry| entry.in_flight = false);
        }
        self.in_flight = 0;
    }

    /// Returns the id of a message whose deadline has passed.
    pub(super) fn expired(&self, now: Instant) -> Option<ClientMessageId> {
        let (deadline, id) = self.deadlines.first()?;
        (*deadline <= now).then_some(*id)
    }

    /// Returns the next deadline of a message.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Returns when the next delay of a queue ends.
    pub(super) fn next_start(&self, now: Instant) -> Option<Instant> {
        let waiting = self.queues.values().filter_map(|queue| queue.not_before);
        waiting.filter(|at| *at > now).min()
    }
}

/// Returns the form of a reference that is equal for all spellings of a group name.
fn canonical(conversation: &ConversationRef) -> ConversationRef {
    let folded = match conversation {
        ConversationRef::Group(name) => GroupName::parse_any(&name.key()).ok(),
        _ => None,
    };
    folded.map_or_else(|| conversation.clone(), ConversationRef::Group)
}
