//! Column lists of the tables, and the decoders that read them.

use bytes::Bytes;

use super::codes::kind_from_columns;
use super::columns::ColumnReader;
use crate::model::{
    Account, ClientMessageId, Contact, Conversation, ConversationId, ConversationKind, Device, DeviceId, Event,
    EventId, EventKind, GroupProfile, GroupSnapshot, Member, NodeId, Seq, SessionEpoch, UserId,
};
use crate::store::{
    AuditId, AuditRecord, FeedLease, FeedPosition, FeedShard, ListedGroup, LogVersion, MembershipView, NamedGroup,
    NewAuditRecord, StoreStats,
};

/// Columns of the table `account`, as [`account`] reads them.
pub const ACCOUNT_COLUMNS: &str = "id, name, skeleton, display_name, password_hash, direct_policy, disabled, created, \
     subject, deleted";

/// Decodes a row of [`ACCOUNT_COLUMNS`].
pub fn account<C: ColumnReader>(columns: &mut C) -> Result<Account, C::Error> {
    Ok(Account {
        id: columns.user()?,
        name: columns.text()?,
        skeleton: columns.text()?,
        display_name: columns.text()?,
        password_hash: columns.nullable(C::text)?,
        direct_policy: columns.code()?,
        disabled: columns.flag()?,
        created: columns.time()?,
        subject: columns.nullable(C::text)?,
        deleted: columns.nullable(C::time)?,
    })
}

/// Columns of the table `device`, and those that the table `session_token` has for the device's
/// current session token, as [`device`] reads them. A node of an earlier release replaces the
/// session token of a device without a change of the table `session_token`. A row of that table
/// therefore counts only if its `token` is the device's current session token.
pub const DEVICE_COLUMNS: &str = "user_id, id, name, session_epoch, session_token, device_token, created, last_login, \
     session_expires, \
     (SELECT s.issued FROM session_token AS s WHERE s.user_id = device.user_id AND s.device_id = device.id \
     AND s.token = device.session_token), \
     (SELECT s.replaced FROM session_token AS s WHERE s.user_id = device.user_id AND s.device_id = device.id \
     AND s.token = device.session_token), \
     (SELECT s.sibling FROM session_token AS s WHERE s.user_id = device.user_id AND s.device_id = device.id \
     AND s.token = device.session_token)";

/// Columns of a new row of the table `device`.
pub const NEW_DEVICE_COLUMNS: &str = "user_id, id, name, session_epoch, session_token, device_token, created, \
     last_login, session_expires";

/// Decodes a row of [`DEVICE_COLUMNS`].
pub fn device<C: ColumnReader>(columns: &mut C) -> Result<Device, C::Error> {
    Ok(Device {
        user: columns.user()?,
        id: DeviceId(columns.array()?),
        name: columns.text()?,
        session_epoch: SessionEpoch(columns.unsigned()?),
        session_token: columns.nullable(C::array)?,
        device_token: columns.nullable(C::array)?,
        created: columns.time()?,
        last_login: columns.time()?,
        session_expires: columns.nullable(C::time)?,
        token_issued: columns.nullable(C::time)?,
        replaced_token: columns.nullable(C::array)?,
        sibling_token: columns.nullable(C::array)?,
    })
}

/// Columns of the table `contact`, as [`contact`] reads them.
pub const CONTACT_COLUMNS: &str = "owner_id, peer_id, state, blocked, note, since";

/// Decodes a row of [`CONTACT_COLUMNS`].
pub fn contact<C: ColumnReader>(columns: &mut C) -> Result<Contact, C::Error> {
    Ok(Contact {
        owner: columns.user()?,
        peer: columns.user()?,
        state: columns.code()?,
        blocked: columns.flag()?,
        note: columns.text()?,
        since: columns.time()?,
    })
}

