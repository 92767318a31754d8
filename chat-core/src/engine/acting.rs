//! [`ActingAs`]: commands that an application, which has no session, executes for a user.

use super::Engine;
use crate::commands::Commands;
use crate::model::{Caller, Command, Outcome, UserId};
use crate::service::CommandError;

/// Handle by which an application acts in the name of a user; see [`Engine::acting_as`]. Clones are
/// handles for the same user.
///
/// Commands need the user's rights, and messages count against the user's
/// [`message_rate_per_user`](super::EngineConfig::message_rate_per_user). Queries count against the
/// user's [`read_rate`](super::EngineConfig::read_rate), and one query of the user at a time reads
/// the store, over all handles and sessions on this node. The user's devices, sessions and presence
/// are not touched, and events name no device ([`Event::device`] is `None`). Commands that need a
/// session of a device are refused with
/// [`InvalidArgument`](crate::model::ReplyCode::InvalidArgument): logging out, changing the
/// password, revoking a device, acknowledging, setting presence and typing. In answers, the
/// `cursor` of a conversation is the position before its `first_seq`, as for a device that has
/// received nothing. If the user does not exist or is disabled, commands are refused with
/// [`AccountDisabled`](crate::model::ReplyCode::AccountDisabled).
///
/// [`Event::device`]: crate::model::Event::device
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use chat_core::prelude::*;
/// use chat_core::store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
/// let registration = Registration::new(UserName::parse("alice")?, Secret::new("correct horse"));
/// let alice = engine.register(Source::Local, registration).await?;
/// let acting = engine.acting_as(alice.id);
/// let sent = acting.send_text(ConversationRef::direct(alice.id), "milk, bread").await?;
/// acting.mark_read(sent.conversation, sent.seq).await?;
/// # engine.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ActingAs {
    engine: Engine,
    caller: Caller,
}

impl ActingAs {
    pub(super) const fn new(engine: Engine, caller: Caller) -> Self {
        Self { engine, caller }
    }

    /// Returns the user in whose name commands are executed.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.caller.user
    }

    /// Executes a command in the name of the user. Unlike the future of [`Commands::execute`], the
    /// returned future does not borrow this handle.
    ///
    /// # Errors
    /// [`CommandError`], as for a session of the user, except for the codes that [`ActingAs`]
    /// mentions.
    pub fn execute(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Outcome, CommandError>> + Send + 'static + use<> {
        self.engine.execute_paced(self.caller, command)
    }
}

/// Drafts and group changes that two calls make in one conversation take effect in the order of the
/// calls, not in the order in which their futures are polled. This also holds for calls on
/// different handles of one user.
impl Commands for ActingAs {
    type Error = CommandError;

    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, CommandError>> + Send {
        Self::execute(self, command)
    }
}
