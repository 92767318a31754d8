//! Colours, and padding that accounts for wide characters.

use std::env;
use std::io::{self, IsTerminal as _};

use unicode_width::UnicodeWidthStr as _;

/// Style of text: coloured or plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    is_colored: bool,
}

/// ANSI codes of the colours of user names.
const NAME_COLORS: [u8; 6] = [31, 32, 33, 34, 35, 36];

impl Style {
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_colored: false };

    /// Returns the style of standard output: coloured on a terminal, unless `NO_COLOR` is set and
    /// not empty, or `TERM` is `dumb`.
    pub(crate) fn of_stdout() -> Self {
        let has_no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_colored: io::stdout().is_terminal() && !has_no_color && !is_dumb,
        }
    }

    #[cfg(test)]
    pub(crate) const COLORED: Self = Self { is_colored: true };

    /// Colours a user name, with a colour that a hash of the name (djb2 with XOR) determines.
    pub(crate) fn name(self, name: &str) -> String {
        let hash = name
            .bytes()
            .fold(5381_usize, |hash, byte| hash.wrapping_mul(33) ^ usize::from(byte));
        self.paint(NAME_COLORS[hash % NAME_COLORS.len()], name)
    }

    /// Dims text of minor importance.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(2, text)
    }

    /// Makes important text bold.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(1, text)
    }

    /// Colours text about an error.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(31, text)
    }

    fn paint(self, code: u8, text: &str) -> String {
        if self.is_colored {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Pads `text` with spaces to `width` columns; a Chinese character takes two. Does not cut a longer
/// text.
pub(crate) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pad_counts_terminal_columns() {
        assert_eq!(pad("ab", 4), "ab  ");
        assert_eq!(pad("小明", 5), "小明 ");
        assert_eq!(pad("too long", 3), "too long");
    }

    #[test]
    fn only_the_coloured_style_adds_escapes() {
        assert_eq!(Style::PLAIN.name("bob"), "bob");
        assert!(Style::COLORED.bad("x").starts_with('\u{1b}'));
        assert_eq!(Style::COLORED.name("bob"), Style::COLORED.name("bob"));
    }
}
