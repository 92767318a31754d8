//! [`DirectOpener`]: finds the conversation of a draft, and opens a direct conversation when its
//! first message is sent.

use std::sync::Arc;
use std::time::Instant;

use super::publisher::Publisher;
use crate::engine::directory::{Destination, Directory, FoundConversation, UnopenedDirect};
use crate::engine::error::CommandError;
use crate::engine::limits::UserLimits;
use crate::engine::operations::message::OpenDirect;
use crate::engine::store_access::{StoreAccess, within};
use crate::model::{Caller, ConversationKind, ConversationRef};

/// Finds the conversation that a caller writes to, and opens a direct conversation that does not
/// exist yet.
#[derive(Debug)]
pub(in crate::engine) struct DirectOpener {
    access: Arc<StoreAccess>,
    directory: Arc<Directory>,
    limits: Arc<UserLimits>,
    publisher: Publisher,
}

impl DirectOpener {
    pub(in crate::engine) fn new(
        access: Arc<StoreAccess>,
        directory: Arc<Directory>,
        limits: Arc<UserLimits>,
        publisher: Publisher,
    ) -> Self {
        Self {
            access,
            directory,
            limits,
            publisher,
        }
    }

    /// Returns the conversation that a caller refers to. If it is a direct conversation that does
    /// not exist, its opening is charged to the caller's rate; the charge is refunded unless
    /// [`open`](Self::open) succeeds. The conversation is not opened yet, because the hooks decide
    /// first.
    pub(in crate::engine) async fn find(
        &self,
        caller: Caller,
        conversation: &ConversationRef,
        deadline: Instant,
    ) -> Result<Destination, CommandError> {
        let found = self.directory.find(caller.user, conversation);
        let found = within(deadline, found).await;
        let ConversationRef::Direct(user) = conversation else {
            return found.map(Destination::Existing);
        };
        match found {
            Err(error) if error == CommandError::not_found() => {}
            found => return found.map(Destination::Existing),
        }
        let peer = within(deadline, self.directory.user_id(user)).await?;
        Ok(Destination::Unopened(UnopenedDirect {
            kind: ConversationKind::direct(caller.user, peer),
            peer,
            charge: self.limits.direct_conversations.charge(caller.user)?,
        }))
    }

    /// Opens the conversation if it does not exist, and publishes the events about that in the
    /// inboxes of both users. Fails with `TryAgain` at the deadline; the conversation may then be
    /// opened nevertheless.
    pub(in crate::engine) async fn open(
        &self,
        caller: Caller,
        destination: Destination,
        deadline: Instant,
    ) -> Result<FoundConversation, CommandError> {
        let UnopenedDirect { kind, peer, mut charge } = match destination {
            Destination::Existing(found) => return Ok(found),
            Destination::Unopened(direct) => direct,
        };
        let now = self.access.wall_time();
        let open = OpenDirect { caller, peer, now };
        let (id, events) = self.access.run_until(deadline, caller, open).await?;
        charge.keep();
        self.publisher.publish(events);
        let found = FoundConversation { id, kind };
        self.directory.remember(&found);
        Ok(found)
    }
}
