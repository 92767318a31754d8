//! Questions to the user at the terminal, and the mode of the terminal on standard input, which a
//! prompt changes and the shell needs back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use crate::output::single_line;

/// Escape sequence that ends the marking of pasted text.
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";
/// Escape sequence that starts the marking of pasted text.
const BRACKETED_PASTE_ON: &[u8] = b"\x1b[?2004h";

/// Asks the user at the terminal a question. Returns `true` if the answer is `y` or `yes`.
pub(crate) async fn confirm(question: &str) -> io::Result<bool> {
    let mut errors = io::stderr();
    write!(errors, "{} [y/N] ", single_line(question))?;
    errors.flush()?;
    let reading = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = reading.await.map_err(io::Error::other)??;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Guard that, when dropped, restores the mode that the terminal had when the guard was created. If
/// the mode has changed, it also ends the marking of pasted text, and begins a new line. It does
/// nothing if standard input is not a terminal, or if this process is in the background.
pub(crate) struct TerminalGuard {
    original: Option<Termios>,
}

impl TerminalGuard {
    pub(crate) fn new() -> Self {
        Self {
            original: tcgetattr(io::stdin()).ok(),
        }
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        let Some(original) = &self.original else { return };
        if tcgetattr(io::stdin()).is_ok_and(|current| !has_same_mode(&current, original)) && restore(original) {
            write(&[BRACKETED_PASTE_OFF, b"\r\n"].concat());
        }
    }
}

impl std::fmt::Debug for TerminalGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TerminalGuard")
    }
}

/// Mode of the terminal in which it does not show what is typed, and passes keys that otherwise
/// edit the line or send a signal, such as Ctrl-C, to the reader of standard input. Dropping the
/// value restores the former mode, unless this process is in the background.
pub(crate) struct HiddenInput {
    original: Termios,
}

impl HiddenInput {
    /// Hides what is typed from now on.
    ///
    /// # Errors
    /// Standard input is not a terminal, or its mode cannot be set.
    pub(crate) fn start() -> io::Result<Self> {
        let original = tcgetattr(io::stdin())?;
        let mut hidden = original.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        // A read returns as soon as one byte was typed.
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        set(&hidden)?;
        Ok(Self { original })
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        restore(&self.original);
    }
}

impl std::fmt::Debug for HiddenInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HiddenInput")
    }
}

/// Opens the terminal on standard input for reading. The new file is in blocking mode, whatever
/// other programs have set for standard input. If the terminal cannot be opened, returns a
/// duplicate of standard input, which shares that mode.
///
/// # Errors
/// Standard input is closed.
pub(crate) fn input() -> io::Result<File> {
    match File::open("/dev/stdin") {
        Ok(file) => Ok(file),
        // A terminal of another user cannot be opened, as after `su`.
        Err(_) => Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
    }
}

/// Opens the terminal on standard input for writing, or else the terminal of the process, or else
/// standard error.
pub(crate) fn output() -> Box<dyn Write + Send> {
    first_writable(&["/dev/stdin", "/dev/tty"])
}

/// Returns the first of the paths that can be opened for writing, or else standard error. A
/// terminal of another user cannot be opened, as after `su`; `/dev/tty` can be opened only by
/// processes that have a controlling terminal.
fn first_writable(paths: &[&str]) -> Box<dyn Write + Send> {
    let opened = paths
        .iter()
        .find_map(|path| OpenOptions::new().write(true).open(path).ok());
    match opened {
        Some(file) => Box::new(file),
        None => Box::new(io::stderr()),
    }
}

/// Mode of the terminal in which the line editor reads.
#[derive(Clone)]
pub(crate) struct EditorMode(Termios);

impl EditorMode {
    /// Returns the current mode of `terminal`, or `None` if it cannot be read. Call it while the
    /// line editor reads a line.
    pub(crate) fn of(terminal: impl AsFd) -> Option<Self> {
        tcgetattr(terminal).ok().map(Self)
    }

    /// Sets this mode and the marking of pasted text, if a shell has changed the mode while the
    /// process was stopped. Returns whether the mode was changed, so that the prompt has to be
    /// printed again.
    pub(crate) fn set_again(&self) -> bool {
        let is_changed = tcgetattr(io::stdin()).is_ok_and(|current| !has_same_mode(&current, &self.0));
        let is_set_again = is_changed && restore(&self.0);
        if is_set_again {
            write(BRACKETED_PASTE_ON);
        }
        is_set_again
    }
}

impl std::fmt::Debug for EditorMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EditorMode")
    }
}

fn has_same_mode(a: &Termios, b: &Termios) -> bool {
    (a.local_modes, a.input_modes, a.output_modes) == (b.local_modes, b.input_modes, b.output_modes)
}

/// Sets the mode that the terminal had before. Does nothing, and returns `false`, if the terminal
/// was closed, or if this process is in the background: the shell has set its own mode then, and a
/// change would stop the process.
fn restore(original: &Termios) -> bool {
    !is_in_background() && set(original).is_ok()
}

fn is_in_background() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp())
}

/// Sets a mode at once, without waiting for output, which Ctrl-S may have stopped.
fn set(mode: &Termios) -> io::Result<()> {
    Ok(tcsetattr(io::stdin(), OptionalActions::Now, mode)?)
}

fn write(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush()); // the terminal may have been closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_that_cannot_be_opened_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        std::fs::write(&other, "").unwrap();
        let mut output = first_writable(&["/nonexistent/tty", other.to_str().unwrap()]);
        output.write_all(b"Password: ").unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "Password: ");
    }
}
