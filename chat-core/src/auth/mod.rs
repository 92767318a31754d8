//! Authentication: passwords, tokens, throttles, connection limits, and the port for the accounts
//! of an application.

mod authenticator;
mod connection_gate;
mod external;
mod password;
mod password_authenticator;
mod source;
mod throttle;
mod token;
mod token_authenticator;
mod token_throttle;

pub use authenticator::{AccountLogin, AuthError, AuthVerdict, Authenticator, Proof, Reauthentication};
pub use connection_gate::{ConnectionLimits, PenaltyOptions};
pub use external::{ExternalLogin, Profile, Subject, SubjectError};
pub use password::{PasswordCost, PasswordHashError, PasswordPoolError, PasswordPoolOptions};
pub use password_authenticator::PasswordAuthenticator;
pub use throttle::{ThrottleLimit, ThrottleOptions, Throttled};
pub use token_authenticator::TokenAuthenticator;

#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;

/// Types for the engine and the server: the connection gate, passwords, throttles, and tokens. They
/// are public with the feature `unstable`.
mod internals {
    pub use super::connection_gate::{ConnectionGate, ConnectionPermit, ConnectionRefused, GateStats, Offence};
    pub use super::password::{
        Password, PasswordCheck, PasswordError, PasswordHash, PasswordHasherPool, PasswordPoolStats,
    };
    pub use super::throttle::{ChargedAttempt, LoginAttempt, LoginThrottle};
    pub use super::token::{DeviceToken, SessionToken, TokenError, TokenHash};
    pub use super::token_throttle::{TokenAttempt, TokenThrottle};
}
