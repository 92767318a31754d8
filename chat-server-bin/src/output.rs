//! Standard output and standard error. A closed pipe on standard output is not an error: the
//! program that reads it needs no more output.

use std::io::{BufWriter, ErrorKind, Stdout, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// Writes bytes to standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(bytes)
        .and_then(|()| output.flush())
        .map_err(cannot_write)
}

/// Writes a line to standard error. Ignores a failed write, which cannot be reported anywhere;
/// `eprintln!` would panic.
pub(crate) fn print_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes the result of a command that has changed something. If the text cannot be written, the
/// failure contains it, unless the reader has closed the pipe.
pub(crate) fn report(text: &str) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes()).map_err(|failure| match failure {
        Failure::Output(error) => Failure::Output(format!("the command succeeded, but {error}; its result: {text}")),
        other => other,
    })
}

/// Buffered lines of output. [`finish`](Self::finish) writes the last of them.
#[derive(Debug)]
pub(crate) struct Lines(BufWriter<Stdout>);

impl Lines {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(std::io::stdout()))
    }

    /// Writes a line of text.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(cannot_write)
    }

    /// Flushes the buffer.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(cannot_write)
    }
}

/// Returns an object as a line of JSON.
pub(crate) fn to_json(object: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(object).map_err(|error| Failure::Failed(format!("cannot encode JSON: {error}")))
}

fn cannot_write(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::Output(format!("cannot write to standard output: {error}")),
    }
}
