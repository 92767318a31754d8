//! Repainting of the prompt after the terminal was resized, and the rows and columns that the
//! prompt and the typed line take.
//!
//! A terminal that becomes narrower or wider wraps its lines again, so the prompt and the typed
//! line may take another number of rows. The line editor clears as many rows as before, and would
//! leave stale copies of the line. [`correction`] clears the line, and moves the cursor to where
//! the editor expects it.

use std::cell::Cell;
use std::env;
use std::io::{self, Write as _};

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar as _;

/// Distance of tab stops, as in the line editor.
const TAB_WIDTH: usize = 8;

/// The prompt as the line editor painted it last.
#[derive(Debug)]
pub(super) struct PaintedPrompt {
    prompt: String,
    /// Width of the terminal when the prompt was painted, or 0 if it is unknown.
    columns: Cell<usize>,
    /// `true` if the terminal wraps its lines again when it is resized.
    wraps_again: bool,
}

impl PaintedPrompt {
    pub(super) fn new() -> Self {
        Self {
            prompt: String::new(),
            columns: Cell::new(0),
            wraps_again: wraps_again(|variable| env::var(variable).ok()),
        }
    }

    /// Records that the editor is about to paint this prompt.
    pub(super) fn start(&mut self, prompt: &str) {
        prompt.clone_into(&mut self.prompt);
        self.columns.set(columns());
    }

    /// Clears the prompt and the line and moves the cursor to where the editor expects it, if the
    /// width of the terminal has changed since the prompt was painted. Call this before the editor
    /// clears and repaints the line, whose cursor is at byte `position`.
    pub(super) fn before_repaint(&self, line: &str, position: usize) {
        let columns = columns();
        let painted = self.columns.replace(columns);
        if columns == 0 || painted == 0 || columns == painted {
            return;
        }
        let reflowed = if self.wraps_again { columns } else { painted };
        let sequence = correction(&self.prompt, line, position, painted, reflowed);
        let mut out = io::stdout().lock();
        let _ = out.write_all(sequence.as_bytes()).and_then(|()| out.flush()); // the terminal may have been closed
    }

    /// Returns the number of free columns in the row in which the prompt and `line` end.
    pub(super) fn room_after(&self, line: &str) -> usize {
        let columns = columns();
        let (_, column) = position(&[&self.prompt, line].concat(), columns);
        columns.saturating_sub(column)
    }

    /// Returns the escape sequences that clear the prompt and `line`, which end in the row above
    /// the cursor, and move the cursor to where the prompt began. Returns `None` if the size of
    /// the terminal is unknown, or the line does not fit into it.
    pub(super) fn clear_above(&self, line: &str) -> Option<String> {
        let size = tcgetwinsize(io::stdout()).ok()?;
        clear_above(&self.prompt, line, size.ws_col.into(), size.ws_row.into())
    }
}

/// Returns the width of the terminal, or 0 if it is unknown.
fn columns() -> usize {
    tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col.into())
}

/// Returns `false` for terminals that are known to cut lines instead of wrapping them again: xterm,
/// GNU screen, and the Linux console, unless tmux runs in them.
fn wraps_again(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some();
    is_set("TMUX") || !(is_set("XTERM_VERSION") || is_set("STY") || variable("TERM").as_deref() == Some("linux"))
}

/// Returns the escape sequences that clear the prompt and the line, which the terminal now wraps at
/// `reflowed` columns, and move the cursor to the row where the line editor expects it: the row
/// that it has if the text is wrapped at `painted` columns, as when it was painted.
fn correction(prompt: &str, line: &str, position: usize, painted: usize, reflowed: usize) -> String {
    let to_cursor = [prompt, line.get(..position).unwrap_or(line)].concat();
    let to_end = [prompt, line].concat();
    let (painted_cursor, painted_end) = (row(&to_cursor, painted), row(&to_end, painted));
    let mut sequence = String::new();
    move_up(&mut sequence, row(&to_cursor, reflowed));
    sequence.push_str("\r\x1b[J");
    // Line feeds make room for the rows at the bottom of the terminal; moving down would not.
    sequence.push_str(&"\n".repeat(painted_end));
    move_up(&mut sequence, painted_end - painted_cursor);
    sequence
}

