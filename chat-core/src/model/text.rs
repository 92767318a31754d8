//! Text that users write: message bodies, notes, descriptions and reactions; and how to print it
//! safely.
//!
//! Bodies are stored byte for byte, without normalisation or trimming. Their effect on terminals
//! and logs is neutralised where they are printed; see [`sanitize_for_terminal`] and
//! [`escape_for_log`].

mod emoji;
mod escape;
#[cfg(test)]
mod tests;

pub use emoji::Emoji;
pub use escape::{escape_for_log, sanitize_for_terminal};

pub(in crate::model) use escape::is_bidi_control;
pub(crate) use escape::is_label;

use std::fmt;
use std::sync::Arc;

use super::name::ShownChar;

/// Error of creating a text. Its message says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text is empty.
    #[error("the text is empty; write something")]
    Empty,
    /// The text has too many bytes.
    #[error("the text has {actual} bytes, more than the {max} allowed; shorten it, or send a message in parts")]
    TooManyBytes {
        /// Length of the text in bytes.
        actual: usize,
        /// Maximum length in bytes.
        max: usize,
    },
    /// The text has too many characters (code points).
    #[error("the text is longer than {max} characters; shorten it")]
    TooManyChars {
        /// Maximum number of characters.
        max: usize,
    },
    /// The text has a character that this kind of text cannot contain.
    #[error("the text cannot contain {0}; remove it")]
    Forbidden(ShownChar),
    /// The reaction has too many grapheme clusters for an emoji or a short word, or has no visible
    /// character.
    #[error("a reaction is one emoji or a word of at most {max} characters")]
    NotAReaction {
        /// Maximum number of grapheme clusters.
        max: usize,
    },
}

/// Text of a message: 1 byte to 16 KiB of UTF-8 without NUL, exactly as its author wrote it.
/// Cloning is cheap.
///
/// `Debug` shows only the length, because bodies do not belong in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageText(Arc<str>);

impl MessageText {
    /// Maximum length in bytes; a deployment may set a smaller limit.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Checks a body of at most [`MAX_BYTES`](Self::MAX_BYTES).
    ///
    /// # Errors
    /// [`TextError`]: the text is empty, too long, or has a NUL.
    pub fn new(text: impl Into<Arc<str>> + AsRef<str>) -> Result<Self, TextError> {
        Self::with_limit(text, Self::MAX_BYTES)
    }

    /// Checks a body of at most `max_bytes`, and at most [`MAX_BYTES`](Self::MAX_BYTES).
    ///
    /// # Errors
    /// The errors of [`new`](Self::new).
    pub(crate) fn with_limit(text: impl Into<Arc<str>> + AsRef<str>, max_bytes: usize) -> Result<Self, TextError> {
        let (actual, max_bytes) = (text.as_ref().len(), max_bytes.min(Self::MAX_BYTES));
        if actual == 0 {
            Err(TextError::Empty)
        } else if actual > max_bytes {
            Err(TextError::TooManyBytes { actual, max: max_bytes })
        } else if text.as_ref().contains('\0') {
            Err(TextError::Forbidden(ShownChar('\0')))
        } else {
            Ok(Self(text.into()))
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for MessageText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageText({} bytes)", self.0.len())
    }
}

/// Text of at most `MAX` characters (code points). It may be empty, and has no control characters
/// except line breaks and tabs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShortText<const MAX: usize>(Arc<str>);

/// Text of a friend request or a request to join: at most 200 characters.
pub type Note = ShortText<200>;

/// Description of a group: at most 1000 characters.
pub type Description = ShortText<1000>;

impl<const MAX: usize> ShortText<MAX> {
    /// Checks a text.
    ///
    /// # Errors
    /// [`TextError`]: the text is too long or has a control character.
    pub fn new(text: impl Into<Arc<str>> + AsRef<str>) -> Result<Self, TextError> {
        let content = text.as_ref();
        // The size in bytes is checked first, so that the characters of a huge text are not
        // counted.
        if content.len() > 4 * MAX || content.chars().count() > MAX {
            return Err(TextError::TooManyChars { max: MAX });
        }
        match content
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        {
            Some(bad) => Err(TextError::Forbidden(ShownChar(bad))),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> Default for ShortText<MAX> {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

impl<const MAX: usize> AsRef<str> for ShortText<MAX> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for ShortText<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortText({} bytes)", self.0.len())
    }
}
