//! What the commands of the interactive client do. Each runs beside the others and prints when it is done.

mod entering;
mod lists;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use chat_core::client::Client;
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationRef, DraftContent, Emoji, GroupName, MessageText, Note, Seq,
    UserRef, sanitize_for_terminal,
};

use crate::args::{group_ref, user_ref};
use crate::failure::Failure;
use crate::output::Show;

use super::app::{App, Told};
use super::command::Do;
use entering::{create, go_to, join, show};
use lists::{contacts, devices, inbox, list, members, search};
use sending::touch;

pub(super) use entering::enter;
pub(super) use lists::learn_contacts;
pub(super) use sending::send_text;

/// Shown when a conversation is entered, at least; all that is unread up to the second number.
const SHOWN: (u32, u32) = (20, 200);

/// Begins what a command asks for.
pub(super) fn perform(app: &mut App, command: Do) {
    if let Err(failure) = begin(app, command) {
        app.complain(&failure.text);
    }
}

fn begin(app: &mut App, command: Do) -> Result<(), Failure> {
    match command {
        Do::Help | Do::Quit => {} // done by the app itself
        Do::List => list(app),
        Do::Who => contacts(app, true),
        Do::Friends => contacts(app, false),
        Do::Devices => devices(app),
        Do::Inbox => inbox(app),
        Do::Search(text) => search(app, text),
        Do::Dm(user, None) => {
            let reference = user_ref(&user)?;
            let label = user_label(&reference);
            go_to(app, ConversationRef::Direct(reference), label);
        }
        Do::Dm(user, Some(text)) => {
            let reference = user_ref(&user)?;
            let label = user_label(&reference);
            send_text(
                app,
                ConversationRef::Direct(reference),
                label,
                text,
                None,
                Duration::ZERO,
            );
        }
        Do::Open(name) => {
            let name = GroupName::parse_any(name.trim_start_matches('#')).map_err(Failure::usage)?;
            let label = format!("#{name}");
            go_to(app, ConversationRef::Group(name), label);
        }
        Do::Join(name) => join(app, &name)?,
        Do::Create(name) => create(app, &name)?,
        Do::Leave(name) => {
            let group = match name {
                Some(name) => group_ref(&name)?,
                None => here(app)?,
            };
            let label = label_of(&group);
            app.ask(Command::LeaveGroup(group), format!("you left {label}"));
        }
        Do::Members => members(app)?,
        Do::Invite(user) => {
            let command = Command::InviteMember {
                group: here(app)?,
                user: user_ref(&user)?,
            };
            app.ask(command, format!("{user} is invited"));
        }
        Do::Kick(user) => {
            let command = Command::KickMember {
                group: here(app)?,
                user: user_ref(&user)?,
                ban: false,
            };
            app.ask(command, format!("{user} is removed"));
        }
        Do::Mute(user, duration_ms) => {
            let command = Command::MuteMember {
                group: here(app)?,
                user: user_ref(&user)?,
                duration_ms,
            };
            app.ask(
                command,
                if duration_ms == 0 {
                    format!("{user} may speak again")
                } else {
                    format!("{user} is silenced")
                },
            );
        }
        Do::Add(user, note) => {
            let note = Note::new(note).map_err(Failure::usage)?;
            app.ask(
                Command::RequestFriend {
                    user: user_ref(&user)?,
                    note,
                },
                format!("{user} is asked"),
            );
        }
        Do::Accept(user) => {
            app.known.add_user(&user);
            let command = Command::AnswerFriend {
                user: user_ref(&user)?,
                accept: true,
            };
            app.ask(command, format!("{user} is your friend now"));
        }
        Do::Decline(user) => {
            let command = Command::AnswerFriend {
                user: user_ref(&user)?,
                accept: false,
            };
            app.ask(command, format!("{user} is declined"));
        }
        Do::Remove(user) => app.ask(
            Command::RemoveFriend(user_ref(&user)?),
            format!("{user} is not your friend any more"),
        ),
        Do::Block(user) => app.ask(Command::Block(user_ref(&user)?), format!("{user} is blocked")),
        Do::Unblock(user) => app.ask(
            Command::Unblock(user_ref(&user)?),
            format!("{user} is not blocked any more"),
        ),
        Do::History(count) => {
            let (reference, label) = room(app)?;
            app.jobs.spawn(show(job(app), reference, label, Some(count)));
        }
        Do::Read => {
            let info = known_here(app)?;
            app.jobs.spawn(mark_read(app.client.clone(), info.id, info.last_seq));
        }
        Do::Reply(target, text) => app.say(text, Some(target)),
        Do::Edit(target, text) => {
            let target = target
                .or(app.rooms.last_own())
                .ok_or_else(|| none("message of yours"))?;
            let text = MessageText::new(text).map_err(Failure::usage)?;
            touch(
                app,
                DraftContent::Edit { target, text },
                format!("#{target} is changed"),
            )?;
        }
        Do::Recall(target) => {
            let target = target
                .or(app.rooms.last_own())
                .ok_or_else(|| none("message of yours"))?;
            touch(app, DraftContent::Recall { target }, format!("#{target} is taken back"))?;
        }
        Do::React(target, emoji) => {
            let target = target.or(app.rooms.last_any()).ok_or_else(|| none("message"))?;
            let emoji = Emoji::new(&emoji).map_err(Failure::usage)?;
            touch(
                app,
                DraftContent::React {
                    target,
                    emoji,
                    remove: false,
                },
                format!("reacted to #{target}"),
            )?;
        }
    }
    Ok(())
}

