//! Commands of operators: each calls the engine's operator API and prints the result.

use std::io::{BufWriter, IsTerminal as _, StdoutLock, Write};
use std::sync::Arc;
use std::time::Duration;

use chat_core::engine::CommandError;
use chat_core::engine::Engine;
use chat_core::engine::operator::{
    AccountDetails, AccountInfo, CreateAccount, DeleteAccount, DeletedName, DeletedTexts, GroupDetails, GroupListing,
    Operator, OperatorName,
};
use chat_core::model::{
    CloseCode, ConversationId, ConversationRef, DisplayName, GroupName, ReplyCode, Secret, UserId, UserName, UserRef,
    escape_for_log,
};
use chat_core::router::announce_ended_logins;
use chat_core::store::{AuditId, AuditPage, AuditRecord, Store};
use serde::Serialize;
use serde_json::json;

use crate::args::{AuditArgs, GroupCommand, Managed, OperatorArgs, PasswordArgs, SessionCommand, UserCommand};
use crate::compose::{build_engine, open_bus, open_store};
use crate::config::{Checked, StoreUrl};
use crate::failure::{Failure, chain};

/// Number of accounts, groups and records in one read.
const PAGE: u32 = 500;

/// Runs `user …`.
pub(crate) async fn user(config: &Checked, call: Managed<UserCommand>) -> Result<(), Failure> {
    // The prompt comes first: the store stays unlocked while the operator types.
    let secret = match &call.command {
        UserCommand::Add { no_password: true, .. } => None,
        UserCommand::Add { password, .. } | UserCommand::Passwd { password, .. } => Some(read_password(password)?),
        UserCommand::Delete { yes: false, .. } => {
            let text = "a deletion cannot be undone; confirm it with --yes";
            return Err(Failure::Failed(text.to_owned()));
        }
        _ => None,
    };
    let console = Console::open(config, &call.operator).await?;
    let result = run_user(&console, call.command, secret).await;
    console.close().await;
    result
}

async fn run_user(console: &Console<'_>, command: UserCommand, secret: Option<Secret>) -> Result<(), Failure> {
    let operator = &console.operator;
    match command {
        UserCommand::Add { name, display_name, .. } => {
            let mut new = CreateAccount::new(user_name(&name)?);
            new.display_name = display_name
                .map(|text| DisplayName::parse(&text))
                .transpose()
                .map_err(invalid)?;
            new.password = secret;
            let account = operator.create_account(new).await.map_err(refused)?;
            let text = format!("created user {} with id {}", account.name, account.id);
            console.done(&account, &text)
        }
        UserCommand::List { prefix } => list_accounts(console, &prefix).await,
        UserCommand::Show { user } => {
            let account = operator.account(user_ref(&user)?).await.map_err(refused)?;
            console.done(&account, &describe_account(&account))
        }
        UserCommand::Rename { user, name } => {
            let renamed = operator.rename_account(user_ref(&user)?, user_name(&name)?);
            let account = renamed.await.map_err(refused)?;
            console.done(&account, &format!("renamed user {user} to {}", account.name))
        }
        UserCommand::Passwd { user, .. } => {
            let secret = secret.unwrap_or_else(|| Secret::new(""));
            let account = operator.set_password(user_ref(&user)?, secret).await.map_err(refused)?;
            let text = format!("changed the password of user {} and ended all sessions", account.name);
            console.ended_sessions(&account, &text).await
        }
        UserCommand::Disable { user } => {
            let account = operator.disable(user_ref(&user)?).await.map_err(refused)?;
            let text = format!("disabled user {} and ended all sessions", account.name);
            console.ended_sessions(&account, &text).await
        }
        UserCommand::Enable { user } => {
            let account = operator.enable(user_ref(&user)?).await.map_err(refused)?;
            console.done(&account, &format!("enabled user {}", account.name))
        }
        UserCommand::Delete {
            user,
            erase_texts,
            free_name,
            ..
        } => {
            let how = DeleteAccount {
                texts: if erase_texts {
                    DeletedTexts::Erase
                } else {
                    DeletedTexts::Keep
                },
                name: if free_name {
                    DeletedName::Free
                } else {
                    DeletedName::Reserve
                },
            };
            let id = operator.account(user_ref(&user)?).await.map_err(refused)?.account.id;
            operator.delete_account(id, how).await.map_err(refused)?;
            let account = operator.account(id).await.map_err(refused)?.account;
            console
                .ended_sessions(&account, &format!("deleted user {user} with id {id}"))
                .await
        }
        UserCommand::Export { user } => {
            let mut export = operator.export_account(user_ref(&user)?).await.map_err(refused)?;
            let mut out = output();
            while let Some(page) = export.next_page().await.map_err(refused)? {
                for record in page {
                    write_json(&mut out, &record)?;
                }
            }
            out.flush().map_err(cannot_write)
        }
    }
}

