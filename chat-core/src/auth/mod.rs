//! Authentication: passwords, tokens, throttles, connection limits, and the port for the accounts
//! of an application.

mod authenticator;
mod external;
mod password;
mod passwords;
mod penalty;
mod source;
mod throttle;
mod token;

pub use authenticator::{AuthError, AuthVerdict, Authenticator, Proof, Reauthentication};
pub use external::{ExternalLogin, Profile, Subject, SubjectError};
pub use password::{PasswordCost, PasswordHashError, PasswordPoolError, PasswordPoolOptions};
pub use passwords::PasswordAuthenticator;
pub use penalty::{ConnectionLimits, PenaltyOptions};
pub use throttle::{ThrottleLimit, ThrottleOptions, Throttled};

#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;

/// Types for the engine and the server: throttles, the connection gate, and tokens.
mod internals {
    pub use super::password::{
        Password, PasswordCheck, PasswordError, PasswordHash, PasswordHasherPool, PasswordPoolStats,
    };
    pub use super::penalty::{ConnectionGate, ConnectionPermit, ConnectionRefused, GateStats, Offence};
    pub use super::throttle::{LoginAttempt, LoginThrottle};
    pub use super::token::{DeviceToken, SessionToken, TokenError, TokenHash};
}
