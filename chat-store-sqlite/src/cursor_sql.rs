//! Statements that advance the cursors of devices (last event that a device has acknowledged) and
//! the read marks of users (last event that a user has read) in conversations.

use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::sql_support::int;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

/// SQL expression of ?3, or of the last event of the conversation `c` that the member `m` may read
/// if that is smaller.
const READABLE: &str = "MIN(?3, c.last_seq, IFNULL(m.until_seq, c.last_seq))";

/// FROM and WHERE clauses that select the membership of user ?1 in conversation ?2, unless the user
/// was never a member of it.
const FROM_MEMBERSHIP: &str = "FROM member AS m JOIN conversation AS c ON c.id = m.conversation_id
     WHERE m.conversation_id = ?2 AND m.user_id = ?1 AND m.first_seq > 0";

/// Advances cursors of devices, and with each cursor the `delivered_seq` of the user's membership.
/// Ignores unknown devices, and users who were never a member of the conversation. A number beyond
/// the last event that the user may read counts as that event.
pub(crate) fn advance_cursors(
    conn: &Connection,
    moves: &[(UserId, DeviceId, ConversationId, Seq)],
) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO device_cursor (user_id, conversation_id, seq, device_id)
         SELECT ?1, ?2, {READABLE}, ?4 {FROM_MEMBERSHIP}
             AND EXISTS (SELECT 1 FROM device WHERE user_id = ?1 AND id = ?4)
         ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE seq < excluded.seq
         RETURNING seq"
    );
    let mut cursor = conn.prepare_cached(&sql)?;
    let mut delivered = conn.prepare_cached(
        "UPDATE member SET delivered_seq = ?3 WHERE conversation_id = ?2 AND user_id = ?1 AND delivered_seq < ?3",
    )?;
    for (user, device, conversation, seq) in moves {
        let (user, conversation, seq) = (int(user.0), int(conversation.0), int(seq.0));
        if let Some(seq) = move_cursor(&mut cursor, user, conversation, seq, *device)? {
            delivered.execute([user, conversation, seq])?;
        }
    }
    Ok(())
}

/// Executes the statement, and returns the new position of the cursor if it moved.
fn move_cursor(
    statement: &mut CachedStatement<'_>,
    user: i64,
    conversation: i64,
    seq: i64,
    device: DeviceId,
) -> rusqlite::Result<Option<i64>> {
    let moved = statement.query_row(params![user, conversation, seq, device.0], |row| row.get(0));
    moved.optional()
}

/// Advances read marks of users. Ignores users who were never a member of the conversation. A
/// number beyond the last event that the user may read counts as that event.
pub(crate) fn advance_reads(conn: &Connection, moves: &[(UserId, ConversationId, Seq)]) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE member SET read_seq = mark.seq FROM (SELECT {READABLE} AS seq {FROM_MEMBERSHIP}) AS mark
         WHERE conversation_id = ?2 AND user_id = ?1 AND read_seq < mark.seq"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    for (user, conversation, seq) in moves {
        statement.execute([int(user.0), int(conversation.0), int(seq.0)])?;
    }
    Ok(())
}
