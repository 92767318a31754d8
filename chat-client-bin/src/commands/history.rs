//! history, inbox, read.

use std::sync::Arc;

use chat_core::client::Client;
use chat_core::codec::body;
use chat_core::model::{
    Command, ConversationInfo, ConversationRef, ConversationView, EventBody, HistoryEvent, Outcome, Page, PageFrom, Seq,
};

use crate::args;
use crate::failure::{Failure, Kind};
use crate::output::{DoneLine, EventLine, Output, users_in};

use super::unexpected;

/// Events and bytes asked for at once.
const PAGE: (u32, u32) = (200, 256 * 1024);
/// Shown if nobody says how many.
const DEFAULT_LIMIT: u64 = 50;

/// A stretch of a log.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) events: Vec<(HistoryEvent, EventBody)>,
    pub(crate) more: bool,
}

pub(super) async fn history(client: &Client, args: &args::History, output: &mut Output) -> Result<(), Failure> {
    let (conversation, rest) = args.target.split(&args.words)?;
    if !rest.is_empty() {
        return Err(Failure::usage("history takes one conversation"));
    }
    let info = describe(client, conversation).await?;
    match (args.after, args.before) {
        (Some(after), _) => forward(client, &info, Seq(after), args.limit.unwrap_or(u64::MAX), output).await,
        (None, before) => {
            let from = before.map_or(PageFrom::Newest, |before| PageFrom::Before(Seq(before)));
            backward(client, &info, from, args.limit.unwrap_or(DEFAULT_LIMIT), output).await
        }
    }
}

/// Prints events as they are read.
async fn forward(
    client: &Client,
    info: &ConversationInfo,
    mut after: Seq,
    limit: u64,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut left = limit;
    while left > 0 {
        let most = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE.0);
        let history = read_history(client, info, PageFrom::After(after), most).await?;
        print(client, info, &history.events, output).await?;
        left = left.saturating_sub(history.events.len() as u64);
        match history.events.last() {
            Some((last, _)) if history.more => after = last.event.seq,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Reads page by page into the past, and prints in order.
async fn backward(
    client: &Client,
    info: &ConversationInfo,
    mut from: PageFrom,
    limit: u64,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut pages = Vec::new();
    let mut left = limit;
    while left > 0 {
        let most = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE.0);
        let history = read_history(client, info, from, most).await?;
        left = left.saturating_sub(history.events.len() as u64);
        let first = history.events.first().map(|(first, _)| first.event.seq);
        pages.push(history.events);
        match first {
            Some(first) if history.more => from = PageFrom::Before(first),
            _ => break,
        }
    }
    for page in pages.iter().rev() {
        print(client, info, page, output).await?;
    }
    Ok(())
}

/// One page of a log.
pub(crate) async fn read_history(
    client: &Client,
    info: &ConversationInfo,
    from: PageFrom,
    max_events: u32,
) -> Result<History, Failure> {
    let page = Page {
        from,
        max_events,
        max_bytes: PAGE.1,
    };
    let conversation = ConversationRef::Id(info.id);
    match client.execute(Command::ReadHistory { conversation, page }).await? {
        Outcome::History(page) => {
            let decode = |found: HistoryEvent| {
                let body = body::decode(found.event.kind, &found.event.body).unwrap_or(EventBody::Unknown);
                (found, body)
            };
            Ok(History {
                events: page.events.into_iter().map(decode).collect(),
                more: page.more,
            })
        }
        other => Err(unexpected(&other)),
    }
}

async fn print(
    client: &Client,
    info: &ConversationInfo,
    events: &[(HistoryEvent, EventBody)],
    output: &mut Output,
) -> Result<(), Failure> {
    let users = events.iter().flat_map(|(found, body)| users_in(found, body));
    let names = client.names(users).await?;
    events
        .iter()
        .try_for_each(|(found, body)| output.print(&EventLine::new(info, found, body, &names)))
}

pub(super) async fn inbox(client: &Client, limit: u32, output: &mut Output) -> Result<(), Failure> {
    let all = client.conversations();
    let Some(inbox) = all.iter().find(|info| info.view == ConversationView::Inbox) else {
        return Ok(()); // nothing ever came
    };
    backward(client, inbox, PageFrom::Newest, limit.into(), output).await
}

pub(super) async fn read(client: &Client, args: &args::Read, output: &mut Output) -> Result<(), Failure> {
    let (conversation, rest) = args.target.split(&args.words)?;
    if !rest.is_empty() {
        return Err(Failure::usage("read takes one conversation"));
    }
    let info = describe(client, conversation).await?;
    let seq = args.up_to.map_or(info.last_seq, Seq);
    client
        .execute(Command::MarkRead {
            conversation: info.id,
            seq,
        })
        .await?;
    output.print(&DoneLine::new("read", format!("read up to #{seq}")))
}

/// What the server knows of a conversation.
pub(super) async fn describe(client: &Client, conversation: ConversationRef) -> Result<Arc<ConversationInfo>, Failure> {
    match client.execute(Command::GetConversation(conversation)).await? {
        Outcome::Conversation(info) => Ok(Arc::from(info)),
        other => Err(Failure::new(Kind::Protocol, unexpected(&other).text)),
    }
}
