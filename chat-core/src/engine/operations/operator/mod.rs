//! Units of work of operators. Each records its action in the audit log, in its own transaction.

mod account;
mod delete;
mod erase;
mod group;
mod post;

pub(in crate::engine) use account::{AccountChange, ChangeAccount, CreateByOperator, RecordAction};
pub(in crate::engine) use delete::{EndContacts, EndMembership, FreeSubject, MarkDeleted};
pub(in crate::engine) use erase::{EraseInbox, EraseMessages, RecallMessage};
pub(in crate::engine) use group::{CloseGroup, TransferGroup};
pub(in crate::engine) use post::PostAsSystem;

use std::sync::Arc;

use crate::engine::error::CommandError;
use crate::engine::operations::log::Author;
use crate::model::{ConversationId, ReplyCode, Timestamp, UserId};
use crate::store::{NewAuditRecord, StoreError, Transaction};

/// Operator, source and time of an action.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Action {
    /// Name of the operator.
    pub(in crate::engine) operator: Arc<str>,
    /// Source of the request: an address, a host name or a program.
    pub(in crate::engine) source: Arc<str>,
    pub(in crate::engine) now: Timestamp,
}

impl Action {
    /// Appends the action to the audit log.
    async fn record(
        &self,
        tx: &mut dyn Transaction,
        action: &str,
        target: String,
        detail: String,
    ) -> Result<(), StoreError> {
        let record = NewAuditRecord {
            time: self.now,
            operator: self.operator.as_ref().to_owned(),
            action: action.to_owned(),
            target,
            detail,
            source: self.source.as_ref().to_owned(),
        };
        tx.append_audit(&record).await.map(drop)
    }
}

/// Author of the events that an operator appends in the name of the system.
const SYSTEM: Author = Author {
    user: UserId::SYSTEM,
    device: None,
    sent: None,
};

/// Returns the author of the events that an operator appends for a user.
const fn on_behalf_of(user: UserId) -> Author {
    Author {
        user,
        device: None,
        sent: None,
    }
}

/// Returns the name of a user in the audit log.
fn user_target(user: UserId) -> String {
    format!("user:{user}")
}

/// Returns the name of a conversation in the audit log.
fn conversation_target(conversation: ConversationId) -> String {
    format!("conversation:{conversation}")
}

/// Returns the error for an account that does not exist.
pub(in crate::engine) fn no_account(user: impl std::fmt::Display) -> CommandError {
    CommandError::new(ReplyCode::NotFound, format!("user {user} does not exist"))
}

/// Returns the error for a change of an account that is deleted.
fn is_deleted(user: UserId) -> CommandError {
    CommandError::new(ReplyCode::NotFound, format!("the account of user {user} is deleted"))
}

/// Returns the error for a group that does not exist.
pub(in crate::engine) fn no_group(group: impl std::fmt::Display) -> CommandError {
    CommandError::new(ReplyCode::NotFound, format!("group {group} does not exist"))
}

/// Returns the error for a change of a group that is closed.
fn is_closed(group: ConversationId) -> CommandError {
    CommandError::new(ReplyCode::GroupDeleted, format!("group {group} is closed"))
}
