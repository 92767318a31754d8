//! JSON objects, one line each.

use serde::Serialize;

/// Returns a value as JSON on one line. JSON requires that characters below U+0020 are escaped.
/// This function also escapes other characters that some programs take for a line end or for
/// terminal control: DEL, the C1 controls with U+0085 (next line), U+2028 and U+2029.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("lines have string keys and serialize infallibly");
    if !text.contains(needs_escape) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Such a character can only be part of a string.
        if needs_escape(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn needs_escape(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_controls_of_unicode_are_escaped() {
        let text = "a\u{7f}b\u{80}c\u{85}d\u{9b}e\u{9f}f\u{2028}g\u{2029}h\u{1b}\n\"\\ é 小\u{a0}";
        let json = to_json(&text);
        assert_eq!(
            json,
            "\"a\\u007fb\\u0080c\\u0085d\\u009be\\u009ff\\u2028g\\u2029h\\u001b\\n\\\"\\\\ é 小\u{a0}\""
        );
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(to_json(&"plain"), "\"plain\"");
    }
}
