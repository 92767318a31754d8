//! Lines of text from wherever they come, those that are none included.

use std::fmt;
use std::io::{self, BufRead, Read as _};

/// The longest line that is taken in; no text and no command is as long.
const LONGEST: u64 = 1024 * 1024;

/// A line, and where it stood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) text: Result<String, NoText>,
}

/// Why a line is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoText {
    NotUtf8,
    Nul,
    TooLong,
}

impl fmt::Display for NoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "it is not UTF-8",
            Self::Nul => "it has a NUL in it",
            Self::TooLong => "it is longer than a mebibyte",
        })
    }
}

/// Reads lines; one that is no text does not hide those after it.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn of(input: R) -> Self {
        Self { input, number: 0 }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        if self.input.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let whole = bytes.last() == Some(&b'\n');
        let text = if !whole && bytes.len() as u64 == LONGEST {
            self.input.skip_until(b'\n')?;
            Err(NoText::TooLong)
        } else {
            text(bytes)
        };
        Ok(Some(Line {
            number: self.number,
            text,
        }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The line without what ends it.
fn text(mut bytes: Vec<u8>) -> Result<String, NoText> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err(NoText::Nul),
        Ok(text) => Ok(text),
        Err(_) => Err(NoText::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &[u8]) -> Vec<Result<String, NoText>> {
        let lines: Vec<_> = Lines::of(input).map(Result::unwrap).collect();
        assert!(lines.iter().zip(1..).all(|(line, number)| line.number == number));
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_bad_line_hides_no_other() {
        let good = |text: &str| Ok(text.to_owned());
        assert_eq!(
            texts(b"one\r\n\xff\n\nb\xc3\xa9\na\0b\nlast"),
            [
                good("one"),
                Err(NoText::NotUtf8),
                good(""),
                good("b\u{e9}"),
                Err(NoText::Nul),
                good("last"),
            ]
        );
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_in_memory() {
        let mut input = vec![b'x'; 3 * LONGEST as usize];
        input.extend(b"\nnext\n");
        assert_eq!(texts(&input), [Err(NoText::TooLong), Ok("next".to_owned())]);
    }
}
