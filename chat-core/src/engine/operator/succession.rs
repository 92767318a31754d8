//! Passes the ownership of a disabled user's groups to other members.

use super::Operator;
use super::accounts::MAX_PAGE;
use crate::engine::error::CommandError;
use crate::engine::operations::operator::PassGroup;
use crate::model::{ConversationId, Role, UserId};

impl Operator {
    /// Passes the ownership of each group that the user owns to another member, if there is one
    /// whose account is not disabled.
    pub(super) async fn pass_groups(&self, user: UserId) -> Result<(), CommandError> {
        let access = &self.parts.access;
        let mut last = ConversationId(0);
        loop {
            let page = access
                .read(access.store().members_of_user(user, last, MAX_PAGE))
                .await?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.conversation;
            let owned = page
                .iter()
                .filter(|member| member.is_active() && member.role == Role::Owner);
            for member in owned {
                self.pass_group(user, member.conversation).await?;
            }
        }
    }

    /// Passes the ownership of a group from `user` to another member, and on to a further one while
    /// the account of the new owner turns out to be disabled. Stops if no member with an enabled
    /// account is left.
    async fn pass_group(&self, mut user: UserId, group: ConversationId) -> Result<(), CommandError> {
        let access = &self.parts.access;
        loop {
            let audit = self.audit_context();
            let (owner, events) = access.run(group, PassGroup { audit, user, group }).await?;
            self.parts.publisher.publish(events);
            let Some(owner) = owner else { return Ok(()) };
            // The new owner may have been disabled after the unit of work had looked for the most
            // senior member, and before it made that member the owner.
            let account = access.read(access.store().account(owner)).await?;
            if !account.is_some_and(|account| account.disabled) {
                return Ok(());
            }
            user = owner;
        }
    }
}
