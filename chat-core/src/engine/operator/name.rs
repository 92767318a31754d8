//! Names of operators.

use thiserror::Error;

/// Name of an operator, as the audit log shows it: 1 to 64 bytes, not only white space, and without
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperatorName(String);

/// Error of creating an [`OperatorName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the name of an operator must have 1 to 64 bytes, not only white space, and no control characters")]
pub struct OperatorNameError;

impl OperatorName {
    /// Maximum size of a name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks a name and returns it as an `OperatorName`.
    ///
    /// # Errors
    /// [`OperatorNameError`]: the name is empty, blank or too long, or has a control character.
    pub fn new(name: impl Into<String>) -> Result<Self, OperatorNameError> {
        let name = name.into();
        if name.trim().is_empty() || name.len() > Self::MAX_BYTES || name.chars().any(char::is_control) {
            return Err(OperatorNameError);
        }
        Ok(Self(name))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_name_is_short_not_blank_and_without_control_characters() {
        assert_eq!(OperatorName::new("carol").unwrap().as_str(), "carol");
        assert!(OperatorName::new("x".repeat(64)).is_ok());
        for refused in ["", "  ", "a\nb", "\u{1b}[1m", &"x".repeat(65)] {
            assert_eq!(OperatorName::new(refused), Err(OperatorNameError), "{refused:?}");
        }
    }
}
