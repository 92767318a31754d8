//! Our words as columns. The numbers are part of the file's format: never reused.

use bytes::Bytes;
use chat_core::model::{
    Account, ClientMessageId, Contact, ContactState, Conversation, ConversationId, ConversationKind, Device, DeviceId,
    DirectPolicy, Event, EventId, EventKind, GroupProfile, JoinPolicy, Member, MemberState, Role, Seq, SessionEpoch,
    Timestamp, UserId,
};
use rusqlite::Row;
use rusqlite::types::FromSql;

/// An integer as SQLite holds it. None of ours comes near the limit, but what clients ask for may.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A type that is stored as a number.
pub(crate) trait Code: Sized + Copy + 'static {
    /// Each with its number.
    const CODES: &'static [(Self, u8)];

    fn same(self, other: Self) -> bool;

    fn code(self) -> u8 {
        let found = Self::CODES.iter().find(|(value, _)| value.same(self));
        found.expect("every value has a code").1
    }

    fn from_code(code: i64) -> Option<Self> {
        let found = Self::CODES.iter().find(|(_, known)| i64::from(*known) == code);
        found.map(|(value, _)| *value)
    }
}

macro_rules! codes {
    ($type:ident: $($variant:ident = $code:literal),+ $(,)?) => {
        impl Code for $type {
            const CODES: &'static [(Self, u8)] = &[$(($type::$variant, $code)),+];

            fn same(self, other: Self) -> bool {
                self == other
            }
        }
    };
}

codes!(DirectPolicy: Friends = 0, Everyone = 1);
codes!(ContactState: None = 0, Requested = 1, Pending = 2, Friend = 3);
codes!(JoinPolicy: Open = 0, Approval = 1, Invite = 2);
codes!(Role: Member = 0, Admin = 1, Owner = 2);
codes!(MemberState: Active = 0, Invited = 1, Requested = 2, Left = 3, Banned = 4);

/// Reads columns one after the other.
pub(crate) struct Columns<'a> {
    row: &'a Row<'a>,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(row: &'a Row<'a>) -> Self {
        Self { row, next: 0 }
    }

    pub(crate) fn get<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }

    pub(crate) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// Whether the next column is NULL; does not move on.
    pub(crate) fn is_null(&self) -> rusqlite::Result<bool> {
        Ok(self.row.get_ref(self.next)?.data_type() == rusqlite::types::Type::Null)
    }

    pub(crate) fn unsigned(&mut self) -> rusqlite::Result<u64> {
        let value: i64 = self.get()?;
        u64::try_from(value).map_err(|_| self.out_of_range(value))
    }

    pub(crate) fn seq(&mut self) -> rusqlite::Result<Seq> {
        self.unsigned().map(Seq)
    }

    pub(crate) fn seq_or_null(&mut self) -> rusqlite::Result<Option<Seq>> {
        if self.is_null()? {
            self.skip(1);
            return Ok(None);
        }
        self.seq().map(Some)
    }

    pub(crate) fn time(&mut self) -> rusqlite::Result<Timestamp> {
        self.get().map(Timestamp)
    }

    pub(crate) fn code<T: Code>(&mut self) -> rusqlite::Result<T> {
        let code: i64 = self.get()?;
        T::from_code(code).ok_or_else(|| self.out_of_range(code))
    }

    fn out_of_range(&self, value: i64) -> rusqlite::Error {
        rusqlite::Error::IntegralValueOutOfRange(self.next - 1, value)
    }
}

pub(crate) const ACCOUNT: &str = "id, name, skeleton, display_name, password_hash, direct_policy, disabled, created";

