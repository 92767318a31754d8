//! Conversations and their members.

use async_trait::async_trait;
use chat_core::model::{
    Conversation, ConversationId, ConversationKind, DeviceId, GroupProfile, GroupSnapshot, Member, MemberState, Role,
    Seq, UserId,
};
use chat_core::store::sql_support::{
    CONVERSATION_COLUMNS, Code, DIRECT_KIND_CODE, MEMBER_COLUMNS, PEER_MEMBER_COLUMNS, SNAPSHOT_COLUMNS, distinct, int,
    kind_columns, prefix_end,
};
use chat_core::store::{
    ConversationStore, ConversationTx, LogVersion, MembershipView, NamedGroup, NewConversation, StoreError,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::rows;
use crate::tx::SqliteTx;

/// Tables of a FROM clause: conversations, and the profiles of those that are groups.
const WITH_PROFILE: &str = "conversation AS c LEFT JOIN group_profile AS g ON g.conversation_id = c.id";

fn conversation(conn: &Connection, id: ConversationId) -> rusqlite::Result<Option<Conversation>> {
    let sql = format!("SELECT {CONVERSATION_COLUMNS} FROM {WITH_PROFILE} WHERE c.id = ?1");
    let mut statement = conn.prepare_cached(&sql)?;
    statement.query_row([int(id.0)], rows::conversation).optional()
}

fn conversation_of_kind(conn: &Connection, kind: &ConversationKind) -> rusqlite::Result<Option<ConversationId>> {
    let (kind, low, high) = kind_columns(kind);
    let sql = "SELECT id FROM conversation WHERE low_id = ?1 AND high_id = ?2 AND kind = ?3";
    let mut statement = conn.prepare_cached(sql)?;
    statement
        .query_row(params![low, high, kind], rows::conversation_id)
        .optional()
}

/// Looks up a group that is not deleted: `open_key` is NULL once a group is deleted.
fn group_by_key(conn: &Connection, key: &str) -> rusqlite::Result<Option<ConversationId>> {
    let sql = "SELECT conversation_id FROM group_profile WHERE open_key = ?1";
    conn.prepare_cached(sql)?
        .query_row([key], rows::conversation_id)
        .optional()
}

/// Returns the query of the group with the key ?1, with the membership of user ?2.
pub(crate) fn named_group_sql() -> String {
    format!(
        "SELECT {CONVERSATION_COLUMNS}, {MEMBER_COLUMNS} FROM group_profile AS g
         JOIN conversation AS c ON c.id = g.conversation_id
         LEFT JOIN member AS m ON m.conversation_id = c.id AND m.user_id = ?2
         WHERE g.open_key = ?1"
    )
}

fn named_group(conn: &Connection, key: &str, user: UserId) -> rusqlite::Result<Option<NamedGroup>> {
    let mut statement = conn.prepare_cached(&named_group_sql())?;
    statement
        .query_row(params![key, int(user.0)], rows::named_group)
        .optional()
}

/// Returns whether an existing group other than `id` has the key or the skeleton of `group`.
fn is_group_key_taken(conn: &Connection, id: ConversationId, group: &GroupProfile) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM group_profile
                              WHERE open_key = ?1 AND conversation_id <> ?3)
                   OR EXISTS (SELECT 1 FROM group_profile
                              WHERE open_skeleton = ?2 AND conversation_id <> ?3)";
    let mut statement = conn.prepare_cached(sql)?;
    statement.query_row(params![group.key, group.skeleton, int(id.0)], |row| row.get(0))
}

fn search_groups(conn: &Connection, prefix: &str, limit: u32) -> rusqlite::Result<Vec<Conversation>> {
    let sql = format!(
        "SELECT {CONVERSATION_COLUMNS} FROM group_profile AS g JOIN conversation AS c ON c.id = g.conversation_id
         WHERE NOT g.unlisted AND g.open_key >= ?1 AND (?2 IS NULL OR g.open_key < ?2)
         ORDER BY g.open_key LIMIT ?3"
    );
    let range = params![prefix, prefix_end(prefix), limit];
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(range, rows::conversation)?;
    found.collect()
}