fn none(what: &str) -> Failure {
    Failure::usage(format!("there is no {what} here that I know of; give its number"))
}

/// What a job needs of the app.
#[derive(Clone)]
struct Job {
    client: Client,
    screen: super::screen::Screen,
    style: crate::output::Style,
}

fn job(app: &App) -> Job {
    Job {
        client: app.client.clone(),
        screen: app.screen.clone(),
        style: app.style,
    }
}

impl Job {
    fn show(&self, lines: impl IntoIterator<Item = impl Show>, nothing: &str) {
        let mut any = false;
        for line in lines {
            any = true;
            self.screen.line(line.text(self.style));
        }
        if !any {
            self.screen.line(self.style.dim(&format!("-- {nothing}")));
        }
    }
}

fn room(app: &App) -> Result<(ConversationRef, String), Failure> {
    let room = app.rooms.current.as_ref();
    room.map(|room| (room.reference.clone(), room.label.clone()))
        .ok_or_else(|| Failure::usage("you are nowhere; /dm USER or /group NAME goes somewhere"))
}

fn here(app: &App) -> Result<ConversationRef, Failure> {
    Ok(room(app)?.0)
}

fn known_here(app: &App) -> Result<Arc<ConversationInfo>, Failure> {
    let id = app.rooms.current.as_ref().and_then(|room| room.id);
    id.and_then(|id| app.client.conversation(id))
        .ok_or_else(|| Failure::usage("nothing was said here yet"))
}

/// The user has read everything up to there.
pub(super) async fn mark_read(client: Client, conversation: ConversationId, seq: Seq) -> Result<Told, Failure> {
    if seq > Seq::ZERO {
        client.execute(Command::MarkRead { conversation, seq }).await?;
    }
    Ok(Told::Nothing)
}

fn user_label(user: &UserRef) -> String {
    let label = match user {
        UserRef::Name(name) => name.to_string(),
        UserRef::Id(id) => format!("user {id}"),
    };
    sanitize_for_terminal(&label).into_owned()
}

/// How a conversation is called, as far as its reference says.
pub(super) fn label_of(reference: &ConversationRef) -> String {
    match reference {
        ConversationRef::Direct(user) => user_label(user),
        ConversationRef::Group(name) => sanitize_for_terminal(&format!("#{name}")).into_owned(),
        ConversationRef::Id(id) => format!("conversation {id}"),
    }
}
