//! Text that people write: message bodies, notes, descriptions, reactions; and how to print it safely.
//!
//! Bodies are kept byte for byte: no normalisation, no trimming. What they may do to a terminal or a log is dealt with
//! where they are printed, see [`sanitize_for_terminal`] and [`escape_for_log`].

mod emoji;
mod escape;
#[cfg(test)]
mod tests;

pub use emoji::Emoji;
pub use escape::{escape_for_log, sanitize_for_terminal};

pub(in crate::model) use escape::is_bidi_control;

use std::fmt;
use std::sync::Arc;

use super::name::ShownChar;

/// Why a text was refused; says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is nothing in it.
    #[error("the text is empty; write something")]
    Empty,
    /// More bytes than allowed.
    #[error("the text has {actual} bytes, more than the {max} allowed; shorten it or send it in parts")]
    TooManyBytes {
        /// Bytes it has.
        actual: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// More characters (code points) than allowed.
    #[error("the text is longer than {max} characters; shorten it")]
    TooManyChars {
        /// Characters it may have.
        max: usize,
    },
    /// A character that this kind of text cannot contain.
    #[error("the text cannot contain {0}; remove it")]
    Forbidden(ShownChar),
    /// A reaction that is more than an emoji or a short word.
    #[error("a reaction is one emoji or a word of at most {max} characters")]
    NotAReaction {
        /// Grapheme clusters it may have.
        max: usize,
    },
}

/// The body of a message: 1 byte to 16 KiB of UTF-8 without NUL, exactly as its author wrote it. Cloning is cheap.
///
/// `Debug` shows the length only: bodies do not belong in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageText(Arc<str>);

impl MessageText {
    /// Most bytes, unless a deployment sets less.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Takes a message body of at most [`MAX_BYTES`](Self::MAX_BYTES).
    ///
    /// # Errors
    /// [`TextError`]: empty, too long, or with a NUL.
    pub fn new(text: impl Into<Arc<str>> + AsRef<str>) -> Result<Self, TextError> {
        Self::with_limit(text, Self::MAX_BYTES)
    }

    /// Takes a message body of at most `max_bytes`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_limit(text: impl Into<Arc<str>> + AsRef<str>, max_bytes: usize) -> Result<Self, TextError> {
        let actual = text.as_ref().len();
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

    /// Takes a body back from the store, where it was written after these checks.
    #[must_use]
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
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

/// Text of at most `MAX` characters that may be empty and has no control characters but line breaks and tabs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ShortText<const MAX: usize>(Arc<str>);

/// What somebody adds to a friend request or a request to join: at most 200 characters.
pub type Note = ShortText<200>;

/// What a group is about: at most 1000 characters.
pub type Description = ShortText<1000>;

impl<const MAX: usize> ShortText<MAX> {
    /// Most characters (code points).
    pub const MAX_CHARS: usize = MAX;

    /// Takes a text as it is.
    ///
    /// # Errors
    /// [`TextError`]: too long, or with a control character.
    pub fn new(text: impl Into<Arc<str>> + AsRef<str>) -> Result<Self, TextError> {
        let content = text.as_ref();
        // Bytes first: nobody's megabyte is walked through to count its characters.
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

    /// Takes a text back from the store, where it was written after these checks.
    #[must_use]
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
