//! Validation of [`GroupName`].

use std::sync::Arc;

use super::canonical::{self, Skeleton};
use super::{NameError, name_string, reserved};

/// Unique name of a group. It keeps its capitals and may have single spaces inside. A group is
/// looked up by its [`key`](Self::key).
///
/// Each word follows the script, digit, mark and direction rules of user names, so `Rust группа` is
/// valid and `Rusт` is not. Cloning is cheap. Two names are equal if their displayed spelling is
/// equal; compare keys to check whether they denote the same group.
///
/// # Examples
/// ```
/// use chat_core::model::GroupName;
///
/// let name = GroupName::parse("  C++　学习  小组 ")?;
/// assert_eq!(name.as_str(), "C++ 学习 小组");
/// assert_eq!(name.key(), "c++ 学习 小组");
/// # Ok::<(), chat_core::model::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(pub(super) Arc<str>);

name_string!(GroupName);

impl GroupName {
    /// Maximum length of the name, and of its key, in code points.
    pub(crate) const MAX_CHARS: usize = 64;
    /// Maximum length of the name, and of its key, in bytes of UTF-8.
    pub(crate) const MAX_BYTES: usize = 256;

    /// Parses a name for a group that is created or renamed. Removes spaces at its ends, and
    /// collapses those inside to single spaces. An ideographic space counts as a space; other white
    /// space, such as a tab, is not allowed.
    ///
    /// # Errors
    /// A [`NameError`] that says what to change.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = Self::parse_any(text)?;
        if reserved::is_reserved(&name.skeleton()) {
            return Err(NameError::Reserved);
        }
        Ok(name)
    }

    /// Parses a name that may be reserved: to look a group up, and for an application that gives a
    /// group a reserved name.
    ///
    /// # Errors
    /// The errors of [`parse`](Self::parse), except [`NameError::Reserved`].
    pub fn parse_any(text: &str) -> Result<Self, NameError> {
        const RULES: canonical::Rules = canonical::Rules {
            max_chars: GroupName::MAX_CHARS,
            max_bytes: GroupName::MAX_BYTES,
            punctuation: &['_', '-', '.', '+', '#', '&'],
            allowed: "letters, digits, spaces, '_', '-', '.', '+', '#' and '&'",
        };
        RULES.check_input(text)?;
        let folded = canonical::fold_width(text);
        let name = folded
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let key = canonical::fold_case(&name);
        RULES.check_length(&name)?;
        RULES.check_length(&key)?;
        // The displayed spelling is checked too: a capital letter may be outside the allowed set
        // although its small letter is in it.
        for word in name.split(' ').chain(key.split(' ')) {
            RULES.check_characters(word)?;
        }
        canonical::Rules::check_whole(&key)?;
        for word in name.split(' ').chain(key.split(' ')) {
            canonical::check_word(word)?;
        }
        Ok(Self(name.into()))
    }

    /// Returns the canonical spelling, which is unique among the groups of a store that are not
    /// deleted. Names with the same key denote the same group.
    #[must_use]
    pub fn key(&self) -> String {
        canonical::fold_case(&self.0)
    }

    /// Returns the form that is equal for all group names that look like this one. It is unique
    /// like [`key`](Self::key).
    #[must_use]
    pub(crate) fn skeleton(&self) -> Skeleton {
        Skeleton::of(&self.key())
    }
}
