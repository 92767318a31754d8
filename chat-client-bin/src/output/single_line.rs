//! Foreign text (of other users and of the server) as part of one line.

use chat_core::model::sanitize_for_terminal;

/// Returns foreign text in a form that is safe inside one line of the terminal. Control characters
/// are escaped, and line breaks, tabs and runs of spaces become one space, so that the text cannot
/// look like a line of its own. It can still look like another field of its line.
pub(crate) fn single_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    sanitize_for_terminal(&words.join(" ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_becomes_one_line_with_single_spaces() {
        assert_eq!(
            single_line("hi\nbob      7 friend\r\n\tx\u{2028}y\u{b}z\u{3000}\u{85}"),
            "hi bob 7 friend x y z"
        );
        assert_eq!(single_line("red \u{1b}[31m \u{202e}"), "red \\u{1b}[31m \\u{202e}");
        assert_eq!(single_line("小明"), "小明");
    }
}
