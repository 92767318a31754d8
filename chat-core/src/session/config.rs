//! [`SessionConfig`].

use std::time::Duration;

use super::Rate;
use crate::codec::frame;
use crate::model::{MessageText, StoreEpoch};

/// What every connection of a server has in common: what it says of itself, and what it allows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Name and version of the program, told to clients.
    pub server: String,
    /// Names the store's history, told to clients.
    pub store_epoch: StoreEpoch,
    /// Hello has to come within this time after the channel stands: 5 s.
    pub first_packet: Duration,
    /// Login has to be asked for within this time after the connection was accepted: 10 s. Time that the server takes to
    /// answer does not count.
    pub login: Duration,
    /// Packets that a guest may send, Hello included: 32.
    pub guest_packets: u32,
    /// A client that has nothing to send pings after this time: 30 s. After 2.5 times of it in silence it is taken for gone.
    pub heartbeat: Duration,
    /// Largest packet of a guest: 4 KiB.
    pub guest_packet_bytes: usize,
    /// Largest packet of a session: 64 KiB.
    pub max_packet_bytes: usize,
    /// Largest text of a message: 16 KiB. More than [`MessageText::MAX_BYTES`] is not stored.
    pub max_text_bytes: usize,
    /// A page of history ends before it is larger on the wire: 256 KiB.
    pub max_page_bytes: usize,
    /// Requests of a session under way at once; beyond, nothing is read from it: 64.
    pub max_in_flight: usize,
    /// Drafts read from a session: 100 a second, 1000 at once, so that an outbox that gathered offline is taken at once. More wait
    /// unread, which loses nothing and keeps their order.
    pub sends: Rate,
    /// Packets read from a session, whichever: 400 a second, 2000 at once.
    pub packets: Rate,
}

impl SessionConfig {
    /// The defaults.
    #[must_use]
    pub fn new(server: impl Into<String>, store_epoch: StoreEpoch) -> Self {
        Self {
            server: server.into(),
            store_epoch,
            first_packet: Duration::from_secs(5),
            login: Duration::from_secs(10),
            guest_packets: 32,
            heartbeat: Duration::from_secs(30),
            guest_packet_bytes: frame::GUEST_LIMIT,
            max_packet_bytes: frame::SESSION_LIMIT,
            max_text_bytes: MessageText::MAX_BYTES,
            max_page_bytes: 256 * 1024,
            max_in_flight: 64,
            sends: Rate::new(100, 1000),
            packets: Rate::new(400, 2000),
        }
    }

    /// Silence after which a client is taken for gone.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.heartbeat
            .saturating_mul(5)
            .checked_div(2)
            .unwrap_or(self.heartbeat)
    }
}
