//! Conversations and their members.

use async_trait::async_trait;
use chat_core::model::{
    Conversation, ConversationId, ConversationKind, DeviceId, GroupProfile, GroupSnapshot, Member, MemberState, Role,
    Seq, UserId,
};
use chat_core::store::sql_support::{
    self as sql, CONVERSATION_COLUMNS, Code, ColumnReader, MEMBER_COLUMNS, distinct, int, kind_columns, prefix_end,
};
use chat_core::store::{
    ConversationStore, ConversationTx, LogVersion, MembershipView, NamedGroup, NewConversation, StoreError,
};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, params};

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, integers, joined};
use crate::error::store_error;
use crate::memberships::{Wanted, memberships};
use crate::rows;
use crate::tx::MysqlTx;

/// Query of the id of a direct conversation or an inbox. Takes the values of [`kind_key`].
const BY_KIND: &str = "SELECT id FROM conversation WHERE low_id = ? AND high_id = ? AND kind = ?";

fn conversation_sql() -> String {
    format!(
        "SELECT {CONVERSATION_COLUMNS} FROM conversation AS c LEFT JOIN group_profile AS g ON g.conversation_id = c.id
         WHERE c.id = ?"
    )
}

fn kind_key(kind: &ConversationKind) -> Params {
    let (kind, low, high) = kind_columns(kind);
    (low, high, kind).into()
}

pub(crate) fn member_sql() -> String {
    format!("SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = ? AND m.user_id = ?")
}

#[async_trait]
impl ConversationStore for MysqlStore {
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn.exec_first(conversation_sql(), (int(id.0),)).await;
            rows::one(row.map_err(store_error)?, sql::conversation)
        };
        self.connections.with_deadline(work).await
    }

    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn.exec_first(BY_KIND, kind_key(kind)).await.map_err(store_error)?;
            rows::one(row, sql::conversation_id)
        };
        self.connections.with_deadline(work).await
    }

    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError> {
        let sql = "SELECT conversation_id FROM group_profile WHERE open_key = ?";
        let work = async {
            let mut conn = self.connections.reader().await?;
            rows::one(
                conn.exec_first(sql, (key.as_bytes(),)).await.map_err(store_error)?,
                sql::conversation_id,
            )
        };
        self.connections.with_deadline(work).await
    }

    async fn named_group(&self, key: &str, user: UserId) -> Result<Option<NamedGroup>, StoreError> {
        let sql = format!(
            "SELECT {CONVERSATION_COLUMNS}, {MEMBER_COLUMNS} FROM group_profile AS g
             JOIN conversation AS c ON c.id = g.conversation_id
             LEFT JOIN member AS m ON m.conversation_id = c.id AND m.user_id = ?
             WHERE g.open_key = ?"
        );
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn.exec_first(sql, (int(user.0), key.as_bytes())).await;
            rows::one(row.map_err(store_error)?, sql::named_group)
        };
        self.connections.with_deadline(work).await
    }

    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError> {
        let sql = format!(
            "SELECT {CONVERSATION_COLUMNS} FROM group_profile AS g JOIN conversation AS c ON c.id = g.conversation_id
             WHERE NOT g.unlisted AND g.open_key >= ? AND (? IS NULL OR g.open_key < ?)
             ORDER BY g.open_key LIMIT ?"
        );
        let end = prefix_end(prefix);
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (prefix.as_bytes(), end.as_deref(), end.as_deref(), limit);
            rows::all(conn.exec(sql, range).await.map_err(store_error)?, sql::conversation)
        };
        self.connections.with_deadline(work).await
    }

    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            memberships(&mut conn, user, device, Wanted::After(after, limit)).await
        };
        self.connections.with_deadline(work).await
    }

    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            Ok(memberships(&mut conn, user, device, Wanted::One(id)).await?.pop())
        };
        self.connections.with_deadline(work).await
    }

    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn.exec_first(member_sql(), (int(id.0), int(user.0))).await;
            rows::one(row.map_err(store_error)?, sql::member)
        };
        self.connections.with_deadline(work).await
    }

    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = ? AND m.user_id > ? AND m.state <> ?
             ORDER BY m.user_id LIMIT ?"
        );
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (int(id.0), int(after.0), MemberState::Left.code(), limit);
            rows::all(conn.exec(sql, range).await.map_err(store_error)?, sql::member)
        };
        self.connections.with_deadline(work).await
    }

    async fn members_of_user(
        &self,
        user: UserId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.user_id = ? AND m.conversation_id > ?
             ORDER BY m.conversation_id LIMIT ?"
        );
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (int(user.0), int(after.0), limit);
            rows::all(conn.exec(sql, range).await.map_err(store_error)?, sql::member)
        };
        self.connections.with_deadline(work).await
    }

    async fn log_versions(&self, ids: &[ConversationId]) -> Result<Vec<LogVersion>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for ids in distinct(ids).chunks(MAX_KEYS_PER_STATEMENT) {
                let ids = integers(ids.iter().map(|id| int(id.0)));
                let sql = format!("SELECT id, last_seq, members_version FROM conversation WHERE id IN ({ids})");
                let rows: Vec<Row> = conn.query(sql).await.map_err(store_error)?;
                found.extend(rows::all(rows, sql::log_version)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }
}

