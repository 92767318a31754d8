//! Actions of the interactive client: what its commands do. Most actions start jobs, which run
//! concurrently, print their output, and return a [`JobResult`] to the event loop.

mod lists;
mod members;
mod mentions;
mod opening;
mod requests;
mod sending;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use chat_core::client::{Client, ClientError};
use chat_core::commands::Commands;
use chat_core::model::{ConversationId, ConversationInfo, ConversationRef, GroupName, Seq};

use crate::args::{group_ref, user_ref};
use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::missing::Referents;
use crate::outbox::{conversation_label, user_label};
use crate::output::{ME_PREFIX, Row, Show};

use super::command::Action;
use super::mentions::Mentions;
use super::state::{JobResult, State};

pub(super) use lists::MAX_INBOX_EVENTS;
pub(super) use lists::add_contacts_to_completion;
pub(super) use mentions::{WaitingText, load_members_of_recent_groups, load_remaining_members};
pub(super) use opening::enter;
pub(super) use sending::{send_now, send_to_current, send_typing};

/// Minimum number of events printed when a conversation is entered, if it has as many.
const MIN_SHOWN_EVENTS: u32 = 20;
/// Maximum number of events printed when a conversation is entered, even if more are unread.
const MAX_SHOWN_EVENTS: u32 = 200;

/// Performs an action or starts its jobs. Prints the error if that fails.
pub(super) fn perform(state: &mut State, action: Action) {
    if let Err(failure) = start(state, action) {
        state.show_error(&failure.text);
    }
}

fn start(state: &mut State, action: Action) -> Result<(), Failure> {
    match action {
        Action::Help | Action::Quit | Action::Passwd => Ok(()), // the event loop handles these
        Action::List => lists::conversations(state),
        Action::Who => lists::contacts(state, true),
        Action::Friends => lists::contacts(state, false),
        Action::Devices => lists::devices(state),
        Action::Inbox => lists::inbox(state),
        Action::Search(text) => lists::search(state, text),
        Action::Members => lists::members(state),
        Action::Dm(user, None) => open_direct(state, &user),
        Action::Dm(user, Some(text)) => send_direct(state, &user, text),
        Action::Open(name) => open_group(state, &name),
        Action::Join(name) => opening::join(state, &name),
        Action::Create(name) => opening::create(state, &name),
        Action::Leave(name) => requests::leave(state, name.as_deref()),
        Action::Invite(user) => members::invite(state, &user),
        Action::Kick(user) => members::kick(state, &user, false),
        Action::Ban(user) => members::kick(state, &user, true),
        Action::Unban(user) => members::unban(state, &user),
        Action::Mute(user, duration_ms) => members::mute(state, &user, duration_ms),
        Action::Approve(user) => members::answer_join(state, &user, true),
        Action::Reject(user) => members::answer_join(state, &user, false),
        Action::Role(user, role) => members::set_role(state, &user, role),
        Action::Transfer(user) => members::transfer(state, &user),
        Action::Topic(text) => members::topic(state, text),
        Action::Rename(name) => members::rename(state, &name),
        Action::Name(name) => requests::set_display_name(state, &name),
        Action::Add(user, note) => requests::add_friend(state, &user, note),
        Action::Accept(user) => requests::accept_friend(state, &user),
        Action::Decline(user) => requests::decline_friend(state, &user),
        Action::Remove(user) => requests::remove_friend(state, &user),
        Action::Block(user) => requests::block(state, &user),
        Action::Unblock(user) => requests::unblock(state, &user),
        Action::History(count) => show_history(state, count),
        Action::Read => read_current(state),
        Action::Reply(target, text) => {
            send_to_current(state, text, Some(target));
            Ok(())
        }
        Action::Me(text) => {
            send_to_current(state, format!("{ME_PREFIX}{text}"), None);
            Ok(())
        }
        Action::Edit(target, text) => sending::edit(state, target, text),
        Action::Recall(target) => sending::recall(state, target),
        Action::React(target, emoji) => sending::react(state, target, &emoji),
    }
}

fn open_direct(state: &mut State, user: &str) -> Result<(), Failure> {
    let user = user_ref(user)?;
    let label = user_label(&state.client, &user);
    opening::open(state, ConversationRef::Direct(user), label);
    Ok(())
}

