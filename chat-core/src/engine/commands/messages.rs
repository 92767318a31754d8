//! Sending of drafts: submits them to the appender, and applies the message rates of users.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::error::CommandError;
use crate::engine::hook_calls::HookCalls;
use crate::engine::lifecycle::Lifecycle;
use crate::engine::limits::UserLimits;
use crate::engine::operations::message::QueuedDraft;
use crate::engine::store_access::StoreAccess;
use crate::engine::workers::{AppendQueue, DraftIdentity};
use crate::model::{Caller, ConversationRef, Draft, ReplyCode};
use crate::service::CommandFuture;

/// Maximum delay of the answer to a draft whose sender has no connection and exceeds the rate.
const MAX_LOCAL_DELAY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(in crate::engine) struct MessageCommands {
    pub(in crate::engine) queue: Arc<AppendQueue>,
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) lifecycle: Lifecycle,
    pub(in crate::engine) hooks: Arc<HookCalls>,
}

impl MessageCommands {
    /// Queues a draft for its conversation.
    pub(super) fn send(&self, caller: Caller, conversation: ConversationRef, draft: Draft) -> CommandFuture {
        let for_hooks = self.hooks.exist().then(|| draft.clone());
        let draft = QueuedDraft::new(caller, draft).record_reference_by_name(&conversation);
        let deadline = self.access.deadline() + self.hooks.max_delay();
        self.queue.submit_draft(draft, for_hooks, conversation, deadline)
    }

    /// Queues a draft of a caller without a connection. No server limits the rate of such a caller,
    /// so the answer is delayed until the user may send again. The draft is refused if the delay
    /// would exceed [`MAX_LOCAL_DELAY`].
    pub(super) fn send_paced(&self, caller: Caller, conversation: ConversationRef, draft: Draft) -> CommandFuture {
        match self.limits.messages.charge_paced_within(caller.user, MAX_LOCAL_DELAY) {
            Ok(delay) => {
                let answer_at = tokio::time::Instant::now() + delay;
                let answer = self.send(caller, conversation, draft);
                if delay.is_zero() {
                    return answer;
                }
                // The draft's place in the queue is fixed already. A caller that awaits each answer
                // sends at its rate; a caller that does not await them soon exceeds the maximum
                // delay.
                let draining = self.lifecycle.draining().clone();
                CommandFuture::run(async move {
                    let answer = answer.await;
                    let wait = tokio::time::sleep_until(answer_at);
                    draining.run_until_cancelled(wait).await;
                    answer
                })
            }
            Err(delay) => {
                // To keep the order, later drafts of the caller to this conversation are refused
                // too, until this draft is resent or `EngineConfig::resend_window` is over.
                self.queue.record_refused(DraftIdentity {
                    caller,
                    conversation,
                    id: draft.client_message_id,
                });
                let error = CommandError::new(ReplyCode::Busy, "you send messages too fast; nothing was done");
                CommandFuture::ready(Err(error.retry_after(delay)))
            }
        }
    }

    /// Returns the size of all unanswered drafts and group changes, in bytes.
    pub(in crate::engine) fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// Refuses the drafts and group changes that the appender has not taken from its queue yet, and
    /// all later ones.
    pub(in crate::engine) fn close(&self) {
        self.queue.close();
    }

    /// Charges a message to its user. Returns the time for which the server must not read from the
    /// caller's connection.
    pub(super) fn pace(&self, caller: Caller) -> Duration {
        self.limits.messages.charge_paced(caller.user)
    }
}
