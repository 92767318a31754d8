//! Passwords that operators enter or supply for accounts.

use std::env::VarError;
use std::io::IsTerminal as _;

use chat_core::model::Secret;

use super::hidden_input::{HiddenInput, NoAnswer};
use crate::args::PasswordArgs;
use crate::failure::Failure;
use crate::files;

/// Reads the password from the first line of the file of `--password-file`, otherwise from
/// `CHAT_PASSWORD`, otherwise twice from a prompt on the terminal.
///
/// # Errors
/// The file cannot be read, the variable is not UTF-8, there is neither a file nor the variable nor
/// a terminal, the prompt fails or is ended by Ctrl-C, or the two entries differ.
pub(super) fn read_password(arguments: &PasswordArgs) -> Result<Secret, Failure> {
    if let Some(path) = &arguments.password_file {
        let text = files::read_text(path, files::MAX_PASSWORD_FILE_BYTES)
            .map_err(|error| Failure::Failed(format!("cannot read the password file {}: {error}", path.display())))?;
        // Some editors put a byte order mark before the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        return Ok(Secret::new(text.lines().next().unwrap_or_default()));
    }
    match std::env::var("CHAT_PASSWORD") {
        Ok(password) => return Ok(Secret::new(password)),
        Err(VarError::NotUnicode(_)) => return Err(Failure::Usage("CHAT_PASSWORD is not UTF-8".to_owned())),
        Err(VarError::NotPresent) => {}
    }
    if !std::io::stdin().is_terminal() {
        let text = "no password given: set CHAT_PASSWORD or use --password-file FILE";
        return Err(Failure::Usage(text.to_owned()));
    }
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(ask_twice()))
}

/// Asks for a new password twice. A signal restores the mode of the terminal first.
async fn ask_twice() -> Result<Secret, Failure> {
    let failed = |no_answer| match no_answer {
        NoAnswer::Stopped(signal) => Failure::Stopped(signal, "nothing was changed"),
        NoAnswer::Io(error) => Failure::Failed(format!("cannot read the password: {error}")),
    };
    let mut terminal = HiddenInput::start().map_err(|error| failed(error.into()))?;
    let password = terminal.ask("New password: ").await.map_err(failed)?;
    let again = terminal.ask("Again: ").await.map_err(failed)?;
    terminal.end();
    if again != password {
        return Err(Failure::Failed(
            "the two passwords differ; nothing was changed".to_owned(),
        ));
    }
    Ok(password)
}