fn open_group(state: &mut State, name: &str) -> Result<(), Failure> {
    let group = match group_ref(name) {
        Ok(by_id @ ConversationRef::Id(_)) => by_id,
        _ => ConversationRef::Group(GroupName::parse_any(name.trim_start_matches('#')).map_err(Failure::usage)?),
    };
    let label = match &group {
        ConversationRef::Group(name) => format!("#{name}"),
        _ => conversation_label(&state.client, &group),
    };
    opening::open(state, group, label);
    Ok(())
}

fn send_direct(state: &mut State, user: &str, text: String) -> Result<(), Failure> {
    let user = user_ref(user)?;
    let label = user_label(&state.client, &user);
    let reference = ConversationRef::Direct(user);
    let text = sending::Text::new(text, None, Mentions::default());
    sending::send_text(state, (reference, label), text, sending::DIRECT_NOTICE_DELAY);
    Ok(())
}

fn show_history(state: &mut State, count: u32) -> Result<(), Failure> {
    let (reference, label) = current(state)?;
    state.spawn(opening::show(JobContext::of(state), reference, label, Some(count)));
    Ok(())
}

fn read_current(state: &mut State) -> Result<(), Failure> {
    let info = current_info(state)?;
    state.spawn(mark_read((*state.client).clone(), info.id, info.last_seq));
    Ok(())
}

/// Parts of the state that a job uses.
#[derive(Clone)]
struct JobContext {
    client: CommandClient,
    screen: super::screen::Screen,
    style: crate::output::Style,
    /// `true` if typed messages appear as lines of their conversation once they are stored.
    prints_own_messages: bool,
    /// True if lists begin with the names of their columns.
    has_headings: bool,
}

impl JobContext {
    fn of(state: &State) -> Self {
        Self {
            client: state.client.clone(),
            screen: state.screen.clone(),
            style: state.style,
            prints_own_messages: state.has_line_editor(),
            has_headings: state.script.is_none() && io::stdout().is_terminal(),
        }
    }

    /// Prints a list, on a terminal with the names of its columns, or `empty_text` if it is empty.
    fn print_list<L: Row>(&self, rows: impl IntoIterator<Item = L>, empty_text: &str) {
        let mut rows = rows.into_iter().peekable();
        if self.has_headings && rows.peek().is_some() {
            self.screen.line(self.style.dim(&L::heading()));
        }
        self.print_lines(rows, empty_text);
    }

    /// Prints `lines`, or `empty_text` if there are none.
    fn print_lines(&self, lines: impl IntoIterator<Item = impl Show>, empty_text: &str) {
        let mut is_empty = true;
        for line in lines {
            is_empty = false;
            self.screen.line(line.text(self.style));
        }
        if is_empty {
            self.screen.line(self.style.dim(&format!("-- {empty_text}")));
        }
    }
}

/// Returns the current conversation and its label, or an error if no conversation is open.
fn current(state: &State) -> Result<(ConversationRef, String), Failure> {
    let current = state.conversations.current.as_ref();
    current
        .map(|current| (current.reference.clone(), current.label.clone()))
        .ok_or_else(|| Failure::usage("no conversation is open; /dm USER or /group NAME opens one"))
}

/// Returns the client's information about the current conversation, or an error if no conversation
/// is open or the client has no information yet, for instance because the first message will create
/// the conversation.
fn current_info(state: &State) -> Result<Arc<ConversationInfo>, Failure> {
    current(state)?;
    let id = state.conversations.current.as_ref().and_then(|current| current.id);
    id.and_then(|id| state.client.known_conversation(id))
        .ok_or_else(|| Failure::usage("no messages of this conversation are known yet"))
}

/// Marks a conversation as read up to `seq`.
pub(super) async fn mark_read(client: Client, conversation: ConversationId, seq: Seq) -> Result<JobResult, Failure> {
    if seq > Seq::ZERO {
        match client.mark_read(conversation, seq).await {
            // The server was restored from a backup, which may lack the printed events. Nothing is
            // left to mark.
            Ok(()) | Err(ClientError::StoreReplaced) => {}
            Err(error) => {
                let referents = Referents::conversation(&ConversationRef::Id(conversation));
                return Err(referents.explain(&client, error).await);
            }
        }
    }
    Ok(JobResult::Done)
}
