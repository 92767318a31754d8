//! Users of an application, and the subjects by which the application identifies them.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::model::{Account, DisplayName, Timestamp};

/// Identifier by which an application knows a user, in any form without control characters:
/// `auth0|64f…`, a UUID, an e-mail address. Compared byte by byte; never shown to other users.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

/// Error of [`Subject::new`]: the identifier is empty or too long, or contains a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject has 1 to {max} bytes and no control characters", max = Account::MAX_SUBJECT_BYTES)]
pub struct SubjectError;

impl Subject {
    /// Creates a subject from an identifier of 1 to 255 bytes.
    ///
    /// # Errors
    /// [`SubjectError`]: the identifier is empty or too long, or contains a control character.
    pub fn new(subject: impl Into<String>) -> Result<Self, SubjectError> {
        let subject = subject.into();
        let has_valid_size = (1..=Account::MAX_SUBJECT_BYTES).contains(&subject.len());
        if !has_valid_size || subject.chars().any(char::is_control) {
            return Err(SubjectError);
        }
        Ok(Self(subject))
    }

    /// Returns the identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the tombstone that replaces the subject in a deleted account and keeps the subject
    /// reserved: a digest after a control character, so that it equals no subject.
    pub(crate) fn tombstone(&self) -> String {
        let mut text = String::from("\u{1}deleted:");
        for byte in Sha256::digest(self.0.as_bytes()) {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

/// A subject is personal data, so logs do not contain it.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(***)")
    }
}

/// Profile of an account that is created for a user of an application. An existing account keeps
/// its profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// Preferred unique name. Of an e-mail address, only the part before the `@` is used, and only
    /// as many characters as a name can have. Letters become lower case. Each sequence of
    /// characters other than letters and digits becomes one `-`, `_` or `.`, or is removed at the
    /// ends. If the name is taken or reserved, digits are added to at most 15 of its characters.
    /// Without a usable hint, the name is `user-` and digits, which do not reveal the subject.
    pub name_hint: Option<String>,
    /// Display name of the account. Default: its unique name.
    pub display_name: Option<DisplayName>,
}

/// Login of a user whom the application has authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExternalLogin {
    /// Identifier of the user in the application.
    pub subject: Subject,
    /// Profile for the account, if the user has none yet.
    pub profile: Profile,
    /// Time at which the session ends and can no longer be resumed, such as the expiry of the token
    /// that was presented. The engine denies the login if this time has passed. Default: none; then
    /// only `EngineConfig::session_idle_timeout` limits how long the session can be resumed.
    pub expires_at: Option<Timestamp>,
}

impl ExternalLogin {
    /// Returns a login with an empty profile, which sets no time at which its session ends.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            profile: Profile::default(),
            expires_at: None,
        }
    }
}
