//! Who may log in: passwords, tokens, throttles, and the port for an application's own accounts.

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
pub use penalty::{ConnectionGate, ConnectionLimits, ConnectionPermit, GateStats, Offence, PenaltyOptions, Refusal};
pub use throttle::{LoginAttempt, LoginThrottle, ThrottleLimit, ThrottleOptions, Throttled};
pub use token::{DeviceToken, SessionToken, TokenError, TokenHash};
