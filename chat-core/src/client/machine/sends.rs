//! Messages on their way: one lane per conversation, so that their order is the order they were written in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::model::{ClientMessageId, Command, ConversationId, ConversationRef, Draft, DraftContent, GroupName};

/// Messages under way at once, over all conversations.
const MAX_UNDER_WAY: usize = 64;
/// The shortest and longest pause after a temporary refusal.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A message that is to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its idempotency key.
    pub id: ClientMessageId,
    /// Where it goes.
    pub conversation: ConversationRef,
    /// What it says.
    pub content: DraftContent,
    /// Not after this time.
    pub deadline: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    message: Outgoing,
    /// Grows from message to message.
    number: u64,
    under_way: bool,
    /// The lane's round in which it was sent last.
    round: u64,
}

/// The messages of one conversation, oldest first.
#[derive(Debug)]
struct Lane {
    /// As [`Sends::place`] has it.
    conversation: ConversationRef,
    entries: VecDeque<Entry>,
    not_before: Option<Instant>,
    /// Rounds in a row that were refused.
    refusals: u32,
    /// What is sent until the next pause. However much of it is refused counts as one refusal.
    round: u64,
}

/// All messages that have no outcome yet.
#[derive(Debug, Default)]
pub(super) struct Sends {
    /// By the number of the message they began with.
    lanes: BTreeMap<u64, Lane>,
    lane_of: HashMap<ConversationRef, u64>,
    place_of: HashMap<ClientMessageId, u64>,
    deadlines: BTreeSet<(Instant, ClientMessageId)>,
    /// What other references stand for, as far as it is known.
    ids: HashMap<ConversationRef, ConversationId>,
    last_number: u64,
    under_way: usize,
    /// Messages of one conversation under way at once.
    window: usize,
}

impl Lane {
    fn new(conversation: ConversationRef) -> Self {
        Self {
            conversation,
            entries: VecDeque::new(),
            not_before: None,
            refusals: 0,
            round: 0,
        }
    }

    /// A message that was sent in this round was refused: how long the lane waits.
    fn refused(&mut self, round: u64) -> Duration {
        if round == self.round {
            self.round += 1;
            self.refusals = self.refusals.saturating_add(1);
        }
        let doublings = self.refusals.saturating_sub(1).min(7);
        PAUSE.0.saturating_mul(1 << doublings).clamp(PAUSE.0, PAUSE.1)
    }

    /// Takes over what another lane has, each message in its place.
    fn join(&mut self, other: Option<Self>) {
        let Some(other) = other else { return };
        self.entries.extend(other.entries);
        self.entries.make_contiguous().sort_by_key(|entry| entry.number);
        self.not_before = self.not_before.max(other.not_before);
        self.refusals = self.refusals.max(other.refusals);
        self.round = self.round.max(other.round);
    }
}

impl Sends {
    pub(super) fn new(window: usize) -> Self {
        Self {
            window: window.max(1),
            ..Self::default()
        }
    }

    /// Puts a message at the end of its conversation's lane. A second one with the same id changes nothing.
    pub(super) fn add(&mut self, message: Outgoing) {
        if self.place_of.contains_key(&message.id) {
            return;
        }
        self.last_number += 1;
        let conversation = self.place(&message.conversation);
        let lane = *self.lane_of.entry(conversation.clone()).or_insert(self.last_number);
        self.place_of.insert(message.id, lane);
        if let Some(deadline) = message.deadline {
            self.deadlines.insert((deadline, message.id));
        }
        let lane = self.lanes.entry(lane).or_insert_with(|| Lane::new(conversation));
        lane.entries.push_back(Entry {
            message,
            number: self.last_number,
            under_way: false,
            round: 0,
        });
    }

    /// The message with this id that has no outcome yet.
    pub(super) fn get(&self, id: &ClientMessageId) -> Option<&Outgoing> {
        let lane = self.lanes.get(self.place_of.get(id)?)?;
        let entry = lane.entries.iter().find(|entry| entry.message.id == *id)?;
        Some(&entry.message)
    }

    /// A conversation by the one reference that its lane goes by: its id, if that is known.
    pub(super) fn place(&self, conversation: &ConversationRef) -> ConversationRef {
        let spelled = spelled(conversation);
        self.ids.get(&spelled).map_or(spelled, |id| ConversationRef::Id(*id))
    }

