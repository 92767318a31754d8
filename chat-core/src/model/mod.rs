//! The types of the domain as plain data: ids, events, commands, outcomes and codes. This module
//! imports no other module of the crate.

mod account;
mod change;
mod cluster_key;
mod code;
mod command;
mod conversation;
mod cursor;
mod draft;
mod event;
mod id;
mod name;
mod outcome;
mod page;
mod reference;
mod session;
mod text;

pub use account::{Account, Contact, ContactState, Device, DirectPolicy, PresenceState, UserInfo};
pub use change::{GroupChanges, NewGroup, ProfileChanges};
pub use cluster_key::ClusterKey;
pub use code::{CloseCode, ReplyCode};
pub use command::Command;
pub use conversation::{
    Conversation, ConversationKind, GroupProfile, GroupSnapshot, JoinPolicy, Member, MemberState, Role,
};
pub use cursor::{Cursor, EventIdentity};
pub use draft::{Draft, DraftContent};
pub use event::{Event, EventBody, EventKind, Message};
pub use id::{
    ClientMessageId, ConversationId, DeviceId, EventId, NodeId, Seq, SessionEpoch, SessionId, StoreEpoch, Timestamp,
    UserId,
};
pub use name::{DisplayName, GroupName, NameError, ShownChar, UserName};
pub use outcome::{
    Appended, ContactInfo, ContactPage, ConversationInfo, ConversationPage, ConversationView, DeviceInfo, GroupInfo,
    HistoryEvent, HistoryPage, MemberInfo, MemberPage, Outcome, Push,
};
pub use page::{ConversationQuery, Page, PageFrom};
pub use reference::{ConversationRef, UserRef};
pub use session::{Caller, Login, Origin, Registration, Secret, SessionTokens, Source};
pub(crate) use text::is_label;
pub use text::{Description, Emoji, MessageText, Note, ShortText, TextError, escape_for_log, sanitize_for_terminal};

#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;

mod internals {
    pub use super::id::ConnectionId;
    pub use super::session::{LoginGrant, Resume};
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn infos_serialize_as_the_client_prints_them() {
        let bob = UserInfo::new(UserId(2), "bob");
        let mut contact = ContactInfo::new(bob.clone(), ContactState::Friend);
        contact.presence = Some(PresenceState::Online);
        let expected = json!({
            "id": 2, "name": "bob", "display_name": "bob", "state": "friend", "blocked": false, "note": "",
            "since_ms": 0, "presence": "online",
        });
        assert_eq!(serde_json::to_value(&contact).unwrap(), expected);

        let member = MemberInfo::new(bob.clone(), Role::Admin, MemberState::Active);
        let expected = json!({
            "id": 2, "name": "bob", "display_name": "bob", "role": "admin", "state": "active", "muted_until_ms": 0,
            "delivered_seq": 0, "read_seq": 0,
        });
        assert_eq!(serde_json::to_value(&member).unwrap(), expected);

        let info = ConversationInfo::new(ConversationId(3), ConversationView::Direct(bob));
        let value = serde_json::to_value(&info).unwrap();
        assert_eq!(value["conversation"]["direct"]["name"], "bob");
        assert_eq!((&value["id"], &value["last_time_ms"]), (&json!(3), &json!(0)));
    }

    #[test]
    fn ids_survive_a_round_trip_through_json() {
        let (device, user) = (DeviceId::random(), UserId(7));
        let text = serde_json::to_string(&(device, user)).unwrap();
        assert_eq!(text, format!("[\"{device}\",7]"));
        assert_eq!(
            serde_json::from_str::<(DeviceId, UserId)>(&text).unwrap(),
            (device, user)
        );
    }
}
