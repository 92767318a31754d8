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
        let text = fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(Failure::usage(format!("{}: the first line is empty", path.display())));
        }
        return Ok(Some(Secret::new(line)));
    }
    let password = env::var(variable).ok().filter(|text| !text.is_empty());
    Ok(password.map(Secret::new))
}

/// Returns `true` if standard input is a terminal, so that a prompt is possible.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Prompts for a password; twice for a new one, to detect typing errors.
pub(crate) fn ask(prompt: &str, twice: bool) -> Result<Secret, Failure> {
    if !can_ask() {
        let text = "the password is missing: set CHAT_PASSWORD or use --password-file FILE";
        return Err(Failure::new(Kind::Auth, text));
    }
    let typed = rpassword::prompt_password(format!("{prompt}: "))?;
    if twice && rpassword::prompt_password(format!("{prompt}, again: "))? != typed {
        return Err(Failure::new(Kind::Auth, "the two passwords differ"));
    }
    Ok(Secret::new(typed))
}
