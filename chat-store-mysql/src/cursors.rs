//! Cursors of devices (last event that a device has acknowledged) and read marks of users (last
//! event that a user has read) in conversations.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::sql_support::{self as sql, ColumnReader, distinct, int};
use chat_core::store::{CursorStore, StoreError};

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, hex, joined};
use crate::job::{CursorMove, Job, ReadMove};
use crate::rows;
use crate::tx::MysqlTx;

#[async_trait]
impl CursorStore for MysqlStore {
    async fn advance_cursors(&self, moves: &[CursorMove]) -> Result<(), StoreError> {
        self.run(Job::Cursors(moves.to_vec())).await
    }

    async fn advance_reads(&self, moves: &[ReadMove]) -> Result<(), StoreError> {
        self.run(Job::Reads(moves.to_vec())).await
    }
}

/// Returns the greatest sequence number of each key.
fn greatest<K: Ord>(moves: impl IntoIterator<Item = (K, Seq)>) -> BTreeMap<K, Seq> {
    let mut greatest = BTreeMap::new();
    for (key, seq) in moves {
        let latest = greatest.entry(key).or_insert(seq);
        *latest = seq.max(*latest);
    }
    greatest
}

impl MysqlTx<'_> {
    pub(crate) async fn advance_cursors(&mut self, moves: &[CursorMove]) -> Result<(), StoreError> {
        // `distinct` sorts the moves, so that transactions that advance cursors take locks in the
        // same order and rarely deadlock.
        for moves in distinct(moves).chunks(MAX_KEYS_PER_STATEMENT) {
            let moves = self.moves_of_known_devices(moves).await?;
            let reads: Vec<ReadMove> = moves.iter().map(|(user, _, id, seq)| (*user, *id, *seq)).collect();
            let readable = self.last_readable(&reads).await?;
            let moves = moves.into_iter().filter_map(|(user, device, id, seq)| {
                let last = readable.get(&(user, id))?;
                Some(((user, device, id), seq.min(*last)))
            });
            let cursors = greatest(moves);
            if cursors.is_empty() {
                continue;
            }
            let row = |(&(user, device, id), &seq): (&(UserId, DeviceId, ConversationId), &Seq)| {
                format!("({},{},{},{})", int(user.0), hex(&device.0), int(id.0), int(seq.0))
            };
            let rows = joined(cursors.iter().map(row), ",");
            self.query_unprepared(format!(
                "INSERT INTO device_cursor (user_id, device_id, conversation_id, seq) VALUES {rows}
                 ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))"
            ))
            .await?;
            let delivered = greatest(cursors.into_iter().map(|((user, _, id), seq)| ((id, user), seq)));
            self.advance_mark("delivered_seq", &delivered).await?;
        }
        Ok(())
    }

    pub(crate) async fn advance_reads(&mut self, moves: &[ReadMove]) -> Result<(), StoreError> {
        for moves in distinct(moves).chunks(MAX_KEYS_PER_STATEMENT) {
            let readable = self.last_readable(moves).await?;
            let moves = moves.iter().filter_map(|&(user, id, seq)| {
                let last = readable.get(&(user, id))?;
                Some(((id, user), seq.min(*last)))
            });
            let reads = greatest(moves);
            self.advance_mark("read_seq", &reads).await?;
        }
        Ok(())
    }

    /// Returns the moves of devices that exist. Share-locks the devices, so that they exist until
    /// this transaction ends.
    async fn moves_of_known_devices(&mut self, moves: &[CursorMove]) -> Result<Vec<CursorMove>, StoreError> {
        let mut devices: Vec<(UserId, DeviceId)> = moves.iter().map(|(user, device, ..)| (*user, *device)).collect();
        devices.dedup();
        let key = |(user, id): &(UserId, DeviceId)| format!("(user_id = {} AND id = {})", int(user.0), hex(&id.0));
        let keys = joined(devices.iter().map(key), " OR ");
        let sql = format!("SELECT user_id, id FROM device WHERE {keys} LOCK IN SHARE MODE");
        let known = rows::all(self.query_unprepared(sql).await?, |columns| {
            Ok((columns.user()?, DeviceId(columns.array()?)))
        })?;
        let known: std::collections::BTreeSet<_> = known.into_iter().collect();
        let moves = moves
            .iter()
            .filter(|(user, device, ..)| known.contains(&(*user, *device)));
        Ok(moves.copied().collect())
    }

    /// Returns, for each pair of user and conversation in `moves`, the last event that the user may
    /// read. Leaves out users who were never a member of the conversation.
    async fn last_readable(
        &mut self,
        moves: &[ReadMove],
    ) -> Result<BTreeMap<(UserId, ConversationId), Seq>, StoreError> {
        let mut keys: Vec<(ConversationId, UserId)> = moves.iter().map(|(user, id, _)| (*id, *user)).collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let key = |(id, user): &(ConversationId, UserId)| {
            format!("(m.conversation_id = {} AND m.user_id = {})", int(id.0), int(user.0))
        };
        let keys = joined(keys.iter().map(key), " OR ");
        let sql = format!(
            "SELECT m.user_id, m.conversation_id, LEAST(c.last_seq, IFNULL(m.until_seq, c.last_seq))
             FROM member AS m JOIN conversation AS c ON c.id = m.conversation_id
             WHERE m.first_seq > 0 AND ({keys})"
        );
        let found = rows::all(self.query_unprepared(sql).await?, |columns| {
            Ok(((columns.user()?, sql::conversation_id(columns)?), columns.seq()?))
        })?;
        Ok(found.into_iter().collect())
    }

    /// Advances the column `mark` of these memberships to the values in `to`; never lowers it.
    async fn advance_mark(
        &mut self,
        mark: &str,
        to: &BTreeMap<(ConversationId, UserId), Seq>,
    ) -> Result<(), StoreError> {
        if to.is_empty() {
            return Ok(());
        }
        let row = |((id, user), seq): (&(ConversationId, UserId), &Seq)| {
            format!(
                "SELECT {} AS id, {} AS user, {} AS seq",
                int(id.0),
                int(user.0),
                int(seq.0)
            )
        };
        let rows = joined(to.iter().map(row), " UNION ALL ");
        self.query_unprepared(format!(
            "UPDATE member AS m JOIN ({rows}) AS new ON m.conversation_id = new.id AND m.user_id = new.user
             SET m.{mark} = new.seq WHERE m.{mark} < new.seq"
        ))
        .await
        .map(drop)
    }
}
