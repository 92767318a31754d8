//! Enumerations and their numbers. A number that this version does not know becomes `None`, not a
//! default.

use crate::codec::proto;
use crate::model::{ContactState, DirectPolicy, JoinPolicy, MemberState, PresenceState, Role};

macro_rules! enumeration {
    ($write:ident, $read:ident, $model:ident as $wire:ident { $($ours:ident = $theirs:ident,)* }) => {
        pub(in crate::codec) fn $write(value: $model) -> i32 {
            let value = match value {
                $($model::$ours => proto::$wire::$theirs,)*
            };
            value as i32
        }

        pub(in crate::codec) fn $read(number: i32) -> Option<$model> {
            match proto::$wire::try_from(number) {
                $(Ok(proto::$wire::$theirs) => Some($model::$ours),)*
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
