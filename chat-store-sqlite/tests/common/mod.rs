//! A process that appends to a store until it is killed, and the check of the data that remain.
//! Shared by the tests and `examples/torture.rs`.

#![allow(dead_code)] // each test program uses a part of this file

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use chat_core::model::{
    ConversationId, ConversationKind, Event, EventId, EventKind, GroupProfile, JoinPolicy, Member, Role, Seq,
    Timestamp, UserId,
};
use chat_core::store::{ConversationStore, MessageStore, NewConversation, Store, TxError};
use chat_core::testkit::store::{NewEvent, append, new_account, transact};
use chat_store_sqlite::{Options, SqliteStore};

const WRITERS: u64 = 8;
const CONVERSATIONS: u64 = 5;

/// An event that was acknowledged as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) conversation: ConversationId,
    pub(crate) seq: Seq,
    pub(crate) id: EventId,
}

impl Ack {
    fn of(event: &Event) -> Self {
        Self {
            conversation: event.conversation,
            seq: event.seq,
            id: event.id,
        }
    }

    /// Returns the line that the appending process prints.
    fn line(&self) -> String {
        format!("ack {} {} {}\n", self.conversation, self.seq, self.id)
    }

    /// Parses a line of the appending process. Returns `None` if the line is not an
    /// acknowledgement, or is truncated.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.strip_prefix("ack ")?.split(' ');
        Some(Self {
            conversation: ConversationId(words.next()?.parse().ok()?),
            seq: Seq(words.next()?.parse().ok()?),
            id: EventId::from_str(words.next()?).ok()?,
        })
    }
}

/// Appends to the store in `directory` until the process is killed, and prints the
/// acknowledgements.
pub(crate) async fn append_forever(directory: &Path) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory, Options::default()).await.unwrap());
    let user = set_up(&*store).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for round in writer.. {
                let new_events = (0..1 + round % 5)
                    .map(|n| NewEvent::message(format!("{writer} {round} {n} 你好")))
                    .collect();
                let conversation = ConversationId(1 + round % CONVERSATIONS);
                let events = append(&*store, conversation, user, new_events).await.unwrap();
                let lines: String = events.iter().map(|event| Ack::of(event).line()).collect();
                let mut out = std::io::stdout().lock();
                out.write_all(lines.as_bytes()).unwrap();
                out.flush().unwrap();
            }
        });
    }
    writers.join_all().await;
}

/// Creates the account that sends, and the groups, unless they exist. Returns the account's id.
async fn set_up(store: &dyn Store) -> UserId {
    let work = transact(store, |tx| {
        Box::pin(async move {
            if let Some(account) = tx.account_by_name("writer").await? {
                return Ok(account.id);
            }
            let user = tx.create_account(new_account("writer")).await?.ok_or(TxError::Abort)?;
            for number in 1..=CONVERSATIONS {
                let id = tx.create_conversation(group(number)).await?.ok_or(TxError::Abort)?;
                tx.put_member(&Member::active(id, user, Role::Owner, Seq(1))).await?;
            }
            Ok(user)
        })
    });
    work.await.unwrap()
}

pub(crate) fn group(number: u64) -> NewConversation {
    let profile = GroupProfile {
        name: format!("Group {number}"),
        key: format!("group {number}"),
        skeleton: format!("group {number}"),
        description: String::new(),
        join_policy: JoinPolicy::Open,
        history_visible: true,
        unlisted: false,
    };
    NewConversation {
        kind: ConversationKind::Group,
        group: Some(profile),
        created: Timestamp(0),
    }
}

/// Checks that the store in `directory` is intact and contains every event of `acks`. Returns the
/// number of events in the store.
pub(crate) async fn verify(directory: &Path, acks: &[Ack]) -> u64 {
    let store = SqliteStore::open(directory, Options::default()).await.unwrap();
    let mut logs: BTreeMap<ConversationId, Vec<Event>> = BTreeMap::new();
    for id in (1..=CONVERSATIONS).map(ConversationId) {
        let events = store.events(id, Seq(1), Seq(u64::MAX), u32::MAX).await.unwrap();
        assert!(
            events.iter().map(|event| event.seq.0).eq(1..=events.len() as u64),
            "a gap in the log of {id}"
        );
        let row = store.conversation(id).await.unwrap();
        let last = events
            .last()
            .map_or((Seq::ZERO, 0), |event| (event.seq, event.message_count));
        assert_eq!(
            row.map_or((Seq::ZERO, 0), |row| (row.last_seq, row.message_count)),
            last,
            "the row of conversation {id} does not match its log"
        );
        assert!(
            events
                .iter()
                .all(|event| event.kind == EventKind::Message && !event.body.is_empty())
        );
        logs.insert(id, events);
    }
    for ack in acks {
        let log = &logs[&ack.conversation];
        let stored = log.get(ack.seq.0 as usize - 1).map(Ack::of);
        assert_eq!(stored, Some(*ack), "an acknowledged event is lost");
    }
    store.close().await;
    assert_eq!(integrity(directory), "ok");
    logs.values().map(|events| events.len() as u64).sum()
}

/// Returns the first line of SQLite's integrity check: `ok` if the database is intact.
pub(crate) fn integrity(directory: &Path) -> String {
    let conn = rusqlite::Connection::open(directory.join(chat_store_sqlite::DATABASE_FILE)).unwrap();
    conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}
