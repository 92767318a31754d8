//! group …

use chat_core::client::Client;
use chat_core::model::{
    Command, ConversationView, Description, GroupChanges, GroupName, NewGroup, Note, Outcome, UserId,
};

use crate::args::{Group, GroupCommand, GroupUser, group_ref, user_ref};
use crate::failure::Failure;
use crate::output::{DoneLine, GroupLine, MemberLine, Output};

use super::unexpected;

/// Members asked for at once.
const MEMBERS: u32 = 500;

pub(super) async fn group(client: &Client, command: GroupCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        GroupCommand::List => list(client, output),
        GroupCommand::Members(Group { group }) => members(client, &group, output).await,
        command => {
            let (done, words, command) = change(command)?;
            match client.execute(command).await? {
                Outcome::Conversation(info) => match &info.view {
                    ConversationView::Group(group) => output.print(&GroupLine::new(group, Some(info.role))),
                    _ => output.print(&DoneLine::new(done, words)),
                },
                _ => output.print(&DoneLine::new(done, words)),
            }
        }
    }
}

fn change(command: GroupCommand) -> Result<(&'static str, String, Command), Failure> {
    Ok(match command {
        GroupCommand::Create {
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let new = NewGroup::new(GroupName::parse(&name).map_err(Failure::usage)?)
                .description(Description::new(description).map_err(Failure::usage)?)
                .join_policy(join_policy.into())
                .history_visible(history_visible)
                .unlisted(unlisted);
            ("create", format!("made {name}"), Command::CreateGroup(new))
        }
        GroupCommand::Join { group, note } => {
            let note = Note::new(note).map_err(Failure::usage)?;
            let command = Command::JoinGroup {
                group: group_ref(&group)?,
                note,
            };
            ("join", format!("asked to join {group}, or joined it"), command)
        }
        GroupCommand::Leave(at) => (
            "leave",
            format!("left {}", at.group),
            Command::LeaveGroup(group_ref(&at.group)?),
        ),
        GroupCommand::Delete(at) => (
            "delete",
            format!("deleted {}", at.group),
            Command::DeleteGroup(group_ref(&at.group)?),
        ),
        GroupCommand::Decline(at) => (
            "decline",
            format!("declined to join {}", at.group),
            Command::DeclineInvitation(group_ref(&at.group)?),
        ),
        GroupCommand::Update {
            group,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let mut changes = GroupChanges::new();
            changes.description = description.map(Description::new).transpose().map_err(Failure::usage)?;
            changes.join_policy = join_policy.map(Into::into);
            (changes.history_visible, changes.unlisted) = (history_visible, unlisted);
            let command = Command::UpdateGroup {
                group: group_ref(&group)?,
                changes,
            };
            ("update", format!("changed {group}"), command)
        }
        GroupCommand::Rename { group, name } => {
            let command = Command::UpdateGroup {
                group: group_ref(&group)?,
                changes: GroupChanges::new().name(GroupName::parse(&name).map_err(Failure::usage)?),
            };
            ("rename", format!("{group} is called {name} now"), command)
        }
        command => return about_member(command),
    })
}

/// Commands about one user in one group.
fn about_member(command: GroupCommand) -> Result<(&'static str, String, Command), Failure> {
    let both = |at: &GroupUser| Ok::<_, Failure>((group_ref(&at.group)?, user_ref(&at.who)?));
    Ok(match command {
        GroupCommand::Invite(at) => {
            let (group, user) = both(&at)?;
            (
                "invite",
                format!("invited {}", at.who),
                Command::InviteMember { group, user },
            )
        }
        GroupCommand::Approve(at) => {
            let (group, user) = both(&at)?;
            (
                "approve",
                format!("let {} in", at.who),
                Command::AnswerJoin {
                    group,
                    user,
                    accept: true,
                },
            )
        }
        GroupCommand::Reject(at) => {
            let (group, user) = both(&at)?;
            (
                "reject",
                format!("turned {} down", at.who),
                Command::AnswerJoin {
                    group,
                    user,
                    accept: false,
                },
            )
        }
        GroupCommand::Kick { at, ban } => {
            let (group, user) = both(&at)?;
            (
                "kick",
                format!("removed {}", at.who),
                Command::KickMember { group, user, ban },
            )
        }
        GroupCommand::Unban(at) => {
            let (group, user) = both(&at)?;
            (
                "unban",
                format!("{} may come back", at.who),
                Command::UnbanMember { group, user },
            )
        }
        GroupCommand::Role { at, role } => {
            let (group, user) = both(&at)?;
            let command = Command::SetRole {
                group,
                user,
                role: role.into(),
            };
            ("role", format!("{} has another role", at.who), command)
        }
        GroupCommand::Mute { at, duration } => {
            let (group, user) = both(&at)?;
            let command = Command::MuteMember {
                group,
                user,
                duration_ms: duration,
            };
            let words = if duration == 0 {
                "may speak again"
            } else {
                "is silenced"
            };
            ("mute", format!("{} {words}", at.who), command)
        }
        GroupCommand::Transfer(at) => {
            let (group, user) = both(&at)?;
            (
                "transfer",
                format!("{} owns it now", at.who),
                Command::TransferOwnership { group, user },
            )
        }
        other => return Err(Failure::usage(format!("unknown: {other:?}"))),
    })
}

fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    for info in client.conversations() {
        if let ConversationView::Group(group) = &info.view
            && info.active
        {
            output.print(&GroupLine::new(group, Some(info.role)))?;
        }
    }
    Ok(())
}

async fn members(client: &Client, group: &str, output: &mut Output) -> Result<(), Failure> {
    let mut after = UserId(0);
    loop {
        let group = group_ref(group)?;
        match client
            .execute(Command::ListMembers {
                group,
                after,
                limit: MEMBERS,
            })
            .await?
        {
            Outcome::Members(page) => {
                page.members
                    .iter()
                    .try_for_each(|member| output.print(&MemberLine::from(member)))?;
                match page.members.last() {
                    Some(last) if page.more => after = last.user.id,
                    _ => return Ok(()),
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}
