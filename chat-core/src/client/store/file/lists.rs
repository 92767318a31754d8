//! Text format of cursors, names and groups: one per line. Cursors and groups begin with a digest
//! of the other lines, because a wrong cursor would hide events, and a wrong group would get
//! messages.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::client::store::KnownGroups;
use crate::client::{Cursor, EventIdentity};
use crate::model::{ConversationId, Seq, Timestamp, UserId};

/// First word of the line with the digest.
const DIGEST_NAME: &str = "sha256";

/// Formats cursors. A line holds the conversation, the position and, if known, the id and time of
/// the event there.
pub(super) fn format_cursors(cursors: &BTreeMap<ConversationId, Cursor>) -> String {
    let mut lines = String::new();
    for (conversation, Cursor { seq, identity }) in cursors {
        let _ = match identity {
            Some(EventIdentity { id, time }) => writeln!(lines, "{conversation} {seq} {id} {}", time.0),
            None => writeln!(lines, "{conversation} {seq}"),
        }; // writing to a `String` cannot fail
    }
    with_digest(&lines)
}

fn with_digest(lines: &str) -> String {
    format!("{DIGEST_NAME} {}\n{lines}", digest(lines))
}

/// Parses cursors. The digest and the identities of events may be missing. If there is a digest, it
/// must match.
pub(super) fn parse_cursors(text: &str) -> Result<BTreeMap<ConversationId, Cursor>, String> {
    // `first` is the number in the file of the first line with a cursor.
    let (expected, lines, first) = match text.strip_prefix(DIGEST_NAME).and_then(|rest| rest.split_once('\n')) {
        Some((expected, lines)) => (Some(expected.trim()), lines, 2),
        None => (None, text, 1),
    };
    if expected.is_some_and(|expected| expected != digest(lines)) {
        return Err("the file is incomplete or damaged".to_owned());
    }
    let lines = lines.lines().enumerate();
    lines
        .map(|(at, line)| parse_cursor(line).ok_or_else(|| format!("line {} is not a cursor", first + at)))
        .collect()
}

fn parse_cursor(line: &str) -> Option<(ConversationId, Cursor)> {
    let words: Vec<&str> = line.split(' ').collect();
    let (conversation, seq, identity) = match words[..] {
        [conversation, seq] => (conversation, seq, None),
        [conversation, seq, id, time] => {
            let (id, time) = (id.parse().ok()?, Timestamp(time.parse().ok()?));
            (conversation, seq, Some(EventIdentity { id, time }))
        }
        _ => return None,
    };
    let seq = Seq(seq.parse().ok()?);
    Some((ConversationId(conversation.parse().ok()?), Cursor { seq, identity }))
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

/// Parses names. Skips damaged lines, and a last line without its end, because a power failure may
/// have cut it off. Their names are requested again.
pub(super) fn parse_names(text: &str) -> BTreeMap<UserId, String> {
    let (lines, _) = text.rsplit_once('\n').unwrap_or_default();
    let parse = |line: &str| {
        let (user, name) = line.split_once(' ')?;
        Some((UserId(user.parse().ok()?), name.to_owned()))
    };
    lines.lines().filter_map(parse).collect()
}

/// Formats groups: the digest, the store epoch if it is known, then a line for each group.
pub(super) fn format_groups(groups: &KnownGroups) -> String {
    let mut lines = String::new();
    if let Some(epoch) = &groups.store_epoch {
        let _ = writeln!(lines, "epoch {epoch}"); // writing to a `String` cannot fail
    }
    for (group, name) in &groups.names {
        let _ = writeln!(lines, "{group} {name}");
    }
    with_digest(&lines)
}

/// Parses groups. Returns no groups and no epoch if the text is damaged.
pub(super) fn parse_groups(text: &str) -> KnownGroups {
    parse_whole_groups(text).unwrap_or_default()
}

fn parse_whole_groups(text: &str) -> Option<KnownGroups> {
    let (expected, lines) = text.strip_prefix(DIGEST_NAME)?.split_once('\n')?;
    if expected.trim() != digest(lines) {
        return None;
    }
    let mut groups = KnownGroups::default();
    for line in lines.lines() {
        match line.split_once(' ')? {
            ("epoch", epoch) => groups.store_epoch = Some(epoch.parse().ok()?),
            (group, name) => {
                groups
                    .names
                    .insert(ConversationId(group.parse().ok()?), name.to_owned());
            }
        }
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_line_is_reported_by_its_number_in_the_file() {
        let lines = "1 2\nx\n";
        for (text, number) in [(lines.to_owned(), 2), (with_digest(lines), 3)] {
            let error = parse_cursors(&text).unwrap_err();
            assert_eq!(text.lines().nth(number - 1), Some("x"));
            assert_eq!(error, format!("line {number} is not a cursor"));
        }
    }

    #[test]
    fn name_that_was_cut_off_is_unknown() {
        let names = BTreeMap::from([(UserId(3), "bob".to_owned()), (UserId(7), "alice".to_owned())]);
        let text = format_names(&names);
        assert_eq!(parse_names(&text), names);
        for end in text.find('\n').unwrap() + 1..text.len() {
            assert_eq!(parse_names(&text[..end]).into_keys().collect::<Vec<_>>(), [UserId(3)]);
        }
    }
}
