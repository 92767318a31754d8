//! Passwords, their stored hashes, and the pool of threads that hashes and compares passwords.
//!
//! Argon2id with 19 MiB deliberately costs about 20 ms of a core, so it never runs on a runtime
//! worker and never without a limit: see [`PasswordHasherPool`].

mod normalization;
mod pool;
#[cfg(test)]
mod tests;

pub use pool::{PasswordCheck, PasswordHasherPool, PasswordPoolError, PasswordPoolOptions, PasswordPoolStats};

use std::fmt;
use std::sync::Arc;

use crate::model::Secret;
use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version, password_hash::phc::PasswordHash as Phc};

/// A password of 8 to 1024 bytes. Zeroed when dropped; `Debug` shows `***`.
#[derive(Clone)]
pub struct Password(Secret);

impl Password {
    /// Minimum size in bytes.
    pub const MIN_BYTES: usize = 8;
    /// Maximum size in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Creates a password whose hash is to be stored. Converts it to the normalised form of the
    /// OpaqueString profile (RFC 8265, section 4.2), because keyboards compose accents differently.
    ///
    /// # Errors
    /// [`PasswordError`]: the password is not UTF-8, contains a character that the profile does not
    /// allow, or is too short or too long.
    pub fn normalized(presented: &Secret) -> Result<Self, PasswordError> {
        Self::new(normalization::normalize(presented)?)
    }

    /// Creates a password from the bytes that a client presented, without normalising them. It is
    /// compared with hashes that were stored before passwords were normalised.
    ///
    /// At login, the caller treats an error like a wrong password, so that the reply reveals
    /// nothing about the account.
    ///
    /// # Errors
    /// [`PasswordError`]: the password is too short or too long.
    pub fn new(presented: Secret) -> Result<Self, PasswordError> {
        match presented.expose().len() {
            0..Self::MIN_BYTES => Err(PasswordError::TooShort { min: Self::MIN_BYTES }),
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(presented)),
            _ => Err(PasswordError::TooLong { max: Self::MAX_BYTES }),
        }
    }
}

impl Password {
    /// Returns the bytes of the password.
    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// Reason why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The password is shorter than the minimum.
    #[error("the password is too short; use at least {min} bytes, a few words for example")]
    TooShort {
        /// Minimum size in bytes.
        min: usize,
    },
    /// The password is not UTF-8, or contains a character that the OpaqueString profile of RFC 8265
    /// does not allow.
    #[error(
        "the password contains a character that passwords cannot have, such as a control character, or is not UTF-8"
    )]
    Disallowed,
    /// The password is longer than the maximum.
    #[error("the password is too long; use at most {max} bytes")]
    TooLong {
        /// Maximum size in bytes.
        max: usize,
    },
}

/// Cost of one hash. An increase takes effect for a stored hash at the user's next login with the
/// password, see [`PasswordHash::needs_rehash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordCost {
    /// Memory in KiB that each worker uses while it hashes. Default 19 456 (19 MiB), which
    /// OWASP recommends with the other defaults.
    pub memory_kib: u32,
    /// Number of passes over the memory. Default 2.
    pub iterations: u32,
    /// Number of lanes, which are computed one after the other. Default 1.
    pub parallelism: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }
    }
}

impl PasswordCost {
    /// Maximum of each parameter: 1 GiB, 64 passes, 16 lanes. The maximum keeps a damaged or forged
    /// hash in the store from exhausting the node.
    const MAX: Self = Self {
        memory_kib: 1024 * 1024,
        iterations: 64,
        parallelism: 16,
    };

    /// Returns the lowest cost that Argon2 allows, for tests and benchmarks of other code. It
    /// offers no protection.
    #[must_use]
    pub fn danger_cheap() -> Self {
        Self {
            memory_kib: 8,
            iterations: 1,
            parallelism: 1,
        }
    }

    fn params(self) -> Result<Params, PasswordHashError> {
        let Self {
            memory_kib,
            iterations,
            parallelism,
        } = self;
        let max = Self::MAX;
        if memory_kib > max.memory_kib || iterations > max.iterations || parallelism > max.parallelism {
            return Err(PasswordHashError::Cost);
        }
        Params::new(memory_kib, iterations, parallelism, None).map_err(|_| PasswordHashError::Cost)
    }
}

/// A password hash as the store keeps it: Argon2id as a PHC string, `$argon2id$v=19$m=…`. `Debug`
/// shows only its cost. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    phc: Arc<str>,
    cost: PasswordCost,
}

