//! Operator actions that create, list and change accounts.

use super::{AccountDetails, AccountInfo, AccountPage, CreateAccount, Operator};
use crate::auth::{Password, PasswordAuthenticator, Subject};
use crate::engine::breaker::Scope;
use crate::engine::error::{CommandError, name_taken};
use crate::engine::operations;
use crate::engine::operations::account::PhcString;
use crate::engine::operations::operator::{AccountChange, ChangeAccount, CreateByOperator};
use crate::model::{Account, Device, DeviceInfo, ReplyCode, Secret, UserName, UserRef};
use crate::router::SessionSelector;

/// Maximum number of entries in a page: accounts, contacts, groups, members, memberships, sessions
/// or audit records.
pub(super) const MAX_PAGE: u32 = 500;

impl Operator {
    /// Creates an account. Reserved names are allowed, and accounts can be created even if
    /// registration is closed. Deciding hooks are not asked, but
    /// [`on_registered`](crate::hooks::Hooks::on_registered) is called.
    ///
    /// # Errors
    /// [`CommandError`]. `NameTaken`: the name, one that looks like it, or the subject is taken, or
    /// a deleted account reserves the subject. `InvalidArgument`: the subject is not valid.
    /// `InvalidPassword`: the password is too short or too long, or has characters that passwords
    /// cannot have. `RefusedByPolicy`: there is a password, but the engine stores no passwords.
    pub async fn create_account(&self, account: CreateAccount) -> Result<AccountInfo, CommandError> {
        self.spawn(|this| async move { this.create(account).await }).await
    }

    async fn create(&self, new: CreateAccount) -> Result<AccountInfo, CommandError> {
        let access = &self.parts.access;
        let subject = new.subject.map(Subject::new).transpose();
        let subject = subject.map_err(|error| CommandError::new(ReplyCode::InvalidArgument, error.to_string()))?;
        let existing = access.store().account_by_name(new.name.as_str());
        if access.read(existing).await?.is_some() {
            return Err(name_taken());
        }
        let password_hash = match new.password {
            Some(password) => Some(self.hash(password).await?),
            None => None,
        };
        let audit = self.audit_context();
        let create = CreateByOperator {
            create: operations::account::CreateAccount {
                name: new.name,
                display_name: new.display_name,
                password_hash,
                direct_policy: self.parts.default_direct_policy,
                now: audit.now,
            },
            audit,
            subject,
        };
        let account = access.run(Scope::NoSharedRows, create).await?;
        tracing::info!(user = account.id.0, operator = &*self.name, "account created");
        self.parts.observers.registered(account.id);
        Ok(account.into())
    }

    /// Hashes a password. Fails if the engine stores no passwords, or the password is not valid.
    async fn hash(&self, password: Secret) -> Result<PhcString, CommandError> {
        let hash = self.passwords()?.hash(Password::normalized(&password)?).await?;
        Ok(PhcString(hash))
    }

    fn passwords(&self) -> Result<&PasswordAuthenticator, CommandError> {
        self.parts.passwords.as_deref().ok_or_else(|| {
            CommandError::new(
                ReplyCode::RefusedByPolicy,
                "this server stores no passwords: its authenticator decides who may log in",
            )
        })
    }

