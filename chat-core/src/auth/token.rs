//! Bearer tokens of clients, and the hashes that the store keeps. A client presents its session
//! token instead of a password, and its device token together with a password.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::model::Secret;

/// Size of a token in bytes: 256 bits cannot be guessed.
const TOKEN_BYTES: usize = 32;

/// Number of characters of 32 bytes in base64url without padding.
const TOKEN_CHARS: usize = 43;

/// Reason why a token could not be created or parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The input is neither 32 bytes nor the text of a token: 43 characters of base64url, of which
    /// the last has its unused bits at zero.
    #[error("not a token: expected 32 bytes, or 43 characters of base64url")]
    Malformed,
    /// The operating system provided no random bytes.
    #[error("the operating system returned no random bytes")]
    Entropy,
}

macro_rules! token {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        ///
        /// 256 random bits, zeroed when dropped; `Debug` hides them and there is no `Display`. A
        /// token is 32 bytes in packets and 43 base64url characters in text
        /// ([`expose`](Self::expose), `parse`). Comparison takes constant time.
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; TOKEN_BYTES]>);

        impl $name {
            /// Creates a token from random bytes of the operating system.
            ///
            /// # Errors
            /// [`TokenError::Entropy`]: the operating system provided no random bytes.
            pub fn generate() -> Result<Self, TokenError> {
                let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
                getrandom::fill(bytes.as_mut_slice()).map_err(|_| TokenError::Entropy)?;
                Ok(Self(bytes))
            }

            /// Creates a token from the 32 bytes that a client presented.
            ///
            /// # Errors
            /// [`TokenError::Malformed`]: the input is not 32 bytes.
            pub fn from_secret(presented: &Secret) -> Result<Self, TokenError> {
                let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
                if presented.expose().len() != TOKEN_BYTES {
                    return Err(TokenError::Malformed);
                }
                bytes.copy_from_slice(presented.expose());
                Ok(Self(bytes))
            }

            /// Returns the 32 bytes of the token. Send them only to the owner, over an encrypted
            /// channel.
            #[must_use]
            pub fn to_secret(&self) -> Secret {
                Secret::new(self.0.as_slice())
            }

            /// Returns the token as text, which is zeroed when dropped. Show it only to the owner.
            #[must_use]
            pub fn expose(&self) -> Zeroizing<String> {
                let mut text = Zeroizing::new(String::with_capacity(TOKEN_CHARS));
                URL_SAFE_NO_PAD.encode_string(self.0.as_slice(), &mut text);
                text
            }

            /// Returns the hash of this token that the store keeps.
            #[must_use]
            pub fn hash(&self) -> TokenHash {
                TokenHash(Sha256::digest(self.0.as_slice()).into())
            }
        }

        impl FromStr for $name {
            type Err = TokenError;

            fn from_str(text: &str) -> Result<Self, TokenError> {
                decode(text).map(Self)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(other.0.as_slice()).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }
    };
}

token! {
    /// Token that resumes the session of one device without a password. It is valid until its login
    /// ends, for example by logout, revocation, a new login of the device, a change of the password
    /// or expiry, or until the device presents a token that replaced it.
    SessionToken
}

token! {
    /// Token that proves that a device has logged in to this account before, which gives the device
    /// a separate attempt history: see [`LoginThrottle`](super::LoginThrottle). The token alone
    /// grants no access.
    DeviceToken
}

fn decode(text: &str) -> Result<Zeroizing<[u8; TOKEN_BYTES]>, TokenError> {
    if text.len() != TOKEN_CHARS {
        return Err(TokenError::Malformed);
    }
    // The decoder needs space for a complete last group of 3 bytes.
    let mut buffer = Zeroizing::new([0; TOKEN_BYTES + 1]);
    let length = URL_SAFE_NO_PAD
        .decode_slice(text, buffer.as_mut_slice())
        .map_err(|_| TokenError::Malformed)?;
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    match buffer.get(..length) {
        Some(decoded) if length == TOKEN_BYTES => bytes.copy_from_slice(decoded),
        _ => return Err(TokenError::Malformed),
    }
    Ok(bytes)
}

/// SHA-256 of a token, which the store keeps to recognise the token. A stolen hash grants no
/// access. Comparison takes constant time; `Debug` hides the hash.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Restores a hash from the store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the hash for the store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_and_bytes_round_trip_and_other_sizes_are_refused() {
        let token = SessionToken::generate().unwrap();
        let text = token.expose();
        assert_eq!(text.len(), 43);
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        let back: SessionToken = text.parse().unwrap();
        assert_eq!(back, token);
        assert_eq!(back.hash(), token.hash());
        assert_eq!(SessionToken::from_secret(&token.to_secret()).as_ref(), Ok(&token));
        for wrong in [0, 31, 33, 43] {
            let presented = Secret::new(vec![b'A'; wrong]);
            assert_eq!(SessionToken::from_secret(&presented), Err(TokenError::Malformed));
        }
        assert_eq!(TokenHash::from_bytes(*token.hash().as_bytes()), token.hash());
    }

    #[test]
    fn tokens_differ() {
        let (one, other) = (DeviceToken::generate().unwrap(), DeviceToken::generate().unwrap());
        assert_ne!(one, other);
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn hash_is_plain_sha_256() {
        let token: SessionToken = "A".repeat(43).parse().unwrap(); // 32 zero bytes
        let hex: String = token.hash().as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    }

    #[test]
    fn malformed_texts_are_refused() {
        let long = "A".repeat(1 << 20);
        // The last character has unused bits; they must be zero, so that a token has one spelling.
        let second_spelling = format!("{}B", "A".repeat(42));
        let short = "A".repeat(42);
        let wrong_alphabet = format!("{}+", "A".repeat(42));
        for bad in [
            "",
            &short,
            &long,
            &second_spelling,
            &wrong_alphabet,
            &format!("{}A", "é".repeat(21)),
            "a b",
        ] {
            assert_eq!(
                bad.parse::<SessionToken>(),
                Err(TokenError::Malformed),
                "{} bytes",
                bad.len()
            );
        }
    }

    #[test]
    fn debug_hides_tokens_and_hashes() {
        let token = SessionToken::generate().unwrap();
        assert_eq!(format!("{token:?}"), "SessionToken(***)");
        assert_eq!(format!("{:?}", token.hash()), "TokenHash(***)");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = text.parse::<DeviceToken>();
        }

        #[test]
        fn token_has_one_text_form(text in "[A-Za-z0-9_-]{43}") {
            if let Ok(token) = text.parse::<DeviceToken>() {
                let again = token.expose();
                prop_assert_eq!(again.as_str(), text.as_str());
            }
        }
    }
}
