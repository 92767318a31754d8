//! A session on this node, as the router knows it.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use super::outbox::Outbox;
use super::shared_push::SharedPush;
use crate::model::{Caller, ConversationId, PresenceState, Push, Seq, SessionId, Source, Timestamp};
use crate::sync::Mutex;

/// A session on this node: its caller, and the outbox that receives its pushes.
#[derive(Debug)]
pub(crate) struct SessionHandle {
    pub(crate) id: SessionId,
    pub(crate) caller: Caller,
    pub(crate) outbox: Arc<Outbox>,
    /// Source and time of the start, for operators; empty until they are known.
    pub(crate) start: OnceLock<(Source, Timestamp)>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Conversations whose feeds list the session; `None` once it has ended, so that no feed lists
    /// it again.
    conversations: Option<HashSet<ConversationId>>,
    presence: PresenceState,
}

impl SessionHandle {
    pub(crate) fn new(id: SessionId, caller: Caller, outbox: Arc<Outbox>) -> Arc<Self> {
        let state = State {
            conversations: Some(HashSet::new()),
            presence: PresenceState::Online,
        };
        Arc::new(Self {
            id,
            caller,
            outbox,
            start: OnceLock::new(),
            state: Mutex::new(state),
        })
    }

    /// Records that a conversation's feed is about to list the session. Returns `false` if the feed
    /// lists it already, or the session has ended.
    pub(crate) fn follow(&self, conversation: ConversationId) -> bool {
        let mut state = self.state.lock();
        let conversations = state.conversations.as_mut();
        conversations.is_some_and(|conversations| conversations.insert(conversation))
    }

    /// Records that a conversation's feed no longer lists the session.
    pub(crate) fn unfollow(&self, conversation: ConversationId) {
        if let Some(conversations) = &mut self.state.lock().conversations {
            conversations.remove(&conversation);
        }
    }

    /// Returns whether [`SessionHandle::follow`] would return `true`.
    pub(crate) fn can_follow(&self, conversation: ConversationId) -> bool {
        let state = self.state.lock();
        let conversations = state.conversations.as_ref();
        conversations.is_some_and(|conversations| !conversations.contains(&conversation))
    }

    /// Returns whether a conversation's feed lists the session; `false` once the session has ended.
    pub(crate) fn is_following(&self, conversation: ConversationId) -> bool {
        let state = self.state.lock();
        let conversations = state.conversations.as_ref();
        conversations.is_some_and(|conversations| conversations.contains(&conversation))
    }

    /// Records that the session has ended. Returns the conversations whose feeds still list it;
    /// none if it had ended before.
    pub(crate) fn end(&self) -> HashSet<ConversationId> {
        self.state.lock().conversations.take().unwrap_or_default()
    }

    /// Notifies the client that a log holds events that were not pushed to it.
    pub(crate) fn push_behind(&self, conversation: ConversationId, last_seq: Seq) {
        self.outbox
            .push(SharedPush::new(Push::Behind { conversation, last_seq }));
    }

    pub(crate) fn presence(&self) -> PresenceState {
        self.state.lock().presence
    }

    pub(crate) fn set_presence(&self, presence: PresenceState) {
        self.state.lock().presence = presence;
    }
}