/// Columns of `conversation AS c LEFT JOIN group_profile AS g`, as [`conversation`] reads them.
pub const CONVERSATION_COLUMNS: &str = "c.id, c.kind, c.low_id, c.high_id, c.last_seq, c.message_count, \
     c.members_version, c.last_time, c.member_count, c.deleted, \
     g.name, g.name_key, g.skeleton, g.description, g.join_policy, g.history_visible, g.unlisted";
/// Number of columns that [`profile`] reads.
const PROFILE_COLUMN_COUNT: usize = 7;

/// Decodes a row of [`CONVERSATION_COLUMNS`].
pub fn conversation<C: ColumnReader>(columns: &mut C) -> Result<Conversation, C::Error> {
    Ok(Conversation {
        id: conversation_id(columns)?,
        kind: kind(columns)?,
        last_seq: columns.seq()?,
        message_count: columns.unsigned()?,
        members_version: columns.seq()?,
        last_time: columns.time()?,
        member_count: columns.count()?,
        deleted: columns.flag()?,
        group: profile(columns)?,
    })
}

fn kind<C: ColumnReader>(columns: &mut C) -> Result<ConversationKind, C::Error> {
    let code = columns.integer()?;
    let (low, high) = (columns.nullable(C::user)?, columns.nullable(C::user)?);
    kind_from_columns(code, low, high).ok_or_else(|| columns.out_of_range())
}

fn profile<C: ColumnReader>(columns: &mut C) -> Result<Option<GroupProfile>, C::Error> {
    if columns.is_null()? {
        columns.skip(PROFILE_COLUMN_COUNT);
        return Ok(None);
    }
    Ok(Some(GroupProfile {
        name: columns.text()?,
        key: columns.text()?,
        skeleton: columns.text()?,
        description: columns.text()?,
        join_policy: columns.code()?,
        history_visible: columns.flag()?,
        unlisted: columns.flag()?,
    }))
}

/// Columns of `member AS m`, as [`member`] reads them.
pub const MEMBER_COLUMNS: &str = "m.conversation_id, m.user_id, m.state, m.role, m.first_seq, m.until_seq, \
     m.muted_until, m.delivered_seq, m.read_seq, m.has_sent, m.invited_by";
/// Columns of `member AS p`, the other member of a direct conversation, as [`member`] reads them.
pub const PEER_MEMBER_COLUMNS: &str = "p.conversation_id, p.user_id, p.state, p.role, p.first_seq, p.until_seq, \
     p.muted_until, p.delivered_seq, p.read_seq, p.has_sent, p.invited_by";
/// Number of columns in [`MEMBER_COLUMNS`].
pub const MEMBER_COLUMN_COUNT: usize = 11;

/// Decodes a row of [`MEMBER_COLUMNS`].
pub fn member<C: ColumnReader>(columns: &mut C) -> Result<Member, C::Error> {
    Ok(Member {
        conversation: conversation_id(columns)?,
        user: columns.user()?,
        state: columns.code()?,
        role: columns.code()?,
        first_seq: columns.seq()?,
        until_seq: columns.nullable(C::seq)?,
        muted_until: columns.time()?,
        delivered_seq: columns.seq()?,
        read_seq: columns.seq()?,
        has_sent: columns.flag()?,
        invited_by: columns.nullable(C::user)?,
    })
}

/// Decodes a row with the columns [`CONVERSATION_COLUMNS`] and [`MEMBER_COLUMNS`] (or NULLs).
pub fn named_group<C: ColumnReader>(columns: &mut C) -> Result<NamedGroup, C::Error> {
    let conversation = conversation(columns)?;
    let member = if columns.is_null()? {
        None
    } else {
        Some(member(columns)?)
    };
    Ok(NamedGroup { conversation, member })
}

/// Columns of `group_snapshot AS s`, as [`membership`] reads them.
pub const SNAPSHOT_COLUMNS: &str = "s.name, s.name_key, s.skeleton, s.description, s.join_policy, s.history_visible, \
     s.unlisted, s.member_count, s.last_time";

