//! Reader of input lines that reports invalid lines and continues.

use std::fmt;
use std::io::{self, BufRead, Read as _};

/// Maximum length of a line with its line ending, in bytes. Every valid text and command is
/// shorter.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// A line with its number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Line number, starting at 1.
    pub(crate) number: u64,
    pub(crate) text: Result<String, InvalidLine>,
}

/// Reason why a line is not valid text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidLine {
    NotUtf8,
    Nul,
    TooLong,
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "the line is not valid UTF-8",
            Self::Nul => "the line contains a NUL character",
            Self::TooLong => "the line is longer than 1 MiB",
        })
    }
}

/// Iterator over lines, which continues after an invalid line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    /// Number of the last line that was read.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn of(input: R) -> Self {
        Self { input, number: 0 }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        // One byte more tells a line that is too long from a last line of the maximum length that
        // has no line end.
        let limit = MAX_LINE_BYTES + 1;
        if self.input.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let text = if bytes.len() as u64 == limit {
            if bytes.last() != Some(&b'\n') {
                self.input.skip_until(b'\n')?;
            }
            Err(InvalidLine::TooLong)
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

/// Removes the line ending and decodes the line, unless it is not UTF-8 or contains NUL.
fn text(mut bytes: Vec<u8>) -> Result<String, InvalidLine> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains('\0') => Err(InvalidLine::Nul),
        Ok(text) => Ok(text),
        Err(_) => Err(InvalidLine::NotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &[u8]) -> Vec<Result<String, InvalidLine>> {
        let lines: Vec<_> = Lines::of(input).map(Result::unwrap).collect();
        assert!(lines.iter().zip(1..).all(|(line, number)| line.number == number));
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn invalid_line_does_not_stop_the_reader() {
        let good = |text: &str| Ok(text.to_owned());
        assert_eq!(
            texts(b"one\r\n\xff\n\nb\xc3\xa9\na\0b\nlast"),
            [
                good("one"),
                Err(InvalidLine::NotUtf8),
                good(""),
                good("b\u{e9}"),
                Err(InvalidLine::Nul),
                good("last"),
            ]
        );
    }

    #[test]
    fn too_long_line_is_reported_and_skipped() {
        let mut input = vec![b'x'; 3 * MAX_LINE_BYTES as usize];
        input.extend(b"\nnext\n");
        assert_eq!(texts(&input), [Err(InvalidLine::TooLong), Ok("next".to_owned())]);
    }

    #[test]
    fn line_end_counts_for_the_maximum_length() {
        let longest = "x".repeat(MAX_LINE_BYTES as usize);
        assert_eq!(texts(longest.as_bytes()), [Ok(longest.clone())]);
        let too_long = format!("{longest}\nnext");
        assert_eq!(
            texts(too_long.as_bytes()),
            [Err(InvalidLine::TooLong), Ok("next".to_owned())]
        );
        let too_long = format!("{longest}x");
        assert_eq!(texts(too_long.as_bytes()), [Err(InvalidLine::TooLong)]);
        let with_end = format!("{}\nnext", &longest[1..]);
        assert_eq!(
            texts(with_end.as_bytes()),
            [Ok(longest[1..].to_owned()), Ok("next".to_owned())]
        );
    }
}
