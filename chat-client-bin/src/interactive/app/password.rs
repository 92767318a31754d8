//! Prompts of `/passwd`. The line editor reads the passwords, and does not show them.

use chat_core::commands::Commands;
use chat_core::model::Secret;

use crate::failure::Failure;
use crate::interactive::input::Prompt;
use crate::interactive::state::JobResult;
use crate::secrets;

use super::App;

/// Passwords that were typed so far.
#[derive(Debug, Default)]
pub(super) struct PasswordChange {
    current: Option<Secret>,
    new: Option<Secret>,
}

impl PasswordChange {
    /// Returns the prompt of the next password.
    pub(super) fn prompt(&self) -> Prompt {
        let label = match (&self.current, &self.new) {
            (None, _) => "Current password: ",
            (Some(_), None) => "New password: ",
            (Some(_), Some(_)) => "New password, again: ",
        };
        Prompt::password(label)
    }

    /// Takes the next password. Returns the current and the new one after the last prompt.
    ///
    /// # Errors
    /// The new password is too short or too long, or its repetition differs. The next call has to
    /// pass the new password, not its repetition; the current one is kept.
    fn enter(&mut self, typed: Secret) -> Result<Option<(Secret, Secret)>, Failure> {
        if self.current.is_none() {
            self.current = Some(typed);
            return Ok(None);
        }
        let Some(new) = self.new.take() else {
            secrets::check_length(&typed)?;
            self.new = Some(typed);
            return Ok(None);
        };
        if new != typed {
            return Err(Failure::usage("the two passwords differ"));
        }
        Ok(self.current.take().map(|current| (current, new)))
    }
}

impl App {
    /// Begins to prompt for passwords, if a user types in the line editor.
    pub(super) fn begin_password_change(&mut self) {
        if self.input.has_editor {
            self.password_change = Some(PasswordChange::default());
        } else {
            let text =
                "passwords are typed at a terminal only; `chat-client passwd` changes the password from a script";
            self.state.show_error(text);
        }
    }

    /// Ends the prompts without a change.
    pub(super) fn cancel_password_change(&mut self) {
        if self.password_change.take().is_some() {
            self.state.show_notice("the password is not changed");
        }
    }

    /// Takes a typed password. After the last one, starts the change.
    pub(super) fn handle_password(&mut self, typed: Secret) {
        let Some(change) = &mut self.password_change else {
            return; // the change was cancelled
        };
        let (current, new) = match change.enter(typed) {
            Ok(None) => return,
            Ok(Some(passwords)) => passwords,
            // The prompts go on, because the user may already be typing the repetition, which a
            // prompt for a line would show and send.
            Err(failure) => {
                let text = format!(
                    "{}; type a new password, or Ctrl-C to keep the present one",
                    failure.text
                );
                return self.state.show_error(&text);
            }
        };
        self.password_change = None;
        let (client, screen, style) = (self.state.client.clone(), self.state.screen.clone(), self.state.style);
        self.state.spawn(async move {
            client.change_password(current, new).await?;
            screen.line(style.dim("-- password changed; other devices are logged out"));
            Ok(JobResult::Done)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_password_is_checked_and_typed_twice() {
        let secret = |text: &str| Secret::new(text);
        let mut change = PasswordChange::default();
        assert!(change.enter(secret("old")).unwrap().is_none());
        assert!(change.enter(secret("short")).is_err());
        assert!(change.enter(secret("long enough")).unwrap().is_none());
        let (old, new) = change.enter(secret("long enough")).unwrap().unwrap();
        assert_eq!(
            (old.expose(), new.expose()),
            ("old".as_bytes(), "long enough".as_bytes())
        );
        let mut change = PasswordChange::default();
        for typed in ["old", "long enough"] {
            assert!(change.enter(secret(typed)).unwrap().is_none());
        }
        assert!(change.enter(secret("long enouhg")).is_err());
        assert!(change.enter(secret("long enough")).unwrap().is_none());
        assert!(
            change.enter(secret("long enough")).unwrap().is_some(),
            "the new one is typed twice again"
        );
    }
}