impl PasswordHash {
    /// Parses a PHC string from the store.
    ///
    /// # Errors
    /// [`PasswordHashError`]: the text is not a complete Argon2id hash of version 19, or its cost
    /// is out of range.
    pub fn parse(phc: impl Into<Arc<str>>) -> Result<Self, PasswordHashError> {
        let phc = phc.into();
        let parsed = Phc::new(&phc).map_err(|_| PasswordHashError::Malformed)?;
        let is_argon2id = parsed.algorithm == ARGON2ID_IDENT && parsed.version == Some(Version::V0x13.into());
        if !is_argon2id || parsed.salt.is_none() || parsed.hash.is_none() {
            return Err(PasswordHashError::Malformed);
        }
        let params = Params::try_from(&parsed.params).map_err(|_| PasswordHashError::Malformed)?;
        let cost = PasswordCost {
            memory_kib: params.m_cost(),
            iterations: params.t_cost(),
            parallelism: params.p_cost(),
        };
        cost.params()?;
        Ok(Self { phc, cost })
    }

    /// Returns the PHC string for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.phc
    }

    /// Returns whether a parameter of this hash is below that of `cost`, so that the caller should
    /// hash the password again while it has it.
    #[must_use]
    pub fn needs_rehash(&self, cost: &PasswordCost) -> bool {
        self.cost.memory_kib < cost.memory_kib
            || self.cost.iterations < cost.iterations
            || self.cost.parallelism < cost.parallelism
    }

    /// Hashes a password with a fresh salt. Occupies a core for a time that depends on the cost.
    fn compute(password: &Password, cost: PasswordCost) -> Result<Self, PasswordHashError> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
        let phc = argon2
            .hash_password(password.0.expose())
            .map_err(PasswordHashError::from)?;
        Ok(Self {
            phc: phc.to_string().into(),
            cost,
        })
    }

    /// Returns a hash that no password matches. A comparison with it takes as long as one with the
    /// hash of a password of this cost.
    fn dummy(cost: PasswordCost) -> Result<Self, PasswordHashError> {
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|_| PasswordHashError::Entropy)?;
        let (salt, output) = random.split_at(16);
        let malformed = |_| PasswordHashError::Malformed;
        let phc = Phc {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&cost.params()?).map_err(PasswordHashError::from)?,
            salt: Some(Salt::new(salt).map_err(malformed)?),
            hash: Some(Output::new(output).map_err(malformed)?),
        };
        Ok(Self {
            phc: phc.to_string().into(),
            cost,
        })
    }

    /// Returns whether this is the hash of `password`. The time does not depend on the result.
    /// Occupies a core for a time that depends on the cost of the hash.
    fn matches(&self, password: &Password) -> Result<bool, PasswordHashError> {
        let parsed = Phc::new(&self.phc).map_err(|_| PasswordHashError::Malformed)?;
        match Argon2::default().verify_password(password.0.expose(), &parsed) {
            Ok(()) => Ok(true),
            Err(password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Reason why a hash could not be computed, parsed or compared. Reveals nothing about the
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordHashError {
    /// The stored hash is not a complete PHC string of Argon2id, version 19, or its cost is lower
    /// than Argon2 allows.
    #[error("the stored password hash is not an Argon2id PHC string")]
    Malformed,
    /// Memory, passes or lanes of a [`PasswordCost`] are out of range, or those of a stored hash
    /// exceed the maximum.
    #[error(
        "the password cost is out of range; use 8 KiB to 1 GiB of memory and at least 8 KiB per lane, 1 to 64 iterations, 1 to 16 lanes"
    )]
    Cost,
    /// The operating system provided no random bytes for a salt.
    #[error("the operating system returned no random bytes")]
    Entropy,
    /// The computation ran out of memory, failed internally, or panicked.
    #[error("password hashing failed: {0}")]
    Failed(&'static str),
}

impl From<password_hash::Error> for PasswordHashError {
    fn from(error: password_hash::Error) -> Self {
        match error {
            password_hash::Error::RngFailure => Self::Entropy,
            password_hash::Error::OutOfMemory => Self::Failed("out of memory"),
            password_hash::Error::ParamInvalid { .. } | password_hash::Error::ParamsInvalid => Self::Cost,
            _ => Self::Failed("internal error"),
        }
    }
}
