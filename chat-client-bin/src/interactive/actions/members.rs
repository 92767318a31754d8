//! Actions on the members, the name and the description of the current group, most of them for its
//! admins.

use chat_core::commands::Commands;
use chat_core::model::{Command, ConversationRef, ConversationView, Description, GroupChanges, GroupName, Role};

use crate::args::{duration_text, user_ref};
use crate::failure::Failure;
use crate::interactive::state::{JobResult, State, UnconfirmedCommand};
use crate::output::single_line;

use super::{JobContext, current};

pub(super) fn invite(state: &mut State, user: &str) -> Result<(), Failure> {
    let command = Command::InviteMember {
        group: current_group(state)?.0,
        user: user_ref(user)?,
    };
    state.request(command, format!("{user} is invited"));
    Ok(())
}

/// Removes a member, an invitation or a request to join. With `ban`, bans a user, who need not be a
/// member, and removes a member.
pub(super) fn kick(state: &mut State, user: &str, ban: bool) -> Result<(), Failure> {
    let command = Command::KickMember {
        group: current_group(state)?.0,
        user: user_ref(user)?,
        ban,
    };
    let done = if ban { "is banned" } else { "is removed" };
    state.request(command, format!("{user} {done}"));
    Ok(())
}

pub(super) fn unban(state: &mut State, user: &str) -> Result<(), Failure> {
    let command = Command::UnbanMember {
        group: current_group(state)?.0,
        user: user_ref(user)?,
    };
    state.request(command, format!("{user} is no longer banned"));
    Ok(())
}

pub(super) fn mute(state: &mut State, user: &str, duration_ms: u64) -> Result<(), Failure> {
    let command = Command::MuteMember {
        group: current_group(state)?.0,
        user: user_ref(user)?,
        duration_ms,
    };
    let done = if duration_ms == 0 {
        format!("{user} is no longer muted")
    } else {
        format!("{user} is muted for {}", duration_text(duration_ms))
    };
    state.request(command, done);
    Ok(())
}

/// Approves or rejects the request of a user to join the group.
pub(super) fn answer_join(state: &mut State, user: &str, accept: bool) -> Result<(), Failure> {
    let command = Command::AnswerJoin {
        group: current_group(state)?.0,
        user: user_ref(user)?,
        accept,
    };
    let done = if accept {
        format!("{user} is a member now")
    } else {
        format!("the request of {user} is rejected")
    };
    state.request(command, done);
    Ok(())
}

pub(super) fn set_role(state: &mut State, user: &str, role: Role) -> Result<(), Failure> {
    let command = Command::SetRole {
        group: current_group(state)?.0,
        user: user_ref(user)?,
        role,
    };
    let done = if role == Role::Admin {
        format!("{user} is an admin now")
    } else {
        format!("{user} is no longer an admin")
    };
    state.request(command, done);
    Ok(())
}

/// Makes a member the owner of the group. The former owner cannot undo it, so the command has to be
/// given twice.
pub(super) fn transfer(state: &mut State, user: &str) -> Result<(), Failure> {
    let (group, label) = current_group(state)?;
    let (user, name) = (user_ref(user)?, user.to_owned());
    let unconfirmed = state.unconfirmed();
    let job = JobContext::of(state);
    state.spawn(async move {
        let info = job.client.conversation(group).await?;
        let command = UnconfirmedCommand::Transfer(info.id, user.clone());
        if info.role == Role::Owner && unconfirmed.as_ref() != Some(&command) {
            let text = format!("-- {name} becomes the owner of {label}; type the command again to confirm");
            job.screen.line(job.style.bold(&single_line(&text)));
            return Ok(JobResult::Unconfirmed(command));
        }
        let group = ConversationRef::Id(info.id);
        job.client.execute(Command::TransferOwnership { group, user }).await?;
        let text = format!("-- {name} is the owner of {label} now");
        job.screen.line(job.style.dim(&single_line(&text)));
        Ok(JobResult::Transferred(command))
    });
    Ok(())
}

/// Changes the description of the group, or prints it if there is no text.
pub(super) fn topic(state: &mut State, text: Option<String>) -> Result<(), Failure> {
    let (group, label) = current_group(state)?;
    let Some(text) = text else {
        let job = JobContext::of(state);
        state.spawn(async move {
            let info = job.client.conversation(group).await?;
            let text = match &info.view {
                ConversationView::Group(group) if group.profile.description.is_empty() => {
                    format!("-- {label} has no description")
                }
                ConversationView::Group(group) => format!("-- {label}: {}", group.profile.description),
                _ => return Err(not_a_group(&label)),
            };
            job.screen.line(job.style.dim(&single_line(&text)));
            Ok(JobResult::Done)
        });
        return Ok(());
    };
    let mut changes = GroupChanges::default();
    changes.description = Some(Description::new(text).map_err(Failure::usage)?);
    let command = Command::UpdateGroup { group, changes };
    state.request(command, format!("the description of {label} is changed"));
    Ok(())
}

pub(super) fn rename(state: &mut State, name: &str) -> Result<(), Failure> {
    let (group, label) = current_group(state)?;
    let name = GroupName::parse(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let done = format!("{label} is #{name} now");
    let mut changes = GroupChanges::default();
    changes.name = Some(name);
    state.request(Command::UpdateGroup { group, changes }, done);
    Ok(())
}

/// Returns the current conversation and its label, or an error if no conversation is open, or the
/// open one is known to be no group.
pub(super) fn current_group(state: &State) -> Result<(ConversationRef, String), Failure> {
    let (reference, label) = current(state)?;
    let is_no_group = match &reference {
        ConversationRef::Direct(_) => true,
        ConversationRef::Id(id) => {
            let info = state.client.known_conversation(*id);
            info.is_some_and(|info| !matches!(info.view, ConversationView::Group(_)))
        }
        ConversationRef::Group(_) => false,
    };
    if is_no_group {
        Err(not_a_group(&label))
    } else {
        Ok((reference, label))
    }
}

fn not_a_group(label: &str) -> Failure {
    Failure::usage(format!("{label} is not a group"))
}
