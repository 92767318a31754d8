//! Validation of [`UserName`].

use std::sync::Arc;

use super::canonical::{self, Skeleton};
use super::{NameError, name_string, reserved};

/// Unique name of an account, in its canonical spelling: lower case, NFC, ordinary width.
///
/// Names are equal if their canonical spelling is equal, so `Alice`, `ＡＬＩＣＥ` and `alice` are the
/// same name. Cloning is cheap.
///
/// # Examples
/// ```
/// use chat_core::model::{NameError, UserName};
///
/// assert_eq!(UserName::parse("Ａlice")?.as_str(), "alice");
/// assert_eq!(UserName::parse("小明")?.as_str(), "小明");
/// // The first letter is Cyrillic.
/// assert_eq!(UserName::parse("аlice"), Err(NameError::MixedScripts));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(pub(super) Arc<str>);

name_string!(UserName);

impl UserName {
    /// Maximum length in code points.
    pub(crate) const MAX_CHARS: usize = 32;
    /// Maximum length in bytes of UTF-8.
    pub(crate) const MAX_BYTES: usize = 64;

    /// Parses the name of a new account.
    ///
    /// # Errors
    /// A [`NameError`] that says what to change; [`NameError::Reserved`] for reserved names, such
    /// as `admin`, and names that look like them.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = Self::parse_any(text)?;
        if reserved::is_reserved(&name.skeleton()) {
            return Err(NameError::Reserved);
        }
        Ok(name)
    }

    /// Parses a name that may be reserved: for login, to look a user up, and for operators, who may
    /// assign reserved names.
    ///
    /// # Errors
    /// The errors of [`parse`](Self::parse), except [`NameError::Reserved`].
    pub fn parse_any(text: &str) -> Result<Self, NameError> {
        const RULES: canonical::Rules = canonical::Rules {
            max_chars: UserName::MAX_CHARS,
            max_bytes: UserName::MAX_BYTES,
            punctuation: &['_', '-', '.'],
            allowed: "letters, digits, '_', '-' and '.'",
        };
        RULES.check_input(text)?;
        let name = canonical::fold_case(&canonical::fold_width(text));
        RULES.check_length(&name)?;
        RULES.check_characters(&name)?;
        canonical::Rules::check_whole(&name)?;
        canonical::check_word(&name)?;
        Ok(Self(name.into()))
    }

    /// Returns the canonical spelling of the beginning of a name, which need not be a valid name
    /// itself.
    pub(crate) fn canonical_prefix(text: &str) -> String {
        canonical::fold_case(&canonical::fold_width(text))
    }

    /// Returns the form that is equal for all names that look like this one. It is unique in a
    /// store, so that no user can imitate another.
    #[must_use]
    pub(crate) fn skeleton(&self) -> Skeleton {
        Skeleton::of(&self.0)
    }
}
