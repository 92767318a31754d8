//! The tables of the memory store, and their indexes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{
    Account, ClientMessageId, Contact, Conversation, ConversationId, ConversationKind, Device, DeviceId, Event,
    GroupSnapshot, Member, Seq, Timestamp, UserId,
};
use crate::store::{FeedLease, FeedShard, NewAuditRecord, RequestNotice};

/// All rows, and the indexes that find them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) accounts: BTreeMap<UserId, Account>,
    /// Accounts by canonical name.
    pub(super) account_names: BTreeMap<String, UserId>,
    /// Accounts by skeleton, which is equal for names that look alike.
    pub(super) account_skeletons: HashMap<String, UserId>,
    /// Accounts by external subject.
    pub(super) account_subjects: HashMap<String, UserId>,
    pub(super) devices: BTreeMap<(UserId, DeviceId), Device>,
    /// Changes of each user's devices and memberships: their number, and the time of the latest.
    pub(super) user_changes: HashMap<UserId, (u64, Timestamp)>,
    /// Contacts by owner and peer.
    pub(super) contacts: BTreeMap<(UserId, UserId), Contact>,
    pub(super) conversations: BTreeMap<ConversationId, StoredConversation>,
    /// Direct conversations and inboxes by kind, which contains the ids of their users.
    pub(super) kinds: HashMap<ConversationKind, ConversationId>,
    /// Existing groups by key (the canonical spelling of the name).
    pub(super) group_keys: BTreeMap<String, ConversationId>,
    /// Existing groups by skeleton.
    pub(super) group_skeletons: HashMap<String, ConversationId>,
    /// Conversations in which a user has a membership, in any state.
    pub(super) memberships: HashMap<UserId, BTreeSet<ConversationId>>,
    /// Cursors of devices.
    pub(super) cursors: BTreeMap<(UserId, DeviceId, ConversationId), Seq>,
    /// Events by sender and client message id.
    pub(super) sent: HashMap<(UserId, ClientMessageId), (ConversationId, Seq)>,
    /// Times at which friend requests, invitations and requests to join were announced last, by
    /// inbox.
    pub(super) request_notices: HashMap<ConversationId, HashMap<RequestNotice, Timestamp>>,
    /// Cursors of feeds, by name of the feed.
    pub(super) feed_cursors: BTreeMap<String, BTreeMap<ConversationId, Seq>>,
    /// Latest lease of each shard, even if it has expired: the next claim increments its term.
    pub(super) feed_leases: BTreeMap<(String, FeedShard), FeedLease>,
    /// Audit log: record `n` has index `n - 1`.
    pub(super) audit: Vec<NewAuditRecord>,
    /// Id of the newest account, or 0.
    pub(super) last_user: u64,
    /// Id of the newest conversation, or 0.
    pub(super) last_conversation: u64,
}

/// A conversation: its row, its log of events, its members, the snapshots for users who left it,
/// and the mentions in its messages.
#[derive(Debug)]
pub(super) struct StoredConversation {
    pub(super) row: Conversation,
    /// Events: event `n` has index `n - 1`.
    pub(super) events: Vec<Event>,
    pub(super) members: BTreeMap<UserId, Member>,
    /// State of the group when a user left it last, by user.
    pub(super) snapshots: BTreeMap<UserId, GroupSnapshot>,
    /// Mentioned user and position of the message. `UserId(0)` stands for every member.
    pub(super) mentions: BTreeSet<(UserId, Seq)>,
}

impl StoredConversation {
    pub(super) fn new(row: Conversation) -> Self {
        Self {
            row,
            events: Vec::new(),
            members: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            mentions: BTreeSet::new(),
        }
    }

    pub(super) fn event(&self, seq: Seq) -> Option<&Event> {
        self.events.get(index(seq)?)
    }

    pub(super) fn event_mut(&mut self, seq: Seq) -> Option<&mut Event> {
        self.events.get_mut(index(seq)?)
    }

    /// Returns those events of `first..=last` that exist.
    pub(super) fn range(&self, first: Seq, last: Seq) -> &[Event] {
        let end = usize::try_from(last.0).unwrap_or(usize::MAX).min(self.events.len());
        let start = usize::try_from(first.0.saturating_sub(1)).unwrap_or(usize::MAX);
        self.events.get(start..end).unwrap_or_default()
    }

    /// Returns the number of messages up to and including `seq`, or 0 if no event is there.
    pub(super) fn message_count(&self, seq: Seq) -> u64 {
        self.event(seq).map_or(0, |event| event.message_count)
    }

    /// Returns the position of the last event that `member` may read, if `member` may read any.
    pub(super) fn readable_end(&self, member: &Member) -> Seq {
        member.until_seq.unwrap_or(self.row.last_seq).min(self.row.last_seq)
    }
}

/// Returns the index of an event in [`StoredConversation::events`].
fn index(seq: Seq) -> Option<usize> {
    usize::try_from(seq.0.checked_sub(1)?).ok()
}