    /// `reference` stands for the conversation `id`: what was written to either goes one way, in the order it was written in.
    pub(super) fn learn(&mut self, reference: &ConversationRef, id: ConversationId) {
        let reference = spelled(reference);
        let by_id = ConversationRef::Id(id);
        if reference == by_id || self.ids.insert(reference.clone(), id) == Some(id) {
            return;
        }
        let Some(mut number) = self.lane_of.remove(&reference) else {
            return;
        };
        let Some(mut lane) = self.lanes.remove(&number) else {
            return;
        };
        lane.conversation = by_id.clone();
        if let Some(other) = self.lane_of.remove(&by_id) {
            lane.join(self.lanes.remove(&other));
            number = number.min(other);
        }
        for entry in &lane.entries {
            self.place_of.insert(entry.message.id, number);
        }
        self.lane_of.insert(by_id, number);
        self.lanes.insert(number, lane);
    }

    /// Ids mean something else from here on.
    pub(super) fn forget_ids(&mut self) {
        self.ids.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.place_of.len()
    }

    /// The next message that may be sent now; it is under way from here on.
    pub(super) fn start_next(&mut self, now: Instant) -> Option<(ClientMessageId, Command)> {
        if self.under_way >= MAX_UNDER_WAY {
            return None;
        }
        let window = self.window;
        let mut ready = self
            .lanes
            .values_mut()
            .filter(|lane| lane.not_before.is_none_or(|at| at <= now));
        let (round, entry) = ready.find_map(|lane| {
            let entry = lane.entries.iter_mut().take(window).find(|entry| !entry.under_way)?;
            Some((lane.round, entry))
        })?;
        entry.round = round;
        entry.under_way = true;
        self.under_way += 1;
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

    /// The message has its outcome. `None`: it had one before.
    pub(super) fn settle(&mut self, id: &ClientMessageId) -> Option<Outgoing> {
        let number = self.place_of.remove(id)?;
        let lane = self.lanes.get_mut(&number)?;
        let at = lane.entries.iter().position(|entry| entry.message.id == *id)?;
        let entry = lane.entries.remove(at)?;
        lane.refusals = 0;
        if let Some(deadline) = entry.message.deadline {
            self.deadlines.remove(&(deadline, *id));
        }
        self.under_way -= usize::from(entry.under_way);
        if lane.entries.is_empty() {
            self.lane_of.remove(&lane.conversation);
            self.lanes.remove(&number);
        }
        Some(entry.message)
    }

    /// The server could not take the message now: its lane waits, at least for `hint`.
    pub(super) fn postpone(&mut self, now: Instant, id: &ClientMessageId, hint: Duration) {
        let Some(lane) = self.place_of.get(id).and_then(|number| self.lanes.get_mut(number)) else {
            return;
        };
        let Some(entry) = lane.entries.iter_mut().find(|entry| entry.message.id == *id) else {
            return;
        };
        self.under_way -= usize::from(entry.under_way);
        entry.under_way = false;
        let round = entry.round;
        let until = now + lane.refused(round).max(hint);
        lane.not_before = lane.not_before.max(Some(until));
    }

    /// Nothing is under way any more: what was will be sent again, in the same order.
    pub(super) fn disconnected(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.not_before = None;
            lane.entries.iter_mut().for_each(|entry| entry.under_way = false);
        }
        self.under_way = 0;
    }

    /// A message whose deadline has passed.
    pub(super) fn expired(&self, now: Instant) -> Option<ClientMessageId> {
        let (deadline, id) = self.deadlines.first()?;
        (*deadline <= now).then_some(*id)
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// When the next lane that waits may go on.
    pub(super) fn next_start(&self, now: Instant) -> Option<Instant> {
        let waiting = self.lanes.values().filter_map(|lane| lane.not_before);
        waiting.filter(|at| *at > now).min()
    }
}

/// Group names that differ in case alone name one group.
fn spelled(conversation: &ConversationRef) -> ConversationRef {
    let folded = match conversation {
        ConversationRef::Group(name) => GroupName::parse_any(&name.key()).ok(),
        _ => None,
    };
    folded.map_or_else(|| conversation.clone(), ConversationRef::Group)
}
