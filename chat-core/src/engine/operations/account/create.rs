//! Creating an account with its inbox.

use async_trait::async_trait;

use super::private_info;
use crate::engine::error::{CommandError, Rejection, name_taken};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{
    ConversationKind, DirectPolicy, DisplayName, Member, Role, Seq, Timestamp, UserId, UserInfo, UserName,
};
use crate::store::{NewAccount, NewConversation, StoreError, Transaction};

/// Creates an account and its inbox.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CreateAccount {
    pub(in crate::engine) name: UserName,
    pub(in crate::engine) display_name: Option<DisplayName>,
    /// `None` if the account gets no password, for example because the application authenticates
    /// the user.
    pub(in crate::engine) password_hash: Option<PhcString>,
    /// Initial direct-message policy of the user.
    pub(in crate::engine) direct_policy: DirectPolicy,
    pub(in crate::engine) now: Timestamp,
}

/// A password hash as a PHC string. Its `Debug` output hides the hash, so that logs do not contain
/// it.
#[derive(Clone)]
pub(in crate::engine) struct PhcString(pub(in crate::engine) String);

impl std::fmt::Debug for PhcString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PhcString(***)")
    }
}

#[async_trait]
impl Operation for CreateAccount {
    type Output = UserInfo;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let display_name = self
            .display_name
            .as_ref()
            .map_or(self.name.as_str(), DisplayName::as_str);
        let new = NewAccount {
            subject: None,
            name: self.name.as_str().to_owned(),
            skeleton: self.name.skeleton().as_str().to_owned(),
            display_name: display_name.to_owned(),
            password_hash: self.password_hash.clone().map(|hash| hash.0),
            direct_policy: self.direct_policy,
            created: self.now,
        };
        let Some(id) = tx.create_account(new).await? else {
            return Err(name_taken().into());
        };
        create_inbox(tx, id, self.now).await?;
        let account = tx
            .account(id)
            .await?
            .ok_or_else(|| CommandError::defect("a created account is missing"))?;
        Ok(private_info(&account))
    }
}

/// Creates the inbox of an account, with the owner as its only member. Does nothing if the inbox
/// exists.
pub(super) async fn create_inbox(tx: &mut dyn Transaction, owner: UserId, now: Timestamp) -> Result<(), StoreError> {
    let new = NewConversation {
        kind: ConversationKind::Inbox { owner },
        group: None,
        created: now,
    };
    let Some(id) = tx.create_conversation(new).await? else {
        return Ok(());
    };
    tx.put_member(&Member::active(id, owner, Role::Member, Seq(1))).await?;
    if let Some(mut row) = tx.lock_conversation(id).await? {
        row.member_count = 1;
        tx.update_conversation(&row).await?;
    }
    Ok(())
}
