//! Description of events: fields for JSON, and text for the terminal.

use chat_core::model::{EventBody, HistoryEvent, JoinPolicy, Role, UserId};
use serde_json::{Value, json};

use super::Names;
use crate::output::date_time;

/// Fields of the JSON object that depend on the kind of event.
pub(super) type Detail = Vec<(&'static str, Value)>;

/// Returns the kind of an event, the text of a message or edit, the other fields that depend on the
/// kind, and the text for the terminal.
pub(super) fn describe(
    entry: &HistoryEvent,
    body: &EventBody,
    names: &Names,
) -> (&'static str, Option<String>, Detail, String) {
    match body {
        EventBody::Message(_) => describe_message(entry, body, names),
        EventBody::Edit { target, text } => {
            let words = format!("changed #{target} to: {text}");
            ("edit", Some(text.clone()), vec![("target", target.0.into())], words)
        }
        EventBody::Recall { target } => (
            "recall",
            None,
            vec![("target", target.0.into())],
            format!("recalled #{target}"),
        ),
        EventBody::Reaction { target, emoji, removed } => {
            let words = match removed {
                false => format!("reacted to #{target} with {emoji}"),
                true => format!("removed {emoji} from #{target}"),
            };
            let detail = vec![
                ("target", target.0.into()),
                ("emoji", json!(emoji)),
                ("removed", json!(removed)),
            ];
            ("reaction", None, detail, words)
        }
        _ => {
            let (kind, detail, words) = describe_group(body, names)
                .or_else(|| describe_inbox(entry, body, names))
                .unwrap_or((
                    "unknown",
                    Vec::new(),
                    "sent an event that this version does not know".to_owned(),
                ));
            (kind, None, detail, words)
        }
    }
}

/// Does what [`describe`] does, for a message.
fn describe_message(
    entry: &HistoryEvent,
    body: &EventBody,
    names: &Names,
) -> (&'static str, Option<String>, Detail, String) {
    let EventBody::Message(message) = body else {
        unreachable!("the caller has matched a message")
    };
    let mut detail = Detail::new();
    let mut words = String::new();
    if let Some(target) = message.reply_to {
        detail.push(("reply_to", target.0.into()));
        words.push_str(&format!("(to #{target}) "));
    }
    if !message.mentions.is_empty() {
        let mentioned: Vec<_> = message.mentions.iter().map(|user| name_of(names, *user)).collect();
        detail.push(("mentions", json!(mentioned)));
    }
    if message.mention_all {
        detail.push(("mention_all", true.into()));
    }
    let mut text = message.text.clone();
    if let (Some(edited), Some(seq)) = (&entry.edited_text, entry.event.edited_seq) {
        text.clone_from(edited);
        detail.push(("edited_seq", seq.0.into()));
    }
    words.push_str(&text);
    if entry.edited_text.is_some() {
        words.push_str(" (edited)");
    }
    if let Some(seq) = entry.event.recalled_seq {
        detail.push(("recalled_seq", seq.0.into()));
        words = "(recalled)".to_owned();
    }
    ("message", Some(text), detail, words)
}

/// Describes an event in the log of a group; returns `None` for other events.
fn describe_group(body: &EventBody, names: &Names) -> Option<(&'static str, Detail, String)> {
    let name = |user: &UserId| name_of(names, *user);
    let user_detail = |user: &UserId| ("user", json!(name(user)));
    Some(match body {
        EventBody::GroupCreated { name } => (
            "group_created",
            vec![("name", json!(name))],
            format!("created the group {name}"),
        ),
        EventBody::MemberJoined { user, by: None } => ("member_joined", vec![user_detail(user)], "joined".to_owned()),
        EventBody::MemberJoined { user, by: Some(by) } => {
            let words = format!("added {}", name(user));
            ("member_joined", vec![user_detail(user), ("by", json!(name(by)))], words)
        }
        EventBody::MemberLeft { user } => ("member_left", vec![user_detail(user)], "left".to_owned()),
        EventBody::MemberKicked { user, banned } => {
            let words = format!(
                "removed {}{}",
                name(user),
                if *banned { " and banned them" } else { "" }
            );
            (
                "member_kicked",
                vec![user_detail(user), ("banned", json!(banned))],
                words,
            )
        }
        EventBody::RoleChanged { user, role } => {
            let role = role_name(*role);
            let words = format!("made {} {role}", name(user));
            ("role_changed", vec![user_detail(user), ("role", json!(role))], words)
        }
        EventBody::OwnershipTransferred { to } => {
            let words = format!("made {} the owner", name(to));
            ("ownership_transferred", vec![("to", json!(name(to)))], words)
        }
        EventBody::MemberMuted { user, until } => {
            let words = match until.0 {
                0 => format!("unmuted {}", name(user)),
                until => format!("muted {} until {}", name(user), date_time(until)),
            };
            (
                "member_muted",
                vec![user_detail(user), ("until_ms", until.0.into())],
                words,
            )
        }
        EventBody::GroupUpdated {
            name,
            description,
            join_policy,
            history_visible,
            unlisted,
        } => {
            let detail = vec![
                ("name", json!(name)),
                ("description", json!(description)),
                ("join_policy", json!(policy_name(*join_policy))),
                ("history_visible", json!(history_visible)),
                ("unlisted", json!(unlisted)),
            ];
            ("group_updated", detail, format!("updated the group {name}"))
        }
        EventBody::GroupDeleted => ("group_deleted", Vec::new(), "deleted the group".to_owned()),
        _ => return None,
    })
}

/// Describes an event of the inbox; returns `None` for other events.
fn describe_inbox(entry: &HistoryEvent, body: &EventBody, names: &Names) -> Option<(&'static str, Detail, String)> {
    let name = |user: &UserId| name_of(names, *user);
    let group =
        |id: &chat_core::model::ConversationId, name: &str| vec![("group", json!(name)), ("group_id", id.0.into())];
    Some(match body {
        EventBody::FriendRequested { from, note } => {
            let detail = vec![("user", json!(name(from))), ("note", json!(note))];
            let words = format!("wants to be your friend{}", note_suffix(note));
            ("friend_requested", detail, words)
        }
        EventBody::FriendAnswered { by, accepted } => {
            let words = if *accepted {
                "is your friend now"
            } else {
                "declined your friend request"
            };
            (
                "friend_answered",
                vec![("user", json!(name(by))), ("accepted", json!(accepted))],
                words.to_owned(),
            )
        }
        EventBody::FriendRemoved { by } => (
            "friend_removed",
            vec![("user", json!(name(by)))],
            "is no longer your friend".to_owned(),
        ),
        EventBody::GroupInvited {
            group: id,
            group_name,
            by,
        } => {
            let mut detail = group(id, group_name);
            detail.push(("by", json!(name(by))));
            ("group_invited", detail, format!("invites you to {group_name}"))
        }
        EventBody::JoinRequested {
            group: id,
            group_name,
            user,
            note,
        } => {
            let mut detail = group(id, group_name);
            detail.extend([("user", json!(name(user))), ("note", json!(note))]);
            let words = format!("wants to join {group_name}{}", note_suffix(note));
            ("join_requested", detail, words)
        }
        EventBody::JoinAnswered {
            group: id,
            group_name,
            accepted,
        } => {
            let mut detail = group(id, group_name);
            detail.push(("accepted", json!(accepted)));
            let words = if *accepted {
                "approved your request to join"
            } else {
                "rejected your request to join"
            };
            ("join_answered", detail, format!("{words} {group_name}"))
        }
        EventBody::RemovedFromGroup {
            group: id,
            group_name,
            by,
        } => {
            let mut detail = group(id, group_name);
            detail.push(("by", json!(name(by))));
            ("removed_from_group", detail, format!("removed you from {group_name}"))
        }
        EventBody::InvitationDeclined {
            group: id,
            group_name,
            user,
        } => {
            let mut detail = group(id, group_name);
            detail.push(("user", json!(name(user))));
            (
                "invitation_declined",
                detail,
                format!("declined the invitation to {group_name}"),
            )
        }
        EventBody::ConversationOpened { conversation, peer } => {
            let detail = vec![("peer", json!(name(peer))), ("conversation_id", conversation.0.into())];
            (
                "conversation_opened",
                detail,
                if *peer == entry.event.sender {
                    "opened a conversation with you".to_owned()
                } else {
                    format!("opened a conversation with {}", name(peer))
                },
            )
        }
        _ => return None,
    })
}

/// Returns a note as the end of a sentence; empty if there is no note.
fn note_suffix(note: &str) -> String {
    if note.is_empty() {
        String::new()
    } else {
        format!(": {note}")
    }
}

/// Returns the users whose names the line of an event contains. A user may occur twice.
pub(crate) fn users_in(entry: &HistoryEvent, body: &EventBody) -> Vec<UserId> {
    let mut users = vec![entry.event.sender];
    match body {
        EventBody::Message(message) => users.extend(&message.mentions),
        EventBody::MemberJoined { user, by } => {
            users.push(*user);
            users.extend(by);
        }
        EventBody::MemberLeft { user }
        | EventBody::MemberKicked { user, .. }
        | EventBody::RoleChanged { user, .. }
        | EventBody::MemberMuted { user, .. }
        | EventBody::JoinRequested { user, .. }
        | EventBody::InvitationDeclined { user, .. }
        | EventBody::OwnershipTransferred { to: user }
        | EventBody::FriendRequested { from: user, .. }
        | EventBody::FriendAnswered { by: user, .. }
        | EventBody::FriendRemoved { by: user }
        | EventBody::GroupInvited { by: user, .. }
        | EventBody::RemovedFromGroup { by: user, .. }
        | EventBody::ConversationOpened { peer: user, .. } => users.push(*user),
        _ => {}
    }
    users
}

/// Returns the name of a user, "system" for the system, or `#` and the id if the name is unknown.
pub(super) fn name_of(names: &Names, user: UserId) -> String {
    if user == UserId::SYSTEM {
        return "system".to_owned();
    }
    names.get(&user).cloned().unwrap_or_else(|| format!("#{user}"))
}

pub(in crate::output) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
        Role::Owner => "owner",
    }
}

pub(in crate::output) const fn policy_name(policy: JoinPolicy) -> &'static str {
    match policy {
        JoinPolicy::Open => "open",
        JoinPolicy::Approval => "approval",
        JoinPolicy::Invite => "invite",
    }
}