fn snapshot<C: ColumnReader>(columns: &mut C) -> Result<Option<GroupSnapshot>, C::Error> {
    let Some(profile) = profile(columns)? else {
        return Ok(None);
    };
    Ok(Some(GroupSnapshot {
        profile,
        member_count: columns.count()?,
        last_time: columns.time()?,
    }))
}

/// Decodes a row with the columns [`CONVERSATION_COLUMNS`], [`MEMBER_COLUMNS`],
/// [`PEER_MEMBER_COLUMNS`] (or NULLs), cursor, number of unread messages, number of unread
/// mentions, and [`SNAPSHOT_COLUMNS`] (or NULLs).
pub fn membership<C: ColumnReader>(columns: &mut C) -> Result<MembershipView, C::Error> {
    let (conversation, member_row) = (conversation(columns)?, member(columns)?);
    let peer = if columns.is_null()? {
        columns.skip(MEMBER_COLUMN_COUNT);
        None
    } else {
        Some(member(columns)?)
    };
    Ok(MembershipView {
        conversation,
        member: member_row,
        peer,
        cursor: columns.seq()?,
        unread: columns.unsigned()?,
        unread_mentions: columns.unsigned()?,
        snapshot: snapshot(columns)?,
    })
}

/// Columns of the table `event`, as [`event`] reads them.
pub const EVENT_COLUMNS: &str = "conversation_id, seq, message_count, kind, target, edited_seq, recalled_seq, \
     sender_id, time, fingerprint, id, device_id, client_message_id, body";
/// Number of columns in [`EVENT_COLUMNS`].
pub const EVENT_COLUMN_COUNT: usize = 14;

/// Decodes a row of [`EVENT_COLUMNS`].
pub fn event<C: ColumnReader>(columns: &mut C) -> Result<Event, C::Error> {
    Ok(Event {
        conversation: conversation_id(columns)?,
        seq: columns.seq()?,
        message_count: columns.unsigned()?,
        kind: event_kind(columns)?,
        target: columns.nullable(C::seq)?,
        edited_seq: columns.nullable(C::seq)?,
        recalled_seq: columns.nullable(C::seq)?,
        sender: columns.user()?,
        time: columns.time()?,
        fingerprint: columns.integer()?.cast_unsigned(),
        id: EventId(columns.array()?),
        device: columns.nullable(C::array)?.map(DeviceId),
        client_message_id: columns.nullable(C::array)?.map(ClientMessageId),
        body: Bytes::from(columns.bytes()?),
    })
}

fn event_kind<C: ColumnReader>(columns: &mut C) -> Result<EventKind, C::Error> {
    let code = columns.integer()?;
    let kind = u8::try_from(code).ok().and_then(EventKind::from_number);
    kind.ok_or_else(|| columns.out_of_range())
}

/// Decodes a column that holds the id of a conversation.
pub fn conversation_id<C: ColumnReader>(columns: &mut C) -> Result<ConversationId, C::Error> {
    columns.unsigned().map(ConversationId)
}

/// Decodes a column that holds a sequence number.
pub fn seq<C: ColumnReader>(columns: &mut C) -> Result<Seq, C::Error> {
    columns.seq()
}

/// Decodes a column that holds the id of a user.
pub fn user_id<C: ColumnReader>(columns: &mut C) -> Result<UserId, C::Error> {
    columns.user()
}

/// Decodes the columns `id, last_seq, members_version` of a conversation.
pub fn log_version<C: ColumnReader>(columns: &mut C) -> Result<LogVersion, C::Error> {
    Ok(LogVersion {
        conversation: conversation_id(columns)?,
        last_seq: columns.seq()?,
        members_version: columns.seq()?,
    })
}

