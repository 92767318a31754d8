//! Validation of [`DisplayName`].

use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

use super::{NameError, ShownChar, name_string};
use crate::model::text::is_bidi_control;

/// Name that a user chose for display: any printable text, emoji included. It is not unique, so
/// clients show it beside the [`UserName`](super::UserName). Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DisplayName(pub(super) Arc<str>);

name_string!(DisplayName);

impl DisplayName {
    /// Maximum number of grapheme clusters (what people call characters).
    pub(crate) const MAX_GRAPHEMES: usize = 64;
    /// Maximum length in bytes of UTF-8.
    pub(crate) const MAX_BYTES: usize = 256;
    /// Maximum number of marks on one letter. More would cover the neighbouring lines.
    pub(crate) const MAX_MARKS: usize = 4;

    /// Parses a display name: converts it to NFC, trims it and drops bidirectional controls.
    ///
    /// # Errors
    /// [`NameError`]: the name has no visible character, is too long, or has an unprintable
    /// character or too many marks on a letter.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let too_long = NameError::TooLong {
            max_characters: Self::MAX_GRAPHEMES,
            max_bytes: Self::MAX_BYTES,
        };
        if text.len() > 4 * Self::MAX_BYTES {
            return Err(too_long);
        }
        let kept: String = text.nfc().filter(|c| !is_bidi_control(*c)).collect();
        if let Some(bad) = kept.chars().find(|c| is_unprintable(*c)) {
            return Err(NameError::Forbidden {
                character: ShownChar(bad),
                allowed: "printable characters",
            });
        }
        // Dropping controls can make neighbours composable.
        let name: String = kept.trim().nfc().collect();
        if !name.chars().any(is_visible) {
            return Err(NameError::Empty);
        }
        if name.len() > Self::MAX_BYTES || name.graphemes(true).count() > Self::MAX_GRAPHEMES {
            return Err(too_long);
        }
        let marks = |grapheme: &str| grapheme.nfd().filter(|c| is_stacked_mark(*c)).count();
        if name.graphemes(true).any(|grapheme| marks(grapheme) > Self::MAX_MARKS) {
            return Err(NameError::TooManyMarks { max: Self::MAX_MARKS });
        }
        Ok(Self(name.into()))
    }
}

/// Returns whether `c` is a control, a line or paragraph separator, private use or unassigned.
fn is_unprintable(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
    )
}

fn is_stacked_mark(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
    ) && !is_variation_selector(c)
}

fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{180B}'..='\u{180D}' | '\u{180F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}')
}

/// Returns whether `c` is visible. Unprintable characters, spaces, marks, format characters and
/// characters without a shape, such as HANGUL FILLER, are not.
pub(in crate::model) fn is_visible(c: char) -> bool {
    let blank_letter = matches!(c, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' | '\u{2800}');
    !blank_letter
        && !is_unprintable(c)
        && !matches!(
            c.general_category_group(),
            GeneralCategoryGroup::Separator | GeneralCategoryGroup::Mark
        )
        && c.general_category() != GeneralCategory::Format
}
