//! Rows of MySQL, read by the decoders that SQL stores share.

use chat_core::model::{Event, Seq};
use chat_core::store::StoreError;
use chat_core::store::sql_support::{ColumnReader, EVENT_COLUMN_COUNT, int};
use mysql_async::prelude::FromValue;
use mysql_async::{Row, Value};

/// Reads the columns of one row in order.
#[derive(Debug)]
pub(crate) struct Columns {
    row: Row,
    next: usize,
}

impl Columns {
    const fn of(row: Row) -> Self {
        Self { row, next: 0 }
    }

    fn get<T: FromValue>(&mut self) -> Result<T, StoreError> {
        let value = self.row.take_opt(self.next);
        self.next += 1;
        match value {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(self.unexpected("of an unexpected type")),
            None => Err(self.unexpected("missing")),
        }
    }

    /// Returns an error that names the column read last, if the row has that column, and not its
    /// value, which may be a user's text.
    fn unexpected(&self, what: &str) -> StoreError {
        let columns = self.row.columns_ref();
        let name = columns
            .get(self.next.saturating_sub(1))
            .map_or_else(Default::default, |column| column.name_str());
        StoreError::Corrupt(format!("the column {name} is {what}"))
    }
}

impl ColumnReader for Columns {
    type Error = StoreError;

    fn integer(&mut self) -> Result<i64, StoreError> {
        self.get()
    }

    fn text(&mut self) -> Result<String, StoreError> {
        self.get()
    }

    fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        self.get()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| self.unexpected("of an unexpected length"))
    }

    fn is_null(&self) -> Result<bool, StoreError> {
        Ok(matches!(self.row.as_ref(self.next), Some(Value::NULL)))
    }

    fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    fn out_of_range(&self) -> StoreError {
        self.unexpected("out of range")
    }
}

/// Decodes every row. Fails if one cannot be decoded.
pub(crate) fn all<T>(
    rows: Vec<Row>,
    decode: impl Fn(&mut Columns) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(|row| decode(&mut Columns::of(row))).collect()
}

/// Decodes the row, if there is one.
pub(crate) fn one<T>(
    row: Option<Row>,
    decode: impl Fn(&mut Columns) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    row.map(|row| decode(&mut Columns::of(row))).transpose()
}

/// Returns the values of an event in the order of
/// [`EVENT_COLUMNS`](chat_core::store::sql_support::EVENT_COLUMNS).
pub(crate) fn event_values(event: &Event) -> [Value; EVENT_COLUMN_COUNT] {
    let seq = |seq: Option<Seq>| seq.map_or(Value::NULL, |seq| int(seq.0).into());
    let id = |id: Option<[u8; 16]>| id.map_or(Value::NULL, |id| id.as_slice().into());
    [
        int(event.conversation.0).into(),
        int(event.seq.0).into(),
        int(event.message_count).into(),
        (event.kind as u8).into(),
        seq(event.target),
        seq(event.edited_seq),
        seq(event.recalled_seq),
        int(event.sender.0).into(),
        event.time.0.into(),
        event.fingerprint.cast_signed().into(),
        event.id.0.as_slice().into(),
        id(event.device.map(|id| id.0)),
        id(event.client_message_id.map(|id| id.0)),
        event.body.as_ref().into(),
    ]
}
