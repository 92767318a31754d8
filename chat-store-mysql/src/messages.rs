//! Events in the logs of conversations.

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::model::{ClientMessageId, ConversationId, Event, EventKind, Member, Page, Seq, UserId};
use chat_core::store::sql_support::{
    self as sql, ColumnReader, EVENT_COLUMN_COUNT, EVENT_COLUMNS, LogRange, PageBudget, distinct, int, unknown_event,
};
use chat_core::store::{EventPage, MessageStore, MessageTx, SentEvent, StoreError};
use mysql_async::prelude::Queryable;
use mysql_async::{IsolationLevel, Row, TxOpts, Value};

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, hex, insert_size, integers, joined, placeholders};
use crate::conversations::member_sql;
use crate::error::store_error;
use crate::rows::{self, Columns, event_values};
use crate::tx::MysqlTx;

fn find_sent_sql(ids: &[(UserId, ClientMessageId)]) -> String {
    let key = |(sender, id): &(UserId, ClientMessageId)| {
        format!("(sender_id = {} AND client_message_id = {})", int(sender.0), hex(&id.0))
    };
    let keys = joined(ids.iter().map(key), " OR ");
    format!("SELECT {EVENT_COLUMNS} FROM event WHERE {keys}")
}

fn sent_event(columns: &mut Columns) -> Result<SentEvent, StoreError> {
    let event = sql::event(columns)?;
    let Some(client_message_id) = event.client_message_id else {
        return Err(StoreError::Corrupt(
            "an event found by its client message id has no such id".to_owned(),
        ));
    };
    Ok(SentEvent {
        sender: event.sender,
        client_message_id,
        event,
    })
}

fn events_at_sql(conversation: ConversationId, seqs: &[Seq]) -> String {
    let seqs = integers(seqs.iter().map(|seq| int(seq.0)));
    let id = int(conversation.0);
    format!("SELECT {EVENT_COLUMNS} FROM event WHERE conversation_id = {id} AND seq IN ({seqs})")
}

/// Reads the events of `range` up to its maximum number, whatever their size, in ascending order.
async fn events_in(conn: &mut impl Queryable, range: &LogRange) -> Result<Vec<Event>, StoreError> {
    let order = if range.is_backwards { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM event WHERE conversation_id = ? AND seq BETWEEN ? AND ?
         ORDER BY seq {order} LIMIT ?"
    );
    let bounds = (
        int(range.conversation.0),
        int(range.first.0),
        int(range.last.0),
        range.max_events,
    );
    let rows: Vec<Row> = conn.exec(sql.as_str(), bounds).await.map_err(store_error)?;
    Ok(ascending(rows::all(rows, sql::event)?, range))
}

/// Position and size of an event.
struct Measured {
    seq: Seq,
    /// Size of the body, plus that of the body of `edit`.
    bytes: u64,
    /// Position of the latest edit, if the reader may see it and the event is not recalled.
    edit: Option<Seq>,
}

/// Number of events whose sizes the first statement of a page reads.
const FIRST_MEASURED: u32 = 8;
/// Factor by which the number of these events grows with each further statement of the page.
const MEASURE_GROWTH: u32 = 4;

/// Returns the positions and sizes of those events of `range`, in its direction, that fit its
/// limits. The bodies do not leave the database. To know the size of a long body, though, the
/// database reads the body as a whole, so the events are measured in parts, until the page is full.
async fn fitting(conn: &mut impl Queryable, reader: &Member, range: &LogRange) -> Result<Vec<Measured>, StoreError> {
    let mut budget = PageBudget::new(range.max_bytes);
    let mut fitting: Vec<Measured> = Vec::new();
    let mut rest = *range;
    let mut part_len = FIRST_MEASURED;
    while rest.max_events > 0 && rest.first <= rest.last {
        let mut part = rest;
        part.max_events = part_len.min(rest.max_events);
        let measured = measure(conn, reader, &part).await?;
        let is_end = measured.len() < part.max_events as usize;
        for event in measured {
            if !budget.take(event.bytes) {
                return Ok(fitting);
            }
            match range.is_backwards {
                true => rest.last = Seq(event.seq.0.saturating_sub(1)),
                false => rest.first = event.seq.next(),
            }
            fitting.push(event);
        }
        if is_end {
            break;
        }
        rest.max_events -= part.max_events;
        part_len = part_len.saturating_mul(MEASURE_GROWTH);
    }
    Ok(fitting)
}

