//! Our words as columns. The numbers are part of the schema: never reused.

use bytes::Bytes;
use chat_core::model::{
    Account, ClientMessageId, Contact, ContactState, Conversation, ConversationId, ConversationKind, Device, DeviceId,
    DirectPolicy, Event, EventId, EventKind, GroupProfile, JoinPolicy, Member, MemberState, Role, Seq, SessionEpoch,
    Timestamp, UserId,
};
use chat_core::store::StoreError;
use mysql_async::prelude::FromValue;
use mysql_async::{Row, Value};

/// An integer as a column holds it. None of ours comes near the limit, but what clients ask for may.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A type that is stored as a number.
pub(crate) trait Code: Sized + Copy + PartialEq + 'static {
    /// Each with its number.
    const CODES: &'static [(Self, i64)];

    fn code(self) -> i64 {
        let found = Self::CODES.iter().find(|(value, _)| *value == self);
        found.expect("every value has a code").1
    }

    fn from_code(code: i64) -> Option<Self> {
        let found = Self::CODES.iter().find(|(_, known)| *known == code);
        found.map(|(value, _)| *value)
    }
}

macro_rules! codes {
    ($type:ident: $($variant:ident = $code:literal),+) => {
        impl Code for $type {
            const CODES: &'static [(Self, i64)] = &[$(($type::$variant, $code)),+];
        }
    };
}

codes!(DirectPolicy: Friends = 0, Everyone = 1);
codes!(ContactState: None = 0, Requested = 1, Pending = 2, Friend = 3);
codes!(JoinPolicy: Open = 0, Approval = 1, Invite = 2);
codes!(Role: Member = 0, Admin = 1, Owner = 2);
codes!(MemberState: Active = 0, Invited = 1, Requested = 2, Left = 3, Banned = 4);

/// Reads a row's columns one after the other.
#[derive(Debug)]
pub(crate) struct Columns {
    row: Row,
    next: usize,
}

impl Columns {
    pub(crate) const fn of(row: Row) -> Self {
        Self { row, next: 0 }
    }

    pub(crate) fn get<T: FromValue>(&mut self) -> Result<T, StoreError> {
        let value = self.row.take_opt(self.next);
        self.next += 1;
        match value {
            Some(Ok(value)) => Ok(value),
            // The value itself is not repeated: it may be somebody's text.
            Some(Err(_)) => Err(self.unexpected("of an unexpected type")),
            None => Err(self.unexpected("missing")),
        }
    }

    pub(crate) const fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// Whether the next column is NULL; does not move on.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.row.as_ref(self.next), Some(Value::NULL))
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, StoreError> {
        let value: i64 = self.get()?;
        u64::try_from(value).map_err(|_| self.unexpected("out of range"))
    }

    pub(crate) fn seq(&mut self) -> Result<Seq, StoreError> {
        self.unsigned().map(Seq)
    }

    pub(crate) fn user(&mut self) -> Result<UserId, StoreError> {
        self.unsigned().map(UserId)
    }

    pub(crate) fn seq_or_null(&mut self) -> Result<Option<Seq>, StoreError> {
        if self.is_null() {
            self.skip(1);
            return Ok(None);
        }
        self.seq().map(Some)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.get().map(Timestamp)
    }

    pub(crate) fn code<T: Code>(&mut self) -> Result<T, StoreError> {
        let code = self.get()?;
        T::from_code(code).ok_or_else(|| self.unexpected("out of range"))
    }

    /// Exactly so many bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let bytes: Vec<u8> = self.get()?;
        bytes.try_into().map_err(|_| self.unexpected("of another length"))
    }

    pub(crate) fn bytes_or_null<const N: usize>(&mut self) -> Result<Option<[u8; N]>, StoreError> {
        if self.is_null() {
            self.skip(1);
            return Ok(None);
        }
        self.bytes().map(Some)
    }

    fn unexpected(&self, what: &str) -> StoreError {
        let columns = self.row.columns_ref();
        let name = columns
            .get(self.next.saturating_sub(1))
            .map_or_else(Default::default, |column| column.name_str());
        StoreError::Corrupt(format!("the column {name} is {what}"))
    }
}

/// Each row, read.
pub(crate) fn all<T>(
    rows: Vec<Row>,
    read: impl Fn(&mut Columns) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(|row| read(&mut Columns::of(row))).collect()
}

/// The row, read.
pub(crate) fn one<T>(
    row: Option<Row>,
    read: impl Fn(&mut Columns) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    row.map(|row| read(&mut Columns::of(row))).transpose()
}

pub(crate) const ACCOUNT: &str = "id, name, skeleton, display_name, password_hash, direct_policy, disabled, created";

pub(crate) fn account(columns: &mut Columns) -> Result<Account, StoreError> {
    Ok(Account {
        id: columns.user()?,
        name: columns.get()?,
        skeleton: columns.get()?,
        display_name: columns.get()?,
        password_hash: columns.get()?,
        direct_policy: columns.code()?,
        disabled: columns.get()?,
        created: columns.time()?,
    })
}

pub(crate) const DEVICE: &str = "user_id, id, name, session_epoch, session_token, device_token, created, last_login";

pub(crate) fn device(columns: &mut Columns) -> Result<Device, StoreError> {
    Ok(Device {
        user: columns.user()?,
        id: DeviceId(columns.bytes()?),
        name: columns.get()?,
        session_epoch: SessionEpoch(columns.unsigned()?),
        session_token: columns.bytes_or_null()?,
        device_token: columns.bytes_or_null()?,
        created: columns.time()?,
        last_login: columns.time()?,
    })
}

pub(crate) const CONTACT: &str = "owner_id, peer_id, state, blocked, note, since";

