//! The server's store epoch, which changes if the store may have lost events, as after the restore
//! of a backup. Decides which waiting messages and commands may still be sent under the new epoch.

use crate::client::{ClientError, ClientEvent, SendOutcome, ids};
use crate::model::{ConversationId, ConversationRef, StoreEpoch};

use super::{Action, Machine, outbox::Outgoing};

impl Machine {
    /// Enters the store epoch of a login. If another one was known before, its cursors and
    /// conversations are deleted, and the application gets [`ClientEvent::StoreReplaced`]. Messages
    /// and commands with ids of another epoch continue with names instead of ids if that is
    /// possible, and otherwise end with [`ClientError::StoreReplaced`].
    pub(super) fn enter_epoch(&mut self, epoch: StoreEpoch) {
        let known = self.config.store_epoch.replace(epoch);
        if known.is_some_and(|known| known != epoch) {
            self.outbox
                .forget_old_names(|id| ids::name_of(self.conversations.get_mut(id)?.info.as_ref()?));
            self.outbox.forget_ids();
            self.carry_over_commands();
            self.acks.reset_all();
            self.conversations.clear();
            self.actions.push_back(Action::StoreReplaced(epoch));
            self.events.put(ClientEvent::StoreReplaced);
        }
        for id in self.outbox.enter_epoch(epoch, known.is_none()) {
            self.settle(&id, SendOutcome::NotStored(ClientError::StoreReplaced));
        }
    }

    /// Adds a message to the outbox. In a session, refuses a message of another epoch that cannot
    /// continue by name; without a session, the next login decides.
    pub(super) fn enqueue(&mut self, mut message: Outgoing) {
        let is_valid = match self.config.store_epoch {
            Some(epoch) if self.has_session() => message.carry_over(epoch),
            _ => true,
        };
        let id = message.id;
        let is_new = self.outbox.get(&id).is_none();
        self.outbox.add(message);
        if is_new && !is_valid {
            self.settle(&id, SendOutcome::NotStored(ClientError::StoreReplaced));
        }
    }

    /// Replaces the ids of conversations in waiting commands by names. Commands that contain ids
    /// nevertheless end with [`ClientError::StoreReplaced`].
    fn carry_over_commands(&mut self) {
        for (command_id, mut command) in std::mem::take(&mut self.waiting) {
            if let Some(conversation) = ids::any_conversation_in(&mut command)
                && let ConversationRef::Id(id) = conversation
                && let Some(name) = self.name_of(*id)
            {
                *conversation = name;
            }
            if ids::command_has_ids(&command) {
                let result = Err(ClientError::StoreReplaced);
                self.actions.push_back(Action::Finish { command_id, result });
            } else {
                self.waiting.push_back((command_id, command));
            }
        }
    }

    /// Returns a reference that names this known conversation.
    fn name_of(&mut self, id: ConversationId) -> Option<ConversationRef> {
        ids::name_of(self.conversations.get_mut(id)?.info.as_ref()?)
    }
}
