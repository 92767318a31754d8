//! Authentication: passwords, tokens, throttles, connection limits, and the port for the accounts
//! of an application.

mod authenticator;
mod password;
mod passwords;
mod penalty;
mod source;
mod throttle;
mod token;

pub use authenticator::{AuthError, AuthVerdict, Authenticator, Proof};
pub use password::{
    Password, PasswordCheck, PasswordCost, PasswordError, PasswordHash, PasswordHashError, PasswordHasherPool,
    PasswordPoolError, PasswordPoolOptions, PasswordPoolStats,
};
pub use passwords::PasswordAuthenticator;
pub use penalty::{
    ConnectionGate, ConnectionLimits, ConnectionPermit, ConnectionRefused, GateStats, Offence, PenaltyOptions,
};
pub use throttle::{LoginAttempt, LoginThrottle, ThrottleLimit, ThrottleOptions, Throttled};
pub use token::{DeviceToken, SessionToken, TokenError, TokenHash};
