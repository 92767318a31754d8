//! The commands `group …`.

use std::io::{self, IsTerminal as _};

use chat_core::client::Receive;
use chat_core::commands::Commands;
use chat_core::commands::JoinOutcome;
use chat_core::model::{
    Command, ConversationInfo, ConversationQuery, ConversationRef, ConversationView, Description, GroupChanges,
    GroupName, NewGroup, Note, UserId,
};

use crate::args::{Global, Group, GroupCommand, GroupUser, group_ref, user_ref};
use crate::command_client::CommandClient;
use crate::failure::{Failure, FailureKind};
use crate::leaving::Leaver;
use crate::login::LoginMode;
use crate::output::{DoneLine, GroupLine, MemberLine, Output};
use crate::session::Session;
use crate::terminal;

/// Maximum number of members that one request asks for.
const MEMBERS_PER_PAGE: u32 = 500;

pub(super) async fn group(client: &CommandClient, command: GroupCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        GroupCommand::List => list(client, output).await,
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
            FailureKind::Protocol,
            "the server answered with a conversation that is not a group",
        )),
    }
}

/// Leaves a group. If the user is its last member, so that leaving deletes the group, and `yes`
/// (the option `--yes`) is not set, asks at a terminal first, and fails elsewhere.
pub(super) async fn leave(global: &Global, group: &str, yes: bool, output: &mut Output) -> Result<(), Failure> {
    let reference = group_ref(group)?;
    let mut session = Session::connect(global, LoginMode::Automatic, Receive::Nothing, output).await?;
    let left = leave_in(&mut session, reference, group, yes).await;
    session.finish().await;
    output.print(&DoneLine::new("leave", left?.done("", group)))
}

async fn leave_in(session: &mut Session, group: ConversationRef, name: &str, yes: bool) -> Result<Leaver, Failure> {
    let client = CommandClient::new(session.client.with_current_epoch());
    let leaver = session.within(Leaver::of(&client, &group)).await?;
    if matches!(leaver, Leaver::Last(_)) && !yes {
        let text = format!("you are the last member of {name}, and leaving deletes the group");
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(format!("{text}; give --yes to leave it")));
        }
        if !terminal::confirm(&format!("{text}. Leave it?")).await? {
            return Err(Failure::new(FailureKind::Failed, "the group was not left"));
        }
        session.restart_deadline();
    }
    let leave = client.execute(Command::LeaveGroup(leaver.reference(group)));
    let left = session.within(leave).await;
    left.map(|_| leaver).map_err(Failure::with_unknown_outcome)
}

/// Returns the command for the server, with the name and text of its confirmation.
fn translate(command: GroupCommand) -> Result<(&'static str, String, Command), Failure> {
    Ok(match command {
        GroupCommand::Delete(args) => (
            "delete",
            format!("deleted {}", args.group),
            Command::DeleteGroup(group_ref(&args.group)?),
        ),
        GroupCommand::Decline(args) => (
            "decline",
            format!("declined the invitation to {}", args.group),
            Command::DeclineInvitation(group_ref(&args.group)?),
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
    let group_and_user = |args: &GroupUser| Ok::<_, Failure>((group_ref(&args.group)?, user_ref(&args.who)?));
    Ok(match command {
        GroupCommand::Invite(args) => {
            let (group, user) = group_and_user(&args)?;
            (
                "invite",
                format!("invited {}", args.who),
                Command::InviteMember { group, user },
            )
        }
        GroupCommand::Approve(args) => {
            let (group, user) = group_and_user(&args)?;
            (
                "approve",
                format!("approved {}", args.who),
                Command::AnswerJoin {
                    group,
                    user,
                    accept: true,
                },
            )
        }
        GroupCommand::Reject(args) => {
            let (group, user) = group_and_user(&args)?;
            (
                "reject",
                format!("rejected {}", args.who),
                Command::AnswerJoin {
                    group,
                    user,
                    accept: false,
                },
            )
        }
        GroupCommand::Kick { args, ban } => {
            let (group, user) = group_and_user(&args)?;
            (
                "kick",
                format!("{} {}", if ban { "banned" } else { "removed" }, args.who),
                Command::KickMember { group, user, ban },
            )
        }
        GroupCommand::Unban(args) => {
            let (group, user) = group_and_user(&args)?;
            (
                "unban",
                format!("unbanned {}", args.who),
                Command::UnbanMember { group, user },
            )
        }
        GroupCommand::Role { args, role } => {
            let (group, user) = group_and_user(&args)?;
            let command = Command::SetRole {
                group,
                user,
                role: role.into(),
            };
            ("role", format!("changed the role of {}", args.who), command)
        }
        GroupCommand::Mute { args, duration } => {
            let (group, user) = group_and_user(&args)?;
            let command = Command::MuteMember {
                group,
                user,
                duration_ms: duration,
            };
            let verb = if duration == 0 { "unmuted" } else { "muted" };
            ("mute", format!("{verb} {}", args.who), command)
        }
        GroupCommand::Transfer(args) => {
            let (group, user) = group_and_user(&args)?;
            (
                "transfer",
                format!("{} is the owner now", args.who),
                Command::TransferOwnership { group, user },
            )
        }
        other => return Err(Failure::usage(format!("{other:?} is not a command about a member"))),
    })
}

async fn list(client: &CommandClient, output: &mut Output) -> Result<(), Failure> {
    let query = ConversationQuery {
        limit: ConversationQuery::MAX_LIMIT,
        include_descriptions: true,
        ..ConversationQuery::default()
    };
    let conversations = client.conversations_from(query).await?;
    let active = conversations.iter().filter(|info| info.active);
    output.print_list(active.filter_map(|info| match &info.view {
        ConversationView::Group(group) => Some(GroupLine::new(group, Some(info.role))),
        _ => None,
    }))
}

async fn members(client: &CommandClient, group: &str, output: &mut Output) -> Result<(), Failure> {
    let mut after = UserId(0);
    loop {
        let group = group_ref(group)?;
        let page = client.members(group, after, MEMBERS_PER_PAGE).await?;
        let mut lines = page.members.iter().map(MemberLine::from);
        if after == UserId(0) {
            output.print_list(lines)?;
        } else {
            lines.try_for_each(|line| output.print(&line))?;
        }
        match page.members.last() {
            Some(last) if page.has_more => after = last.user.id,
            _ => return Ok(()),
        }
    }
}
