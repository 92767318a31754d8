//! Code that SQL stores share: codes of enumerations, column lists, row decoding, page ranges. The
//! memory store uses a few of these helpers too.
//!
//! The schemas of the project's SQL stores have the same names of tables and columns, so these
//! column lists and decoders work for each of them.

mod codes;
mod columns;
mod log_range;
mod rows;

pub use codes::{Code, DIRECT_KIND_CODE, kind_columns};
pub use columns::ColumnReader;
pub use log_range::{LogRange, PageBudget};
pub use rows::{
    ACCOUNT_COLUMNS, AUDIT_COLUMNS, CONTACT_COLUMNS, CONVERSATION_COLUMNS, DELETE_FEED, DEVICE_COLUMNS,
    EVENT_COLUMN_COUNT, EVENT_COLUMNS, FEED_LEASE_COLUMNS, MEMBER_COLUMN_COUNT, MEMBER_COLUMNS, NEW_DEVICE_COLUMNS,
    PEER_MEMBER_COLUMNS, SELECT_FEED_POSITIONS, SELECT_STATS, SNAPSHOT_COLUMNS, account, audit_record, contact,
    conversation, conversation_id, device, event, feed_lease, feed_position, listed_group, log_version, member,
    membership, named_group, seq, stats, user_id,
};

use std::time::Duration;

use super::StoreError;
use crate::model::{ConversationId, Seq, UserId};

/// Converts an integer to the value of a signed column. Stored values are far below `i64::MAX`. A
/// larger number can only come from a request; it is clamped to a value that no row has.
#[must_use]
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns a duration in milliseconds, at most `u64::MAX`.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `keys` in ascending order without repetitions.
#[must_use]
pub fn distinct<K: Copy + Ord>(keys: &[K]) -> Vec<K> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Returns the smallest string that is greater than every string that begins with `prefix`, or
/// `None` if there is none. Compares bytes, which in UTF-8 is the order of the characters.
#[must_use]
pub fn prefix_end(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

/// Returns the error for the update of an account that does not exist.
#[must_use]
pub fn unknown_account(id: UserId) -> StoreError {
    StoreError::Defect(format!("account {id} does not exist and cannot be updated"))
}

/// Returns the error for the update of an event that does not exist.
#[must_use]
pub fn unknown_event(conversation: ConversationId, seq: Seq) -> StoreError {
    StoreError::Defect(format!("conversation {conversation} has no event {seq}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_is_the_next_string_of_the_same_length_or_shorter() {
        assert_eq!(prefix_end("ab").as_deref(), Some("ac"));
        // The code points between these two are surrogates, which are not characters.
        assert_eq!(prefix_end("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(prefix_end("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{10ffff}"), None);
        assert_eq!(prefix_end(""), None);
    }

    #[test]
    fn prefix_end_is_greater_than_every_string_with_the_prefix() {
        for prefix in ["a", "é", "𠮷"] {
            let end = prefix_end(prefix).unwrap();
            assert!(end.as_str() > prefix && end > format!("{prefix}\u{10ffff}"));
        }
    }

    #[test]
    fn int_clamps_numbers_beyond_a_signed_column() {
        assert_eq!(int(7), 7);
        assert_eq!(int(u64::MAX), i64::MAX);
    }
}
