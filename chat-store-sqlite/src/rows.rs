//! Decoders of the rows of SQLite. They apply the decoders that all SQL stores share.

use chat_core::model::{Account, Contact, Conversation, ConversationId, Device, Event, Member, Seq, UserId};
use chat_core::store::sql_support::{self as sql, ColumnReader};
use chat_core::store::{
    AuditRecord, FeedLease, FeedPosition, ListedGroup, LogVersion, MembershipView, NamedGroup, StoreStats,
};
use rusqlite::Row;
use rusqlite::types::{FromSql, Type};

/// Reader of the columns of one row, in order.
struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    fn of(row: &'a Row<'a>) -> Self {
        Self { row, next: 0 }
    }

    fn get<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }
}

impl ColumnReader for Columns<'_> {
    type Error = rusqlite::Error;

    fn integer(&mut self) -> rusqlite::Result<i64> {
        self.get()
    }

    fn text(&mut self) -> rusqlite::Result<String> {
        self.get()
    }

    fn bytes(&mut self) -> rusqlite::Result<Vec<u8>> {
        self.get()
    }

    fn array<const N: usize>(&mut self) -> rusqlite::Result<[u8; N]> {
        self.get()
    }

    fn is_null(&self) -> rusqlite::Result<bool> {
        Ok(self.row.get_ref(self.next)?.data_type() == Type::Null)
    }

    fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    fn out_of_range(&self) -> rusqlite::Error {
        let column = self.next.saturating_sub(1);
        rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, "the number is out of range".into())
    }
}

/// Defines functions that decode a row with the shared decoder of the same name.
macro_rules! decoders {
    ($($name:ident -> $output:ty),+ $(,)?) => {
        $(pub(crate) fn $name(row: &Row<'_>) -> rusqlite::Result<$output> {
            sql::$name(&mut Columns::of(row))
        })+
    };
}

decoders! {
    account -> Account,
    audit_record -> AuditRecord,
    contact -> Contact,
    conversation -> Conversation,
    conversation_id -> ConversationId,
    device -> Device,
    event -> Event,
    feed_lease -> FeedLease,
    feed_position -> FeedPosition,
    log_version -> LogVersion,
    listed_group -> ListedGroup,
    member -> Member,
    membership -> MembershipView,
    named_group -> NamedGroup,
    seq -> Seq,
    stats -> StoreStats,
    user_id -> UserId,
}

/// Calls `find` for each key until a call fails, and returns what the calls found, or the error.
pub(crate) fn find_each<K, T>(
    keys: Vec<K>,
    mut find: impl FnMut(K) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    keys.into_iter().filter_map(|key| find(key).transpose()).collect()
}