#[async_trait]
impl ConversationTx for MysqlTx<'_> {
    async fn create_conversation(&mut self, new: NewConversation) -> Result<Option<ConversationId>, StoreError> {
        if let Some(group) = &new.group
            && self.is_group_key_taken(ConversationId(0), group).await?
        {
            return Ok(None);
        }
        let sql =
            "INSERT INTO conversation (kind, low_id, high_id, last_seq, message_count, members_version, last_time,
                                             member_count, deleted)
                   VALUES (?, ?, ?, 0, 0, 0, ?, 0, FALSE)";
        let (kind, low, high) = kind_columns(&new.kind);
        let Some(id) = self.insert(sql, (kind, low, high, new.created.0)).await? else {
            return Ok(None);
        };
        let id = ConversationId(id);
        if let Some(group) = &new.group
            && !self.put_group(id, group, false).await?
        {
            // Another transaction took the name after the check.
            self.execute("DELETE FROM conversation WHERE id = ?", (int(id.0),))
                .await?;
            return Ok(None);
        }
        let row = new.into_row(id);
        self.contract.after_create_conversation(&row);
        self.locked_conversations.insert(id, row);
        Ok(Some(id))
    }

    async fn conversation_of_kind(&mut self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError> {
        rows::one(self.first(BY_KIND, kind_key(kind)).await?, sql::conversation_id)
    }

    async fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        if self.contract.before_lock_conversation(id)? {
            return Ok(self.locked_conversations.get(&id).cloned());
        }
        // The profile changes under the same lock, so one statement can lock and read both.
        let sql = format!("{} FOR UPDATE", conversation_sql());
        let row = self.first(&sql, (int(id.0),)).await?;
        let Some(row) = rows::one(row, sql::conversation)? else {
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
            if !conversation.deleted && self.is_group_key_taken(id, group).await? {
                return Ok(false);
            }
            self.contract.before_update_conversation(conversation)?;
            if !self.put_group(id, group, conversation.deleted).await? {
                return Ok(false);
            }
        } else {
            self.contract.before_update_conversation(conversation)?;
        }
        let sql = "UPDATE conversation SET last_seq = ?, message_count = ?, members_version = ?, last_time = ?,
                       member_count = ?, deleted = ?
                   WHERE id = ?";
        let values = (
            int(conversation.last_seq.0),
            int(conversation.message_count),
            int(conversation.members_version.0),
            conversation.last_time.0,
            conversation.member_count,
            conversation.deleted,
            int(id.0),
        );
        self.execute(sql, values).await?;
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
        if let [user] = users {
            // The append of a single message without mentions looks up only its sender. This case
            // is frequent, so it uses a prepared statement.
            return rows::all(self.rows(&member_sql(), (int(id.0), int(user.0))).await?, sql::member);
        }
        let mut found = Vec::new();
        for users in distinct(users).chunks(MAX_KEYS_PER_STATEMENT) {
            let users = integers(users.iter().map(|user| int(user.0)));
            let id = int(id.0);
            let sql = format!(
                "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = {id} AND m.user_id IN ({users})"
            );
            found.extend(rows::all(self.query_unprepared(sql).await?, sql::member)?);
        }
        Ok(found)
    }

    async fn members_with_role(&mut self, id: ConversationId, role: Role) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM member AS m WHERE m.conversation_id = ? AND m.state = ? AND m.role >= ?
             ORDER BY m.user_id"
        );
        let wanted = (int(id.0), MemberState::Active.code(), role.code());
        rows::all(self.rows(&sql, wanted).await?, sql::member)
    }

    async fn members_by_seniority(&mut self, id: ConversationId, limit: u32) -> Result<Vec<Member>, StoreError> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM member AS m JOIN account AS a ON a.id = m.user_id AND NOT a.disabled
             WHERE m.conversation_id = ? AND m.state = ? ORDER BY m.role DESC, m.first_seq, m.user_id LIMIT ?"
        );
        let wanted = (int(id.0), MemberState::Active.code(), limit);
        rows::all(self.rows(&sql, wanted).await?, sql::member)
    }

    async fn put_member(&mut self, member: &Member) -> Result<(), StoreError> {
        let sql = "INSERT INTO member (conversation_id, user_id, state, role, first_seq, until_seq, muted_until,
                                      delivered_seq, read_seq, has_sent, invited_by)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                   ON DUPLICATE KEY UPDATE state = VALUES(state), role = VALUES(role),
                       first_seq = VALUES(first_seq), until_seq = VALUES(until_seq), muted_until = VALUES(muted_until),
                       delivered_seq = GREATEST(delivered_seq, VALUES(delivered_seq)),
                       read_seq = GREATEST(read_seq, VALUES(read_seq)), has_sent = VALUES(has_sent),
                       invited_by = VALUES(invited_by)";
        let values = (
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
            member.invited_by.map(|user| int(user.0)),
        );
        self.execute(sql, values).await?;
        self.changed_users.insert(member.user);
        Ok(())
    }

    async fn put_snapshot(
        &mut self,
        id: ConversationId,
        user: UserId,
        snapshot: &GroupSnapshot,
    ) -> Result<(), StoreError> {
        self.contract.before_put_snapshot(id)?;
        let sql = "REPLACE INTO group_snapshot (conversation_id, user_id, name, name_key, skeleton, description,
                       join_policy, history_visible, unlisted, member_count, last_time)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let profile = &snapshot.profile;
        let values = (
            int(id.0),
            int(user.0),
            profile.name.as_bytes(),
            profile.key.as_bytes(),
            profile.skeleton.as_bytes(),
            &profile.description,
            profile.join_policy.code(),
            profile.history_visible,
            profile.unlisted,
            snapshot.member_count,
            snapshot.last_time.0,
        );
        self.execute(sql, values).await.map(drop)
    }

    async fn advance_read(&mut self, id: ConversationId, reads: &[(UserId, Seq)]) -> Result<(), StoreError> {
        let mut reads = reads.to_vec();
        reads.sort_unstable();
        for reads in reads.chunks(MAX_KEYS_PER_STATEMENT) {
            let case = |(user, seq): &(UserId, Seq)| format!("WHEN {} THEN {}", int(user.0), int(seq.0));
            let cases = joined(greatest_of_each_user(reads).map(case), " ");
            let users = integers(greatest_of_each_user(reads).map(|(user, _)| int(user.0)));
            let (id, active) = (int(id.0), MemberState::Active.code());
            let sql = format!(
                "UPDATE member SET read_seq = GREATEST(read_seq, CASE user_id {cases} ELSE 0 END)
                 WHERE conversation_id = {id} AND state = {active} AND user_id IN ({users})"
            );
            self.query_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM member AS m JOIN group_profile AS g USING (conversation_id)
                   WHERE m.user_id = ? AND m.state = ? AND g.open_key IS NOT NULL LIMIT ?) AS counted";
        let values = (int(user.0), MemberState::Active.code(), max);
        let count = rows::one(self.first(sql, values).await?, ColumnReader::count)?;
        Ok(count.unwrap_or_default())
    }

    async fn former_group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM member AS m JOIN group_profile AS g USING (conversation_id)
                   WHERE m.user_id = ? AND m.first_seq > 0 AND (m.until_seq IS NULL OR m.until_seq >= m.first_seq)
                       AND (m.state <> ? OR g.open_key IS NULL) LIMIT ?) AS counted";
        let values = (int(user.0), MemberState::Active.code(), max);
        let count = rows::one(self.first(sql, values).await?, ColumnReader::count)?;
        Ok(count.unwrap_or_default())
    }
}

