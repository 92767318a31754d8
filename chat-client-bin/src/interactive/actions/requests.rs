//! Actions that send one command to the server and print a confirmation.

use chat_core::commands::Commands;
use chat_core::model::{Command, DisplayName, Note, ProfileChanges};

use crate::args::{group_ref, user_ref};
use crate::failure::Failure;
use crate::interactive::state::{JobResult, State, UnconfirmedCommand};
use crate::leaving::Leaver;
use crate::outbox;
use crate::output::single_line;

use super::JobContext;
use super::members::current_group;

/// Leaves a group. If the user is its last member, the group would be deleted, so the command has
/// to be given twice.
pub(super) fn leave(state: &mut State, name: Option<&str>) -> Result<(), Failure> {
    let (group, label) = match name {
        Some(name) => {
            let group = group_ref(name)?;
            let label = outbox::conversation_label(&state.client, &group);
            (group, label)
        }
        None => current_group(state)?,
    };
    let unconfirmed = state.unconfirmed();
    let job = JobContext::of(state);
    state.spawn_leaving(async move {
        let leaver = Leaver::of(&job.client, &group).await?;
        if let Leaver::Last(id) = leaver
            && unconfirmed != Some(UnconfirmedCommand::Leave(id))
        {
            let text =
                format!("-- you are the last member: leaving deletes {label}; type the command again to confirm");
            job.screen.line(job.style.bold(&single_line(&text)));
            return Ok(JobResult::Unconfirmed(UnconfirmedCommand::Leave(id)));
        }
        job.client.execute(Command::LeaveGroup(leaver.reference(group))).await?;
        let text = format!("-- {}", leaver.done("you ", &label));
        job.screen.line(job.style.dim(&single_line(&text)));
        Ok(match leaver {
            Leaver::Outsider(None) => JobResult::Done,
            Leaver::Outsider(Some(id)) | Leaver::Member(id) | Leaver::Last(id) => JobResult::Left(id),
        })
    });
    Ok(())
}

/// Changes the display name of the user.
pub(super) fn set_display_name(state: &mut State, name: &str) -> Result<(), Failure> {
    let mut changes = ProfileChanges::default();
    changes.display_name = Some(DisplayName::parse(name).map_err(Failure::usage)?);
    state.request(
        Command::UpdateProfile(changes),
        format!("your display name is {name} now"),
    );
    Ok(())
}

pub(super) fn add_friend(state: &mut State, user: &str, note: String) -> Result<(), Failure> {
    let note = Note::new(note).map_err(Failure::usage)?;
    let command = Command::RequestFriend {
        user: user_ref(user)?,
        note,
    };
    let done = format!("friend request sent to {user}, or accepted if {user} had sent one");
    state.request(command, done);
    Ok(())
}

pub(super) fn accept_friend(state: &mut State, user: &str) -> Result<(), Failure> {
    state.known.add_user(user);
    let command = Command::AnswerFriend {
        user: user_ref(user)?,
        accept: true,
    };
    state.request(command, format!("{user} is your friend now"));
    Ok(())
}

pub(super) fn decline_friend(state: &mut State, user: &str) -> Result<(), Failure> {
    let command = Command::AnswerFriend {
        user: user_ref(user)?,
        accept: false,
    };
    state.request(command, format!("declined the friend request of {user}"));
    Ok(())
}

pub(super) fn remove_friend(state: &mut State, user: &str) -> Result<(), Failure> {
    let command = Command::RemoveFriend(user_ref(user)?);
    state.request(
        command,
        format!("{user} is not your friend, and no request to {user} is open"),
    );
    Ok(())
}

pub(super) fn block(state: &mut State, user: &str) -> Result<(), Failure> {
    state.request(
        Command::Block(user_ref(user)?),
        format!("{user} is blocked, and no longer your friend"),
    );
    Ok(())
}

pub(super) fn unblock(state: &mut State, user: &str) -> Result<(), Failure> {
    state.request(
        Command::Unblock(user_ref(user)?),
        format!("{user} is no longer blocked"),
    );
    Ok(())
}
