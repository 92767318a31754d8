//! From names to ids. Names of accounts, direct conversations and kinds never change once given, so they are remembered; groups
//! can be renamed, so they are looked up each time.

use std::collections::HashMap;
use std::hash::Hash;

use super::core::Core;
use super::error::CommandError;
use super::message::OpenDirect;
use crate::model::{Account, Caller, ConversationId, ConversationKind, ConversationRef, UserId, UserName, UserRef};
use crate::sync::Mutex;

/// A conversation that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) id: ConversationId,
    pub(super) kind: ConversationKind,
}

/// What was found before.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Remembered<UserName, UserId>,
    directs: Remembered<ConversationKind, ConversationId>,
    kinds: Remembered<ConversationId, ConversationKind>,
}

/// A map that starts afresh when it is full.
#[derive(Debug)]
struct Remembered<K, V>(Mutex<HashMap<K, V>>);

/// Entries of each map; about 100 bytes each.
const ENTRIES: usize = 65_536;

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut map = self.0.lock();
        if map.len() >= ENTRIES {
            map.clear();
        }
        map.insert(key, value);
    }
}

impl Directory {
    /// The conversation, if nothing has to be read to know it.
    pub(super) fn known(&self, caller: UserId, conversation: &ConversationRef) -> Option<Target> {
        match conversation {
            ConversationRef::Id(id) => Some(Target {
                id: *id,
                kind: self.kinds.get(id)?,
            }),
            ConversationRef::Direct(user) => {
                let peer = match user {
                    UserRef::Id(id) => *id,
                    UserRef::Name(name) => self.users.get(name)?,
                };
                let kind = ConversationKind::direct(caller, peer);
                Some(Target {
                    id: self.directs.get(&kind)?,
                    kind,
                })
            }
            ConversationRef::Group(_) => None,
        }
    }

    fn remember(&self, target: &Target) {
        self.kinds.put(target.id, target.kind.clone());
        if matches!(target.kind, ConversationKind::Direct { .. }) {
            self.directs.put(target.kind.clone(), target.id);
        }
    }
}

impl Core {
    /// The id of a user who may or may not exist; by name, of one who does.
    pub(super) async fn user_id(&self, user: &UserRef) -> Result<UserId, CommandError> {
        match user {
            UserRef::Id(id) => Ok(*id),
            UserRef::Name(name) => {
                if let Some(id) = self.directory.users.get(name) {
                    return Ok(id);
                }
                let account = self.read(self.store.account_by_name(name.as_str())).await?;
                let account = account.ok_or_else(CommandError::not_found)?;
                self.directory.users.put(name.clone(), account.id);
                Ok(account.id)
            }
        }
    }

    /// A user who exists.
    pub(super) async fn account(&self, user: &UserRef) -> Result<Account, CommandError> {
        let account = match user {
            UserRef::Id(id) => self.read(self.store.account(*id)).await?,
            UserRef::Name(name) => self.read(self.store.account_by_name(name.as_str())).await?,
        };
        account.ok_or_else(CommandError::not_found)
    }

    /// The conversation that somebody means, without saying whether they may know of it.
    pub(super) async fn find(&self, caller: UserId, conversation: &ConversationRef) -> Result<Target, CommandError> {
        if let Some(target) = self.directory.known(caller, conversation) {
            return Ok(target);
        }
        let target = match conversation {
            ConversationRef::Id(id) => {
                let row = self.read(self.store.conversation(*id)).await?;
                row.map(|row| Target {
                    id: row.id,
                    kind: row.kind,
                })
            }
            ConversationRef::Direct(user) => {
                let kind = ConversationKind::direct(caller, self.user_id(user).await?);
                let id = self.read(self.store.conversation_of_kind(&kind)).await?;
                id.map(|id| Target { id, kind })
            }
            ConversationRef::Group(name) => {
                let id = self.read(self.store.group_by_key(&name.key())).await?;
                id.map(|id| Target {
                    id,
                    kind: ConversationKind::Group,
                })
            }
        };
        let target = target.ok_or_else(CommandError::not_found)?;
        self.directory.remember(&target);
        Ok(target)
    }

    /// The same, for somebody who wants to write: a direct conversation is opened if there is none.
    pub(super) async fn find_or_open(
        &self,
        caller: Caller,
        conversation: &ConversationRef,
    ) -> Result<Target, CommandError> {
        let found = self.find(caller.user, conversation).await;
        let ConversationRef::Direct(user) = conversation else {
            return found;
        };
        match found {
            Err(error) if error == CommandError::not_found() => {}
            found => return found,
        }
        let peer = self.user_id(user).await?;
        self.limits.direct_openings.charge(caller.user)?;
        let opened = self
            .run(
                caller,
                OpenDirect {
                    caller,
                    peer,
                    now: self.now(),
                },
            )
            .await;
        let (id, events) = opened.inspect_err(|_| self.limits.direct_openings.take_back(caller.user))?;
        self.publish(events);
        let target = Target {
            id,
            kind: ConversationKind::direct(caller.user, peer),
        };
        self.directory.remember(&target);
        Ok(target)
    }
}
