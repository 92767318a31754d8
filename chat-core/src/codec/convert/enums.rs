//! Conversion of enumerations to and from their numbers. 0 (unspecified), and a number that this
//! version does not know, become `None`, not a default.

use crate::codec::proto;
use crate::model::{ContactState, DirectPolicy, JoinPolicy, MemberState, PresenceState, Role};

/// Defines the functions that encode and decode an enumeration of the model.
macro_rules! enumeration {
    ($encode:ident, $decode:ident, $model:ident as $wire:ident { $($value:ident = $wire_value:ident,)* }) => {
        pub(in crate::codec) fn $encode(value: $model) -> i32 {
            let value = match value {
                $($model::$value => proto::$wire::$wire_value,)*
            };
            value as i32
        }

        pub(in crate::codec) fn $decode(number: i32) -> Option<$model> {
            match proto::$wire::try_from(number) {
                $(Ok(proto::$wire::$wire_value) => Some($model::$value),)*
                Ok(proto::$wire::Unspecified) | Err(_) => None,
            }
        }
    };
}

enumeration!(direct_policy, to_direct_policy, DirectPolicy as DirectPolicy {
    Friends = Friends,
    Everyone = Everyone,
    Replies = Replies,
});
enumeration!(presence, to_presence, PresenceState as Presence {
    Online = Online,
    Idle = Idle,
    Offline = Offline,
});
enumeration!(contact_state, to_contact_state, ContactState as ContactState {
    Friend = Friend,
    Requested = Requested,
    Pending = Pending,
    None = None,
});
enumeration!(role, to_role, Role as Role {
    Member = Member,
    Admin = Admin,
    Owner = Owner,
});
enumeration!(join_policy, to_join_policy, JoinPolicy as JoinPolicy {
    Open = Open,
    Approval = Approval,
    Invite = Invite,
});
enumeration!(member_state, to_member_state, MemberState as MemberState {
    Active = Active,
    Invited = Invited,
    Requested = Requested,
    Left = Left,
    Banned = Banned,
});
