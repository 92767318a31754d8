//! Numeric codes by which columns store enumerations. The codes are part of every schema: never
//! reuse a code.

use super::int;
use crate::model::{ContactState, ConversationKind, DirectPolicy, JoinPolicy, MemberState, Role, UserId};

/// A type whose values a column stores as numeric codes.
pub trait Code: Sized + Copy + PartialEq + 'static {
    /// Every value with its code.
    const CODES: &'static [(Self, i64)];

    /// Returns the code of this value.
    fn code(self) -> i64 {
        let found = Self::CODES.iter().find(|(value, _)| *value == self);
        found.expect("every value has a code").1
    }

    /// Returns the value with this code, or `None` if no value has it.
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

codes!(DirectPolicy: Friends = 0, Everyone = 1, Replies = 2);
codes!(ContactState: None = 0, Requested = 1, Pending = 2, Friend = 3);
codes!(JoinPolicy: Open = 0, Approval = 1, Invite = 2);
codes!(Role: Member = 0, Admin = 1, Owner = 2);
codes!(MemberState: Active = 0, Invited = 1, Requested = 2, Left = 3, Banned = 4);

/// Code of direct conversations in the column `conversation.kind`.
pub const DIRECT_KIND_CODE: i64 = 1;
const GROUP_KIND_CODE: i64 = 2;
const INBOX_KIND_CODE: i64 = 3;

/// Returns the columns `kind`, `low_id` and `high_id` for a conversation of this kind.
#[must_use]
pub fn kind_columns(kind: &ConversationKind) -> (i64, Option<i64>, Option<i64>) {
    match kind {
        ConversationKind::Direct { low, high } => (DIRECT_KIND_CODE, Some(int(low.0)), Some(int(high.0))),
        ConversationKind::Group => (GROUP_KIND_CODE, None, None),
        ConversationKind::Inbox { owner } => (INBOX_KIND_CODE, Some(int(owner.0)), Some(int(owner.0))),
    }
}

/// Returns the kind with these columns (the inverse of [`kind_columns`]), or `None` if they are
/// invalid.
pub(super) fn kind_from_columns(kind: i64, low: Option<UserId>, high: Option<UserId>) -> Option<ConversationKind> {
    match (kind, low, high) {
        (DIRECT_KIND_CODE, Some(low), Some(high)) => Some(ConversationKind::Direct { low, high }),
        (GROUP_KIND_CODE, None, None) => Some(ConversationKind::Group),
        (INBOX_KIND_CODE, Some(owner), Some(_)) => Some(ConversationKind::Inbox { owner }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_columns_convert_back_to_the_kind() {
        for kind in [
            ConversationKind::Direct {
                low: UserId(1),
                high: UserId(2),
            },
            ConversationKind::Group,
            ConversationKind::Inbox { owner: UserId(3) },
        ] {
            let (code, low, high) = kind_columns(&kind);
            let user = |id: i64| UserId(id.unsigned_abs());
            assert_eq!(kind_from_columns(code, low.map(user), high.map(user)), Some(kind));
        }
        assert_eq!(kind_from_columns(GROUP_KIND_CODE, Some(UserId(1)), None), None);
        assert_eq!(kind_from_columns(9, None, None), None);
    }

    #[test]
    fn every_code_converts_back_to_its_value() {
        fn check<T: Code + std::fmt::Debug>() {
            for (value, code) in T::CODES {
                assert_eq!(value.code(), *code);
                assert_eq!(T::from_code(*code), Some(*value));
            }
        }
        check::<DirectPolicy>();
        check::<ContactState>();
        check::<JoinPolicy>();
        check::<Role>();
        check::<MemberState>();
    }
}