async fn list_accounts(console: &Console<'_>, prefix: &str) -> Result<(), Failure> {
    let mut out = output();
    let mut after = String::new();
    loop {
        let page = console.operator.list_accounts(prefix, &after, PAGE);
        let page = page.await.map_err(refused)?;
        for account in &page.accounts {
            console.row(&mut out, account, &account_row(account))?;
        }
        match page.accounts.last() {
            Some(last) if page.more => after.clone_from(&last.name),
            _ => return out.flush().map_err(cannot_write),
        }
    }
}

/// Runs `group …`.
pub(crate) async fn group(config: &Checked, call: Managed<GroupCommand>) -> Result<(), Failure> {
    let console = Console::open(config, &call.operator).await?;
    let result = run_group(&console, call.command).await;
    console.close().await;
    result
}

async fn run_group(console: &Console<'_>, command: GroupCommand) -> Result<(), Failure> {
    let operator = &console.operator;
    match command {
        GroupCommand::List { orphaned } => {
            let mut out = output();
            let mut after = Some(ConversationId(0));
            while let Some(last) = after {
                let page = operator.list_groups(last, PAGE, orphaned).await.map_err(refused)?;
                for group in &page.groups {
                    console.row(&mut out, group, &group_row(group))?;
                }
                after = page.next;
            }
            out.flush().map_err(cannot_write)
        }
        GroupCommand::Show { group } => {
            let group = operator.group(group_ref(&group)?).await.map_err(refused)?;
            console.done(&group, &describe_group(&group))
        }
        GroupCommand::Transfer { group, user } => {
            let transferred = operator.transfer_group(group_ref(&group)?, user_ref(&user)?);
            transferred.await.map_err(refused)?;
            let object = json!({ "group": &group, "owner": &user });
            console.done(&object, &format!("made user {user} the owner of group {group}"))
        }
        GroupCommand::Close { group } => {
            operator.close_group(group_ref(&group)?).await.map_err(refused)?;
            console.done(
                &json!({ "group": &group, "closed": true }),
                &format!("closed group {group}"),
            )
        }
    }
}

/// Runs `session …`.
pub(crate) async fn session(config: &Checked, call: Managed<SessionCommand>) -> Result<(), Failure> {
    let SessionCommand::End { user } = call.command;
    let console = Console::open(config, &call.operator).await?;
    let result = end_sessions(&console, &user).await;
    console.close().await;
    result
}

async fn end_sessions(console: &Console<'_>, user: &str) -> Result<(), Failure> {
    let account = console.operator.end_sessions(user_ref(user)?).await.map_err(refused)?;
    let text = format!("ended all sessions of user {}", account.name);
    console.ended_sessions(&account, &text).await
}

/// Runs `audit`.
pub(crate) async fn audit(config: &Checked, call: AuditArgs) -> Result<(), Failure> {
    let console = Console::open(config, &call.operator).await?;
    let result = print_audit(&console, call.before, call.limit).await;
    console.close().await;
    result
}

