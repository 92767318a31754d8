//! Commands about groups.

use chat_core::model::{ConversationId, MemberInfo, Role};
use serde_json::json;

use super::command_target::CommandContext;
use super::printer::Printer;
use super::text::{account_name, describe_group, group_row};
use super::{Call, PAGE_SIZE, group_ref, refused, user_ref};
use crate::failure::Failure;

/// Runs a command about a group. Does nothing for other commands.
pub(super) async fn run(context: &CommandContext<'_>, call: Call, printer: &mut Printer) -> Result<(), Failure> {
    let operator = &context.operator;
    match call {
        Call::GroupList { orphaned } => {
            let mut after = Some(ConversationId(0));
            while let Some(last) = after {
                let page = operator.list_groups(last, PAGE_SIZE, orphaned).await.map_err(refused)?;
                for group in &page.groups {
                    printer.row(group, &group_row(group)).await?;
                }
                after = page.next;
            }
            Ok(())
        }
        Call::GroupShow { group } => {
            let group = operator.group(group_ref(&group)?).await.map_err(refused)?;
            printer.row(&group, &describe_group(&group)).await
        }
        Call::GroupTransfer { group, user } => {
            let before = operator.group(group_ref(&group)?).await.map_err(refused)?;
            let new_owner = operator.account(user_ref(&user)?).await.map_err(refused)?.account;
            let id = before.group.group.id;
            operator.transfer_group(id, new_owner.id).await.map_err(refused)?;
            let is_owner = |member: &MemberInfo| member.user.id == new_owner.id && member.role == Role::Owner;
            let is_changed = !before.members.iter().any(is_owner);
            let object = json!({ "group": &group, "owner": &user, "changed": is_changed });
            let name = account_name(&new_owner);
            let text = if is_changed {
                format!("made user {name} the owner of group {group}")
            } else {
                format!("user {name} was already the owner of group {group}")
            };
            context.announce_and_print(printer, &object, &text).await
        }
        Call::GroupDelete { group } => {
            operator.delete_group(group_ref(&group)?).await.map_err(refused)?;
            let object = json!({ "group": &group, "deleted": true });
            context
                .announce_and_print(printer, &object, &format!("deleted group {group}"))
                .await
        }
        _ => Ok(()),
    }
}