/// Returns the query of the memberships of user ?1 whose readable range is not empty, with the
/// cursors of device ?2. `condition` restricts the memberships further: it begins with AND, and may
/// end with ORDER BY and LIMIT.
///
/// The number of unread messages is `message_count` of the last readable event, less that of the
/// last read event, less the number of recalled messages between them. For a conversation that the
/// user has read to its end, the number is 0 without a lookup. A mention of user 0 is a mention of
/// every member.
pub(crate) fn memberships_sql(condition: &str) -> String {
    format!(
        "WITH mine AS MATERIALIZED (
             SELECT m.*, MAX(m.read_seq, m.first_seq - 1) AS last_read,
                    MIN(c.last_seq, IFNULL(m.until_seq, c.last_seq)) AS last_readable
             FROM member AS m JOIN conversation AS c ON c.id = m.conversation_id
             WHERE m.user_id = ?1 AND m.first_seq > 0 AND (m.until_seq IS NULL OR m.until_seq >= m.first_seq) {condition}
         )
         SELECT {CONVERSATION_COLUMNS}, {MEMBER_COLUMNS}, {PEER_MEMBER_COLUMNS},
             IFNULL((SELECT seq FROM device_cursor
                     WHERE user_id = ?1 AND device_id = ?2 AND conversation_id = c.id), 0),
             CASE WHEN m.last_readable <= m.last_read THEN 0 ELSE
                 CASE WHEN m.last_readable = c.last_seq THEN c.message_count ELSE
                     (SELECT message_count FROM event WHERE conversation_id = c.id AND seq = m.last_readable) END
                 - IFNULL((SELECT message_count FROM event WHERE conversation_id = c.id AND seq = m.last_read), 0)
                 - (SELECT COUNT(*) FROM recalled_message
                    WHERE conversation_id = c.id AND seq > m.last_read AND seq <= m.last_readable)
             END,
             CASE WHEN m.last_readable <= m.last_read THEN 0 ELSE
                 (SELECT COUNT(DISTINCT seq) FROM mention
                  WHERE conversation_id = c.id AND user_id IN (0, ?1) AND seq > m.last_read AND seq <= m.last_readable)
             END, {SNAPSHOT_COLUMNS}
         FROM mine AS m JOIN conversation AS c ON c.id = m.conversation_id
         LEFT JOIN group_profile AS g ON g.conversation_id = c.id
         LEFT JOIN group_snapshot AS s ON s.conversation_id = c.id
              AND s.user_id = CASE WHEN m.until_seq IS NULL THEN NULL ELSE ?1 END
         LEFT JOIN member AS p ON p.conversation_id = c.id AND p.user_id <> ?1
              AND p.user_id = CASE WHEN c.kind <> {DIRECT_KIND_CODE} THEN NULL
                  WHEN c.low_id = ?1 THEN c.high_id ELSE c.low_id END"
    )
}

/// Condition for [`memberships_sql`]: the first ?4 memberships after conversation ?3.
pub(crate) const MEMBERSHIPS_AFTER: &str = "AND m.conversation_id > ?3 ORDER BY m.conversation_id LIMIT ?4";

fn memberships(
    conn: &Connection,
    user: UserId,
    device: DeviceId,
    after: ConversationId,
    limit: u32,
) -> rusqlite::Result<Vec<MembershipView>> {
    let mut statement = conn.prepare_cached(&memberships_sql(MEMBERSHIPS_AFTER))?;
    let found = statement.query_map(params![int(user.0), device.0, int(after.0), limit], rows::membership)?;
    found.collect()
}

