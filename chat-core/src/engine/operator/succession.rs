//! Passes on the groups of a disabled user.

use super::Operator;
use super::accounts::MAX_PAGE;
use crate::engine::error::CommandError;
use crate::engine::operations::operator::PassGroup;
use crate::model::{ConversationId, Role, UserId};

impl Operator {
    /// Passes each group that the user owns to another member, if there is one whose account is not
    /// disabled.
    pub(super) async fn pass_groups(&self, user: UserId) -> Result<(), CommandError> {
        let units = &self.parts.units;
        let mut last = ConversationId(0);
        loop {
            let page = units.read(units.store().members_of_user(user, last, MAX_PAGE)).await?;
            let Some(end) = page.last() else { return Ok(()) };
            last = end.conversation;
            let owned = page
                .iter()
                .filter(|member| member.is_active() && member.role == Role::Owner);
            for member in owned {
                let pass = PassGroup {
                    action: self.action(),
                    user,
                    group: member.conversation,
                };
                self.append(member.conversation, pass).await?;
            }
        }
    }
}
