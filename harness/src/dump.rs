//! What the logs say in the end.

use std::io;

use chat_core::codec::body;
use chat_core::model::{
    Command, ConversationId, ConversationRef, Event, EventBody, EventKind, Outcome, Page, PageFrom, Seq,
};
use chat_core::testkit::Peer;

use crate::Cluster;
use crate::history::{Digest, EventRecord, Place, What, Writer};

/// A cluster has one history in a test.
pub(crate) const EPOCH: &str = "1";

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An event as a history has it.
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
        place: Place {
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

/// Notes the logs of these conversations as each node tells them to this member, and every log as the database has it.
///
/// # Errors
/// Somebody does not answer.
pub async fn dump(cluster: &Cluster, reader: &str, groups: &[u64], history: &Writer) -> io::Result<()> {
    for (number, node) in cluster.nodes.iter().enumerate() {
        let source = format!("node {}", number + 1);
        let mut peer = Peer::connect(node.address(), node.fingerprint()).await?;
        peer.login(reader).await?;
        for group in groups {
            dump_log(&mut peer, ConversationId(*group), &source, history).await?;
        }
    }
    dump_database(cluster, history)
}

async fn dump_log(peer: &mut Peer, conversation: ConversationId, source: &str, history: &Writer) -> io::Result<()> {
    let mut after = Seq::ZERO;
    loop {
        let read = Command::ReadHistory {
            conversation: ConversationRef::Id(conversation),
            page: Page {
                from: PageFrom::After(after),
                max_events: 500,
                max_bytes: 200_000,
            },
        };
        let Outcome::History(page) = peer.run(read).await? else {
            return Err(io::Error::other("no history"));
        };
        for told in &page.events {
            after = told.event.seq;
            let decoded = body::decode(told.event.kind, &told.event.body).map_err(io::Error::other)?;
            history.note(What::Logged {
                source: source.to_owned(),
                epoch: EPOCH.to_owned(),
                event: record(&told.event, &decoded),
            })?;
        }
        if !page.more {
            break;
        }
    }
    history.note(What::Head {
        source: source.to_owned(),
        last: Place {
            conversation: conversation.0,
            seq: after.0,
        },
    })
}

fn dump_database(cluster: &Cluster, history: &Writer) -> io::Result<()> {
    let source = || "database".to_owned();
    let events = cluster.database.sql(
        "SELECT conversation_id, seq, HEX(id), sender_id, time, kind, IFNULL(HEX(client_message_id), ''), HEX(body)
         FROM chat.event ORDER BY conversation_id, seq",
    )?;
    for line in events.lines() {
        let event = read_event(line).ok_or_else(|| io::Error::other(format!("an unreadable event: {line}")))?;
        let event = EventRecord { ..event };
        history.note(What::Logged {
            source: source(),
            epoch: EPOCH.to_owned(),
            event,
        })?;
    }
    let heads = cluster
        .database
        .sql("SELECT id, last_seq FROM chat.conversation WHERE last_seq > 0")?;
    for line in heads.lines() {
        let [conversation, seq] = numbers(line)?;
        let last = Place { conversation, seq };
        history.note(What::Head { source: source(), last })?;
    }
    let members = cluster
        .database
        .sql("SELECT user_id, conversation_id, first_seq, IFNULL(until_seq, 0) FROM chat.place WHERE first_seq > 0")?;
    for line in members.lines() {
        let [user, conversation, seq, until] = numbers(line)?;
        history.note(What::Member {
            user,
            first: Place { conversation, seq },
            until: (until > 0).then_some(until),
        })?;
    }
    Ok(())
}

fn numbers<const N: usize>(line: &str) -> io::Result<[u64; N]> {
    let numbers: Result<Vec<u64>, _> = line.split('\t').map(str::parse).collect();
    let numbers = numbers.map_err(io::Error::other)?;
    numbers
        .try_into()
        .map_err(|_| io::Error::other(format!("not {N} numbers: {line}")))
}

fn read_event(line: &str) -> Option<EventRecord> {
    let mut columns = line.split('\t');
    let mut next = || columns.next();
    let (conversation, seq) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let event = next()?.to_lowercase();
    let sender: u64 = next()?.parse().ok()?;
    let time = next()?.parse().ok()?;
    let kind = EventKind::from_number(next()?.parse().ok()?)?;
    let message = next()?.to_lowercase();
    let body = unhex(next()?)?;
    let decoded = body::decode(kind, &body.into()).ok()?;
    let fake = Event {
        conversation: ConversationId(conversation),
        seq: Seq(seq),
        id: chat_core::model::EventId([0; 16]),
        sender: chat_core::model::UserId(sender),
        device: None,
        client_message_id: None,
        fingerprint: 0,
        time: chat_core::model::Timestamp(time),
        kind,
        target: None,
        message_count: 0,
        edited_seq: None,
        recalled_seq: None,
        body: Default::default(),
    };
    let known = record(&fake, &decoded);
    Some(EventRecord {
        event,
        message: (kind == EventKind::Message && !message.is_empty()).then_some(message),
        ..known
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(byte).collect()
}
