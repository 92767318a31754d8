//! The tables and their indexes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{
    Account, ClientMessageId, Contact, Conversation, ConversationId, ConversationKind, Device, DeviceId, Event, Member,
    Seq, UserId,
};

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) accounts: BTreeMap<UserId, Account>,
    pub(super) account_names: BTreeMap<String, UserId>,
    pub(super) account_skeletons: HashMap<String, UserId>,
    pub(super) devices: BTreeMap<(UserId, DeviceId), Device>,
    pub(super) contacts: BTreeMap<(UserId, UserId), Contact>,
    pub(super) logs: HashMap<ConversationId, Log>,
    /// Directs and inboxes.
    pub(super) kinds: HashMap<ConversationKind, ConversationId>,
    /// Open groups.
    pub(super) group_names: BTreeMap<String, ConversationId>,
    /// Open groups.
    pub(super) group_skeletons: HashMap<String, ConversationId>,
    /// Where each user has a place.
    pub(super) places: HashMap<UserId, BTreeSet<ConversationId>>,
    pub(super) cursors: BTreeMap<(UserId, DeviceId, ConversationId), Seq>,
    pub(super) sent: HashMap<(UserId, ClientMessageId), (ConversationId, Seq)>,
    pub(super) last_user: u64,
    pub(super) last_conversation: u64,
}

/// A conversation with all that belongs to it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) row: Conversation,
    /// The event of place `n` at `n - 1`.
    pub(super) events: Vec<Event>,
    pub(super) members: BTreeMap<UserId, Member>,
    pub(super) mentions: BTreeSet<(UserId, Seq)>,
}

impl Log {
    pub(super) fn new(row: Conversation) -> Self {
        Self {
            row,
            events: Vec::new(),
            members: BTreeMap::new(),
            mentions: BTreeSet::new(),
        }
    }

    pub(super) fn event(&self, seq: Seq) -> Option<&Event> {
        self.events.get(index(seq)?)
    }

    pub(super) fn event_mut(&mut self, seq: Seq) -> Option<&mut Event> {
        self.events.get_mut(index(seq)?)
    }

    /// Events `first..=last`, as far as they exist.
    pub(super) fn range(&self, first: Seq, last: Seq) -> &[Event] {
        let end = usize::try_from(last.0).unwrap_or(usize::MAX).min(self.events.len());
        let start = usize::try_from(first.0.saturating_sub(1)).unwrap_or(usize::MAX);
        self.events.get(start..end).unwrap_or_default()
    }

    pub(super) fn message_count(&self, seq: Seq) -> u64 {
        self.event(seq).map_or(0, |event| event.message_count)
    }

    /// The last place that `member` may read.
    pub(super) fn readable_end(&self, member: &Member) -> Seq {
        member.until_seq.unwrap_or(self.row.last_seq).min(self.row.last_seq)
    }
}

fn index(seq: Seq) -> Option<usize> {
    usize::try_from(seq.0.checked_sub(1)?).ok()
}
