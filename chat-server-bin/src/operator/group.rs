//! Commands about groups.

use chat_core::model::ConversationId;
use serde_json::json;

use super::console::Console;
use super::text::{describe_group, group_row};
use super::{PAGE_SIZE, group_ref, refused, user_ref};
use crate::args::{GroupCommand, OperatorCommand};
use crate::config::Checked;
use crate::failure::Failure;
use crate::output::Lines;

/// Runs `group …`.
pub(crate) async fn group(config: &Checked, call: OperatorCommand<GroupCommand>) -> Result<(), Failure> {
    let console = Console::open(config, &call.operator).await?;
    let result = run_group(&console, call.command).await;
    console.close().await;
    result
}

async fn run_group(console: &Console<'_>, command: GroupCommand) -> Result<(), Failure> {
    let operator = &console.operator;
    match command {
        GroupCommand::List { orphaned } => {
            let mut lines = Lines::new();
            let mut after = Some(ConversationId(0));
            while let Some(last) = after {
                let page = operator.list_groups(last, PAGE_SIZE, orphaned).await.map_err(refused)?;
                for group in &page.groups {
                    console.add_row(&mut lines, group, &group_row(group))?;
                }
                after = page.next;
            }
            lines.finish()
        }
        GroupCommand::Show { group } => {
            let group = operator.group(group_ref(&group)?).await.map_err(refused)?;
            console.print_result(&group, &describe_group(&group))
        }
        GroupCommand::Transfer { group, user } => {
            let transferred = operator.transfer_group(group_ref(&group)?, user_ref(&user)?);
            transferred.await.map_err(refused)?;
            let object = json!({ "group": &group, "owner": &user });
            let text = format!("made user {user} the owner of group {group}");
            console.announce_and_print(&object, &text).await
        }
        GroupCommand::Delete { group } => {
            operator.delete_group(group_ref(&group)?).await.map_err(refused)?;
            let object = json!({ "group": &group, "deleted": true });
            console
                .announce_and_print(&object, &format!("deleted group {group}"))
                .await
        }
    }
}