pub(crate) fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let columns = &mut Columns::of(row);
    Ok(Account {
        id: UserId(columns.unsigned()?),
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

pub(crate) fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let columns = &mut Columns::of(row);
    Ok(Device {
        user: UserId(columns.unsigned()?),
        id: DeviceId(columns.get()?),
        name: columns.get()?,
        session_epoch: SessionEpoch(columns.unsigned()?),
        session_token: columns.get()?,
        device_token: columns.get()?,
        created: columns.time()?,
        last_login: columns.time()?,
    })
}

pub(crate) const CONTACT: &str = "owner_id, peer_id, state, blocked, note, since";

pub(crate) fn contact(row: &Row<'_>) -> rusqlite::Result<Contact> {
    let columns = &mut Columns::of(row);
    Ok(Contact {
        owner: UserId(columns.unsigned()?),
        peer: UserId(columns.unsigned()?),
        state: columns.code()?,
        blocked: columns.get()?,
        note: columns.get()?,
        since: columns.time()?,
    })
}

/// Of `conversation AS c LEFT JOIN group_profile AS g`.
pub(crate) const CONVERSATION: &str = "c.id, c.kind, c.low_id, c.high_id, c.last_seq, c.message_count, \
     c.members_version, c.last_time, c.member_count, c.closed, \
     g.name, g.key, g.skeleton, g.description, g.join_policy, g.history_visible, g.unlisted";

pub(crate) fn conversation(columns: &mut Columns<'_>) -> rusqlite::Result<Conversation> {
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

const DIRECT: i64 = 1;
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

fn kind(columns: &mut Columns<'_>) -> rusqlite::Result<ConversationKind> {
    let code: i64 = columns.get()?;
    let unknown = columns.out_of_range(code);
    if code == GROUP {
        columns.skip(2);
        return Ok(ConversationKind::Group);
    }
    let (low, high) = (UserId(columns.unsigned()?), UserId(columns.unsigned()?));
    match code {
        DIRECT => Ok(ConversationKind::Direct { low, high }),
        INBOX => Ok(ConversationKind::Inbox { owner: low }),
        _ => Err(unknown),
    }
}

fn group(columns: &mut Columns<'_>) -> rusqlite::Result<Option<GroupProfile>> {
    if columns.is_null()? {
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

/// Of `member AS m`.
pub(crate) const MEMBER: &str = "m.conversation_id, m.user_id, m.state, m.role, m.first_seq, m.until_seq, \
     m.muted_until, m.delivered_seq, m.read_seq";
pub(crate) const MEMBER_COLUMNS: usize = 9;

pub(crate) fn member(columns: &mut Columns<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        conversation: ConversationId(columns.unsigned()?),
        user: UserId(columns.unsigned()?),
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

pub(crate) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let columns = &mut Columns::of(row);
    Ok(Event {
        conversation: ConversationId(columns.unsigned()?),
        seq: columns.seq()?,
        message_count: columns.unsigned()?,
        kind: event_kind(columns)?,
        target: columns.seq_or_null()?,
        edited_seq: columns.seq_or_null()?,
        recalled_seq: columns.seq_or_null()?,
        sender: UserId(columns.unsigned()?),
        time: columns.time()?,
        fingerprint: columns.get::<i64>()?.cast_unsigned(),
        id: EventId(columns.get()?),
        device: columns.get::<Option<[u8; 16]>>()?.map(DeviceId),
        client_message_id: columns.get::<Option<[u8; 16]>>()?.map(ClientMessageId),
        body: Bytes::from(columns.get::<Vec<u8>>()?),
    })
}

fn event_kind(columns: &mut Columns<'_>) -> rusqlite::Result<EventKind> {
    let code: i64 = columns.get()?;
    let kind = u8::try_from(code).ok().and_then(EventKind::from_number);
    kind.ok_or_else(|| columns.out_of_range(code))
}

/// Each of `keys` once.
pub(crate) fn distinct<K: Copy + Ord>(keys: &[K]) -> Vec<K> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What `look` finds, key by key.
pub(crate) fn found<K, T>(
    keys: Vec<K>,
    mut look: impl FnMut(K) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    keys.into_iter().filter_map(|key| look(key).transpose()).collect()
}

/// The first string that is greater than every string that begins with `prefix`, byte by byte; `None` if nothing is.
/// UTF-8 sorts as its characters do.
pub(crate) fn prefix_end(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_next_string_of_the_same_length_or_shorter() {
        assert_eq!(prefix_end("ab").as_deref(), Some("ac"));
        assert_eq!(prefix_end("\u{d7ff}").as_deref(), Some("\u{e000}")); // no surrogates between them
        assert_eq!(prefix_end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{10ffff}"), None);
        assert_eq!(prefix_end(""), None);
    }

    #[test]
    fn the_index_of_edits_names_the_kind_of_edits() {
        let sql = include_str!("../migrations/001_init.sql");
        assert!(sql.contains(&format!("WHERE kind = {};", EventKind::Edit as u8)));
    }

    #[test]
    fn numbers_too_great_for_sqlite_name_nothing() {
        assert_eq!(int(u64::MAX), i64::MAX);
    }
}
