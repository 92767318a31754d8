//! Passwords from a file, the environment, or a prompt.

use std::{
    env, fs,
    io::{self, IsTerminal as _},
    path::Path,
};

use chat_core::model::Secret;

use crate::failure::{Failure, Kind};

/// Returns the password from `file` or from the environment variable, if one of them is given.
pub(crate) fn from_file_or_env(file: Option<&Path>, variable: &str) -> Result<Option<Secret>, Failure> {
    if let Some(path) = file {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read the password file {}: {error}", path.display())))?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(Failure::usage(format!(
                "the first line of the password file {} is empty",
                path.display()
            )));
        }
        return Ok(Some(Secret::new(line)));
    }
    let password = env::var(variable).ok().filter(|text| !text.is_empty());
    Ok(password.map(Secret::new))
}

/// Returns `true` if standard input is a terminal, so that a prompt is possible.
pub(crate) fn can_prompt() -> bool {
    io::stdin().is_terminal()
}

/// How to supply the current password without a prompt.
pub(crate) const PASSWORD_SOURCES: &str = "set CHAT_PASSWORD or use --password-file FILE";
/// How to supply the new password of `passwd` without a prompt.
pub(crate) const NEW_PASSWORD_SOURCES: &str = "set CHAT_NEW_PASSWORD or use --new-password-file FILE";

/// Prompts for a password, or twice if `twice` is set, to detect typing errors. Without a terminal
/// the failure names the other `sources` of the password.
pub(crate) fn prompt(label: &str, twice: bool, sources: &str) -> Result<Secret, Failure> {
    if !can_prompt() {
        let text = format!("the {} is missing: {sources}", label.to_lowercase());
        return Err(Failure::new(Kind::Auth, text));
    }
    let typed = rpassword::prompt_password(format!("{label}: "))?;
    if twice && rpassword::prompt_password(format!("{label}, again: "))? != typed {
        return Err(Failure::new(Kind::Auth, "the two passwords differ"));
    }
    Ok(Secret::new(typed))
}