async fn print_audit(console: &Console<'_>, before: Option<u64>, limit: u32) -> Result<(), Failure> {
    let mut out = output();
    let mut page = before.map_or(AuditPage::Newest, |id| AuditPage::Before(AuditId(id)));
    let mut left = limit;
    while left > 0 {
        let records = console
            .operator
            .audit_log(page, left.min(PAGE))
            .await
            .map_err(refused)?;
        let Some(last) = records.last() else { break };
        page = AuditPage::Before(last.id);
        left = left.saturating_sub(u32::try_from(records.len()).unwrap_or(u32::MAX));
        for record in &records {
            console.row(&mut out, record, &audit_row(record))?;
        }
    }
    out.flush().map_err(cannot_write)
}

/// An operator at a terminal: the store, an engine on it, and the form of the output.
struct Console<'a> {
    config: &'a Checked,
    store: Arc<dyn Store>,
    engine: Engine,
    operator: Operator,
    json: bool,
}

impl<'a> Console<'a> {
    async fn open(config: &'a Checked, arguments: &OperatorArgs) -> Result<Self, Failure> {
        let name = arguments.operator.clone().unwrap_or_else(system_user);
        let name = OperatorName::new(name).map_err(invalid)?;
        let store = open_store(config).await?;
        let engine = match build_engine(config, Arc::clone(&store)).await {
            Ok(engine) => engine,
            Err(failure) => {
                store.close().await;
                return Err(failure);
            }
        };
        Ok(Self {
            config,
            operator: engine.operator(name).source("chat-server"),
            store,
            engine,
            json: arguments.json,
        })
    }

    async fn close(self) {
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// Prints the result of a command: `object` as JSON, or `text`.
    fn done(&self, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        let mut out = output();
        self.row(&mut out, object, text)?;
        out.flush().map_err(cannot_write)
    }

    fn row(&self, out: &mut impl Write, object: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.json {
            write_json(out, object)
        } else {
            writeln!(out, "{text}").map_err(cannot_write)
        }
    }

    /// Tells the running nodes that the sessions of an account have ended, and prints the result:
    /// with a remark if open connections may remain for a while.
    async fn ended_sessions(&self, account: &AccountInfo, text: &str) -> Result<(), Failure> {
        let remark = self.announce(account.id).await;
        self.done(account, &format!("{text}{remark}"))
    }

    async fn announce(&self, user: UserId) -> &'static str {
        if !matches!(self.config.store, StoreUrl::Mysql(_)) {
            return ""; // the store is locked, so no server is running on it
        }
        match announce(self.config, &*self.store, user).await {
            Ok(true) => "",
            Ok(false) => "; bus.url is not set, so running nodes close open connections within a few minutes",
            Err(error) => {
                tracing::warn!(error, "cannot notify the running nodes");
                "; the bus is unreachable, so running nodes close open connections within a few minutes"
            }
        }
    }
}

/// Announces the ended logins to the nodes, three times because a bus may lose a message. Returns
/// `false` if no bus is configured.
async fn announce(config: &Checked, store: &dyn Store, user: UserId) -> Result<bool, String> {
    let Some(redis) = open_bus(config).map_err(|failure| failure.to_string())? else {
        return Ok(false);
    };
    let epoch = store.epoch().await.map_err(|error| chain(&error))?;
    let bus = redis.bus();
    for _ in 0..3 {
        announce_ended_logins(&bus, epoch, user, CloseCode::Revoked)
            .await
            .map_err(|error| chain(&error))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(true)
}

/// Returns the login name of the system's user who runs the command.
fn system_user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn user_name(text: &str) -> Result<UserName, Failure> {
    // Operators may use names that registration reserves.
    UserName::parse_any(text).map_err(invalid)
}

/// Returns the user whose name, or whose id after `#`, an argument gives.
fn user_ref(text: &str) -> Result<UserRef, Failure> {
    match text.strip_prefix('#') {
        Some(id) => id.parse().map(UserRef::Id).map_err(invalid),
        None => user_name(text).map(UserRef::Name),
    }
}

/// Returns the group whose name, or whose id after `#`, an argument gives.
fn group_ref(text: &str) -> Result<ConversationRef, Failure> {
    match text.strip_prefix('#') {
        Some(id) => id.parse().map(ConversationRef::Id).map_err(invalid),
        None => GroupName::parse_any(text).map(ConversationRef::Group).map_err(invalid),
    }
}

fn invalid(error: impl std::error::Error) -> Failure {
    Failure::Failed(chain(&error))
}

fn refused(error: CommandError) -> Failure {
    match error.code {
        ReplyCode::TryAgain | ReplyCode::Busy => Failure::Unavailable(error.text.into_owned()),
        _ => Failure::Failed(error.text.into_owned()),
    }
}

const fn account_state(account: &AccountInfo) -> &'static str {
    match (account.deleted, account.disabled) {
        (Some(_), _) => "deleted",
        (None, true) => "disabled",
        (None, false) => "active",
    }
}

