//! Validation of [`Emoji`].

use std::fmt;
use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation;

use super::{TextError, is_bidi_control};
use crate::model::name::{ShownChar, is_visible};

/// Reaction: one emoji, or a short word such as `+1` or `赞`. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Emoji(Arc<str>);

impl Emoji {
    /// Maximum length in bytes of UTF-8. The longest emoji that Unicode recommends for interchange
    /// (a kiss between two people of given skin colours) has 35.
    pub(crate) const MAX_BYTES: usize = 40;
    /// Maximum number of grapheme clusters.
    pub(crate) const MAX_GRAPHEMES: usize = 8;

    /// Checks a reaction.
    ///
    /// # Errors
    /// [`TextError`]: the reaction is empty, invisible or too long, or has white space, a control
    /// character or a bidirectional control.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(TextError::TooManyBytes {
                actual: text.len(),
                max: Self::MAX_BYTES,
            });
        }
        let forbidden = |c: &char| c.is_control() || c.is_whitespace() || is_bidi_control(*c);
        if let Some(bad) = text.chars().find(forbidden) {
            return Err(TextError::Forbidden(ShownChar(bad)));
        }
        if text.graphemes(true).count() > Self::MAX_GRAPHEMES || !text.chars().any(is_visible) {
            return Err(TextError::NotAReaction {
                max: Self::MAX_GRAPHEMES,
            });
        }
        Ok(Self(text.into()))
    }

    /// Returns the reaction as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Emoji {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