/// Decodes a row with the columns [`CONVERSATION_COLUMNS`] and a flag that says whether the group
/// has an active owner whose account is not disabled.
pub fn listed_group<C: ColumnReader>(columns: &mut C) -> Result<ListedGroup, C::Error> {
    Ok(ListedGroup::new(conversation(columns)?, columns.flag()?))
}

/// Query for the positions of a feed, as [`feed_position`] reads them. Its first parameter is the
/// name of the feed. The caller appends conditions on the conversation `c`.
pub const SELECT_FEED_POSITIONS: &str = "SELECT c.id, IFNULL(f.seq, 0), c.last_seq FROM conversation AS c
     LEFT JOIN feed_cursor AS f ON f.feed = ? AND f.conversation_id = c.id";

/// Statements that delete a feed. Their parameter is the name of the feed.
pub const DELETE_FEED: [&str; 2] = [
    "DELETE FROM feed_cursor WHERE feed = ?",
    "DELETE FROM feed_lease WHERE feed = ?",
];

/// Decodes a row of [`SELECT_FEED_POSITIONS`].
pub fn feed_position<C: ColumnReader>(columns: &mut C) -> Result<FeedPosition, C::Error> {
    Ok(FeedPosition::new(
        conversation_id(columns)?,
        columns.seq()?,
        columns.seq()?,
    ))
}

/// Columns of the table `feed_lease`, as [`feed_lease`] reads them.
pub const FEED_LEASE_COLUMNS: &str = "feed, shard, node_id, term, expires";

/// Decodes a row of [`FEED_LEASE_COLUMNS`].
pub fn feed_lease<C: ColumnReader>(columns: &mut C) -> Result<FeedLease, C::Error> {
    let feed = columns.text()?;
    let shard = u16::try_from(columns.unsigned()?).ok().and_then(FeedShard::new);
    let shard = shard.ok_or_else(|| columns.out_of_range())?;
    let node = NodeId(columns.array()?);
    Ok(FeedLease::new(feed, shard, node, columns.unsigned()?, columns.time()?))
}

/// Columns of the table `audit`, as [`audit_record`] reads them.
pub const AUDIT_COLUMNS: &str = "id, time, operator, action, target, detail, source";

/// Decodes a row of [`AUDIT_COLUMNS`].
pub fn audit_record<C: ColumnReader>(columns: &mut C) -> Result<AuditRecord, C::Error> {
    let id = AuditId(columns.unsigned()?);
    let record = NewAuditRecord {
        time: columns.time()?,
        operator: columns.text()?,
        action: columns.text()?,
        target: columns.text()?,
        detail: columns.text()?,
        source: columns.text()?,
    };
    Ok(AuditRecord::new(id, record))
}

/// Query that returns one row with the numbers that [`stats`] reads. The column `open_key` is NULL
/// in the profile of a deleted group.
pub const SELECT_STATS: &str = "SELECT (SELECT COUNT(*) FROM account), \
         (SELECT COUNT(*) FROM account WHERE disabled <> 0), \
         (SELECT COUNT(*) FROM account WHERE deleted IS NOT NULL), \
         (SELECT COUNT(*) FROM device), \
         (SELECT COUNT(*) FROM conversation), \
         (SELECT COUNT(*) FROM group_profile WHERE open_key IS NOT NULL), \
         (SELECT COALESCE(SUM(last_seq), 0) FROM conversation), \
         (SELECT COALESCE(SUM(message_count), 0) FROM conversation)";

/// Decodes the row of [`SELECT_STATS`].
pub fn stats<C: ColumnReader>(columns: &mut C) -> Result<StoreStats, C::Error> {
    Ok(StoreStats {
        accounts: columns.unsigned()?,
        disabled_accounts: columns.unsigned()?,
        deleted_accounts: columns.unsigned()?,
        devices: columns.unsigned()?,
        conversations: columns.unsigned()?,
        existing_groups: columns.unsigned()?,
        events: columns.unsigned()?,
        messages: columns.unsigned()?,
    })
}
