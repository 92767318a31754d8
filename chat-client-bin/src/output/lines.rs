//! Lines of the output of commands, other than the events of conversations. docs/client.md
//! documents every kind.

use chat_core::model::{
    Appended, ClientMessageId, ContactInfo, ContactState, ConversationInfo, DeviceInfo, DirectPolicy, GroupInfo,
    MemberInfo, MemberState, PresenceState, UserInfo,
};
use serde::Serialize;

use super::event::{ConversationName, policy_name, role_name};
use super::{Show, Style, date_time, pad, single_line};

/// Confirmation of a command that returns nothing else.
#[derive(Debug, Serialize)]
pub(crate) struct DoneLine {
    /// Last word of the name of the command.
    done: &'static str,
    #[serde(skip)]
    words: String,
}

impl DoneLine {
    pub(crate) fn new(done: &'static str, words: impl Into<String>) -> Self {
        Self {
            done,
            words: words.into(),
        }
    }
}

impl Show for DoneLine {
    fn text(&self, _: Style) -> String {
        single_line(&self.words)
    }
}

/// Confirmation of a stored message, edit, recall or reaction.
#[derive(Debug, Serialize)]
pub(crate) struct SentLine {
    event: &'static str,
    conversation: ConversationName,
    seq: u64,
    id: String,
    client_message_id: String,
    time_ms: i64,
}

impl SentLine {
    pub(crate) fn new(conversation: ConversationName, id: ClientMessageId, appended: &Appended) -> Self {
        Self {
            event: "sent",
            conversation,
            seq: appended.seq.0,
            id: appended.event_id.to_string(),
            client_message_id: id.to_string(),
            time_ms: appended.time.0,
        }
    }
}

impl Show for SentLine {
    fn text(&self, _: Style) -> String {
        self.seq.to_string()
    }
}

/// Line of a user.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UserLine {
    id: u64,
    name: String,
    display_name: String,
}

impl From<&UserInfo> for UserLine {
    fn from(user: &UserInfo) -> Self {
        Self {
            id: user.id.0,
            name: user.name.clone(),
            display_name: user.display_name.clone(),
        }
    }
}

impl UserLine {
    fn words(&self, style: Style) -> String {
        let name = pad(&single_line(&self.name), 20);
        let display = if self.display_name == self.name {
            String::new()
        } else {
            format!(" {}", single_line(&self.display_name))
        };
        format!(
            "{} {}{}",
            style.bold(&name),
            style.dim(&format!("{:>6}", self.id)),
            display
        )
    }
}

impl Show for UserLine {
    fn text(&self, style: Style) -> String {
        self.words(style)
    }
}

/// Line of the logged-in user, with device and server.
#[derive(Debug, Serialize)]
pub(crate) struct WhoLine {
    user: UserLine,
    direct_policy: &'static str,
    device: String,
    server: String,
}

impl WhoLine {
    pub(crate) fn new(user: &UserInfo, device: String, server: &str) -> Self {
        Self {
            user: user.into(),
            direct_policy: match user.direct_policy {
                Some(DirectPolicy::Everyone) => "everyone",
                Some(DirectPolicy::Replies) => "replies",
                _ => "friends",
            },
            device,
            server: server.to_owned(),
        }
    }
}

impl Show for WhoLine {
    fn text(&self, _: Style) -> String {
        let user = &self.user;
        let text = format!(
            "{} (user {}, device {}) at {}",
            user.name, user.id, self.device, self.server
        );
        single_line(&text)
    }
}

/// Line of a contact.
#[derive(Debug, Serialize)]
pub(crate) struct ContactLine {
    #[serde(flatten)]
    user: UserLine,
    state: &'static str,
    /// True if the user has blocked the contact.
    blocked: bool,
    /// Text of the open friend request; empty if there is none.
    note: String,
    /// Time at which the state changed last or, if it never did, the contact was blocked.
    since_ms: i64,
    /// `None` unless the contact is a friend.
    #[serde(skip_serializing_if = "Option::is_none")]
    presence: Option<&'static str>,
}

impl From<&ContactInfo> for ContactLine {
    fn from(contact: &ContactInfo) -> Self {
        Self {
            user: (&contact.user).into(),
            state: match contact.state {
                ContactState::None => "none",
                ContactState::Requested => "requested",
                ContactState::Pending => "pending",
                ContactState::Friend => "friend",
            },
            blocked: contact.blocked,
            note: contact.note.clone(),
            since_ms: contact.since.0,
            presence: contact.presence.map(|presence| match presence {
                PresenceState::Online => "online",
                PresenceState::Idle => "idle",
                PresenceState::Offline => "offline",
            }),
        }
    }
}

impl Show for ContactLine {
    fn text(&self, style: Style) -> String {
        let state = match (self.state, self.blocked) {
            (_, true) => "blocked",
            ("requested", _) => "request sent",
            ("pending", _) => "wants to be your friend",
            (state, _) => self.presence.unwrap_or(state),
        };
        let note = if self.note.is_empty() {
            String::new()
        } else {
            format!(": {}", single_line(&self.note))
        };
        format!("{} {state}{note}", self.user.words(style))
    }
}

