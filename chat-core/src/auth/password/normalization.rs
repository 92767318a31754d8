//! The OpaqueString profile of RFC 8265, section 4.2: a password is the same password however its
//! accents are composed and whatever kind of space it contains.

use std::borrow::Cow;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::{Profile as _, Rules as _};
use zeroize::Zeroize as _;

use super::PasswordError;
use crate::model::Secret;

/// Returns the normalised form of a password.
///
/// # Errors
/// [`PasswordError::Disallowed`]: the password is not UTF-8, or contains a disallowed character.
pub(super) fn normalize(presented: &Secret) -> Result<Secret, PasswordError> {
    let text = std::str::from_utf8(presented.expose()).map_err(|_| PasswordError::Disallowed)?;
    if text.is_empty() {
        return Ok(presented.clone()); // the caller checks the length
    }
    let profile = OpaqueString::new();
    let disallowed = |_| PasswordError::Disallowed;
    let mapped = profile.additional_mapping_rule(text).map_err(disallowed)?;
    // The characters are checked after the normalisation, because a keyboard or system may send
    // Korean syllables as their letters, which are not allowed by themselves.
    let normalized = profile.normalization_rule(&*mapped).map(|text| {
        let is_allowed = profile.prepare(&*text).is_ok();
        (Secret::new(text.into_owned()), is_allowed)
    });
    if let Cow::Owned(mut copy) = mapped {
        copy.zeroize();
    }
    match normalized.map_err(disallowed)? {
        (normalized, true) => Ok(normalized),
        (_, false) => Err(PasswordError::Disallowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(text: &str) -> Result<String, PasswordError> {
        let secret = normalize(&Secret::new(text))?;
        Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
    }

    #[test]
    fn composed_and_decomposed_accents_are_the_same_password() {
        assert_eq!(normalized("pa\u{308}sswo\u{308}rd").unwrap(), "p\u{e4}ssw\u{f6}rd");
        assert_eq!(normalized("p\u{e4}ssw\u{f6}rd").unwrap(), "p\u{e4}ssw\u{f6}rd");
        assert_eq!(normalized("\u{1112}\u{1161}\u{11ab}").unwrap(), "\u{d55c}");
    }

    #[test]
    fn other_spaces_become_spaces_and_case_and_width_are_kept() {
        assert_eq!(normalized("a\u{a0}b\u{3000}c d").unwrap(), "a b c d");
        assert_eq!(normalized("Correct Horse").unwrap(), "Correct Horse");
        assert_eq!(
            normalized("\u{ff21}\u{fb01}").unwrap(),
            "\u{ff21}\u{fb01}",
            "no compatibility mapping"
        );
    }

    #[test]
    fn disallowed_characters_and_other_encodings_are_refused() {
        for text in ["tab\tbed", "bell\u{7}", "\u{feff}password", "\u{fdd0}"] {
            assert_eq!(normalized(text), Err(PasswordError::Disallowed), "{text:?}");
        }
        let latin1 = Secret::new(b"p\xe4ssword".to_vec());
        assert_eq!(normalize(&latin1).unwrap_err(), PasswordError::Disallowed);
    }
}
