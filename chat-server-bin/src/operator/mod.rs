//! Commands of operators: each calls the engine's operator API and prints the result.

mod console;
mod group;
mod identity;
mod password;
mod text;
mod user;

use chat_core::engine::CommandError;
use chat_core::model::{ConversationRef, GroupName, ReplyCode, UserName, UserRef};
use chat_core::store::{AuditId, AuditPage};

pub(crate) use group::group;
pub(crate) use user::user;

use self::console::Console;
use self::text::audit_row;
use crate::args::{AuditArgs, OperatorCommand, SessionCommand};
use crate::config::Checked;
use crate::failure::{Failure, chain};
use crate::output::Lines;

/// Maximum number of accounts, groups or audit records that one read of the store returns.
const PAGE_SIZE: u32 = 500;

/// Runs `session …`.
pub(crate) async fn session(config: &Checked, call: OperatorCommand<SessionCommand>) -> Result<(), Failure> {
    let SessionCommand::End { user } = call.command;
    let console = Console::open(config, &call.operator).await?;
    let result = end_sessions(&console, &user).await;
    console.close().await;
    result
}

async fn end_sessions(console: &Console<'_>, user: &str) -> Result<(), Failure> {
    let account = console.operator.end_sessions(user_ref(user)?).await.map_err(refused)?;
    let text = format!("ended all sessions of user {}", account.name);
    console.announce_and_print(&account, &text).await
}

/// Runs `audit`.
pub(crate) async fn audit(config: &Checked, call: AuditArgs) -> Result<(), Failure> {
    let console = Console::open(config, &call.operator).await?;
    let result = print_audit(&console, call.before, call.limit).await;
    console.close().await;
    result
}

async fn print_audit(console: &Console<'_>, before: Option<u64>, limit: u32) -> Result<(), Failure> {
    let mut lines = Lines::new();
    let mut page = before.map_or(AuditPage::Newest, |id| AuditPage::Before(AuditId(id)));
    let mut remaining = limit;
    while remaining > 0 {
        let records = console
            .operator
            .audit_log(page, remaining.min(PAGE_SIZE))
            .await
            .map_err(refused)?;
        let Some(last) = records.last() else { break };
        page = AuditPage::Before(last.id);
        remaining = remaining.saturating_sub(u32::try_from(records.len()).unwrap_or(u32::MAX));
        for record in &records {
            console.add_row(&mut lines, record, &audit_row(record))?;
        }
    }
    lines.finish()
}

/// Parses the name of a user in an argument.
fn user_name(text: &str) -> Result<UserName, Failure> {
    // Operators may use names that registration reserves.
    UserName::parse_any(text).map_err(invalid)
}

/// Parses an argument that is the name of a user, or `#` and the id of a user.
fn user_ref(text: &str) -> Result<UserRef, Failure> {
    match text.strip_prefix('#') {
        Some(id) => id.parse().map(UserRef::Id).map_err(invalid),
        None => user_name(text).map(UserRef::Name),
    }
}

/// Parses an argument that is the name of a group, or `#` and the id of a group.
fn group_ref(text: &str) -> Result<ConversationRef, Failure> {
    match text.strip_prefix('#') {
        Some(id) => id.parse().map(ConversationRef::Id).map_err(invalid),
        None => GroupName::parse_any(text).map(ConversationRef::Group).map_err(invalid),
    }
}

/// Returns the failure for an invalid argument.
fn invalid(error: impl std::error::Error) -> Failure {
    Failure::Failed(chain(&error))
}

/// Returns the failure for a command that the engine refused or could not execute.
fn refused(error: CommandError) -> Failure {
    match error.code {
        ReplyCode::TryAgain | ReplyCode::Busy => Failure::Unavailable(error.text.into_owned()),
        _ => Failure::Failed(error.text.into_owned()),
    }
}
