//! A session's life on this node, and sessions without a network.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use super::core::Core;
use super::error::CommandError;
use crate::model::{
    Appended, Caller, CloseCode, Command, ConversationInfo, ConversationRef, Draft, MessageText, Outcome, Push,
    SessionId, Source, UserInfo,
};
use crate::router::{self, Outbox, SharedPush};
use crate::sync::Mutex;

/// A session on this node. It ends when this is dropped.
#[derive(Debug)]
pub struct Attachment {
    core: Arc<Core>,
    /// Taken when it ends.
    inner: Option<router::SubscriptionGuard>,
    caller: Caller,
    id: SessionId,
}

impl Attachment {
    /// Whom the session speaks for.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// The session's id on this node.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        let reason = inner.outbox().close_code().unwrap_or(CloseCode::Normal);
        drop(inner);
        self.core.presences.changed(self.caller.user);
        self.core.observer.session_end(self.caller, reason);
    }
}

impl Core {
    /// Lets a session get what happens: first attaches it, then tells where its conversations stand, so that nothing falls
    /// in between.
    pub(super) async fn open(
        self: &Arc<Self>,
        caller: Caller,
        source: Source,
        outbox: Arc<Outbox>,
    ) -> Result<(Attachment, Vec<ConversationInfo>), CommandError> {
        if self.draining.is_cancelled() {
            return Err(CommandError::shutting_down());
        }
        let (inner, heads) = self.read(self.router.subscribe(caller, outbox)).await?;
        // A newer login may have come and closed the older sessions before this one was among them.
        let device = self.read(self.store.device(caller.user, caller.device)).await?;
        if device.is_none_or(|device| device.session_epoch != caller.epoch) {
            return Err(CommandError::fenced());
        }
        let conversations = self.conversation_infos(caller.user, heads).await?;
        let attachment = Attachment {
            core: Arc::clone(self),
            id: inner.id(),
            inner: Some(inner),
            caller,
        };
        self.presences.changed(caller.user);
        self.observer.session_start(caller, source);
        Ok((attachment, conversations))
    }
}

/// A session in this process: the same commands and the same pushes as a remote client's, for applications, bots and
/// tests. It ends when it is dropped.
#[derive(Debug)]
pub struct LocalSession {
    engine: Engine,
    /// Ends the session.
    attachment: Attachment,
    outbox: Arc<Outbox>,
    taken: Mutex<VecDeque<SharedPush>>,
    user: UserInfo,
    conversations: Vec<ConversationInfo>,
}

/// Bytes taken from the outbox at once.
const TAKE: usize = 64 * 1024;

impl LocalSession {
    pub(super) fn new(
        engine: Engine,
        attachment: Attachment,
        outbox: Arc<Outbox>,
        user: UserInfo,
        conversations: Vec<ConversationInfo>,
    ) -> Self {
        Self {
            engine,
            attachment,
            outbox,
            taken: Mutex::default(),
            user,
            conversations,
        }
    }

    /// Whom it speaks for.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.attachment.caller()
    }

    /// The user, as they see themselves.
    #[must_use]
    pub fn user(&self) -> &UserInfo {
        &self.user
    }

    /// Where the user's conversations stood when the session began. What is pushed continues from there, or from before.
    #[must_use]
    pub fn conversations(&self) -> &[ConversationInfo] {
        &self.conversations
    }

    /// Does what the session asks; see [`Service::execute`](super::Service::execute). Messages are held to their user's rate, see
    /// [`EngineConfig::message_rate`](super::EngineConfig::message_rate).
    ///
    /// # Errors
    /// [`CommandError`], as a remote client would be told.
    pub fn execute(
        &self,
        command: Command,
    ) -> impl Future<Output = Result<Outcome, CommandError>> + Send + 'static + use<> {
        self.engine.execute_paced(self.caller(), command)
    }

    /// Appends a draft. Durable once this returns.
    ///
    /// # Errors
    /// [`CommandError`]. `TryAgain`: try again with the same draft, it is stored at most once.
    pub async fn send(&self, conversation: ConversationRef, draft: Draft) -> Result<Appended, CommandError> {
        match self.execute(Command::Send { conversation, draft }).await? {
            Outcome::Appended(appended) => Ok(appended),
            _ => Err(CommandError::internal()),
        }
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// As [`LocalSession::send`]; `InvalidText` for what cannot be a message.
    pub async fn send_text(&self, conversation: ConversationRef, text: &str) -> Result<Appended, CommandError> {
        let text = MessageText::new(text)
            .map_err(|error| CommandError::new(crate::model::ReplyCode::InvalidText, error.to_string()))?;
        self.send(conversation, Draft::text(text)).await
    }

    /// The next push; `None` once the session is over. The last one before is [`Push::Closed`], if somebody ended it.
    ///
    /// # Cancel safety
    /// Safe: what was not returned is returned by the next call.
    pub async fn next_push(&self) -> Option<Push> {
        loop {
            if let Some(push) = self.try_next_push() {
                return Some(push);
            }
            if self.outbox.close_code().is_some() {
                return None;
            }
            tokio::select! {
                // What is there comes before the end.
                biased;
                () = self.outbox.ready() => {}
                () = self.attachment.core.stop.cancelled() => return None,
            }
        }
    }

    /// The next push that is there already.
    #[must_use]
    pub fn try_next_push(&self) -> Option<Push> {
        let mut taken = self.taken.lock();
        if taken.is_empty() {
            let mut drained = Vec::new();
            self.outbox.drain(TAKE, &mut drained);
            taken.extend(drained);
        }
        taken.pop_front().map(|delivery| delivery.push().clone())
    }
}
