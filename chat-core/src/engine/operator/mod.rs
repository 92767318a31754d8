//! Operators, who manage the accounts, groups and messages of all users, and the audit log of their
//! actions.
//!
//! [`Engine::operator`](super::Engine::operator) returns an [`Operator`]. Each change that it makes
//! is recorded in the audit log, in the transaction of the change (the deletion of an account in
//! the first of its transactions). Exports are recorded too, but other reads are not. An operator
//! is not a user: it has no account, no device, no session and no rate limit. Deciding hooks are
//! not asked before an operator's actions; observing hooks see the events that the actions append,
//! and the accounts that they create.
//!
//! [`Operator::acting_as`] returns a handle that executes commands for a user, under that user's
//! rights and limits. Deciding hooks are asked about these commands, and the audit log records
//! them, also some that only read; see [`OperatorActingAs`].

mod accounts;
mod acting;
mod audit;
mod deletion;
mod export;
mod export_records;
mod groups;
mod messages;
mod name;
mod records;
mod sessions;
mod succession;

use std::fmt::Display;
use std::sync::Arc;

use super::commands::Dispatcher;
use super::directory::Directory;
use super::error::CommandError;
use super::lifecycle::Lifecycle;
use super::operation::Operation;
use super::operations::operator::{AuditContext, no_account};
use super::store_access::StoreAccess;
use super::workers::{ObserverQueue, PresenceView, Publisher, SessionEnder};
use crate::auth::PasswordAuthenticator;
use crate::model::{Account, ConversationId, DirectPolicy, Event, UserId, UserRef};
use crate::router::Router;

pub use acting::OperatorActingAs;
pub use deletion::{DeletedName, DeletedSubject, DeletedTexts, DeletionOptions};
pub use export::AccountExport;
pub use export_records::{ExportRecord, ExportedEvent, ExportedMembership, InboxEntry};
pub use name::{OperatorName, OperatorNameError};
pub use records::{AccountDetails, AccountInfo, AccountPage, CreateAccount, GroupDetails, GroupListPage, GroupListing};
pub use sessions::{SessionListPage, SessionListing};

/// Maximum size of the source of an operator's requests, in bytes.
const MAX_SOURCE_BYTES: usize = 255;

/// Handle for the actions of one operator. Cheap to create and to clone.
///
/// Dropping the future of a change does not cancel a change that has started; only its result is
/// lost.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use chat_core::engine::operator::{CreateAccount, OperatorName};
/// use chat_core::prelude::*;
/// use chat_core::store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
/// let operator = engine.operator(OperatorName::new("carol")?).source("admin console");
/// let alice = operator
///     .create_account(CreateAccount::new(UserName::parse("alice")?))
///     .await?;
/// operator.disable(alice.id).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Operator {
    parts: Arc<OperatorParts>,
    name: Arc<str>,
    source: Arc<str>,
}

/// Parts of the engine that the actions of operators use.
#[derive(Debug)]
pub(super) struct OperatorParts {
    /// Executes the commands of users for whom operators act.
    pub(super) commands: Arc<Dispatcher>,
    pub(super) access: Arc<StoreAccess>,
    pub(super) directory: Arc<Directory>,
    pub(super) passwords: Option<Arc<PasswordAuthenticator>>,
    pub(super) session_ender: Arc<SessionEnder>,
    pub(super) presence: Arc<PresenceView>,
    pub(super) router: Router,
    pub(super) publisher: Publisher,
    pub(super) observers: Arc<ObserverQueue>,
    pub(super) lifecycle: Lifecycle,
    pub(super) default_direct_policy: DirectPolicy,
}

impl Operator {
    pub(super) fn new(parts: Arc<OperatorParts>, name: &OperatorName) -> Self {
        Self {
            parts,
            name: Arc::from(name.as_str()),
            source: Arc::from("this process"),
        }
    }

    /// Sets the source of the requests for the audit log: an address, a host name or a program.
    /// Texts longer than 255 bytes are truncated. Default: "this process".
    #[must_use]
    pub fn source(mut self, source: impl Display) -> Self {
        let mut source = source.to_string();
        source.truncate(source.floor_char_boundary(MAX_SOURCE_BYTES));
        self.source = Arc::from(source);
        self
    }

    /// Returns the operator, source and current time for the audit record of an action.
    fn audit_context(&self) -> AuditContext {
        AuditContext {
            operator: Arc::clone(&self.name),
            source: Arc::clone(&self.source),
            now: self.parts.access.wall_time(),
        }
    }

    /// Returns an account, deleted or not. Fails with `NotFound` if it does not exist.
    async fn find_account(&self, user: &UserRef) -> Result<Account, CommandError> {
        let (access, store) = (&self.parts.access, self.parts.access.store());
        let account = match user {
            UserRef::Id(id) => access.read(store.account(*id)).await?,
            UserRef::Name(name) => access.read(store.account_by_name(name.as_str())).await?,
        };
        account.ok_or_else(|| no_account(user.clone()))
    }

    /// Returns the id of an account, deleted or not. Fails with `NotFound` if it does not exist.
    async fn find_user(&self, user: &UserRef) -> Result<UserId, CommandError> {
        Ok(self.find_account(user).await?.id)
    }

    /// Runs an action in a separate task, so that a caller that drops the future does not cancel
    /// the action. Refuses it like [`Lifecycle::spawn_command`].
    async fn spawn<T, F>(&self, action: impl FnOnce(Self) -> F) -> Result<T, CommandError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, CommandError>> + Send + 'static,
    {
        self.parts.lifecycle.spawn_command(action(self.clone())).await
    }

    /// Runs a unit of work on a conversation and publishes its events.
    async fn run_and_publish<O>(&self, conversation: ConversationId, operation: O) -> Result<(), CommandError>
    where
        O: Operation<Output = Vec<Event>> + Clone,
    {
        let events = self.parts.access.run(conversation, operation).await?;
        self.parts.publisher.publish(events);
        Ok(())
    }
}
