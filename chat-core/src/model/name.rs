//! Names of users and groups, and display names. The name of a user or group has one canonical
//! spelling, and a skeleton that is equal for names that look alike; a display name has neither.
//!
//! A user name follows PRECIS `UsernameCaseMapped` (RFC 8265 §3.3): width mapping, lower case, NFC
//! and the Bidi Rule of RFC 5893. It may contain `_`, `-` and `.`, the letters, marks and decimal
//! digits of any script that UTS #39 allows for identifiers, and all Chinese characters, even rare
//! ones that UTS #39 does not allow. Scripts mix only as "highly restrictive" in UTS #39 permits:
//! Latin with Chinese, Japanese or Korean, otherwise one script. Names that still look alike
//! (`сосо` in Cyrillic, `coco` in Latin) have the same skeleton, which a store keeps unique.
//!
//! The `precis-profiles` crate is not used: its identifier class is wider, so an additional filter
//! would be needed, and its tables, which a build script generates, have another Unicode version
//! than the tables used here.

mod canonical;
mod display;
mod group;
mod reserved;
#[cfg(test)]
mod tests;
mod user;

pub use display::DisplayName;
pub(in crate::model) use display::is_visible;
pub use group::GroupName;
pub use user::UserName;

use std::fmt;

/// Error of parsing a name. Its message is meant for the person who typed the name, and says what
/// to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no visible character.
    #[error("the name is empty; type at least one letter")]
    Empty,
    /// The name is longer than allowed.
    #[error(
        "the name is too long; use at most {max_characters} characters and {max_bytes} bytes of \
         UTF-8"
    )]
    TooLong {
        /// Maximum length: in code points for user and group names, in grapheme clusters for
        /// display names.
        max_characters: usize,
        /// Maximum length in bytes of UTF-8.
        max_bytes: usize,
    },
    /// The name contains a character that names of this kind cannot contain.
    #[error("the name cannot contain {character}; use {allowed}")]
    Forbidden {
        /// The character, in a printable form.
        character: ShownChar,
        /// Description of the allowed characters.
        allowed: &'static str,
    },
    /// The name starts or ends with `-` or `.`, or one of its words starts with a combining mark.
    #[error(
        "the name cannot start or end with '-' or '.', and no word can start with a combining \
         mark"
    )]
    BadEdge,
    /// The name has no letter, only digits, punctuation or combining marks. A number alone is the
    /// id of a user or group.
    #[error("the name needs at least one letter, because a number alone is an id")]
    NoLetter,
    /// A word of the name has letters of scripts that UTS #39 does not allow together, because
    /// their letters are easily confused.
    #[error(
        "the name mixes scripts that are easily confused; write each word in one script \
         (Latin letters may stand beside Chinese, Japanese or Korean)"
    )]
    MixedScripts,
    /// A word of the name has digits of two numbering systems.
    #[error("the name mixes digits of different scripts; use one kind of digits")]
    MixedDigits,
    /// A letter has more than `max` combining marks.
    #[error("the name stacks too many marks on one letter; use at most {max}")]
    TooManyMarks {
        /// Maximum number of marks on one letter.
        max: usize,
    },
    /// A word with right-to-left characters breaks the Bidi Rule (RFC 5893 §2), so that its
    /// displayed order is ambiguous.
    #[error(
        "the name mixes writing directions ambiguously; write it in one direction, without \
         digits in front"
    )]
    Direction,
    /// The name is reserved, or looks like a reserved name: only operators of the server can assign
    /// it. Examples are `admin`, and `all`, which is a mention.
    #[error("the name is reserved; choose another one")]
    Reserved,
}

/// A character in an error text. Printable ASCII is shown as itself and a space as the word
/// `spaces`; other alphanumeric characters are shown with their code point, and all other
/// characters as their code point only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownChar(pub char);

impl fmt::Display for ShownChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(c) = *self;
        match c {
            ' ' => f.write_str("spaces"),
            '!'..='~' => write!(f, "'{c}'"),
            _ if c.is_alphanumeric() => write!(f, "'{c}' (U+{:04X})", u32::from(c)),
            _ => write!(f, "U+{:04X}", u32::from(c)),
        }
    }
}

/// Implements what all name types have in common: conversion to `&str`, printing, and parsing with
/// [`FromStr`](std::str::FromStr).
macro_rules! name_string {
    ($name:ident) => {
        impl $name {
            /// Returns the name as it is shown and stored.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::model::NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}
use name_string;
