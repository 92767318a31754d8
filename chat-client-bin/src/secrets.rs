//! Passwords from a file, the environment, or a prompt.

use std::{
    env::{self, VarError},
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::Path,
    time::Duration,
};

use chat_core::auth::Password;
use chat_core::model::Secret;

use crate::failure::{Failure, FailureKind};
use crate::signals::{StopSignal, StopSignals};
use crate::terminal::{self, HiddenInput};

/// Maximum time for which a signal at a prompt waits for the terminal to begin a new line.
const NEWLINE_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum size of a password file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Returns the first line of `file`, otherwise the value of the environment variable, otherwise
/// `None`. An empty variable counts as absent.
///
/// # Errors
/// The file cannot be read, its first line is empty, or the variable is not UTF-8.
pub(crate) fn from_file_or_env(file: Option<&Path>, variable: &str) -> Result<Option<Secret>, Failure> {
    if let Some(path) = file {
        let text = read_password_file(path)
            .map_err(|error| Failure::usage(format!("cannot read the password file {}: {error}", path.display())))?;
        let line = first_line(&text);
        if line.is_empty() {
            return Err(Failure::usage(format!(
                "the first line of the password file {} is empty",
                path.display()
            )));
        }
        return Ok(Some(Secret::new(line)));
    }
    match env::var(variable) {
        Ok(password) if !password.is_empty() => Ok(Some(Secret::new(password))),
        Ok(_) | Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Failure::usage(format!("{variable} is not UTF-8"))),
    }
}

/// Returns the first line of a text, without the byte order mark that some editors put before it.
fn first_line(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().next().unwrap_or_default()
}

/// Reads a file of at most [`MAX_FILE_BYTES`].
fn read_password_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let problem = format!("the file is larger than {} KiB; check the path", MAX_FILE_BYTES >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

/// Returns `true` if standard input is a terminal, so that a prompt is possible.
pub(crate) fn can_prompt() -> bool {
    io::stdin().is_terminal()
}

/// Advice for supplying the current password without a prompt.
pub(crate) const PASSWORD_SOURCES: &str = "set CHAT_PASSWORD or use --password-file FILE";
/// Advice for supplying the new password of `passwd` without a prompt.
pub(crate) const NEW_PASSWORD_SOURCES: &str = "set CHAT_NEW_PASSWORD or use --new-password-file FILE";

/// Prompts for a password; if `twice` is set, prompts again, to detect typing errors.
///
/// # Errors
/// Standard input is not a terminal: the error text ends with `sources`, advice for supplying the
/// password without a prompt. Or the terminal cannot be read, or a signal ended the prompt. If
/// `twice` is set, also: the password is too short or too long, or the two passwords differ.
pub(crate) async fn prompt(label: &str, twice: bool, sources: &str) -> Result<Secret, Failure> {
    if !can_prompt() {
        let text = format!("the {} is missing: {sources}", label.to_lowercase());
        return Err(Failure::new(FailureKind::Auth, text));
    }
    let typed = read_hidden(format!("{label}: ")).await?;
    if twice {
        check_length(&typed)?;
    }
    if twice && read_hidden(format!("{label}, again: ")).await? != typed {
        return Err(Failure::new(FailureKind::Auth, "the two passwords differ"));
    }
    Ok(typed)
}

/// Refuses a new password whose length the server would refuse, before it is typed again.
pub(crate) fn check_length(password: &Secret) -> Result<(), Failure> {
    match password.expose().len() {
        0..Password::MIN_BYTES => Err(Failure::usage(format!(
            "the password is too short; use at least {} bytes, a few words for example",
            Password::MIN_BYTES
        ))),
        Password::MIN_BYTES..=Password::MAX_BYTES => Ok(()),
        _ => Err(Failure::usage(format!(
            "the password is too long; use at most {} bytes",
            Password::MAX_BYTES
        ))),
    }
}

/// Reads a line without echo. At a signal that asks to end, such as that of Ctrl-C, restores the
/// mode of the terminal and returns the failure of the signal. Afterwards, such signals end the
/// process.
async fn read_hidden(prompt: String) -> Result<Secret, Failure> {
    let mut signals = StopSignals::install()?;
    // The reader does not change the mode: it is on another thread, where the change could come
    // after a signal has restored the mode.
    let hidden = HiddenInput::start()?;
    let reading = tokio::task::spawn_blocking(move || {
        // The output may have been stopped by Ctrl-S; a signal ends the prompt nevertheless.
        let mut output = terminal::output();
        output.write_all(prompt.as_bytes())?;
        output.flush()?;
        let config = rpassword::ConfigBuilder::new()
            .input_reader(terminal::input()?)
            .output_discard();
        let read = rpassword::read_password_with_config(config.build()).map(Secret::new);
        output.write_all(b"\n")?;
        read
    });
    let result = tokio::select! {
        biased;
        signal = signals.next() => {
            let newline = tokio::task::spawn_blocking(|| terminal::output().write_all(b"\n"));
            let _ = tokio::time::timeout(NEWLINE_TIMEOUT, newline).await; // the output may be stopped
            Err(signal.into())
        }
        read = reading => match read.map_err(io::Error::other)? {
            // The reader has raised SIGINT, because Ctrl-C was pressed.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(StopSignal::Interrupt.into()),
            read => Ok(read?),
        },
    };
    drop(hidden);
    // Most commands do not handle signals. Without this, signals would no longer end them.
    signals.let_end_process();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_mark_is_not_part_of_the_password() {
        assert_eq!(first_line("\u{feff}secret\r\nnext"), "secret");
        assert_eq!(
            (first_line("secret"), first_line(""), first_line("\u{feff}")),
            ("secret", "", "")
        );
    }
}
