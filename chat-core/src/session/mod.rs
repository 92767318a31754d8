//! One peer's state machine on the server's side, between packets and commands, without I/O and without a clock.
//!
//! ```text
//!   accepted ──▶ Guest ── Hello ──▶ greeted ── Login, Resume ──▶ asking ── admitted ──▶ Session ──▶ closed
//!                  │                 ▲   │ Register                │                       │
//!                  │                 └───┴── refused, registered ──┘                       │
//!                  └── deadline, protocol error ───────────────────────────────────────────┴──▶ Close(code)
//! ```
//!
//! Feed it (`handle_…`), then drain it (`poll_action` until `None`), then sleep until `poll_timeout` or until there is
//! something to feed. While `wants_input` is false nothing more is read from the peer: that is the back-pressure. A
//! [`Session`] comes only out of [`Guest::admit`], which takes a ticket that only a greeted guest's own request makes.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod config;
mod guest;
mod logged_in;
mod output;
mod rate;

#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::model::Timestamp;

pub use config::SessionConfig;
pub use guest::{Authenticating, Credentials, Guest, GuestAction, Registering};
pub use logged_in::{Action, Session};
pub use rate::Rate;

/// The moment something is handled: for deadlines, and for what peers are told.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never steps back.
    pub instant: Instant,
    /// Wall time.
    pub time: Timestamp,
}
