//! [`Directory`]: finds users and conversations by names and ids.
//!
//! The kind of a conversation and the direct conversation of two users never change, so they are
//! cached. Operators rarely rename accounts, possibly on another node, so an account's name is
//! cached for [`MAX_NAME_AGE`]. Groups can be renamed by their admins, so their names are looked up
//! each time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::CommandError;
use super::limits::Charge;
use super::operations::policy::{self, GroupPermission, Membership};
use super::store_access::StoreAccess;
use crate::model::{Account, ConversationId, ConversationKind, ConversationRef, Timestamp, UserId, UserName, UserRef};
use crate::store::NamedGroup;
use crate::sync::Mutex;
use crate::time::now;

/// A conversation that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundConversation {
    pub(super) id: ConversationId,
    pub(super) kind: ConversationKind,
}

/// The conversation that a draft is sent to.
#[derive(Debug)]
pub(super) enum Destination {
    Existing(FoundConversation),
    /// A direct conversation that the draft opens if it is accepted.
    Unopened(UnopenedDirect),
}

/// A direct conversation that does not exist yet.
#[derive(Debug)]
pub(super) struct UnopenedDirect {
    pub(super) kind: ConversationKind,
    pub(super) peer: UserId,
    /// Charge for opening the conversation, refunded if it is not opened.
    pub(super) charge: Charge,
}

impl Destination {
    /// Returns the id of the conversation if it exists, and its kind.
    pub(super) const fn conversation(&self) -> (Option<ConversationId>, &ConversationKind) {
        match self {
            Self::Existing(found) => (Some(found.id), &found.kind),
            Self::Unopened(direct) => (None, &direct.kind),
        }
    }
}

/// Finds users and conversations, in the cache or in the store. Does not check whether the caller
/// may see them, with one exception: it finds an unlisted group by name only for users who may find
/// it. Otherwise a guessed name would show a former member, who knows the id, what the group is
/// called now.
#[derive(Debug)]
pub(super) struct Directory {
    access: Arc<StoreAccess>,
    users: Cache<UserName, (UserId, Instant)>,
    directs: Cache<ConversationKind, ConversationId>,
    kinds: Cache<ConversationId, ConversationKind>,
}

/// A map that is cleared when it is full.
#[derive(Debug)]
struct Cache<K, V>(Mutex<HashMap<K, V>>);

/// Maximum number of entries of each cache; about 100 bytes each.
const MAX_ENTRIES: usize = 65_536;
/// Maximum age of a cached name, and so the time for which a node may still accept the former name
/// of an account that another node renamed.
const MAX_NAME_AGE: Duration = Duration::from_secs(5);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut map = self.0.lock();
        if map.len() >= MAX_ENTRIES {
            map.clear();
        }
        map.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.0.lock().remove(key);
    }
}

impl Directory {
    pub(super) fn new(access: Arc<StoreAccess>) -> Self {
        Self {
            access,
            users: Cache::default(),
            directs: Cache::default(),
            kinds: Cache::default(),
        }
    }

    /// Returns the conversation if it is cached.
    pub(super) fn cached(&self, user: UserId, conversation: &ConversationRef) -> Option<FoundConversation> {
        match conversation {
            ConversationRef::Id(id) => Some(FoundConversation {
                id: *id,
                kind: self.kinds.get(id)?,
            }),
            ConversationRef::Direct(peer) => {
                let peer = match peer {
                    UserRef::Id(id) => *id,
                    UserRef::Name(name) => self.cached_user(name)?,
                };
                let kind = ConversationKind::direct(user, peer);
                Some(FoundConversation {
                    id: self.directs.get(&kind)?,
                    kind,
                })
            }
            ConversationRef::Group(_) => None,
        }
    }

    /// Caches a conversation.
    pub(super) fn remember(&self, found: &FoundConversation) {
        self.kinds.put(found.id, found.kind.clone());
        if matches!(found.kind, ConversationKind::Direct { .. }) {
            self.directs.put(found.kind.clone(), found.id);
        }
    }

    /// Returns the id of a user. An id is returned as it is, even if no such user exists; a name
    /// that no account has fails with `NotFound`.
    pub(super) async fn user_id(&self, user: &UserRef) -> Result<UserId, CommandError> {
        match user {
            UserRef::Id(id) => Ok(*id),
            UserRef::Name(name) => {
                if let Some(id) = self.cached_user(name) {
                    return Ok(id);
                }
                let read_at = now();
                let id = self.account(user).await?.id;
                self.users.put(name.clone(), (id, read_at));
                Ok(id)
            }
        }
    }

    fn cached_user(&self, name: &UserName) -> Option<UserId> {
        let (id, read_at) = self.users.get(name)?;
        (now().saturating_duration_since(read_at) < MAX_NAME_AGE).then_some(id)
    }

    /// Removes a name from the cache, because its account was renamed or deleted.
    pub(super) fn forget_user(&self, name: &UserName) {
        self.users.remove(name);
    }

    /// Returns the account of a user, or fails with `NotFound` if it does not exist or is deleted.
    pub(super) async fn account(&self, user: &UserRef) -> Result<Account, CommandError> {
        let store = self.access.store();
        let account = match user {
            UserRef::Id(id) => self.access.read(store.account(*id)).await?,
            UserRef::Name(name) => self.access.read(store.account_by_name(name.as_str())).await?,
        };
        account
            .filter(|account| account.deleted.is_none())
            .ok_or_else(CommandError::not_found)
    }

    /// Returns the conversation that a user refers to, or fails with `NotFound` if it does not
    /// exist, or is a group that the user may not find by its name.
    pub(super) async fn find(
        &self,
        user: UserId,
        conversation: &ConversationRef,
    ) -> Result<FoundConversation, CommandError> {
        if let Some(found) = self.cached(user, conversation) {
            return Ok(found);
        }
        let (access, store) = (&self.access, self.access.store());
        let found = match conversation {
            ConversationRef::Id(id) => {
                let row = access.read(store.conversation(*id)).await?;
                row.map(|row| FoundConversation {
                    id: row.id,
                    kind: row.kind,
                })
            }
            ConversationRef::Direct(peer) => {
                let kind = ConversationKind::direct(user, self.user_id(peer).await?);
                let id = access.read(store.conversation_of_kind(&kind)).await?;
                id.map(|id| FoundConversation { id, kind })
            }
            ConversationRef::Group(name) => {
                let group = access.read(store.named_group(&name.key(), user)).await?;
                let group = group.filter(|group| may_find(group, access.wall_time()));
                group.map(|group| FoundConversation {
                    id: group.conversation.id,
                    kind: ConversationKind::Group,
                })
            }
        };
        let found = found.ok_or_else(CommandError::not_found)?;
        self.remember(&found);
        Ok(found)
    }
}

/// Returns whether the user with the membership `group.member` may find the group by its name.
fn may_find(group: &NamedGroup, now: Timestamp) -> bool {
    let membership = Membership::of(group.member.as_ref(), now);
    let profile = group.conversation.group.as_ref();
    profile.is_some_and(|profile| policy::check_group(GroupPermission::Find, membership, profile).is_ok())
}
