//! Units of work by which operators create and change accounts.

use async_trait::async_trait;

use super::{AuditContext, account_deleted, no_account, user_target};
use crate::auth::Subject;
use crate::engine::error::{CommandError, Rejection, name_taken};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::account::{CreateAccount, PhcString};
use crate::engine::operations::fence::lock_user;
use crate::model::{Account, CloseCode, ReplyCode, UserId, UserName};
use crate::store::{StoreError, Transaction};

/// Creates an account. If a subject (the application's identifier of the user) is given, binds the
/// account to it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CreateByOperator {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) create: CreateAccount,
    pub(in crate::engine) subject: Option<Subject>,
}

#[async_trait]
impl Operation for CreateByOperator {
    type Output = Account;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Account, Rejection> {
        let user = self.create.apply(tx, intents).await?;
        if let Some(subject) = &self.subject {
            if tx.account_by_subject(&subject.tombstone()).await?.is_some() {
                return Err(subject_reserved().into());
            }
            if !tx.set_subject(user.id, Some(subject.as_str())).await? {
                return Err(subject_taken().into());
            }
        }
        let detail = format!("name {}", user.name);
        self.audit
            .record(tx, "account.create", user_target(user.id), detail)
            .await?;
        stored_account(tx, user.id).await
    }
}

fn subject_taken() -> CommandError {
    CommandError::new(ReplyCode::NameTaken, "another account is bound to this subject")
}

fn subject_reserved() -> CommandError {
    let text = "the account of this subject was deleted; free the subject first";
    CommandError::new(ReplyCode::NameTaken, text)
}

/// Change that an operator makes to an account.
#[derive(Clone, Debug)]
pub(in crate::engine) enum AccountChange {
    Rename(UserName),
    Disable,
    Enable,
    SetPassword(PhcString),
    EndSessions,
}

impl AccountChange {
    /// Returns whether the change ends all sessions of the user.
    pub(in crate::engine) const fn ends_sessions(&self) -> bool {
        matches!(self, Self::Disable | Self::SetPassword(_) | Self::EndSessions)
    }

    /// Returns the close code of the sessions that the change ends.
    pub(in crate::engine) const fn close_code(&self) -> CloseCode {
        match self {
            Self::Disable => CloseCode::AccountDisabled,
            _ => CloseCode::Revoked,
        }
    }

    /// Returns the kind of the change in the audit log.
    const fn audit_kind(&self) -> &'static str {
        match self {
            Self::Rename(_) => "account.rename",
            Self::Disable => "account.disable",
            Self::Enable => "account.enable",
            Self::SetPassword(_) => "account.set_password",
            Self::EndSessions => "account.end_sessions",
        }
    }
}

/// Changes an account. Fails if it does not exist or is deleted. A change that ends the sessions
/// also revokes the tokens of all devices of the user. Is recorded in the audit log even if the
/// account is the same afterwards.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ChangeAccount {
    pub(in crate::engine) audit: AuditContext,
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) change: AccountChange,
}

#[async_trait]
impl Operation for ChangeAccount {
    /// The account before and after the change.
    type Output = (Account, Account);

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        lock_user(tx, self.user).await?;
        let devices = if self.change.ends_sessions() {
            tx.lock_devices_of(self.user).await?
        } else {
            Vec::new()
        };
        let before = stored_account(tx, self.user).await?;
        if before.deleted.is_some() {
            return Err(account_deleted(self.user).into());
        }
        for mut device in devices {
            device.end_login(self.audit.now);
            device.device_token = None;
            tx.put_device(&device).await?;
        }
        let mut after = before.clone();
        let mut detail = String::new();
        match &self.change {
            AccountChange::Rename(name) => {
                detail = format!("from {} to {name}", before.name);
                let skeleton = name.skeleton();
                if !tx.rename_account(self.user, name.as_str(), skeleton.as_str()).await? {
                    return Err(name_taken().into());
                }
            }
            AccountChange::Disable => after.disabled = true,
            AccountChange::Enable => after.disabled = false,
            AccountChange::SetPassword(hash) => after.password_hash = Some(hash.0.clone()),
            AccountChange::EndSessions => {}
        }
        if after != before {
            tx.update_account(&after).await?;
        }
        self.audit
            .record(tx, self.change.audit_kind(), user_target(self.user), detail)
            .await?;
        Ok((before, stored_account(tx, self.user).await?))
    }
}

/// Appends to the audit log an action that changes nothing, or a command that is about to run.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RecordAction {
    pub(in crate::engine) audit: AuditContext,
    /// Kind of the action, such as `account.export`.
    pub(in crate::engine) kind: &'static str,
    pub(in crate::engine) user: UserId,
    /// Parameters of the action, as the audit log describes them.
    pub(in crate::engine) detail: String,
}

#[async_trait]
impl Operation for RecordAction {
    type Output = ();

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<(), Rejection> {
        let target = user_target(self.user);
        let detail = self.detail.clone();
        Ok(self.audit.record(tx, self.kind, target, detail).await?)
    }
}

/// Returns an account, deleted or not. Fails if it does not exist.
async fn stored_account(tx: &mut dyn Transaction, user: UserId) -> Result<Account, Rejection> {
    let account: Result<Option<Account>, StoreError> = tx.account(user).await;
    account?.ok_or_else(|| no_account(user).into())
}
