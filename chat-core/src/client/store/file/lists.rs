//! Text format of cursors and names: one per line. Cursors begin with a digest of all lines,
//! because a wrong cursor would hide events.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::client::{Cursor, EventMark};
use crate::model::{ConversationId, Seq, Timestamp, UserId};

const DIGEST: &str = "sha256";

/// Formats cursors. A line holds the conversation, the position and, if known, the id and time of
/// the event there.
pub(super) fn format_cursors(cursors: &BTreeMap<ConversationId, Cursor>) -> String {
    let mut lines = String::new();
    for (conversation, Cursor { seq, mark }) in cursors {
        let _ = match mark {
            Some(EventMark { id, time }) => writeln!(lines, "{conversation} {seq} {id} {}", time.0),
            None => writeln!(lines, "{conversation} {seq}"),
        }; // writing to a `String` cannot fail
    }
    format!("{DIGEST} {}\n{lines}", digest(&lines))
}

/// Parses cursors. The digest and the event marks may be missing.
pub(super) fn parse_cursors(text: &str) -> Result<BTreeMap<ConversationId, Cursor>, String> {
    let (expected, lines) = match text.strip_prefix(DIGEST).and_then(|rest| rest.split_once('\n')) {
        Some((expected, lines)) => (Some(expected.trim()), lines),
        None => (None, text),
    };
    if expected.is_some_and(|expected| expected != digest(lines)) {
        return Err("the file is incomplete or damaged".to_owned());
    }
    let lines = lines.lines().enumerate();
    lines
        .map(|(at, line)| parse_cursor(line).ok_or_else(|| format!("line {} is not a cursor", at + 1)))
        .collect()
}

fn parse_cursor(line: &str) -> Option<(ConversationId, Cursor)> {
    let words: Vec<&str> = line.split(' ').collect();
    let (conversation, seq, mark) = match words[..] {
        [conversation, seq] => (conversation, seq, None),
        [conversation, seq, id, time] => {
            let (id, time) = (id.parse().ok()?, Timestamp(time.parse().ok()?));
            (conversation, seq, Some(EventMark { id, time }))
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
        let _ = writeln!(text, "{user} {name}"); // writing to a `String` cannot fail
    }
    text
}

/// Parses names. Skips damaged lines; their names are requested again.
pub(super) fn parse_names(text: &str) -> BTreeMap<UserId, String> {
    let parse = |line: &str| {
        let (user, name) = line.split_once(' ')?;
        Some((UserId(user.parse().ok()?), name.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}
