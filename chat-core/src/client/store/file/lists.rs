//! Cursors and names as text: one per line. Cursors begin with a digest of all of them, since a wrong one would hide events.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::client::{Cursor, Mark};
use crate::model::{ConversationId, Seq, Timestamp, UserId};

const DIGEST: &str = "sha256";

/// A line: conversation, place, and the id and the time of what stands there, if they are known.
pub(super) fn format_cursors(cursors: &BTreeMap<ConversationId, Cursor>) -> String {
    let mut lines = String::new();
    for (conversation, Cursor { seq, mark }) in cursors {
        let _ = match mark {
            Some(Mark { id, time }) => writeln!(lines, "{conversation} {seq} {id} {}", time.0),
            None => writeln!(lines, "{conversation} {seq}"),
        }; // a String takes everything
    }
    format!("{DIGEST} {}\n{lines}", digest(&lines))
}

/// Reads them back; a file of before there were digests or marks, too.
pub(super) fn parse_cursors(text: &str) -> Result<BTreeMap<ConversationId, Cursor>, String> {
    let (expected, lines) = match text.strip_prefix(DIGEST).and_then(|rest| rest.split_once('\n')) {
        Some((expected, lines)) => (Some(expected.trim()), lines),
        None => (None, text),
    };
    if expected.is_some_and(|expected| expected != digest(lines)) {
        return Err("some of it is missing or garbled".to_owned());
    }
    let lines = lines.lines().enumerate();
    lines
        .map(|(at, line)| parse_cursor(line).ok_or_else(|| format!("line {} is no cursor", at + 1)))
        .collect()
}

fn parse_cursor(line: &str) -> Option<(ConversationId, Cursor)> {
    let words: Vec<&str> = line.split(' ').collect();
    let (conversation, seq, mark) = match words[..] {
        [conversation, seq] => (conversation, seq, None),
        [conversation, seq, id, time] => {
            let (id, time) = (id.parse().ok()?, Timestamp(time.parse().ok()?));
            (conversation, seq, Some(Mark { id, time }))
        }
        _ => return None,
    };
    let seq = Seq(seq.parse().ok()?);
    Some((ConversationId(conversation.parse().ok()?), Cursor { seq, mark }))
}

fn digest(lines: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(lines))
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
