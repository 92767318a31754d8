//! State machine of one connection on the server's side: packets in, commands and replies out. It
//! does no I/O and reads no clock.
//!
//! ```text
//! accepted ─▶ Guest ─ Hello ─▶ greeted ─ Login, Resume ─▶ asking ─ admitted ─▶ Session ─▶ closed
//!               │               ▲   │ Register, ListNodes   │                     │
//!               │               └───┴─ refused, answered ───┘                     │
//!               └─ deadline, protocol error ──────────────────────────────────────┴─▶ Close(code)
//! ```
//!
//! The driver is the caller of the machine: in a server, the task of the connection. It feeds the
//! machine (`handle_…`), drains it (`poll_action` until `None`), then sleeps until `poll_timeout`
//! or until there is more to feed. While `wants_input` is false, the driver reads nothing from the
//! peer: this is the back-pressure. A [`Session`] only comes out of [`Guest::admit`], which takes a
//! ticket that only a login or resume request of a greeted guest creates.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod config;
mod guest;
mod logged_in;
mod output;

#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::model::Timestamp;

pub use config::SessionConfig;
pub use guest::{Credentials, Guest, GuestAction, LoginTicket, NodeListTicket, RegistrationTicket};
pub use logged_in::{Session, SessionAction};

/// Time at which an input is handled.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time, for deadlines and rates.
    pub instant: Instant,
    /// Wall-clock time, for clients.
    pub time: Timestamp,
}
