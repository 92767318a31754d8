//! Actions that open a conversation and print its newest events.

use std::sync::Arc;
use std::time::Duration;

use chat_core::commands::Commands;
use chat_core::commands::JoinOutcome;
use chat_core::model::{
    ConversationInfo, ConversationRef, ConversationView, EventBody, GroupName, HistoryEvent, NewGroup, Note, PageFrom,
    UserId,
};
use tokio::time::timeout;

use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::interactive::command::MAX_HISTORY;
use crate::interactive::state::{JobResult, Shown, State};
use crate::missing;
use crate::output::{self, EventLine, single_line, time_of_day, users_in};
use crate::session::read_history;

use super::{JobContext, MAX_SHOWN_EVENTS, MIN_SHOWN_EVENTS, mark_read, mentions};

/// Maximum time to wait for the server's answer to the question whether a conversation exists.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// Enters a conversation that the client knows. Otherwise starts a job that asks the server whether
/// the conversation can be entered.
pub(super) fn open(state: &mut State, reference: ConversationRef, label: String) {
    match state.client.find_conversation(&reference) {
        Some(info) => enter(state, ConversationRef::Id(info.id), reference, label),
        None => {
            let job = JobContext::of(state);
            state.open_conversation(resolve(job, reference, label));
        }
    }
}

/// Asks the server whether the conversation exists, or, for a direct conversation, whether the user
/// exists. Without an answer the conversation is entered, and its messages wait in the outbox.
async fn resolve(job: JobContext, reference: ConversationRef, label: String) -> Result<JobResult, Failure> {
    let name = reference.clone();
    let mut reference = reference;
    match timeout(LOOKUP_TIMEOUT, look_up(&job.client, &reference)).await {
        Ok(Ok(Some(found))) => reference = found,
        Ok(Ok(None)) => {
            let text = match &reference {
                ConversationRef::Group(name) => {
                    single_line(&format!("you are in no group “{name}”; /join {name} joins a group"))
                }
                _ => missing::no_conversation(&job.client, &reference),
            };
            return Err(Failure::usage(text));
        }
        Ok(Err(failure)) if failure.code.is_some() => return Err(failure),
        Ok(Err(_)) | Err(_) => {
            let text =
                format!("-- the server did not answer whether {label} exists; messages to it wait in the outbox");
            job.screen.line(job.style.dim(&text));
        }
    }
    Ok(JobResult::CanEnter { reference, name, label })
}

/// Looks up a conversation on the server. Returns its id if the conversation exists, `reference` if
/// its first message would create it, and otherwise `None`.
async fn look_up(client: &CommandClient, reference: &ConversationRef) -> Result<Option<ConversationRef>, Failure> {
    match client.conversation(reference.clone()).await {
        Err(failure) if failure.is_not_found() => {}
        Err(failure) => return Err(failure),
        Ok(info) => return Ok(Some(ConversationRef::Id(info.id))),
    }
    let ConversationRef::Direct(user) = reference else {
        return Ok(None);
    };
    let users = client.users([user.clone()]).await?;
    Ok(users.first().map(|_| reference.clone()))
}

/// Makes a conversation the current conversation, and prints its newest events. `name` is the
/// reference that the user gave.
pub(in crate::interactive) fn enter(
    state: &mut State,
    reference: ConversationRef,
    name: ConversationRef,
    label: String,
) {
    state.conversations.enter(reference.clone(), Some(name), label.clone());
    state.update_member_completion();
    state.spawn(show(JobContext::of(state), reference, label, None));
}

/// Returns a line that says how many unread messages are older than the printed events, and which
/// command prints them. Returns `None` if there are none.
fn describe_hidden(info: &ConversationInfo, printed: &[(HistoryEvent, EventBody)], me: UserId) -> Option<String> {
    let is_unread = |entry: &HistoryEvent, body: &EventBody| {
        let event = &entry.event;
        let counts = matches!(body, EventBody::Message(_)) && event.recalled_seq.is_none();
        counts && event.seq > info.read_seq && event.sender != me
    };
    let shown = printed.iter().filter(|(entry, body)| is_unread(entry, body)).count();
    let hidden = (info.unread as usize).checked_sub(shown).filter(|hidden| *hidden > 0)?;
    let since_read = info.last_seq.0.saturating_sub(info.read_seq.0);
    let how = if since_read <= u64::from(MAX_HISTORY) {
        format!("/history {since_read}")
    } else {
        format!("`chat-client history --after {}`", info.read_seq)
    };
    Some(format!(
        "-- {hidden} earlier unread messages are not shown; {how} prints them --"
    ))
}