/// Returns the escape sequences of [`PaintedPrompt::clear_above`].
fn clear_above(prompt: &str, line: &str, columns: usize, rows: usize) -> Option<String> {
    if columns == 0 {
        return None;
    }
    let taken = row(&[prompt, line].concat(), columns) + 1;
    (taken < rows).then(|| format!("\x1b[{taken}A\r\x1b[J"))
}

fn move_up(sequence: &mut String, rows: usize) {
    if rows > 0 {
        sequence.push_str(&format!("\x1b[{rows}A"));
    }
}

/// Returns the row of the cursor after `text`, counted from 0.
fn row(text: &str, columns: usize) -> usize {
    position(text, columns).0
}

/// Returns the row and the column of the cursor after `text`, counted from 0, as the line editor
/// computes them.
fn position(text: &str, columns: usize) -> (usize, usize) {
    let (mut row, mut column) = (0, 0);
    for c in text.chars() {
        if c == '\n' {
            (row, column) = (row + 1, 0);
            continue;
        }
        let width = match c {
            '\t' => TAB_WIDTH - column % TAB_WIDTH,
            c => c.width().unwrap_or(0),
        };
        column += width;
        if column > columns {
            (row, column) = (row + 1, width);
        }
    }
    if column == columns { (row + 1, 0) } else { (row, column) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_line_depend_on_the_width_of_the_terminal() {
        assert_eq!((row("", 10), row("123456789", 10), row("1234567890", 10)), (0, 0, 1));
        assert_eq!((row("12345678901", 10), row("1\n2", 10), row("a\tb", 8)), (1, 1, 1));
        assert_eq!((row("小小小", 5), row("小小小", 7)), (1, 0));
    }

    #[test]
    fn cursor_is_moved_over_all_rows_of_the_wrapped_line() {
        // The prompt and the line are 25 columns wide: one row of a terminal with 80 columns, three
        // rows of one with 10.
        let line = "x".repeat(20);
        assert_eq!(correction("bob> ", &line, 20, 80, 10), "\x1b[2A\r\x1b[J");
        // Three rows of 10 columns become one of 80. The editor expects the cursor in the third
        // row.
        assert_eq!(correction("bob> ", &line, 20, 10, 80), "\r\x1b[J\n\n");
        // The cursor is at the beginning of the line.
        assert_eq!(correction("bob> ", &line, 0, 10, 80), "\r\x1b[J\n\n\x1b[2A");
    }

    #[test]
    fn entered_line_is_cleared_with_all_its_rows() {
        assert_eq!(
            clear_above("bob> ", "hello", 80, 24).as_deref(),
            Some("\x1b[1A\r\x1b[J")
        );
        assert_eq!(
            clear_above("bob> ", "one\ntwo", 80, 24).as_deref(),
            Some("\x1b[2A\r\x1b[J")
        );
        assert_eq!(
            clear_above("bob> ", &"x".repeat(20), 10, 24).as_deref(),
            Some("\x1b[3A\r\x1b[J")
        );
        assert_eq!(
            clear_above("bob> ", &"x".repeat(20), 10, 3),
            None,
            "the rest has scrolled away"
        );
        assert_eq!(clear_above("bob> ", "hello", 0, 0), None);
    }

    #[test]
    fn xterm_and_screen_do_not_wrap_again() {
        let of = |set: &'static [(&str, &str)]| {
            wraps_again(|name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(of(&[("TERM", "xterm-256color")]));
        assert!(!of(&[("TERM", "xterm"), ("XTERM_VERSION", "XTerm(390)")]));
        assert!(!of(&[("TERM", "screen"), ("STY", "1.pts")]) && !of(&[("TERM", "linux")]));
        assert!(of(&[
            ("TERM", "tmux"),
            ("XTERM_VERSION", "XTerm(390)"),
            ("TMUX", "/tmp/tmux")
        ]));
    }
}
