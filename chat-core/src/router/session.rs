//! A session on this node, as the router knows it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Outbox, SharedPush};
use crate::model::{Caller, ConversationId, PresenceState, Push, Seq, SessionId};

/// A session on this node: whom it speaks for and where its pushes go.
#[derive(Debug)]
pub(super) struct SessionHandle {
    pub(super) id: SessionId,
    pub(super) caller: Caller,
    pub(super) outbox: Arc<Outbox>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where it is listed; `None` once it is over, so that nobody lists it again.
    conversations: Option<HashSet<ConversationId>>,
    presence: PresenceState,
}

impl SessionHandle {
    pub(super) fn new(id: SessionId, caller: Caller, outbox: Arc<Outbox>) -> Arc<Self> {
        let state = State {
            conversations: Some(HashSet::new()),
            presence: PresenceState::Online,
        };
        Arc::new(Self {
            id,
            caller,
            outbox,
            state: Mutex::new(state),
        })
    }

    /// Notes that the session is about to be listed under a conversation; `false` if it is listed there, or over.
    pub(super) fn enter(&self, conversation: ConversationId) -> bool {
        let mut state = self.state();
        let conversations = state.conversations.as_mut();
        conversations.is_some_and(|conversations| conversations.insert(conversation))
    }

    pub(super) fn leave(&self, conversation: ConversationId) {
        if let Some(conversations) = &mut self.state().conversations {
            conversations.remove(&conversation);
        }
    }

    /// Whether it is over, or listed there: nothing has to be done to list it.
    pub(super) fn settled(&self, conversation: ConversationId) -> bool {
        let state = self.state();
        let conversations = state.conversations.as_ref();
        conversations.is_none_or(|conversations| conversations.contains(&conversation))
    }

    /// Whether it is listed there.
    pub(super) fn is_in(&self, conversation: ConversationId) -> bool {
        let state = self.state();
        let conversations = state.conversations.as_ref();
        conversations.is_some_and(|conversations| conversations.contains(&conversation))
    }

    /// Ends it; yields where it was listed.
    pub(super) fn end(&self) -> HashSet<ConversationId> {
        self.state().conversations.take().unwrap_or_default()
    }

    /// Tells it that a log holds something it was not told.
    pub(super) fn tell_behind(&self, conversation: ConversationId, last_seq: Seq) {
        self.outbox
            .push(SharedPush::new(Push::Behind { conversation, last_seq }));
    }

    pub(super) fn presence(&self) -> PresenceState {
        self.state().presence
    }

    pub(super) fn set_presence(&self, presence: PresenceState) {
        self.state().presence = presence;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