/// Returns the positions and sizes of the events of `range`, in its direction, up to its maximum
/// number, whatever their size.
async fn measure(conn: &mut impl Queryable, reader: &Member, range: &LogRange) -> Result<Vec<Measured>, StoreError> {
    let order = if range.is_backwards { "DESC" } else { "ASC" };
    // An edit that the reader may not see, or of a recalled message, is not joined.
    let sql = format!(
        "SELECT m.seq, LENGTH(m.body) + IFNULL(LENGTH(e.body), 0), e.seq FROM event AS m
         LEFT JOIN event AS e ON e.conversation_id = m.conversation_id
              AND e.seq = CASE WHEN m.recalled_seq IS NULL AND m.edited_seq BETWEEN ? AND ? THEN m.edited_seq END
         WHERE m.conversation_id = ? AND m.seq BETWEEN ? AND ? ORDER BY m.seq {order} LIMIT ?"
    );
    let bounds = (
        int(reader.first_seq.0),
        int(reader.until_seq.map_or(u64::MAX, |seq| seq.0)),
        int(range.conversation.0),
        int(range.first.0),
        int(range.last.0),
        range.max_events,
    );
    let rows: Vec<Row> = conn.exec(sql, bounds).await.map_err(store_error)?;
    rows::all(rows, |columns: &mut Columns| {
        Ok(Measured {
            seq: columns.seq()?,
            bytes: columns.unsigned()?,
            edit: columns.nullable(ColumnReader::seq)?,
        })
    })
}

/// Reads as many events of `range` as fit its limits with the edits that `reader` may see, but at
/// least one if there are any. Returns the events, in ascending order, and the edits.
async fn page_in(
    conn: &mut impl Queryable,
    reader: &Member,
    range: &LogRange,
) -> Result<(Vec<Event>, Vec<Event>), StoreError> {
    let fitting = fitting(conn, reader, range).await?;
    let seqs = fitting.iter().map(|event| event.seq);
    let (Some(first), Some(last)) = (seqs.clone().min(), seqs.max()) else {
        return Ok((Vec::new(), Vec::new()));
    };
    let events = LogRange::new(range.conversation, first, last, range.max_events);
    let events = events_in(conn, &events).await?;
    let edits: Vec<Seq> = fitting.iter().filter_map(|event| event.edit).collect();
    let mut found = Vec::with_capacity(edits.len());
    for seqs in edits.chunks(MAX_KEYS_PER_STATEMENT) {
        let rows: Vec<Row> = conn
            .query(events_at_sql(range.conversation, seqs))
            .await
            .map_err(store_error)?;
        found.extend(rows::all(rows, sql::event)?);
    }
    Ok((events, found))
}

fn ascending(mut events: Vec<Event>, range: &LogRange) -> Vec<Event> {
    if range.is_backwards {
        events.reverse();
    }
    events
}

