//! Passwords that operators enter or supply for accounts.

use std::env::VarError;
use std::io::IsTerminal as _;

use chat_core::model::Secret;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::PasswordArgs;
use crate::failure::Failure;
use crate::files;
use crate::signals::StopSignal;

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
    // For Ctrl-C the prompt raises SIGINT before it restores the mode of the terminal. With this
    // handler the process survives the signal, and the prompt fails.
    let _handler = signal(SignalKind::interrupt());
    let ask = |prompt| rpassword::prompt_password(prompt).map(Secret::new);
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::Interrupted => Failure::Stopped(StopSignal::Interrupt, "nothing was changed"),
        _ => Failure::Failed(format!("cannot read the password: {error}")),
    };
    let password = ask("New password: ").map_err(failed)?;
    if ask("Again: ").map_err(failed)? != password {
        return Err(Failure::Failed(
            "the two passwords differ; nothing was changed".to_owned(),
        ));
    }
    Ok(password)
}