fn membership(
    conn: &Connection,
    user: UserId,
    device: DeviceId,
    id: ConversationId,
) -> rusqlite::Result<Option<MembershipView>> {
    let mut statement = conn.prepare_cached(&memberships_sql("AND m.conversation_id = ?3"))?;
    statement
        .query_row(params![int(user.0), device.0, int(id.0)], rows::membership)
        .optional()
}

pub(crate) fn member(conn: &Connection, id: ConversationId, user: UserId) -> rusqlite::Result<Option<Member>> {
    let sql = format!("SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = ?1 AND m.user_id = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    statement.query_row([int(id.0), int(user.0)], rows::member).optional()
}

fn members(conn: &Connection, id: ConversationId, after: UserId, limit: u32) -> rusqlite::Result<Vec<Member>> {
    let sql = format!(
        "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = ?1 AND m.user_id > ?2 AND m.state <> ?3
         ORDER BY m.user_id LIMIT ?4"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let range = params![int(id.0), int(after.0), MemberState::Left.code(), limit];
    let found = statement.query_map(range, rows::member)?;
    found.collect()
}

fn members_of_user(
    conn: &Connection,
    user: UserId,
    after: ConversationId,
    limit: u32,
) -> rusqlite::Result<Vec<Member>> {
    let sql = format!(
        "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.user_id = ?1 AND m.conversation_id > ?2
         ORDER BY m.conversation_id LIMIT ?3"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let found = statement.query_map(params![int(user.0), int(after.0), limit], rows::member)?;
    found.collect()
}

fn log_versions(conn: &Connection, ids: Vec<ConversationId>) -> rusqlite::Result<Vec<LogVersion>> {
    let mut statement = conn.prepare_cached("SELECT id, last_seq, members_version FROM conversation WHERE id = ?1")?;
    rows::find_each(ids, |id| statement.query_row([int(id.0)], rows::log_version).optional())
}

#[async_trait]
impl ConversationStore for SqliteStore {
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.readers.read(move |conn| conversation(conn, id)).await
    }

    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        let kind = kind.clone();
        self.readers.read(move |conn| conversation_of_kind(conn, &kind)).await
    }

    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError> {
        let key = key.to_owned();
        self.readers.read(move |conn| group_by_key(conn, &key)).await
    }

    async fn named_group(&self, key: &str, user: UserId) -> Result<Option<NamedGroup>, StoreError> {
        let key = key.to_owned();
        self.readers.read(move |conn| named_group(conn, &key, user)).await
    }

    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError> {
        let prefix = prefix.to_owned();
        self.readers.read(move |conn| search_groups(conn, &prefix, limit)).await
    }

    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        self.readers
            .read(move |conn| memberships(conn, user, device, after, limit))
            .await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        self.readers.read(move |conn| membership(conn, user, device, id)).await
    }

    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError> {
        self.readers.read(move |conn| member(conn, id, user)).await
    }

    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError> {
        self.readers.read(move |conn| members(conn, id, after, limit)).await
    }

    async fn members_of_user(
        &self,
        user: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        self.readers
            .read(move |conn| members_of_user(conn, user, after, limit))
            .await
    }

    async fn log_versions(&self, ids: &[ConversationId]) -> Result<Vec<LogVersion>, StoreError> {
        let ids = distinct(ids);
        self.readers.read(move |conn| log_versions(conn, ids)).await
    }
}