/// Line of a conversation with its unread counts.
#[derive(Debug, Serialize)]
pub(crate) struct ConversationLine {
    conversation: ConversationName,
    id: u64,
    last_seq: u64,
    read_seq: u64,
    unread: u32,
    unread_mentions: u32,
    /// False if the user has left the group or was removed, or if it was deleted.
    active: bool,
    last_time_ms: i64,
}

impl From<&ConversationInfo> for ConversationLine {
    fn from(info: &ConversationInfo) -> Self {
        Self {
            conversation: ConversationName::of(info),
            id: info.id.0,
            last_seq: info.last_seq.0,
            read_seq: info.read_seq.0,
            unread: info.unread,
            unread_mentions: info.unread_mentions,
            active: info.active,
            last_time_ms: info.last_time.0,
        }
    }
}

impl Show for ConversationLine {
    fn text(&self, style: Style) -> String {
        let label = pad(&self.conversation.label(), 24);
        let unread = if self.unread > 0 {
            format!("{} unread", self.unread)
        } else {
            String::new()
        };
        let mentions = if self.unread_mentions > 0 {
            format!(", {} for you", self.unread_mentions)
        } else {
            String::new()
        };
        let suffix = if self.active { "" } else { " (inactive)" };
        let counts = style.bold(&format!("{unread}{mentions}"));
        format!("{label} {} {counts}{suffix}", style.dim(&date_time(self.last_time_ms)))
    }
}

/// Line of a group.
#[derive(Debug, Serialize)]
pub(crate) struct GroupLine {
    group: String,
    id: u64,
    description: String,
    join_policy: &'static str,
    history_visible: bool,
    unlisted: bool,
    members: u32,
    /// Role of the user; `None` in search results.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

impl GroupLine {
    pub(crate) fn new(group: &GroupInfo, role: Option<chat_core::model::Role>) -> Self {
        Self {
            group: group.profile.name.clone(),
            id: group.id.0,
            description: group.profile.description.clone(),
            join_policy: policy_name(group.profile.join_policy),
            history_visible: group.profile.history_visible,
            unlisted: group.profile.unlisted,
            members: group.member_count,
            role: role.map(role_name),
        }
    }
}

impl Show for GroupLine {
    fn text(&self, style: Style) -> String {
        let name = pad(&single_line(&self.group), 24);
        let role = self.role.map_or(String::new(), |role| format!(", {role}"));
        let members = if self.members == 1 { "member" } else { "members" };
        let description = single_line(&self.description);
        let counts = format!("#{} {} {members}, {}{role}", self.id, self.members, self.join_policy);
        format!("{} {} {description}", style.bold(&name), style.dim(&counts))
            .trim_end()
            .to_owned()
    }
}

/// Line of a group member.
#[derive(Debug, Serialize)]
pub(crate) struct MemberLine {
    #[serde(flatten)]
    user: UserLine,
    role: &'static str,
    state: &'static str,
    /// Time until which the member is muted; 0 if the member is not muted.
    muted_until_ms: i64,
    delivered_seq: u64,
    read_seq: u64,
}

impl From<&MemberInfo> for MemberLine {
    fn from(member: &MemberInfo) -> Self {
        Self {
            user: (&member.user).into(),
            role: role_name(member.role),
            state: match member.state {
                MemberState::Active => "active",
                MemberState::Invited => "invited",
                MemberState::Requested => "requested",
                MemberState::Left => "left",
                MemberState::Banned => "banned",
            },
            muted_until_ms: member.muted_until.0,
            delivered_seq: member.delivered_seq.0,
            read_seq: member.read_seq.0,
        }
    }
}

impl Show for MemberLine {
    fn text(&self, style: Style) -> String {
        let state = if self.state == "active" { self.role } else { self.state };
        let muted = match self.muted_until_ms {
            0 => String::new(),
            until => format!(", muted until {}", date_time(until)),
        };
        format!("{} {state}{muted}", self.user.words(style))
    }
}

/// Line of a device.
#[derive(Debug, Serialize)]
pub(crate) struct DeviceLine {
    device: String,
    name: String,
    created_ms: i64,
    last_login_ms: i64,
    /// True if the device has a session.
    online: bool,
    /// True for the device that this client logged in with.
    current: bool,
}

impl From<&DeviceInfo> for DeviceLine {
    fn from(device: &DeviceInfo) -> Self {
        Self {
            device: device.id.to_string(),
            name: device.name.clone(),
            created_ms: device.created.0,
            last_login_ms: device.last_login.0,
            online: device.online,
            current: device.current,
        }
    }
}

impl Show for DeviceLine {
    fn text(&self, style: Style) -> String {
        let mark = if self.current {
            "this device"
        } else if self.online {
            "online"
        } else {
            ""
        };
        let name = pad(&single_line(&self.name), 32);
        format!(
            "{} {name} {} {mark}",
            self.device,
            style.dim(&date_time(self.last_login_ms))
        )
        .trim_end()
        .to_owned()
    }
}

#[cfg(test)]
mod tests;
