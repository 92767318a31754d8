//! Commands about accounts.

use chat_core::auth::Subject;
use chat_core::engine::operator::{CreateAccount, DeleteAccount, DeletedName, DeletedSubject, DeletedTexts};
use chat_core::model::{DisplayName, Secret, UserRef, escape_for_log};
use serde_json::json;

use super::console::Console;
use super::password::read_password;
use super::text::{account_row, describe_account};
use super::{PAGE_SIZE, invalid, refused, user_name, user_ref};
use crate::args::{OperatorCommand, UserCommand};
use crate::config::Checked;
use crate::failure::Failure;
use crate::output::Lines;

/// Runs `user …`.
pub(crate) async fn user(config: &Checked, call: OperatorCommand<UserCommand>) -> Result<(), Failure> {
    // The prompt comes before the store is opened, so that the store is not locked while the
    // operator types.
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
            console.print_change(&account, &text)
        }
        UserCommand::List { prefix } => list_accounts(console, &prefix).await,
        UserCommand::Show { user } => {
            let account = operator.account(user_ref(&user)?).await.map_err(refused)?;
            console.print_result(&account, &describe_account(&account))
        }
        UserCommand::Rename { user, name } => {
            let renamed = operator.rename_account(user_ref(&user)?, user_name(&name)?);
            let account = renamed.await.map_err(refused)?;
            let text = format!("renamed user {user} to {}", account.name);
            console.print_change(&account, &text)
        }
        UserCommand::Passwd { user, .. } => {
            let secret = secret.unwrap_or_else(|| Secret::new(""));
            let account = operator.set_password(user_ref(&user)?, secret).await.map_err(refused)?;
            let text = format!("changed the password of user {} and ended all sessions", account.name);
            console.announce_and_print(&account, &text).await
        }
        UserCommand::Disable { user } => {
            let account = operator.disable(user_ref(&user)?).await.map_err(refused)?;
            let text = format!("disabled user {} and ended all sessions", account.name);
            console.announce_and_print(&account, &text).await
        }
        UserCommand::Enable { user } => {
            let account = operator.enable(user_ref(&user)?).await.map_err(refused)?;
            let text = format!("enabled user {}", account.name);
            console.print_change(&account, &text)
        }
        UserCommand::Delete {
            user,
            erase_texts,
            free_name,
            free_subject,
            ..
        } => delete(console, &user, deletion_options(erase_texts, free_name, free_subject)).await,
        UserCommand::FreeSubject { subject } => {
            let freed = Subject::new(subject.as_str()).map_err(invalid)?;
            operator.free_subject(freed).await.map_err(refused)?;
            let text = format!("freed subject {}", escape_for_log(&subject));
            console.print_change(&json!({ "subject": &subject, "freed": true }), &text)
        }
        UserCommand::Export { user } => export(console, user_ref(&user)?).await,
    }
}

fn deletion_options(erase_texts: bool, free_name: bool, free_subject: bool) -> DeleteAccount {
    let mut options = DeleteAccount::default();
    if erase_texts {
        options.texts = DeletedTexts::Erase;
    }
    if free_name {
        options.name = DeletedName::Free;
    }
    if free_subject {
        options.subject = DeletedSubject::Free;
    }
    options
}

async fn delete(console: &Console<'_>, user: &str, options: DeleteAccount) -> Result<(), Failure> {
    let operator = &console.operator;
    let id = operator.account(user_ref(user)?).await.map_err(refused)?.account.id;
    operator.delete_account(id, options).await.map_err(refused)?;
    let account = operator.account(id).await.map_err(refused)?.account;
    let text = format!("deleted user {user} with id {id}");
    console.announce_and_print(&account, &text).await
}

async fn export(console: &Console<'_>, user: UserRef) -> Result<(), Failure> {
    let mut export = console.operator.export_account(user).await.map_err(refused)?;
    let mut lines = Lines::new();
    while let Some(page) = export.next_page().await.map_err(refused)? {
        for record in page {
            console.add_json_row(&mut lines, &record)?;
        }
    }
    lines.finish()
}

async fn list_accounts(console: &Console<'_>, prefix: &str) -> Result<(), Failure> {
    let mut lines = Lines::new();
    let mut after = String::new();
    loop {
        let page = console.operator.list_accounts(prefix, &after, PAGE_SIZE);
        let page = page.await.map_err(refused)?;
        for account in &page.accounts {
            console.add_row(&mut lines, account, &account_row(account))?;
        }
        match page.accounts.last() {
            Some(last) if page.has_more => after.clone_from(&last.name),
            _ => return lines.finish(),
        }
    }
}