async fn events_for(
    conn: &mut impl Queryable,
    reader: UserId,
    conversation: ConversationId,
    page: Page,
) -> Result<Option<EventPage>, StoreError> {
    let id = int(conversation.0);
    let row = conn
        .exec_first(member_sql(), (id, int(reader.0)))
        .await
        .map_err(store_error)?;
    let Some(member) = rows::one(row, sql::member)?.filter(|member| member.first_seq > Seq::ZERO) else {
        return Ok(None);
    };
    let sql = "SELECT last_seq FROM conversation WHERE id = ?";
    let row = conn.exec_first(sql, (id,)).await.map_err(store_error)?;
    let last_seq = rows::one(row, sql::seq)?.unwrap_or(Seq::ZERO);
    let range = LogRange::of_page(&member, last_seq, page);
    let (events, edits) = page_in(conn, &member, &range).await?;
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
impl MessageStore for MysqlStore {
    async fn events_for(
        &self,
        reader: UserId,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Option<EventPage>, StoreError> {
        let mut snapshot = TxOpts::default();
        snapshot
            .with_consistent_snapshot(true)
            .with_isolation_level(IsolationLevel::RepeatableRead)
            .with_readonly(true);
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut tx = conn.start_transaction(snapshot).await.map_err(store_error)?;
            let page = events_for(&mut tx, reader, conversation, page).await?;
            tx.rollback().await.map_err(store_error)?;
            Ok(page)
        };
        self.connections.with_deadline(work).await
    }

    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let range = LogRange::new(conversation, first, last, max_events);
        let work = async {
            let mut conn = self.connections.reader().await?;
            events_in(&mut *conn, &range).await
        };
        self.connections.with_deadline(work).await
    }

    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for seqs in distinct(seqs).chunks(MAX_KEYS_PER_STATEMENT) {
                let rows = conn
                    .query(events_at_sql(conversation, seqs))
                    .await
                    .map_err(store_error)?;
                found.extend(rows::all(rows, sql::event)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }

    async fn events_by_sender(
        &self,
        conversation: ConversationId,
        sender: UserId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM event WHERE conversation_id = ? AND seq BETWEEN ? AND ? AND sender_id = ?
             ORDER BY seq"
        );
        let range = (int(conversation.0), int(first.0), int(last.0), int(sender.0));
        let work = async {
            let mut conn = self.connections.reader().await?;
            rows::all(conn.exec(sql, range).await.map_err(store_error)?, sql::event)
        };
        self.connections.with_deadline(work).await
    }

    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError> {
        let ids: Vec<_> = distinct(ids).into_iter().map(|id| (sender, id)).collect();
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for ids in ids.chunks(MAX_KEYS_PER_STATEMENT) {
                let rows = conn.query(find_sent_sql(ids)).await.map_err(store_error)?;
                found.extend(rows::all(rows, sent_event)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }
}

#[async_trait]
impl MessageTx for MysqlTx<'_> {
    async fn find_sent(&mut self, ids: &[(UserId, ClientMessageId)]) -> Result<Vec<SentEvent>, StoreError> {
        let mut found = Vec::new();
        for ids in distinct(ids).chunks(MAX_KEYS_PER_STATEMENT) {
            found.extend(rows::all(self.query_unprepared(find_sent_sql(ids)).await?, sent_event)?);
        }
        Ok(found)
    }

    async fn events_at(&mut self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError> {
        let mut found = Vec::new();
        for seqs in distinct(seqs).chunks(MAX_KEYS_PER_STATEMENT) {
            found.extend(rows::all(
                self.query_unprepared(events_at_sql(conversation, seqs)).await?,
                sql::event,
            )?);
        }
        Ok(found)
    }

    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.contract.before_append(events)?;
        let mut left = events;
        while !left.is_empty() {
            let (batch, rest) = left.split_at(insert_size(left.len()));
            let sql = format!(
                "INSERT INTO event ({EVENT_COLUMNS}) VALUES {}",
                placeholders(batch.len(), EVENT_COLUMN_COUNT)
            );
            let values: Vec<Value> = batch.iter().flat_map(event_values).collect();
            self.insert_new_events(&sql, values).await?;
            left = rest;
        }
        Ok(())
    }

    async fn mark_edited(&mut self, conversation: ConversationId, target: Seq, edit: Seq) -> Result<(), StoreError> {
        let sql = "UPDATE event SET edited_seq = ? WHERE conversation_id = ? AND seq = ?";
        let key = (int(edit.0), int(conversation.0), int(target.0));
        match self.execute(sql, key).await? {
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
        let message = "UPDATE event SET recalled_seq = ?, body = ? WHERE conversation_id = ? AND seq = ?";
        if self.execute(message, (int(recall.0), &tombstone[..], id, seq)).await? == 0 {
            return Err(unknown_event(conversation, target));
        }
        let edits = "UPDATE event SET body = ? WHERE conversation_id = ? AND target = ? AND kind = ?";
        self.execute(edits, (&edit_tombstone[..], id, seq, EventKind::Edit as u8))
            .await?;
        let mentions = "DELETE FROM mention WHERE conversation_id = ? AND seq = ?";
        self.execute(mentions, (id, seq)).await?;
        let recalled = "INSERT IGNORE INTO recalled_message (conversation_id, seq)
                        SELECT conversation_id, seq FROM event WHERE conversation_id = ? AND seq = ? AND kind = ?";
        self.execute(recalled, (id, seq, EventKind::Message as u8))
            .await
            .map(drop)
    }

    async fn put_mentions(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), StoreError> {
        for users in distinct(users).chunks(MAX_KEYS_PER_STATEMENT) {
            let row = |user: &UserId| format!("({},{},{})", int(conversation.0), int(user.0), int(seq.0));
            let rows = joined(users.iter().map(row), ",");
            let sql = format!(
                "INSERT INTO mention (conversation_id, user_id, seq) VALUES {rows} ON DUPLICATE KEY UPDATE seq = VALUES(seq)"
            );
            self.query_unprepared(sql).await?;
        }
        Ok(())
    }
}
