//! The commands `group …`.

use chat_core::client::Client;
use chat_core::commands::Commands;
use chat_core::commands::JoinOutcome;
use chat_core::model::{
    Command, ConversationInfo, ConversationView, Description, GroupChanges, GroupName, NewGroup, Note, UserId,
};

use crate::args::{Group, GroupCommand, GroupUser, group_ref, user_ref};
use crate::failure::{Failure, Kind};
use crate::output::{DoneLine, GroupLine, MemberLine, Output};

/// Number of members in a page.
const PAGE_MEMBERS: u32 = 500;

pub(super) async fn group(client: &Client, command: GroupCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        GroupCommand::List => list(client, output),
        GroupCommand::Members(Group { group }) => members(client, &group, output).await,
        GroupCommand::Create {
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let mut group = NewGroup::new(GroupName::parse(&name).map_err(Failure::usage)?);
            group.description = Description::new(description).map_err(Failure::usage)?;
            group.join_policy = join_policy.into();
            group.history_visible = history_visible;
            group.unlisted = unlisted;
            print_group(&client.create_group(group).await?, output)
        }
        GroupCommand::Join { group, note } => {
            let note = Note::new(note).map_err(Failure::usage)?;
            match client.join_group(group_ref(&group)?, note).await? {
                JoinOutcome::Member(info) => print_group(&info, output),
                JoinOutcome::Requested => output.print(&DoneLine::new("join", format!("asked to join {group}"))),
            }
        }
        command => {
            let (done, text, command) = translate(command)?;
            client.execute(command).await?;
            output.print(&DoneLine::new(done, text))
        }
    }
}

fn print_group(info: &ConversationInfo, output: &mut Output) -> Result<(), Failure> {
    match &info.view {
        ConversationView::Group(group) => output.print(&GroupLine::new(group, Some(info.role))),
        _ => Err(Failure::new(
            Kind::Protocol,
            "the server answered with a conversation that is not a group",
        )),
    }
}

/// Returns the command for the server, with the name and text of its confirmation.
fn translate(command: GroupCommand) -> Result<(&'static str, String, Command), Failure> {
    Ok(match command {
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
            format!("declined the invitation to {}", at.group),
            Command::DeclineInvitation(group_ref(&at.group)?),
        ),
        GroupCommand::Update {
            group,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let mut changes = GroupChanges::default();
            changes.description = description.map(Description::new).transpose().map_err(Failure::usage)?;
            changes.join_policy = join_policy.map(Into::into);
            (changes.history_visible, changes.unlisted) = (history_visible, unlisted);
            let command = Command::UpdateGroup {
                group: group_ref(&group)?,
                changes,
            };
            ("update", format!("updated {group}"), command)
        }
        GroupCommand::Rename { group, name } => {
            let mut changes = GroupChanges::default();
            changes.name = Some(GroupName::parse(&name).map_err(Failure::usage)?);
            let command = Command::UpdateGroup {
                group: group_ref(&group)?,
                changes,
            };
            ("rename", format!("renamed {group} to {name}"), command)
        }
        command => return member_command(command),
    })
}

/// Translates commands about one member of a group.
fn member_command(command: GroupCommand) -> Result<(&'static str, String, Command), Failure> {
    let group_and_user = |at: &GroupUser| Ok::<_, Failure>((group_ref(&at.group)?, user_ref(&at.who)?));
    Ok(match command {
        GroupCommand::Invite(at) => {
            let (group, user) = group_and_user(&at)?;
            (
                "invite",
                format!("invited {}", at.who),
                Command::InviteMember { group, user },
            )
        }
        GroupCommand::Approve(at) => {
            let (group, user) = group_and_user(&at)?;
            (
                "approve",
                format!("approved {}", at.who),
                Command::AnswerJoin {
                    group,
                    user,
                    accept: true,
                },
            )
        }
        GroupCommand::Reject(at) => {
            let (group, user) = group_and_user(&at)?;
            (
                "reject",
                format!("rejected {}", at.who),
                Command::AnswerJoin {
                    group,
                    user,
                    accept: false,
                },
            )
        }
        GroupCommand::Kick { at, ban } => {
            let (group, user) = group_and_user(&at)?;
            (
                "kick",
                format!("removed {}", at.who),
                Command::KickMember { group, user, ban },
            )
        }
        GroupCommand::Unban(at) => {
            let (group, user) = group_and_user(&at)?;
            (
                "unban",
                format!("unbanned {}", at.who),
                Command::UnbanMember { group, user },
            )
        }
        GroupCommand::Role { at, role } => {
            let (group, user) = group_and_user(&at)?;
            let command = Command::SetRole {
                group,
                user,
                role: role.into(),
            };
            ("role", format!("changed the role of {}", at.who), command)
        }
        GroupCommand::Mute { at, duration } => {
            let (group, user) = group_and_user(&at)?;
            let command = Command::MuteMember {
                group,
                user,
                duration_ms: duration,
            };
            let verb = if duration == 0 { "unmuted" } else { "muted" };
            ("mute", format!("{verb} {}", at.who), command)
        }
        GroupCommand::Transfer(at) => {
            let (group, user) = group_and_user(&at)?;
            (
                "transfer",
                format!("{} is the owner now", at.who),
                Command::TransferOwnership { group, user },
            )
        }
        other => return Err(Failure::usage(format!("unknown: {other:?}"))),
    })
}

fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    for info in client.known_conversations() {
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
        let page = client.members(group, after, PAGE_MEMBERS).await?;
        page.members
            .iter()
            .try_for_each(|member| output.print(&MemberLine::from(member)))?;
        match page.members.last() {
            Some(last) if page.more => after = last.user.id,
            _ => return Ok(()),
        }
    }
}
