//! Opening direct conversations on the first message.

use std::sync::Arc;

use super::publisher::Publisher;
use crate::engine::directory::{Directory, Target};
use crate::engine::error::CommandError;
use crate::engine::limits::UserLimits;
use crate::engine::operations::message::OpenDirect;
use crate::engine::units::Units;
use crate::model::{Caller, ConversationKind, ConversationRef};

/// Finds the conversation that a caller writes to, and opens a direct conversation that does not
/// exist yet.
#[derive(Debug)]
pub(in crate::engine) struct DirectOpener {
    units: Arc<Units>,
    directory: Arc<Directory>,
    limits: Arc<UserLimits>,
    publisher: Publisher,
}

impl DirectOpener {
    pub(in crate::engine) fn new(
        units: Arc<Units>,
        directory: Arc<Directory>,
        limits: Arc<UserLimits>,
        publisher: Publisher,
    ) -> Self {
        Self {
            units,
            directory,
            limits,
            publisher,
        }
    }

    /// Returns the conversation. If it is a direct one that does not exist, opens it.
    pub(in crate::engine) async fn find_or_open(
        &self,
        caller: Caller,
        conversation: &ConversationRef,
    ) -> Result<Target, CommandError> {
        let found = self.directory.find(caller.user, conversation).await;
        let ConversationRef::Direct(user) = conversation else {
            return found;
        };
        match found {
            Err(error) if error == CommandError::not_found() => {}
            found => return found,
        }
        let peer = self.directory.user_id(user).await?;
        self.limits.direct_openings.charge(caller.user)?;
        let now = self.units.now();
        let opened = self.units.run(caller, OpenDirect { caller, peer, now }).await;
        let (id, events) = opened.inspect_err(|_| self.limits.direct_openings.take_back(caller.user))?;
        self.publisher.publish(events);
        let target = Target {
            id,
            kind: ConversationKind::direct(caller.user, peer),
        };
        self.directory.remember(&target);
        Ok(target)
    }
}