    /// Returns up to `limit` accounts (1 to 500), ordered by name, whose name starts with
    /// `prefix` and is greater than `after`. `prefix` may have any case and character width;
    /// `after` is a canonical name, usually the last one of the previous page. Disabled and deleted
    /// accounts are included. With an empty `prefix` and `after`, the page starts with the first
    /// account.
    ///
    /// # Errors
    /// [`CommandError`]: the store failed.
    pub async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<AccountPage, CommandError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let access = &self.parts.access;
        let prefix = UserName::canonical_prefix(prefix);
        let accounts = access.store().list_accounts(&prefix, after, limit + 1);
        let mut accounts = access.read(accounts).await?;
        let more = accounts.len() > limit as usize;
        accounts.truncate(limit as usize);
        Ok(AccountPage::new(
            accounts.into_iter().map(AccountInfo::from).collect(),
            more,
        ))
    }

    /// Returns an account, deleted or not, with its devices.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account.
    pub async fn account(&self, user: impl Into<UserRef>) -> Result<AccountDetails, CommandError> {
        let account = self.find_account(&user.into()).await?;
        let devices = self.devices(&account).await?;
        Ok(AccountDetails::new(account.into(), devices))
    }

    /// Returns the devices of an account. A device is online if it has a session on any node; while
    /// the sessions of other nodes cannot be read, on this node.
    pub(super) async fn devices(&self, account: &Account) -> Result<Vec<DeviceInfo>, CommandError> {
        let access = &self.parts.access;
        let devices = access.read(access.store().devices(account.id)).await?;
        let online = self.parts.presence.live_devices(account.id).await;
        let info = |device: Device| DeviceInfo {
            online: online.contains(&device.id),
            created: device.created,
            last_login: device.last_login,
            ..DeviceInfo::new(device.id, device.name)
        };
        Ok(devices.into_iter().map(info).collect())
    }

    /// Renames an account. Reserved names are allowed. Other nodes may find the account by its
    /// former name for up to 5 s more.
    ///
    /// # Errors
    /// [`CommandError`]. `NameTaken`: the name, or one that looks like it, is taken. `NotFound`:
    /// there is no such account, or it is deleted.
    pub async fn rename_account(&self, user: impl Into<UserRef>, name: UserName) -> Result<AccountInfo, CommandError> {
        self.change_account(user, AccountChange::Rename(name)).await
    }

    /// Refuses logins of an account, and ends its sessions with
    /// [`CloseCode::AccountDisabled`](crate::model::CloseCode::AccountDisabled).
    ///
    /// Each group that the user owns passes to the longest-standing admin whose account is not
    /// disabled, or if there is none, to the longest-standing such member; the user becomes an
    /// admin of it. The longest-standing one is the one whose first readable event is the earliest.
    /// If several have the same one, as in a group whose new members may read earlier events, it is
    /// the one with the smallest id. A group without such members keeps its owner, and is
    /// [listed](Self::list_groups) as orphaned.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account, or it is deleted. After any other
    /// error, the account may be disabled, and the user may still own groups; call this method
    /// again.
    pub async fn disable(&self, user: impl Into<UserRef>) -> Result<AccountInfo, CommandError> {
        self.change_account(user, AccountChange::Disable).await
    }

    /// Allows logins of an account again.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account, or it is deleted.
    pub async fn enable(&self, user: impl Into<UserRef>) -> Result<AccountInfo, CommandError> {
        self.change_account(user, AccountChange::Enable).await
    }

    /// Sets the password of an account, and ends its sessions.
    ///
    /// # Errors
    /// [`CommandError`]. `InvalidPassword`: the password is too short or too long, or has
    /// characters that passwords cannot have. `RefusedByPolicy`: the engine stores no passwords.
    /// `NotFound`: there is no such account, or it is deleted.
    pub async fn set_password(&self, user: impl Into<UserRef>, password: Secret) -> Result<AccountInfo, CommandError> {
        let user = user.into();
        self.find_user(&user).await?;
        let hash = self.hash(password).await?;
        self.change_account(user, AccountChange::SetPassword(hash)).await
    }

    /// Ends all sessions of an account, on every node. The account's devices have to log in again.
    ///
    /// # Errors
    /// [`CommandError`]. `NotFound`: there is no such account, or it is deleted.
    pub async fn end_sessions(&self, user: impl Into<UserRef>) -> Result<AccountInfo, CommandError> {
        self.change_account(user, AccountChange::EndSessions).await
    }

    async fn change_account(
        &self,
        user: impl Into<UserRef>,
        change: AccountChange,
    ) -> Result<AccountInfo, CommandError> {
        let user = self.find_user(&user.into()).await?;
        let (ends_sessions, code) = (change.ends_sessions(), change.close_code());
        let disables = matches!(change, AccountChange::Disable);
        self.spawn(|this| async move {
            let change = ChangeAccount {
                audit: this.audit_context(),
                user,
                change,
            };
            let changed = this.parts.access.run(user, change).await;
            let changed = if ends_sessions {
                let sessions = &this.parts.session_ender;
                sessions.end_after(user, SessionSelector::All, code, changed)
            } else {
                changed
            };
            let (before, after) = changed?;
            if before.name != after.name {
                this.forget_name(&before.name);
            }
            if disables {
                this.pass_groups(user).await.map_err(CommandError::after_commit)?;
            }
            Ok(after.into())
        })
        .await
    }

    /// Removes a name from this node's cache of names, because its account was renamed or deleted.
    pub(super) fn forget_name(&self, name: &str) {
        if let Ok(name) = UserName::parse_any(name) {
            self.parts.directory.forget_user(&name);
        }
    }
}
