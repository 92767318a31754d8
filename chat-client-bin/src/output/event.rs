//! Entries of a log, one line each.
//!
//! ```json
//! {"event":"message","conversation":{"direct":"bob"},"seq":7,"id":"…","from":"alice","time_ms":1,"text":"hi"}
//! ```
//! docs/client.md has every kind.

mod describe;

use std::collections::HashMap;

use chat_core::model::{ConversationInfo, ConversationView, EventBody, HistoryEvent, UserId, sanitize_for_terminal};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Show, Style, clock};
use describe::{describe, name_of};

pub(crate) use describe::users_in;
pub(super) use describe::{policy_name, role_name};

/// Names of users.
pub(crate) type Names = HashMap<UserId, String>;

/// Which conversation, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    Direct(String),
    Group(String),
    Inbox(bool),
}

impl Place {
    pub(crate) fn of(info: &ConversationInfo) -> Self {
        match &info.view {
            ConversationView::Direct(peer) => Self::Direct(peer.name.clone()),
            ConversationView::Group(group) => Self::Group(group.profile.name.clone()),
            ConversationView::Inbox => Self::Inbox(true),
        }
    }

    /// For people: groups begin with `#`.
    pub(crate) fn label(&self) -> String {
        let label = match self {
            Self::Direct(name) => name.clone(),
            Self::Group(name) => format!("#{name}"),
            Self::Inbox(_) => "inbox".to_owned(),
        };
        sanitize_for_terminal(&label).into_owned()
    }
}

/// One entry of a log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventLine {
    event: &'static str,
    conversation: Place,
    seq: u64,
    id: String,
    from: String,
    time_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(flatten)]
    detail: Map<String, Value>,
    #[serde(skip)]
    words: String,
}

impl EventLine {
    pub(crate) fn new(info: &ConversationInfo, found: &HistoryEvent, body: &EventBody, names: &Names) -> Self {
        let event = &found.event;
        let (kind, text, detail, words) = describe(found, body, names);
        Self {
            event: kind,
            conversation: Place::of(info),
            seq: event.seq.0,
            id: event.id.to_string(),
            from: name_of(names, event.sender),
            time_ms: event.time.0,
            text,
            detail: detail.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            words,
        }
    }

    /// For the terminal, within its conversation: `#7 alice: hi`.
    pub(crate) fn short(&self, style: Style) -> String {
        let number = style.dim(&format!("#{}", self.seq));
        let from = style.name(&sanitize_for_terminal(&self.from));
        match self.event {
            "message" => format!("{number} {from}: {}", indent(&self.words)),
            _ => format!(
                "{number} {} {}",
                style.dim("*"),
                style.dim(&indent(&format!("{} {}", self.from, self.words)))
            ),
        }
    }

    pub(crate) fn time_ms(&self) -> i64 {
        self.time_ms
    }
}

impl Show for EventLine {
    fn text(&self, style: Style) -> String {
        let head = format!("{} {}", clock(self.time_ms), self.conversation.label());
        format!("{} {}", style.dim(&head), self.short(style))
    }
}

/// Lines after the first cannot pass for lines of their own.
fn indent(text: &str) -> String {
    sanitize_for_terminal(text).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests;
