//! Units of work of operators. An action is recorded in the audit log in the transaction that makes
//! the change. The deletion of an account takes several units of work, of which the first one
//! records it. Most commands that an operator runs for a user are recorded too, each in a
//! transaction of its own before the command runs.

mod account;
mod delete;
mod erase;
mod group;
mod post;
mod succession;

pub(in crate::engine) use account::{AccountChange, ChangeAccount, CreateByOperator, RecordAction};
pub(in crate::engine) use delete::{EndContacts, EndMembership, FreeSubject, MarkDeleted};
pub(in crate::engine) use erase::{EraseInbox, EraseMessages, RecallMessage};
pub(in crate::engine) use group::{DeleteGroupByOperator, TransferGroup};
pub(in crate::engine) use post::PostAsSystem;
pub(in crate::engine) use succession::PassGroup;

use std::sync::Arc;

use crate::engine::error::CommandError;
use crate::engine::operations::log::Author;
use crate::model::{ConversationId, ReplyCode, Timestamp, UserId, UserRef};
use crate::store::{NewAuditRecord, StoreError, Transaction};

/// Operator, source and time of an operator's action, for the audit log.
#[derive(Clone, Debug)]
pub(in crate::engine) struct AuditContext {
    /// Name of the operator.
    pub(in crate::engine) operator: Arc<str>,
    /// Source of the request: an address, a host name or a program.
    pub(in crate::engine) source: Arc<str>,
    /// Time of the action, also for the events and rows that the action writes.
    pub(in crate::engine) now: Timestamp,
}

impl AuditContext {
    /// Appends the action to the audit log. `kind` is the kind of the action, such as
    /// `account.create`.
    async fn record(
        &self,
        tx: &mut dyn Transaction,
        kind: &str,
        target: String,
        detail: String,
    ) -> Result<(), StoreError> {
        let record = NewAuditRecord {
            time: self.now,
            operator: self.operator.as_ref().to_owned(),
            action: kind.to_owned(),
            target,
            detail,
            source: self.source.as_ref().to_owned(),
        };
        tx.append_audit(&record).await.map(drop)
    }
}

/// Author of the events that an operator appends as the system.
const SYSTEM: Author = Author {
    user: UserId::SYSTEM,
    device: None,
    idempotency_key: None,
};

/// Returns the author of the events that an operator appends for a deleted user.
const fn on_behalf_of(user: UserId) -> Author {
    Author {
        user,
        device: None,
        idempotency_key: None,
    }
}

/// Returns the identifier by which the audit log refers to a user.
fn user_target(user: UserId) -> String {
    format!("user:{user}")
}

/// Returns the identifier by which the audit log refers to a conversation.
fn conversation_target(conversation: ConversationId) -> String {
    format!("conversation:{conversation}")
}

/// Returns the error for an account that does not exist.
pub(in crate::engine) fn no_account(user: impl Into<UserRef>) -> CommandError {
    let user = match user.into() {
        UserRef::Id(id) => format!("#{id}"),
        UserRef::Name(name) => name.to_string(),
    };
    CommandError::new(ReplyCode::NotFound, format!("user {user} does not exist"))
}

/// Returns the error for an action that fails because the account is deleted.
fn account_deleted(user: UserId) -> CommandError {
    CommandError::new(ReplyCode::NotFound, format!("the account of user #{user} is deleted"))
}

/// Returns the error for a group that does not exist.
pub(in crate::engine) fn no_group(group: ConversationId) -> CommandError {
    CommandError::new(ReplyCode::NotFound, format!("group #{group} does not exist"))
}

/// Returns the error for an action on a group that is deleted.
fn group_deleted(group: ConversationId) -> CommandError {
    CommandError::new(ReplyCode::GroupDeleted, format!("group #{group} is deleted"))
}
