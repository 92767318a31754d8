//! Validation of [`Emoji`].

use std::fmt;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::emoji::{EmojiStatus, UnicodeEmoji as _};
use unicode_segmentation::UnicodeSegmentation;

use super::{TextError, is_bidi_control};
use crate::model::name::{ShownChar, is_visible};

/// Selects the coloured form of the character before it.
const EMOJI_VARIATION: char = '\u{fe0f}';
/// Selects the form of the character before it that looks like text.
const TEXT_VARIATION: char = '\u{fe0e}';
/// Turns a digit, `#` or `*` into a key.
const KEYCAP: char = '\u{20e3}';

/// Reaction: at most 8 characters (grapheme clusters) and 40 bytes without white space and
/// controls, meant for one emoji or a short word such as `+1` or `赞`. It is normalised, so that all
/// spellings of a reaction are equal: to NFC, and to the variation selectors that Unicode
/// recommends (fully-qualified emoji). Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Emoji(Arc<str>);

impl Emoji {
    /// Maximum length in bytes of UTF-8. The longest emoji that Unicode recommends for interchange
    /// (a kiss between two people of given skin colours) has 35.
    pub(crate) const MAX_BYTES: usize = 40;
    /// Maximum number of grapheme clusters.
    pub(crate) const MAX_GRAPHEMES: usize = 8;

    /// Checks and normalises a reaction.
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
        let text = Self::normalize(text);
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

    /// Returns the normal form of a reaction, as in [`Emoji`]. Reactions in decoded events have
    /// this form too, even if the server that stored them did not normalise them.
    pub(crate) fn normalize(text: &str) -> String {
        let plain = text.chars().filter(|c| !matches!(*c, EMOJI_VARIATION | TEXT_VARIATION));
        let mut plain = plain.nfc().peekable();
        let mut normal = String::with_capacity(text.len());
        while let Some(c) = plain.next() {
            normal.push(c);
            if needs_selector(c, plain.peek().copied()) {
                normal.push(EMOJI_VARIATION);
            }
        }
        normal
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

/// Returns whether `c`, followed by `next`, is an emoji that looks like text without a variation
/// selector.
fn needs_selector(c: char, next: Option<char>) -> bool {
    match c.emoji_status() {
        EmojiStatus::EmojiOther => true,
        EmojiStatus::EmojiModifierBase => !next.is_some_and(is_skin_tone),
        EmojiStatus::EmojiOtherAndEmojiComponent => next == Some(KEYCAP),
        _ => false,
    }
}

fn is_skin_tone(c: char) -> bool {
    matches!(
        c.emoji_status(),
        EmojiStatus::EmojiPresentationAndModifierAndEmojiComponent
    )
}
