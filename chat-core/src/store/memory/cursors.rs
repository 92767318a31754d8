//! Cursors of devices and read marks of users, in the memory store.

use async_trait::async_trait;

use super::MemoryStore;
use super::tables::Tables;
use crate::model::{ConversationId, DeviceId, Member, Seq, UserId};
use crate::store::{CursorStore, StoreError};

impl Tables {
    /// Returns the membership of `user`, and `seq` limited to the last event that the user may
    /// read. Returns `None` if the user was never a member.
    fn reader_mut(&mut self, user: UserId, conversation: ConversationId, seq: Seq) -> Option<(&mut Member, Seq)> {
        let stored = self.conversations.get_mut(&conversation)?;
        let last_seq = stored.row.last_seq;
        let member = stored
            .members
            .get_mut(&user)
            .filter(|member| member.first_seq > Seq::ZERO)?;
        let seq = seq.min(member.until_seq.unwrap_or(last_seq)).min(last_seq);
        Some((member, seq))
    }
}

#[async_trait]
impl CursorStore for MemoryStore {
    async fn advance_cursors(&self, moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> Result<(), StoreError> {
        let mut state = self.write()?;
        for &(user, device, conversation, seq) in moves {
            if !state.tables.devices.contains_key(&(user, device)) {
                continue;
            }
            let Some((member, seq)) = state.tables.reader_mut(user, conversation, seq) else {
                continue;
            };
            member.delivered_seq = member.delivered_seq.max(seq);
            let cursor = state
                .tables
                .cursors
                .entry((user, device, conversation))
                .or_insert(Seq::ZERO);
            *cursor = seq.max(*cursor);
        }
        Ok(())
    }

    async fn advance_reads(&self, moves: &[(UserId, ConversationId, Seq)]) -> Result<(), StoreError> {
        let mut state = self.write()?;
        for &(user, conversation, seq) in moves {
            if let Some((member, seq)) = state.tables.reader_mut(user, conversation, seq) {
                member.read_seq = member.read_seq.max(seq);
            }
        }
        Ok(())
    }
}
