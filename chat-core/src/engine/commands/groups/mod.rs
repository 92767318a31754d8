//! Commands about groups.
//!
//! A change of an existing group runs in the group's lane, the appender's queue of the drafts to
//! the group and of its changes, so that changes and messages of a session take effect in the order
//! in which it sent them.

mod changes;
mod create;
mod joining;
mod reading;

use std::future::ready;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::directory::Directory;
use crate::engine::error::CommandError;
use crate::engine::hook_calls::HookCalls;
use crate::engine::limits::UserLimits;
use crate::engine::operation::Operation;
use crate::engine::operations::group::{GroupChangeContext, GroupLimits};
use crate::engine::store_access::StoreAccess;
use crate::engine::views::conversation_info;
use crate::engine::workers::{AppendQueue, LaneChange, LaneCheck, Publisher};
use crate::model::{Caller, ConversationId, ConversationKind, ConversationRef, Event, Outcome, UserId, UserRef};
use crate::service::CommandFuture;

#[derive(Debug)]
pub(in crate::engine) struct GroupCommands {
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) directory: Arc<Directory>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) hooks: Arc<HookCalls>,
    pub(in crate::engine) publisher: Publisher,
    pub(in crate::engine) queue: Arc<AppendQueue>,
    pub(in crate::engine) group_limits: GroupLimits,
    pub(in crate::engine) max_list_length: u32,
    pub(in crate::engine) max_receipt_members: u32,
}

impl GroupCommands {
    async fn conversation(&self, caller: Caller, group: ConversationId) -> Result<Outcome, CommandError> {
        let info = conversation_info(&self.access, caller, group).await?;
        Ok(Outcome::Conversation(Box::new(info)))
    }

    /// Runs a unit of work and publishes its events.
    async fn run_and_publish<O>(&self, group: ConversationId, operation: O) -> Result<Outcome, CommandError>
    where
        O: Operation<Output = Vec<Event>> + Clone,
    {
        let events = self.access.run(group, operation).await?;
        self.publisher.publish(events);
        Ok(Outcome::Done)
    }

    /// Runs a unit of work in a group's lane, and publishes its events.
    fn change_group_in_lane<O>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        operation: impl FnOnce(GroupChangeContext) -> O + Send + 'static,
    ) -> CommandFuture
    where
        O: Operation<Output = Vec<Event>> + Clone + Sync,
    {
        self.in_lane(caller, group, |this, context| async move {
            let operation = operation(context);
            this.run_and_publish(context.group, operation).await
        })
    }

    /// Runs a unit of work about one user of a group in the group's lane, and publishes its events.
    fn change_member_in_lane<O>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        user: UserRef,
        operation: impl FnOnce(GroupChangeContext, UserId) -> O + Send + 'static,
    ) -> CommandFuture
    where
        O: Operation<Output = Vec<Event>> + Clone + Sync,
    {
        self.in_lane(caller, group, move |this, context| async move {
            let user = this.directory.user_id(&user).await?;
            let operation = operation(context, user);
            this.run_and_publish(context.group, operation).await
        })
    }

    /// Runs a change of a group in its lane.
    fn in_lane<F>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        change: impl FnOnce(Arc<Self>, GroupChangeContext) -> F + Send + 'static,
    ) -> CommandFuture
    where
        F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
    {
        self.submit(caller, group, None, change)
    }

    /// Runs `check`, then a change of a group in its lane, with the value that the check returned.
    /// The check runs outside the lane: a slow hook delays only the session that sent the command,
    /// and not the messages of the group.
    fn in_lane_after<T, C, F>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        check: impl FnOnce(Arc<Self>, ConversationId) -> C + Send + 'static,
        change: impl FnOnce(Arc<Self>, GroupChangeContext, T) -> F + Send + 'static,
    ) -> CommandFuture
    where
        T: Send + 'static,
        C: Future<Output = Result<T, CommandError>> + Send + 'static,
        F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
    {
        let this = Arc::clone(&self);
        let (send_checked, checked) = oneshot::channel();
        let check: LaneCheck = Box::new(move |found| {
            if found.kind != ConversationKind::Group {
                return Box::pin(ready(Err(CommandError::not_found())));
            }
            Box::pin(async move {
                let value = check(this, found.id).await?;
                // The receiver is gone if the command was refused in the meantime.
                let _ = send_checked.send(value);
                Ok(())
            })
        });
        self.submit(caller, group, Some(check), move |this, context| async move {
            let value = checked
                .await
                .map_err(|_| CommandError::defect("the value of a check is missing"))?;
            change(this, context, value).await
        })
    }

    /// Submits a change to the appender, which runs `check`, waits for the turn of the change in
    /// the group's lane, and runs it. Refuses conversations that are not groups.
    fn submit<F>(
        self: Arc<Self>,
        caller: Caller,
        group: ConversationRef,
        check: Option<LaneCheck>,
        run: impl FnOnce(Arc<Self>, GroupChangeContext) -> F + Send + 'static,
    ) -> CommandFuture
    where
        F: Future<Output = Result<Outcome, CommandError>> + Send + 'static,
    {
        let queue = Arc::clone(&self.queue);
        let deadline = self.access.deadline() + self.hooks.max_delay();
        let change: LaneChange = Box::new(move |found| {
            if found.kind != ConversationKind::Group {
                return Box::pin(ready(Err(CommandError::not_found())));
            }
            let context = GroupChangeContext {
                caller,
                group: found.id,
                now: self.access.wall_time(),
            };
            Box::pin(run(self, context))
        });
        queue.submit_change(caller, group, check, change, deadline)
    }
}
