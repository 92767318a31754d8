//! Commands of operators. Each calls the engine's operator API and prints the result.
//!
//! A command becomes a [`Call`]. The server that runs on the data directory executes it, through
//! its admin socket; if none runs there, this process does.

mod bulk;
mod call;
mod command_target;
mod executor;
mod group;
mod hidden_input;
mod identity;
mod node;
mod password;
mod printer;
mod reference;
mod text;
mod user;

use chat_core::engine::CommandError;
use chat_core::engine::operator::OperatorName;
use chat_core::model::{ConversationRef, ReplyCode, UserRef};
use chat_core::store::{AuditId, AuditPage};

pub(crate) use call::Call;
pub(crate) use command_target::{CommandTarget, RunningNode};
pub(crate) use identity::sudo_user;
pub(crate) use printer::Printer;
pub(crate) use reference::{group_ref as parse_group, user_name as parse_user_name, user_ref as parse_user};

use self::command_target::CommandContext;
use self::executor::Executor;
use self::text::{account_name, audit_row};
use crate::args::{AuditArgs, GroupCommand, OperatorArgs, OperatorCommand, SessionCommand, StatsArgs, UserCommand};
use crate::config::CheckedConfig;
use crate::failure::{Failure, chain};

/// Maximum number of accounts, groups, sessions or audit records that one call of the engine
/// returns. Longer lists take several calls.
const PAGE_SIZE: u32 = 500;

/// Runs `user …`.
pub(crate) async fn user(config: &CheckedConfig, command: OperatorCommand<UserCommand>) -> Result<(), Failure> {
    if let UserCommand::Add { file: Some(file), .. } = &command.command {
        return bulk::add(config, &command.operator, file).await;
    }
    // The prompt comes before the store is opened, so that the store is not locked while the
    // operator types.
    let call = Call::user(command.command)?;
    execute(config, &command.operator, call).await
}

/// Runs `group …`.
pub(crate) async fn group(config: &CheckedConfig, command: OperatorCommand<GroupCommand>) -> Result<(), Failure> {
    execute(config, &command.operator, Call::from(command.command)).await
}

/// Runs `session …`.
pub(crate) async fn session(config: &CheckedConfig, command: OperatorCommand<SessionCommand>) -> Result<(), Failure> {
    execute(config, &command.operator, Call::from(command.command)).await
}

/// Runs `audit`.
pub(crate) async fn audit(config: &CheckedConfig, arguments: AuditArgs) -> Result<(), Failure> {
    execute(config, &arguments.operator, Call::from(&arguments)).await
}

/// Runs `stats`.
pub(crate) async fn stats(config: &CheckedConfig, arguments: StatsArgs) -> Result<(), Failure> {
    execute(config, &arguments.operator, Call::Stats).await
}

async fn execute(config: &CheckedConfig, arguments: &OperatorArgs, call: Call) -> Result<(), Failure> {
    let mut executor = Executor::open(config, arguments).await?;
    let result = executor.run(call).await;
    executor.close().await;
    result
}

/// Executes the command of a program that connected to the admin socket of this server as the
/// operating system user `uid`.
pub(crate) async fn execute_for_peer(
    target: &CommandTarget,
    uid: u32,
    sudo_user: Option<&str>,
    operator: Option<String>,
    call: Call,
    mut printer: Printer,
) -> Result<(), Failure> {
    let name = operator.unwrap_or_else(|| identity::login_name_of(uid));
    let context = target.command_context(
        OperatorName::new(name).map_err(invalid)?,
        &identity::source_of(uid, sudo_user),
    );
    run(&context, call, &mut printer).await
}

/// Executes a command, and prints its output.
async fn run(context: &CommandContext<'_>, call: Call, printer: &mut Printer) -> Result<(), Failure> {
    match call {
        Call::GroupList { .. } | Call::GroupShow { .. } | Call::GroupTransfer { .. } | Call::GroupDelete { .. } => {
            group::run(context, call, printer).await
        }
        Call::SessionList { user } => node::list_sessions(context, user.as_deref(), printer).await,
        Call::SessionEnd { user } => end_sessions(context, &user, printer).await,
        Call::Audit { before, limit } => print_audit(context, before, limit, printer).await,
        Call::Stats => node::stats(context, printer).await,
        _ => user::run(context, call, printer).await,
    }
}

async fn end_sessions(context: &CommandContext<'_>, user: &str, printer: &mut Printer) -> Result<(), Failure> {
    let account = context.operator.end_sessions(user_ref(user)?).await.map_err(refused)?;
    let text = format!("ended all sessions of user {}", account_name(&account));
    context.announce_and_print(printer, &account, &text).await
}

async fn print_audit(
    context: &CommandContext<'_>,
    before: Option<u64>,
    limit: u32,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut page = before.map_or(AuditPage::Newest, |id| AuditPage::Before(AuditId(id)));
    let mut remaining = limit;
    while remaining > 0 {
        let records = context
            .operator
            .audit_log(page, remaining.min(PAGE_SIZE))
            .await
            .map_err(refused)?;
        let Some(last) = records.last() else { break };
        page = AuditPage::Before(last.id);
        remaining = remaining.saturating_sub(u32::try_from(records.len()).unwrap_or(u32::MAX));
        for record in &records {
            printer.row(record, &audit_row(record)).await?;
        }
    }
    Ok(())
}

/// Parses a user in a request; see [`reference::user_ref`].
fn user_ref(text: &str) -> Result<UserRef, Failure> {
    reference::user_ref(text).map_err(Failure::Failed)
}

/// Parses a group in a request; see [`reference::group_ref`].
fn group_ref(text: &str) -> Result<ConversationRef, Failure> {
    reference::group_ref(text).map_err(Failure::Failed)
}

/// Returns the failure for an invalid value in a request, which another program may have sent, or
/// in a file.
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
