//! Events of a conversation, one line each.
//!
//! ```json
//! {"event":"message","conversation":{"direct":"bob"},"seq":7,"id":"…","from":"alice","time_ms":1,"text":"hi"}
//! ```
//! docs/client.md documents every kind.

mod describe;

use std::collections::HashMap;

use chat_core::model::{
    ConversationInfo, ConversationView, EventBody, HistoryEvent, Seq, UserId, sanitize_for_terminal,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Show, Style, date_time, single_line};
use describe::{describe, name_of};

pub(crate) use describe::users_in;
pub(super) use describe::{policy_name, role_name};

/// Beginning of a message that says what its sender does: `/me waves` appears as
/// `bob: * bob waves`.
pub(crate) const ME_PREFIX: &str = "/me ";

/// User names by id.
pub(crate) type Names = HashMap<UserId, String>;

/// Name of a conversation. It serializes to the form that JSON output has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConversationName {
    Direct(String),
    Group(String),
    /// The value is always `true`.
    Inbox(bool),
}

impl ConversationName {
    pub(crate) fn of(info: &ConversationInfo) -> Self {
        match &info.view {
            ConversationView::Direct(peer) => Self::Direct(peer.name.clone()),
            ConversationView::Group(group) => Self::Group(group.profile.name.clone()),
            ConversationView::Inbox => Self::Inbox(true),
        }
    }

    /// Returns the name for the terminal; groups begin with `#`.
    pub(crate) fn label(&self) -> String {
        let label = match self {
            Self::Direct(name) => name.clone(),
            Self::Group(name) => format!("#{name}"),
            Self::Inbox(_) => "inbox".to_owned(),
        };
        single_line(&label)
    }
}

/// Says that the client cannot receive the events `from` to `to` of a conversation.
pub(crate) fn describe_truncation(conversation: &ConversationInfo, from: Seq, to: Seq) -> String {
    let name = ConversationName::of(conversation).label();
    if to < conversation.first_seq {
        return format!("events #{from} to #{to} of {name} were written before you joined it last, and cannot be read");
    }
    format!("events #{from} to #{to} of {name} cannot be read: you may not read them, or the server no longer has them")
}

/// Line of one event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventLine {
    /// Kind of the event, such as `message`.
    event: &'static str,
    conversation: ConversationName,
    seq: u64,
    id: String,
    /// Name of the sender.
    from: String,
    time_ms: i64,
    /// Text of a message or edit; `None` for other events.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Further fields, which depend on the kind of event.
    #[serde(flatten)]
    detail: Map<String, Value>,
    /// Name of the user whom `words` are about: the sender or, in events about a friendship, the
    /// other user, because the owner of the inbox may be the sender.
    #[serde(skip)]
    subject: String,
    /// Text for the terminal that follows the subject, such as `recalled #3`, or the text of a
    /// message.
    #[serde(skip)]
    words: String,
}

impl EventLine {
    pub(crate) fn new(info: &ConversationInfo, entry: &HistoryEvent, body: &EventBody, names: &Names) -> Self {
        let event = &entry.event;
        let (kind, text, detail, words) = describe(entry, body, names);
        let subject = match body {
            EventBody::FriendRequested { from: user, .. }
            | EventBody::FriendAnswered { by: user, .. }
            | EventBody::FriendRemoved { by: user } => *user,
            _ => event.sender,
        };
        Self {
            event: kind,
            conversation: ConversationName::of(info),
            seq: event.seq.0,
            id: event.id.to_string(),
            from: name_of(names, event.sender),
            time_ms: event.time.0,
            text,
            detail: detail.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            subject: name_of(names, subject),
            words,
        }
    }

    /// Returns the line for the terminal without time and conversation, such as `#7 alice: hi`.
    pub(crate) fn short(&self, style: Style) -> String {
        let number = style.dim(&format!("#{}", self.seq));
        let from = style.name(&single_line(&self.from));
        let words = match self.event {
            // The name before the colon tells an action from the events that begin with a star.
            "message" => {
                let text = indent(&self.words);
                return match text.strip_prefix(ME_PREFIX) {
                    Some(action) => format!("{number} {from}: * {from} {action}"),
                    None => format!("{number} {from}: {text}"),
                };
            }
            // Only messages and their edits may have several lines.
            "edit" => indent(&self.words),
            _ => single_line(&self.words),
        };
        let words = format!("{} {words}", single_line(&self.subject));
        format!("{number} {} {}", style.dim("*"), style.dim(&words))
    }

    pub(crate) fn time_ms(&self) -> i64 {
        self.time_ms
    }
}

impl Show for EventLine {
    fn text(&self, style: Style) -> String {
        let head = format!("{} {}", date_time(self.time_ms), self.conversation.label());
        format!("{} {}", style.dim(&head), self.short(style))
    }
}

/// Escapes control characters, and indents all lines but the first, so that a message cannot
/// imitate another event.
fn indent(text: &str) -> String {
    sanitize_for_terminal(text).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests;