/// Returns the greatest sequence number of each user. `reads` must be in ascending order.
fn greatest_of_each_user(reads: &[(UserId, Seq)]) -> impl Iterator<Item = &(UserId, Seq)> {
    reads.chunk_by(|a, b| a.0 == b.0).filter_map(<[_]>::last)
}

impl MysqlTx<'_> {
    /// Returns whether an existing group other than `id` has the key or the skeleton of `group`.
    async fn is_group_key_taken(&mut self, id: ConversationId, group: &GroupProfile) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM group_profile WHERE open_key = ? AND conversation_id <> ?)
                       OR EXISTS (SELECT 1 FROM group_profile WHERE open_skeleton = ? AND conversation_id <> ?)";
        let id = int(id.0);
        let values = (group.key.as_bytes(), id, group.skeleton.as_bytes(), id);
        let taken = rows::one(self.first(sql, values).await?, ColumnReader::flag)?;
        Ok(taken.unwrap_or_default())
    }

    /// Writes the profile of a group. Returns `false` if another existing group has its key or
    /// skeleton.
    async fn put_group(&mut self, id: ConversationId, group: &GroupProfile, deleted: bool) -> Result<bool, StoreError> {
        let insert = "INSERT INTO group_profile (conversation_id, name, name_key, skeleton, description, join_policy,
                                              history_visible, unlisted, open_key, open_skeleton)
                   VALUES (:id, :name, :key, :skeleton, :description, :join_policy, :history_visible, :unlisted,
                           :open_key, :open_skeleton)";
        let update = "UPDATE group_profile SET name = :name, name_key = :key, skeleton = :skeleton,
                          description = :description, join_policy = :join_policy, history_visible = :history_visible,
                          unlisted = :unlisted, open_key = :open_key, open_skeleton = :open_skeleton
                      WHERE conversation_id = :id";
        let values = params! {
            "id" => int(id.0),
            "name" => group.name.as_bytes(),
            "key" => group.key.as_bytes(),
            "skeleton" => group.skeleton.as_bytes(),
            "description" => &group.description,
            "join_policy" => group.join_policy.code(),
            "history_visible" => group.history_visible,
            "unlisted" => group.unlisted,
            // NULL for a deleted group, so that another group may take its name.
            "open_key" => (!deleted).then_some(group.key.as_bytes()),
            "open_skeleton" => (!deleted).then_some(group.skeleton.as_bytes()),
        };
        // `create_conversation` calls this before it adds the conversation to
        // `locked_conversations`.
        let is_new = !self.locked_conversations.contains_key(&id);
        let written = self
            .execute_unique(if is_new { insert } else { update }, values)
            .await?;
        Ok(written.is_some())
    }
}
