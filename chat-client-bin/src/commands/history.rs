//! The commands `history`, `inbox` and `read`.

use std::sync::Arc;

use chat_core::commands::Commands;
use chat_core::model::{ConversationInfo, ConversationRef, ConversationView, EventBody, HistoryEvent, PageFrom, Seq};

use crate::args;
use crate::command_client::CommandClient;
use crate::failure::Failure;
use crate::output::{DoneLine, EventLine, Output, users_in};
use crate::session::read_history;

/// Maximum number of events that one request asks for.
const MAX_PAGE_EVENTS: u32 = 200;
/// Maximum number of events printed without `--limit` and `--after`.
const DEFAULT_LIMIT: u64 = 50;

pub(super) async fn history(client: &CommandClient, args: &args::History, output: &mut Output) -> Result<(), Failure> {
    let (conversation, rest) = args.target.split(&args.words)?;
    if let [unexpected, ..] = rest {
        return Err(Failure::usage(format!(
            "unexpected argument {unexpected:?}: history takes one conversation"
        )));
    }
    let info = fetch_conversation(client, conversation).await?;
    match (args.after, args.before) {
        (Some(after), _) => forward(client, &info, Seq(after), args.limit.unwrap_or(u64::MAX), output).await,
        (None, before) => {
            let from = before.map_or(PageFrom::Newest, |before| PageFrom::Before(Seq(before)));
            backward(client, &info, from, args.limit.unwrap_or(DEFAULT_LIMIT), output).await
        }
    }
}

/// Prints up to `limit` events after `after` in order, page by page.
async fn forward(
    client: &CommandClient,
    info: &ConversationInfo,
    mut after: Seq,
    limit: u64,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut remaining = limit;
    while remaining > 0 {
        let max_events = u32::try_from(remaining).unwrap_or(u32::MAX).min(MAX_PAGE_EVENTS);
        let history = read_history(client, info, PageFrom::After(after), max_events).await?;
        print(client, info, &history.events, output).await?;
        remaining = remaining.saturating_sub(history.events.len() as u64);
        match history.events.last() {
            Some((last, _)) if history.has_more => after = last.event.seq,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Reads up to `limit` events backward from `from`, newest page first, and then prints them in
/// order.
async fn backward(
    client: &CommandClient,
    info: &ConversationInfo,
    mut from: PageFrom,
    limit: u64,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut pages = Vec::new();
    let mut remaining = limit;
    while remaining > 0 {
        let max_events = u32::try_from(remaining).unwrap_or(u32::MAX).min(MAX_PAGE_EVENTS);
        let history = read_history(client, info, from, max_events).await?;
        remaining = remaining.saturating_sub(history.events.len() as u64);
        let first = history.events.first().map(|(first, _)| first.event.seq);
        pages.push(history.events);
        match first {
            Some(first) if history.has_more => from = PageFrom::Before(first),
            _ => break,
        }
    }
    for page in pages.iter().rev() {
        print(client, info, page, output).await?;
    }
    Ok(())
}

async fn print(
    client: &CommandClient,
    info: &ConversationInfo,
    events: &[(HistoryEvent, EventBody)],
    output: &mut Output,
) -> Result<(), Failure> {
    let users = events.iter().flat_map(|(event, body)| users_in(event, body));
    let names = client.names(users).await?;
    events
        .iter()
        .try_for_each(|(event, body)| output.print(&EventLine::new(info, event, body, &names)))
}

pub(super) async fn inbox(client: &CommandClient, limit: u64, output: &mut Output) -> Result<(), Failure> {
    let conversations = client.known_conversations();
    let Some(inbox) = conversations.iter().find(|info| info.view == ConversationView::Inbox) else {
        return Ok(()); // the protocol requires the server to list it at the login, but it did not
    };
    backward(client, inbox, PageFrom::Newest, limit, output).await
}

pub(super) async fn read(client: &CommandClient, args: &args::Read, output: &mut Output) -> Result<(), Failure> {
    let (conversation, rest) = args.target.split(&args.words)?;
    if let [unexpected, ..] = rest {
        return Err(Failure::usage(format!(
            "unexpected argument {unexpected:?}: read takes one conversation"
        )));
    }
    let info = fetch_conversation(client, conversation).await?;
    let seq = args.up_to.map_or(info.last_seq, Seq);
    client.mark_read(info.id, seq).await?;
    output.print(&DoneLine::new("read", format!("read up to #{seq}")))
}

/// Asks the server for a conversation.
pub(super) async fn fetch_conversation(
    client: &CommandClient,
    conversation: ConversationRef,
) -> Result<Arc<ConversationInfo>, Failure> {
    Ok(Arc::new(client.conversation(conversation).await?))
}
