//! Memberships of a user, with the cursors of one of the user's devices.

use chat_core::model::{ConversationId, DeviceId, UserId};
use chat_core::store::sql_support::{
    self as sql, CONVERSATION_COLUMNS, DIRECT_KIND_CODE, MEMBER_COLUMNS, PEER_MEMBER_COLUMNS, SNAPSHOT_COLUMNS, int,
};
use chat_core::store::{MembershipView, StoreError};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, params};

use crate::error::store_error;
use crate::rows;

/// Returns the query of the memberships of `:user` whose readable range is not empty, with the
/// cursors of `:device`. `condition` begins with AND and restricts the memberships; it may also
/// order and limit them. The query is one statement, so that it reads one snapshot.
///
/// The number of unread messages is `message_count` of the last readable event, less that of the
/// last read event, less the number of recalled messages between them. For a conversation that the
/// user has read to its end, the number is 0 without a lookup. A mention of user 0 is a mention of
/// every member.
fn query(condition: &str) -> String {
    format!(
        "SELECT {CONVERSATION_COLUMNS}, {MEMBER_COLUMNS}, {PEER_MEMBER_COLUMNS},
             IFNULL((SELECT seq FROM device_cursor
                     WHERE user_id = :user AND device_id = :device AND conversation_id = c.id), 0),
             CASE WHEN m.last_readable <= m.last_read THEN 0 ELSE
                 CASE WHEN m.last_readable = c.last_seq THEN c.message_count ELSE
                     (SELECT message_count FROM event WHERE conversation_id = c.id AND seq = m.last_readable) END
                 - IFNULL((SELECT message_count FROM event WHERE conversation_id = c.id AND seq = m.last_read), 0)
                 - (SELECT COUNT(*) FROM recalled_message
                    WHERE conversation_id = c.id AND seq > m.last_read AND seq <= m.last_readable)
             END,
             CASE WHEN m.last_readable <= m.last_read THEN 0 ELSE
                 (SELECT COUNT(DISTINCT seq) FROM mention
                  WHERE conversation_id = c.id AND user_id IN (0, :user) AND seq > m.last_read AND seq <= m.last_readable)
             END, {SNAPSHOT_COLUMNS}
         FROM (SELECT m.*, GREATEST(m.read_seq, m.first_seq - 1) AS last_read,
                      LEAST(c.last_seq, IFNULL(m.until_seq, c.last_seq)) AS last_readable
               FROM member AS m JOIN conversation AS c ON c.id = m.conversation_id
               WHERE m.user_id = :user AND m.first_seq > 0 AND (m.until_seq IS NULL OR m.until_seq >= m.first_seq) {condition}
              ) AS m
         JOIN conversation AS c ON c.id = m.conversation_id
         LEFT JOIN group_profile AS g ON g.conversation_id = c.id
         LEFT JOIN group_snapshot AS s ON s.conversation_id = c.id
              AND s.user_id = CASE WHEN m.until_seq IS NULL THEN NULL ELSE :user END
         LEFT JOIN member AS p ON p.conversation_id = c.id AND p.user_id <> :user
              AND p.user_id = CASE WHEN c.kind <> {DIRECT_KIND_CODE} THEN NULL
                  WHEN c.low_id = :user THEN c.high_id ELSE c.low_id END"
    )
}

/// Selection of the memberships of a user to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// That of this conversation.
    One(ConversationId),
    /// Those with the smallest ids after this conversation, up to this number.
    After(ConversationId, u32),
}

/// Reads memberships whose readable range is not empty.
pub(crate) async fn memberships(
    conn: &mut Conn,
    user: UserId,
    device: DeviceId,
    wanted: Wanted,
) -> Result<Vec<MembershipView>, StoreError> {
    let (user, device) = (int(user.0), device.0.to_vec());
    let (sql, values): (_, Params) = match wanted {
        Wanted::One(only) => {
            let only = int(only.0);
            (query("AND m.conversation_id = :only"), params! {user, device, only})
        }
        Wanted::After(after, limit) => {
            let after = int(after.0);
            let condition = "AND m.conversation_id > :after ORDER BY m.conversation_id LIMIT :limit";
            (query(condition), params! {user, device, after, limit})
        }
    };
    rows::all(conn.exec(sql, values).await.map_err(store_error)?, sql::membership)
}
