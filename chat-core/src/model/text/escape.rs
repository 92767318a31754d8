//! Escaping of text that other users wrote, so that printing it cannot overwrite other text, change
//! colours or reverse the reading direction. [`escape_for_log`] also escapes line feeds, so that a
//! value cannot forge a line of a log.

use std::borrow::Cow;

/// Maximum number of bytes of one value in a log line, without the `…` of a truncated value.
const MAX_LOG_BYTES: usize = 256;

/// Escapes text for a terminal: control characters, bidirectional controls, line and paragraph
/// separators, byte order marks and interlinear annotations appear as their code points, such as
/// `\u{1b}`. Line feeds and tabs stay. A carriage return stays before a line feed, and otherwise
/// appears as `\r`. Borrows if there is nothing to escape.
///
/// # Examples
/// ```
/// use chat_core::model::sanitize_for_terminal;
///
/// assert_eq!(sanitize_for_terminal("\x1b[31mred"), "\\u{1b}[31mred");
/// assert_eq!(sanitize_for_terminal("你好\n"), "你好\n");
/// ```
#[must_use]
pub fn sanitize_for_terminal(text: &str) -> Cow<'_, str> {
    escape(text, |c, next| match c {
        '\n' | '\t' => false,
        '\r' => next != Some('\n'),
        _ => is_unsafe(c),
    })
}

/// Escapes text for one line of a log: like [`sanitize_for_terminal`], but also escapes line breaks
/// and tabs, and truncates the text after 256 bytes with `…`.
#[must_use]
pub fn escape_for_log(text: &str) -> Cow<'_, str> {
    let end = char_boundary(text, MAX_LOG_BYTES);
    let mut escaped = escape(&text[..end], |c, _| is_unsafe(c));
    if end < text.len() || escaped.len() > MAX_LOG_BYTES {
        let mut shortened = escaped.into_owned();
        shortened.truncate(char_boundary(&shortened, MAX_LOG_BYTES));
        shortened.push('…');
        escaped = Cow::Owned(shortened);
    }
    escaped
}

/// Returns the last character boundary at or before `at`.
fn char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// Returns whether `c` is an invisible character that controls the direction of text (UAX #9 §2).
pub(in crate::model) fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether `c` is a control (C0, DEL, C1), a bidirectional control, a line or paragraph
/// separator, a byte order mark or an interlinear annotation.
fn is_unsafe(c: char) -> bool {
    c.is_control() || is_bidi_control(c) || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// Returns whether `text` has only characters that the name of a client or device may contain:
/// those that [`escape_for_log`] keeps, and the marks U+061C, U+200E and U+200F, which names in
/// Arabic and Hebrew need.
pub(crate) fn is_label(text: &str) -> bool {
    let is_mark = |c| matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}');
    !text.chars().any(|c| is_unsafe(c) && !is_mark(c))
}

/// Escapes every character for which `must_escape(character, next character)` returns `true`.
fn escape(text: &str, must_escape: impl Fn(char, Option<char>) -> bool) -> Cow<'_, str> {
    let mut escaped = String::new();
    let mut copied = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if must_escape(c, chars.peek().map(|(_, next)| *next)) {
            escaped.push_str(&text[copied..at]);
            match c {
                '\n' | '\r' | '\t' => escaped.extend(c.escape_default()),
                _ => escaped.extend(c.escape_unicode()),
            }
            copied = at + c.len_utf8();
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    escaped.push_str(&text[copied..]);
    Cow::Owned(escaped)
}