/// Prints the newest events of a conversation: `count` events, or if that is `None`, 5 more than
/// there are unread messages, but at least 20 and at most 200. Then marks the conversation as read.
/// Without `count`, also reads the first members of a group to which the user belongs.
pub(super) async fn show(
    job: JobContext,
    reference: ConversationRef,
    label: String,
    count: Option<u32>,
) -> Result<JobResult, Failure> {
    let info = match job.client.conversation(reference).await {
        Ok(info) => Arc::new(info),
        // The first message creates a direct conversation.
        Err(failure) if failure.is_not_found() && !label.starts_with('#') => {
            job.screen.line(job.style.dim(&format!("-- {label}: no messages yet")));
            return Ok(JobResult::Done);
        }
        Err(failure) => return Err(failure),
    };
    let max_events = count.unwrap_or_else(|| info.unread.saturating_add(5).clamp(MIN_SHOWN_EVENTS, MAX_SHOWN_EVENTS));
    let history = read_history(&job.client, &info, PageFrom::Newest, max_events).await?;
    let users = history.events.iter().flat_map(|(entry, body)| users_in(entry, body));
    let names = job.client.names(users).await?;
    let me = job.client.me().map_or(UserId(0), |me| me.id);
    job.screen.line(job.style.dim(&format!("-- {label} --")));
    if let Some(text) = describe_hidden(&info, &history.events, me) {
        job.screen.line(job.style.bold(&text));
    }
    let (mut date, mut is_new_marked) = (String::new(), false);
    let (mut messages, mut reactions) = (Vec::new(), Vec::new());
    for (entry, body) in &history.events {
        let event = &entry.event;
        if info.unread > 0 && !is_new_marked && event.seq > info.read_seq && event.sender != me {
            is_new_marked = true;
            job.screen.line(job.style.bold("-- new --"));
        }
        let line = EventLine::new(&info, entry, body, &names);
        let event_date = output::date(line.time_ms());
        if date != event_date {
            job.screen.line(job.style.dim(&format!("-- {event_date}")));
            date = event_date;
        }
        if matches!(body, EventBody::Message(_)) && event.recalled_seq.is_none() {
            messages.push((event.seq, event.sender == me));
        }
        if let EventBody::Reaction { target, emoji, removed } = body {
            reactions.push((*target, emoji.to_string(), event.sender, *removed));
        }
        job.screen.line(format_args!(
            "{} {}",
            job.style.dim(&time_of_day(line.time_ms())),
            line.short(job.style)
        ));
    }
    job.screen.check()?;
    mark_read((*job.client).clone(), info.id, info.last_seq).await?;
    let is_entered = count.is_none() && info.active;
    let members = match &info.view {
        ConversationView::Group(_) if is_entered => mentions::members_page(&job.client, info.id, UserId(0)).await.ok(),
        _ => None,
    };
    Ok(JobResult::Shown(Shown {
        label,
        info,
        messages,
        reactions,
        members,
    }))
}

pub(super) fn join(state: &mut State, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse_any(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let (reference, label) = (ConversationRef::Group(name.clone()), format!("#{name}"));
    let job = JobContext::of(state);
    state.open_conversation(async move {
        match job.client.join_group(reference.clone(), Note::default()).await? {
            JoinOutcome::Member(info) if info.active => Ok(JobResult::CanEnter {
                reference: ConversationRef::Id(info.id),
                name: reference,
                label,
            }),
            _ => {
                job.screen.line(job.style.dim(&format!("-- asked to join {label}")));
                Ok(JobResult::CannotEnter(None))
            }
        }
    });
    Ok(())
}

pub(super) fn create(state: &mut State, name: &str) -> Result<(), Failure> {
    let name = GroupName::parse(name.trim_start_matches('#')).map_err(Failure::usage)?;
    let label = format!("#{name}");
    let client = state.client.clone();
    state.open_conversation(async move {
        let info = client.create_group(NewGroup::new(name.clone())).await?;
        Ok(JobResult::CanEnter {
            reference: ConversationRef::Id(info.id),
            name: ConversationRef::Group(name),
            label,
        })
    });
    Ok(())
}
