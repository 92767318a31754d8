//! Passwords: the typed one, the stored one, and the small pool that compares them.
//!
//! Argon2id with 19 MiB costs about 20 ms of a core on purpose, so it never runs on a runtime worker and never without a
//! limit: see [`PasswordHasherPool`].

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

/// A password as somebody typed it: 8 to 1024 bytes, whatever they are. Wiped when dropped; `Debug` shows `***`.
#[derive(Clone)]
pub struct Password(Secret);

impl Password {
    /// Fewest bytes.
    pub const MIN_BYTES: usize = 8;
    /// Most bytes.
    pub const MAX_BYTES: usize = 1024;

    /// Takes a password as it was presented.
    ///
    /// At login a refusal is an ordinary wrong password: it says nothing about the account.
    /// # Errors
    /// [`PasswordError`]: too short or too long.
    pub fn new(presented: Secret) -> Result<Self, PasswordError> {
        match presented.expose().len() {
            0..Self::MIN_BYTES => Err(PasswordError::TooShort { min: Self::MIN_BYTES }),
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(presented)),
            _ => Err(PasswordError::TooLong { max: Self::MAX_BYTES }),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// Why a password cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Easily guessed by its length alone.
    #[error("the password is too short; use at least {min} bytes, a few words for example")]
    TooShort {
        /// Fewest bytes.
        min: usize,
    },
    /// Longer than the server hashes.
    #[error("the password is too long; use at most {max} bytes")]
    TooLong {
        /// Most bytes.
        max: usize,
    },
}

/// What one hash costs. Raising it takes effect at each user's next login, see [`PasswordHash::needs_rehash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordCost {
    /// Memory in KiB, taken by each worker while it hashes. Default 19 456 (19 MiB), OWASP's first choice.
    pub memory_kib: u32,
    /// Passes over the memory. Default 2.
    pub iterations: u32,
    /// Lanes. Default 1; they are not computed in parallel here.
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
    /// Most of each, so that a damaged or hostile record cannot exhaust the node: 1 GiB, 64 passes, 16 lanes.
    const CEILING: Self = Self {
        memory_kib: 1024 * 1024,
        iterations: 64,
        parallelism: 16,
    };

    /// As cheap as Argon2 goes, for tests and benchmarks of other things. Worthless as protection.
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
        let max = Self::CEILING;
        if memory_kib > max.memory_kib || iterations > max.iterations || parallelism > max.parallelism {
            return Err(PasswordHashError::Cost);
        }
        Params::new(memory_kib, iterations, parallelism, None).map_err(|_| PasswordHashError::Cost)
    }
}

/// A stored password: Argon2id in PHC string form, `$argon2id$v=19$m=…`. `Debug` shows its cost only. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    phc: Arc<str>,
    cost: PasswordCost,
}

impl PasswordHash {
    /// Reads a record of the store.
    ///
    /// # Errors
    /// [`PasswordHashError`]: not a complete Argon2id record, or one of absurd cost.
    pub fn parse(phc: impl Into<Arc<str>>) -> Result<Self, PasswordHashError> {
        let phc = phc.into();
        let parsed = Phc::new(&phc).map_err(|_| PasswordHashError::Malformed)?;
        let current = parsed.algorithm == ARGON2ID_IDENT && parsed.version == Some(Version::V0x13.into());
        if !current || parsed.salt.is_none() || parsed.hash.is_none() {
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

    /// The PHC string, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.phc
    }

    /// Whether this record is weaker than `cost` asks for, so that the password should be hashed again while it is at hand.
    #[must_use]
    pub fn needs_rehash(&self, cost: &PasswordCost) -> bool {
        self.cost.memory_kib < cost.memory_kib
            || self.cost.iterations < cost.iterations
            || self.cost.parallelism < cost.parallelism
    }

    /// Hashes with a fresh salt. Takes a core for as long as the cost says.
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

    /// A record that no password opens and that takes as long to find out as a real one of this cost.
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

    /// Compares in the same time whether right or wrong. Takes a core for as long as the record's cost says.
    fn opens_with(&self, password: &Password) -> Result<bool, PasswordHashError> {
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

/// Why a hash could not be made, read or compared. Never says anything about the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordHashError {
    /// The record is not Argon2id in PHC form.
    #[error("the stored password is not an argon2id record")]
    Malformed,
    /// Memory, passes or lanes out of range.
    #[error(
        "password cost out of range: memory 8 KiB to 1 GiB and at least 8 KiB per lane, 1 to 64 iterations, 1 to 16 lanes"
    )]
    Cost,
    /// The operating system gave no random bytes for a salt.
    #[error("no random bytes from the operating system")]
    Entropy,
    /// There was no memory for the computation, or a fault inside of it.
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