fn account_row(account: &AccountInfo) -> String {
    format!("#{}\t{}\t{}", account.id, account.name, account_state(account))
}

fn describe_account(details: &AccountDetails) -> String {
    let account = &details.account;
    let mut lines = vec![
        format!("id {}", account.id),
        format!("name {}", account.name),
        format!("display name {}", escape_for_log(&account.display_name)),
        format!("state {}", account_state(account)),
        format!("password {}", if account.has_password { "set" } else { "none" }),
        format!("created {} (ms since 1970)", account.created.0),
    ];
    if let Some(subject) = &account.subject {
        lines.push(format!("subject {}", escape_for_log(subject)));
    }
    for device in &details.devices {
        let name = escape_for_log(&device.name);
        lines.push(format!(
            "device {} last login {} {name}",
            device.id, device.last_login.0
        ));
    }
    lines.join("\n")
}

fn group_row(group: &GroupListing) -> String {
    let state = match (group.closed, group.orphaned) {
        (true, _) => "closed",
        (false, true) => "orphaned",
        (false, false) => "open",
    };
    let info = &group.group;
    let name = escape_for_log(&info.profile.name);
    format!(
        "#{}\t{name}\t{state}\t{} members\t{} messages",
        info.id, info.member_count, group.messages
    )
}

fn describe_group(details: &GroupDetails) -> String {
    let mut lines = vec![group_row(&details.group)];
    for member in &details.members {
        let role = format!("{:?} {:?}", member.state, member.role).to_lowercase();
        lines.push(format!("user #{} {} {role}", member.user.id, member.user.name));
    }
    lines.join("\n")
}

fn audit_row(entry: &AuditRecord) -> String {
    let record = &entry.record;
    let (operator, detail) = (escape_for_log(&record.operator), escape_for_log(&record.detail));
    let (id, time) = (entry.id.0, record.time.0);
    format!(
        "{id}\t{time}\t{operator}\t{}\t{}\t{detail}",
        record.action, record.target
    )
}

/// Reads the password from the given file, else from `CHAT_PASSWORD`, else from a prompt.
fn read_password(arguments: &PasswordArgs) -> Result<Secret, Failure> {
    if let Some(path) = &arguments.password_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", path.display())))?;
        return Ok(Secret::new(text.lines().next().unwrap_or_default()));
    }
    if let Ok(password) = std::env::var("CHAT_PASSWORD") {
        return Ok(Secret::new(password));
    }
    if !std::io::stdin().is_terminal() {
        let text = "no password given: set CHAT_PASSWORD or use --password-file FILE";
        return Err(Failure::Failed(text.to_owned()));
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map(Secret::new);
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot read the password: {error}"));
    let password = ask("New password: ").map_err(failed)?;
    if ask("Again: ").map_err(failed)? != password {
        return Err(Failure::Failed(
            "the two passwords differ; nothing was changed".to_owned(),
        ));
    }
    Ok(password)
}

fn output() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(std::io::stdout().lock())
}

fn write_json(out: &mut impl Write, object: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(object);
    let line = line.map_err(|error| Failure::Failed(format!("cannot encode JSON: {error}")))?;
    writeln!(out, "{line}").map_err(cannot_write)
}

fn cannot_write(error: std::io::Error) -> Failure {
    Failure::Failed(format!("cannot write to standard output: {error}"))
}
