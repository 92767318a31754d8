//! Names of users and groups: one canonical spelling each, and a fingerprint that look-alikes share.
//!
//! A user name follows PRECIS `UsernameCaseMapped` (RFC 8265 §3.3): width mapping, lower case, NFC, the Bidi Rule of
//! RFC 5893; and of the identifier class only what UTS #39 allows for identifiers, reduced to letters, marks and decimal
//! digits of any script plus `_`, `-` and `.`. Scripts mix only as UTS #39 "highly restrictive" lets them: Latin with
//! Chinese, Japanese or Korean, else one script. What still looks alike (`сосо` in Cyrillic, `coco` in Latin) has the same
//! [`Skeleton`], which a store keeps unique.
//!
//! Why not the `precis-profiles` crate: its identifier class is wider than ours, so our own filter would remain, and its
//! tables, generated while building with a regex engine, would be of another Unicode version than the ones used here.

mod canonical;
mod display;
mod group;
mod reserved;
#[cfg(test)]
mod tests;
mod user;

pub use canonical::Skeleton;
pub use display::DisplayName;
pub(in crate::model) use display::is_visible;
pub use group::GroupName;
pub use reserved::RESERVED_NAMES;
pub use user::UserName;

use std::fmt;

/// Why a name was refused. The text says what to do instead and is meant for the person who typed the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing visible is left of the name.
    #[error("the name is empty; type at least one letter")]
    Empty,
    /// Longer than a name of this kind may be.
    #[error("the name is too long; use at most {max_characters} characters and {max_bytes} bytes of UTF-8")]
    TooLong {
        /// Most characters: code points for user and group names, graphemes for display names.
        max_characters: usize,
        /// Most bytes in UTF-8.
        max_bytes: usize,
    },
    /// A character that names of this kind cannot contain.
    #[error("the name cannot contain {character}; use {allowed}")]
    Forbidden {
        /// The character, printed harmlessly.
        character: ShownChar,
        /// What may be used, in words.
        allowed: &'static str,
    },
    /// The first or last character is a separator or a combining mark.
    #[error("the name has to start and end with a letter, a digit or '_'")]
    BadEdge,
    /// Digits and separators alone: a number is the id of a user or group, not a name.
    #[error("the name needs at least one letter; a number alone would be an id")]
    NoLetter,
    /// Letters of scripts that imitate each other.
    #[error(
        "the name mixes scripts that are easily confused; write each word in one script \
         (Latin letters may stand beside Chinese, Japanese or Korean)"
    )]
    MixedScripts,
    /// Digits of two numbering systems.
    #[error("the name mixes digits of different scripts; use one kind of digits")]
    MixedDigits,
    /// More marks on one letter than any language writes.
    #[error("the name stacks too many marks on one letter; use at most {max}")]
    TooManyMarks {
        /// Most marks in a row.
        max: usize,
    },
    /// Left-to-right and right-to-left characters in an order that reads differently than it is stored.
    #[error("the name mixes writing directions ambiguously; write it in one direction, without digits in front")]
    Direction,
    /// Kept for the operators of the server, or for mentions such as `@all`.
    #[error("the name is reserved; choose another one")]
    Reserved,
}

/// A character in an error text: itself when harmless, and always its code point.
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

/// The string half of every name type: borrowing, printing, and reading back what a store kept.
macro_rules! name_string {
    ($name:ident) => {
        impl $name {
            /// Takes a name back from the store without checking it again: rules and Unicode tables may have changed
            /// since it was registered, and its owner keeps it.
            #[must_use]
            pub fn from_stored(name: impl Into<std::sync::Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as it is shown and stored.
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
