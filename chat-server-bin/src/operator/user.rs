//! Commands about accounts.

use chat_core::auth::Subject;
use chat_core::engine::operator::{
    AccountInfo, CreateAccount, DeletedName, DeletedSubject, DeletedTexts, DeletionOptions,
};
use chat_core::model::{DisplayName, UserRef, escape_for_log};
use serde_json::{Value, json};

use super::call::NewAccount;
use super::command_target::CommandContext;
use super::printer::Printer;
use super::text::{account_name, account_row, describe_account};
use super::{Call, PAGE_SIZE, invalid, parse_user_name, refused, user_ref};
use crate::failure::Failure;

/// Runs a command about an account. Does nothing for other commands.
pub(super) async fn run(context: &CommandContext<'_>, call: Call, printer: &mut Printer) -> Result<(), Failure> {
    let operator = &context.operator;
    match call {
        Call::UserAdd(account) => add(context, account, printer).await,
        Call::UserList { prefix } => list_accounts(context, &prefix, printer).await,
        Call::UserShow { user } => {
            let account = operator.account(user_ref(&user)?).await.map_err(refused)?;
            printer.row(&account, &describe_account(&account)).await
        }
        Call::UserRename { user, name } => {
            let new_name = parse_user_name(&name).map_err(Failure::Failed)?;
            let before = find(context, &user).await?;
            let account = operator.rename_account(before.id, new_name).await.map_err(refused)?;
            let is_changed = before.name != account.name;
            let text = if is_changed {
                format!("renamed user {} to {}", account_name(&before), account_name(&account))
            } else {
                format!("user {} already had this name", account_name(&account))
            };
            printer.result(&with_change(&account, is_changed), &text, None).await
        }
        Call::UserPasswd { user, password } => {
            let changed = operator.set_password(user_ref(&user)?, password.0);
            let account = changed.await.map_err(refused)?;
            let text = format!(
                "changed the password of user {} and ended all sessions",
                account_name(&account)
            );
            context.announce_and_print(printer, &account, &text).await
        }
        Call::UserDisable { user } => {
            let before = find(context, &user).await?;
            let account = operator.disable(before.id).await.map_err(refused)?;
            let text = if before.disabled {
                // An earlier command may have been interrupted after it disabled the account. Then
                // this one ends the sessions that are left.
                format!(
                    "user {} was already disabled; ended all sessions",
                    account_name(&account)
                )
            } else {
                format!("disabled user {} and ended all sessions", account_name(&account))
            };
            context
                .announce_and_print(printer, &with_change(&account, !before.disabled), &text)
                .await
        }
        Call::UserEnable { user } => {
            let before = find(context, &user).await?;
            let account = operator.enable(before.id).await.map_err(refused)?;
            let text = if before.disabled {
                format!("enabled user {}", account_name(&account))
            } else {
                format!("user {} was already enabled", account_name(&account))
            };
            printer
                .result(&with_change(&account, before.disabled), &text, None)
                .await
        }
        Call::UserDelete {
            user,
            erase_texts,
            free_name,
            free_subject,
        } => {
            let options = deletion_options(erase_texts, free_name, free_subject);
            delete(context, &user, options, printer).await
        }
        Call::UserFreeSubject { subject } => {
            let freed = Subject::new(subject.as_str()).map_err(invalid)?;
            operator.free_subject(freed).await.map_err(refused)?;
            let text = format!("freed subject {}", escape_for_log(&subject));
            let object = json!({ "subject": &subject, "freed": true });
            printer.result(&object, &text, None).await
        }
        Call::UserExport { user } => export(context, user_ref(&user)?, printer).await,
        _ => Ok(()),
    }
}

async fn add(context: &CommandContext<'_>, account: NewAccount, printer: &mut Printer) -> Result<(), Failure> {
    let mut new = CreateAccount::new(parse_user_name(&account.name).map_err(Failure::Failed)?);
    let display_name = account.display_name.map(|text| DisplayName::parse(&text));
    new.display_name = display_name
        .transpose()
        .map_err(|error| Failure::Failed(format!("the display name: {error}")))?;
    new.password = account.password.map(|password| password.0);
    let created = context.operator.create_account(new).await.map_err(refused)?;
    let text = format!("created user {} with id {}", account_name(&created), created.id);
    printer.result(&created, &text, None).await
}

fn deletion_options(erase_texts: bool, free_name: bool, free_subject: bool) -> DeletionOptions {
    let mut options = DeletionOptions::default();
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

async fn delete(
    context: &CommandContext<'_>,
    user: &str,
    options: DeletionOptions,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let operator = &context.operator;
    let before = find(context, user).await?;
    let id = before.id;
    operator.delete_account(id, options).await.map_err(refused)?;
    let account = operator.account(id).await.map_err(refused)?.account;
    let is_changed = before.deleted.is_none();
    let text = if is_changed {
        format!("deleted user {} with id {id}", account_name(&before))
    } else {
        format!("user #{id} was already deleted; completed the deletion and applied the options")
    };
    context
        .announce_and_print(printer, &with_change(&account, is_changed), &text)
        .await
}

/// Returns the account that `user`, an argument of the command, names.
async fn find(context: &CommandContext<'_>, user: &str) -> Result<AccountInfo, Failure> {
    let found = context.operator.account(user_ref(user)?).await.map_err(refused)?;
    Ok(found.account)
}

/// Returns the account as JSON with the field `changed`, which is false if the account already had
/// the wanted name, or was already disabled, enabled or deleted.
fn with_change(account: &AccountInfo, is_changed: bool) -> Value {
    let mut object = json!(account);
    if let Value::Object(fields) = &mut object {
        fields.insert("changed".to_owned(), Value::Bool(is_changed));
    }
    object
}

async fn export(context: &CommandContext<'_>, user: UserRef, printer: &mut Printer) -> Result<(), Failure> {
    let mut export = context.operator.export_account(user).await.map_err(refused)?;
    while let Some(page) = export.next_page().await.map_err(refused)? {
        for record in page {
            printer.json_row(&record).await?;
        }
    }
    Ok(())
}

async fn list_accounts(context: &CommandContext<'_>, prefix: &str, printer: &mut Printer) -> Result<(), Failure> {
    let mut after = String::new();
    loop {
        let page = context.operator.list_accounts(prefix, &after, PAGE_SIZE);
        let page = page.await.map_err(refused)?;
        for account in &page.accounts {
            printer.row(account, &account_row(account)).await?;
        }
        match page.accounts.last() {
            Some(last) if page.has_more => after.clone_from(&last.name),
            _ => return Ok(()),
        }
    }
}