pub(crate) fn contact(columns: &mut Columns) -> Result<Contact, StoreError> {
    Ok(Contact {
        owner: columns.user()?,
        peer: columns.user()?,
        state: columns.code()?,
        blocked: columns.get()?,
        note: columns.get()?,
        since: columns.time()?,
    })
}

/// Of `conversation AS c LEFT JOIN group_profile AS g`.
pub(crate) const CONVERSATION: &str = "c.id, c.kind, c.low_id, c.high_id, c.last_seq, c.message_count, \
     c.members_version, c.last_time, c.member_count, c.closed, \
     g.name, g.name_key, g.skeleton, g.description, g.join_policy, g.history_visible, g.unlisted";

pub(crate) fn conversation(columns: &mut Columns) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: ConversationId(columns.unsigned()?),
        kind: kind(columns)?,
        last_seq: columns.seq()?,
        message_count: columns.unsigned()?,
        members_version: columns.seq()?,
        last_time: columns.time()?,
        member_count: columns.get()?,
        closed: columns.get()?,
        group: group(columns)?,
    })
}

/// Code of direct conversations.
pub(crate) const DIRECT: i64 = 1;
const GROUP: i64 = 2;
const INBOX: i64 = 3;

/// Columns kind, `low_id` and `high_id` of a conversation.
pub(crate) fn kind_columns(kind: &ConversationKind) -> (i64, Option<i64>, Option<i64>) {
    match kind {
        ConversationKind::Direct { low, high } => (DIRECT, Some(int(low.0)), Some(int(high.0))),
        ConversationKind::Group => (GROUP, None, None),
        ConversationKind::Inbox { owner } => (INBOX, Some(int(owner.0)), Some(int(owner.0))),
    }
}

fn kind(columns: &mut Columns) -> Result<ConversationKind, StoreError> {
    let code: i64 = columns.get()?;
    let unknown = columns.unexpected("out of range");
    if code == GROUP {
        columns.skip(2);
        return Ok(ConversationKind::Group);
    }
    let (low, high) = (columns.user()?, columns.user()?);
    match code {
        DIRECT => Ok(ConversationKind::Direct { low, high }),
        INBOX => Ok(ConversationKind::Inbox { owner: low }),
        _ => Err(unknown),
    }
}

fn group(columns: &mut Columns) -> Result<Option<GroupProfile>, StoreError> {
    if columns.is_null() {
        columns.skip(7);
        return Ok(None);
    }
    Ok(Some(GroupProfile {
        name: columns.get()?,
        key: columns.get()?,
        skeleton: columns.get()?,
        description: columns.get()?,
        join_policy: columns.code()?,
        history_visible: columns.get()?,
        unlisted: columns.get()?,
    }))
}

/// Of `place AS m`.
pub(crate) const MEMBER: &str = "m.conversation_id, m.user_id, m.state, m.rank_code, m.first_seq, m.until_seq, \
     m.muted_until, m.delivered_seq, m.read_seq";
pub(crate) const MEMBER_COLUMNS: usize = 9;

pub(crate) fn member(columns: &mut Columns) -> Result<Member, StoreError> {
    Ok(Member {
        conversation: ConversationId(columns.unsigned()?),
        user: columns.user()?,
        state: columns.code()?,
        role: columns.code()?,
        first_seq: columns.seq()?,
        until_seq: columns.seq_or_null()?,
        muted_until: columns.time()?,
        delivered_seq: columns.seq()?,
        read_seq: columns.seq()?,
    })
}

pub(crate) const EVENT: &str = "conversation_id, seq, message_count, kind, target, edited_seq, recalled_seq, \
     sender_id, time, fingerprint, id, device_id, client_message_id, body";
pub(crate) const EVENT_COLUMNS: usize = 14;

pub(crate) fn event(columns: &mut Columns) -> Result<Event, StoreError> {
    Ok(Event {
        conversation: ConversationId(columns.unsigned()?),
        seq: columns.seq()?,
        message_count: columns.unsigned()?,
        kind: event_kind(columns)?,
        target: columns.seq_or_null()?,
        edited_seq: columns.seq_or_null()?,
        recalled_seq: columns.seq_or_null()?,
        sender: columns.user()?,
        time: columns.time()?,
        fingerprint: columns.get::<i64>()?.cast_unsigned(),
        id: EventId(columns.bytes()?),
        device: columns.bytes_or_null()?.map(DeviceId),
        client_message_id: columns.bytes_or_null()?.map(ClientMessageId),
        body: Bytes::from(columns.get::<Vec<u8>>()?),
    })
}

fn event_kind(columns: &mut Columns) -> Result<EventKind, StoreError> {
    let code: u8 = columns.get()?;
    EventKind::from_number(code).ok_or_else(|| columns.unexpected("out of range"))
}

/// An event as a row of values, in the order of [`EVENT`].
pub(crate) fn event_values(event: &Event) -> [Value; EVENT_COLUMNS] {
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

/// Each of `keys` once, in ascending order.
pub(crate) fn distinct<K: Copy + Ord>(keys: &[K]) -> Vec<K> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The first string that is greater than every string that begins with `prefix`, byte by byte; `None` if nothing is.
pub(crate) fn prefix_end(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    // No byte of UTF-8 is 0xff, so the last one can always be made greater.
    let last = end.last_mut()?;
    *last += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_beyond_whatever_begins_so() {
        for prefix in ["a", "\u{10ffff}", "é", "𠮷"] {
            let end = prefix_end(prefix).unwrap();
            assert!(end.as_slice() > prefix.as_bytes() && end.as_slice() > format!("{prefix}\u{10ffff}").as_bytes());
        }
        assert_eq!(prefix_end(""), None);
    }

    #[test]
    fn numbers_too_great_for_a_column_name_nothing() {
        assert_eq!(int(u64::MAX), i64::MAX);
    }
}
