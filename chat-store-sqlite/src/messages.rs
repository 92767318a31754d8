//! Events in the logs of conversations.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::model::{ClientMessageId, ConversationId, Event, EventKind, Member, Page, Seq, UserId};
use chat_core::store::sql_support::{EVENT_COLUMNS, LogRange, PageBudget, distinct, int, unknown_event};
use chat_core::store::{EventPage, MessageStore, MessageTx, SentEvent, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::conversations::member;
use crate::error::store_error;
use crate::rows;
use crate::tx::SqliteTx;

fn find_sent(conn: &Connection, ids: Vec<(UserId, ClientMessageId)>) -> rusqlite::Result<Vec<SentEvent>> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM event WHERE client_message_id = ?1 AND sender_id = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    rows::find_each(ids, |(sender, id)| {
        let event = statement
            .query_row(params![id.0, int(sender.0)], rows::event)
            .optional()?;
        Ok(event.map(|event| SentEvent {
            sender,
            client_message_id: id,
            event,
        }))
    })
}

fn events_at(conn: &Connection, id: ConversationId, seqs: Vec<Seq>) -> rusqlite::Result<Vec<Event>> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM event WHERE conversation_id = ?1 AND seq = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    rows::find_each(seqs, |seq| {
        statement.query_row([int(id.0), int(seq.0)], rows::event).optional()
    })
}

/// Reads the events of `range` in its direction, up to its maximum number, whatever their size.
fn events_in(conn: &Connection, range: &LogRange) -> rusqlite::Result<Vec<Event>> {
    let mut events = Vec::new();
    read_range(conn, range, |event| {
        events.push(event);
        Ok(true)
    })?;
    Ok(events)
}

/// Reads as many events of `range` as fit its limits with the edits that `reader` may see, but at
/// least one if there are any. Returns the events, in ascending order, and the edits.
fn page_in(conn: &Connection, reader: &Member, range: &LogRange) -> rusqlite::Result<(Vec<Event>, Vec<Event>)> {
    let (mut events, mut edits) = (Vec::new(), Vec::new());
    let mut budget = PageBudget::new(range.max_bytes);
    read_range(conn, range, |event| {
        let edit = match event.edit_visible_to(reader) {
            Some(seq) => events_at(conn, range.conversation, vec![seq])?.pop(),
            None => None,
        };
        let bytes = event.body.len() + edit.as_ref().map_or(0, |edit| edit.body.len());
        let fits = budget.take(bytes as u64);
        if fits {
            events.push(event);
            edits.extend(edit);
        }
        Ok(fits)
    })?;
    if range.is_backwards {
        events.reverse();
    }
    Ok((events, edits))
}

/// Reads events of `range` in its direction, up to its maximum number, and passes each to `take`
/// until that returns `false`.
fn read_range(
    conn: &Connection,
    range: &LogRange,
    mut take: impl FnMut(Event) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let order = if range.is_backwards { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM event WHERE conversation_id = ?1 AND seq BETWEEN ?2 AND ?3
         ORDER BY seq {order} LIMIT ?4"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let bounds = params![
        int(range.conversation.0),
        int(range.first.0),
        int(range.last.0),
        range.max_events
    ];
    for event in statement.query_map(bounds, rows::event)? {
        if !take(event?)? {
            break;
        }
    }
    Ok(())
}

fn events_by_sender(
    conn: &Connection,
    conversation: ConversationId,
    sender: UserId,
    first: Seq,
    last: Seq,
) -> rusqlite::Result<Vec<Event>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM event WHERE conversation_id = ?1 AND seq BETWEEN ?2 AND ?3 AND sender_id = ?4
         ORDER BY seq"
    );
    let range = [int(conversation.0), int(first.0), int(last.0), int(sender.0)];
    conn.prepare_cached(&sql)?.query_map(range, rows::event)?.collect()
}

pub(crate) fn events_for(
    conn: &Connection,
    reader: UserId,
    conversation: ConversationId,
    page: Page,
) -> rusqlite::Result<Option<EventPage>> {
    let Some(member) = member(conn, conversation, reader)?.filter(|member| member.first_seq > Seq::ZERO) else {
        return Ok(None);
    };
    let mut statement = conn.prepare_cached("SELECT last_seq FROM conversation WHERE id = ?1")?;
    let last_seq = statement.query_row([int(conversation.0)], rows::seq)?;
    let range = LogRange::of_page(&member, last_seq, page);
    let (events, edits) = page_in(conn, &member, &range)?;
    let has_more = range.continues_after(&events);
    Ok(Some(EventPage {
        events,
        edits,
        has_more,
        member,
        last_seq,
    }))
}

