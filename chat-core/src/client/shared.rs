//! State that the handle and the driver share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::model::{
    ConversationId, ConversationInfo, ConversationRef, ConversationView, DeviceId, GroupName, Seq, StoreEpoch, UserId,
    UserInfo,
};
use crate::sync::{Mutex, MutexGuard};

use super::{AccountState, ClientError, Cursor, KnownGroups, known};

/// State of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// The client has no session, or does not know the conversations of the user yet. Contains the
    /// failure of the last attempt or session, if there was one.
    Connecting(Option<ClientError>),
    /// The client has a session with the server of this address. It knows the conversations of the
    /// user, unless the server took more than 5 s to list them, or refused to list them at first.
    /// In that case, [`ClientEvent::CaughtUp`](super::ClientEvent::CaughtUp) shows that it knows
    /// them.
    Online(String),
    /// The client has ended.
    Ended(ClientError),
}

/// Shared state of a client. No lock is held across an await, and no two locks are held at once.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) device: DeviceId,
    pub(super) status: watch::Sender<Status>,
    /// Number of messages without an outcome.
    pub(super) unsettled: watch::Sender<usize>,
    directory: Mutex<Directory>,
    /// Acknowledgements that the driver has not taken yet.
    acks: Mutex<HashMap<ConversationId, Acknowledgement>>,
    /// Wakes the driver when there is an acknowledgement to take.
    pub(super) acked: Notify,
    /// Number of resets ([`StoreReplaced`](super::ClientEvent::StoreReplaced),
    /// [`Rewound`](super::ClientEvent::Rewound)) that were delivered to the application.
    resets: AtomicU64,
    /// Number of the store epoch that the delivered events belong to; `None` if the application
    /// takes no events.
    delivered_epoch_number: Mutex<Option<u64>>,
}

/// Acknowledgement of a conversation, and the number of resets that the application had received
/// before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) cursor: Cursor,
    pub(super) resets: u64,
}

impl Acknowledgement {
    /// Orders acknowledgements: one made after a reset wins over a higher position from before the
    /// reset.
    fn rank(&self) -> (u64, Seq) {
        (self.resets, self.cursor.seq)
    }
}

/// Known conversations and users.
#[derive(Debug, Default)]
struct Directory {
    /// `None` before the first login of this device.
    me: Option<UserInfo>,
    conversations: BTreeMap<ConversationId, Arc<ConversationInfo>>,
    names: BTreeMap<UserId, String>,
    /// Names of the groups that an earlier run has saved. A group is removed once the server has
    /// reported it, and all are removed once the client knows the present groups of the user.
    saved_groups: BTreeMap<ConversationId, String>,
    /// Number of the store epoch that all ids belong to, from 0: how often the store was replaced
    /// since the client was started.
    epoch_number: u64,
    /// Store epoch of the latest login; `None` before the first login of this device.
    store_epoch: Option<StoreEpoch>,
}

impl Shared {
    pub(super) fn new(account: &AccountState, names: BTreeMap<UserId, String>, groups: KnownGroups) -> Self {
        let is_current = groups.store_epoch == account.store_epoch;
        let directory = Directory {
            me: account.user.clone(),
            names,
            saved_groups: if is_current { groups.names } else { BTreeMap::new() },
            store_epoch: account.store_epoch,
            ..Directory::default()
        };
        Self {
            device: account.device,
            status: watch::Sender::new(Status::Connecting(None)),
            unsettled: watch::Sender::new(0),
            directory: Mutex::new(directory),
            acks: Mutex::default(),
            acked: Notify::new(),
            resets: AtomicU64::new(0),
            delivered_epoch_number: Mutex::default(),
        }
    }

    pub(super) fn me(&self) -> Option<UserInfo> {
        self.directory().me.clone()
    }

    pub(super) fn set_me(&self, user: UserInfo) {
        let mut directory = self.directory();
        directory.names.insert(user.id, user.name.clone());
        directory.me = Some(user);
    }

    pub(super) fn conversations(&self) -> Vec<Arc<ConversationInfo>> {
        self.directory().conversations.values().cloned().collect()
    }

    /// Returns a known conversation; `None` if it is unknown, or the store was replaced since the
    /// epoch to which its id belongs.
    pub(super) fn conversation(&self, epoch_number: u64, id: ConversationId) -> Option<Arc<ConversationInfo>> {
        let directory = self.directory();
        let conversation = directory.conversations.get(&id);
        conversation.filter(|_| directory.epoch_number == epoch_number).cloned()
    }

    /// Returns the known conversation that `reference` denotes. Returns `None` if there is none, or
    /// more than one, because then the known name of one of them is out of date.
    pub(super) fn find(&self, reference: &ConversationRef) -> Option<Arc<ConversationInfo>> {
        let directory = self.directory();
        known::only_match(reference, directory.conversations.values().map(Arc::clone))
    }

    /// Returns the reference by which a conversation is addressed: its id, if it is known.
    pub(super) fn resolve(&self, reference: &ConversationRef) -> ConversationRef {
        let found = self.find(reference).map(|info| ConversationRef::Id(info.id));
        found.unwrap_or_else(|| reference.clone())
    }

    /// Forgets all conversations and names, because the store epoch `epoch` has replaced the one
    /// that their ids belong to. The epoch gets the next number.
    pub(super) fn store_replaced(&self, epoch: StoreEpoch) {
        let mut directory = self.directory();
        directory.store_epoch = Some(epoch);
        directory.conversations.clear();
        directory.names.clear();
        directory.saved_groups.clear();
        directory.epoch_number += 1;
    }

    /// Returns the number of the current store epoch.
    pub(super) fn epoch_number(&self) -> u64 {
        self.directory().epoch_number
    }

