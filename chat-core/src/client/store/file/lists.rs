//! Cursors and names as text: one per line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::{ConversationId, Seq, UserId};

pub(super) fn format_cursors(cursors: &BTreeMap<ConversationId, Seq>) -> String {
    let mut text = String::new();
    for (conversation, seq) in cursors {
        let _ = writeln!(text, "{conversation} {seq}"); // a String takes everything
    }
    text
}

pub(super) fn parse_cursors(text: &str) -> Result<BTreeMap<ConversationId, Seq>, String> {
    let parse = |line: &str| {
        let (conversation, seq) = line.split_once(' ')?;
        Some((ConversationId(conversation.parse().ok()?), Seq(seq.parse().ok()?)))
    };
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| parse(line).ok_or_else(|| format!("line {} is no cursor", at + 1)))
        .collect()
}

pub(super) fn format_names(names: &BTreeMap<UserId, String>) -> String {
    let mut text = String::new();
    for (user, name) in names {
        let _ = writeln!(text, "{user} {name}"); // a String takes everything
    }
    text
}

/// Names are asked for again where a line is damaged.
pub(super) fn parse_names(text: &str) -> BTreeMap<UserId, String> {
    let parse = |line: &str| {
        let (user, name) = line.split_once(' ')?;
        Some((UserId(user.parse().ok()?), name.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}