#[async_trait]
impl MessageStore for SqliteStore {
    async fn events_for(
        &self,
        reader: UserId,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Option<EventPage>, StoreError> {
        self.readers
            .read(move |conn| events_for(conn, reader, conversation, page))
            .await
    }

    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let range = LogRange::new(conversation, first, last, max_events);
        self.readers.read(move |conn| events_in(conn, &range)).await
    }

    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        let seqs = distinct(seqs);
        self.readers.read(move |conn| events_at(conn, conversation, seqs)).await
    }

    async fn events_by_sender(
        &self,
        conversation: ConversationId,
        sender: UserId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, StoreError> {
        self.readers
            .read(move |conn| events_by_sender(conn, conversation, sender, first, last))
            .await
    }

    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError> {
        let ids = distinct(ids).into_iter().map(|id| (sender, id)).collect();
        self.readers.read(move |conn| find_sent(conn, ids)).await
    }
}

#[async_trait]
impl MessageTx for SqliteTx<'_> {
    async fn find_sent(&mut self, ids: &[(UserId, ClientMessageId)]) -> Result<Vec<SentEvent>, StoreError> {
        self.query(|conn| find_sent(conn, distinct(ids)))
    }

    async fn events_at(&mut self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        self.query(|conn| events_at(conn, conversation, distinct(seqs)))
    }

    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.contract.before_append(events)?;
        if self.query(|conn| any_sent(conn, events))? {
            return Err(StoreError::AlreadySent);
        }
        self.query_mapping_errors(|conn| insert_events(conn, events), insert_error)
    }

    async fn mark_edited(&mut self, conversation: ConversationId, target: Seq, edit: Seq) -> Result<(), StoreError> {
        let sql = "UPDATE event SET edited_seq = ?3 WHERE conversation_id = ?1 AND seq = ?2";
        match self.execute(sql, [int(conversation.0), int(target.0), int(edit.0)])? {
            0 => Err(unknown_event(conversation, target)),
            _ => Ok(()),
        }
    }

    async fn erase(
        &mut self,
        conversation: ConversationId,
        target: Seq,
        recall: Seq,
        tombstone: Bytes,
        edit_tombstone: Bytes,
    ) -> Result<(), StoreError> {
        let (id, seq) = (int(conversation.0), int(target.0));
        let message = "UPDATE event SET recalled_seq = ?3, body = ?4 WHERE conversation_id = ?1 AND seq = ?2";
        if self.execute(message, params![id, seq, int(recall.0), &tombstone[..]])? == 0 {
            return Err(unknown_event(conversation, target));
        }
        // 17 is `EventKind::Edit`. As a literal, it lets SQLite use the partial index event_target.
        let edits = "UPDATE event SET body = ?3 WHERE conversation_id = ?1 AND target = ?2 AND kind = 17";
        self.execute(edits, params![id, seq, &edit_tombstone[..]])?;
        self.execute("DELETE FROM mention WHERE conversation_id = ?1 AND seq = ?2", [id, seq])?;
        let recalled = "INSERT INTO recalled_message (conversation_id, seq)
                        SELECT conversation_id, seq FROM event WHERE conversation_id = ?1 AND seq = ?2 AND kind = ?3
                        ON CONFLICT DO NOTHING";
        self.execute(recalled, params![id, seq, EventKind::Message as u8])?;
        self.has_erased_text = true;
        Ok(())
    }

    async fn put_mentions(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        for user in users {
            self.execute(
                "INSERT INTO mention (conversation_id, user_id, seq) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                [int(conversation.0), int(user.0), int(seq.0)],
            )?;
        }
        Ok(())
    }
}

fn insert_events(conn: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO event ({EVENT_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    for event in events {
        let seq = |seq: Option<Seq>| seq.map(|seq| int(seq.0));
        statement.execute(params![
            int(event.conversation.0),
            int(event.seq.0),
            int(event.message_count),
            event.kind as u8,
            seq(event.target),
            seq(event.edited_seq),
            seq(event.recalled_seq),
            int(event.sender.0),
            event.time.0,
            event.fingerprint.cast_signed(),
            event.id.0,
            event.device.map(|id| id.0),
            event.client_message_id.map(|id| id.0),
            &event.body[..]
        ])?;
    }
    Ok(())
}

/// Returns whether an event with the sender and the client message id of one of `events` is stored
/// already. Called before `events` are written, so that the writer need not roll back the other
/// units of work that share the commit.
fn any_sent(conn: &Connection, events: &[Event]) -> rusqlite::Result<bool> {
    let mut statement = conn.prepare_cached("SELECT 1 FROM event WHERE client_message_id = ?1 AND sender_id = ?2")?;
    for event in events {
        if let Some(id) = event.client_message_id
            && statement.exists(params![id.0, int(event.sender.0)])?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Maps the error of a failed insert: two of the inserted events may have the same sender and
/// client message id. Only the text of the error names the columns of the violated index.
fn insert_error(error: rusqlite::Error) -> StoreError {
    match &error {
        rusqlite::Error::SqliteFailure(code, Some(text))
            if code.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE && text.contains("client_message_id") =>
        {
            StoreError::AlreadySent
        }
        _ => store_error(error),
    }
}