    /// Returns the number of the store epoch that the application has its ids from: that of the
    /// events that it took, or the current one if it takes none.
    pub(super) fn application_epoch_number(&self) -> u64 {
        let delivered = *self.delivered_epoch_number.lock();
        delivered.unwrap_or_else(|| self.epoch_number())
    }

    /// Records the number of the store epoch that the events taken by the application belong to.
    pub(super) fn set_delivered_epoch_number(&self, epoch_number: Option<u64>) {
        *self.delivered_epoch_number.lock() = epoch_number;
    }

    pub(super) fn store_epoch(&self) -> Option<StoreEpoch> {
        self.directory().store_epoch
    }

    pub(super) fn set_store_epoch(&self, epoch: StoreEpoch) {
        self.directory().store_epoch = Some(epoch);
    }

    /// Stores a conversation and, if it is direct, the name of the peer. Returns whether this
    /// changes the result of [`groups`](Self::groups), so that it has to be saved again.
    pub(super) fn learn_conversation(&self, info: Arc<ConversationInfo>) -> bool {
        let mut directory = self.directory();
        if let ConversationView::Direct(peer) = &info.view {
            // If a peer's name is out of date, the machine has put `#` and the id in its place
            // (`renamed_users.rs`). User names never begin with `#`.
            if peer.name.starts_with('#') {
                directory.names.remove(&peer.id);
            } else {
                directory.names.insert(peer.id, peer.name.clone());
            }
        }
        let name = known::group_name(&info).map(str::to_owned);
        let saved_name = directory.saved_groups.remove(&info.id);
        let old = directory.conversations.insert(info.id, info);
        let old_name = old.as_deref().and_then(known::group_name);
        old_name.or(saved_name.as_deref()) != name.as_deref()
    }

    /// Returns the user's groups, and those of an earlier run that the server has not reported yet.
    pub(super) fn groups(&self) -> KnownGroups {
        let directory = self.directory();
        let mut names = directory.saved_groups.clone();
        let groups = directory.conversations.values();
        names.extend(groups.filter_map(|info| Some((info.id, known::group_name(info)?.to_owned()))));
        KnownGroups {
            store_epoch: directory.store_epoch,
            names,
        }
    }

    /// Returns the group that had this name in an earlier run, if the server has not reported it
    /// yet. Returns `None` also if several groups had the name.
    pub(super) fn saved_group(&self, reference: &ConversationRef) -> Option<ConversationId> {
        let ConversationRef::Group(wanted) = reference else {
            return None;
        };
        let directory = self.directory();
        let key = wanted.key();
        let has_name = |name: &str| GroupName::parse_any(name).is_ok_and(|name| name.key() == key);
        let mut found = directory.saved_groups.iter().filter(|(_, name)| has_name(name));
        let (id, _) = found.next()?;
        found.next().is_none().then_some(*id)
    }

    /// Forgets the groups of an earlier run, because the client knows the present ones. Returns
    /// whether there were any.
    pub(super) fn forget_saved_groups(&self) -> bool {
        !std::mem::take(&mut self.directory().saved_groups).is_empty()
    }

    /// Returns the name of a user in the store epoch of this number; `None` if it is unknown, or
    /// the epoch has ended.
    pub(super) fn name(&self, epoch_number: u64, user: UserId) -> Option<String> {
        let directory = self.directory();
        let name = directory.names.get(&user);
        name.filter(|_| directory.epoch_number == epoch_number).cloned()
    }

    /// Stores names of users in the store epoch of this number, unless it has ended. Returns all
    /// known names if one was new or changed.
    pub(super) fn learn_names(
        &self,
        epoch_number: u64,
        names: impl IntoIterator<Item = (UserId, String)>,
    ) -> Option<BTreeMap<UserId, String>> {
        let mut directory = self.directory();
        if directory.epoch_number != epoch_number {
            return None;
        }
        let mut changed = false;
        for (user, name) in names {
            changed |= directory.names.get(&user) != Some(&name);
            directory.names.insert(user, name);
        }
        changed.then(|| directory.names.clone())
    }

    /// Counts a reset that is delivered to the application. Returns the number of resets so far.
    pub(super) fn count_reset(&self) -> u64 {
        self.resets.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Stores an acknowledgement for the driver, merged with earlier ones. Does not wait for the
    /// driver to take it.
    pub(super) fn acknowledge(&self, conversation: ConversationId, ack: Acknowledgement) {
        let mut acks = self.acks.lock();
        let known = acks.entry(conversation).or_insert(ack);
        if ack.rank() > known.rank() {
            *known = ack;
        }
        drop(acks);
        self.acked.notify_one();
    }

    /// Takes the acknowledgements that were stored since the last call.
    pub(super) fn take_acks(&self) -> HashMap<ConversationId, Acknowledgement> {
        std::mem::take(&mut *self.acks.lock())
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::known::tests::group;

    #[test]
    fn saved_group_that_the_user_has_left_is_forgotten() {
        let saved = KnownGroups {
            store_epoch: None,
            names: BTreeMap::from([(ConversationId(9), "club".to_owned())]),
        };
        let shared = Shared::new(&AccountState::new(), BTreeMap::new(), saved.clone());
        let mut reported = group(9, "club");
        assert!(
            !shared.learn_conversation(Arc::new(reported.clone())),
            "the saved name is right"
        );
        assert_eq!(shared.groups(), saved);
        reported.active = false;
        assert!(shared.learn_conversation(Arc::new(reported.clone())));

        let shared = Shared::new(&AccountState::new(), BTreeMap::new(), saved);
        assert!(
            shared.learn_conversation(Arc::new(reported)),
            "the saved groups have to be written"
        );
        assert!(shared.groups().names.is_empty());
    }
}
