//! Questions to the user at the terminal, and the mode of the terminal on standard input, which a
//! prompt changes and the shell needs back.

use std::io::{self, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::output::single_line;

/// Escape sequence that ends the marking of pasted text.
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";
/// Escape sequence that starts the marking of pasted text.
const BRACKETED_PASTE_ON: &[u8] = b"\x1b[?2004h";

/// Asks the user at the terminal a question. Returns `true` if the answer is yes.
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

/// Guard that restores the mode that the terminal had when the guard was created. If the mode has
/// changed, it also ends the marking of pasted text, and begins a new line. It does nothing if
/// standard input is not a terminal.
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
        if tcgetattr(io::stdin()).is_ok_and(|current| !has_same_mode(&current, original)) {
            let _ = set(original); // the terminal may have been closed
            write(&[BRACKETED_PASTE_OFF, b"\r\n"].concat());
        }
    }
}

impl std::fmt::Debug for TerminalGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TerminalGuard")
    }
}

/// Mode of the terminal in which the line editor reads.
#[derive(Clone)]
pub(crate) struct EditorMode(Termios);

impl EditorMode {
    /// Returns the current mode. Call it while the line editor reads a line.
    pub(crate) fn current() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }

    /// Sets this mode, if a shell has changed it while the process was stopped. Returns whether the
    /// mode had to be changed, so that the prompt has to be printed again.
    pub(crate) fn set_again(&self) -> bool {
        let is_changed = tcgetattr(io::stdin()).is_ok_and(|current| !has_same_mode(&current, &self.0));
        if is_changed && set(&self.0).is_ok() {
            write(BRACKETED_PASTE_ON);
        }
        is_changed
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

/// Sets a mode at once, without waiting for output, which Ctrl-S may have stopped.
fn set(mode: &Termios) -> io::Result<()> {
    Ok(tcsetattr(io::stdin(), OptionalActions::Now, mode)?)
}

fn write(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush()); // the terminal may have been closed
}