#[async_trait]
impl ConversationTx for SqliteTx<'_> {
    async fn create_conversation(&mut self, new: NewConversation) -> Result<Option<ConversationId>, StoreError> {
        // No conversation has the id 0, so this asks about all existing groups.
        if let Some(group) = &new.group
            && self.query(|conn| is_group_key_taken(conn, ConversationId(0), group))?
        {
            return Ok(None);
        }
        let sql =
            "INSERT INTO conversation (kind, low_id, high_id, last_seq, message_count, members_version, last_time,
                                             member_count, deleted)
                   VALUES (?1, ?2, ?3, 0, 0, 0, ?4, 0, 0) ON CONFLICT DO NOTHING RETURNING id";
        let (kind, low, high) = kind_columns(&new.kind);
        let insert = |conn: &Connection| {
            let mut statement = conn.prepare_cached(sql)?;
            statement
                .query_row(params![kind, low, high, new.created.0], rows::conversation_id)
                .optional()
        };
        let Some(id) = self.query(insert)? else {
            return Ok(None);
        };
        if let Some(group) = &new.group {
            self.put_group(id, group, false)?;
        }
        let row = new.into_row(id);
        self.contract.after_create_conversation(&row);
        self.locked_conversations.insert(id, row);
        Ok(Some(id))
    }

    async fn conversation_of_kind(&mut self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        self.query(|conn| conversation_of_kind(conn, kind))
    }

    async fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        if self.contract.before_lock_conversation(id)? {
            return Ok(self.locked_conversations.get(&id).cloned());
        }
        let Some(row) = self.query(|conn| conversation(conn, id))? else {
            return Ok(None);
        };
        self.contract.after_lock_conversation(&row);
        self.locked_conversations.insert(id, row.clone());
        Ok(Some(row))
    }

    async fn update_conversation(&mut self, conversation: &Conversation) -> Result<bool, StoreError> {
        let id = conversation.id;
        let stored = self.locked_conversations.get(&id);
        let is_profile_changed =
            stored.is_some_and(|row| row.group != conversation.group || row.deleted != conversation.deleted);
        if let Some(group) = conversation.group.as_ref().filter(|_| is_profile_changed) {
            if !conversation.deleted && self.query(|conn| is_group_key_taken(conn, id, group))? {
                return Ok(false);
            }
            self.contract.before_update_conversation(conversation)?;
            self.put_group(id, group, conversation.deleted)?;
        } else {
            self.contract.before_update_conversation(conversation)?;
        }
        let sql = "UPDATE conversation SET last_seq = ?2, message_count = ?3, members_version = ?4, last_time = ?5,
                       member_count = ?6, deleted = ?7
                   WHERE id = ?1";
        let values = params![
            int(id.0),
            int(conversation.last_seq.0),
            int(conversation.message_count),
            int(conversation.members_version.0),
            conversation.last_time.0,
            conversation.member_count,
            conversation.deleted
        ];
        self.execute(sql, values)?;
        if let Some(row) = self.locked_conversations.get_mut(&id) {
            let kind = row.kind.clone();
            *row = Conversation {
                kind,
                ..conversation.clone()
            };
        }
        Ok(true)
    }

    async fn members_in(&mut self, id: ConversationId, users: &[UserId]) -> Result<Vec<Member>, StoreError> {
        self.query(|conn| rows::find_each(distinct(users), |user| member(conn, id, user)))
    }

    async fn members_with_role(&mut self, id: ConversationId, role: Role) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = ?1 AND m.state = ?2 AND m.role >= ?3
             ORDER BY m.user_id"
        );
        let wanted = params![int(id.0), MemberState::Active.code(), role.code()];
        self.query(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let found = statement.query_map(wanted, rows::member)?;
            found.collect()
        })
    }

    async fn members_by_seniority(&mut self, id: ConversationId, limit: u32) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM member AS m JOIN account AS a ON a.id = m.user_id AND NOT a.disabled
             WHERE m.conversation_id = ?1 AND m.state = ?2 ORDER BY m.role DESC, m.first_seq, m.user_id LIMIT ?3"
        );
        let wanted = params![int(id.0), MemberState::Active.code(), limit];
        self.query(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let found = statement.query_map(wanted, rows::member)?;
            found.collect()
        })
    }

    async fn put_member(&mut self, member: &Member) -> Result<(), StoreError> {
        let sql = "INSERT INTO member (conversation_id, user_id, state, role, first_seq, until_seq, muted_until,
                                       delivered_seq, read_seq, has_sent, invited_by)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                   ON CONFLICT DO UPDATE SET state = ?3, role = ?4, first_seq = ?5, until_seq = ?6, muted_until = ?7,
                       delivered_seq = MAX(delivered_seq, ?8), read_seq = MAX(read_seq, ?9), has_sent = ?10,
                       invited_by = ?11";
        let values = params![
            int(member.conversation.0),
            int(member.user.0),
            member.state.code(),
            member.role.code(),
            int(member.first_seq.0),
            member.until_seq.map(|seq| int(seq.0)),
            member.muted_until.0,
            int(member.delivered_seq.0),
            int(member.read_seq.0),
            member.has_sent,
            member.invited_by.map(|user| int(user.0))
        ];
        self.execute(sql, values).map(drop)
    }

    async fn put_snapshot(
        &mut self,
        id: ConversationId,
        user: UserId,
        snapshot: &GroupSnapshot,
    ) -> Result<(), StoreError> {
        self.contract.before_put_snapshot(id)?;
        let sql = "INSERT OR REPLACE INTO group_snapshot (conversation_id, user_id, name, name_key, skeleton,
                       description, join_policy, history_visible, unlisted, member_count, last_time)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let profile = &snapshot.profile;
        let values = params![
            int(id.0),
            int(user.0),
            profile.name,
            profile.key,
            profile.skeleton,
            profile.description,
            profile.join_policy.code(),
            profile.history_visible,
            profile.unlisted,
            snapshot.member_count,
            snapshot.last_time.0
        ];
        self.execute(sql, values).map(drop)
    }

    async fn advance_read(&mut self, id: ConversationId, reads: &[(UserId, Seq)]) -> Result<(), StoreError> {
        let sql = "UPDATE member SET read_seq = ?3
                   WHERE conversation_id = ?1 AND user_id = ?2 AND state = ?4 AND read_seq < ?3";
        for (user, seq) in reads {
            self.execute(
                sql,
                params![int(id.0), int(user.0), int(seq.0), MemberState::Active.code()],
            )?;
        }
        Ok(())
    }

    async fn group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM member AS m JOIN group_profile AS g USING (conversation_id)
                   WHERE m.user_id = ?1 AND m.state = ?2 AND g.open_key IS NOT NULL LIMIT ?3)";
        let values = params![int(user.0), MemberState::Active.code(), max];
        self.query(|conn| conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)))
    }

    async fn former_group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM member AS m JOIN group_profile AS g USING (conversation_id)
                   WHERE m.user_id = ?1 AND m.first_seq > 0 AND (m.until_seq IS NULL OR m.until_seq >= m.first_seq)
                       AND (m.state <> ?2 OR g.open_key IS NULL) LIMIT ?3)";
        let values = params![int(user.0), MemberState::Active.code(), max];
        self.query(|conn| conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)))
    }
}

impl SqliteTx<'_> {
    /// Writes the profile of a group. Unless `deleted` is set, the caller has checked with
    /// [`is_group_key_taken`] that no other existing group has its key or skeleton: the statement
    /// would delete the profile of that group. The row of a deleted group has neither an `open_key`
    /// nor an `open_skeleton`, and so conflicts with no other row.
    fn put_group(&self, id: ConversationId, group: &GroupProfile, deleted: bool) -> Result<(), StoreError> {
        let sql =
            "INSERT OR REPLACE INTO group_profile (conversation_id, name, name_key, skeleton, description, join_policy,
                                                         history_visible, unlisted, open_key, open_skeleton)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let values = params![
            int(id.0),
            group.name,
            group.key,
            group.skeleton,
            group.description,
            group.join_policy.code(),
            group.history_visible,
            group.unlisted,
            (!deleted).then_some(&group.key),
            (!deleted).then_some(&group.skeleton)
        ];
        self.execute(sql, values).map(drop)
    }
}
