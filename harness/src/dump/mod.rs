//! Reads the final logs, which are complete once the load has ended, from the nodes and from the
//! database.

mod database;
mod nodes;

use std::io;

use chat_core::codec::{Answer, RequestKind};
use chat_core::model::{
    Appended, Command, ConversationInfo, ConversationQuery, Event, EventBody, EventKind, Outcome, StoreEpoch,
};
use chat_core::testkit::Peer;

pub use database::{Database, DatabaseUrlError};
pub(crate) use nodes::{Source, dump_readable};
pub use nodes::{dump, dump_as};

use crate::history::{Digest, EventRecord, LogPosition, Observation, Writer};

/// Returns `bytes` as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a store epoch as histories write it.
pub(crate) fn epoch(epoch: StoreEpoch) -> String {
    hex(&epoch.0)
}

/// Returns the observation of an acknowledgement.
pub(crate) fn acked(run: u64, message: String, appended: &Appended) -> Observation {
    Observation::Acked {
        run,
        message,
        event: hex(&appended.event_id.0),
        position: LogPosition {
            conversation: appended.conversation.0,
            seq: appended.seq.0,
        },
    }
}

/// Returns the record of an event, whose decoded body is `decoded`.
pub(crate) fn record(event: &Event, decoded: &EventBody) -> EventRecord {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    match decoded {
        EventBody::GroupCreated { .. } => joined.push(event.sender.0),
        EventBody::MemberJoined { user, .. } => joined.push(user.0),
        EventBody::MemberLeft { user } | EventBody::MemberKicked { user, .. } => left.push(user.0),
        _ => {}
    }
    let is_message = event.kind == EventKind::Message;
    EventRecord {
        position: LogPosition {
            conversation: event.conversation.0,
            seq: event.seq.0,
        },
        event: hex(&event.id.0),
        sender: event.sender.0,
        time: event.time.0,
        message: event.client_message_id.filter(|_| is_message).map(|id| hex(&id.0)),
        digest: match decoded {
            EventBody::Message(message) => Some(Digest::of(message.text.as_bytes())),
            _ => None,
        },
        joined,
        left,
    }
}

/// Reads all conversations of the user of a session, also those that have ended.
pub(crate) async fn all_conversations(peer: &mut Peer) -> io::Result<Vec<ConversationInfo>> {
    let (mut all, mut query) = (Vec::new(), first_query());
    loop {
        let list = RequestKind::Command(Command::ListConversations(query));
        let page = match peer.ask(list).await? {
            Ok(Answer::Outcome(Outcome::Conversations(page))) => page,
            other => {
                return Err(io::Error::other(format!(
                    "the server answered ListConversations with {other:?}"
                )));
            }
        };
        all.extend(page.conversations);
        match page.next {
            Some(after) => query.after = after,
            None => return Ok(all),
        }
    }
}

/// Returns the request for the first page of all conversations, also those that have ended.
pub(crate) fn first_query() -> ConversationQuery {
    ConversationQuery {
        include_ended: true,
        ..ConversationQuery::default()
    }
}

/// Records the memberships of a user, as a server returned them. Returns the last position that the
/// user may read in each conversation.
pub(crate) fn record_memberships(
    user: u64,
    conversations: &[ConversationInfo],
    history: &Writer,
) -> io::Result<Vec<LogPosition>> {
    let mut last_positions = Vec::with_capacity(conversations.len());
    for info in conversations {
        let position = |seq| LogPosition {
            conversation: info.id.0,
            seq,
        };
        history.note(Observation::Member {
            user,
            first: position(info.first_seq.0),
            until: (!info.active).then_some(info.last_seq.0),
        })?;
        last_positions.push(position(info.last_seq.0));
    }
    Ok(last_positions)
}
